"""The graph path on a stand-in for CUDA: the audio equals eager, nothing moves, and a dead device ends the engine."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.indextts2.gpu_parts import Clock, streams_gain
from bench.indextts2.offline import Offline, OfflineError, Streams
from serving.engine.loop import DeviceLost
from serving.engine.runner import pick_device
from serving.models.indextts2.codes import gpt
from serving.profile import EngineProfile
from tests.cuda_checks.stand_in import StandInGraph, stand_in_cuda
from tests.unit.indextts2.support import CODES, make_profile, plain_attention

pytestmark = pytest.mark.slow

ENGINE: dict[str, Any] = {"threads": 1, "workers": 1, "max_slots": 2, "max_step_units": 512}


def open_offline(device: str, *, positions: str, side_streams: bool = True) -> Offline:
    engine = EngineProfile(device=device, cuda_graphs=device == "cuda", side_streams=side_streams, **ENGINE)
    # Fused kernels are no part of the capture, and need the driver of a device.
    options: dict[str, Any] = {
        "positions": positions,
        "kernels": "torch",
        "max_segment_tokens": 40,
        "fused": [],
    }
    return Offline(make_profile(engine, **options), prompt_s=0.4)


def spoken(offline: Offline) -> dict[str, NDArray[np.float32]]:
    """Two streams of two requests each."""
    heard: defaultdict[str, list[NDArray[np.float32]]] = defaultdict(list)

    def keep(pair: Streams, request_id: str, samples: NDArray[np.float32]) -> None:
        heard[request_id].append(samples.copy())

    with mock.patch.object(Streams, "send_chunk", keep):
        offline.speak(streams=2, requests=2, streaming=True)
    return {name: np.concatenate(chunks) for name, chunks in heard.items()}


def addresses(offline: Offline) -> list[int]:
    """Of everything that a graph reads or writes and that outlives a step."""
    runner, model = offline.runner, offline.model
    of_graphs = [
        tensor.data_ptr()
        for graphs in runner._graphs.values()
        for captured in graphs._captured.values()
        for tensor in (*captured.inputs, *captured.outputs)
    ]
    cache = model.decoding.cache
    state = (
        model.decoding.codes,
        model.decoding.states,
        model.decoding.lengths,
        model.flow.x,
        model.flow.constant,
    )
    return [*of_graphs, *(tensor.data_ptr() for tensor in (*cache.keys, *cache.values, *state))]


@pytest.mark.parametrize(("positions", "side_streams"), [("aligned", False), ("official", True)])
def test_replayed_speech_equals_eager_speech(positions: str, side_streams: bool) -> None:
    plain = spoken(open_offline("cpu", positions=positions))
    with (
        stand_in_cuda(),
        # A capture may not read lengths on the host, as the CPU's form does.
        mock.patch.object(gpt, "decode_attention", plain_attention),
    ):
        offline = open_offline("cuda", positions=positions, side_streams=side_streams)
        before = addresses(offline)
        replayed = spoken(offline)
        assert addresses(offline) == before
    runner = offline.runner
    assert runner.overlaps
    assert not runner.bucket_misses.total()
    assert runner._graphs.keys() == offline.model.stages.keys() - {"condition"}
    for name, graphs in runner._graphs.items():
        assert graphs.replays == runner.steps[name] > 0
        assert all(isinstance(one.graph, StandInGraph) for one in graphs._captured.values())
    kept: set[tuple[frozenset[str], object, object]] = set()
    for name, graphs in runner._graphs.items():
        for one in graphs._captured.values():
            graph: object = one.graph
            assert isinstance(graph, StandInGraph)
            kept.add((runner.lane_of(name), graph.pool, graph.stream))
    lanes = 2 if side_streams else 1
    assert [len(set(each)) for each in zip(*kept, strict=True)] == [lanes] * 3, (
        "a pool and a stream for each lane"
    )
    assert plain.keys() == replayed.keys()
    for name, wave in plain.items():
        assert len(wave) == CODES * 172 // 100 * 256
        np.testing.assert_allclose(replayed[name], wave, atol=2e-5)
    assert runner.busy_s == pytest.approx(sum(offline.stage_s.values()))


def test_what_two_streams_gain_is_measured_on_graphs_of_either() -> None:
    with stand_in_cuda(), mock.patch.object(gpt, "decode_attention", plain_attention):
        offline = open_offline("cuda", positions="aligned")
        clock = Clock(offline.device, graphs=True, repeats=1)
        assert -1 < streams_gain(offline.model, 1, clock) < 10, "the stand-in does one thing after another"


def test_the_engine_s_thread_works_on_the_device_that_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture on cuda:1 would else take streams and events of cuda:0."""
    chosen: list[torch.device] = []
    with stand_in_cuda():
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        assert pick_device(EngineProfile(device="cuda:1")).index == 1
    assert [str(device) for device in chosen] == ["cuda:1"]


def test_inert_rows_stay_short() -> None:
    """Rows beyond the states attend to few cells, however long the engine runs."""
    offline = open_offline("cpu", positions="aligned")
    decoding = offline.model.decoding
    bucket = offline.model.stages["decode"].buckets[-1]
    length = int(decoding.lengths[decoding.spare])
    for _ in range(5):
        offline.model.stages["decode"].forward(*offline.model.stages["decode"].collate([], bucket))
    assert int(decoding.lengths[decoding.spare]) == length


def test_a_fault_harms_its_request_and_a_dead_device_ends_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with stand_in_cuda(), mock.patch.object(gpt, "decode_attention", plain_attention):
        offline = open_offline("cuda", positions="aligned")

        def broken(*_: object) -> tuple[torch.Tensor, ...]:
            raise RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered")

        monkeypatch.setattr(offline.runner._graphs["vocode"], "run", broken)
        with pytest.raises(OfflineError, match="illegal memory access"):
            offline.speak(streams=1, requests=1, streaming=False)

        def dead(_: object = None) -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(torch.cuda, "synchronize", dead)
        with pytest.raises(DeviceLost, match="vocode left the device unusable: RuntimeError: CUDA error"):
            offline.speak(streams=1, requests=1, streaming=False)
