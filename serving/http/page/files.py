"""The pages' files, read once at the start and answered from memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from litestar import HttpMethod, Response, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from serving.audio.encode import AUDIO_FORMATS
from serving.http.access.door import PUBLIC
from serving.http.speech import AnyRequest
from serving.models.base import ModelSpec
from serving.request import SpeechRequest, request_schema, used_fields

STATIC = Path(__file__).parent / "static"
PAGES = {"/": "index.html", "/bench": "bench.html", "/docs": "docs.html"}
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing of another host, and nothing that stands in the page itself."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""no-cache lets a browser keep a file and ask whether it is still the same."""

GET = [HttpMethod.GET, HttpMethod.HEAD]
"""The methods of everything that the pages read."""

_CHOSEN_BY_THE_PAGE = frozenset(("text", "voice", "format", "timestamps"))


class StaticFile(msgspec.Struct, frozen=True):
    """A file as it is sent."""

    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """Changes with the content."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    def answer(self, request: AnyRequest) -> Response[bytes]:
        """The file; 304 without it where the browser has the same."""
        headers = {**HEADERS, "ETag": self.etag}
        known = request.headers.get("if-none-match", "")
        if "*" in known or self.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
            return Response(b"", status_code=304, media_type=self.media_type, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def page_routes(spec: ModelSpec, max_text_chars: int) -> list[HTTPRouteHandler]:
    """The three pages, what they load from /page, and what they must know of the model."""
    files = {
        path.name: StaticFile(path.read_bytes(), MEDIA_TYPES[path.suffix])
        for path in sorted(STATIC.iterdir())
    }
    declared = msgspec.json.encode(declaration(spec, max_text_chars))
    files["model.json"] = StaticFile(declared, MEDIA_TYPES[".json"])

    @route(list(PAGES), http_method=GET, include_in_schema=False, opt=PUBLIC)
    async def page(request: AnyRequest) -> Response[bytes]:
        """A page."""
        return files[PAGES[request.scope["path"].rstrip("/") or "/"]].answer(request)

    @route("/page/{name:str}", http_method=GET, include_in_schema=False, opt=PUBLIC)
    async def page_file(name: FromPath[str], request: AnyRequest) -> Response[bytes]:
        """A file that a page loads."""
        if name not in files:
            raise HTTPException(f"the pages have no file {name[:60]!r}", status_code=404)
        return files[name].answer(request)

    return [page, page_file]


def declaration(spec: ModelSpec, max_text_chars: int) -> dict[str, Any]:
    """What the page's form is made from: the fields of a request as JSON schemas, each with its default.

    `fields` are the model's own, `shared` those of every model, without what the page has a place for.
    """
    properties: dict[str, Any] = request_schema(spec)["properties"]
    own = spec.fields.__struct_fields__
    shared = (
        name
        for name in SpeechRequest.__struct_fields__
        if name not in _CHOSEN_BY_THE_PAGE and name in used_fields(spec)
    )
    return {
        "model": spec.name,
        "sample_rate_hz": spec.sample_rate_hz,
        "max_text_chars": max_text_chars,
        "timestamps": "word" if spec.word_times else "sentence",
        "formats": AUDIO_FORMATS,
        "fields": {name: properties[name] for name in own if name not in spec.unavailable},
        "shared": {name: properties[name] for name in shared},
    }
