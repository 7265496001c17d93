"""Decide when the isolator must rest so that the sound goes on."""

from __future__ import annotations

__all__ = ["OverloadGuard"]

COST_SHARE = 0.1  # of the newest cost in the running mean
COST_FADING = 0.98  # per hop at rest: an old cost is forgotten, so that the isolator gets a try
MISS_SHARE = 1 / 250  # of the newest hop in the running share of misses
DOWN_ABOVE = 0.4  # share of missed hops from which on it rests for good
HOLD_FIRST_S, HOLD_MOST_S = 5.0, 60.0
CALM_S = 10.0  # so long without stepping down is a recovery


class OverloadGuard:
    """Hop by hop: isolate or pass the sound through?

    A hop misses its deadline when isolating everything that waits would take longer than the
    output lasts. Many misses step down to pass-through for some seconds; every further step down
    lasts twice as long, up to a minute; ten calm seconds step up for good.
    hop_s: length of a hop.
    """

    def __init__(self, hop_s: float) -> None:
        self._hop_s = hop_s
        self._cost_s = 0.0
        self._misses = 0.0
        self._hold_s = HOLD_FIRST_S
        self._down_until_s: float | None = None
        self._up_at_s: float | None = None
        self.missed_hops = 0
        """Hops whose deadline could not be met, or that were passed through while stepped down."""

    @property
    def down(self) -> bool:
        """Whether it has stepped down and not recovered for good."""
        return self._down_until_s is not None or self._up_at_s is not None

    def must_rest(self, waiting_hops: float, left_s: float, now_s: float) -> bool:
        """Tell whether the next hop must be passed through.

        waiting_hops: input that waits, the next hop included; left_s: output that waits.
        """
        miss = waiting_hops * self._cost_s > max(left_s, self._hop_s)
        self._misses += (miss - self._misses) * MISS_SHARE
        if self._down_until_s is not None:
            miss = now_s < self._down_until_s
            if not miss:
                self._down_until_s, self._up_at_s = None, now_s
                self._cost_s = self._misses = 0.0
        elif self._misses > DOWN_ABOVE:
            self._step_down(now_s)
        elif self._up_at_s is not None and now_s - self._up_at_s > CALM_S:
            self._up_at_s, self._hold_s = None, HOLD_FIRST_S
        if miss:
            self.missed_hops += 1
            self._cost_s *= COST_FADING
        return miss

    def spent(self, seconds: float) -> None:
        """Take what the isolator has needed for a hop."""
        self._cost_s += (seconds - self._cost_s) * COST_SHARE

    def _step_down(self, now_s: float) -> None:
        if self._up_at_s is not None:
            self._hold_s = min(2 * self._hold_s, HOLD_MOST_S)
        self._up_at_s, self._down_until_s = None, now_s + self._hold_s
