"""Decide when a smaller model, or none, must do so that the sound goes on."""

from __future__ import annotations

__all__ = ["OverloadGuard"]

COST_SHARE = 0.1  # of the newest cost in the running mean
COST_FADING = 0.98  # per hop at rest: an old cost is forgotten, so that the isolator gets a try
MISS_SHARE = 1 / 250  # of the newest hop in the running share of misses
DOWN_ABOVE = 0.08  # share of missed hops from which on it steps down: a model that takes one and a
# half hops a hop, with the fading above, misses one in eight
HOLD_FIRST_S, HOLD_MOST_S = 5.0, 60.0
CALM_S = 10.0  # so long without stepping down is a recovery


class OverloadGuard:
    """Hop by hop: isolate or pass the sound through, and with which model?

    A hop misses its deadline when isolating everything that waits would take longer than the
    output lasts. Many misses step down to the next smaller model, and from the smallest to
    pass-through, for some seconds; every further step down lasts twice as long, up to a minute.
    Then it steps up again, one by one; ten calm seconds with the first model are a recovery.

    hop_s: length of a hop. models: how many there are, the largest first.
    """

    def __init__(self, hop_s: float, models: int = 1) -> None:
        self._hop_s = hop_s
        self._models = models
        self._cost_s = 0.0
        self._misses = 0.0
        self._hold_s = HOLD_FIRST_S
        self._up_again_s = 0.0  # when to try the next larger model, while there is one
        self._up_at_s: float | None = None
        self.level = 0
        """Which model isolates: 0 is the first; as many as there are: none."""
        self.missed_hops = 0
        """Hops whose deadline could not be met, or that were passed through while stepped down."""

    @property
    def down(self) -> bool:
        """Whether it has stepped down and not recovered for good."""
        return self.level > 0 or self._up_at_s is not None

    def must_rest(self, waiting_hops: float, left_s: float, now_s: float) -> bool:
        """Tell whether the next hop must be passed through.

        waiting_hops: input that waits, the next hop included; left_s: output that waits.
        """
        miss = waiting_hops * self._cost_s > max(left_s, self._hop_s)
        self._misses += (miss - self._misses) * MISS_SHARE
        if self.level and now_s >= self._up_again_s:
            self._step_up(now_s)
            miss = False
        elif self.level == self._models:
            miss = True
        elif self._misses > DOWN_ABOVE:
            self._step_down(now_s)
        elif self.level == 0 and self._up_at_s is not None and now_s - self._up_at_s > CALM_S:
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
        self.level += 1
        self._up_at_s, self._up_again_s = None, now_s + self._hold_s
        self._cost_s = self._misses = 0.0

    def _step_up(self, now_s: float) -> None:
        self.level -= 1
        self._up_at_s, self._up_again_s = now_s, now_s + self._hold_s
        self._cost_s = self._misses = 0.0
