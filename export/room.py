"""Mixtures with a user's own noise: mostly that, as it is, and a share of other noise.

Other noise (recorded, babble, hum, synthetic) keeps the network from forgetting what it knew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .corpus import Corpus
from .feed import Source
from .mix import Mixer, MixRanges
from .recipe import Recipe

OCTAVES, GAIN_DB = 0.06, 4.0  # how far a machine's speed and microphone vary
OTHER_OCTAVES, OTHER_GAIN_DB = 0.6, 9.0  # of other noise, whose variety is to be heard
OTHER_MOST = 0.1  # babble, and as much synthetic noise


class RoomMixer(Mixer):
    """A mixer whose recorded noise is `noise`, and with probability `share` is `general`."""

    def __init__(
        self,
        speech: Corpus,
        noise: Corpus,
        samples: int,
        ranges: MixRanges,
        general: Corpus | None,
        share: float,
    ) -> None:
        super().__init__(speech, noise, samples, ranges)
        self.general, self.share = general, share
        lengths = np.diff(noise.starts)
        self._weights = lengths / lengths.sum()

    def _recorded(self, rng: np.random.Generator) -> np.ndarray:
        if self.general and rng.random() < self.share:
            clip = self.general.raw(int(rng.integers(len(self.general))))
            return self._replay(rng, clip, OTHER_OCTAVES, OTHER_GAIN_DB)
        clip = self.noise.raw(int(rng.choice(len(self.noise), p=self._weights)))
        return self._replay(rng, clip, OCTAVES, GAIN_DB)


@dataclass(frozen=True)
class RoomSource(Source):
    """A source with the user's noise and, where given, a corpus of other noise."""

    general: Path | None = None
    share: float = 0.0

    def mixer(self, recipe: Recipe) -> RoomMixer:
        """Load the corpora and return a mixer of clips of the recipe's length."""
        speech, noise = Corpus.load(self.speech), Corpus.load(self.noise)
        general = Corpus.load(self.general) if self.general else None
        return RoomMixer(speech, noise, recipe.clip_samples, recipe.mix, general, self.share)


def room_ranges(ranges: MixRanges) -> MixRanges:
    """Return a recipe's ranges with less babble and synthetic noise, so that the user's rules."""
    return replace(
        ranges,
        babble=min(ranges.babble, OTHER_MOST),
        synthetic=min(ranges.synthetic, OTHER_MOST),
    )
