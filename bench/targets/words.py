"""What went wrong with a target, in plain words that say what to do. Secrets are taken out by the caller."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

MOST_CHARACTERS = 240
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)


def of_connection(error: OSError, where: str) -> str:
    """Why no connection came about."""
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}"
    if isinstance(error, socket.gaierror):
        return f"no address is known for {where}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {where} is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS at {where} ({error.reason}): is it http:// in place of https://?"
    return f"no connection to {where}: {error.strerror or error}"


def of_status(status: int, headers: Mapping[str, str], body: bytes, asked: str) -> str:
    """Why an answer has not the status 200. `asked` is the method and path of the request."""
    said = of_body(body)
    tail = f": {said}" if said else ""
    if 300 <= status < 400 and (location := headers.get("location")):
        return f"status {status}: {asked} is redirected to {location[:120]}; give that address"
    if status in (401, 403):
        return f"status {status}: the API key is missing or not accepted (key_env){tail}"
    if status in (404, 405):
        return f"status {status}: {asked} is not there, or not its model or voice{tail}"
    if status in (400, 413, 415, 422):
        return f"status {status}: the server does not take this request{tail}"
    name = next((known.phrase for known in HTTPStatus if known.value == status), "unknown")
    return f"status {status} ({name}){tail}"


def of_content(headers: Mapping[str, str]) -> str | None:
    """What a body with status 200 is, by its type, where that is no audio; None if it may be."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if coding := headers.get("content-encoding", "").replace("identity", "").strip():
        return f"Content-Encoding {coding}, which was not asked for"
    if "html" in kind:
        return "an HTML page, no audio"
    if kind.startswith("text/") or kind.endswith(("json", "xml")):
        return f"{kind}, no audio"
    return None


def of_body(body: bytes) -> str:
    """The words of an error page or error object, on one line."""
    text = body[:20_000].decode(errors="replace").strip()
    try:
        said = of_object(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError):
        found = _TITLE.search(text)
        said = found[2] if found else text
    return " ".join(re.sub(r"<[^>]*>|[^\w\s!-~]", " ", said).split())[:MOST_CHARACTERS]


def of_object(content: Any) -> str:
    """What an error object says, in the shapes that servers use: OpenAI's, problem details, FastAPI's."""
    if isinstance(content, dict):
        for name in ("error", "detail", "message", "msg", "title", "code"):
            if content.get(name):
                return of_object(content[name])
    if isinstance(content, list) and content:
        return of_object(content[0])
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()
