"""When a probe holds, when it fails and when it says nothing."""

from __future__ import annotations

import pytest

from bench.capacity.verdict import Limits, verdict
from bench.load.validity import validate
from bench.records import Cell
from tests.unit.bench.capacity.made_up import cell, refused, sample

SLO = Limits(ttfa_p95_s=0.25, underrun_s=0.1)


def judged(found: Cell, ramp_s: float = 0.0) -> tuple[str, str]:
    validate(found)
    standing, reasons = verdict(found, SLO, ramp_s)
    return standing, "; ".join(reasons)


def test_a_probe_within_the_slo_holds() -> None:
    assert judged(cell([sample(index, ttfa_s=0.2) for index in range(20)])) == ("held", "")
    one_late = [sample(index, ttfa_s=0.2 if index else 3.0) for index in range(20)]
    assert judged(cell(one_late))[0] == "held", "one of twenty is within p95"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (cell([sample(i, ttfa_s=0.3) for i in range(20)]), "audible TTFA p95 is 300 ms"),
        (cell([sample(i, ttfa_s=0.2 if i > 1 else 3.0) for i in range(20)]), "p95 is 3000 ms"),
        (cell([sample(0), sample(1, stall_s=0.2)]), "1 of 2 answers ran dry, for up to 200 ms"),
        (cell([sample(0), refused(1)]), "1 of 2 requests were refused"),
        (cell([refused(0)]), "no request succeeded"),
        (cell([sample(0), sample(1, error="truncated", detail="broke")]), "1 of 2 requests broke off"),
        (cell([sample(0), sample(1, doubts=["silence"])]), "heard: silence (1 waves)"),
        (cell([sample(0)], server_before={"cache": {"enabled": True}}), "keeps answers"),
    ],
)
def test_what_is_not_met_is_named(found: Cell, words: str) -> None:
    standing, reasons = judged(found)
    assert standing == "failed"
    assert words in reasons


def test_requests_of_the_ramp_are_no_evidence() -> None:
    early = sample(0, ttfa_s=3.0, due_s=1.0)
    assert judged(cell([early, sample(1)]))[0] == "failed"
    assert judged(cell([early, sample(1)]), ramp_s=2.0) == ("held", "")
    assert judged(cell([early]), ramp_s=2.0)[1] == "audible TTFA p95 is 3000 ms", "there is no other"


def test_a_disturbed_machine_makes_a_probe_void_whatever_it_says() -> None:
    assert judged(cell([sample(0)], others_cpu_share=0.9)) == (
        "void",
        "disturbed machine: others used 0.90 of a core",
    )
    assert judged(cell([sample(0, ttfa_s=3.0)], others_cpu_share=0.9))[0] == "void"


def test_a_late_generator_voids_all_but_what_fails_by_more_than_it_was_late() -> None:
    late = {"lateness_p99_s": 0.06}
    assert judged(cell([sample(0)], health=late))[0] == "void"
    assert judged(cell([sample(0, ttfa_s=0.3)], health=late))[0] == "void", (
        "0.3 s may be 0.24 s and 0.06 s late"
    )
    assert judged(cell([sample(0, ttfa_s=0.4)], health=late)) == ("failed", "audible TTFA p95 is 400 ms")
    assert judged(cell([sample(0), refused(1)], health=late))[0] == "failed"


def test_a_probe_in_which_nobody_asked_says_nothing() -> None:
    standing, reasons = judged(cell([]))
    assert standing == "void"
    assert "no request was due in it" in reasons
