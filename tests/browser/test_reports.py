"""The page at /bench draws what the bench's own report says; /docs lists what the server takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.headline.report import write_report
from bench.headline.summary import summarise
from bench.records import Cell, Run, write_json
from tests.browser.acting import until
from tests.browser.conftest import OpenPage
from tests.support import ROOT, Server, serving
from tests.unit.bench.headline.headline_support import make_run

REPORT = "2026-11-22-amd-epyc-milan-2-cores"
"""Of an older schema: the page shows it, and says so."""
RUN = ROOT / "reports" / REPORT / "run.json"
ROWS = """
[...document.querySelectorAll("#shown table")].at(-1).tBodies[0].rows.length
"""


def spoken() -> Run:
    """A run whose waves begin with silence, and with pieces that come too late for it."""
    run = make_run()
    for cell in run.cells:
        for sample in cell.samples:
            assert sample.heard is not None
            sample.heard.audible_at_s = 0.1 + 0.05 * sample.index
    return run


@pytest.fixture(scope="module")
def reports_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two runs, the second twice as slow to begin, with a name that looks like markup."""
    folder = tmp_path_factory.mktemp("reports")
    for name, slower in (("b first", 1.0), ("a <b>second & ü", 2.0)):
        (folder / name).mkdir()
        run = json.loads(RUN.read_text(encoding="utf-8"))
        for cell in run["cells"]:
            for sample in cell["samples"]:
                wait = (slower - 1) * (sample["events"][0][0] - sample["due_s"]) if sample["events"] else 0
                sample["events"] = [[time + wait, size] for time, size in sample["events"]]
                sample["end_s"] += wait
        (folder / name / "run.json").write_text(json.dumps(run), encoding="utf-8")
    shutil.copy(RUN.with_suffix(".html"), folder / "b first")
    (folder / "b first" / "broken.json").write_text("{", encoding="utf-8")
    write_json(spoken(), folder / "0 planted" / "run.json")
    write_report(folder / "0 planted" / "run.json", server="server", reference="reference")
    with serving(
        tmp_path_factory.mktemp("bench"), "--set", "model.name=tone", "--set", f"http.reports={folder}"
    ) as started:
        yield started


def test_figures_are_those_of_the_bench(open_page: OpenPage, reports_server: Server) -> None:
    page = open_page("/bench?report=0 planted/run.json", server=reports_server)
    made = page.evaluate(
        """async (path) => {
          const { summaries } = await import("/page/runs.js");
          return summaries(await (await fetch(path)).json());
        }""",
        "/bench/reports/0 planted/run.json",
    )
    run = spoken()
    wanted = {(one.arm, one.point.load): one for one in summarise(run)}
    assert {(one["arm"], one["load"]) for one in made} == set(wanted)
    compared = 0
    for one in made:
        said = wanted[one["arm"], one["load"]]
        for name, scale, figure in (
            ("ttfaMs", 1e3, said.ttfa_p50_s),
            ("ttfaP95Ms", 1e3, said.ttfa_p95_s),
            ("totalMs", 1e3, said.total_p50_s),
            ("speed", 1, said.audio_seconds_per_second),
        ):
            if figure is not None:
                assert one[name] == pytest.approx(figure.value * scale), (name, one)
                compared += 1
            else:
                assert one[name] is None
    assert compared == 3 * 7, "one of the eight is INVALID"
    assert page.evaluate(ROWS) == len(wanted)
    assert page.locator(".plot").count() == 2
    assert "Test CPU" in page.inner_text("#facts")
    assert "first byte" not in page.inner_text("#facts")


def test_a_run_of_an_older_schema_is_still_drawn_and_named(open_page: OpenPage) -> None:
    page = open_page(f"/bench?report={REPORT}/run.json")
    assert page.evaluate(ROWS) == len({(c.arm, c.point) for c in old_cells()})
    assert page.locator(".plot").count() == 4
    assert "AMD EPYC" in page.inner_text("#facts")
    assert "first byte, not first sound" in page.inner_text("#facts")


def old_cells() -> list[Cell]:
    return msgspec.convert(json.loads(RUN.read_text(encoding="utf-8"))["cells"], list[Cell])


def test_two_reports_stand_side_by_side(open_page: OpenPage, reports_server: Server) -> None:
    page = open_page("/bench", server=reports_server)
    assert page.inner_text("#problem") == ""
    page.select_option("#report", label="a <b>second & ü · run")
    page.select_option("#other", label="b first · run")
    until(page, "document.querySelector('.worse')")
    ratios = page.evaluate(
        """[...document.querySelectorAll("#shown table tbody tr")]
          .map((row) => [...row.cells].map((cell) => cell.textContent))
          .filter((cells) => cells[3].startsWith("TTFA p50"))
          .map((cells) => cells.at(-1))"""
    )
    assert ratios
    assert set(ratios) == {"2.00× worse"}
    assert page.locator(".plot .second").count() > 0
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.input_value("#other") == "b first/run.json"
    assert page.locator(".worse").count() > 0


def test_a_reports_own_page_is_shown_without_its_scripts(open_page: OpenPage, reports_server: Server) -> None:
    page = open_page("/bench", server=reports_server)
    assert page.input_value("#report") == "b first/run.json"
    page.locator("iframe").scroll_into_view_if_needed()
    assert page.get_attribute("iframe", "sandbox") == ""
    heading = page.frame_locator("iframe").locator("h1")
    assert heading.text_content() == "granian against reference"


def test_a_report_that_is_broken_is_said_to_be(open_page: OpenPage, reports_server: Server) -> None:
    page = open_page("/bench", server=reports_server)
    page.select_option("#report", label="b first · broken")
    until(page, "document.querySelector('#problem').textContent")
    assert page.inner_text("#problem") == "The report is no JSON."


@pytest.mark.parametrize("report", ["gate-proof-aa", "gate-proof-planted", "indextts2-cpu-one"])
def test_reports_of_other_kinds_are_shown_as_figures(open_page: OpenPage, report: str) -> None:
    page = open_page("/bench")
    page.select_option("#report", label=f"{REPORT} · {report}")
    until(page, f"document.querySelector('#files').textContent.includes('{report}.json')")
    assert page.evaluate(ROWS) > 3


def test_where_there_are_none_it_says_so(open_page: OpenPage, tmp_path: Path) -> None:
    with serving(tmp_path, "--set", "model.name=tone", "--set", 'http.reports=""') as server:
        page = open_page("/bench", server=server)
        assert "shows no reports" in page.inner_text("#note")
        assert page.is_disabled("#report")


def test_the_api_is_listed_with_the_models_own_fields(open_page: OpenPage) -> None:
    page = open_page("/docs")
    shown = page.locator("summary .path").all_inner_texts()
    assert {"/tts", "/tts/stream", "/v1/audio/speech", "/voices", "/readyz"} <= set(shown)
    assert not {"/", "/bench", "/docs"} & set(shown)
    page.click("summary:has(.path:text-is('/tts/stream'))")
    row = page.locator("details[open] tr", has=page.locator("th code:text-is('speed')"))
    assert row.locator("td").all_inner_texts()[:2] == ["number from 0.5 to 2", "1"]
