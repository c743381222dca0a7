"""The query of a GET request to an order, by the rules of serving.request. No litestar, no torch."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from serving.models.base import ModelSpec
from serving.protocol import InputError
from serving.request import BodyError, Order, field_error, parse, request_type

MAX_QUERY_CHARS = 500
"""Longest text of a query: an address is no place for more, and proxies cut long ones."""


def parse_query(query: bytes, spec: ModelSpec, max_chars: int) -> Order:
    """The fields of a request to /tts, each as text in the query.

    Raises InputError naming the field that is wrong, BodyError if the query is not one of percent-encoded UTF-8.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise BodyError(f"the query is not percent-encoded UTF-8: {error}") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise InputError(next(name for name in names if names.count(name) > 1), "given twice")
    kind = request_type(spec.fields)
    try:
        request = msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise field_error(str(error), kind.__struct_fields__) from None
    typed = {name: getattr(request, name) for name in fields}
    return parse(msgspec.json.encode(typed), spec, min(max_chars, MAX_QUERY_CHARS))
