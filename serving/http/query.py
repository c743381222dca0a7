"""GET /tts: the fields of a request in the query, so that the src of an audio element can name it.

Behind http.allow_get, because any page in a browser may make the browser send a GET request.
"""

from __future__ import annotations

from litestar import Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Stream

from serving.http.access.door import SPEAKS
from serving.http.speech import AnyRequest, Speaker
from serving.query import parse_query

NO_RANGES = {"Accept-Ranges": "none"}
_WHOLE = "bytes=0-"
"""What browsers send before they know whether there are ranges."""


def query_routes(speaker: Speaker, responses: dict[int, ResponseSpec]) -> list[HTTPRouteHandler]:
    """The handler, documented by `responses`."""

    @get("/tts", opt=SPEAKS, responses=responses)
    async def tts_of_query(request: AnyRequest) -> Response[bytes] | Stream:
        """Speak a text of at most 500 characters; the fields of POST /tts stand in the query.

        The audio is sent as it is made. It has no ranges, because its length is known at its end alone.
        """
        if (wanted := request.headers.get("range", _WHOLE).strip()) != _WHOLE:
            raise HTTPException(
                f"speech has no ranges; ask for all of it, not for {wanted[:100]}",
                status_code=416,
                headers=NO_RANGES,
            )
        order = parse_query(request.scope["query_string"], speaker.spec, speaker.text.max_chars)
        return await speaker.answer(order, request, speaker.headers(order, request) | NO_RANGES, whole=False)

    return [tts_of_query]
