"""Gets the official files from the hub, into the layout that the official code makes. Network only here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from serving.models.indextts2.config import AUXILIARIES

LICENSE_NOTICE = """\
IndexTTS-2 weights: bilibili Model Use License Agreement (the model card says apache-2.0; the repository's
  licence is stricter). Above 100 million monthly users or RMB 1 billion revenue an own licence is needed;
  derivatives must carry its notice; cloning a voice needs its owner's consent.
MaskGCT semantic codec: reported as CC-BY-NC-4.0. w2v-bert-2.0: MIT. CAMPPlus: Apache-2.0. BigVGAN v2: MIT.
Read the licences on the model pages before use. Nothing of these files is part of this project."""


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
    off is taken up again. Raises RuntimeError naming the file that could not be had.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    say(notice)
    to.mkdir(parents=True, exist_ok=True)
    downloads = to / "hf_cache" / "downloads"
    try:
        for file in files:
            target = to / file.place
            if target.is_file():
                say(f"have {file.place}")
                continue
            say(f"get  {file.place} from {file.repository}")
            got = hf_hub_download(file.repository, file.name, local_dir=downloads / file.repository)
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(got).replace(target)
        if emotion_text:
            say(f"get  {EMOTION_TEXT_FOLDER}/ from {_MODEL}")
            snapshot_download(_MODEL, allow_patterns=f"{EMOTION_TEXT_FOLDER}/*", local_dir=to)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise RuntimeError(f"the hub did not give the file: {error}") from error
    shutil.rmtree(downloads, ignore_errors=True)
