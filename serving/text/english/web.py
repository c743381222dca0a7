"""Addresses, file names and paths, hashtags and handles."""

from __future__ import annotations

import re

from serving.text.english.capitals import is_dotted, letter_word, letters
from serving.text.english.quantities.numbers import cardinal, digits, year
from serving.text.english.tokens import LETTER, Reading, Tokens, word_set

_SCHEME = re.compile(r"(?:https?|ftps?|sftp|wss?|file|git|ssh)://", re.IGNORECASE)
_DOMAINS = word_set(
    """
    com org net edu gov io co uk de fr info biz ai dev app ca au tv me ly nl ch eu us jp cn in it es se no
    at be ru br mil int xyz online site shop blog cloud tech example local test
    """
)
_COMMON_DOMAINS = word_set("com org net edu gov io co uk de fr info biz ai dev app ca au tv me ly nl ch eu")
_SAID_ENDINGS = word_set(
    """
    com org net info biz app dev edu gov shop blog cloud tech site online example local test json zip doc
    log bin bat dat ini mov gif tar lock env co me us toml mil int web wave code conf config cell sock tex
    zen yaml jar war ham java rust swift bak text patch diff vim torrent sketch key pages numbers markdown
    mobi gem egg pub raw bash
    """
)
_EXTENSIONS = word_set(
    """
    txt pdf doc docx xls xlsx ppt pptx csv tsv json yaml yml toml ini cfg conf log md rst html htm css js ts
    jsx tsx py pyc ipynb c h cpp hpp cc cs java kt rs go rb php sh bash bat ps1 exe dll so msi dmg pkg deb
    rpm apk ipa iso zip gz tgz bz2 xz tar rar 7z jpg jpeg png gif bmp svg webp tiff ico heic mp3 mp4 m4a wav
    flac ogg opus avi mkv mov webm wmv srt vtt epub mobi sql db sqlite xml onnx pt pth bin dat env lock vue
    swift lua pl r tex bib whl jar war psd ai eps ttf otf net
    """
)
_SYMBOLS = {
    **{
        ".": "dot",
        "/": "slash",
        "-": "dash",
        "_": "underscore",
        ":": "colon",
        "@": "at",
        "'": "apostrophe",
        "’": "apostrophe",
        "?": "question mark",
    },
    **{"=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "\\": "backslash"},
    **{"!": "exclamation mark", "$": "dollar", "*": "star", ",": "comma", ";": "semicolon"},
}
_PIECE = re.compile(r"[^\W\d_]+|[0-9]+|[\W_]|\d")
_EMAIL = re.compile(r"[\w.+%'’&-]+@[\w-]+(?:\.[\w-]+)+")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,8}([A-Za-z]{2,12})(?::[0-9]{1,5})?(?:[/?#]\S*)?")
_FILE = re.compile(r"[\w-]+(?:\.[\w-]+){0,6}\.([A-Za-z0-9]{1,6})")
_DOTTED_NUMBERS = re.compile(r"[vV]?[0-9]+(?:\.[0-9]+)+.{0,12}")
_TAG = re.compile(rf"#({LETTER}(?:[0-9_-]|{LETTER})*)")
_SERIAL = re.compile(r"#[A-Z]{1,4}-?[0-9]{2,12}(?:-[A-Z0-9]{1,12}){0,4}")
_HANDLE = re.compile(r"@([A-Za-z_][\w.-]*)")
_DRIVE = re.compile(r"([A-Za-z]):[\\/]")
_CAMEL = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[A-Z]")
_PLACEHOLDER = re.compile(rf"({LETTER}*)<({LETTER}[\w.-]{{0,40}})>")
_MAX_CHARS = 2048


def read_web(tokens: Tokens, index: int) -> Reading | None:
    """A URL, an e-mail address, a domain, a path, a file name, a hashtag or a handle."""
    token = tokens[index]
    whole = token.text
    core, trail, lead = token.core, token.trail, token.lead
    if whole[:1] == "<" and trail == "" and core[-1:] == ">":
        core, lead = core[1:-1], ""
    if len(core) > _MAX_CHARS:
        return None
    placeholder = _PLACEHOLDER.fullmatch(token.core)
    if placeholder and "." not in core:  # "clone <repo>", "List<String>"
        return Reading(f"{placeholder[1]} {camel(placeholder[2])}".strip())
    if lead[-1:] == "_" or trail[:1] == "_":
        core = "_" * (len(lead) - len(lead.rstrip("_"))) + core + trail[: len(trail) - len(trail.lstrip("_"))]
        lead, trail = lead.rstrip("_"), trail.lstrip("_")
    if core.startswith("mailto:"):
        core = core[7:]
    scheme = _SCHEME.match(core)
    if scheme:
        return _spelled(core[scheme.end() :].rstrip("/"), trail, lead)
    if _SERIAL.fullmatch(core):  # "#A-4471-B"
        return Reading("number " + spelled_serial(core[1:]), 1, trail, lead=lead)
    tag = _TAG.fullmatch(core)
    if tag:
        return Reading("hashtag " + camel(tag[1]), 1, trail, lead=lead)
    if "@" in core:
        if _EMAIL.fullmatch(core):
            return _spelled(core, trail, lead)
        handle = _HANDLE.fullmatch(core)
        return Reading("at " + spelled(handle[1]), 1, trail, lead=lead) if handle else None
    if core[1:3] == ":/" and core[2:4] != "//" and _DRIVE.match(core):
        return _spelled(core, trail, lead)
    if "\\" in core and (_DRIVE.match(core) or core.startswith("\\\\") or core.count("\\") > 1):
        return _spelled(core, trail, lead)
    if "/" in core and _is_path(core):
        return _spelled(core, trail, lead)
    if "." in core and not is_dotted(core):
        return _dotted(token.lead, core, trail)
    return None


def _dotted(lead: str, core: str, trail: str) -> Reading | None:
    possessive = ""
    if core[-2:] in ("'s", "’s"):
        core, possessive = core[:-2], "'s"
    domain = _DOMAIN.fullmatch(core)
    if domain and (core[:4].lower() == "www." or _is_domain(core, domain[1])):
        return _spelled(core.rstrip("/"), trail, lead, possessive)
    if core[0] == "." and core[1:].replace(".", "").replace("-", "").isalnum() and core[1:2].isalpha():
        return _spelled(core, trail, lead)
    if _DOTTED_NUMBERS.fullmatch(core):
        return None
    file = _FILE.fullmatch(core)
    if (
        file
        and file[1].lower() in _EXTENSIONS
        and not core.replace(".", "").isdecimal()
        and _is_file(core, file[1])
    ):
        return _spelled(core, trail, lead, possessive)
    if (
        _FILE.fullmatch(core)
        and ("_" in core or core.count(".") > 1)
        and core[0].isalpha()
        and core.islower()
    ):
        return _spelled(core, trail, lead)
    return None


def _is_domain(core: str, ending: str) -> bool:
    slash = "/" in core
    known = ending in _DOMAINS if slash else ending in _COMMON_DOMAINS
    return (known or ending.lower() in ("com", "org", "net")) and core[0].isalnum()


def _is_file(core: str, extension: str) -> bool:
    """Not a missing space after a full stop ("end.so")."""
    return (
        extension.islower() is False
        or len(extension) > 1
        or "/" in core
        or core.islower()
        or core[0].isupper()
    )


def _is_path(core: str) -> bool:
    if core.count("/") == 1 and core[0] != "/":
        head, _, tail = core.partition("/")
        dotted = "." in tail.strip(".") or _DOMAIN.fullmatch(head) is not None
        return core[0] in "~." or (
            dotted and not core.replace("/", "").replace(".", "").isdecimal() and tail[:1].isalpha()
        )
    body = core.replace("/", "").replace(".", "").replace("-", "").replace("_", "").replace("~", "")
    if not body or not body.isalnum() or body.isdecimal():
        return False
    return core[0] in "/~." or core.count("/") > 2 or "." in core or "_" in core


def _spelled(text: str, trail: str, lead: str, possessive: str = "") -> Reading | None:
    words = spelled(text)
    return Reading(words + possessive, 1, trail, lead=lead) if words else None


def spelled(text: str) -> str:
    """ "docs.example.org/a_b" is "docs dot example dot org slash a underscore b"."""
    pieces = _PIECE.findall(text)
    words: list[str] = []
    dots = [place for place, piece in enumerate(pieces) if piece == "."]
    for place, piece in enumerate(pieces):
        if piece.isdecimal():
            beside = place and pieces[place - 1].isalpha()
            short = len(piece) < 3 and piece[0] != "0" and not (place and pieces[place - 1] == "%")
            words.append(cardinal(piece) if short and (beside or len(piece) < 3) else digits(piece))
        elif piece.isalpha():
            words.append(_ending(piece) if place - 1 in dots else _label(piece))
        elif piece in _SYMBOLS:
            words.append(_SYMBOLS[piece])
    return " ".join(words)


def _ending(piece: str) -> str:
    """What stands behind a dot: a word ("com"), or letters ("uk", "pdf")."""
    lower = piece.lower()
    if lower in _SAID_ENDINGS or len(piece) > 5:
        return lower if piece.isupper() else piece
    if lower in _EXTENSIONS or (len(piece) == 2 and lower in _DOMAINS):
        return letters(piece)
    return _label(piece)


def _label(piece: str) -> str:
    if piece.lower() == "www":
        return "W W W"
    if piece.isupper() or not set("aeiouyAEIOUY").intersection(piece):
        return letter_word(piece.upper()) if len(piece) < 6 else piece
    return (
        " ".join(_CAMEL.findall(piece))
        if not piece.islower() and piece.isascii() and len(piece) > 3
        else piece
    )


def spelled_serial(text: str) -> str:
    """Letters one by one, and the digits too: "A-4471-B" is "A four four seven one B"."""
    return " ".join(
        digits(piece) if piece.isdecimal() else letters(piece) for piece in re.findall(r"[A-Z]+|[0-9]+", text)
    )


def camel(text: str) -> str:
    """ "ThrowbackThursday2024" is "Throwback Thursday twenty twenty four"."""
    words = []
    for part in re.split(r"[_-]+", text):
        if not part.isascii():
            words.append(spelled(part))
            continue
        for piece in _CAMEL.findall(part):
            if piece.isdecimal():
                words.append(_tag_digits(piece))
            else:
                words.append(letter_word(piece) if piece.isupper() else piece)
    return " ".join(words)


def _tag_digits(run: str) -> str:
    if len(run) == 4 and "1900" <= run <= "2099":
        return year(int(run))
    return cardinal(run) if run[0] != "0" and len(run) < 4 else digits(run)
