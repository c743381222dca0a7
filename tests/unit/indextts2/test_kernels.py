"""The Triton kernels under Triton's interpreter, and the CPU forms, against the plain torch expressions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from serving.models.indextts2.codes.attention import decode_attention, extend_attention
from serving.models.indextts2.wave.snake import snake_by_convolution, snake_by_shifts
from tests.unit.indextts2.support import plain_attention

ROOT = Path(__file__).parents[3]

ATTENTION = """
import torch
from serving.models.indextts2.codes import attention_triton
from serving.models.indextts2.codes.attention_triton import PART_CELLS, decode_attention_triton
from tests.unit.indextts2.support import plain_attention

torch.manual_seed(0)
for width, span in ((16, 3 * PART_CELLS + 5), (64, 70)):
    keys, values = torch.randn(2, 5, 3, span, width).unbind(0)
    slots = torch.tensor([4, 0, 2, 2])
    lengths = torch.tensor([span, 1, 33, min(span, PART_CELLS)])
    # What lies past a row's length must not be read, not even as nan times zero.
    for slot, length in zip(slots.tolist(), lengths.tolist()):
        if slot != 2:
            keys[slot, :, length:] = float("nan")
            values[slot, :, length:] = float("nan")
    q = torch.randn(4, 3, width)
    ours = decode_attention_triton(q, keys, values, slots, lengths, span)
    clean = plain_attention(q, keys.nan_to_num(), values.nan_to_num(), slots, lengths, span)
    torch.testing.assert_close(ours, clean, atol=2e-6, rtol=1e-5)
kept = attention_triton._counters(q.device, 4)
torch.zeros = None  # a launch that made counters would be recorded into every captured step
assert attention_triton._counters(q.device, 12) is kept
print("same")
"""

ACTIVATION = """
import torch
from serving.models.indextts2.wave import snake_triton
from serving.models.indextts2.wave.fused import activate, activate_plain, join, join_plain

torch.manual_seed(0)
# Many short stretches in a program: the interpreter pays for steps, not for lanes.
snake_triton.STEPS, snake_triton.LANES = 6, 512
for frames, channels, branches, lengths, scale in (
    (1, 24, 1, None, 1), (2, 3, 2, torch.tensor([1, 2]), 1), (61, 32, 3, torch.tensor([30, 4]), 2),
):
    bases, others = torch.randn(2, branches, 2, frames, channels).unbind(0)
    bases, others = list(2 * bases), list(2 * others)
    # What lies past a row's end must not be read, not even as a number far off.
    for base in bases if lengths is not None else ():
        for row, length in enumerate(lengths.tolist()):
            base[row, length * scale :] = 1e30
    clean = [base.where(base < 1e30, 0.0) for base in bases]
    tables = torch.randn(branches, channels), 3 * torch.rand(branches, channels), torch.rand(branches, channels)
    for added in ([], others):
        settings = (lengths, scale, torch.float32)
        ours = activate(bases, added, *tables, *settings)
        plain = activate_plain(clean, added, *tables, *settings)
        torch.testing.assert_close(ours, plain, atol=4e-6, rtol=1e-5)
        if added or branches == 1:
            ours, plain = join(bases, added, tables[0][0], *settings), join_plain(clean, added, tables[0][0], *settings)
            torch.testing.assert_close(ours, plain, atol=4e-6, rtol=1e-5)
half = [torch.randn(1, 17, 16).bfloat16()]
args = ([*half], [*half], *torch.rand(3, 1, 16).unbind(0), None, 1, torch.bfloat16)
# The interpreter cuts numbers down to bfloat16 where a device rounds them.
torch.testing.assert_close(activate(*args), activate_plain(*args), atol=5e-2, rtol=3e-2)
print("same")
"""


NORM = """
import torch
from serving.models.indextts2.mel.fused import norm

torch.manual_seed(0)
for width, frames in ((32, 13), (48, 5)):
    x, y = torch.randn(2, 3, frames, width).unbind(0)
    tables = torch.randn(3, 5, width)
    modulation = (tables[:, 1], tables[:, 2])
    for other in (None, y):
        for centred in (False, True):
            ours = norm(x, other, modulation, 1e-5, centred=centred, fused=True)
            plain = norm(x, other, modulation, 1e-5, centred=centred)
            torch.testing.assert_close(ours, plain, atol=2e-6, rtol=1e-5)
print("same")
"""

FLOW_ATTENTION = """
import torch
from serving.models.indextts2.mel.fused import attention

torch.manual_seed(0)
for heads, width, frames in ((2, 32, 70), (3, 64, 130)):
    clean = torch.randn(3, frames, 3 * heads * width)
    lengths = torch.tensor([frames, 1, frames // 2])
    rope = tuple(torch.randn(2, frames + 5, width // 2).unbind(0))
    mask = (torch.arange(frames) < lengths[:, None])[:, None, None]
    # What lies past a row's end must not be read, not even as a number far off.
    ragged = torch.where(mask[:, 0, 0, :, None], clean, 1e30)
    first = torch.tensor([[frames - 9], [0], [frames // 2 - 9]])
    some = torch.minimum(first + torch.arange(12), lengths[:, None] - 1)
    for kept in (None, some):
        ours = attention(ragged, rope, lengths, None, kept, heads, fused=True)
        plain = attention(clean, rope, lengths, mask, kept, heads)
        for row, length in enumerate(lengths.tolist()):
            live = length if kept is None else 12
            torch.testing.assert_close(ours[row, :live], plain[row, :live], atol=5e-6, rtol=1e-5)
print("same")
"""

SWIGLU = """
import torch
from serving.models.indextts2.mel.fused import swiglu

torch.manual_seed(0)
for rows, width, hidden in ((77, 48, 80), (130, 64, 64), (1, 100, 7)):
    x, weight = torch.randn(2, rows, width), torch.randn(2 * hidden, width)
    torch.testing.assert_close(swiglu(x, weight, fused=True), swiglu(x, weight), atol=5e-5, rtol=1e-5)
print("same")
"""

WAVENET = """
import torch
from serving.models.indextts2.mel.fused import gate, wavenet_step
from serving.models.indextts2.mel.wavenet import reflect_index

torch.manual_seed(0)
tables = torch.randn(2, 4, 48)
for scale in (1.0, 200.0):
    x = scale * torch.randn(2, 19, 48)
    torch.testing.assert_close(
        gate(x, tables[:, 1], fused=True), gate(x, tables[:, 1]), atol=2e-6, rtol=1e-5
    )
    bias = torch.randn(48)
    torch.testing.assert_close(
        gate(x, tables[:, 1], bias, fused=True), gate(x + bias, tables[:, 1]), atol=4e-6, rtol=1e-5
    )
for frames in (3, 19):
    lengths = torch.tensor([frames, max(1, frames - 5)])
    x = torch.randn(2, frames, 24)
    borders = reflect_index(lengths, frames, 2)
    padded, none = wavenet_step(x, None, None, lengths, borders, 2)
    ours = wavenet_step(x, None, None, lengths, None, 2)
    assert ours[1] is None and none is None
    torch.testing.assert_close(ours[0], padded)
    for total in (None, torch.randn(2, frames, 24)):
        outputs = torch.randn(2, frames, 48)
        ours = wavenet_step(padded, outputs, total, lengths, None, 2)
        torch.testing.assert_close(ours, wavenet_step(padded, outputs, total, lengths, borders, 2))
print("same")
"""

ESTIMATOR = """
import torch
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel.flow import Flow
from serving.models.indextts2.options import FUSED
from serving.models.indextts2.weights.checkpoint import RandomWeights
from tests.unit.indextts2.support import begin, target_mel

CPU = torch.device("cpu")
weights = RandomWeights(IndexTts2Config.tiny(), 0)

def mels(parts):
    torch.manual_seed(0)
    estimator = weights.load("flow", CPU).fuse(frozenset(parts))
    config = estimator.config
    flow = Flow(estimator, 2, 40, iterations=2)
    for slot, (prompt, target) in enumerate(((12, 17), (3, 9))):
        begin(
            flow, slot, torch.randn(prompt, config.dit.in_channels),
            torch.randn(prompt + target, config.dit.content_dim), torch.randn(config.style_dim),
            torch.randn(target, config.dit.in_channels),
        )
    for _ in range(2):
        flow.iterate(torch.tensor([0, 1, 2]), 33, 30)
    return [target_mel(flow, slot) for slot in (0, 1)]

with torch.inference_mode():
    plain = mels(())
    assert all(mel.isfinite().all() and mel.std() > 0.1 for mel in plain)
    for ours, theirs in zip(mels(FUSED), plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
print("same")
"""

SELF_CHECK = """
import logging
import torch
from serving.models.indextts2.codes import sampling_triton
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel import fused_triton
from serving.models.indextts2.options import FUSED
from serving.models.indextts2.self_check import CHECKS, Subjects, sound_parts
from serving.models.indextts2.wave import snake_triton
from serving.models.indextts2.weights.checkpoint import RandomWeights

CPU = torch.device("cpu")
weights = RandomWeights(IndexTts2Config.tiny(), 0)
subjects = Subjects(*(weights.load(name, CPU) for name in ("gpt", "flow", "vocoder")), torch.float32)
assert CHECKS.keys() == set(FUSED)
said = []
logging.getLogger("serving.models.indextts2.self_check").addFilter(lambda record: said.append(record.getMessage()))
# Those of the vocoder take the interpreter a minute; test_kernels.py has them.
sound = frozenset(FUSED) - {"vocoder"}
assert sound_parts(sound, subjects) == sound and not said

def shifted(x, weight):
    return true_swiglu(x, weight).roll(1, 0)

def broken(*args):
    raise RuntimeError("Triton Error: planted\\nand more")

true_swiglu, fused_triton.swiglu_triton = fused_triton.swiglu_triton, shifted
sampling_triton.embed_triton = broken
sampling_triton.draw_triton = lambda logits, slots, *rest: slots.clone()
snake_triton.activate_triton = broken
assert sound_parts(frozenset(FUSED), subjects) == sound - {"swiglu", "embedding", "sampler"}
embedding, sampler, swiglu, vocoder = said
assert embedding == "the fused kernel of 'embedding' is not used, plain torch is: RuntimeError: Triton Error: planted"
assert "'sampler'" in sampler and "other whole numbers" in sampler
assert "'swiglu'" in swiglu and "off by" in swiglu
assert "'vocoder'" in vocoder and "planted" in vocoder
print("same")
"""

DECODING = """
import torch
from serving.models.indextts2.codes.decoding import Decoding
from serving.models.indextts2.codes.gpt import Gpt
from serving.models.indextts2.codes.sampling import Sampling
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.weights.checkpoint import RandomWeights
from tests.unit.indextts2.support import configure

config = IndexTts2Config.tiny()
gpt = RandomWeights(config, 0).load("gpt", torch.device("cpu"))
assert config.gpt.layers > 1
settings = (
    Sampling(seed=2**62 + 5, top_k=30, min_codes=3, max_codes=5),
    Sampling(seed=3, top_k=1, top_p=1.0, temperature=1.3),
    Sampling(seed=0, top_k=60, top_p=1.0, repetition_penalty=1.0, max_codes=3),
    Sampling(seed=11, top_k=5, top_p=0.1),
)

def run(positions, *fused):
    torch.manual_seed(0)
    gpt.fused = frozenset(fused)
    decoding = Decoding(gpt, 5, max_codes=12, max_text=8, positions=positions, fused=frozenset(fused))
    for slot, sampling in enumerate(settings):
        configure(decoding, slot, sampling)
    slots = torch.tensor([2, 0, 3, 1])
    condition = config.gpt.condition
    latents, emovec = torch.randn(4, condition.latents, condition.latent_dim), torch.randn(4, condition.latent_dim)
    text = torch.randint(2, 20, (4, 6))
    drawn = [decoding.prefill(slots, latents, emovec, text, torch.tensor([6, 2, 3, 5]))]
    drawn += [decoding.decode(slots, decoding.cache.max_cells) for _ in range(6)]
    return torch.stack(drawn), decoding

with torch.inference_mode():
    for positions in ("aligned", "official"):
        plain, before = run(positions)
        assert len(plain.unique()) > 5
        ours, after = run(positions, "embedding", "sampler", "layer")
        assert torch.equal(ours, plain)
        for name in ("codes", "counts", "seen", "lengths"):
            assert torch.equal(getattr(after, name)[:5], getattr(before, name)[:5]), name
        torch.testing.assert_close(after.states[:5], before.states[:5], atol=1e-4, rtol=1e-4)
        for ours, plain in zip(after.cache.keys + after.cache.values, before.cache.keys + before.cache.values):
            torch.testing.assert_close(ours[:4], plain[:4], atol=1e-4, rtol=1e-4)
print("same")
"""

SCRIPTS = {
    "the check at the start": SELF_CHECK,
    "decoding": DECODING,
    "decode attention": ATTENTION,
    "what lies between the vocoder's convolutions": ACTIVATION,
    "flow norm": NORM,
    "flow attention": FLOW_ATTENTION,
    "swiglu": SWIGLU,
    "wavenet": WAVENET,
    "a whole flow": ESTIMATOR,
}


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SCRIPTS)
def test_triton_kernel_equals_the_plain_expression(name: str) -> None:
    """In a process of its own: the interpreter is chosen when the kernel is defined."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTS[name]],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == "same\n", done.stderr


def test_decode_attention_reads_live_cells_only() -> None:
    torch.manual_seed(0)
    keys, values = torch.randn(2, 4, 2, 30, 8).unbind(0)
    slots, lengths = torch.tensor([3, 1]), torch.tensor([7, 30])
    keys[3, :, 7:] = float("nan")
    values[3, :, 7:] = float("nan")
    q = torch.randn(2, 2, 8)
    ours = decode_attention(q, keys, values, slots, lengths, 30)
    clean = plain_attention(q, keys.nan_to_num(), values.nan_to_num(), slots, lengths, 30)
    torch.testing.assert_close(ours, clean)


def test_extend_attention_sees_the_past_and_itself_but_not_the_future() -> None:
    torch.manual_seed(0)
    keys, values = torch.randn(2, 3, 2, 20, 8).unbind(0)
    slots, starts = torch.tensor([2, 0]), torch.tensor([0, 9])
    q = torch.randn(2, 2, 5, 8)
    together = extend_attention(q, keys, values, slots, starts, 20)
    for place in range(5):
        alone = plain_attention(q[:, :, place], keys, values, slots, starts + place + 1, 20)
        torch.testing.assert_close(together[:, :, place], alone)


@pytest.mark.parametrize("width", [1, 3, 64])
def test_snake_forms_agree_on_ragged_rows(width: int) -> None:
    torch.manual_seed(0)
    x = 2 * torch.randn(3, 4, width)
    frequency, amplitude = torch.rand(4) + 0.5, torch.rand(4) + 0.5
    live = torch.tensor([width, max(1, width // 2), 1])
    plain = snake_by_convolution(x, frequency, amplitude, live)
    torch.testing.assert_close(snake_by_shifts(x, frequency, amplitude, live), plain, atol=2e-6, rtol=1e-5)
    for row, length in enumerate(live.tolist()):
        alone = snake_by_convolution(x[row : row + 1, :, :length], frequency, amplitude, None)
        torch.testing.assert_close(plain[row : row + 1, :, :length], alone, atol=2e-6, rtol=1e-5)
        assert not plain[row, :, length:].any()
