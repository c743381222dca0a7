"""Models by name. A model is a package that follows serving/models/base.py; no list of them is kept."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from serving.models.base import (
    AddedVoice,
    Frontend,
    Model,
    ModelError,
    ModelOptions,
    ModelSpec,
    RequestFields,
    VoiceLibrary,
)
from serving.profile import Profile, ProfileError
from serving.protocol import InputError

if TYPE_CHECKING:
    import torch

T = TypeVar("T", bound=msgspec.Struct)

OPERATOR = "whoever has the command line answers for it"
"""The consent that is recorded of a voice that was added there."""


def model_names() -> list[str]:
    """Names of the models that come with the package, sorted."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/__init__.py"))


def request_fields(name: str) -> type[RequestFields]:
    """The request fields of a model's own. Raises ProfileError for an unknown model."""
    return cast(type[RequestFields], getattr(_package(name), "Fields", RequestFields))


@functools.cache
def known_fields() -> tuple[type[RequestFields], ...]:
    """The request fields of all models that come with the package.

    A client may send any of them to any model: those that the served one does not use are named in the answer.
    """
    return tuple(request_fields(name) for name in model_names())


@functools.cache
def voice_fields(own: type[RequestFields]) -> tuple[str, ...]:
    """Names of the fields that hold a voice's name: `voice`, and those of type base.VoiceName."""
    described = msgspec.inspect.type_info(own)
    assert isinstance(described, msgspec.inspect.StructType)
    return ("voice", *(field.name for field in described.fields if _is_voice(field.type)))


def _is_voice(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(_is_voice(option) for option in kind.types)
    if isinstance(kind, msgspec.inspect.Metadata):
        return bool(kind.extra and kind.extra.get("voice")) or _is_voice(kind.type)
    return False


def inline_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON schema of a struct, without references."""
    document = msgspec.json.schema(kind)
    definitions = document["$defs"]

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(definitions[node["$ref"].rsplit("/", 1)[-1]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(value) for value in node] if isinstance(node, list) else node

    schema: dict[str, Any] = resolved({"$ref": document["$ref"]})
    return schema


def describe_use(properties: dict[str, Any], spec: ModelSpec, used: Collection[str]) -> None:
    """Say in the schemas of a request's fields what a model refuses here, and which of them it ignores."""
    for name, field in properties.items():
        said = field.get("description", "")
        if name in spec.unavailable:
            properties[name] = {
                "type": "null",
                "default": None,
                "description": f"{said} Not on this server.".strip(),
            }
        elif name in spec.at_most:
            for part in (field, *field.get("anyOf", ())):
                if "maximum" in part:
                    part["maximum"] = min(part["maximum"], spec.at_most[name])
        elif name not in used:
            field["description"] = f"{said} Ignored by the model {spec.name}.".strip()
            for part in (field, *field.get("anyOf", ())):  # what only the model itself would check
                part.pop("format", None)
                part.pop("pattern", None)


def extended(base: type[T], own: type[RequestFields]) -> type[T]:
    """A request's struct: what is common, the model's own fields, and what other models have.

    Raises TypeError for a field of a common name, or without a default.
    """
    fields: dict[str, Any] = {}
    for struct in (own, *known_fields()):
        for field in msgspec.structs.fields(struct):
            if field.name in base.__struct_fields__:
                raise TypeError(f"{struct.__qualname__}.{field.name}: every request has a field of this name")
            if field.required:
                raise TypeError(f"{struct.__qualname__}.{field.name}: a request field needs a default")
            fields.setdefault(field.name, (field.name, field.type, _default(field)))
    # A class statement would do, but for the fields that are known only now.
    made = msgspec.defstruct(
        "Request", list(fields.values()), bases=(base,), frozen=True, forbid_unknown_fields=True, kw_only=True
    )
    return made  # type: ignore[return-value]


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return field.default


def load_options(profile: Profile) -> ModelOptions:
    """`profile.model.options`, checked. Raises ProfileError that names the key."""
    options_type: type[ModelOptions] = getattr(_package(profile.model.name), "Options", ModelOptions)
    try:
        return msgspec.convert(profile.model.options, options_type, strict=True)
    except msgspec.ValidationError as error:
        raise ProfileError(_at_option(str(error))) from None


def load_frontend(profile: Profile) -> Frontend:
    """Make the frontend of `profile.model`, without torch. Raises ProfileError for an unknown model or option."""
    package = _package(profile.model.name)
    with _with_extra(profile.model.name):
        frontend = cast(Frontend, package.create_frontend(profile, load_options(profile)))
    declared = request_fields(profile.model.name)
    if frontend.spec.fields is not declared:
        raise ProfileError(
            f"model.name: {profile.model.name} declares the request fields {declared.__qualname__}, "
            f"its spec has {frontend.spec.fields.__qualname__}"
        )
    return frontend


def load_model(profile: Profile, device: torch.device, dtype: torch.dtype) -> Model:
    """Make the tensors and stages of `profile.model`. Raises ProfileError as load_frontend does, and ModelError."""
    package = _package(profile.model.name)
    with _with_extra(profile.model.name):
        model = cast(Model, package.create_model(profile, load_options(profile), device, dtype))
    check_stages(model)
    return model


def check_stages(model: Model) -> None:
    """Raise ModelError unless every stage name that the model declares is one of its stages."""
    names = ", ".join(model.stages)
    for key, stage in model.stages.items():
        if stage.name != key:
            raise ModelError(f"model {model.spec.name}: stages[{key!r}] is called {stage.name!r}")
        for following in stage.next_stages:
            if following not in model.stages:
                raise ModelError(
                    f"model {model.spec.name}: next_stages of stage {key!r} has {following!r}; "
                    f"the stages are {names}"
                )
    for first in model.first_stages:
        if first not in model.stages:
            raise ModelError(f"model {model.spec.name}: first_stages has {first!r}; the stages are {names}")


def open_voices(profile: Profile) -> VoiceLibrary | None:
    """Where `profile.model` keeps voices that users add; None if it takes none, or the profile has no place.

    Raises ProfileError if the place cannot be one.
    """
    package = _package(profile.model.name)
    if not hasattr(package, "open_voices"):
        return None
    with _with_extra(profile.model.name):
        return cast("VoiceLibrary | None", package.open_voices(profile, load_options(profile)))


def add_voice(profile: Profile, name: str, file: Path) -> AddedVoice:
    """Store a recording as a voice of `profile.model`, as POST /v1/audio/voices does.

    Raises ProfileError if the model takes no voices, InputError (fields "name" and "file") if not this one.
    """
    if not hasattr(_package(profile.model.name), "open_voices"):
        raise ProfileError(f"model.name: {profile.model.name} cannot take new voices")
    library = open_voices(profile)
    if library is None:
        raise ProfileError("model.options.voices: not set; it names the folder that voices are stored in")
    library.check_name(name, replace=False)
    try:
        recording = file.open("rb")
    except OSError as error:
        raise InputError("file", f"{file.name} cannot be read: {error.strerror}") from None
    with recording:
        try:
            return library.add(
                name, recording, field="file", consent=OPERATOR, source="command line", replace=False
            )
        except OSError as error:
            raise ProfileError(f"model.options.voices: cannot be written: {error.strerror}") from None


def weights_digest(profile: Profile) -> str:
    """Digest of the weights' content; empty for a model that does not tell. Raises OSError."""
    package = _package(profile.model.name)
    if not hasattr(package, "weights_digest"):
        return ""
    with _with_extra(profile.model.name):
        return cast(str, package.weights_digest(load_options(profile)))


def voice_digest(profile: Profile, name: str) -> str:
    """Digest of what the voice `name` is made from now; empty for a model whose voices are in its weights.

    Raises InputError if it is gone.
    """
    package = _package(profile.model.name)
    if not hasattr(package, "voice_digest"):
        return ""
    with _with_extra(profile.model.name):
        return cast(str, package.voice_digest(profile, load_options(profile), name))


def source_files(name: str) -> list[Path]:
    """The Python files of a model, sorted. Raises ProfileError for an unknown model."""
    origin = Path(str(_package(name).__file__))
    return sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


def fetch(model: str, to: Path, *, everything: bool) -> None:
    """Download the weights of a model into a folder. Raises ProfileError if it needs none, RuntimeError."""
    package = _package(model)
    if not hasattr(package, "fetch"):
        raise ProfileError(f"model.name: {model} has nothing to fetch")
    with _with_extra(model):
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


@contextlib.contextmanager
def _with_extra(model: str) -> Iterator[None]:
    """Raise ProfileError, which names the extra to install, where a model of the package lacks a library."""
    try:
        yield
    except ModuleNotFoundError as error:
        if model in model_names() and not (error.name or "").startswith("serving"):
            raise ProfileError(
                f"model.name: {model} needs the package {error.name}: pip install 'tts-serving[{model}]'"
            ) from None
        raise


def _at_option(message: str) -> str:
    """What msgspec found wrong, with the option's name first."""
    at = re.search(r" - at `\$\.?(.*)`$", message)
    if at is None:
        return f"model.options: {message}"
    return f"model.options.{at[1]}: {message[: at.start()]}"
