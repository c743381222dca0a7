"""Gets the official files from the hub, into the layout that the official code makes. Network only here."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from serving.models.indextts2.config import AUXILIARIES
from serving.voices.plain import open_plain

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

LICENSE_NOTICE = """\
IndexTTS-2 weights: bilibili Model Use License Agreement (the model card says apache-2.0; the repository's
  licence is stricter). Above 100 million monthly users or RMB 1 billion revenue an own licence is needed;
  derivatives must carry its notice; cloning a voice needs its owner's consent.
MaskGCT semantic codec: reported as CC-BY-NC-4.0. w2v-bert-2.0: MIT. CAMPPlus: Apache-2.0. BigVGAN v2: MIT.
Read the licences on the model pages before use. Nothing of these files is part of this project."""


_MOST_BYTES = 64 << 30
_MOST_LOCK_BYTES = 1 << 20


class HubFile(NamedTuple):
    """A file of a hub repository and its place under the checkpoint's folder."""

    repository: str
    name: str
    place: str


_MODEL = "IndexTeam/IndexTTS-2"
MODEL_FILES = (
    "config.yaml",
    "gpt.pth",
    "s2mel.pth",
    "bpe.model",
    "feat1.pt",
    "feat2.pt",
    "wav2vec2bert_stats.pt",
)
EMOTION_TEXT_FOLDER = "qwen0.6bemo4-merge"

FILES = (
    *(HubFile(_MODEL, name, name) for name in MODEL_FILES),
    *(
        HubFile("facebook/w2v-bert-2.0", name, f"{AUXILIARIES['w2v_bert']}/{name}")
        for name in ("config.json", "preprocessor_config.json", "model.safetensors")
    ),
    HubFile("amphion/MaskGCT", "semantic_codec/model.safetensors", AUXILIARIES["semantic_codec"]),
    HubFile("funasr/campplus", "campplus_cn_common.bin", AUXILIARIES["campplus"]),
    *(
        HubFile("nvidia/bigvgan_v2_22khz_80band_256x", name, f"{AUXILIARIES['bigvgan']}/{name}")
        for name in ("config.json", "bigvgan_generator.pt")
    ),
)


LOCK = "fetched.json"
"""In the folder: the commit of each repository and the SHA-256 of each file, which later fetches must find again."""


class Lock(msgspec.Struct):
    """What was fetched."""

    commits: dict[str, str] = {}
    """Repository to its commit."""
    files: dict[str, str] = {}
    """Place under the folder to SHA-256."""


class _Hub:
    """The hub's own word for what its files hold, at one commit of each repository."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._infos: dict[str, ModelInfo] = {}

    def download(self, file: HubFile, to: Path) -> tuple[Path, str]:
        """Fetch a file of a repository into a folder; returns its path and SHA-256.

        Raises RuntimeError if the bytes are not those that the hub tells of, or the lock.
        """
        from huggingface_hub import hf_hub_download

        info = self._info(file.repository)
        told = next((one for one in info.siblings or () if one.rfilename == file.name), None)
        if told is None:
            raise RuntimeError(f"{file.repository} has no {file.name} at {info.sha}")
        got = Path(hf_hub_download(file.repository, file.name, revision=info.sha, local_dir=to))
        digest, blob, size_bytes = _digests(got)
        wanted = self._lock.files.get(file.place, digest)
        whole = told.size in (None, size_bytes)
        same = digest == told.lfs.sha256 if told.lfs is not None else told.blob_id in (None, blob)
        if not whole or not same or digest != wanted:
            got.unlink()
            raise RuntimeError(
                f"{file.place} is not what the hub tells of: {size_bytes} bytes with SHA-256 {digest}; nothing is kept"
            )
        return got, digest

    def names(self, repository: str, folder: str) -> list[str]:
        """The files of a folder."""
        names = [one.rfilename for one in self._info(repository).siblings or ()]
        return [name for name in names if name.startswith(f"{folder}/") and ".." not in name.split("/")]

    def _info(self, repository: str) -> ModelInfo:
        from huggingface_hub import HfApi

        if repository not in self._infos:
            wanted = self._lock.commits.get(repository)
            info = HfApi().model_info(repository, revision=wanted, files_metadata=True)
            if info.sha is None or wanted not in (None, info.sha):
                raise RuntimeError(f"{repository} is at {info.sha}, the lock has {wanted}")
            self._infos[repository] = info
            self._lock.commits[repository] = info.sha
        return self._infos[repository]


def fetch(
    to: Path,
    *,
    emotion_text: bool = False,
    say: Callable[[str], None] = print,
    files: Sequence[HubFile] = FILES,
    notice: str = LICENSE_NOTICE,
) -> None:
    """Download what is not there yet, about 7 GB, and 1.2 GB more with `emotion_text`.

    Shows the licences first and then each file; the hub's client draws progress bars. A download that was cut
    off is taken up again. Each repository is taken at one commit, each file is compared with the length and the hash
    that the hub tells of that commit, and both are kept in LOCK: what it names, from here or from a copy that somebody
    else made, must be the same again. Raises RuntimeError naming the file that could not be had.
    """
    say(notice)
    to.mkdir(parents=True, exist_ok=True)
    lock = _read_lock(to / LOCK)
    downloads = to / "hf_cache" / "downloads"
    hub = _Hub(lock)

    def get(file: HubFile) -> None:
        target = to / file.place
        if target.is_file():
            _check_kept(target, lock.files.get(file.place))
            say(f"have {file.place}")
            return
        say(f"get  {file.place} from {file.repository}")
        got, digest = hub.download(file, downloads / file.repository)
        target.parent.mkdir(parents=True, exist_ok=True)
        got.replace(target)
        lock.files[file.place] = digest
        _write_lock(to / LOCK, lock)

    try:
        for file in files:
            get(file)
        if emotion_text:
            say(f"get  {EMOTION_TEXT_FOLDER}/ from {_MODEL}")
            for name in hub.names(_MODEL, EMOTION_TEXT_FOLDER):
                get(HubFile(_MODEL, name, name))
    except RuntimeError:
        raise
    except Exception as error:  # whatever the hub's client and the libraries below it raise
        raise RuntimeError(f"the hub did not give the file: {error}") from error
    shutil.rmtree(downloads, ignore_errors=True)


def _digests(path: Path) -> tuple[str, str, int]:
    """SHA-256, git's name of the same bytes, and their number, of a plain file."""
    with open_plain(path, _MOST_BYTES) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size_bytes)
        read_bytes = 0
        while piece := file.read(1 << 20):
            sha256.update(piece)
            blob.update(piece)
            read_bytes += len(piece)
    return sha256.hexdigest(), blob.hexdigest(), read_bytes


def _check_kept(target: Path, wanted: str | None) -> None:
    if wanted is None:
        return  # put here by somebody else than this command
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise RuntimeError(
            f"{target} is not what was fetched ({LOCK} has its SHA-256); remove it and fetch again"
        )


def _read_lock(path: Path) -> Lock:
    """What was fetched before. Raises RuntimeError for a file that is no lock."""
    try:
        with open_plain(path, _MOST_LOCK_BYTES) as file:
            return msgspec.json.decode(file.read(), type=Lock)
    except FileNotFoundError:
        return Lock()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RuntimeError(f"{path} cannot be read: {error}") from None


def _write_lock(path: Path, lock: Lock) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(lock), indent=1) + b"\n")
    part.replace(path)
