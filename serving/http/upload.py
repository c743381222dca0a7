"""A multipart/form-data body with one file, read as it comes into bounded memory.

Litestar's own reading of forms puts each file, whatever its field, into a temporary file, takes up to a thousand
parts, and turns a field that is no UTF-8 into a failure of the server. This one takes what is expected and no more.
The parser of the format is the same library, `multipart`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

import msgspec
from litestar.exceptions import HTTPException, InternalServerException
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from serving.http.speech import AnyRequest
from serving.http.waiting import ClientGone
from serving.protocol import InputError
from serving.request import BodyError

MAX_PARTS = 32
MAX_TEXT_BYTES = 4096
"""Longest text field."""
ENVELOPE_BYTES = 262_144
"""What a body may hold beside its file: MAX_PARTS texts and their headers."""
MEDIA_TYPE = "multipart/form-data"


class Form(msgspec.Struct, frozen=True):
    """A form once read."""

    texts: dict[str, str]
    file: bytes
    """Empty if the file is."""


async def read_form(
    request: AnyRequest, file_field: str, text_fields: Collection[str], max_file_bytes: int, limit_s: float
) -> Form:
    """Read a form whose field `file_field` is a file. It and `text_fields` may be there once, others again and again.

    Raises InputError naming a field that is missing, sent twice, too long or no UTF-8; BodyError for a body that is
    no such form; HTTPException 415 for another type, 413 for a file larger than `max_file_bytes`, 408 after limit_s;
    RequestEntityTooLarge past the route's limit; ClientGone.
    """
    boundary = _boundary(request)
    try:
        async with asyncio.timeout(limit_s):
            return await _read(request.stream(), boundary, file_field, text_fields, max_file_bytes)
    except TimeoutError:
        raise HTTPException(f"the body did not arrive within {limit_s:g} s", status_code=408) from None
    except InternalServerException:
        raise ClientGone from None


def _boundary(request: AnyRequest) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind.strip().lower() != MEDIA_TYPE:
        raise HTTPException(
            f"send Content-Type: {MEDIA_TYPE}, not {kind[:100] or 'nothing'}", status_code=415
        )
    if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        raise HTTPException(f"send the body without Content-Encoding, not {encoding[:100]}", status_code=415)
    boundary: str = options.get("boundary", "")
    if not 1 <= len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise BodyError("Content-Type names no boundary, or none that can be one")
    return boundary.encode("ascii")


async def _read(
    body: AsyncIterator[bytes],
    boundary: bytes,
    file_field: str,
    text_fields: Collection[str],
    max_file_bytes: int,
) -> Form:
    texts: dict[str, str] = {}
    file: bytearray | None = None
    segment: MultipartSegment | None = None
    content = bytearray()
    parser = PushMultipartParser(
        boundary, max_header_size=1024, max_header_count=8, max_segment_count=MAX_PARTS
    )
    try:
        async for chunk in body:
            for part in parser.parse(chunk):
                if isinstance(part, MultipartSegment):
                    segment, content = part, bytearray()
                    if segment.name is None:
                        raise BodyError("a part of the form has no name")
                    again = segment.name in texts and segment.name in text_fields
                    if again or (segment.name == file_field and file is not None):
                        raise InputError(segment.name, "is there twice")
                elif part:
                    assert segment is not None
                    content += part
                    if segment.name != file_field and len(content) > MAX_TEXT_BYTES:
                        raise InputError(segment.name or "", f"longer than {MAX_TEXT_BYTES} bytes")
                    if len(content) > max_file_bytes:
                        raise HTTPException(
                            f"{file_field}: the limit of a recording is {max_file_bytes} bytes",
                            status_code=413,
                        )
                elif segment is not None:
                    name = segment.name or ""
                    if name == file_field:
                        file = content
                    else:
                        texts[name] = _text(name, content)
            if parser.closed:
                break
    except MultipartError as error:
        raise BodyError(f"the body is no {MEDIA_TYPE}: {error}") from None
    if not parser.closed:
        raise BodyError(f"the body is no {MEDIA_TYPE}: it ends before its closing boundary")
    if file is None:
        raise InputError(file_field, "required: a part with a recording")
    return Form(texts, bytes(file))


def _text(name: str, content: bytearray) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(name, f"is not UTF-8: {error.reason} at byte {error.start}") from None
