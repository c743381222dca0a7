"""Errors as RFC 9457 problem details, application/problem+json; under /v1 in the envelope of OpenAI's API.

Every refusal has the same parts: `code` is the word to branch on, `field` (`param`) the request field that is wrong.
"""

from __future__ import annotations

import http
import logging
import math

import msgspec
from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, NotFoundException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import ExceptionHandlersMap, Scope, Send

from serving.access.usage import RateLimited
from serving.http.speech import BODY_CUT, AnyRequest, request_id
from serving.http.waiting import ClientGone
from serving.observe.words import described
from serving.openai import their_name
from serving.protocol import (
    FailureCode,
    InputError,
    NotReady,
    Overloaded,
    SpeechFailed,
    VoiceConflict,
    VoiceUnknown,
    failed_inside,
)
from serving.request import BodyError

logger = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"

STATUS_OF_FAILURE: dict[FailureCode, int] = {
    "expired": 504,
    "engine_died": 503,
    "aborted": 499,
    "invalid_field": 400,
    "internal": 500,
}
_CODE_OF_STATUS = {
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "upload_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    507: "insufficient_storage",
}


OPENAI_PREFIX = "/v1/"
"""Paths of OpenAI's API, whose clients read another shape of error."""


class OpenAIError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request of OpenAI's API was refused or not finished."""

    message: str
    """One sentence for people."""
    type: str
    """invalid_request_error, or server_error for a status of 500 and above."""
    param: str | None
    """The request field that is wrong, as the client wrote it."""
    code: str
    """One word for programs, as in Problem."""


class OpenAIEnvelope(msgspec.Struct, frozen=True):
    """The body of an error under /v1."""

    error: OpenAIError


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was refused or not finished (RFC 9457)."""

    title: str
    """The phrase of the status."""
    status: int
    code: str
    """One word for programs, such as invalid_field, overloaded, expired."""
    detail: str
    """One sentence for people."""
    field: str | None = None
    """The request field that is wrong, as the client wrote it."""


def _problem(
    request: AnyRequest,
    status: int,
    code: str,
    detail: str,
    *,
    field: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    body, media_type = problem_body(request.scope["path"], status, code, detail, field)
    return Response(
        body,
        status_code=status,
        media_type=media_type,
        headers={"X-Request-Id": request_id(request), **(headers or {})},
    )


def problem_body(
    path: str, status: int, code: str, detail: str, field: str | None = None
) -> tuple[bytes, str]:
    """The body of an error on a path, and its media type."""
    if path.startswith(OPENAI_PREFIX):
        return msgspec.json.encode(openai_error(status, code, detail, field)), "application/json"
    title = http.HTTPStatus(status).phrase if status != 499 else "Client Closed Request"
    problem = Problem(title=title, status=status, code=code, detail=detail, field=field)
    return msgspec.json.encode(problem), PROBLEM_MEDIA_TYPE


async def refuse(
    scope: Scope, send: Send, status: int, code: str, detail: str, *, retry_after_s: float | None = None
) -> None:
    """Answer an error for less than a Response takes: for what refuses many."""
    if scope["type"] == ScopeType.WEBSOCKET:
        await send({"type": "websocket.close", "code": 1008, "reason": detail[:120]})
        return
    body, media_type = problem_body(scope["path"], status, code, detail)
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request_id(Request(scope)).encode()),
    ]
    if retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after_s))).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    is_head = scope["method"] == "HEAD"
    await send({"type": "http.response.body", "body": b"" if is_head else body, "more_body": False})


def openai_error(status: int, code: str, message: str, param: str | None = None) -> OpenAIEnvelope:
    """An error in the shape that OpenAI's clients read."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return OpenAIEnvelope(OpenAIError(message=message, type=kind, param=param, code=code))


def _input_error(
    request: AnyRequest, error: InputError, status: int = 400, code: str = "invalid_field"
) -> Response[bytes]:
    # A field name may be anything the client wrote, so the text repeats it shortened.
    return _problem(request, status, code, f"{error.field[:60]}: {error}", field=error.field[:200])


def _voice_conflict(request: AnyRequest, error: VoiceConflict) -> Response[bytes]:
    return _input_error(request, error, 409, "conflict")


def _voice_unknown(request: AnyRequest, error: VoiceUnknown) -> Response[bytes]:
    return _input_error(request, error, 404, "not_found")


def _body_error(request: AnyRequest, error: BodyError) -> Response[bytes]:
    return _problem(request, 400, "malformed_body", str(error))


def _overloaded(request: AnyRequest, error: Overloaded) -> Response[bytes]:
    code = "not_ready" if isinstance(error, NotReady) else "overloaded"
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    told = error.told if isinstance(error, NotReady) else str(error)
    return _problem(request, 503, code, told, headers=headers)


def _rate_limited(request: AnyRequest, error: RateLimited) -> Response[bytes]:
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    return _problem(request, 429, "rate_limit_exceeded", str(error), headers=headers)


def _speech_failed(request: AnyRequest, error: SpeechFailed) -> Response[bytes]:
    logger.warning("request %s failed (%s): %s", request_id(request), error.code, described(error))
    headers = {"Retry-After": str(math.ceil(error.retry_after_s))} if error.retry_after_s else None
    openai = request.scope["path"].startswith(OPENAI_PREFIX)
    field = their_name(error.field) if openai else error.field
    text = error.told
    if field != error.field:
        text = f"{field}:{text.removeprefix(f'{error.field}:')}"
    return _problem(request, STATUS_OF_FAILURE[error.code], error.code, text, field=field, headers=headers)


def _client_gone(request: AnyRequest, error: ClientGone) -> Response[bytes]:
    return _problem(request, 499, "aborted", "the client closed the connection")


def _http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    if BODY_CUT in request.scope["state"]:
        return _problem(request, 400, "malformed_body", "the body broke off before its end")
    code = _CODE_OF_STATUS.get(error.status_code, "http_error")
    headers = dict(error.headers or {})
    return _problem(request, error.status_code, code, error.detail, headers=headers)


def _too_large(request: AnyRequest, _: RequestEntityTooLarge) -> Response[bytes]:
    limit = request.route_handler.resolve_request_max_body_size()
    return _problem(request, 413, "body_too_large", f"the limit of a body is {limit} bytes")


def _not_found(request: AnyRequest, _: NotFoundException) -> Response[bytes]:
    return _problem(request, 404, "not_found", "there is no such path; GET /schema lists them")


def _unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    reference = request_id(request)
    logger.error("request %s: unexpected error", reference, exc_info=error)
    return _problem(request, 500, "internal", failed_inside(reference))


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    InputError: _input_error,
    VoiceConflict: _voice_conflict,
    VoiceUnknown: _voice_unknown,
    BodyError: _body_error,
    RateLimited: _rate_limited,
    Overloaded: _overloaded,
    SpeechFailed: _speech_failed,
    ClientGone: _client_gone,
    RequestEntityTooLarge: _too_large,
    NotFoundException: _not_found,
    HTTPException: _http_error,
    Exception: _unexpected,
}
