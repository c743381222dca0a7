"""A model of another sample rate and hop: windows, prompts, conditioning and samples follow its config."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.models.driver import step
from serving.models.indextts2 import model as model_module
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel.regulator import target_frames
from serving.models.indextts2.model import IndexTts2Model
from serving.models.indextts2.stages.streaming import StreamingOptions
from serving.models.indextts2.weights.checkpoint import RandomWeights
from serving.models.indextts2.weights.config_file import ConfigError, read_config
from serving.protocol import Segment
from tests.support import ROOT
from tests.unit.indextts2.support import CODES, STREAMING, make, params

RATE_HZ, HOP = 16000, 128
FRAME_HZ = RATE_HZ / HOP


@pytest.fixture(scope="module")
def config() -> IndexTts2Config:
    tiny = IndexTts2Config.tiny()
    mel = msgspec.structs.replace(tiny.s2mel.mel, sample_rate_hz=RATE_HZ, hop_length=HOP)
    rates = {"upsample_rates": (4, 4, 2, 2, 2), "upsample_kernel_sizes": (8, 8, 4, 4, 4)}
    return msgspec.structs.replace(
        tiny,
        s2mel=msgspec.structs.replace(tiny.s2mel, mel=mel),
        vocoder=msgspec.structs.replace(tiny.vocoder, **rates),
    )


@pytest.fixture(scope="module")
def model(config: IndexTts2Config) -> IndexTts2Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_module, "open_weights", lambda _: RandomWeights(config, 0))
        return make()[1]


@pytest.mark.parametrize("urgent", [False, True])
def test_a_segment_at_other_rates(model: IndexTts2Model, urgent: bool) -> None:
    assert model.spec.sample_rate_hz == RATE_HZ
    state = model.open(params(), Segment(index=1, tokens=[5, 6, 7, 8]), 0, urgent=urgent)
    chunks = []
    while state.stage is not None:
        (samples,) = step(model.stages[state.stage], [state])
        if samples is not None:
            chunks.append(samples)
    assert state.voice is not None
    assert state.stream is not None
    # Four seconds of built-in voice, of which the end prompts the flow.
    assert state.voice.reference_mel.shape[1] == 4 * FRAME_HZ
    assert len(state.stream.reference_mel) == round(model.options.prompt_s * FRAME_HZ)
    assert sum(map(len, chunks)) == target_frames(CODES) * HOP
    assert all(np.isfinite(chunk).all() for chunk in chunks)
    if urgent:
        assert len(chunks) > 1
        # All but the last hold a frame back for the seam.
        first_s = (len(chunks[0]) + HOP) / RATE_HZ
        assert first_s == pytest.approx(STREAMING.first_chunk_s, abs=1.72 / FRAME_HZ)


def test_a_vocoder_of_another_hop_is_refused(tmp_path: Path) -> None:
    samples = ROOT / "tests" / "parity" / "indextts2"
    shutil.copy(samples / "small_config.yaml", tmp_path / "config.yaml")
    vocoder = json.loads((samples / "small_bigvgan.json").read_text(encoding="utf-8"))
    file = tmp_path / "bigvgan.json"
    file.write_text(json.dumps(vocoder), encoding="utf-8")
    assert read_config(tmp_path, bigvgan_config=file).vocoder.hop_length == 256
    file.write_text(json.dumps(vocoder | {"upsample_rates": [4, 4, 2, 2, 2, 1]}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"128 samples of a frame; .*hop_length of 256"):
        read_config(tmp_path, bigvgan_config=file)


def test_windows_count_in_the_config_s_frames(config: IndexTts2Config) -> None:
    official = StreamingOptions(mel=IndexTts2Config.official().s2mel.mel, prompt_s=3.0, history_s=1.0)
    other = StreamingOptions(mel=config.s2mel.mel, prompt_s=3.0, history_s=1.0)
    assert (official.prompt_frames, official.history_frames, official.fade_samples) == (258, 86, 256)
    assert (other.prompt_frames, other.history_frames, other.fade_samples) == (375, 125, HOP)
    assert official.codes(10.0) == round(10 * 22050 / 256 / 1.72)
    assert other.codes(10.0) == round(10 * FRAME_HZ / 1.72)
