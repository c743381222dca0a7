"""Mel by conditional flow matching: batched Euler integration of the velocity (estimator.py).

A segment's mel is drawn over [prompt | target] frames: the prompt's part is the reference mel, held as a
condition, and noise becomes speech in the target's part under uniform Euler iterations with classifier-free
guidance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from serving.models.indextts2.mel.dit import take_frames
from serving.models.indextts2.mel.estimator import Estimator
from serving.models.indextts2.mel.schedule import Schedule
from serving.models.indextts2.noise import gaussian


class Flow:
    """Slot-resident Euler integration: state of `slots` segments, and the step over any batch of them.

    A slot's frames are [prompt | target]. The spare slot takes inert rows. Buffers never move.
    """

    def __init__(
        self,
        estimator: Estimator,
        slots: int,
        max_frames: int,
        *,
        steps: int = 25,
        guidance: float = 0.7,
    ) -> None:
        """Allocate for segments of at most max_frames frames, prompt included. Tabulates `steps` Euler
        steps."""
        device, dtype = estimator.device, estimator.dtype
        config = estimator.config
        self.estimator = estimator
        self.guidance = guidance
        self.steps = steps
        self.spare = slots
        self.max_frames = max_frames
        self.reach = estimator.reach
        """Prompt frames before the target that the tail must run on for the target's to be right."""
        self.schedule = estimator.time.schedule(steps).to(device, dtype)
        self.x = torch.zeros(slots + 1, max_frames, config.dit.in_channels, device=device)
        """The mel in the making, float32 whatever the estimator runs in."""
        self.constant = torch.zeros(slots + 1, max_frames, config.dit.hidden_dim, device=device, dtype=dtype)
        self.lengths = torch.ones(slots + 1, dtype=torch.int64, device=device)
        self.prompt_lengths = torch.zeros(slots + 1, dtype=torch.int64, device=device)
        self.done = torch.zeros(slots + 1, dtype=torch.int64, device=device)
        """Euler steps each slot has taken; past the last, a step leaves the slot's x as it is."""

    def begin(self, slot: int, prompt_mel: Tensor, mu: Tensor, style: Tensor, noise: Tensor) -> None:
        """Give a slot its segment, on the host.

        prompt_mel [P, M]; mu [P + N, content] over prompt and target; style [style]; noise [P + N, M] (its
        prompt part is not used) or [N, M]. Raises ValueError if the frames exceed the slot.
        """
        frames, prompt = len(mu), len(prompt_mel)
        if frames > self.max_frames:
            raise ValueError(f"{frames} frames exceed the {self.max_frames} of a slot")
        dtype = self.estimator.dtype
        padded = F.pad(prompt_mel, (0, 0, 0, frames - prompt))
        self.constant[slot, :frames] = self.estimator.constant(
            padded[None].to(dtype), mu[None].to(dtype), style[None].to(dtype)
        )[0]
        self.x[slot] = 0.0
        self.x[slot, prompt:frames] = noise[len(noise) - (frames - prompt) :]
        self.lengths[slot], self.prompt_lengths[slot], self.done[slot] = frames, prompt, 0

    def begin_rows(
        self,
        slots: Tensor,
        prompt_mel: Tensor,
        mu: Tensor,
        style: Tensor,
        noise: Tensor,
        lengths: Tensor,
        prompts: Tensor,
    ) -> None:
        """begin() for the slots [R] of a step, on the device.

        prompt_mel [R, T, M], zero past prompts [R]; mu [R, T, content]; style [R, style]; noise [R, T, M] by
        frame, of which prompts .. lengths - 1 is used. T <= max_frames bounds the lengths [R].
        """
        dtype, width = self.estimator.dtype, mu.shape[1]
        self.constant[slots, :width] = self.estimator.constant(
            prompt_mel.to(dtype), mu.to(dtype), style.to(dtype)
        )
        frame = torch.arange(width, device=slots.device)
        is_target = (frame >= prompts[:, None]) & (frame < lengths[:, None])
        self.x[slots, :width] = torch.where(is_target[:, :, None], noise, 0.0)
        self.lengths[slots], self.prompt_lengths[slots] = lengths, prompts
        self.done[slots] = torch.zeros_like(lengths)

    def step(self, slots: Tensor, width: int, kept_width: int, *, ragged: bool = True) -> None:
        """One Euler step of each row of slots [R], all of them at their own time.

        Static bounds: width >= every length; kept_width >= every target plus the WaveNet's reach (or the
        whole length where that is less). `ragged` False promises that every row is `width` long.
        """
        lengths, prompts, done = self.lengths[slots], self.prompt_lengths[slots], self.done[slots]
        row_schedule = self.rows(done.clamp(max=self.steps - 1))
        first = (prompts - self.reach).clamp(min=0)
        place = first[:, None] + torch.arange(kept_width, device=slots.device)
        kept = torch.minimum(place, lengths[:, None] - 1)
        x = self.x[slots, :width]
        velocity = self.estimator(
            x.to(self.estimator.dtype),
            self.constant[slots, :width],
            row_schedule,
            lengths,
            kept,
            lengths - first,
            guidance=self.guidance,
            ragged=ragged,
        )
        frame = torch.arange(width, device=slots.device)
        moving = (frame >= prompts[:, None]) & (frame < lengths[:, None]) & (done < self.steps)[:, None]
        velocity = take_frames(velocity, (frame - first[:, None]).clamp(0, kept_width - 1))
        change = row_schedule.widths[:, None, None] * velocity.float()
        self.x[slots, :width] = x + torch.where(moving[:, :, None], change, 0.0)
        self.done[slots] = done + 1

    def target(self, slot: int) -> Tensor:
        """The target's mel [N, M] of a slot, a view into its buffer. Reads lengths on the host."""
        return self.x[slot, int(self.prompt_lengths[slot]) : int(self.lengths[slot])]

    def rows(self, times: Tensor) -> Schedule:
        """The schedule of each row of times, int64 [R]."""
        schedule = self.schedule
        return Schedule(
            widths=schedule.widths[times],
            norm_scale=schedule.norm_scale[times],
            norm_shift=schedule.norm_shift[times],
            condition=schedule.condition[times],
            final_shift=schedule.final_shift[times],
            final_scale=schedule.final_scale[times],
        )


def frame_noise(seed: int, first_frame: int, frames: int, mels: int, device: torch.device) -> Tensor:
    """Standard normal noise [frames, mels] of target frames first_frame .. of a request.

    A function of (seed, frame, bin): windows of a stream see the noise that the whole segment sees.
    """
    frame = torch.arange(first_frame, first_frame + frames, device=device)[:, None]
    bins = torch.arange(mels, device=device)
    return gaussian(torch.full((1, 1), seed, dtype=torch.int64, device=device), frame, bins)
