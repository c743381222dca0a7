"""The embedded voice, with nothing trimmed, against its ONNX graph in float, and its synthesis against the package's.

At other speeds than 1 the package rounds every duration on its own; the pace of ours is proportional.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hibari import dsp

from serving.models import load_frontend, load_model
from serving.models.base import Bucket
from serving.models.driver import step
from serving.models.hibari import Fields
from serving.models.hibari.constants import BINS
from serving.models.hibari.frontend import HibariFrontend
from serving.models.hibari.model import HibariModel
from serving.models.hibari.state import HibariState
from serving.models.hibari.torch.decode import Decode
from serving.profile import ModelProfile, Profile
from serving.protocol import Segment, SpeechParams
from serving.text import read
from tests.parity.hibari_reference import FloatGraph, Spoken

TEXTS = [
    "Hello there.",
    "The committee has decided to postpone the decision until more evidence becomes available.",
    "Could you tell me where the nearest pharmacy is?",
    "On March 3rd, 1,250 people paid $9.99 each!",
    "No.",
]
TOLERANCE = 1e-3
PARAMS = SpeechParams(voice="heart", seed=0, fields=Fields())


@pytest.fixture(scope="module")
def frontend() -> HibariFrontend:
    frontend = load_frontend(Profile(name="test"))
    assert isinstance(frontend, HibariFrontend)
    return frontend


@pytest.fixture(scope="module")
def model() -> HibariModel:
    torch.set_num_threads(1)
    profile = Profile(name="test", model=ModelProfile(options={"kernels": "torch", "trim": False}))
    model = load_model(profile, torch.device("cpu"), torch.float32)
    assert isinstance(model, HibariModel)
    return model


@pytest.fixture(scope="module")
def graph() -> FloatGraph:
    return FloatGraph()


def segment_of(frontend: HibariFrontend, text: str) -> Segment:
    (segment,) = frontend.segments(read(text), PARAMS)
    return segment


def run(model: HibariModel, segment: Segment) -> tuple[HibariState, Spoken]:
    """Our network's outputs in the graph's names, and the state that is ready to decode."""
    state = model.open(PARAMS, segment, 0, urgent=False)
    encode, prosody, decode = model.encode, model.prosody, model.decode
    assert isinstance(decode, Decode)

    def padded() -> Bucket:
        return Bucket(2, state.length + 5)

    with torch.inference_mode():
        durations = encode.forward(*encode.collate([state], padded()))[2]
    step(encode, [state])
    with torch.inference_mode():
        f0 = prosody.forward(*prosody.collate([state], padded()))[1]
    frames = 2 * state.length
    step(prosody, [state])
    with torch.inference_mode():
        inputs, _, _, slots, *takes, ends, heads, _, _, _ = decode.collate([state], padded())
        histories = decode.histories.index_select(1, slots).unbind(0)
        features, _ = decode.decoder(inputs, histories, takes, ends, heads)
        lh, theta, ln, lr, phi = (part.numpy() for part in decode.decoder.parameters_of(features))
    return state, Spoken(
        lh,
        theta,
        ln,
        lr,
        phi,
        f0[0, :frames].numpy(),
        durations[0, : len(segment.tokens)].numpy(),
    )


@pytest.mark.parametrize("text", TEXTS)
def test_network_matches_the_float_graph(
    frontend: HibariFrontend, model: HibariModel, graph: FloatGraph, text: str
) -> None:
    segment = segment_of(frontend, text)
    _, ours = run(model, segment)
    theirs = graph(segment.tokens, 1.0)
    np.testing.assert_array_equal(ours.durations, theirs.durations)
    for name in ("f0", "lh", "theta", "ln", "lr", "phi"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=0, atol=TOLERANCE, err_msg=name
        )


@pytest.mark.parametrize("text", TEXTS)
def test_synthesis_matches_the_package(
    frontend: HibariFrontend, model: HibariModel, graph: FloatGraph, text: str
) -> None:
    """The same parameters, pitch and noise give the package's samples."""
    segment = segment_of(frontend, text)
    theirs = graph(segment.tokens, 1.0)
    frames = theirs.f0.size
    spectra = (theirs.lh, theirs.theta, theirs.ln, theirs.lr, theirs.phi)
    expected = dsp.synth(*(part.T for part in spectra), theirs.f0, np.random.default_rng(5))

    drawn = np.random.default_rng(5).standard_normal((BINS, 2 * frames), dtype=np.float32)
    noise = torch.from_numpy(drawn).view(BINS, frames, 2).permute(1, 2, 0)
    state, _ = run(model, segment)
    decode, pulses = model.decode, model.prosody.pulses
    assert isinstance(decode, Decode)
    with torch.inference_mode():
        _, _, _, slots, *_, overlaps, kinds, last = decode.collate([state], Bucket(1, state.length))
        blocks = pulses(torch.from_numpy(theirs.f0)[None], torch.tensor([frames]))[0]
        source = blocks.as_strided((frames, dsp.N_FFT), (dsp.HOP, 1))
        parameters = [torch.from_numpy(part) for part in spectra]
        synthesis = decode.synthesis
        table = synthesis.noise
        synthesis.noise = noise.contiguous()
        try:
            windowed = synthesis(parameters, source, torch.arange(frames))
        finally:
            synthesis.noise = table
        samples = decode.overlap_add(windowed, slots, overlaps, kinds, last).flatten().numpy()
    np.testing.assert_allclose(samples, expected, rtol=0, atol=TOLERANCE)
