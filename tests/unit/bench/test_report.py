"""Reports: what they claim follows from the samples, and the page stands alone. No browser."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from bench.headline.report import (
    README_END,
    README_PLOT,
    README_START,
    build,
    markdown,
    readme_table,
    speed_bars,
    update_readme,
    write_report,
)
from bench.headline.summary import compare_arms, noise_floor, stage_counts, summarise
from bench.records import Arm, Cell, ColdStart, Generator, Run, Sample, Sweep, SwitchGain, write_json
from tests.unit.bench.support import heard

RATE_HZ = 24_000
CALM = Generator(
    lateness_p50_s=0.0, lateness_p99_s=0.001, loop_lag_p99_s=0.001, cpu_share=0.1, machine_cpu_share=0.9
)


def sample(index: int, *, ttfa_s: float, gap_s: float, chunks: int = 4, chunk_s: float = 0.5) -> Sample:
    """A stream of `chunks` chunks of `chunk_s` seconds of audio each, `gap_s` apart."""
    due = index * 1.0
    size = int(chunk_s * RATE_HZ) * 2
    events = [(due + ttfa_s + gap_s * number, size) for number in range(chunks)]
    return Sample(
        index=index, text="Hello.", characters=6, due_s=due, sent_s=due, header_s=due + 0.001, events=events,
        end_s=events[-1][0], heard=heard(), status=200, sample_rate_hz=RATE_HZ,
    )  # fmt: skip


def cell(arm: str, clients: int, *, ttfa_s: float, gap_s: float = 0.1, **fields: Any) -> Cell:
    """Twenty equal streams."""
    return Cell(
        arm=arm, mode="closed", endpoint="/tts/stream", texts="mixed", clients=clients, seed=1,
        duration_s=20.0, warmup_requests=2, generator=CALM,
        samples=[sample(index, ttfa_s=ttfa_s, gap_s=gap_s) for index in range(20)], **fields,
    )  # fmt: skip


@pytest.fixture
def run() -> Run:
    return make_run()


def make_run() -> Run:
    """The server wins at 1 client, is even at 2 and loses at 4; at 8 the reference is INVALID."""
    arms = [
        Arm(
            name="server",
            description="this server",
            cold_starts=[ColdStart(ready_s=3.0, first_request_s=0.5, first_ttfa_s=0.1)],
        ),
        Arm(name="reference", description="a plain server <&>"),
        Arm(name="broken", description="never came up", failure="port taken"),
    ]
    void: dict[str, Any] = {"verdict": "INVALID", "reasons": ["late generator: sent 90 ms after due at p99"]}
    return Run(
        id="r1", started_at="2026-01-02T03:04:05Z", duration_s=60.0, machine={"cpu": "Test CPU", "cores": 2},
        commit="abc1234", dirty=False, profile="default", workload_seed=7, warmup_rule="two requests",
        noise_floor={"ttfa_p50_s": 0.08}, arms=arms, exclusions=["the first two requests of each cell"],
        cells=[
            cell("server", 1, ttfa_s=0.010), cell("reference", 1, ttfa_s=0.020),
            cell("server", 2, ttfa_s=0.021), cell("reference", 2, ttfa_s=0.020),
            cell("server", 4, ttfa_s=0.060, gap_s=0.7), cell("reference", 4, ttfa_s=0.030),
            cell("server", 8, ttfa_s=0.090), cell("reference", 8, ttfa_s=0.001, **void),
        ],
    )  # fmt: skip


def standings(run: Run, criterion: str) -> dict[float, tuple[Any, Any]]:
    found = compare_arms(run, summarise(run), "server", "reference")
    return {c.point.x: (c.standing, c.advantage) for c in found if c.criterion.name == criterion}


def test_standings_follow_from_the_samples_and_the_noise_floor(run: Run) -> None:
    found = standings(run, "TTFA p50")
    assert found[1] == ("wins", pytest.approx(2.0))
    assert found[2] == ("even", pytest.approx(20 / 21))
    assert found[4] == ("loses", pytest.approx(0.5))
    assert found[8] == ("INVALID", None)


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
    assert standings(run, "goodput")[1] == ("wins", None)


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
    assert point.ttfa_p95_s == pytest.approx(0.030)


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
    assert "| /tts/stream, mixed texts, 1 client | TTFA p50 (ms) | 10 | 20 | 2.00× | wins |" in text
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
    assert figures == ["latency", "throughput", "stalls", "stages", "waterfall"]
    assert sum(tag == "svg" for tag, _ in parser.tags) == len(figures)
    assert html.count("<path") > 50
    assert "batching   ×1.80" in html
    assert ">decoder</text>" in html


def test_the_page_stands_alone(page: tuple[Page, str]) -> None:
    parser, html = page
    for tag, attrs in parser.tags:
        assert tag not in {"script", "link", "img", "iframe", "image"}
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith("#")
    assert "@import" not in html
    assert "url(http" not in html


def test_ids_are_unique_and_links_lead_somewhere(page: tuple[Page, str]) -> None:
    parser, _ = page
    sections = [attrs["id"] for tag, attrs in parser.tags if tag in {"section", "figure"} and "id" in attrs]
    assert len(sections) == len(set(sections))
    assert {(attrs["href"] or "")[1:] for tag, attrs in parser.tags if tag == "a"} <= set(sections)
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
    assert once.startswith(f"before\n{README_START}\n| ")
    assert once.endswith(f"{README_END}\nafter\n")
    assert "old" not in once
    assert "| 1, mixed texts | 10 ms | 20 ms | wins 2.00× |" in once
    plot = (tmp_path / README_PLOT).read_text(encoding="utf-8")
    assert "var(--" not in plot
    drawn = ElementTree.fromstring(plot)
    assert drawn.get("viewBox")
    said = {"".join(text.itertext()) for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"server", "reference", "TTFA (ms)"} <= said
    update_readme(path, readme, server="server", reference="reference")
    assert readme.read_text(encoding="utf-8") == once
    assert (tmp_path / README_PLOT).read_text(encoding="utf-8") == plot


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
