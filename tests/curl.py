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
    parser.add_argument("-F", "--form", action="append", default=[])
    parser.add_argument("-f", "--fail", action="store_true")
    parser.add_argument("-o", "--output")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-N", "--no-buffer", action="store_true")
    given = parser.parse_args()
    form = dict(part.split("=", 1) for part in given.form)
    files = {name: Path(value[1:]).read_bytes() for name, value in form.items() if value.startswith("@")}
    texts = {name: value for name, value in form.items() if name not in files}
    method = given.request or ("GET" if given.data is None and not form else "POST")
    headers = dict(header.split(": ", 1) for header in given.header)
    answer = httpx.request(
        method, given.url, headers=headers, content=given.data, data=texts, files=files, timeout=60
    )
    if given.fail and answer.is_error:
        return 22
    body = answer.content
    with Path(given.output).open("wb") if given.output else sys.stdout.buffer as file:
        file.write(body)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
