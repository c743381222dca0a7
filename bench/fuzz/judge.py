"""Whether a request was right, by the document and by what its own formats mean: read again, apart from schemathesis.

schemathesis cannot know what `speakable` or `voice` means. Where it takes the format away from a field, it holds
whatever it then draws for wrong, though the text may well be one that can be spoken. It also knows nothing of the items
of a batch, each of which is answered for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs
import multipart

Check = Callable[[str], bool]

JSON = "application/json"
FORM = "multipart/form-data"
_SAYS_NO = frozenset(("", "false", "no", "n", "f", "0", "off", "none", "null", "undefined", "denied"))
"""What is no consent, in any case of letters."""
_SPOKEN = ("L", "N", "S")
"""Of what has a name, the general categories of Unicode: letters, numbers, symbols."""
_WORD = re.compile(r"(?:^|[ \n])[A-Za-z]+(?:[ \n]|$)")
_MARKUP = frozenset("<[&`\\")


class Undecided(ValueError):
    """The request cannot be read, so nothing says that it was right."""


def speakable(text: str) -> bool:
    """Whether it may be spoken: it holds a letter, a number or a symbol. A text of marks alone is none."""
    return any(unicodedata.category(char).startswith(_SPOKEN) for char in text)


def plainly_speakable(text: str) -> bool:
    """Whether any voice speaks it: it holds an English word, and nothing that could be markup around it."""
    return _WORD.search(text) is not None and not set(text) & _MARKUP


def is_unassigned(text: str) -> bool:
    """Whether a character of it is none to this Python. Whoever draws by \\p{L} may know a later Unicode."""
    return any(unicodedata.category(char) == "Cn" for char in text)


def consent(text: str) -> bool:
    """Whether it is one line that does not say no."""
    line = text.strip()
    return line.lower() not in _SAYS_NO and line.isprintable()


def digest(content: bytes) -> str:
    """What stands for a file where a form is read as JSON."""
    return hashlib.sha256(content).hexdigest()


class Reader:
    """Judges values by a schema of JSON and by what the formats in it mean."""

    def __init__(self, schema: Mapping[str, Any], formats: Mapping[str, Check]) -> None:
        self._validator = jsonschema_rs.Draft202012Validator(
            dict(schema),
            validate_formats=True,
            formats=dict(formats),
            pattern_options=jsonschema_rs.FancyRegexOptions(),
        )

    def is_valid(self, value: object) -> bool:
        """Whether it is what the schema says. Raises Undecided for a value that no JSON can hold."""
        try:
            json.dumps(value, ensure_ascii=False).encode()
            return bool(self._validator.is_valid(value))
        except ValueError as error:
            raise Undecided(str(error)) from None


def formats_of(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The fields of an object that are texts of a format, and the formats."""
    found = []
    for name, field in schema["properties"].items():
        kinds = field.get("anyOf", [field]) if isinstance(field, dict) else []
        found += [(name, kind["format"]) for kind in kinds if "format" in kind]
    return found


def read(body: bytes, content_type: str) -> Any:
    """The value of a body, as it was sent: in a form each text is a string, a file the digest of its content,
    and what is there twice a list.

    Raises Undecided for a body that is neither JSON nor a form, or none at all.
    """
    kind, options = multipart.parse_options_header(content_type)
    if kind == JSON:
        try:
            return json.loads(body, parse_constant=_refuse, object_pairs_hook=_object)
        except ValueError as error:
            raise Undecided(str(error)) from None
    if kind == FORM:
        return _form(body, options.get("boundary", ""))
    raise Undecided(f"a body of {kind or 'no type'}")


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name is there twice")
    return made


def _form(body: bytes, boundary: str) -> dict[str, Any]:
    fields: dict[str, list[str]] = {}
    try:
        with contextlib.ExitStack() as opened:
            for part in multipart.MultipartParser(io.BytesIO(body), boundary, strict=True):
                opened.callback(part.close)
                # What is no text hides no other field; is_valid says that it is none.
                words = part.raw.decode(errors="surrogateescape")
                text = digest(part.raw) if part.filename is not None else words
                fields.setdefault(part.name, []).append(text)
    except ValueError as error:
        raise Undecided(str(error)) from None
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in fields.items()}


def items_misjudged(
    body: Mapping[str, Any],
    results: list[dict[str, Any]],
    schema: Mapping[str, Any],
    formats: Mapping[str, Check],
) -> list[str]:
    """What a batch was answered that is not so: a wrong item that was spoken, a right one that was refused.

    `schema` is that of the whole body. An item is judged with the fields that hold for all, as the server reads it.
    Raises Undecided.
    """
    items = body["items"]
    told = [result["index"] for result in results]
    if told != list(range(len(items))):
        return [f"{len(items)} items, and results of {told}"]
    item = schema["properties"]["items"]["items"]["anyOf"][0]
    may_be_right = Reader(item, formats)
    is_right = Reader(item, {**formats, "speakable": plainly_speakable})
    shared = _written({name: value for name, value in body.items() if name not in ("items", "output")})
    found = []
    for index, (asked, result) in enumerate(zip(items, results, strict=True)):
        whole = {**shared, **_written(asked)} if isinstance(asked, dict) else asked
        if result["status"] == "success" and not may_be_right.is_valid(whole):
            found.append(f"items[{index}] is wrong and was spoken")
        elif result["status"] == "error" and result["error_status"] == 400 and is_right.is_valid(whole):
            found.append(f"items[{index}] is right and was refused: {result['error']}")
    return found


def _written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that are null, which count as not sent."""
    return {name: value for name, value in fields.items() if value is not None}
