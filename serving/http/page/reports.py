"""The bench's reports, read only: a listing, and files whose names are in it.

A report is a folder in the profile's http.reports with JSON, HTML or Markdown files in it. What a request names is
looked up among the names that the folder has, never joined to a path before; links are not followed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
from litestar import Response, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from serving.http.page.files import GET, HEADERS

MAX_FILE_BYTES = 32 * 1024**2
"""A run of the headline has 2 MB."""
MAX_REPORTS = 200
MAX_FILES = 50
"""Of a report."""

MEDIA_TYPES = {
    ".json": "application/json",
    ".html": "text/html",
    ".md": "text/plain",
}
_AS_A_PICTURE = {
    **HEADERS,
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "media-src data:; "
    "frame-ancestors 'self'",
}
"""A report's own page may look as it likes and do nothing."""


class ReportFile(msgspec.Struct, frozen=True):
    """A file of a report."""

    name: str
    bytes: int


class Report(msgspec.Struct, frozen=True):
    """A folder of reports."""

    name: str
    files: list[ReportFile]


class Reports(msgspec.Struct, frozen=True, kw_only=True):
    """All reports, the last by name first."""

    folder: str
    """As the profile names it; empty if it names none."""
    reports: list[Report]


def list_reports(folder: str) -> list[Report]:
    """The folders in `folder` that hold files of a report. Empty where there is no such folder."""
    if not folder or not Path(folder).is_dir():
        return []
    with os.scandir(folder) as entries:
        folders = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        names = sorted(filter(str.isprintable, folders), reverse=True)  # what is no UTF-8 is not printable
    found = (Report(name, _files(Path(folder, name))) for name in names[:MAX_REPORTS])
    return [report for report in found if report.files]


def _files(folder: Path) -> list[ReportFile]:
    """Of one report; none if it may not be read or was just taken away."""
    try:
        with os.scandir(folder) as entries:
            files = [
                ReportFile(entry.name, entry.stat(follow_symlinks=False).st_size)
                for entry in entries
                if Path(entry.name).suffix in MEDIA_TYPES
                and entry.name.isprintable()
                and entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []
    return sorted(files, key=lambda file: file.name)[:MAX_FILES]


def read_report(folder: str, report: str, name: str) -> bytes:
    """A listed file. Raises HTTPException: 404 if it is not listed, 413 if it is larger than MAX_FILE_BYTES."""
    listed = {(found.name, file.name) for found in list_reports(folder) for file in found.files}
    if (report, name) not in listed:
        raise HTTPException("there is no such report; GET /bench/reports lists them", status_code=404)
    descriptor = os.open(Path(folder, report, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor has no path
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise HTTPException("the report is no file any more", status_code=404)
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise HTTPException(f"the report is larger than {MAX_FILE_BYTES} bytes", status_code=413)
    return content


def report_routes(folder: str) -> list[HTTPRouteHandler]:
    """The listing, and each file of it."""

    @route("/bench/reports", http_method=GET, include_in_schema=False, sync_to_thread=True)
    def bench_reports() -> Response[Reports]:
        """The reports that there are."""
        return Response(Reports(folder=folder, reports=list_reports(folder)), headers=HEADERS)

    @route(
        "/bench/reports/{report:str}/{name:str}",
        http_method=GET,
        include_in_schema=False,
        sync_to_thread=True,
    )
    def bench_report(report: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        """A file of a report."""
        content = read_report(folder, report, name)
        media_type = MEDIA_TYPES[Path(name).suffix]
        return Response(content, media_type=media_type, headers=_AS_A_PICTURE)

    return [bench_reports, bench_report]
