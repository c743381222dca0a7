"""IndexTTS2 in this process: the engine's loop, scheduler, runner and model, without a server, sockets or clients.

    offline = Offline(profile, prompt_s=3.0)
    samples = offline.speak(streams=8, requests=2, streaming=True)

What is timed is what the engine does: a request is due when the one before it of its stream has ended. Needs
torch, numpy, msgspec, safetensors and sentencepiece, and neither a network nor a web server.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from bench.records import Sample
from serving.engine.loop import EngineLoop
from serving.engine.runner import Launched, Runner, pick_device, pick_workers
from serving.models import load_model
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.model import IndexTts2Model
from serving.models.indextts2.voice.conditioning import VoiceConditioning
from serving.models.indextts2.voice.recordings import BUILT_IN
from serving.native.cores import usable_cores
from serving.profile import EngineProfile, Profile
from serving.protocol import (
    Failed,
    Finished,
    FromEngine,
    Segment,
    Shutdown,
    SpeechParams,
    Submit,
    ToEngine,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXT_TOKENS = 30
"""Text ids of a request, as many as a sentence of some three seconds has."""
TIMEOUT_S = 3600.0


class OfflineError(RuntimeError):
    """A request failed; the message is the engine's."""


@dataclass(slots=True)
class Streams:
    """Stands for the client at the engine's end of the socket (loop.Pair): streams of one request after another."""

    waiting: list[list[Submit]]
    """Of each stream, the requests that it has not sent yet, the next one last."""
    rate_hz: int
    streaming: bool
    stagger_s: float = 0.0
    """Over so long the streams begin, evenly; 0: all at the same moment."""
    samples: dict[str, Sample] = field(default_factory=dict)
    _ready: list[tuple[float, int]] = field(default_factory=list)
    """(when its next request is due, stream)."""
    _stream: dict[str, int] = field(default_factory=dict)
    _begun_s: float = 0.0

    def begin(self) -> None:
        """All streams send their first request from now on, `stagger_s` after the first the last but for one step."""
        self._begun_s = time.monotonic()
        step_s = self.stagger_s / max(1, len(self.waiting))
        self._ready = [(stream * step_s, stream) for stream in range(len(self.waiting))]

    def receive(self) -> Sequence[ToEngine]:
        """The requests due now; Shutdown once all have ended."""
        messages: list[ToEngine] = []
        now_s = time.monotonic() - self._begun_s
        for due_s, stream in [ready for ready in self._ready if ready[0] <= now_s]:
            self._ready.remove((due_s, stream))
            if self.waiting[stream]:
                messages.append(self._next(stream, due_s, now_s))
        if not self._stream and not self._ready:
            messages.append(Shutdown())
        return messages

    def wait(self, timeout_s: float | None) -> None:
        """Wait for the next stream that begins; any other request follows an end, which the engine itself reports."""
        if self._ready:
            until_s = min(due_s for due_s, _ in self._ready) - (time.monotonic() - self._begun_s)
            time.sleep(max(0.0, until_s if timeout_s is None else min(until_s, timeout_s)))

    def send(self, message: FromEngine) -> None:
        """Note a request's end. Raises OfflineError if it failed."""
        if isinstance(message, Failed):
            raise OfflineError(f"{message.request_id}: {message.code}: {message.message}")
        if isinstance(message, Finished):
            now_s = time.monotonic() - self._begun_s
            self.samples[message.request_id].end_s = now_s
            self._ready.append((now_s, self._stream.pop(message.request_id)))

    def send_chunk(self, request_id: str, samples: NDArray[np.float32]) -> None:
        """Note when these samples came, with their size as 16-bit integers."""
        self.samples[request_id].events.append((time.monotonic() - self._begun_s, 2 * len(samples)))

    def _next(self, stream: int, due_s: float, now_s: float) -> Submit:
        request = self.waiting[stream].pop()
        self._stream[request.request_id] = stream
        self.samples[request.request_id] = Sample(
            index=len(self.samples),
            text="",
            characters=0,
            due_s=due_s,
            sent_s=now_s,
            end_s=now_s,
            streaming=self.streaming,
            sample_rate_hz=self.rate_hz,
        )
        return request


class Offline:
    """A model of a profile, warm, with one cached voice."""

    def __init__(self, profile: Profile, *, prompt_s: float) -> None:
        """Load and warm up; the voice is a made-up one of prompt_s seconds.

        Raises ProfileError, or DeviceError where the profile asks for a device that is not here.
        """
        engine = profile.engine
        self.profile = profile
        self.device = pick_device(engine)
        workers, threads = pick_workers(engine, self.device, usable_cores())
        torch.set_num_threads(threads)
        self.workers = workers
        model = load_model(profile, self.device, getattr(torch, engine.dtype))
        assert isinstance(model, IndexTts2Model)
        self.model = model
        self.threads = threads
        self.stage_s: defaultdict[str, float] = defaultdict(float)
        """Time in each stage's steps, launch to finish, since it was last cleared."""
        self.runner = StageTimer(self.model, engine, self.device, self.stage_s)
        started_s = time.perf_counter()
        self.runner.warm(lambda *_: None)
        self.warm_s = time.perf_counter() - started_s
        voice = made_up_voice(self.model.config, prompt_s, self.device)
        self.model.store.put_voice(self.model.store.content_key(BUILT_IN), voice)

    def speak(
        self,
        *,
        streams: int,
        requests: int,
        streaming: bool,
        codes: int | None = None,
        stagger_s: float = 0.0,
    ) -> list[Sample]:
        """Let `streams` streams send `requests` requests each, one after another; a sample for each.

        The streams begin evenly over `stagger_s`. `codes` of each request, if not as many as the profile says. The
        times of a sample count from when the first stream began. Raises OfflineError if one fails.
        """
        spec, forced = self.model.spec, (self.model.min_codes, self.model.max_codes)
        if codes is not None:
            self.model.min_codes = self.model.max_codes = codes
        torch.set_num_threads(self.threads)
        pair = Streams(
            waiting=[
                [
                    self._submit(f"{stream}-{turn}", turn * streams + stream, streaming)
                    for turn in range(requests)
                ]
                for stream in range(streams)
            ],
            rate_hz=spec.sample_rate_hz,
            streaming=streaming,
            stagger_s=stagger_s,
        )
        loop = EngineLoop(self.profile, pair, self.model, self.runner, self.workers)
        pair.begin()
        try:
            loop.run()
        finally:
            self.model.min_codes, self.model.max_codes = forced
        return list(pair.samples.values())

    def _submit(self, request_id: str, seed: int, streaming: bool) -> Submit:
        # Any ids will do, for the weights are random; each request has its own, so that no two are alike.
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(2, self.model.config.gpt.number_text_tokens, (TEXT_TOKENS,), generator=generator)
        return Submit(
            request_id=request_id,
            params=SpeechParams(voice=BUILT_IN, seed=seed, fields=self.model.spec.fields()),
            streaming=streaming,
            timeout_s=TIMEOUT_S,
            segments=[Segment(index=0, tokens=ids.tolist())],
            last=True,
        )


class StageTimer(Runner):
    """A runner that adds up the time of each stage."""

    def __init__(
        self,
        model: IndexTts2Model,
        engine: EngineProfile,
        device: torch.device,
        stage_s: defaultdict[str, float],
    ) -> None:
        super().__init__(model, engine, device)
        self._stage_s = stage_s

    def finish(self, launched: Launched) -> list[NDArray[np.float32] | None]:
        samples = super().finish(launched)
        self._stage_s[launched.stage.name] += launched.busy_s
        return samples


def made_up_voice(config: IndexTts2Config, prompt_s: float, device: torch.device) -> VoiceConditioning:
    """Conditioning of a reference of prompt_s seconds, from a fixed seed: random weights have none of their own."""
    mel = config.s2mel.mel
    frames = round(prompt_s * mel.sample_rate_hz / mel.hop_length)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    gpt = config.gpt
    return VoiceConditioning(
        latents=normal(gpt.condition.latents, gpt.model_dim),
        base_emotion=normal(gpt.model_dim),
        own_emotion=normal(gpt.model_dim),
        style=normal(config.s2mel.style_dim),
        prompt_condition=normal(frames, config.s2mel.dit.content_dim),
        reference_mel=normal(mel.n_mels, frames) - 2.0,
    )
