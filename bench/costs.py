"""What speech costs: CPU time, memory and energy of load points, and money by the user's own prices.

currency = "EUR"
machine_per_hour = 0.42      # what a machine like the measured one costs
energy_per_kwh = 0.30        # optional: of the GPUs, where it was measured and is not in the price of the machine
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.metrics import audio_s, audio_seconds_per_second, good, window_s
from bench.records import Cell

JOULES_PER_KWH = 3.6e6


class PriceError(ValueError):
    """A price file that cannot be used; the message names the setting."""


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user pays."""

    machine_per_hour: float
    currency: str = ""
    energy_per_kwh: float | None = None


def load_prices(path: Path) -> Prices:
    """Read a price file. Raises PriceError."""
    try:
        prices = msgspec.toml.decode(path.read_bytes(), type=Prices)
    except OSError as error:
        raise PriceError(f"{path.name}: {error.strerror}") from None
    except msgspec.DecodeError as error:  # of which ValidationError is one
        raise PriceError(f"{path.name}: {error}") from None
    for name in ("machine_per_hour", "energy_per_kwh"):
        value = getattr(prices, name)
        if value is not None and not 0 <= value < 1e9:
            raise PriceError(f"{path.name}: {name} is {value}, and must be 0 or more")
    return prices


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a server used for its speech, over some load points; None where nobody could tell."""

    audio_s: float
    """Seconds of good audio."""
    audio_s_per_s: float
    """The same per second of wall time: the mean of the load points by their length."""
    characters_per_audio_s: float | None
    cpu_s_per_audio_s: float | None
    """CPU seconds of the server's processes per second of good audio; the work on answers that failed is inside."""
    cores_busy: float | None
    """CPU seconds of the server per second of wall time."""
    peak_rss_bytes: int | None
    energy_j_per_audio_s: float | None


def usage_of(cells: Sequence[Cell]) -> Usage | None:
    """Of cells of one arm. None without audio."""
    heard = [sample for cell in cells for sample in good(cell.samples)]
    seconds = sum(map(audio_s, heard))
    if not seconds:
        return None
    wall_s = sum(window_s(cell.samples) for cell in cells)
    whole = [sample for sample in heard if sample.left_s is None]
    whole_s = sum(map(audio_s, whole))
    cpu_s = _sum([cell.server_cpu_s for cell in cells])
    energy_j = _sum([cell.energy_j for cell in cells])
    peaks = [cell.server_peak_rss_bytes for cell in cells if cell.server_peak_rss_bytes is not None]
    return Usage(
        audio_s=seconds,
        audio_s_per_s=sum(audio_seconds_per_second(cell.samples) * window_s(cell.samples) for cell in cells)
        / wall_s,
        characters_per_audio_s=sum(sample.characters for sample in whole) / whole_s if whole_s else None,
        cpu_s_per_audio_s=None if cpu_s is None else cpu_s / seconds,
        cores_busy=None if cpu_s is None else cpu_s / wall_s,
        peak_rss_bytes=max(peaks, default=None),
        energy_j_per_audio_s=None if energy_j is None else energy_j / seconds,
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """None if one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Money, in the currency of the price file."""

    currency: str
    per_audio_hour: float
    per_million_characters: float | None


def cost_of(usage: Usage, prices: Prices) -> Cost:
    """By the throughput that was measured: a machine at that load and no higher one. Energy is added if both are known.

    An hour of audio takes 1 / audio_s_per_s hours of the machine. Raises ValueError without throughput.
    """
    if usage.audio_s_per_s <= 0:
        raise ValueError("no audio, so no cost of it")
    per_hour = prices.machine_per_hour / usage.audio_s_per_s
    if prices.energy_per_kwh is not None and usage.energy_j_per_audio_s is not None:
        per_hour += usage.energy_j_per_audio_s * 3600 / JOULES_PER_KWH * prices.energy_per_kwh
    characters = usage.characters_per_audio_s
    return Cost(
        currency=prices.currency,
        per_audio_hour=per_hour,
        per_million_characters=None if not characters else per_hour / 3600 / characters * 1e6,
    )
