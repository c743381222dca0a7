"""The voice in 8-bit kernels is nearer to its float graph than the package, which multiplies in 8 bits too, is."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional

from serving.models import load_frontend
from serving.models.hibari import Fields
from serving.models.hibari.constants import CHANNELS
from serving.models.hibari.cpu import backend as cpu_backend
from serving.models.hibari.cpu.backend import CpuBackend
from serving.models.hibari.weights import load_weights
from serving.models.hibari.windows import LAYERS, REACH, Window
from serving.native.tiers import TIERS
from serving.profile import Profile
from serving.protocol import SpeechParams
from serving.text import read
from tests.parity.hibari_reference import OUTPUTS, FloatGraph, Floats

pytestmark = pytest.mark.slow

TEXTS = (
    "Could you tell me where the nearest pharmacy is?",
    "The committee has decided to postpone the decision until more evidence becomes available.",
    "Hello there.",
    "She sells sea shells by the sea shore.",
)
NAMES = ("lh", "theta", "ln", "lr", "phi")


def package_graph() -> onnxruntime.InferenceSession:
    with as_file(files("hibari").joinpath("assets/hibari.onnx")) as path:
        model = onnx.load(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@torch.inference_mode()
def spoken(backend: CpuBackend, tokens: list[int], durations: Floats) -> dict[str, Floats]:
    """What the kernels make of the tokens, spoken as slowly as the float graph does."""
    speech, prosody, _ = backend.encoder(torch.tensor([tokens]), torch.tensor([len(tokens)]))
    of_frame = torch.from_numpy(np.repeat(np.arange(len(tokens)), durations.astype(np.int64)))
    frames = len(of_frame)
    f0, energy = backend.prosody(prosody[:, of_frame], torch.tensor([frames]))
    pitch = torch.log1p(f0.relu()) / 5
    text = speech[0, of_frame].repeat_interleave(2, 0)
    inputs = functional.pad(torch.cat((text, pitch.T, energy.T), 1), (0, 0, REACH, REACH))
    window = Window(0, 2 * frames, 2 * frames)
    features, _ = backend._decoder(inputs, torch.empty(LAYERS - 1, 0, CHANNELS), window)
    heads = backend._synthesis._heads
    return {name: head(features).numpy() for name, head in zip(NAMES, heads, strict=True)} | {
        "f0": f0[0].numpy()
    }


def distance(ours: Floats, truth: Floats) -> float:
    return float(np.sqrt(np.square(ours - truth).mean()))


def test_the_voice_in_bytes_is_nearer_to_float_than_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_backend, "IN_BYTES", frozenset(TIERS))
    backend, graph, package = CpuBackend(load_weights()), FloatGraph(), package_graph()
    frontend = load_frontend(Profile(name="test"))
    params = SpeechParams(voice="heart", seed=0, fields=Fields())
    ours: dict[str, list[float]] = {name: [] for name in (*NAMES, "f0")}
    theirs: dict[str, list[float]] = {name: [] for name in (*NAMES, "f0")}
    for text in TEXTS:
        (segment,) = frontend.segments(read(text), params)
        truth = graph(segment.tokens, 1.0)
        inputs = {"ids": np.asarray([segment.tokens], np.int64), "speed": np.asarray([1.0], np.float32)}
        *spectra, f0 = package.run(list(OUTPUTS), inputs)
        made = dict(zip(NAMES, (part[0].T for part in spectra), strict=True)) | {"f0": f0[0]}
        own = spoken(backend, segment.tokens, truth.durations)
        for name in ours:
            ours[name].append(distance(own[name], getattr(truth, name)))
            if made["f0"].shape == truth.f0.shape:  # it may hold a phoneme longer
                theirs[name].append(distance(made[name], getattr(truth, name)))
    for name, distances in ours.items():
        assert theirs[name]
        assert np.mean(distances) < 0.8 * np.mean(theirs[name]), name
