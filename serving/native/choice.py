"""Whether a model runs in its own kernels or in torch's operations."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import torch

from serving.native import NativeError, has_avx2
from serving.profile import Profile, ProfileError

log = logging.getLogger(__name__)

Kernels = Literal["auto", "native", "torch"]
"""native: our own CPU kernels, compiled at the first start; torch: plain torch operations; auto: native where they
can be had (a CPU with AVX2, a C compiler, no engine.compile)."""


def use_kernels(
    wanted: Kernels,
    profile: Profile,
    device: torch.device,
    dtype: torch.dtype,
    build: Callable[[], object],
    *,
    dtypes: tuple[torch.dtype, ...] = (torch.float32,),
) -> bool:
    """Whether the kernels that `build` compiles, and that stand for `dtypes`, shall be used.

    Raises ProfileError if the profile demands them where they cannot be had.
    """
    if wanted == "torch":
        return False
    reason = None
    if device.type != "cpu":
        reason = f"they run on a CPU, and the device is {device}"
    elif profile.engine.compile:
        reason = "they take the place of engine.compile"
    elif dtype not in dtypes:
        reason = f"they take the place of {' and '.join(map(str, dtypes))}, and engine.dtype is {dtype}"
    elif not has_avx2():
        reason = "this CPU has no AVX2"
    else:
        try:
            build()
        except NativeError as error:
            reason = str(error)
            log.warning("speaking with plain torch operations, at about half the speed: %s", error)
    if reason and wanted == "native":
        raise ProfileError(f"model.options.kernels: native kernels cannot be had: {reason}")
    return reason is None
