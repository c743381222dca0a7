"""curl, for machines without it: the options that the pages of this repository use."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import httpx


def main() -> int:
    """Send one request and write the body of its answer. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("url")
    parser.add_argument("-X", "--request")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    parser.add_argument("-o", "--output")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-N", "--no-buffer", action="store_true")
    given = parser.parse_args()
    method = given.request or ("GET" if given.data is None else "POST")
    headers = dict(header.split(": ", 1) for header in given.header)
    body = httpx.request(method, given.url, headers=headers, content=given.data, timeout=60).content
    with Path(given.output).open("wb") if given.output else sys.stdout.buffer as file:
        file.write(body)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
