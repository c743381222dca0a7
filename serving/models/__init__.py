"""Models by name. A model is a package that follows serving/models/base.py; no list of them is kept."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from serving.models.base import Frontend, Model
from serving.profile import Profile, ProfileError

if TYPE_CHECKING:
    import torch


def model_names() -> list[str]:
    """Names of the models that come with the package, sorted."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/__init__.py"))


def load_frontend(profile: Profile) -> Frontend:
    """Make the frontend of `profile.model`, without torch. Raises ProfileError for an unknown model."""
    return cast(Frontend, _package(profile.model.name).create_frontend(profile))


def load_model(profile: Profile, device: torch.device, dtype: torch.dtype) -> Model:
    """Make the tensors and stages of `profile.model`. Raises ProfileError for an unknown model."""
    return cast(Model, _package(profile.model.name).create_model(profile, device, dtype))


def add_voice(profile: Profile, name: str, file: Path) -> str:
    """Store a recording as a voice of `profile.model`; returns a line that says what was done.

    Raises ProfileError if the model takes no voices, InputError (fields "name" and "file") if not this one.
    """
    package = _package(profile.model.name)
    if not hasattr(package, "add_voice"):
        raise ProfileError(f"model.name: {profile.model.name} takes no voices of one's own")
    return cast(str, package.add_voice(profile, name, file))


def fetch(model: str, to: Path, *, everything: bool) -> None:
    """Download the weights of a model into a folder. Raises ProfileError if it needs none, RuntimeError."""
    package = _package(model)
    if not hasattr(package, "fetch"):
        raise ProfileError(f"model.name: {model} has nothing to fetch")
    package.fetch(to, everything=everything)


def _package(name: str) -> ModuleType:
    for module in (f"{__name__}.{name}", name):
        try:
            found = importlib.util.find_spec(module) is not None
        except (ModuleNotFoundError, ValueError):
            found = False
        if found:
            package = importlib.import_module(module)
            if hasattr(package, "create_frontend") and hasattr(package, "create_model"):
                return package
    raise ProfileError(
        f"model.name: no model {name!r}; there are {', '.join(model_names())}, "
        "or the dotted name of a package with create_frontend and create_model"
    )
