"""One utterance: text that is still being written becomes sentences, and these become audio, in order.

Each sentence is a request of its own to the engine, so it sounds as the same sentence alone with the same seed. The
silence between two sentences is the lead of the second, as in one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving import captions
from serving.engine.client import Utterance
from serving.http.live.growing import GrowingReader
from serving.http.speech import Speaker
from serving.profile import WebSocketProfile
from serving.protocol import InputError, Overloaded, SpeechParams, Times
from serving.request import spoken_languages
from serving.text import Sentence, TextFormat
from serving.text.pauses import Leads

Granularity = Literal["sentence", "clause", "none"]
"""sentence: at sentence ends, and at a clause's end where the playback buffer would empty; clause: at every clause's
end; none: when the text has ended."""

AHEAD = 2
"""Requests of a turn that the engine has at once: the sentence that is sent, and the next."""
CLAUSE_MARGIN_S = 0.3
"""A clause is spoken when the playback buffer holds less than this: about what its first audio takes on a CPU."""
PIECE_CHARS = 128
"""Text is read in pieces of this size: about a millisecond each."""
MOST_READ = 32
"""No more text is read while so many sentences wait for the engine: a long text waits as it was written."""
_WHOLE_TEXTS = ThreadPoolExecutor(1, "whole-texts")
RETRY_S = 0.05
"""A sentence in mid-speech that finds the engine full tries again after this."""


@dataclass(frozen=True, slots=True)
class Started:
    """The audio of a sentence begins."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The audio of a sentence is complete."""

    index: int
    samples: int


Event = Started | Ended | captions.Sentence | NDArray[np.float32]
"""What a turn delivers. Times count from the first sample of the turn."""


class Turn:
    """Speaks one text. Call append and end as the text comes, and run once; cancelling run frees the engine."""

    def __init__(
        self,
        speaker: Speaker,
        params: SpeechParams,
        *,
        text_format: TextFormat,
        granularity: Granularity,
        limits: WebSocketProfile,
        take_turn: Callable[[], Awaitable[None]],
    ) -> None:
        """`take_turn` waits until the turn may read a piece of text in the event loop."""
        self.params = params
        self.sentences = 0
        """Whose audio began."""
        self.samples = 0
        """Delivered."""
        self.chars = 0
        self._speaker = speaker
        self._granularity = granularity
        self._limits = limits
        self._take_turn = take_turn
        self._reader = GrowingReader(
            languages=spoken_languages(speaker.spec, params.fields),
            text_format=text_format,
            normalize=params.normalize,
            lexicon=speaker.lexicon,
        )
        self._leads = Leads(speaker.text.pauses)
        self._text = ""
        """Kept for the words of times, or until the end."""
        self._keeps_text = params.timestamps != "none" or granularity == "none"
        self._unread: deque[str] = deque()
        self._came = asyncio.Event()
        self._ended = False
        """No more text comes."""
        self._all_fed = False
        """The reader has all of it, and is nobody else's any more."""
        self._read: asyncio.Queue[Sentence | None] = asyncio.Queue()
        self._unsubmitted = 0
        self._submitted_one = asyncio.Event()
        self._submitted: asyncio.Queue[tuple[Sentence, Utterance] | Exception | None] = asyncio.Queue()
        self._open: set[Utterance] = set()
        self._room = asyncio.Semaphore(AHEAD)
        self._changed = asyncio.Event()
        self._fed_at_s = 0.0
        self._settled = True
        self._tried_clause = True
        self._played_to_s: float | None = None
        """When the playback buffer will be empty, if the listener plays what was delivered."""

    def append(self, text: str) -> None:
        """More text. Raises InputError (field "text") past websocket.max_chars."""
        self.chars += len(text)
        if self.chars > self._limits.max_chars:
            raise InputError("text", f"more than {self._limits.max_chars} characters in one utterance")
        if self._keeps_text:
            self._text += text
        if self._granularity != "none" and text:
            self._unread.append(text)
            self._came.set()

    def end(self) -> None:
        """The text has ended."""
        self._ended = True
        if self._granularity == "none":
            self._unread.append(self._text)
        self._came.set()

    async def run(self, deliver: Callable[[Event], Awaitable[None]]) -> None:
        """Speak until the text has ended and all of it is delivered.

        Raises SpeechFailed, Overloaded, and what `deliver` raises. The engine works at most AHEAD sentences ahead
        of `deliver`. However it ends, nothing of it is left in the engine.
        """
        works = (self._read_all(), self._submit_all(), self._watch())
        helpers = [asyncio.create_task(self._guard(work)) for work in works]
        try:
            await self._deliver_all(deliver)
        finally:
            for helper in helpers:
                helper.cancel()
            for utterance in self._open:
                self._speaker.engine.abort(utterance)
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        """Do the work; its failure is that of the turn."""
        try:
            await work
        except Exception as error:
            self._submitted.put_nowait(error)

    async def _read_all(self) -> None:
        """Read what is appended, until the text has ended."""
        while self._unread or not self._ended:
            if not self._unread:
                self._came.clear()
                await self._came.wait()
                continue
            self._settled = self._tried_clause = True  # what is here is not all that has come
            await self._feed(self._unread.popleft())
            if self._granularity == "clause":
                self._put(self._reader.take_clause())
            self._fed_at_s = time.monotonic()
            self._settled = self._tried_clause = False
            self._changed.set()
        self._all_fed = True
        self._changed.set()
        # HTML is read here as a whole, which may take a second: all of it in one thread, which nobody else waits for.
        pool = _WHOLE_TEXTS if self._reader.reads_whole else None
        self._put(await asyncio.get_running_loop().run_in_executor(pool, self._reader.flush))
        self._read.put_nowait(None)

    async def _feed(self, text: str) -> None:
        """Read in pieces, for others have their turn between them, and no further than the engine can follow."""
        for at in range(0, len(text), PIECE_CHARS):
            while self._unsubmitted >= MOST_READ:
                self._submitted_one.clear()
                await self._submitted_one.wait()
            await self._take_turn()
            self._put(self._reader.feed(text[at : at + PIECE_CHARS]))

    def _put(self, sentences: list[Sentence]) -> None:
        for sentence in sentences:
            if (led := self._leads.add(sentence)) is not None:
                self._unsubmitted += 1
                self._read.put_nowait(led)

    async def _submit_all(self) -> None:
        while (sentence := await self._read.get()) is not None:
            await self._room.acquire()
            try:
                utterance = await self._submit(sentence)
            except InputError:  # only letters that the model does not speak
                self._room.release()
                continue
            finally:
                self._unsubmitted -= 1
                self._submitted_one.set()
            self._open.add(utterance)
            self._submitted.put_nowait((sentence, utterance))
        self._submitted.put_nowait(None)

    async def _submit(self, sentence: Sentence) -> Utterance:
        """A turn that has begun waits for its place in a full engine; one that has not is refused."""
        while True:
            try:
                return await self._speaker.say(sentence, self.params)
            except Overloaded as refusal:
                if not self.sentences or not refusal.passes:
                    raise
                await asyncio.sleep(RETRY_S)

    async def _deliver_all(self, deliver: Callable[[Event], Awaitable[None]]) -> None:
        while (item := await self._submitted.get()) is not None:
            if isinstance(item, Exception):
                raise item
            sentence, utterance = item
            index, before = self.sentences, self.samples
            self.sentences += 1
            await deliver(Started(index, sentence.text))
            async with contextlib.aclosing(self._speaker.engine.answers(utterance)) as answers:
                async for answer in answers:
                    if isinstance(answer, Times):
                        await deliver(self._timed(utterance, answer, before))
                    else:
                        await deliver(answer)
                        self._play(len(answer))
            self._open.discard(utterance)
            self._room.release()
            await deliver(Ended(index, self.samples - before))
            self._changed.set()

    def _play(self, samples: int) -> None:
        now_s = time.monotonic()
        self.samples += samples
        starts_s = now_s if self._played_to_s is None else max(self._played_to_s, now_s)
        self._played_to_s = starts_s + samples / self._speaker.spec.sample_rate_hz

    def _timed(self, utterance: Utterance, times: Times, before: int) -> captions.Sentence:
        by_s = before / self._speaker.spec.sample_rate_hz
        moved = msgspec.structs.replace(
            times,
            start_s=times.start_s + by_s,
            end_s=times.end_s + by_s,
            words=[(start_s + by_s, end_s + by_s) for start_s, end_s in times.words],
        )
        words = self.params.timestamps == "word"
        return captions.sentence_of(self._text, utterance.segments[times.segment], moved, words=words)

    async def _watch(self) -> None:
        """Give text that waits too long for more: a full stop at its end, or a clause before the buffer empties."""
        while not self._all_fed:
            self._changed.clear()
            now_s = time.monotonic()
            due_s = []
            if not self._settled:
                due_s.append(self._fed_at_s + self._limits.settle_s)
                if now_s >= due_s[-1]:
                    self._settled = True
                    self._put(self._reader.settle())
            if not self._tried_clause and self._played_to_s is not None and self._is_idle():
                due_s.append(self._played_to_s - CLAUSE_MARGIN_S)
                if now_s >= due_s[-1]:
                    self._tried_clause = True
                    self._put(self._reader.take_clause())
            wait_s = min((at_s - now_s for at_s in due_s if at_s > now_s), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    def _is_idle(self) -> bool:
        """All that was read is delivered."""
        return not self._unsubmitted and not self._open
