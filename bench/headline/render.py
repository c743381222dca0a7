"""Templates and the words of their figures."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.headline.figures import slug
from bench.headline.intervals import LEAST_REQUESTS, Estimate, Ratio
from bench.headline.standing import MOST_FAILED, MOST_STALLED, Criterion, failures
from bench.headline.summary import LEAST_FOR_P95
from bench.records import Arm

DEFINITIONS = {
    "TTFA": "audible time to first audio: from when the request was due until its listener hears the first sound "
    "(-45 dBFS in a frame of 10 ms); the silence before it is played first, and may end after the last byte came",
    "total": "from when the request was due to its last byte",
    "throughput": "seconds of good audio made per second, from the first due time to the last end",
    "text": "characters of the texts of good answers per second, over the same time: silence does not raise it",
    "stall": "how long the playback buffer of a player that starts at the first audio byte is empty, over streams "
    "of two chunks or more",
    "SLO share": "of 100 requests that were due, those that met the SLO above: what was refused or failed did not",
    "prebuffer": "seconds of audio that a player must hold before it starts, to have no underrun",
    "CPU": "CPU seconds of the server's processes per second of audio, without the warm-up; the comparison is the "
    "geometric mean over the load points, with the interval of Student's t; that of one point has none",
    "RTF": "total over seconds of audio received; the wait for a free server is inside",
    "percentiles": "nearest rank over the pooled requests of the valid repeats: always a measured value",
    "rates": "median over the valid repeats of a load point",
    "intervals": "95 %, by bootstrap: requests are drawn again within each repeat, in blocks of neighbours, seeded. An "
    "advantage has a wider one, so that not one run in 20 calls a difference that is chance",
    "ranks": "a difference outside the interval of the advantage and outside the A/A noise floor. An arm that refused "
    f"or failed more than {MOST_FAILED:.0%} of what was due wins no latency and no throughput, "
    f"and one whose streams stall more often by {MOST_STALLED:.0%} wins no first sound",
    "p95": f"given from {LEAST_FOR_P95} requests on; an interval from {LEAST_REQUESTS}",
}


@cache
def environment() -> Environment:
    """Whose filters say figures in words; a name that is missing is an error."""
    made = Environment(
        loader=PackageLoader("bench.headline"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ms": _ms,
        "num": _num,
        "percent": _percent,
        "slug": slug,
        "estimate": _estimate,
        "interval": _interval,
        "advantage": _advantage,
        "failures": failures,
        "kernels": _kernels,
    }
    return made


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def _num(value: Any) -> str:
    return (
        "–"
        if value is None
        else f"{value:.3g}"
        if isinstance(value, float) and value < 100
        else f"{value:.0f}"
    )


def _estimate(estimate: Estimate | None, scale: float, interval: bool = True) -> str:
    """ "41.2 (39.8–43)" """
    if estimate is None:
        return "–"
    value = _num(estimate.value * scale)
    if estimate.low is None or estimate.high is None or not interval:
        return value
    return f"{value} ({_num(estimate.low * scale)}–{_num(estimate.high * scale)})"


def _interval(estimate: Estimate | None, scale: float) -> str:
    """ "39.8–43", or nothing."""
    return _estimate(estimate, scale).partition(" (")[2].rstrip(")")


def _advantage(ratio: Ratio | None, criterion: Criterion, interval: bool = True) -> str:
    """ "1.90× (1.80–2.01)"; of a share in points of 100."""
    if ratio is None:
        return "–"
    if criterion.share:
        low, value, high = (f"{number * 100:+.0f}" for number in (ratio.low, ratio.value, ratio.high))
        return f"{value} ({low} to {high})" if interval else value
    return f"{ratio.value:.2f}×" + (f" ({ratio.low:.2f}–{ratio.high:.2f})" if interval else "")


def _kernels(arm: Arm) -> str:
    """What /readyz says of the kernels that an arm chose for this CPU; empty if it says nothing."""
    said = [f"{name} {value}" for name, value in arm.info.items() if "kernel" in name and value]
    return f", {', '.join(said)}" if said else ""


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.3g} %"
