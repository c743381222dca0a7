"""Reports: what they claim follows from the samples, and the page stands alone. No browser."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from bench.headline.figures import speed_bars
from bench.headline.report import (
    README_END,
    README_PLOT,
    README_START,
    build,
    markdown,
    publish,
    readme_table,
    update_readme,
    write_report,
)
from bench.headline.standing import compare_arms, noise_floor
from bench.headline.summary import stage_counts, summarise
from bench.records import UNHEARD, Run, Sweep, SwitchGain, write_json
from tests.unit.bench.headline.headline_support import cell, make_run
from tests.unit.bench.support import heard


@pytest.fixture
def run() -> Run:
    return make_run()


def standings(run: Run, criterion: str) -> dict[float, tuple[Any, Any]]:
    found = compare_arms(run, summarise(run), "server", "reference")
    return {
        c.point.x: (c.standing, c.advantage and c.advantage.value)
        for c in found
        if c.criterion.name == criterion
    }


def test_standings_follow_from_the_samples_and_the_noise_floor(run: Run) -> None:
    found = standings(run, "TTFA p50")
    assert found[1] == ("wins", pytest.approx(2.0))
    assert found[2] == ("even", pytest.approx(20 / 21))
    assert found[4] == ("loses", pytest.approx(0.5))
    assert found[8] == ("not ranked", None)


def test_the_noise_floor_is_what_two_equal_arms_differ_by(run: Run) -> None:
    assert noise_floor(run) is None
    floor = noise_floor(run, "server", "reference")
    assert floor is not None
    assert floor["ttfa_p50_s"] == pytest.approx(1.0)  # of 1.0, 0.05 and 1.0: twice as long both ways


def test_no_good_answer_at_all_loses_and_is_not_invalid(run: Run) -> None:
    for one in run.cells:
        one.mode, one.rate_rps, one.arrivals = "open", float(one.clients or 0), "constant"
    for late in next(one for one in run.cells if one.arm == "reference").samples:
        late.events = [(time + 1.0, size) for time, size in late.events]
    assert standings(run, "SLO share")[1] == ("wins", 1.0)


def test_the_way_to_the_first_sound_is_told(run: Run) -> None:
    for silent in next(one for one in run.cells if one.arm == "server").samples:
        silent.heard = heard(0.2)
    found = {s.point.x: s.onset for s in summarise(run) if s.arm == "server"}
    quick, broken = found[1], found[4]
    assert quick is not None
    assert quick.first_byte_s == quick.playable_s == pytest.approx(0.01)
    assert quick.silence_s == 0.2
    assert quick.sound_s == pytest.approx(0.21)
    assert quick.payload_s == 0.5
    assert (quick.streams, quick.broken) == (20, 0)
    assert broken is not None
    assert (broken.broken, broken.underruns) == (20, 60)
    assert broken.underrun_s == pytest.approx(12.0)
    assert "| 20 of 20 | 60 | 12000 |" in as_markdown(run)


def test_an_invalid_repeat_is_never_averaged_in(run: Run) -> None:
    good = next(s for s in summarise(run) if s.arm == "server" and s.point.x == 1)
    run.cells.append(
        cell("server", 1, ttfa_s=9.0, verdict="INVALID", reasons=["truncated: 1 of 20 requests"])
    )
    again = next(s for s in summarise(run) if s.arm == "server" and s.point.x == 1)
    assert (again.ttfa_p50_s, again.ttfa_p95_s, again.audio_seconds_per_second, again.samples) == (
        good.ttfa_p50_s, good.ttfa_p95_s, good.audio_seconds_per_second, 20,
    )  # fmt: skip
    assert again.invalid == ("truncated: 1 of 20 requests",)
    assert "truncated: 1 of 20 requests" in as_markdown(run)


def test_repeats_pool_their_latencies_and_take_the_median_of_their_rates(run: Run) -> None:
    run.cells.append(cell("server", 1, ttfa_s=0.030, repeat=1))
    point = next(s for s in summarise(run) if s.arm == "server" and s.point.x == 1)
    assert point.repeats == 2
    assert point.samples == 40
    assert point.ttfa_p5_s == pytest.approx(0.010)
    assert point.ttfa_p95_s is None, "too few requests for one"
    assert point.ttfa_p50_s is not None
    assert point.ttfa_p50_s.value == pytest.approx(0.010)


@pytest.mark.parametrize(
    "stats",
    [{"engine": "onnx"}, {"steps": 30}, {"latency_s": {"p50": 0.1}}, {"engine": {"steps": {"a": "many"}}}],
)
def test_what_another_server_states_of_itself_ends_no_report(run: Run, stats: dict[str, Any]) -> None:
    for one in run.cells:
        one.server_before = one.server_after = stats
    assert not any(stage_counts(run, "server").values())
    assert as_markdown(run)


def test_stage_counts_are_per_second_of_audio(run: Run) -> None:
    run.cells[0].server_before = {"steps": {"decode": 10}, "rows": {"decode": 10}}
    run.cells[0].server_after = {"steps": {"decode": 90}, "rows": {"decode": 130}}
    counts = stage_counts(run, "server")  # 20 streams of 2 s: 40 s of audio
    assert counts["steps"] == {"decode": pytest.approx(2.0)}
    assert counts["rows"] == {"decode": pytest.approx(3.0)}
    assert stage_counts(run, "reference") == {}


def as_markdown(run: Run) -> str:
    return markdown(build(run, server="server", reference="reference"))


def test_the_markdown_names_winners_losers_cold_starts_and_method(run: Run) -> None:
    text = as_markdown(run)
    row = "1 client | TTFA p50 (ms) | 10 (10–10) | 20 (20–20) | 2.00× (2.00–2.00) | wins | – | – |"
    assert row in text
    assert "| server | 3 | 500 | 100 |" in text
    assert "did not start: port taken" in text
    for promised in (
        "Test CPU",
        "Workload seed**: 7",
        "two requests",
        "ttfa_p50_s 8 %",
        "the first two requests",
    ):
        assert promised in text


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests ask about."""

    VOID = frozenset({"meta", "link", "br", "img", "path", "use", "rect", "circle", "line", "stop"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str]:
    """The page of the run with a sweep and a micro result beside it."""
    tmp_path = tmp_path_factory.mktemp("report")
    path = tmp_path / "run.json"
    write_json(make_run(), path)
    sweep = Sweep(
        description="each switch on top of those before it",
        switches=[
            SwitchGain(name="start", overrides=[]),
            SwitchGain(
                name="batching", overrides=["engine.max_slots=16"], gain=1.8, gain_low=1.7, gain_high=1.9
            ),
            SwitchGain(
                name="bfloat16", overrides=["engine.dtype=bfloat16"], failure="the server did not start"
            ),
        ],
    )
    (tmp_path / "sweep.json").write_bytes(msgspec.json.encode(sweep))
    entry = {
        "name": "test_decode_part[decoder]",
        "params": {"part": "decoder"},
        "group": "stage",
        "extra_info": {"audio_s": 2.0},
        "stats": {"median": 0.05},
    }
    (tmp_path / "micro.json").write_bytes(msgspec.json.encode({"benchmarks": [entry]}))
    _, html_path = write_report(path, server="server", reference="reference")
    html = html_path.read_text(encoding="utf-8")
    parser = Page()
    parser.feed(html)
    assert parser.open == []
    return parser, html


def test_the_page_holds_every_plot(page: tuple[Page, str]) -> None:
    parser, html = page
    figures = [attrs["id"] for tag, attrs in parser.tags if tag == "figure"]
    assert figures == ["latency", "trade", "throughput", "underruns", "stages", "waterfall"]
    drawings = [attrs for tag, attrs in parser.tags if tag == "svg"]
    assert len(drawings) >= len(figures)
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    assert html.count("<path") > 50
    assert "batching   ×1.80" in html
    assert ">decoder</text>" in html


def test_the_page_stands_alone(page: tuple[Page, str]) -> None:
    parser, html = page
    for tag, attrs in parser.tags:
        assert tag not in {"script", "link", "img", "iframe", "image"}
        for name in ("src", "href", "xlink:href"):
            address = attrs.get(name) or "#"
            assert address.startswith("#") or (tag == "a" and address == "run.json")
    assert "@import" not in html
    assert "://" not in html.replace("http://www.w3.org/", "")


def test_ids_are_unique_and_links_lead_somewhere(page: tuple[Page, str]) -> None:
    parser, _ = page
    sections = [attrs["id"] for tag, attrs in parser.tags if tag in {"section", "figure"} and "id" in attrs]
    assert len(sections) == len(set(sections))
    links = {attrs["href"] or "" for tag, attrs in parser.tags if tag == "a"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(sections)
    ids = [attrs["id"] for _, attrs in parser.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    clips = [attrs["id"] for tag, attrs in parser.tags if tag == "clippath"]
    assert len(clips) == len(set(clips))


def test_colours_follow_the_page(page: tuple[Page, str]) -> None:
    _, html = page
    assert "var(--arm-0)" in html
    assert "prefers-color-scheme: dark" in html
    assert "#0a0b" not in html
    assert "#010203" not in html


def test_text_is_escaped_and_invalid_is_shown(page: tuple[Page, str]) -> None:
    parser, html = page
    assert "a plain server &lt;&amp;&gt;" in html
    assert "late generator: sent 90 ms after due at p99" in "".join(parser.text)


def test_the_readme_table_goes_between_its_markers(run: Run, tmp_path: Path) -> None:
    path, readme = tmp_path / "run.json", tmp_path / "README.md"
    write_json(run, path)
    readme.write_text(f"before\n{README_START}\nold\n{README_END}\nafter\n", encoding="utf-8")
    update_readme(path, readme, server="server", reference="reference")
    once = readme.read_text(encoding="utf-8")
    assert once.startswith(f"before\n{README_START}\n**server against reference: ")
    assert once.endswith(f"{README_END}\nafter\n")
    assert "old" not in once
    assert "| 1, mixed texts | 10 (10–10) ms | 20 (20–20) ms | wins 2.00× |" in once
    plot = (tmp_path / README_PLOT).read_text(encoding="utf-8")
    assert "var(--" not in plot
    drawn = ElementTree.fromstring(plot)
    assert drawn.get("viewBox")
    said = {"".join(text.itertext()) for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"server", "reference", "TTFA (ms)"} <= said
    update_readme(path, readme, server="server", reference="reference")
    assert readme.read_text(encoding="utf-8") == once
    assert (tmp_path / README_PLOT).read_text(encoding="utf-8") == plot


def test_a_run_is_published_in_a_folder_that_names_its_machine(run: Run, tmp_path: Path) -> None:
    latest = tmp_path / "latest" / "run.json"
    write_json(run, latest)
    write_report(latest, server="server", reference="reference")
    with pytest.raises(ValueError, match=r"run\.json is not published: reference INVALID"):
        publish(latest, tmp_path)
    run.cells = [one for one in run.cells if one.verdict == "VALID"]
    run.machine |= {"cpu_family": 25, "cpu_model": 17}
    write_json(run, latest)
    folder = publish(latest, tmp_path)
    assert folder.name == "2026-01-02-test-cpu-25-17-2-cores"
    assert sorted(path.name for path in folder.iterdir()) == ["run.html", "run.json", "run.md"]
    with pytest.raises(ValueError, match="is there already"):
        publish(latest, tmp_path)


def test_a_readme_without_markers_is_an_error(run: Run, tmp_path: Path) -> None:
    path, readme = tmp_path / "run.json", tmp_path / "README.md"
    write_json(run, path)
    readme.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"README\.md must hold"):
        update_readme(path, readme, server="server", reference="reference")


def test_a_run_without_a_reference_is_still_a_report(run: Run) -> None:
    run.cells = [one for one in run.cells if one.arm == "server"]
    assert "holds no load point that both were given" in as_markdown(run)
    report = build(run, server="server", reference="reference")
    assert "No valid load point" in readme_table(report)


def test_the_waterfall_shows_speed_alone() -> None:
    sweep = Sweep(
        description="",
        switches=[
            SwitchGain(name="start", overrides=[]),
            SwitchGain(name="batching", overrides=["a=1"], gain=2.0, gain_low=1.8, gain_high=2.2),
            SwitchGain(name="windows", overrides=["b=1"], metric="engine.first_chunk", gain=3.0),
            SwitchGain(name="bfloat16", overrides=["c=1"], failure="no such device"),
        ],
    )
    [bar] = speed_bars(sweep)
    assert (bar.label, bar.value, bar.low, bar.high) == ("batching", 2.0, 1.8, 2.2)


def test_a_run_that_was_not_judged_is_not_published(run: Run, tmp_path: Path) -> None:
    run.cells = [one for one in run.cells if one.verdict == "VALID"]
    run.exclusions.append(f"interrupted: later load points are missing, {UNHEARD}")
    latest = tmp_path / "latest" / "run.json"
    write_json(run, latest)
    write_report(latest, server="server", reference="reference")
    with pytest.raises(ValueError, match="is not published: interrupted"):
        publish(latest, tmp_path)


def test_a_report_that_is_made_again_compares_the_same_arms(run: Run, tmp_path: Path) -> None:
    write_json(run, tmp_path / "run.json")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "report", str(tmp_path / "run.json")],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run.md").read_text(encoding="utf-8").startswith("# server against reference")
