"""What schemathesis draws for formats that only this server has, and what is a failure; its own process imports this.

Its complaint that a wrong request was accepted is dropped only if the body, read again as it was sent, is right by the
document and by these formats, and nothing but the body was meant to be wrong. What became of each item of a batch is
judged by a check of our own.
"""

from __future__ import annotations

import functools
import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

from bench.fuzz import judge
from bench.fuzz.recordings import VOICE, recording

_WORDS = ("Hello", "a", "It is 5 o'clock", "one two", "Zürich", "no", "x86", "I owe you $25.50")
_AROUND = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<[&`\\"), max_size=40)
_RECORDINGS = (recording(4.0, 220), recording(6.0, 330))
_OTHER_PLACES = (
    ParameterLocation.PATH,
    ParameterLocation.QUERY,
    ParameterLocation.HEADER,
    ParameterLocation.COOKIE,
)
_WRONG = {"speakable": "?! ...", "voice": "nobody"}
BATCH = "/v1/audio/speech/batch"

# A text of marks alone is refused, rightly: beside whatever else, these hold a word.
schemathesis.openapi.format("speakable", st.tuples(_AROUND, st.sampled_from(_WORDS), _AROUND).map(" ".join))
schemathesis.openapi.format("recording", st.sampled_from(_RECORDINGS))
schemathesis.openapi.format("consent", st.sampled_from(["true", "yes", "record 17", "Vertrag Nr. 9"]))
schemathesis.openapi.format("voice", st.just(VOICE))


@schemathesis.hook  # type: ignore[untyped-decorator]
def map_body(context: Any, body: Any) -> Any:
    """A batch with an item that can be spoken: by the document an item may be anything, and so it is when drawn."""
    if context.operation.path != BATCH or not isinstance(body, dict):
        return body
    match body.get("items"):
        case [_] | [_, _] as items:  # an empty list stays too short, a long one too long
            return {**body, "items": [*items, {"input": "Hello there."}]}
    return body


@schemathesis.hook  # type: ignore[untyped-decorator]
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether it is one: false for a request that was taken for wrong and is right, or a name of a later Unicode."""
    if isinstance(failure, RejectedPositiveData) and case.media_type == judge.FORM:
        return not judge.is_unassigned(str(_read(response.request).get("name", "")))
    return not (isinstance(failure, AcceptedNegativeData) and was_right(case, response))


def was_right(case: Any, response: Any) -> bool:
    """Whether the body that was sent is right, in a case in which nothing else was meant to be wrong."""
    schema = _schema_of(case)
    if schema is None or any(case.meta.is_negative_at(place) for place in _OTHER_PLACES):
        return False
    try:
        return judge.Reader(schema, _formats(response.request)).is_valid(_read(response.request))
    except judge.Undecided:
        return False


@schemathesis.check  # type: ignore[untyped-decorator]
def batch_items(ctx: Any, response: Any, case: Any) -> None:
    """Each item of a batch was spoken if it is right, and only then."""
    if case.path != BATCH or response.status_code != 200:
        return
    if not response.headers["content-type"][0].startswith(judge.JSON):
        return
    results = json.loads(response.content)["results"]
    try:
        body, formats = _read(response.request), _formats(response.request)
        found = judge.items_misjudged(body, results, _schema_of(case) or {}, formats)
    except judge.Undecided as error:
        found = [f"answered with 200 is a body that is none: {error}"]
    assert not found, "; ".join(found)


_ACCEPTED: dict[str, list[str]] = {}
"""By operation, what it took in a field of a format of ours though it is wrong."""


@schemathesis.check  # type: ignore[untyped-decorator]
def formats_are_checked(ctx: Any, response: Any, case: Any) -> None:
    """The first request of an operation that is accepted is refused once a field of a format of ours is made wrong."""
    label, schema = case.operation.label, _schema_of(case)
    if case.media_type != judge.JSON or schema is None or response.status_code != 200:
        return
    if label not in _ACCEPTED:
        body = _read(response.request)
        _ACCEPTED[label] = [
            f"{name}: {_WRONG[format]!r}"
            for name, format in judge.formats_of(schema)
            if format in _WRONG and _status({**body, name: _WRONG[format]}, response.request) != 400
        ]
    assert not _ACCEPTED[label], f"not refused with 400: {', '.join(_ACCEPTED[label])}"


def _status(body: Any, sent: Any) -> int:
    headers = {**_key(sent), "Content-Type": judge.JSON}
    try:
        with urlopen(Request(sent.url, json.dumps(body).encode(), headers), timeout=60) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def _read(sent: Any) -> Any:
    body = sent.body.encode() if isinstance(sent.body, str) else bytes(sent.body or b"")
    return judge.read(body, sent.headers.get("Content-Type", ""))


def _schema_of(case: Any) -> dict[str, Any] | None:
    content = case.operation.definition.raw.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] | None = content.get(case.media_type, {}).get("schema")
    return schema


def _formats(sent: Any) -> dict[str, judge.Check]:
    names = functools.cache(lambda: _voices(sent))
    return {
        "speakable": judge.speakable,
        "consent": judge.consent,
        "recording": frozenset(map(judge.digest, _RECORDINGS)).__contains__,
        "voice": lambda name: name in names(),
    }


def _voices(sent: Any) -> frozenset[str]:
    """The names that the server tells now: voices come and go."""
    server = urlsplit(sent.url)
    asked = Request(f"{server.scheme}://{server.netloc}/v1/audio/voices", headers=_key(sent))
    with urlopen(asked, timeout=30) as answer:
        return frozenset(voice["id"] for voice in json.load(answer)["voices"])


def _key(sent: Any) -> dict[str, str]:
    return {name: sent.headers[name] for name in ("Authorization",) if name in sent.headers}
