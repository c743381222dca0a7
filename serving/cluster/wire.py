"""What replicas and the HTTP process hand each other: the engine's own messages as msgpack, samples beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from serving.profile import Profile
from serving.protocol import FromEngine, Ready, Stats, ToEngine

Frame = tuple[bytes, bytes]
"""A message, and the little-endian float32 samples of a Chunk; nothing for the others."""

DEPLOYMENT = "engine"

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_from_engine = msgspec.msgpack.Decoder[FromEngine](FromEngine).decode
decode_to_engine = msgspec.msgpack.Decoder[ToEngine](ToEngine).decode


def application(profile: Profile) -> str:
    """The name under which Serve keeps the engines of a profile: the same for all HTTP processes that share them."""
    engines = (profile.model, profile.engine, profile.streaming, profile.admission)
    cluster = msgspec.structs.replace(profile.cluster, address="")
    return f"tts-{blake2b(encode((*engines, cluster)), digest_size=6).hexdigest()}"


class Described(msgspec.Struct, frozen=True):
    """A replica."""

    replica: str
    node: str
    """Its machine, as Ray names it."""
    ready: Ready


def added(several: Iterable[Stats]) -> Stats:
    """The counters of several engines as those of one."""
    parts = list(several)
    times: dict[str, list[int]] = {}
    for stats in parts:
        for stage, counts in stats.step_times.items():
            old = times.get(stage, [0] * len(counts))
            times[stage] = [a + b for a, b in zip(old, counts, strict=True)]
    return Stats(
        requests=_sums(stats.requests for stats in parts),
        steps=_sums(stats.steps for stats in parts),
        rows=_sums(stats.rows for stats in parts),
        padded_units=_sums(stats.padded_units for stats in parts),
        bucket_misses=_sums(stats.bucket_misses for stats in parts),
        chunks=sum(stats.chunks for stats in parts),
        copies_to_host=sum(stats.copies_to_host for stats in parts),
        busy_s=sum(stats.busy_s for stats in parts),
        slots_used=sum(stats.slots_used for stats in parts),
        slots=sum(stats.slots for stats in parts),
        waiting_segments=sum(stats.waiting_segments for stats in parts),
        in_flight=sum(stats.in_flight for stats in parts),
        max_rows={stage: rows for stats in parts for stage, rows in stats.max_rows.items()},
        step_times=times,
        step_s={
            stage: sum(stats.step_s.get(stage, 0.0) for stats in parts)
            for stage in {stage for stats in parts for stage in stats.step_s}
        },
    )


def _sums(several: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in several:
        total.update(counts)
    return dict(total)
