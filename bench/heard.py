"""What the samples of one wave say: a part of the records of a run."""

from __future__ import annotations

import msgspec


class Heard(msgspec.Struct, kw_only=True):
    """What the samples of one wave say, without knowing its words (bench.hearing.features).

    A channel mix is heard unless a field says otherwise. Levels are dB below full scale, in frames of 10 ms.
    """

    seconds: float
    audible_at_s: float | None
    """Where the first sound begins, past silence; None: nowhere."""
    tail_s: float
    """Silence after the last sound."""
    longest_gap_s: float
    """The longest silence between the first sound and the last."""
    pauses: int
    """Silences of 0.15 s and more between them."""
    pauses_s: float
    """How long these are together."""
    breaks_s: list[float] = msgspec.field(default_factory=list)
    """Lengths of the pauses of 0.5 s and more: where a speaker waits, and does not only articulate."""
    early_pause_s: float = 0.0
    """The longest pause that begins within a second of the first sound."""
    voiced_s: float
    """From the first sound to the last, without those pauses."""
    level_dbfs: float
    """Root mean square of the audible frames."""
    peak: float
    """Largest absolute sample, 1 is full scale."""
    clipped_share: float
    """Share of samples that lie in a run of three or more at the same extreme."""
    offset: float
    """Mean of the samples over their root mean square."""
    level_spread_db: float = 0.0
    """10th to 90th percentile of the levels of the audible frames: large in speech, small in noise and tones."""
    spectral_change: float = 0.0
    """Median change of the shape of the spectrum from frame to frame, 0 to 1: near 0 in a tone or a hum."""
    flatness: float = 0.0
    """Median spectral flatness of the audible frames: near 0 in speech and tones, 0.5 in white noise."""
    bandwidth_hz: float = 0.0
    """Below it lies all sound that stands above the noise of the file."""
    mirrored: float = 0.0
    """How far the sound above a likely older Nyquist frequency is the mirror of that below: 1 is a copy."""
    pitch_hz: float = 0.0
    """Median fundamental frequency of the voiced frames; 0 if there are too few."""
    bands_db: list[float] = msgspec.field(default_factory=list)
    """Long-term spectrum in bands of a third octave from 100 Hz to 4 kHz, mean 0: the sound of the voice."""
    distinct: int
    """Different sample values, counted to 4096: few of them are few bits."""
    clicks: int = 0
    """Spikes of the first difference against its surroundings."""
    holes: int = 0
    """Runs of equal samples with sound before and after them."""
    steady_start_s: float = 0.0
    """How long the sound before the speech keeps one level: noise or a tone put before it."""
    unvoiced_start_s: float = 0.0
    """From the first sound to the first voice, for a wave that has one: clicks, breath, noise, consonants."""
    charged_s: float = 0.0
    """So much later than the first sound is the first of the speech: sounds that are no voice do not stop the clock."""
    unvoiced_end_s: float = 0.0
    """The same from the last voice to the last sound."""
    long_pauses: int = 0
    """Pauses of 1.4 s and more."""
    turn_pitch: float = 0.0
    """log of the ratio of the pitches of the two halves."""
    turn_db: float = 0.0
    """How far their spectra are from each other, as bands_db is told."""
    begins_alike: bool = False
    """It begins with the samples of another wave of the load point whose text begins with another letter."""
    pieced_share: float = 0.0
    """Share of the wave in shorter pieces that are copies of others: words that are kept and put together."""
    repeated_share: float = 0.0
    """Share of the wave that is a copy of another wave of the load point (bench.hearing.repeats)."""
    repeated_itself_share: float = 0.0
    """Share of the wave that comes twice in it."""
    not_numbers: int = 0
    """Samples of float audio that are NaN or infinite."""
    silent_channels: int
    """Channels without sound, of a wave whose other channels have some."""
