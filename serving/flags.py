"""Request fields as flags of the command line, made from what a model declares."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec
from msgspec import inspect

from serving.models.base import RequestFields
from serving.request import SpeechRequest

_ELSEWHERE = ("text", "timestamps")
"""Fields that the command line gives otherwise."""
_NUMBERS: dict[type[inspect.Type], type] = {inspect.IntType: int, inspect.FloatType: float}


def add_field_flags(parser: argparse.ArgumentParser, own: type[RequestFields]) -> None:
    """Add a flag for every other field of a request: --emo-vector for emo_vector. None is left unset."""
    for struct in (SpeechRequest, own):
        described = inspect.type_info(struct)
        assert isinstance(described, inspect.StructType)
        for field in described.fields:
            if field.name not in _ELSEWHERE:
                flag = "--" + field.name.replace("_", "-")
                parser.add_argument(flag, default=None, help=_help(field.type), **_reading(field.type))


def given_fields(arguments: argparse.Namespace, own: type[RequestFields]) -> dict[str, Any]:
    """The fields that the command line set, as they stand in a request body."""
    names = (*SpeechRequest.__struct_fields__, *own.__struct_fields__)
    values = {name: getattr(arguments, name) for name in names if name not in _ELSEWHERE}
    return {name: value for name, value in values.items() if value is not None}


def _reading(kind: inspect.Type) -> dict[str, Any]:
    """How argparse reads a value of this type; its bounds are checked with the rest of the request."""
    kind = _bare(kind)
    if isinstance(kind, inspect.BoolType):
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(kind, inspect.LiteralType):
        return {"choices": list(kind.values), "type": type(kind.values[0])}
    if isinstance(kind, (inspect.ListType, inspect.VarTupleType)):
        return {"type": _list_of(_NUMBERS.get(type(_bare(kind.item_type)), str)), "metavar": "A,B,.."}
    if type(kind) in _NUMBERS:
        return {"type": _NUMBERS[type(kind)], "metavar": "N"}
    return {"metavar": "TEXT"}


def _list_of(item: type) -> Any:
    def values(text: str) -> list[Any]:
        return [item(part) for part in text.split(",")]

    return values


def _bare(kind: inspect.Type) -> inspect.Type:
    """The type inside Annotated and beside None."""
    if isinstance(kind, inspect.Metadata):
        return _bare(kind.type)
    if isinstance(kind, inspect.UnionType):
        return _bare(next(option for option in kind.types if not isinstance(_bare(option), inspect.NoneType)))
    return kind


def _help(kind: inspect.Type) -> str:
    """The field's line of help, with the percent signs that argparse would take for its own."""
    schema = kind.extra_json_schema if isinstance(kind, inspect.Metadata) else None
    return str((schema or {}).get("description", "")).replace("%", "%%")


def as_body(text: str, fields: dict[str, Any]) -> bytes:
    """A request body of this text and these fields."""
    return msgspec.json.encode({"text": text, **fields})
