"""Keep the output fed when two clocks differ: measure the drift, stretch against it."""

from __future__ import annotations

from collections import deque

__all__ = ["DriftControl"]

WINDOW_S = 4.0  # the headroom is the least fill within it: it holds every phase of two blocks
SLICES = 16  # of the window; a quarter of them is enough to begin with
MAX_PPM = 4000.0  # 7 cents, and only while there is far too much or too little
PROPORTIONAL = 0.05  # share of the error that is corrected per second
INTEGRAL = PROPORTIONAL**2 / 4  # critically damped
INTEGRAL_ERROR_S = 0.005  # larger errors come from gaps, not from the clocks
STARVED_STEP = 1.5  # growth of the aim after the output has starved
AIM_MAX_S = 0.2
AIM_RETURN_S = 60.0  # time constant with which a raised aim comes down again


class DriftControl:
    """A slow control loop: least fill of the output ring in, stretch of the resampler out.

    aim_s: least sound that should wait for the output at its worst moments.
    The two clocks of two sound cards differ by up to some 100 ppm; uncorrected, that empties or
    fills any buffer within minutes.
    """

    def __init__(self, aim_s: float) -> None:
        self._least_aim_s = self._aim_s = aim_s
        self._recent: deque[float] = deque()
        self._slice_s = 0.0
        self._slice_min_s = float("inf")
        self._integral_ppm = 0.0
        self._ppm = 0.0

    @property
    def stretch(self) -> float:
        """Output samples per nominal sample, for `FractionalResampler.push`."""
        return 1.0 + self._ppm * 1e-6

    @property
    def drift_ppm(self) -> float:
        """How much faster the output's clock runs than the input's, as far as is known."""
        return self._integral_ppm

    @property
    def headroom_s(self) -> float:
        """The least that was left lately, 0 where that is not known."""
        return min(self._recent, default=0.0)

    @property
    def aim_s(self) -> float:
        """The headroom that is aimed at now."""
        return self._aim_s

    def starved(self) -> None:
        """Aim higher: the output has run dry."""
        self._aim_s = min(self._aim_s * STARVED_STEP, AIM_MAX_S)
        self._forget()

    def jumped(self) -> None:
        """Forget the measurements: sound has been dropped or added by other means."""
        self._forget()

    def update(self, headroom_s: float, elapsed_s: float) -> None:
        """Take the least fill since the last call, and the time since then."""
        self._slice_min_s = min(self._slice_min_s, headroom_s)
        self._slice_s += elapsed_s
        if self._slice_s < WINDOW_S / SLICES:
            return
        if self._slice_min_s == float("inf"):  # the output has not asked for anything
            self._slice_s = 0.0
            return
        self._recent.append(self._slice_min_s)
        if len(self._recent) > SLICES:
            self._recent.popleft()
        if len(self._recent) >= SLICES // 4:
            self._steer(min(self._recent) - self._aim_s, self._slice_s)
        self._slice_s, self._slice_min_s = 0.0, float("inf")

    def _steer(self, error_s: float, elapsed_s: float) -> None:
        wanted = -error_s * PROPORTIONAL * 1e6 + self._integral_ppm
        self._aim_s -= (self._aim_s - self._least_aim_s) * elapsed_s / AIM_RETURN_S
        self._ppm = max(-MAX_PPM, min(MAX_PPM, wanted))
        if self._ppm == wanted:  # no wind-up while the correction is at its limit
            error_s = max(-INTEGRAL_ERROR_S, min(INTEGRAL_ERROR_S, error_s))
            self._integral_ppm -= error_s * INTEGRAL * elapsed_s * 1e6

    def _forget(self) -> None:
        self._recent.clear()
        self._ppm = self._integral_ppm
        self._slice_s, self._slice_min_s = 0.0, float("inf")
