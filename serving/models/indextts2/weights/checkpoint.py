"""Weights: from the official files, converted once, or random at the same shapes.

    weights = open_checkpoint(Path("IndexTTS-2"))     # converts at the first call, memory-maps afterwards
    weights = RandomWeights(IndexTts2Config.tiny(), seed=0)      # either takes another Release, such as that of 2.5
    gpt = weights.load("gpt", device)

A component is one network of ours and one safetensors file; COMPONENTS lists those of 2.0. A manifest beside them
names the source files by size and SHA-256. Weight norm and batch norms are folded in at least float32.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from serving.models.indextts2.codes import codec, gpt
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel import estimator, regulator
from serving.models.indextts2.voice import campplus, conformer, emotion, w2v
from serving.models.indextts2.wave import vocoder
from serving.models.indextts2.weights.sources import Sources, as_state, locate, read_state, read_tensors
from serving.models.indextts2.weights.state_dict import CheckpointError, drop, fold_weight_norm, load, take

CONVERTER_VERSION = 1
STORE_FOLDER = "tts-serving"
"""Folder of the converted files inside the checkpoint's."""

_GPT_UNUSED = (
    ".attn.bias",
    ".attn.masked_bias",
    ".pos_enc.pe",
    "inference_model.",
    "text_head.",
    "gpt.wte.",
    "gpt.wpe.",
)
_GPT_NAMES = (
    r"emo_conditioning_encoder|emo_perceiver_encoder|emo_layer|emovec_layer"
    r"|text_embedding|mel_embedding|mel_pos_embedding|text_pos_embedding|final_norm|mel_head|gpt\.ln_f"
    r"|gpt\.h\.\d+\.(ln_1|ln_2|attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.(weight|bias)$"
)

COMPONENTS: dict[str, Callable[[IndexTts2Config], nn.Module]] = {
    "speech": lambda config: w2v.SpeechEncoder(config.w2v),
    "codec": lambda config: codec.SemanticCodec(config.codec),
    "style": lambda config: campplus.StyleEncoder(config.campplus),
    "regulator": lambda config: regulator.LengthRegulator(config.s2mel.length_regulator),
    "projection": lambda config: regulator.LatentProjection(config.s2mel),
    "speaker": lambda config: conformer.Conditioner(config.gpt.condition),
    "emotion": emotion.EmotionEncoder,
    "gpt": lambda config: gpt.Gpt(config.gpt),
    "flow": lambda config: estimator.Estimator(config.s2mel),
    "vocoder": lambda config: vocoder.Vocoder(config.vocoder),
}
"""Component name to the network that it fills."""


class Release(NamedTuple):
    """A released model: its networks, where its files lie, and how they become the networks' states."""

    components: Mapping[str, Callable[[IndexTts2Config], nn.Module]]
    locate: Callable[[Path, Mapping[str, str] | None], tuple[Sources, IndexTts2Config]]
    convert: Callable[[Sources, IndexTts2Config], dict[str, dict[str, Tensor]]]
    """Component name to its state. Raises CheckpointError naming missing and unknown names and wrong shapes."""


class Weights(Protocol):
    """Gives networks their weights."""

    config: IndexTts2Config

    def load(self, component: str, device: torch.device) -> Any:
        """The network of `component` in eval mode, float32, on `device`. The caller knows its class."""
        ...


class SourceFile(msgspec.Struct, frozen=True):
    """A file that weights came from."""

    name: str
    size_bytes: int
    modified_ns: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder of converted weights was made from."""

    converter_version: int
    config: IndexTts2Config
    sources: dict[str, SourceFile]


class NoInitialWeights(TorchFunctionMode):
    """Leaves parameters uninitialised where modules are built to be filled at once."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


class StoredWeights:
    """Converted weights in a folder, memory-mapped."""

    def __init__(self, folder: Path, config: IndexTts2Config, release: Release | None = None) -> None:
        self.folder = folder
        self.config = config
        self.release = release or RELEASE

    def load(self, component: str, device: torch.device) -> Any:
        """The network of `component` with its file's weights. Raises CheckpointError."""
        with NoInitialWeights():
            network = self.release.components[component](self.config)
        path = self.folder / f"{component}.safetensors"
        with safe_open(path, "pt", device=str(device)) as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        load(network, state, path.name)
        return network.to(device).eval().requires_grad_(False)


class RandomWeights:
    """Weights from a seed, at the same shapes. Each component has its own stream."""

    def __init__(self, config: IndexTts2Config, seed: int, release: Release | None = None) -> None:
        self.config = config
        self.seed = seed
        self.release = release or RELEASE

    @torch.no_grad()
    def load(self, component: str, device: torch.device) -> Any:
        """The network of `component` with torch's initial weights; what those leave constant is drawn too."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + list(self.release.components).index(component))
            network = self.release.components[component](self.config)
            for tensor in network.state_dict().values():
                if tensor.is_floating_point() and tensor.dim() >= 2 and not tensor.any():
                    tensor.normal_(std=tensor[0].numel() ** -0.5)
        return network.to(device).eval().requires_grad_(False)


def open_checkpoint(
    folder: Path,
    auxiliaries: Mapping[str, str] | None = None,
    store: Path | None = None,
    release: Release | None = None,
) -> StoredWeights:
    """The weights of an official folder, converted into `store` (default: a folder inside it) if need be.

    Converted files are taken as they are while their manifest fits the sources: same size and time of change,
    or the same bytes. `auxiliaries` is as in sources.locate. Raises CheckpointError or ConfigError.
    """
    release = release or RELEASE
    sources, config = release.locate(folder, auxiliaries)
    store = store or folder / STORE_FOLDER
    if not _fits(store, sources, config, release):
        _write(store, sources, config, release)
    return StoredWeights(store, config, release)


def convert(sources: Sources, config: IndexTts2Config) -> dict[str, dict[str, Tensor]]:
    """Component name to its state, float32, from the official files of 2.0.

    Raises CheckpointError naming missing and unknown names and wrong shapes.
    """
    gpt_state = read_gpt(sources.gpt, r"conditioning_encoder|perceiver_encoder|speed_emb")
    parts = read_net(sources.s2mel, "cfm", "length_regulator", "gpt_layer")
    states = {
        "codec": codec.convert(read_state(sources.semantic_codec)),
        "projection": regulator.convert_projection(parts["gpt_layer"]),
        "speaker": conformer.convert(
            take(gpt_state, "conditioning_encoder."), take(gpt_state, "perceiver_encoder.")
        ),
    }
    return storable(states | convert_shared(sources, config, gpt_state, parts))


def read_gpt(path: Path, own_names: str) -> dict[str, Tensor]:
    """gpt.pth without what nothing reads. `own_names`: a pattern of the names that not every release has.

    Raises CheckpointError naming what is unknown.
    """
    state = drop(read_state(path, "model"), _GPT_UNUSED)
    known = re.compile(f"({own_names}|{_GPT_NAMES})")
    if unknown := sorted(name for name in state if not known.match(name)):
        raise CheckpointError(f"{path.name}: unknown: {', '.join(unknown)}")
    return state


def read_net(path: Path, *names: str) -> dict[str, dict[str, Tensor]]:
    """These parts of s2mel.pth. Raises CheckpointError naming one that is missing."""
    net = read_tensors(path)
    net = net.get("net", net)
    parts = {}
    for name in names:
        if name not in net:
            raise CheckpointError(f"{path.name}: missing: net.{name}")
        parts[name] = as_state(net[name], f"{path.name}: net.{name}")
    return parts


def convert_shared(
    sources: Sources,
    config: IndexTts2Config,
    gpt_state: Mapping[str, Tensor],
    parts: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, dict[str, Tensor]]:
    """The states of the networks that every release has. Raises CheckpointError as convert does."""
    stats = read_tensors(sources.w2v_stat)
    states = {
        "speech": w2v.convert(read_state(sources.w2v_weights), stats, config.w2v),
        "style": campplus.convert(read_state(sources.campplus)),
        "regulator": regulator.convert(parts["length_regulator"], config.s2mel.length_regulator),
        "emotion": emotion.convert(
            gpt_state, read_tensors(sources.spk_matrix), read_tensors(sources.emo_matrix)
        ),
    }
    # These state what is missing by a KeyError of the official name.
    converters: tuple[tuple[str, Path, Callable[[], dict[str, Tensor]]], ...] = (
        ("gpt", sources.gpt, lambda: gpt.convert(gpt_state, config.gpt)),
        ("flow", sources.s2mel, lambda: estimator.convert(fold_weight_norm(parts["cfm"]), config.s2mel)),
        (
            "vocoder",
            sources.bigvgan_weights,
            lambda: vocoder.convert(read_state(sources.bigvgan_weights, "generator"), config.vocoder),
        ),
    )
    for name, source, make in converters:
        try:
            states[name] = make()
        except KeyError as error:
            raise CheckpointError(f"{source.name}: missing: {error.args[0]}") from None
    return states


def storable(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """The states as safetensors takes them: float32 where they are real, no two tensors in one memory."""
    taken: set[int] = set()
    return {
        component: {name: _alone(value, taken) for name, value in state.items()}
        for component, state in states.items()
    }


def _alone(value: Tensor, taken: set[int]) -> Tensor:
    """float32 if it is real, contiguous, and the only one in its memory, as safetensors requires.

    A tensor that is so already is not copied: it may still be mapped from its file. `taken` are addresses.
    """
    value = (value.float() if value.is_floating_point() else value).contiguous()
    storage = value.untyped_storage()
    if storage.nbytes() != value.nbytes or storage.data_ptr() in taken:
        value = value.clone()
    taken.add(value.untyped_storage().data_ptr())
    return value


RELEASE = Release(COMPONENTS, locate, convert)
"""IndexTTS-2."""


def _write(store: Path, sources: Sources, config: IndexTts2Config, release: Release) -> None:
    states = release.convert(sources, config)
    with torch.device("meta"):
        for component, build in release.components.items():
            load(build(config), states[component], f"component {component}")
    manifest = Manifest(
        converter_version=CONVERTER_VERSION,
        config=config,
        sources={field: _describe(path) for field, path in sources.files().items()},
    )
    store.mkdir(parents=True, exist_ok=True)
    (store / "manifest.json").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=store) as partial:
        for component, state in states.items():
            save_file(state, Path(partial) / f"{component}.safetensors")
            (Path(partial) / f"{component}.safetensors").replace(store / f"{component}.safetensors")
    # Last: a folder without a manifest is one whose conversion did not end.
    (store / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))


def _fits(store: Path, sources: Sources, config: IndexTts2Config, release: Release) -> bool:
    try:
        manifest = msgspec.json.decode((store / "manifest.json").read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    if manifest.converter_version != CONVERTER_VERSION or manifest.config != config:
        return False
    if any(not (store / f"{component}.safetensors").is_file() for component in release.components):
        return False
    files = sources.files()
    return files.keys() == manifest.sources.keys() and all(
        _is_same(path, manifest.sources[field]) for field, path in files.items()
    )


def _is_same(path: Path, known: SourceFile) -> bool:
    stat = path.stat()
    if stat.st_size != known.size_bytes:
        return False
    return stat.st_mtime_ns == known.modified_ns or _describe(path).sha256 == known.sha256


def _describe(path: Path) -> SourceFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stat = path.stat()
    return SourceFile(path.name, stat.st_size, stat.st_mtime_ns, digest)
