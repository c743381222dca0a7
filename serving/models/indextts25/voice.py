"""What a recording conditions 2.5 on: the speaker is its style, and the flow's prompt is not quantised."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from serving.models.indextts2.mel.regulator import LengthRegulator
from serving.models.indextts2.voice.campplus import StyleEncoder
from serving.models.indextts2.voice.emotion import EmotionEncoder
from serving.models.indextts2.voice.w2v import SpeechEncoder


@dataclass(frozen=True, slots=True)
class StyleVoiceParts:
    """The VoiceParts of 2.5."""

    speech: SpeechEncoder
    style: StyleEncoder
    regulator: LengthRegulator
    speaker: nn.Linear
    """Style [192] to the one speaker's vector of the prefix."""
    emotion: EmotionEncoder

    def latents(self, hidden: Tensor, style: Tensor) -> Tensor:
        """See serving.models.indextts2.voice.conditioning.VoiceParts."""
        vector: Tensor = self.speaker(style)
        return vector[None]

    def semantic(self, hidden: Tensor) -> Tensor:
        """See serving.models.indextts2.voice.conditioning.VoiceParts."""
        return hidden
