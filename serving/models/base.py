"""What a model gives the engine. The engine knows no model; a model knows no queue, clock or HTTP.

A model is one package `serving.models.<name>`, or any importable dotted name, with

    class Fields(RequestFields, frozen=True): ...  # request fields of its own; may be left out
    class Options(ModelOptions, frozen=True): ...  # what model.options may hold; may be left out
    create_frontend(profile: Profile, options: Options) -> Frontend            # no torch: the HTTP process calls it
    create_model(profile: Profile, options: Options, device, dtype) -> Model   # the engine process calls it

and, where it makes sense, two more, for a model that clones voices and for weights that can be downloaded:

    open_voices(profile: Profile, options: Options) -> VoiceLibrary | None  # None: no folder to store voices in
    fetch(to: Path, *, everything: bool) -> None                   # downloads the weights; RuntimeError

and what lets answers be kept across a change of files (the cache asks for it; no torch):

    weights_digest(options: Options) -> str                        # of the weights' content; OSError
    voice_digest(profile: Profile, options: Options, name: str) -> str  # of a voice's recording; InputError

The parser of requests, OpenAPI, the flags of `tts-serving say`, X-Ignored-Fields and the check for unknown options are
all made from Fields and Options. docs/models.md shows a whole model.

Text becomes segments in the frontend, a segment becomes a SegmentState in the model, and the engine carries the
state through the model's stages, batching the states that want the same stage, until its audio is out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from serving.protocol import Segment, SpeechParams
from serving.voices.folder import Removed, Source

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from serving.text import Sentence


VoiceName = Annotated[str, Meta(extra={"voice": True}, extra_json_schema={"format": "voice"})]
"""Type of a request field that names a voice of the model; the parser checks it against ModelSpec.voices."""


class RequestFields(msgspec.Struct, frozen=True, kw_only=True):
    """Request fields that only this model knows, besides text, voice, seed and format, which every model has.

    Each field has a default and Annotated[type, Meta(bounds, description="one line of help")]; its type is a
    number, a bool, a str, a Literal, a list of numbers, or one of these or None. A field called `speed` divides the
    expected length of the speech; one called `language` names the tag that the text is read in, or "auto".
    """


class ModelOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a profile's model.options may hold for this model; each option has a default."""


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """A named speaker."""

    name: str
    language: str
    description: str = ""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What callers may know of a model without loading it."""

    name: str
    sample_rate_hz: int
    voices: tuple[Voice, ...]
    default_voice: str
    languages: tuple[str, ...]
    """Primary tags. Of "zh" and "en" the text decides; else a text is read in the first."""
    seconds_per_char: float
    """Speech seconds that a letter of text makes at speed 1, for admission only."""
    fields: type[RequestFields] = RequestFields
    """The package's Fields."""
    unavailable: dict[str, str] = {}
    """Fields of its own that it refuses here, unless null, for want of the weights, and what it says then."""
    at_most: dict[str, int] = {}
    """Fields of its own that may not be more here, where its configuration allows less than their type."""
    seeded: bool = True
    """The seed changes the audio."""
    word_times: bool = False
    """Its stages set SegmentState.times."""


class AddedVoice(msgspec.Struct, frozen=True, kw_only=True):
    """What adding a recording as a voice has made."""

    name: str
    """In NFC."""
    language: str
    created_s: float
    """Unix time."""
    duration_s: float
    warnings: list[str]
    """What would make it a better voice."""
    replaced: Removed | None
    """What purge() takes away, if there was a voice of this name."""


class VoiceLibrary(Protocol):
    """Voices that users add to a model that clones, and delete. The methods block: call them in a thread.

    A voice is there for the next request, in the HTTP and in the engine process: Frontend.spec lists it, and
    Model.open finds it.
    """

    def added(self) -> Collection[str]:
        """Names of the voices that may be deleted."""
        ...

    def check_name(self, name: str, *, replace: bool) -> str:
        """The name as it is stored. Raises InputError, or VoiceConflict if there is such a voice already."""
        ...

    def add(
        self, name: str, recording: BinaryIO, *, field: str, consent: str, source: Source, replace: bool
    ) -> AddedVoice:
        """Check a recording and store it. Raises InputError of "name" and of `field`, VoiceConflict, OSError."""
        ...

    def delete(self, name: str) -> Removed:
        """Take a voice from the list; what purge() is to be given. Raises VoiceUnknown, VoiceConflict, OSError."""
        ...

    def purge(self, removed: Removed) -> None:
        """Remove the recording of a voice that no request uses any more."""
        ...

    def sweep(self) -> None:
        """Remove what a killed server left; call it before the first request."""
        ...


class ModelError(RuntimeError):
    """A model does not do what this file asks of it; the message names the stage."""

    is_plain = True  # serving.observe.words


class Frontend(Protocol):
    """Sentences to segments, on the CPU, outside the engine process."""

    @property
    def spec(self) -> ModelSpec:
        """What callers may know now: the voices of a model that takes new ones change."""
        ...

    def segments(self, sentences: Iterable[Sentence], params: SpeechParams) -> Iterator[Segment]:
        """Yield the segments in order, each as soon as it is known; a sentence may become several, or none.

        The words of a sentence are written out: no digits, no markup. Sentence.lead_s goes into the lead_s of its
        first segment.

        `params.voice` and `params.fields` were checked by the parser. Raises InputError before the first
        segment if nothing can be spoken.
        """
        ...


class Bucket(NamedTuple):
    """A static shape: rows of a batch and units (frames, tokens) of each row."""

    rows: int
    length: int

    @property
    def units(self) -> int:
        return self.rows * self.length


class SegmentTimes(NamedTuple):
    """When the parts of a segment are spoken, in seconds from its first sample."""

    start_s: float
    end_s: float
    words: list[tuple[float, float]]
    """Of each of Segment.words."""


@dataclass(slots=True)
class SegmentState:
    """A segment in flight. Models subclass it with their tensors; the engine reads these fields alone."""

    slot: int
    """The row of batched state that this segment owns until it is closed."""
    stage: str | None
    """The stage it wants next; None when all its audio is out."""
    length: int
    """Units it wants of that stage."""
    times: SegmentTimes | None = field(default=None, kw_only=True)
    """Set by a stage of a model that knows when each word will be spoken, before the segment's first samples."""
    offer_s: float = field(default=0.0, kw_only=True)
    """Seconds of sound that it could make now instead of going on in `stage`; 0: it has no choice. The engine, which
    knows what the listener has in hand, may take the offer."""

    def take_offer(self) -> None:
        """Make the sound that was offered: stage and length become those of its first step."""
        raise NotImplementedError(f"{type(self).__name__} offers nothing")


class Stage(Protocol):
    """A batchable computation.

    One step is collate, forward, scatter. The runner owns forward: it may compile it, capture it in a graph per
    bucket and replay it, so forward is pure tensor code without host syncs or data-dependent shapes, whose only
    side effects are in-place writes to buffers of fixed address.
    """

    name: str
    """The stage's key in Model.stages."""
    next_stages: tuple[str, ...]
    """Names of the stages that scatter may send a state to; to None, the end, it always may."""
    max_rows: int
    """Most rows of one step."""
    max_units: int
    """Most padded units (rows times longest length) of one step; a single row may always run alone."""
    buckets: tuple[Bucket, ...]
    """Shapes to compile or capture under such a profile, ascending; the largest holds any step the limits above
    allow. Empty for a stage that runs seldom: it is neither compiled, captured nor warmed, runs in the shape of
    its states, and its forward may do what the others' may not.
    """
    to_host: tuple[int, ...]
    """Which of forward's outputs scatter needs on the host. The others stay on the device and are overwritten
    by the next run of the same bucket: clone what is kept."""
    lookahead: bool
    """collate leaves the states ready for the next collate, so the next step of this stage may be launched before the
    one before it is complete. scatter then reads the outputs of to_host alone, for the others are overwritten already,
    and finds states that the step before it, or its own collate, has moved on to another stage or to the end.

    On CUDA a step of another stage, and of other states, may be launched so anyway.
    """

    def collate(self, states: Sequence[Any], bucket: Bucket) -> tuple[torch.Tensor, ...]:
        """Pad the states' inputs to the bucket. Rows beyond len(states) are inert: they change no other row.

        Without states, as the warm-up calls it, all rows are.
        """
        ...

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]: ...

    def scatter(
        self, states: Sequence[Any], outputs: tuple[torch.Tensor, ...]
    ) -> list[NDArray[np.float32] | None]:
        """Give each state its share of the outputs: advance stage and length, and return its new samples.

        Returns one entry per state: mono float32 samples in [-1, 1] that follow the ones before, or None.
        """
        ...


class Model(Protocol):
    """The tensors of a model and its stages.

    An attribute `kernels` may say what they run in: /readyz and the reports then name it. An attribute `spreads`, if
    true, says that more threads make a step quicker: on a CPU a step that is alone then takes all cores. An attribute
    `lanes` may hold groups of names of stages: under engine.side_streams the steps of each group, and of those that
    are in none, run in a stream of their own. A step of one lane may then read nothing that a step of another writes
    but the state, and the slot, of segments that have come from there. A method `pinned` may take a request's params
    as it comes in and give those that all its segments are opened with: what a name means may change meanwhile.
    """

    spec: ModelSpec
    stages: Mapping[str, Stage]
    first_stages: tuple[str, ...]
    """Names of the stages that a segment may begin in."""

    def open(self, params: SpeechParams, segment: Segment, slot: int, *, urgent: bool) -> SegmentState:
        """Begin a segment. `urgent`: a listener waits for its first sound, so the first window is small.

        Raises InputError if this segment cannot be spoken with these params.
        """
        ...

    def close(self, state: Any) -> None:
        """The segment has ended or was aborted; its slot may be given to another at once.

        No step that holds the state is under way.
        """
        ...
