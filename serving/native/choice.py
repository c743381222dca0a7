"""Whether a model runs in its own kernels or in torch's operations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Literal

from serving.native import NativeError
from serving.native.tiers import asked_tier, chosen_tier
from serving.profile import Profile, ProfileError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Kernels = Literal["auto", "native", "torch"]
"""native: our own CPU kernels, compiled at the first start; torch: plain torch operations; auto: native where they
can be had (a C compiler or a wheel that brings them, a tier above scalar, sizes that they take, no engine.compile)."""


def use_kernels(
    wanted: Kernels,
    profile: Profile,
    device: torch.device,
    asked: Collection[torch.dtype],
    served: Collection[torch.dtype],
    build: Callable[[], object],
) -> bool:
    """Whether the kernels that `build` compiles shall be used; they serve for some of the dtypes asked for.

    `build` raises NativeError where there is no compiler, or where the kernels do not take the model's sizes.

    Raises ProfileError if the profile demands them where they cannot be had.
    """
    if wanted == "torch":
        return False
    reason = None
    if device.type != "cpu":
        reason = f"they run on a CPU, and the device is {device}"
    elif profile.engine.compile:
        reason = "they take the place of engine.compile"
    elif other := set(asked) - set(served):
        reason = f"they serve for {' and '.join(map(str, served))}, not for {other.pop()}"
    else:
        try:
            tier = chosen_tier()
            if tier == "scalar" and wanted == "auto" and not asked_tier():
                logger.info(
                    "speaking with plain torch operations, which are quicker than kernels without AVX2"
                )
                return False
            build()
            logger.info("speaking with the kernels of tier %s", tier)
        except ValueError as error:
            raise ProfileError(str(error)) from error
        except NativeError as error:
            reason = str(error)
            logger.warning("speaking with plain torch operations, at about half the speed: %s", error)
    if reason and wanted == "native":
        raise ProfileError(f"model.options.kernels: native kernels cannot be had: {reason}")
    return reason is None
