"""The command line: serve, cluster, say, spell, voices, fetch, keys, profiles."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import msgspec
from rich.console import Console
from rich.table import Table

from serving import __version__
from serving.access.command import add_keys_command
from serving.audio.encode import AUDIO_FORMATS
from serving.audio.files import SUFFIXES, suffix_of
from serving.captions import CAPTION_WRITERS, CHAPTER_WRITERS
from serving.flags import add_field_flags, as_body, given_fields
from serving.models import request_fields
from serving.models.base import RequestFields
from serving.observe.logs import write_logs
from serving.profile import Profile, ProfileError, load_profile, profile_names
from serving.protocol import InputError
from serving.request import load_lexicon
from serving.spell import SpellRequest, spell
from serving.text import TextFormat

OK, FAILED, USAGE = 0, 1, 2
_REFUSED_SUFFIXES = (".m4a", ".mp4", ".webm", ".aiff", ".au")
"""Those of formats that are not written."""


class UsageError(ValueError):
    """The command line asks for something that cannot be done; the message is one clear line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0 done, 1 failed, 2 wrong command line, profile or port."""
    words = sys.argv[1:] if argv is None else argv
    try:
        arguments = _parser(_fields_of_say(words)).parse_args(words)
        code: int = arguments.run(arguments)
    except (UsageError, ProfileError) as error:
        return _complain(str(error), USAGE)
    except InputError as error:
        return _complain(f"{error.field}: {error}", USAGE)
    except KeyboardInterrupt:
        return 130
    return code


def _complain(message: str, code: int) -> int:
    write_logs()
    print(f"tts-serving: {message}", file=sys.stderr)
    return code


def _fields_of_say(words: Sequence[str]) -> type[RequestFields] | None:
    """`say` has the flags of the profile's model, so the profile is read before the rest of the command line."""
    if not words or words[0] != "say":
        return None
    arguments, _ = _profiled("default", []).parse_known_args(words[1:])
    return request_fields(_profile(arguments).model.name)


def _parser(say_fields: type[RequestFields] | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tts-serving", description="A server for neural speech.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    profiled = _profiled("default", [])
    listening = argparse.ArgumentParser(add_help=False)
    listening.add_argument("--host", help="address to listen on")
    listening.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    serve = commands.add_parser("serve", parents=[profiled, listening], help="start the server")
    serve.set_defaults(run=_serve, cluster=False)

    cluster = commands.add_parser(
        "cluster", parents=[profiled, listening], help="start the server with its engines on Ray Serve"
    )
    cluster.set_defaults(run=_serve, cluster=True)

    say = commands.add_parser("say", parents=[profiled], help="speak a text without a server")
    source = say.add_mutually_exclusive_group(required=True)
    source.add_argument("text", nargs="?", help="the text; - reads it from standard input")
    source.add_argument(
        "-f",
        "--file",
        type=Path,
        metavar="FILE",
        help="a text file of any length, or with -o FOLDER/ a text a line; a run that was broken off goes on",
    )
    say.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="speech.wav without it; - writes to standard output; with -f a folder takes a file for each line",
    )
    say.add_argument("--captions", type=Path, metavar="FILE", help="times of words: .json, .vtt or .srt")
    say.add_argument(
        "--chapters", type=Path, metavar="FILE", help="with -f: where chapters begin, .json or .vtt"
    )
    if say_fields is not None:
        add_field_flags(say, say_fields)
    say.set_defaults(run=_say)

    spell = commands.add_parser("spell", parents=[profiled], help="show what would be said")
    spell.add_argument("text", help="the text; - reads it from standard input")
    spell.add_argument("--text-format", choices=get_args(TextFormat), default="auto")
    spell.add_argument("--language", metavar="TAG", help="the model's own without it")
    spell.add_argument("--no-normalize", action="store_false", dest="normalize", help="the text as it is")
    spell.add_argument("--json", action="store_true", help="as POST /spell answers")
    spell.set_defaults(run=_spell)

    voices = commands.add_parser("voices", parents=[profiled], help="list the model's voices, or add one")
    voices.set_defaults(run=_voices)
    # What the inner command leaves out must not undo what the outer one was given.
    inner = _profiled(argparse.SUPPRESS, argparse.SUPPRESS)
    add = voices.add_subparsers(metavar="add").add_parser(
        "add", parents=[inner], help="check a recording and store it as a voice"
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument("file", metavar="FILE", type=Path)
    add.set_defaults(run=_add_voice)

    fetch = commands.add_parser("fetch", help="download the weights of a model, after showing their licences")
    fetch.add_argument("model", metavar="MODEL")
    fetch.add_argument("--to", required=True, type=Path, metavar="DIR", help="folder to put them in")
    fetch.add_argument("--everything", action="store_true", help="the optional parts too")
    fetch.set_defaults(run=_fetch)

    add_keys_command(commands)

    profiles = commands.add_parser("profiles", help="list the profiles, or print one as it resolves")
    profiles.add_argument("name", nargs="?", metavar="NAME|FILE")
    profiles.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    profiles.set_defaults(run=_profiles)
    return parser


def _profiled(profile: str, overrides: list[str] | str) -> argparse.ArgumentParser:
    """--profile and --set, with these defaults."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--profile", default=profile, metavar="NAME|FILE", help="how to serve; see `profiles`"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=overrides,
        metavar="KEY=VALUE",
        dest="overrides",
        help="override one setting, e.g. engine.max_slots=8",
    )
    return parser


def _profile(arguments: argparse.Namespace) -> Profile:
    return load_profile(arguments.profile, arguments.overrides)


def _serve(arguments: argparse.Namespace) -> int:
    overrides = list(arguments.overrides)
    for key in ("host", "port"):
        if (value := getattr(arguments, key)) is not None:
            overrides.append(f"http.{key}={value}")
    reread: Callable[[], Profile] = functools.partial(load_profile, arguments.profile, overrides)
    profile = reread()

    from serving.cluster.lazy import change_nothing, on_ray
    from serving.engine.life.state import Supervise
    from serving.engine.life.supervisor import Supervisor
    from serving.http.front.server import AddressError, serve

    supervise: Supervise = Supervisor
    if arguments.cluster:
        if find_spec("ray") is None:
            raise UsageError("cluster needs Ray: pip install 'tts-serving[cluster]'")
        supervise, reread = on_ray, change_nothing
    try:
        serve(profile, reread, supervise)
    except AddressError as error:
        return _complain(str(error), USAGE)
    return OK


def _say(arguments: argparse.Namespace) -> int:
    from serving.book import BookError
    from serving.say import say, say_book, say_lines

    profile = _profile(arguments)
    fields = given_fields(arguments, request_fields(profile.model.name))
    if arguments.output is None:
        audio_format = fields.get("format", "wav")
        arguments.output = "speech" + suffix_of(audio_format)
    fields.setdefault("format", SUFFIXES.get(Path(arguments.output).suffix.lower(), "wav"))
    _check_files(arguments, fields["format"])
    try:
        if arguments.file is None:
            return say(profile, as_body(_text(arguments.text), fields), arguments.output, arguments.captions)
        fields.setdefault("seed", 0)  # a run that goes on must draw what the first one drew
        text = _decoded(_read(arguments.file), str(arguments.file))
        if _is_folder(arguments.output):
            return say_lines(profile, text, fields, Path(arguments.output))
        return say_book(
            profile, as_body(text, fields), Path(arguments.output), arguments.captions, arguments.chapters
        )
    except BookError as error:
        raise UsageError(str(error)) from None
    except BrokenPipeError:
        # The player was closed. Point standard output elsewhere, or Python complains once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or arguments.output}: {error.strerror}") from None


def _spell(arguments: argparse.Namespace) -> int:
    from serving.models import load_frontend

    profile = _profile(arguments)
    request = SpellRequest(
        text=_text(arguments.text),
        text_format=arguments.text_format,
        language=arguments.language,
        normalize=arguments.normalize,
    )
    spelled = spell(request, load_frontend(profile).spec, profile.text, load_lexicon(profile.text))
    if arguments.json:
        print(msgspec.json.encode(spelled).decode())
        return OK
    for segment in spelled.segments:
        print(segment.spoken or f"[pause {segment.pause_s:g}s]")
    if spelled.dropped:
        print(f"tts-serving: left out: {', '.join(spelled.dropped)}", file=sys.stderr)
    return OK


def _text(given: str) -> str:
    """The text of the command line, or of standard input for "-"."""
    if given == "-":
        return _decoded(sys.stdin.buffer.read(), "standard input")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the text is not UTF-8 at character {error.start}") from None
    return given


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None


def _is_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _check_files(arguments: argparse.Namespace, audio_format: str) -> None:
    """Raise UsageError for files that cannot be meant."""
    if arguments.output == "-" and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; name a file with -o, or pipe it to a player")
    if arguments.output == "-" and arguments.file is not None:
        raise UsageError("-f needs a file to write to: name one with -o")
    if _is_folder(arguments.output) and arguments.file is None:
        raise UsageError(f"{arguments.output} is a folder; name a file, or give a text a line with -f")
    if _is_folder(arguments.output) and (arguments.captions or arguments.chapters):
        raise UsageError("--captions and --chapters go with one file, not with a folder")
    if arguments.chapters is not None and arguments.file is None:
        raise UsageError("--chapters goes with -f")
    for path, suffixes in ((arguments.captions, CAPTION_WRITERS), (arguments.chapters, CHAPTER_WRITERS)):
        if path is not None and path.suffix.lower() not in suffixes:
            raise UsageError(f"{path}: name it {' or '.join(suffixes)}")
    suffix = Path(arguments.output).suffix.lower()
    if suffix in _REFUSED_SUFFIXES:
        raise UsageError(f"{arguments.output}: the formats are {', '.join(AUDIO_FORMATS)}")
    if SUFFIXES.get(suffix, audio_format) != audio_format:
        raise UsageError(
            f"{arguments.output}: the format is {audio_format}; name the file so, or leave --format out"
        )


def _voices(arguments: argparse.Namespace) -> int:
    from serving.models import load_frontend

    spec = load_frontend(_profile(arguments)).spec
    table = Table(title=f"{spec.name}, {spec.sample_rate_hz} Hz")
    for column in ("voice", "language", "description"):
        table.add_column(column)
    for voice in spec.voices:
        name = f"{voice.name} (default)" if voice.name == spec.default_voice else voice.name
        table.add_row(name, voice.language, voice.description)
    Console().print(table)
    return OK


def _add_voice(arguments: argparse.Namespace) -> int:
    from serving.models import add_voice

    voice = add_voice(_profile(arguments), arguments.name, arguments.file)
    print(f"{voice.name}: {voice.duration_s:.1f} s{''.join(f'; {text}' for text in voice.warnings)}")
    return OK


def _fetch(arguments: argparse.Namespace) -> int:
    from serving.models import fetch

    try:
        fetch(arguments.model, arguments.to, everything=arguments.everything)
    except RuntimeError as error:
        return _complain(str(error), FAILED)
    return OK


def _profiles(arguments: argparse.Namespace) -> int:
    if arguments.name is not None:
        for line in _settings(msgspec.to_builtins(load_profile(arguments.name, arguments.overrides))):
            print(line)
        return OK
    table = Table()
    for column in ("profile", "model", "device", "description"):
        table.add_column(column)
    for name in profile_names():
        profile = load_profile(name, environ={})
        table.add_row(name, profile.model.name, profile.engine.device, profile.description)
    Console().print(table)
    return OK


def _settings(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every setting as key=value, the way --set takes it."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={msgspec.json.encode(value).decode()}"
