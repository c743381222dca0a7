"""The page over all runs: machines apart, commits in order, what cannot be read named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import main
from bench.headline.history import page, read_history
from bench.records import write_json
from tests.unit.bench.headline.headline_support import cell, make_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs of one machine, the later twice as slow; one of another; one too old; one that is not published."""
    for name, day, cpu, slower in (
        ("b-later", "02", "One CPU", 2.0),
        ("a-first", "01", "One CPU", 1.0),
        ("c-other", "03", "Other CPU <&>", 1.0),
        ("latest", "04", "One CPU", 9.0),
    ):
        run = make_run()
        run.machine, run.commit, run.started_at = (
            {"cpu": cpu, "cores": 2},
            f"{name}-commit",
            f"2026-01-{day}T00:00:00Z",
        )
        run.cells = [
            cell(arm, clients, ttfa_s=0.01 * slower) for arm in ("server", "reference") for clients in (1, 4)
        ]
        write_json(run, tmp_path / name / "run.json")
    (tmp_path / "0-old").mkdir()
    (tmp_path / "0-old" / "run.json").write_text('{"schema_version": 1, "arms": [], "cells": []}')
    return tmp_path


def test_machines_stand_apart_and_commits_in_order(folder: Path) -> None:
    found = read_history(folder)
    assert [(machine.name, [entry.folder for entry in machine.entries]) for machine in found.machines] == [
        ("One CPU, 2 cores", ["a-first", "b-later"]),
        ("Other CPU <&>, 2 cores", ["c-other"]),
    ]
    one, other = found.machines
    changes = {(row.criterion.name, row.point.load): row.change for row in one.rows}
    assert changes["TTFA p50", "1 client"] == "2.00×, worse"
    assert (
        changes["throughput", "1 client"].endswith("intervals overlap")
        or "×" in changes["throughput", "1 client"]
    )
    assert len(one.panels) == 3
    assert other.panels == [], "one run is no trend"
    assert all(row.change == "" for row in other.rows)


def test_the_page_names_machines_commits_and_what_it_cannot_compare(folder: Path) -> None:
    text = page(read_history(folder))
    assert "2 machines: a figure of one says nothing of a figure of another" in text
    assert "Other CPU &lt;&amp;&gt;" in text
    assert "b-later-co" in text
    assert 'href="a-first/run.html"' in text
    assert "0-old</b>: run.json has schema 1" in text
    assert "<script" not in text
    assert "://" not in text.replace("http://www.w3.org/", "")


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(folder)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(folder / "history.html")
    assert "0-old: run.json has schema 1" in said.err
    assert (folder / "history.html").exists()


def test_no_run_is_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(tmp_path)]) == 2
    assert "no run in" in capsys.readouterr().err
    assert not (tmp_path / "history.html").exists()
