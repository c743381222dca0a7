"""What is done to a true wave: float32 [n] at RATE_HZ in, float32 out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bench.cheats.answer import RATE_HZ, Floats
from bench.hearing.sound import AUDIBLE_DBFS, FRAME_S, levels_dbfs


def silence(seconds: float) -> Floats:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def resampled(wave: Floats, factor: float) -> Floats:
    """`factor` times as many samples, exactly, by the spectrum of the whole wave."""
    count = round(len(wave) * factor)
    spectrum = np.fft.rfft(wave)
    kept = np.zeros(count // 2 + 1, complex)
    most = min(len(kept), len(spectrum))
    kept[:most] = spectrum[:most]
    return (np.fft.irfft(kept, count) * (count / len(wave))).astype(np.float32)


def dull(wave: Floats, rate_hz: int) -> Floats:
    """As a voice of another sample rate, brought to RATE_HZ."""
    return resampled(resampled(wave, rate_hz / RATE_HZ), RATE_HZ / rate_hz)[: len(wave)]


def held(wave: Floats, times: int) -> Floats:
    """Each `times`-th sample, held: what a careless upsampling gives."""
    return np.repeat(wave[::times], times)[: len(wave)]


def drawn(wave: Floats, times: int) -> Floats:
    """Straight lines between each `times`-th sample."""
    at = np.arange(0, len(wave), times)
    return np.interp(np.arange(len(wave)), at, wave[at]).astype(np.float32)


def coarse(wave: Floats, levels: int) -> Floats:
    return (np.round(wave * levels) / levels).astype(np.float32)


def noise(seconds: float, level_dbfs: float, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 10 ** (level_dbfs / 20), round(seconds * RATE_HZ)).astype(np.float32)


def breath(seconds: float, level_dbfs: float, seed: int = 0) -> Floats:
    """Soft noise that comes and goes."""
    sound = noise(seconds, level_dbfs, seed)
    swelling: Floats = (sound * np.sin(np.linspace(0, np.pi, len(sound)))).astype(np.float32)
    return swelling


def tone(seconds: float, hz: float = 220.0) -> Floats:
    return (0.1 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def hum(seconds: float) -> Floats:
    """A voice-like hum that swells: harmonics of 110 Hz."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = sum(np.sin(2 * np.pi * 110 * k * at) / k for k in range(1, 12))
    swelling: Floats = (0.05 * sound * (1 + 0.9 * np.sin(2 * np.pi * 3 * at))).astype(np.float32)
    return swelling


def shaped_noise(wave: Floats) -> Floats:
    """Noise with the loudness of the speech."""
    size = round(0.02 * RATE_HZ)
    loudness = np.sqrt(np.convolve(wave**2, np.ones(size) / size, mode="same"))
    shaped: Floats = (noise(len(wave) / RATE_HZ, 0.0)[: len(wave)] * loudness).astype(np.float32)
    return shaped


def reverb(wave: Floats, seconds: float = 1.5) -> Floats:
    """A long hall behind the voice."""
    tail = noise(seconds, -26.0) * np.exp(-np.arange(round(seconds * RATE_HZ)) / (seconds * RATE_HZ / 4))
    tail[0] = 1.0
    size = len(wave) + len(tail)
    wet: Floats = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(tail, size), size).astype(np.float32)
    return wet


def sounding(wave: Floats) -> tuple[int, int]:
    """First and one past the last sample of the sound."""
    heard = np.flatnonzero(levels_dbfs(wave, RATE_HZ) > AUDIBLE_DBFS)
    size = round(FRAME_S * RATE_HZ)
    return int(heard[0]) * size, (int(heard[-1]) + 1) * size


def leading(wave: Floats) -> Floats:
    """The silence before the sound."""
    return wave[: sounding(wave)[0]]


def pauses(wave: Floats, least_s: float = 0.15) -> list[tuple[int, int]]:
    """(begin, end) of the silences within the sound."""
    heard = np.flatnonzero(levels_dbfs(wave, RATE_HZ) > AUDIBLE_DBFS)
    size = round(FRAME_S * RATE_HZ)
    return [
        (int(a + 1) * size, int(b) * size) for a, b in pairwise(heard) if (b - a - 1) * FRAME_S >= least_s
    ]


def without_pauses(wave: Floats) -> Floats:
    """Pauses cut down to 30 ms."""
    keep = np.ones(len(wave), bool)
    for begin, end in pauses(wave, 0.06):
        keep[begin + round(0.015 * RATE_HZ) : end - round(0.015 * RATE_HZ)] = False
    return wave[keep]


def long_pauses(wave: Floats, seconds: float, least_s: float = 0.3) -> Floats:
    """`seconds` more in each pause of `least_s` and more."""
    parts, last = [], 0
    for begin, end in pauses(wave, least_s):
        parts += [wave[last : (begin + end) // 2], silence(seconds)]
        last = (begin + end) // 2
    return np.concatenate([*parts, wave[last:]])


def cut(wave: Floats, share: float) -> Floats:
    """Without the last `share` of its sound, faded."""
    begin, end = sounding(wave)
    left = wave[: begin + round((end - begin) * (1 - share))].copy()
    size = min(240, len(left))
    left[-size:] *= np.linspace(1, 0, size, dtype=np.float32)
    return left


def without_middle(wave: Floats, share: float) -> Floats:
    """Without a piece of its middle, faded over."""
    begin, end = sounding(wave)
    size = round((end - begin) * share)
    at = (begin + end - size) // 2
    fade = np.linspace(1, 0, 240, dtype=np.float32)
    joint = wave[at : at + 240] * fade + wave[at + size : at + size + 240] * (1 - fade)
    return np.concatenate([wave[:at], joint, wave[at + size + 240 :]])


def with_holes(wave: Floats, seconds: float, every_s: float) -> Floats:
    """Samples set to zero: what a lost packet leaves."""
    holed = wave.copy()
    for start in np.arange(0.7, len(wave) / RATE_HZ, every_s):
        at = round(float(start) * RATE_HZ)
        holed[at : at + round(seconds * RATE_HZ)] = 0
    return holed


def without_blocks(wave: Floats, seconds: float, every_s: float) -> Floats:
    """Short blocks left out, joined without a fade."""
    keep = np.ones(len(wave), bool)
    for start in np.arange(0.7, len(wave) / RATE_HZ, every_s):
        at = round(float(start) * RATE_HZ)
        keep[at : at + round(seconds * RATE_HZ)] = False
    return wave[keep]


def stuttered(wave: Floats, seconds: float, every_s: float) -> Floats:
    """Blocks sent twice."""
    step, size = round(every_s * RATE_HZ), round(seconds * RATE_HZ)
    parts = []
    for at in range(0, len(wave), step):
        part = wave[at : at + step]
        parts += [part, part[-size:]] if len(part) == step else [part]
    return np.concatenate(parts)


def with_end_again(wave: Floats, seconds: float) -> Floats:
    """The last `seconds` of its sound once more."""
    _, end = sounding(wave)
    return np.concatenate([wave[:end], wave[end - round(seconds * RATE_HZ) :]])


def halves_swapped(wave: Floats) -> Floats:
    """Cut in the pause that is nearest to the middle, the second part first."""
    middles = [(begin + end) // 2 for begin, end in pauses(wave)] or [len(wave) // 2]
    at = min(middles, key=lambda place: abs(place - len(wave) / 2))
    return np.concatenate([wave[at:], wave[:at]])


def stretched(wave: Floats, factor: float) -> Floats:
    """`factor` times as long at the same pitch: overlapping frames, moved apart where they fit best (WSOLA)."""
    size, search = 1024, 256
    hop = size // 2
    window = np.hanning(size).astype(np.float32)
    padded = np.pad(wave, (search, 2 * size + search))
    out = np.zeros(round(len(wave) * factor) + 2 * size, np.float32)
    last = search
    for at in range(0, round(len(wave) * factor), hop):
        ideal = search + round(at / factor)
        follow = padded[last + hop : last + hop + size]
        region = padded[ideal - search : ideal + search + size]
        fit = np.correlate(region, follow, mode="valid") if at else np.eye(1, 2 * search + 1, search)[0]
        last = ideal - search + int(fit.argmax())
        out[at : at + size] += padded[last : last + size] * window
        if last + hop + size > len(padded):
            break
    return out[: round(len(wave) * factor)]


def higher(wave: Floats, factor: float) -> Floats:
    """`factor` times as high at the same pace."""
    return resampled(stretched(wave, factor), 1 / factor)


def faded(wave: Floats, seconds: float = 0.005) -> Floats:
    """Faded in and out."""
    size = min(round(seconds * RATE_HZ), len(wave) // 2)
    soft = wave.copy()
    soft[:size] *= np.linspace(0, 1, size, dtype=np.float32)
    soft[len(wave) - size :] *= np.linspace(1, 0, size, dtype=np.float32)
    return soft


def mulaw(wave: Floats) -> Floats:
    """Through the 255 levels of a telephone's 8 bits."""
    levels = np.round(np.sign(wave) * np.log1p(255 * np.abs(wave)) / np.log(256) * 127) / 127
    widened: Floats = (np.sign(levels) * (256 ** np.abs(levels) - 1) / 255).astype(np.float32)
    return widened


def bent(wave: Floats, speed: Floats) -> Floats:
    """Played at a speed that changes, one value for each sample: its pitch changes with it."""
    places = np.cumsum(speed, dtype=np.float64)
    return np.interp(places[places < len(wave) - 1], np.arange(len(wave)), wave).astype(np.float32)


def falling(wave: Floats, depth: float) -> Floats:
    """Each sentence begins so much higher and ends so much lower, as in lively speech."""
    edges = [0, *((begin + end) // 2 for begin, end in pauses(wave, 0.3)), len(wave)]
    parts = [
        (wave[a:b], np.linspace(1 + depth, 1 - depth, b - a, dtype=np.float32)) for a, b in pairwise(edges)
    ]
    return np.concatenate([bent(part, speed) for part, speed in parts])


def vibrato(wave: Floats, depth: float, hz: float = 5.5) -> Floats:
    at = np.arange(len(wave)) / RATE_HZ
    return bent(wave, (1 + depth * np.sin(2 * np.pi * hz * at)).astype(np.float32))


def creaking(wave: Floats, seconds: float = 0.35, hz: float = 75.0) -> Floats:
    """The end of each sentence beats, ever more, as a voice that runs out of breath."""
    creaky = wave.copy()
    for end in [*(begin for begin, _ in pauses(wave, 0.3)), sounding(wave)[1]]:
        at = np.arange(max(0, end - round(seconds * RATE_HZ)), end)
        depth = 0.45 * np.minimum(1.0, np.linspace(0, 2, len(at)))
        creaky[at] *= (1 - depth + depth * np.sin(2 * np.pi * hz * at / RATE_HZ)).astype(np.float32)
    return creaky


def gated(wave: Floats, level_dbfs: float) -> Floats:
    """What is softer than that is nought: a noise gate."""
    size = round(FRAME_S * RATE_HZ)
    keep = np.repeat(levels_dbfs(wave, RATE_HZ) > level_dbfs, size)
    return (wave * np.pad(keep, (0, len(wave) - len(keep)))).astype(np.float32)


def mains(wave: Floats, level_dbfs: float, hz: float = 50.0) -> Floats:
    """With the hum of a bad cable."""
    hum = np.sqrt(2) * 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * np.arange(len(wave)) / RATE_HZ)
    heard: Floats = wave + hum.astype(np.float32)
    return heard


def small_room(wave: Floats, seconds: float = 0.25) -> Floats:
    """The echo of a living room."""
    tail = noise(seconds, -34.0) * np.exp(-6.9 * np.linspace(0, 1, round(seconds * RATE_HZ)))
    tail[0] = 1.0
    size = len(wave) + len(tail)
    wet: Floats = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(tail, size), size).astype(np.float32)
    return wet


def after_first_word(wave: Floats, seconds: float) -> Floats:
    """So much silence at the softest place between 0.2 and 0.5 s of its sound."""
    size = round(FRAME_S * RATE_HZ)
    first = sounding(wave)[0] // size + 20
    at = (first + int(np.argmin(levels_dbfs(wave, RATE_HZ)[first : first + 30]))) * size
    return np.concatenate([faded(wave[:at]), silence(seconds), faded(wave[at:])])
