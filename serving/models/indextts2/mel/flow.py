"""Mel by conditional flow matching: Euler integration of a velocity (estimator.py), many segments at once.

A segment's mel is drawn over [prompt | target] frames: the prompt's part is the reference mel, held as a
condition, and noise becomes speech in the target's part under uniform Euler iterations with classifier-free
guidance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from serving.models.indextts2.mel.fused import take_frames
from serving.models.indextts2.mel.schedule import Schedule
from serving.models.indextts2.networks import VelocityEstimator


class Flow:
    """State of `slots` segments by slot, and one Euler iteration of any batch of them.

    A slot's frames are [prompt | target]. The spare slot takes inert rows. Buffers never move.
    """

    def __init__(
        self,
        estimator: VelocityEstimator,
        slots: int,
        max_frames: int,
        *,
        iterations: int = 25,
        guidance: float = 0.7,
    ) -> None:
        """Allocate for segments of at most max_frames frames, prompt included; tabulate `iterations`."""
        device, dtype = estimator.device, estimator.dtype
        config = estimator.config
        self.estimator = estimator
        self.guidance = guidance
        self.iterations = iterations
        self.spare = slots
        self.max_frames = max_frames
        self.reach = estimator.reach
        """Prompt frames before the target that the tail must run on for the target's to be right."""
        self.schedule = estimator.schedule(iterations).to(device, dtype)
        self.x = torch.zeros(slots + 1, max_frames, config.dit.in_channels, device=device)
        """Noise on its way to mel, always float32."""
        self.constant = torch.zeros(slots + 1, max_frames, config.dit.hidden_dim, device=device, dtype=dtype)
        self.lengths = torch.ones(slots + 1, dtype=torch.int64, device=device)
        self.prompt_lengths = torch.zeros(slots + 1, dtype=torch.int64, device=device)
        self.iteration = torch.zeros(slots + 1, dtype=torch.int64, device=device)
        """The next iteration of each slot; past the last, iterate() leaves the slot's x as it is."""

    def begin(
        self,
        slots: Tensor,
        prompt_mel: Tensor,
        mu: Tensor,
        style: Tensor,
        noise: Tensor,
        lengths: Tensor,
        prompts: Tensor,
    ) -> None:
        """Give slots [R] their segments.

        prompt_mel [R, T, M], zero past prompts [R]; mu [R, T, content] over prompt and target; style
        [R, style]; noise [R, T, M] by frame, of which prompts .. lengths - 1 is used. T bounds the lengths
        [R]. Raises ValueError if T exceeds the frames of a slot.
        """
        dtype, width = self.estimator.dtype, mu.shape[1]
        if width > self.max_frames:
            raise ValueError(f"{width} frames exceed the {self.max_frames} of a slot")
        self.constant[slots, :width] = self.estimator.constant(
            prompt_mel.to(dtype), mu.to(dtype), style.to(dtype)
        )
        frame = torch.arange(width, device=slots.device)
        is_target = (frame >= prompts[:, None]) & (frame < lengths[:, None])
        self.x[slots, :width] = torch.where(is_target[:, :, None], noise, 0.0)
        self.lengths[slots], self.prompt_lengths[slots] = lengths, prompts
        self.iteration[slots] = torch.zeros_like(lengths)

    def iterate(self, slots: Tensor, width: int, kept_width: int, *, ragged: bool = True) -> None:
        """One Euler iteration of each row of slots [R], each at its own time.

        Static bounds: width >= every length; kept_width >= every target plus the WaveNet's reach (or the
        whole length where that is less). `ragged` False promises that every row is `width` long.
        """
        lengths, prompts, iteration = self.lengths[slots], self.prompt_lengths[slots], self.iteration[slots]
        row_schedule = self.rows(iteration.clamp(max=self.iterations - 1))
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
        is_target = (frame >= prompts[:, None]) & (frame < lengths[:, None])
        moves = is_target & (iteration < self.iterations)[:, None]
        velocity = take_frames(velocity, (frame - first[:, None]).clamp(0, kept_width - 1))
        change = row_schedule.widths[:, None, None] * velocity.float()
        self.x[slots, :width] = x + torch.where(moves[:, :, None], change, 0.0)
        self.iteration[slots] = iteration + 1

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
