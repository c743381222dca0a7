"""IndexTTS-2.5 as the engine steps it: alone or in a batch, streamed or whole, at half the code rate of 2.0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from serving.models.base import Frontend
from serving.models.driver import speak
from serving.models.indextts2.mel.regulator import target_frames
from serving.models.indextts2.model import IndexTts2Model
from serving.models.indextts2.voice.features import log_mel
from serving.models.indextts25.codec import DecodedCodes
from serving.models.indextts25.model import IndexTts25Model
from serving.profile import EngineProfile
from tests.unit.indextts2 import support as support2
from tests.unit.indextts2.support import HOP, relative_error
from tests.unit.indextts25.support import CODES, TEXTS, make, request

pytestmark = pytest.mark.slow
TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["native", "torch"])
def made(request: pytest.FixtureRequest) -> tuple[Frontend, IndexTts25Model]:
    return make(kernels=request.param)


def wave_of(model: IndexTts2Model, wanted: Any, *, urgent: bool = False) -> NDArray[np.float32]:
    (chunks,) = speak(model, [wanted], urgent=urgent)
    return np.concatenate(chunks)


@pytest.mark.parametrize("urgent", [False, True])
def test_five_languages_together_are_as_alone(made: tuple[Frontend, IndexTts25Model], urgent: bool) -> None:
    frontend, model = made
    rates = {"ja": 2.0, "ar": 0.5}
    requests = [
        request(frontend, text, seed=seed, speed=rates.get(language, 1.0))
        for seed, (language, text) in enumerate(TEXTS.items())
    ]
    together = [np.concatenate(chunks) for chunks in speak(model, requests, urgent=urgent)]
    assert len({len(wave) for wave in together}) > 1
    for wave, wanted in zip(together, requests, strict=True):
        assert relative_error(wave, wave_of(model, wanted, urgent=urgent)) <= TOLERANCE


@pytest.mark.parametrize("positions", ["aligned", "official"])
def test_there_is_no_second_pass(positions: str) -> None:
    frontend, model = make(positions=positions)
    assert "latents" not in model.stages
    assert model.decoding.second_offset == 0
    assert len(wave_of(model, request(frontend, "Hello."))) == target_frames(CODES, 2) * HOP


def count_steps(model: IndexTts2Model, wanted: Any) -> tuple[int, Counter[str]]:
    """Samples, and steps by stage."""
    counted: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for name, stage in model.stages.items():
            plain = stage.forward

            def counting(*inputs: Any, _name: str = name, _plain: Any = plain) -> Any:
                counted[_name] += 1
                return _plain(*inputs)

            patch.setattr(stage, "forward", counting)
        samples = len(wave_of(model, wanted))
    return samples, counted


def test_the_same_audio_takes_half_the_decode_steps_of_2_0(made: tuple[Frontend, IndexTts25Model]) -> None:
    frontend, model = made
    samples, steps = count_steps(model, request(frontend, "Hello."))
    frontend2, model2 = support2.make(max_codes=2 * CODES, min_codes=2 * CODES)
    samples2, steps2 = count_steps(model2, support2.request(frontend2, "Hello."))
    assert samples == samples2 == target_frames(2 * CODES) * HOP
    drawn, drawn2 = (each["prefill"] + each["decode"] for each in (steps, steps2))
    assert drawn2 - drawn == CODES
    assert steps["flow"] == steps2["flow"]


def test_windows_hold_half_the_codes_of_2_0(made: tuple[Frontend, IndexTts25Model]) -> None:
    streaming, streaming2 = made[1].streaming, support2.make()[1].streaming
    for seconds in (1.0, 4.0, 10.0):
        assert streaming2.codes(seconds) == pytest.approx(2 * streaming.codes(seconds), abs=1)
        assert streaming.frames(streaming.codes(seconds)) == pytest.approx(
            streaming.mel.frames(seconds), abs=2
        )


@pytest.mark.parametrize("urgent", [False, True])
def test_speed_spreads_the_same_codes(made: tuple[Frontend, IndexTts25Model], urgent: bool) -> None:
    frontend, model = made
    codes = []
    for speed in (1.0, 1.25, 2.0):
        wave = wave_of(model, request(frontend, "Hello.", seed=4, speed=speed), urgent=urgent)
        assert len(wave) == target_frames(CODES, 2, 1 / speed) * HOP
        codes.append(model.decoding.codes[0, :CODES].tolist())
    assert codes[0] == codes[1] == codes[2]
    # A slot holds max_codes at speed 1: slower, fewer fit.
    slow = wave_of(model, request(frontend, "Hello.", seed=4, speed=0.5), urgent=urgent)
    assert len(slow) == target_frames(CODES // 2, 2, 2.0) * HOP


def test_the_language_reaches_the_codes(made: tuple[Frontend, IndexTts25Model]) -> None:
    frontend, model = made
    codes = set()
    for language in ("en", "zh"):
        wave_of(model, request(frontend, "hello", temperature=0.0, language=language))
        codes.add(tuple(model.decoding.codes[0, :CODES].tolist()))
    assert len(codes) == 2


def test_a_stream_is_near_the_whole(made: tuple[Frontend, IndexTts25Model]) -> None:
    """In log-mel, within 3 % of the distance that another seed has from the whole (under 1 % was measured)."""
    frontend, model = made

    def mel(seed: int, *, urgent: bool) -> torch.Tensor:
        wave = wave_of(model, request(frontend, "Hello.", seed=seed), urgent=urgent)
        return log_mel(torch.from_numpy(wave.copy()), model.config.s2mel.mel)

    whole = mel(1, urgent=False)
    streamed = (mel(1, urgent=True) - whole).abs().mean()
    other = (mel(2, urgent=False) - whole).abs().mean()
    assert 0 < streamed < 0.03 * other


def test_every_bucket_runs_with_inert_rows_only() -> None:
    engine = EngineProfile(device="cpu", max_slots=4, max_step_units=1024, cuda_graphs=True)
    _, model = make(engine, vocoder_frames=64)
    with torch.inference_mode():
        for name, stage in model.stages.items():
            for bucket in {*stage.buckets[:1], *stage.buckets[-1:]}:
                for output in stage.forward(*stage.collate([], bucket)):
                    assert output.isfinite().all(), f"{name} {bucket}"


@torch.inference_mode()
def test_rows_are_decoded_as_if_alone(made: tuple[Frontend, IndexTts25Model]) -> None:
    reader = made[1].mel_parts
    assert isinstance(reader, DecodedCodes)
    decoder = reader.decoder
    codes = torch.randint(0, 128, (3, 40), generator=torch.Generator().manual_seed(3))
    counts = torch.tensor([40, 17, 1])
    together = decoder(codes, counts)
    for row, count in enumerate(counts.tolist()):
        alone = decoder(codes[row : row + 1, :count], counts[row : row + 1])[0]
        torch.testing.assert_close(together[row, : 2 * count], alone, atol=1e-6, rtol=1e-5)
        # What lies past the row's end, the stop or an older segment, is not heard.
        torch.testing.assert_close(
            decoder(codes.clone().index_fill_(1, torch.arange(count, 40), 128), counts)[row, : 2 * count],
            alone,
            atol=1e-6,
            rtol=1e-5,
        )


@torch.inference_mode()
def test_the_prefix_is_the_speaker_and_two_zeros_and_every_text_vector_has_its_language(
    made: tuple[Frontend, IndexTts25Model],
) -> None:
    gpt = make(kernels="torch")[1].decoding.gpt
    config = gpt.config
    latents, emovec = torch.randn(1, 1, config.model_dim), torch.randn(1, config.model_dim)
    by_row = []
    for row in (0, 13):
        text = torch.tensor([[config.first_language_token + row, 70, 71]])
        vectors, lengths = gpt.prefix(latents, emovec, text, torch.tensor([3]))
        assert lengths.tolist() == [3 + 1 + 3 + 1 + 1]
        torch.testing.assert_close(vectors[0, 0], latents[0, 0] + emovec[0])
        assert not vectors[0, 1:3].any()
        by_row.append(vectors[0])
    difference = by_row[1] - by_row[0]
    language = difference[3]
    assert language.abs().max() > 0.01
    same = [3, 5, 6, 7]
    torch.testing.assert_close(difference[same], language.expand(len(same), -1), atol=1e-5, rtol=1e-4)
    assert not difference[8].any(), "the start code has no language"
