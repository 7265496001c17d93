"""Noisy speech made on the fly: voices, rooms, noises, levels and faults that no folder holds.

Every example is drawn from one `numpy.random.Generator`, so a seed repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, signal

from .corpus import RATE_HZ, Corpus
from .gaps import gaps
from .levels import active_rms, rms, to_int16

EARLY_REFLECTIONS_S = 0.03
FFT_SPARE_S = 0.5
FULL_SCALE = 0.999
NEPER_PER_DB = np.float32(np.log(10.0) / 20.0)
TONE_POINTS = 2048
GAIN_STEP_SAMPLES = 32


@dataclass(frozen=True)
class MixRanges:
    """From where an example is drawn (a recipe's `mix:` section); pairs are uniform ranges.

    snr_db over active speech; level_dbfs: RMS of the mixture; clean_snr_db with probability
    `clean`; noise_only, babble, synthetic, reverberant, clipped, gaps: probabilities.
    """

    snr_db: tuple[float, float] = (-6.0, 18.0)
    level_dbfs: tuple[float, float] = (-38.0, -16.0)
    clean_snr_db: tuple[float, float] = (25.0, 50.0)
    clean: float = 0.10
    noise_only: float = 0.04
    babble: float = 0.2
    synthetic: float = 0.15
    reverberant: float = 0.5
    clipped: float = 0.04
    gaps: float = 0.06


class Mixer:
    """Draws examples of `samples` samples: (noisy, target), both int16 at 16 kHz.

    The target is the speech with its early reflections (30 ms), at the level it has in the mixture.
    """

    def __init__(self, speech: Corpus, noise: Corpus, samples: int, ranges: MixRanges) -> None:
        self.speech, self.noise, self.samples, self.ranges = speech, noise, samples, ranges
        self._size = fft.next_fast_len(samples + int(FFT_SPARE_S * RATE_HZ), real=True)
        frequency = fft.rfftfreq(self._size, 1.0 / RATE_HZ)
        octave = np.log2(np.maximum(frequency, 31.25) / 31.25).astype(np.float32)  # 0 .. 8
        self._octave = octave
        self._in_octave = octave - np.minimum(octave.astype(np.int32), 7)  # rises from 0 to 1
        self._per_octave = np.bincount(np.minimum(octave.astype(np.int32), 7), minlength=8)
        self._levels = np.full(len(speech), np.nan, np.float32)  # of clips that were heard before
        weights = np.cumsum(speech.weights)
        self._chances = weights / weights[-1]

    def example(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return one (noisy, target) pair."""
        ranges = self.ranges
        dry = self._speech_track(rng, pauses=True)
        wet, target = self._room(rng, dry, gain_db=5.0)
        noise = self._noise(rng)
        kind = rng.random()
        snr_db = rng.uniform(*ranges.snr_db)
        if kind < ranges.clean:
            snr_db = rng.uniform(*ranges.clean_snr_db)
        elif kind < ranges.clean + ranges.noise_only:
            wet, target = np.zeros_like(wet), np.zeros_like(target)
        if wet.any():
            noise *= active_rms(wet) / rms(noise) * 10.0 ** (-snr_db / 20.0)
        return self._interrupt(rng, *self._capture(rng, wet + noise, target))

    def _speech_track(self, rng: np.random.Generator, *, pauses: bool) -> np.ndarray:
        """Return utterances end to end, with pauses between them, cut to length."""
        track = np.zeros(self.samples, np.float32)
        position = (
            -int(rng.uniform(0.0, 1.0) * RATE_HZ)
            if rng.random() < 0.7
            else int(rng.uniform(0.0, 1.0) * RATE_HZ)
        )
        index = self._draw_speech(rng)
        while position < self.samples:
            clip, speed = self.speech.raw(index), rng.uniform(0.86, 1.16)
            gain = 0.1 / self._level(index) * 10.0 ** (rng.uniform(-3.0, 3.0) / 20.0)
            start, skip = max(position, 0), max(-position, 0)
            piece = _stretch(clip, speed, skip, self.samples - start)
            np.multiply(piece, np.float32(gain), out=track[start : start + len(piece)])
            position = max(position + int(len(clip) / speed), 0)
            if pauses:
                position += int(rng.exponential(0.35) * RATE_HZ)
            if rng.random() < 0.6:
                index = self._draw_speech(rng)
        return track

    def _draw_speech(self, rng: np.random.Generator) -> int:
        """Return a clip's number by weight; what `rng.choice` does, but for its preparations."""
        return int(np.searchsorted(self._chances, rng.random(), side="right"))

    def _level(self, index: int) -> float:
        """Return the active RMS of a speech clip, in the units of `Corpus.raw`."""
        if np.isnan(self._levels[index]):
            self._levels[index] = active_rms(self.speech.raw(index))
        return float(self._levels[index])

    def _room(
        self, rng: np.random.Generator, dry: np.ndarray, gain_db: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sound as the microphone hears it and its early part (direct and 30 ms)."""
        spectrum = fft.rfft(dry, self._size) * self._colour(rng, gain_db)
        if rng.random() >= self.ranges.reverberant:
            wet = fft.irfft(spectrum, self._size)[: self.samples]
            return wet, wet.copy()
        response = room_response(rng)
        early = response.copy()
        early[int(EARLY_REFLECTIONS_S * RATE_HZ) :] = 0.0
        both = fft.rfft(np.stack([response, early]), self._size, axis=1) * spectrum
        wet, target = fft.irfft(both, self._size, axis=1)[:, : self.samples]
        return wet, target

    def _colour(self, rng: np.random.Generator, gain_db: float) -> np.ndarray:
        """Return a smooth random frequency response, as of a microphone or a wall."""
        points_db = rng.uniform(-gain_db, gain_db, 9).astype(np.float32)
        response = np.repeat(np.diff(points_db), self._per_octave) * self._in_octave
        response += np.repeat(points_db[:-1], self._per_octave)
        if rng.random() < 0.15:  # a telephone or a covered microphone
            corner, slope_db = rng.uniform(6.3, 7.7), rng.uniform(6, 40)
            response -= np.maximum(self._octave - np.float32(corner), 0.0) * np.float32(slope_db)
        return np.exp(response * NEPER_PER_DB)

    def _noise(self, rng: np.random.Generator) -> np.ndarray:
        kind = rng.random()
        if kind < self.ranges.babble:
            noise = self._babble(rng)
        elif kind < self.ranges.babble + self.ranges.synthetic:
            noise = self._synthetic(rng)
        else:
            noise = self._recorded(rng)
        if rng.random() < 0.35:
            other = self._recorded(rng) if rng.random() < 0.6 else self._synthetic(rng)
            noise = noise / rms(noise)
            noise += other / rms(other) * 10.0 ** (rng.uniform(-15.0, 3.0) / 20.0)
        return noise * _slow_gain(rng, self.samples)

    def _recorded(self, rng: np.random.Generator) -> np.ndarray:
        clip = self.noise.raw(int(rng.integers(len(self.noise))))
        return self._replay(rng, clip, octaves=0.6, gain_db=9.0)

    def _replay(
        self, rng: np.random.Generator, clip: np.ndarray, octaves: float, gain_db: float
    ) -> np.ndarray:
        """Return a stretch of a recording at another speed and through another microphone."""
        speed = 2.0 ** rng.uniform(-octaves, octaves)
        wanted = int(self.samples * speed) + 2
        start = rng.integers(len(clip))
        piece = clip[start : start + wanted]
        if len(piece) < wanted:
            piece = np.take(clip, np.arange(start, start + wanted), mode="wrap")
        if rng.random() < 0.1:
            piece = piece[::-1]
        piece = _stretch(piece, speed, 0, self.samples)
        spectrum = fft.rfft(piece, self._size) * self._colour(rng, gain_db)
        return fft.irfft(spectrum, self._size)[: self.samples]

    def _babble(self, rng: np.random.Generator) -> np.ndarray:
        talkers = rng.integers(3, 9)
        mixture = np.zeros(self.samples, np.float32)
        for _ in range(talkers):
            mixture += self._speech_track(rng, pauses=False) * 10.0 ** (
                rng.uniform(-8.0, 0.0) / 20.0
            )
        return self._room(rng, mixture, gain_db=6.0)[0]

    def _synthetic(self, rng: np.random.Generator) -> np.ndarray:
        kind = rng.random()
        if kind < 0.5:
            return self._coloured(rng)
        return self._hum(rng) if kind < 0.65 else self._music(rng)

    def _coloured(self, rng: np.random.Generator) -> np.ndarray:
        """Return white to red noise through a random response, steady or in bursts."""
        parts = rng.standard_normal((len(self._octave), 2), dtype=np.float32)
        tilt = np.float32(-0.5 * rng.uniform(0.0, 2.2))
        gains = np.exp2(tilt * self._octave) * self._colour(rng, 10.0)
        spectrum = parts.view(np.complex64)[:, 0] * (gains * np.float32(self._size**0.5))
        noise = fft.irfft(spectrum, self._size)[: self.samples]
        if rng.random() < 0.4:
            noise *= _bursts(rng, self.samples)
        return noise

    def _hum(self, rng: np.random.Generator) -> np.ndarray:
        base_hz = rng.choice([50.0, 60.0, 100.0, 120.0, 400.0]) * rng.uniform(0.98, 1.02)
        partials = np.arange(1, rng.integers(3, 25))
        gains = rng.uniform(0.1, 1.0, len(partials)) / partials ** rng.uniform(0.3, 1.5)
        phases = rng.uniform(0.0, 2.0 * np.pi, len(partials))
        audible = partials * base_hz < RATE_HZ / 2
        return _periodic(base_hz, partials[audible], gains[audible], phases[audible], self.samples)

    def _music(self, rng: np.random.Generator) -> np.ndarray:
        """Return decaying or held chords on a beat: not music, but tonal and rhythmic like it."""
        out = np.zeros(self.samples, np.float32)
        beat = int(rng.uniform(0.12, 0.6) * RATE_HZ)
        decay_s = rng.uniform(0.08, 1.5)
        root_hz = 55.0 * 2.0 ** rng.uniform(0.0, 3.0)
        partials = np.arange(1, rng.integers(3, 10))
        gains = 1.0 / partials ** rng.uniform(0.5, 2.0)
        time = np.arange(min(int(3 * decay_s * RATE_HZ), self.samples), dtype=np.float32) / RATE_HZ
        envelope = np.exp(-time / np.float32(decay_s)) * np.minimum(time / 0.005, 1.0)
        tones: dict[int, np.ndarray] = {}
        for start in range(0, self.samples, beat):
            length = min(len(time), self.samples - start)
            for step in rng.choice([0, 3, 4, 5, 7, 10, 12], rng.integers(1, 4), replace=False):
                if step not in tones:
                    pitch_hz = root_hz * 2.0 ** (step / 12.0)
                    low = partials * pitch_hz < 7500.0
                    tone = _periodic(pitch_hz, partials[low], gains[low], 0.0 * gains, len(time))
                    tones[step] = tone * envelope
                out[start : start + length] += tones[step][:length]
        if rng.random() < 0.6:
            hat = self._coloured(rng) * (np.arange(self.samples) % beat < 0.03 * RATE_HZ)
            out += hat * (rms(out) / rms(hat)) * rng.uniform(0.1, 0.8)
        return out

    def _capture(
        self, rng: np.random.Generator, noisy: np.ndarray, target: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Set the level, clip now and then, round to int16."""
        gain = 10.0 ** (rng.uniform(*self.ranges.level_dbfs) / 20.0) / rms(noisy)
        peak = float(np.abs(noisy).max()) + 1e-9
        gain = min(gain, FULL_SCALE / peak)
        ceiling = FULL_SCALE
        if rng.random() < self.ranges.clipped:
            ceiling = rng.uniform(0.3, 0.9) * peak * gain
        noisy = np.clip(noisy * gain, -ceiling, ceiling)
        return to_int16(noisy), to_int16(target * gain)

    def _interrupt(
        self, rng: np.random.Generator, noisy: np.ndarray, target: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Silence stretches of both now and then, by a generator that leaves `rng` as it is."""
        (own,) = rng.spawn(1)
        if own.random() < self.ranges.gaps:
            silent = gaps(own, target)
            noisy[silent] = target[silent] = 0
        return noisy, target


def room_response(rng: np.random.Generator) -> np.ndarray:
    """Return a random room's impulse response from a statistical model.

    The direct sound, sparse early reflections and a diffuse tail of decaying noise that starts
    after some milliseconds (J.-D. Polack, 1988); 60 dB of decay takes 0.1 to 0.9 s.
    """
    decay_s = rng.uniform(0.1, 0.9)
    time = np.arange(int(min(decay_s, FFT_SPARE_S) * RATE_HZ), dtype=np.float32) / RATE_HZ
    tail = rng.standard_normal(len(time), dtype=np.float32) * np.exp(-6.9 * time / decay_s)
    tail[: int(rng.uniform(0.002, 0.012) * RATE_HZ)] = 0.0
    tail = signal.lfilter([1.0 - (a := rng.uniform(0.0, 0.6))], [1.0, -a], tail)
    tail *= 10.0 ** (-rng.uniform(-2.0, 16.0) / 20.0) / np.sqrt(np.sum(tail**2) + 1e-9)
    tail[0] = 1.0
    for _ in range(rng.integers(2, 8)):
        at = int(rng.uniform(0.001, 0.03) * RATE_HZ)
        if at < len(tail):
            tail[at] += rng.uniform(-0.5, 0.5)
    return tail.astype(np.float32)


def _stretch(clip: np.ndarray, speed: float, first: int, count: int) -> np.ndarray:
    """Return a part of the clip `speed` times as fast, pitch included (linear interpolation).

    clip: any numbers; the float32 samples `first` to `first` + `count` of the faster clip, as far
    as there are any, keep their units.
    """
    count = max(min(int(len(clip) / speed) - first, count), 0)
    where = np.arange(first, first + count) * speed
    before = where.astype(np.intp)
    if count == 0:
        return np.zeros(0, np.float32)
    begin, end = before[0], before[-1] + 1
    used = clip[begin : end + 1].astype(np.float32)
    if end == len(clip):
        used = np.append(used, used[-1])
    fraction = (where - before).astype(np.float32)
    before -= begin
    low = used[before]
    return low + (used[1:][before] - low) * fraction


def _periodic(
    pitch_hz: float, partials: np.ndarray, gains: np.ndarray, phases: np.ndarray, samples: int
) -> np.ndarray:
    """Return a tone of these partials (whole multiples of its pitch), read from one period of it.

    With 2048 points linear interpolation is some 60 dB below the 25th partial, more below others.
    """
    turn = np.arange(TONE_POINTS + 1) * (2.0 * np.pi / TONE_POINTS)
    angles = turn[:, None] * partials + phases[: len(partials)]
    period = (np.sin(angles) @ gains[: len(partials)]).astype(np.float32)
    where = (np.arange(samples) * (pitch_hz / RATE_HZ)) % 1.0 * TONE_POINTS
    before = where.astype(np.intp)
    low = period[before]
    return low + (period[1:][before] - low) * (where - before).astype(np.float32)


def _slow_gain(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return a gain that is steady (half the time) or drifts by up to 9 dB, in steps of 2 ms."""
    if rng.random() < 0.5:
        return np.ones(1, np.float32)
    points = rng.uniform(-9.0, 3.0, rng.integers(2, 7))
    steps = -(-samples // GAIN_STEP_SAMPLES)
    gain_db = np.interp(np.linspace(0.0, len(points) - 1.0, steps), np.arange(len(points)), points)
    gain = (10.0 ** (gain_db / 20.0)).astype(np.float32)
    return np.repeat(gain, GAIN_STEP_SAMPLES)[:samples]


def _bursts(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return an envelope of random on and off stretches with soft edges."""
    steps = max(int(samples / RATE_HZ / rng.uniform(0.05, 0.5)), 2)
    levels = rng.choice([0.02, 1.0], steps) * rng.uniform(0.3, 1.0, steps)
    where = np.linspace(0.0, steps - 1.0, samples)
    near = np.round(where)
    return np.interp(
        near + np.clip((where - near) * 8.0, -0.5, 0.5), np.arange(steps), levels
    ).astype(np.float32)
