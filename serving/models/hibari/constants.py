"""The fixed numbers of the voice, for every part of it. Imports nothing."""

from __future__ import annotations

SAMPLE_RATE_HZ = 24000
N_FFT = 1200
HOP = 300
"""Samples of a block, 12.5 ms: the frames of the decoder are as far apart. Those of the prosody are 25 ms."""
OVERLAP = N_FFT // HOP
"""Inverse STFT frames that fall on a block of samples."""
BINS = N_FFT // 2 + 1
VOICE_LUFS = -25.96
"""Integrated loudness (ITU-R BS.1770-4, gated) of the 30 sentences of tests/speech_sentences.txt at seed 0, one behind
the other, without pauses; tests/unit/hibari/test_heard.py measures it again.
"""
MIN_F0_HZ = 40.0
"""Below this pitch a frame is unvoiced; the phase runs on at this pitch."""
MAX_HARMONIC_HZ = 11000.0
MAX_LOG_MAGNITUDE = 7.0
NOISE_ROWS = 1024

SPEECH_CHANNELS = 128
"""Of the text features that the decoder reads."""
PROSODY_CHANNELS = 192
INPUT_CHANNELS = SPEECH_CHANNELS + 2
"""Of the decoder's inputs: text features, pitch and energy."""
CHANNELS = 256
NORM_EPS = 1e-5
