"""The embedded English voice: the 6.15 M parameter network of the package hibari-tts as torch modules.

Words to phonemes is the package's own (frontend). The network is filled from the package's ONNX graph
(weights) and split into three stages: encode, prosody, decode (stages). Torch is imported only when the model
is created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.models.hibari.frontend import Fields, HibariFrontend, Options

if TYPE_CHECKING:
    import torch

    from serving.models.hibari.model import HibariModel
    from serving.profile import Profile

__all__ = ["Fields", "Options", "create_frontend", "create_model", "weights_digest"]


def create_frontend(profile: Profile, options: Options) -> HibariFrontend:
    """Words to phoneme ids."""
    return HibariFrontend(profile.text.pauses.clause_s)


def create_model(profile: Profile, options: Options, device: torch.device, dtype: torch.dtype) -> HibariModel:
    """The network on `device`; `dtype` is that of the decoder's matrix products, the rest is float32."""
    from serving.models.hibari.model import HibariModel

    return HibariModel(profile, options, device, dtype)


def weights_digest(options: Options) -> str:
    """SHA-256 of the package's graph."""
    from hashlib import sha256
    from importlib.resources import files

    return sha256(files("hibari").joinpath("assets/hibari.onnx").read_bytes()).hexdigest()
