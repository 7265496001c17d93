"""Fixed-point short-time Fourier transform: NumPy twin of the C core, with the same bits.

`docs/frame_contract.md` is the specification. Every function works on any number of leading
axes, so that a batch of frames costs one pass. Values are int64 arrays that fit int32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgesep import native
from edgesep.contract import BINS, WINDOW_SAMPLES, FrameContract
from edgesep.core import tables
from edgesep.errors import SamplesError
from edgesep.fixed import Int64, bit_length, headroom, mulhr, rshr, saturate_int16

FFT_STAGES = 4  # radix 4: 256 points
FFT_EXPONENT = 8  # log2 of the points: what the inverse transform divides by
MASK_EXPONENT = 2  # a gain of one is 2^30, whose high half divides by four
WINDOW_EXPONENT = 2  # as does the synthesis window's Q30
OUTPUT_FRACTION_BITS = 10
OUTPUT_LIMIT = 2**30 - 512  # two of them and the rounding offset fit an int32
EXPONENT_LIMIT = 4096  # what `inverse` takes, either way
BATCH_FRAMES = 1024  # frames per pass: bounds the memory of the batch helpers


class Spectrum(NamedTuple):
    """Spectra whose bin k is (re[..., k] + i im[..., k]) * 2^exponent; im[..., 0] is Nyquist."""

    re: Int64
    """(..., 256) int32 values."""
    im: Int64
    """(..., 256) int32 values."""
    exponent: Int64
    """(...)"""


# --- transforms of half-length complex vectors -------------------------------------------------


def _twiddles(stage: int) -> tuple[Int64, Int64]:
    """Return cos and sin of stage's twiddles, shaped (L, 4, 1): Q30."""
    size = 4**stage
    first_turns_nothing = np.array([[1 << 30], [0]]).repeat(64, axis=1)
    turns = np.vstack((first_turns_nothing, tables.FFT_TURNS_Q30.reshape(6, 64)))
    cos, sin = turns[0::2, :: 64 // size], turns[1::2, :: 64 // size]
    return cos.T[..., None], sin.T[..., None]


_TWIDDLES = [_twiddles(stage) for stage in range(FFT_STAGES)]


def fft256(re: Int64, im: Int64, exponent: Int64) -> Spectrum:
    """Transform complex vectors (..., 256): radix-4 Stockham, block floating point."""
    shape = re.shape
    for stage in range(FFT_STAGES):
        size = 4**stage
        room = np.maximum(headroom(re, im), 0)
        blocks = (*shape[:-1], size, 4, 64 // size)
        xr = (re << room[..., None]).reshape(blocks)
        xi = (im << room[..., None]).reshape(blocks)
        cos, sin = _TWIDDLES[stage]
        yr = mulhr(xr, cos) + mulhr(xi, sin)
        yi = mulhr(xi, cos) - mulhr(xr, sin)
        re, im = (part.reshape(shape) for part in _butterfly(yr, yi))
        exponent = exponent - room + 2
    return Spectrum(re, im, exponent)


def _butterfly(yr: Int64, yi: Int64) -> tuple[Int64, Int64]:
    """Combine (..., L, 4, r) into (..., 4, L, r) by the four-point transform."""
    ar, ai = yr[..., 0, :] + yr[..., 2, :], yi[..., 0, :] + yi[..., 2, :]
    br, bi = yr[..., 0, :] - yr[..., 2, :], yi[..., 0, :] - yi[..., 2, :]
    cr, ci = yr[..., 1, :] + yr[..., 3, :], yi[..., 1, :] + yi[..., 3, :]
    dr, di = yr[..., 1, :] - yr[..., 3, :], yi[..., 1, :] - yi[..., 3, :]
    re = np.stack((ar + cr, br + di, ar - cr, br - di), axis=-3)
    im = np.stack((ai + ci, bi - dr, ai - ci, bi + dr), axis=-3)
    return re, im


def inverse_fft256(re: Int64, im: Int64, exponent: Int64) -> Spectrum:
    """Transform back: the same code with real and imaginary parts exchanged."""
    swapped = fft256(im, re, exponent)
    return Spectrum(swapped.im, swapped.re, swapped.exponent - FFT_EXPONENT)


# --- half-length complex <-> real spectrum -----------------------------------------------------

_SPLIT_COS = tables.SPLIT_COS_Q31[1:]
_SPLIT_SIN = tables.SPLIT_SIN_Q31[1:]


def _normalise(x: Spectrum) -> Spectrum:
    """Leave one more bit than the transform needs: all parts below 2^29."""
    room = headroom(x.re, x.im)
    zero = ~(x.re.any(axis=-1) | x.im.any(axis=-1))
    room = np.where(zero, 0, room - 1)
    back = -room[..., None]
    return Spectrum(rshr(x.re, back), rshr(x.im, back), x.exponent - room)


def _mirror_parts(re: Int64, im: Int64) -> tuple[Int64, Int64, Int64, Int64]:
    """Return A = z_k + conj(z_(256-k)) and B = z_k - conj(z_(256-k)) for k in 1..127."""
    lower_re, lower_im = re[..., 1:128], im[..., 1:128]
    upper_re, upper_im = re[..., :128:-1], im[..., :128:-1]
    return (
        lower_re + upper_re,
        lower_im - upper_im,
        lower_re - upper_re,
        lower_im + upper_im,
    )


def split(z: Spectrum) -> Spectrum:
    """Turn the transform of even + i odd samples into the spectrum of the real samples."""
    re, im, exponent = _normalise(z)
    ar, ai, br, bi = _mirror_parts(re, im)
    tr = mulhr(br, _SPLIT_COS) + mulhr(bi, _SPLIT_SIN)
    ti = mulhr(bi, _SPLIT_COS) - mulhr(br, _SPLIT_SIN)
    hr, hi = rshr(ar, 1), rshr(ai, 1)
    out_re, out_im = np.empty_like(re), np.empty_like(im)
    out_re[..., 0], out_im[..., 0] = re[..., 0] + im[..., 0], re[..., 0] - im[..., 0]
    out_re[..., 1:128], out_im[..., 1:128] = hr + ti, hi - tr
    out_re[..., 128], out_im[..., 128] = re[..., 128], -im[..., 128]
    out_re[..., :128:-1], out_im[..., :128:-1] = hr - ti, -(hi + tr)
    return Spectrum(out_re, out_im, exponent)


def unsplit(x: Spectrum) -> Spectrum:
    """Undo `split`."""
    re, im, exponent = _normalise(x)
    ar, ai, br, bi = _mirror_parts(re, im)
    tr = mulhr(br, _SPLIT_COS) - mulhr(bi, _SPLIT_SIN)
    ti = mulhr(bi, _SPLIT_COS) + mulhr(br, _SPLIT_SIN)
    hr, hi = rshr(ar, 1), rshr(ai, 1)
    out_re, out_im = np.empty_like(re), np.empty_like(im)
    out_re[..., 0] = rshr(re[..., 0] + im[..., 0], 1)
    out_im[..., 0] = rshr(re[..., 0] - im[..., 0], 1)
    out_re[..., 1:128], out_im[..., 1:128] = hr - ti, hi + tr
    out_re[..., 128], out_im[..., 128] = re[..., 128], -im[..., 128]
    out_re[..., :128:-1], out_im[..., :128:-1] = hr + ti, -(hi - tr)
    return Spectrum(out_re, out_im, exponent)


# --- frames <-> spectra ------------------------------------------------------------------------


def is_silent(frames: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Tell which frames (..., 512) are all zero: bool (...)."""
    return np.asarray(~frames.any(axis=-1))


def analyse_frames(frames: NDArray[np.int16]) -> Spectrum:
    """Window and transform int16 frames (..., 512); a silent frame is all zero, exponent 0."""
    history = frames.astype(np.int64)
    shift = 31 - bit_length((history ^ (history >> 63)).max(axis=-1))
    v = mulhr(history << shift[..., None], tables.ANALYSIS_WINDOW_Q31)
    spectrum = split(fft256(v[..., 0::2], v[..., 1::2], 1 - shift))
    return spectrum._replace(exponent=np.where(is_silent(frames), 0, spectrum.exponent))


def transform_back(x: Spectrum) -> tuple[Int64, Int64]:
    """Return windowed time samples (..., 512) and their exponents (...): sample * 2^exponent."""
    z = inverse_fft256(*unsplit(x))
    samples = np.stack((z.re, z.im), axis=-1)
    return samples.reshape(*z.re.shape[:-1], WINDOW_SAMPLES), z.exponent


def synthesis_window(contract: FrameContract) -> Int64:
    """Return the synthesis window (S,), Q30: with the analysis window it overlap-adds to one."""
    hop, fade = contract.hop_samples, contract.fade_samples
    rise = tables.SINE_SQUARE_Q30[(2 * np.arange(fade) + 1) * (128 // fade)]
    product = np.concatenate((rise, np.full(hop - fade, 2**30, dtype=np.int64), 2**30 - rise))
    analysis = tables.ANALYSIS_WINDOW_Q31[-contract.synthesis_samples :]
    return ((product << 31) + analysis // 2) // analysis


def synthesise_frames(x: Spectrum, window: Int64) -> Int64:
    """Return windowed output pieces (..., S) of spectra: 10 fractional bits, before overlap-add."""
    samples, exponent = transform_back(x)
    windowed = mulhr(samples[..., -len(window) :], window)
    shift = -(exponent + WINDOW_EXPONENT + OUTPUT_FRACTION_BITS)
    return np.clip(rshr(windowed, shift[..., None]), -OUTPUT_LIMIT, OUTPUT_LIMIT)


def overlap_add(pieces: Int64, tail: Int64) -> tuple[NDArray[np.int16], Int64]:
    """Add pieces (..., S) to the tails (..., F) of the hop before: int16 (..., H), new tails."""
    hop = pieces.shape[-1] - tail.shape[-1]
    total = pieces[..., :hop].copy()
    total[..., : tail.shape[-1]] += tail
    rounding = 1 << (OUTPUT_FRACTION_BITS - 1)
    return saturate_int16((total + rounding) >> OUTPUT_FRACTION_BITS), pieces[..., hop:]


# --- public batch helpers ----------------------------------------------------------------------


def forward(
    frames: NDArray[np.int16], backend: str = "auto"
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Window and transform a batch of frames.

    frames: (n, 512) int16. Returns re (n, 256), im (n, 256) and exponent (n,), all int32: bin k
    is (re + i im) * 2^exponent in units of int16 steps, unscaled; im[:, 0] is the Nyquist bin.
    backend: "auto", "c" or "numpy"; the bits are the same. Raises SamplesError for another
    shape or type.
    """
    if frames.ndim != 2 or frames.shape[1] != WINDOW_SAMPLES or frames.dtype != np.int16:
        raise SamplesError(
            f"frames are {frames.dtype} {frames.shape}: give int16 (n, {WINDOW_SAMPLES})"
        )
    if native.resolve(backend) == "c":
        return native.forward(np.ascontiguousarray(frames))
    re, im = (np.empty((len(frames), BINS), dtype=np.int32) for _ in range(2))
    exponent = np.empty(len(frames), dtype=np.int32)
    for start in range(0, len(frames), BATCH_FRAMES):
        part = slice(start, start + BATCH_FRAMES)
        re[part], im[part], exponent[part] = analyse_frames(frames[part])
    return re, im, exponent


def inverse(
    re: NDArray[np.int32],
    im: NDArray[np.int32],
    exponent: NDArray[np.int32],
    backend: str = "auto",
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Transform a batch of spectra, as `forward` returns them, back to windowed samples.

    Returns samples (n, 512) and exponent (n,), int32: sample * 2^exponent in int16 steps.
    exponent may be -4096 .. 4096. Raises SamplesError for other shapes, types or exponents.
    """
    shapes = (re.shape, im.shape, exponent.shape)
    if re.ndim != 2 or shapes != ((len(re), BINS), (len(re), BINS), (len(re),)):
        raise SamplesError(f"spectra are {shapes}: give (n, {BINS}), (n, {BINS}) and (n,)")
    if not re.dtype == im.dtype == exponent.dtype == np.int32:
        raise SamplesError(f"spectra are {re.dtype}, {im.dtype}, {exponent.dtype}: give int32")
    if exponent.size and np.abs(exponent.astype(np.int64)).max() > EXPONENT_LIMIT:
        raise SamplesError(f"exponents go beyond {EXPONENT_LIMIT}: give smaller ones")
    if native.resolve(backend) == "c":
        return native.inverse(*(np.ascontiguousarray(a) for a in (re, im, exponent)))
    samples = np.empty((len(re), WINDOW_SAMPLES), dtype=np.int32)
    out_exponent = np.empty(len(re), dtype=np.int32)
    for start in range(0, len(re), BATCH_FRAMES):
        part = slice(start, start + BATCH_FRAMES)
        x = Spectrum(*(a[part].astype(np.int64) for a in (re, im, exponent)))
        samples[part], out_exponent[part] = transform_back(x)
    return samples, out_exponent
