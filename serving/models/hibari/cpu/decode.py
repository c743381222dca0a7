"""The decode stage on a CPU: the rows of a step one after the other, each in the kernels of network.c and
synthesis.c.

A row of a larger product would cost what it costs alone, so nothing is packed or padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import torch
from torch import Tensor, nn

from serving.models.base import Bucket
from serving.models.buckets import make_buckets
from serving.models.hibari.constants import CHANNELS, N_FFT, OVERLAP
from serving.models.hibari.cpu.aside import begin_aside, has_second_core
from serving.models.hibari.cpu.network import CpuDecoder
from serving.models.hibari.cpu.synthesis import CpuSynthesis
from serving.models.hibari.edges import Samples
from serving.models.hibari.stages import DECODE
from serving.models.hibari.state import HibariState, advance
from serving.models.hibari.windows import LAYERS, REACH, Window
from serving.profile import Profile

INPUTS = 6
"""Tensors of a row that collate gives to forward."""
OUTPUTS = 3
"""And those that forward gives to scatter."""
PIECE = 48
"""Frames of a window that go to the second core together, where there is one: a multiple of what synthesis.c predicts
at once.
"""


class CpuDecode(nn.Module):
    """Rows of 12.5 ms frames, a window each, to samples. What the next window needs travels in the state."""

    name = DECODE
    next_stages: tuple[str, ...] = (DECODE,)
    to_host: tuple[int, ...] = ()
    lookahead = False

    def __init__(self, profile: Profile, decoder: CpuDecoder, synthesis: CpuSynthesis) -> None:
        super().__init__()
        self.max_rows, self.max_units = 1, profile.engine.max_step_units
        self.buckets = make_buckets(self.max_rows, self.max_units, (self.max_units,))
        self.decoder, self.synthesis = decoder, synthesis
        self.profile = profile

    def collate(self, states: Sequence[HibariState], bucket: Bucket) -> tuple[Tensor, ...]:
        """Per row: inputs [frames + 6, 130], source blocks [frames + 3, 300], noise rows [frames], the window
        [3], the blocks' histories [8, 6, 256] and the last synthesised frames [3, 1200]. A first window has
        no history, and frames of zeros.
        """
        parts: list[Tensor] = []
        for state in states:
            window = state.window
            if window.start == 0:
                state.history = torch.empty(LAYERS - 1, 0, CHANNELS)
                state.tail = torch.zeros(OVERLAP - 1, N_FFT)
            new = window.new(0)
            parts += (
                state.inputs[new.start : new.stop + 2 * REACH],
                state.source[window.start : window.stop + OVERLAP - 1],
                torch.from_numpy(state.noise_rows[window.start : window.stop]),
                torch.tensor(window),
                state.history,
                state.tail,
            )
        return tuple(parts)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Per row: the blocks that its window completes [blocks, 300], the new histories and last frames."""
        outputs: list[Tensor] = []
        for at in range(0, len(inputs), INPUTS):
            frames_in, source, noise_rows, numbers, history, tail = inputs[at : at + INPUTS]
            window = Window(*numbers.tolist())
            if has_second_core() and window.stop - window.start >= 2 * PIECE:
                outputs += self._in_pieces(window, frames_in, source, noise_rows, history, tail)
                continue
            features, history = self.decoder(frames_in, history, window)
            blocks, tail = self.synthesis(features, source, noise_rows, tail, window)
            outputs += (blocks, history, tail)
        return tuple(outputs)

    def _in_pieces(
        self,
        window: Window,
        inputs: Tensor,
        source: Tensor,
        noise_rows: Tensor,
        history: Tensor,
        tail: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same bits, with the second core: it synthesises a piece while the next one is decoded."""

        def synthesise(features: Tensor, piece: Window) -> Tensor:
            nonlocal tail  # of the piece before it, which this thread has made
            first, last = piece.start - window.start, piece.stop - window.start
            blocks: Tensor
            blocks, tail = self.synthesis(
                features, source[first : last + OVERLAP - 1], noise_rows[first:last], tail, piece
            )
            return blocks

        spoken: list[Future[Tensor]] = []
        begin = window.new(0).start
        stops = [*range(window.start + PIECE, window.stop - PIECE + 1, PIECE), window.stop]
        start = window.start
        for stop in stops:
            piece = Window(start, stop, window.frames)
            new = piece.new(0)
            features, history = self.decoder(
                inputs[new.start - begin : new.stop - begin + 2 * REACH], history, piece
            )
            spoken.append(begin_aside(synthesise, features, piece))
            start = stop
        return torch.cat([piece.result() for piece in spoken]), history, tail

    def scatter(self, states: Sequence[HibariState], outputs: tuple[Tensor, ...]) -> list[Samples | None]:
        samples: list[Samples | None] = []
        for row, state in enumerate(states):
            blocks, state.history, state.tail = outputs[row * OUTPUTS : (row + 1) * OUTPUTS]
            samples.append(advance(state, blocks.flatten().numpy(), self.profile))
        return samples
