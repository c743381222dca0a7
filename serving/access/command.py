"""tts-serving keys: make keys, list them, take them away."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from serving.access.keys import KeysError, add_key, read_keys, remove_key
from serving.profile import load_profile

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_keys_command(commands: Commands) -> None:
    """The parser of `keys` and its three inner commands."""
    parser = commands.add_parser("keys", help="API keys: make one, list them, take one away")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--profile", default="default", metavar="NAME|FILE", help="whose access.keys_file")
    where.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override a setting"
    )
    where.add_argument("--file", type=Path, metavar="FILE", help="this file, not the profile's")

    add = actions.add_parser("add", parents=[where], help="make a key; it is printed once and stored nowhere")
    add.add_argument("name", metavar="NAME", help="whose it is: letters, digits and ._-")
    add.add_argument("--operator", action="store_true", help="may also read /metrics and /stats")
    add.add_argument("--requests-per-minute", type=int, metavar="N")
    add.add_argument("--concurrent-streams", type=int, metavar="N")
    add.add_argument("--audio-s-per-day", type=float, metavar="SECONDS")
    add.set_defaults(run=_add)
    actions.add_parser("list", parents=[where], help="the keys' names and limits").set_defaults(run=_list)
    remove = actions.add_parser("remove", parents=[where], help="take a key's right away")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(run=_remove)


def _file(arguments: argparse.Namespace) -> Path:
    if arguments.file is not None:
        return Path(arguments.file)
    named = load_profile(arguments.profile, arguments.overrides).access.keys_file
    if not named:
        raise KeysError("access.keys_file: the profile names no file of keys; give one with --file")
    return Path(named)


def _add(arguments: argparse.Namespace) -> int:
    path = _file(arguments)
    key = add_key(
        path,
        arguments.name,
        operator=arguments.operator,
        requests_per_minute=arguments.requests_per_minute,
        concurrent_streams=arguments.concurrent_streams,
        audio_s_per_day=arguments.audio_s_per_day,
    )
    print(f"tts-serving: {path} holds its digest; the key itself is shown only now", file=sys.stderr)
    print(key)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    table = Table()
    for column in ("key", "since", "operator", "requests/min", "streams", "audio s/day"):
        table.add_column(column)
    for key in read_keys(_file(arguments)):
        limits = (key.requests_per_minute, key.concurrent_streams, key.audio_s_per_day)
        shown = ("" if limit is None else f"{limit:g}" for limit in limits)
        table.add_row(key.name, key.created, "yes" if key.operator else "", *shown)
    Console().print(table)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    remove_key(_file(arguments), arguments.name)
    return 0
