"""The arguments of a command that name its targets."""

from __future__ import annotations

import argparse
import json
from typing import Any, get_args

from bench.targets.spec import Format, Target, TargetError, read_targets

_OPTIONS = (
    "model", "voice", "instructions", "format", "sse", "sample_rate_hz", "word_interval_s", "path", "key_env",
    "ca_file", "timeout_s",
)  # fmt: skip


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """--target, and the settings of those that are not in a file."""
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        dest="targets",
        metavar="NAME=ADAPTER:URL",
        help="also measure this server; or a URL (adapter tts), or a TOML file: see `bench targets`; may be repeated",
    )
    group = parser.add_argument_group("of the targets that are not in a file")
    group.add_argument("--model")
    group.add_argument("--voice")
    group.add_argument("--instructions")
    group.add_argument("--format", choices=get_args(Format))
    group.add_argument("--sse", action="store_true", default=None, help="openai: audio as events")
    group.add_argument(
        "--sample-rate-hz", type=int, metavar="HZ", help="of raw samples, where no answer says it"
    )
    group.add_argument("--word-interval-s", type=float, metavar="S", help="WebSockets: text word by word")
    group.add_argument("--path", help="in place of the adapter's own")
    group.add_argument(
        "--field", action="append", default=[], metavar="KEY=VALUE", help="VALUE: JSON, or text"
    )
    group.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE", help="${NAME}: from the environment"
    )
    group.add_argument("--key-env", metavar="NAME", help="environment variable that holds the API key")
    group.add_argument("--ca-file", metavar="FILE", help="certificates of a private authority")
    group.add_argument("--timeout-s", type=float, metavar="S", help="of a request (default: 120)")


def targets_of(arguments: argparse.Namespace) -> tuple[Target, ...]:
    """The targets that were named. Raises SystemExit with the words of a TargetError."""
    options: dict[str, Any] = {name: getattr(arguments, name) for name in _OPTIONS}
    try:
        options["fields"] = dict(_field(word) for word in arguments.field)
        options["headers"] = dict(_header(word) for word in arguments.header)
        unused = [name for name, value in options.items() if value not in (None, {})]
        if unused and all(word.endswith(".toml") for word in arguments.targets):
            raise TargetError(f"--{unused[0].replace('_', '-')}: there is no --target that it belongs to")
        return tuple(read_targets(arguments.targets, options))
    except TargetError as error:
        raise SystemExit(f"--target: {error}") from None


def _field(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not (name and equals):
        raise TargetError(f"--field {word!r}: write KEY=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _header(word: str) -> tuple[str, str]:
    name, colon, value = word.partition(":")
    if not (name and colon):
        raise TargetError("--header: write NAME:VALUE")
    return name.strip(), value.strip()
