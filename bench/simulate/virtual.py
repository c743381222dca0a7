"""Run a load in virtual time, and what its listeners heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import msgspec
import torch

from bench.indextts2.offline import TEXT_TOKENS, made_up_voice
from bench.records import Sample
from bench.simulate.costs import CostTable
from bench.simulate.engine import Hollow, VirtualRunner, VirtualStreams, VirtualWorkers
from bench.simulate.listeners import Listeners, Speech
from bench.simulate.machine import Machine
from bench.simulate.speeches import speeches
from serving.engine.loop import EngineLoop
from serving.engine.runner import Runner, pick_workers
from serving.engine.workers import Workers
from serving.models import load_frontend, load_model
from serving.models.base import Model
from serving.models.hibari.constants import HOP
from serving.models.hibari.cpu.decode import INPUTS as CPU_INPUTS
from serving.models.hibari.model import HibariModel
from serving.models.hibari.stages import DECODE
from serving.models.hibari.timing import HEAD_FRAMES
from serving.models.hibari.windows import Window
from serving.models.indextts2.model import IndexTts2Model
from serving.models.indextts2.voice.recordings import BUILT_IN
from serving.profile import Profile, load_profile
from serving.protocol import Segment, SpeechParams

CODES_PER_S = {"indextts2": 50, "indextts25": 25}
"""By model."""


@dataclass(slots=True)
class Simulation:
    """A model and a table of costs, ready for any number of loads."""

    profile: Profile
    model: Model
    table: CostTable
    padded: bool
    hollow: Hollow
    make: Callable[[str, int], Iterator[Speech]]
    """Speeches of a mix of texts, from a seed."""
    used: VirtualStreams | None = None
    """Of the load before, on a device: how busy it was."""
    cores_s: float = 0.0
    """Of the load before: seconds that the cores were busy, all together."""
    new_voice_every: int = 0
    """Every so many requests one has a voice that must be conditioned; 0: none."""

    def streams(self, clients: int, *, mix: str, duration_s: float, seed: int = 0) -> list[Sample]:
        """A closed loop of that many clients for so long."""
        return self._run(mix, seed, duration_s, lambda listeners: listeners.stream(clients))

    def rate(self, due_s: Sequence[float], *, mix: str, seed: int = 0) -> list[Sample]:
        """Requests at these moments."""
        return self._run(mix, seed, float("inf"), lambda listeners: listeners.arrive(due_s))

    def known(self, samples: Sequence[Sample]) -> list[Sample]:
        """Those of requests whose voice was known."""
        return [sample for sample in samples if not _is_new(sample.index, self.new_voice_every)]

    def busy(self) -> dict[str, float]:
        """Row.busy of the load before."""
        if self.used is None:
            return {}
        return {
            name: round(spent_s / self.used.machine.now_s, 3) for name, spent_s in self.used.busy_s.items()
        }

    def _run(
        self, mix: str, seed: int, duration_s: float, begin: Callable[[Listeners], None]
    ) -> list[Sample]:
        machine = Machine(self.table.speeds, self.table.device_speeds)
        runner = VirtualRunner(
            self.model, self.profile.engine, self.table, machine, padded=self.padded, hollow=self.hollow
        )
        workers, _ = pick_workers(self.profile.engine, torch.device("cpu"), len(self.table.speeds))
        pair = Listeners(
            machine, self.table.server, self.model.spec.sample_rate_hz, self.make(mix, seed), duration_s
        )

        def start_workers(_: Runner, count: int) -> Workers:
            if runner.overlaps:
                self.used = VirtualStreams(runner, machine, self.table)
                return self.used
            return VirtualWorkers(runner, machine, self.table.server, count)

        loop = EngineLoop(
            self.profile,
            pair,
            self.model,
            runner,
            workers,
            clock=machine.clock,
            start_workers=start_workers,
        )
        begin(pair)
        loop.run()
        self.cores_s = machine.busy_s
        return list(pair.samples.values())


def open_simulation(
    profile_name: str,
    overrides: Sequence[str],
    table: CostTable,
    *,
    seconds: float,
    new_voice_every: int = 0,
) -> Simulation:
    """Load the model of a profile: the embedded voice itself, IndexTTS2 or 2.5 as a toy whose requests speak `seconds`.

    A toy has the windows, the slots and the code counts of the real model, for they depend on lengths alone. Every
    `new_voice_every`th of its requests has to be conditioned first. Raises ProfileError.
    """
    profile = load_profile(profile_name, overrides)
    if profile.model.name not in CODES_PER_S:
        return _real(profile, table)
    codes = round(seconds * CODES_PER_S[profile.model.name])
    graphs = profile.engine.cuda_graphs
    toy = load_profile(
        profile_name,
        [
            *overrides,
            "model.options.weights=random",
            "model.options.size=tiny",
            f"model.options.min_codes={codes}",
            f"model.options.max_codes={codes}",
            f"model.options.max_segment_tokens={2 * TEXT_TOKENS}",
            "model.options.preload=none",
            "model.options.kernels=torch",
            "engine.device=cpu",
            "engine.dtype=float32",
            "engine.cuda_graphs=false",
            "engine.compile=false",
        ],
    )
    torch.set_num_threads(1)
    # Its shapes are those that the device would have captured; nothing is captured here.
    shaped = msgspec.structs.replace(toy, engine=msgspec.structs.replace(toy.engine, cuda_graphs=graphs))
    model = load_model(shaped, torch.device("cpu"), torch.float32)
    assert isinstance(model, IndexTts2Model)
    voice = made_up_voice(model.config, float(toy.model.options.get("prompt_s", 15.0)), torch.device("cpu"))
    model.store.put_voice(model.store.content_key(BUILT_IN), voice)
    simulation = Simulation(
        toy, model, table, graphs, hollow(model), lambda _, seed: _made_up(model, seed, 0)
    )
    simulation.rate([0.0], mix="")  # the voice and its emotion are kept from now on
    simulation.new_voice_every = new_voice_every
    simulation.make = lambda _, seed: _made_up(model, seed, new_voice_every)
    return simulation


def hollow(model: IndexTts2Model) -> Hollow:
    """Zeros for every stage of a toy, whose code counts are fixed: its lengths are all that steers it."""
    hop = model.config.s2mel.mel.hop_length

    def codes(slots: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(len(slots), dtype=torch.int64),)

    def wave(mel: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(1).expand(len(mel), mel.shape[2] * hop),)

    def nothing(*_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ()

    return Hollow({"prefill": codes, "decode": codes, "prepare": nothing, "flow": nothing, "vocode": wave})


def _real(profile: Profile, table: CostTable) -> Simulation:
    torch.set_num_threads(1)
    model = load_model(profile, torch.device("cpu"), getattr(torch, profile.engine.dtype))
    frontend = load_frontend(profile)
    answers = Hollow({DECODE: undecoded}) if isinstance(model, HibariModel) else Hollow({})
    return Simulation(
        profile,
        model,
        table,
        False,
        answers,
        lambda mix, seed: speeches(frontend, mix, seed, profile.text.pauses),
    )


def undecoded(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The decode stage of the embedded voice on a CPU, not computed: noise of the right length.

    It is silent before the onset as the voice is, for the engine cuts that. What decides about windows, the durations
    and the energy of the stages before, is the voice's own.
    """
    outputs: list[torch.Tensor] = []
    for at in range(0, len(inputs), CPU_INPUTS):
        numbers, history, tail = inputs[at + 3 : at + CPU_INPUTS]
        window = Window(*numbers.tolist())
        blocks = torch.full((len(window.blocks), HOP), 0.1)
        if window.start == 0:
            blocks[:HEAD_FRAMES] = 0.0
        outputs += (blocks, history, tail)
    return tuple(outputs)


def _is_new(number: int, every: int) -> bool:
    return every > 0 and number % every == every - 1


def _made_up(model: IndexTts2Model, seed: int, new_voice_every: int) -> Iterator[Speech]:
    """Requests of random token ids, no two alike."""
    for number in count():
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        ids = torch.randint(2, model.config.gpt.number_text_tokens, (TEXT_TOKENS,), generator=generator)
        fields = model.spec.fields()
        if _is_new(number, new_voice_every):
            # An emotion that nobody has asked for goes the same way as a new voice, and needs no recording.
            weights = torch.rand(8, generator=generator, dtype=torch.float64)
            fields = msgspec.structs.replace(fields, emo_vector=tuple(weights.tolist()))
        yield Speech(
            "",
            [Segment(index=0, tokens=ids.tolist())],
            SpeechParams(voice=BUILT_IN, seed=number, fields=fields),
        )
