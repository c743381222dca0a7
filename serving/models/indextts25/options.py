"""Request fields of IndexTTS-2.5, and model.options of a profile that names it. No torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.options import Fields as Fields2
from serving.models.indextts2.options import Options as Options2
from serving.models.indextts25 import config

LANGUAGES = ("zh", "en", "ja", "es", "ar")
SLOWEST, FASTEST = 0.5, 2.0


class Fields(Fields2, frozen=True, kw_only=True):
    """Request fields of IndexTTS-2.5."""

    language: Annotated[
        Literal["auto", "zh", "en", "ja", "es", "ar"],
        Meta(
            description="Language of the text; auto: by its script, and English from Spanish by common words."
        ),
    ] = "auto"
    speed: Annotated[
        float,
        Meta(ge=SLOWEST, le=FASTEST, description="Speaking rate: the same codes over less or more time."),
    ] = 1.0


class Options(Options2, frozen=True, kw_only=True):
    """The model's own settings: those of IndexTTS2, at 25 codes a second."""

    languages: ClassVar[tuple[str, ...]] = LANGUAGES

    max_codes: Annotated[int, Meta(ge=1)] = 750
    """Most codes of a segment, 25 a second; the cache of each slot has room for them. At most what the model
    takes.
    """

    def shapes(self) -> IndexTts2Config:
        """Shapes of random weights of `size`."""
        return config.tiny() if self.size == "tiny" else config.official()
