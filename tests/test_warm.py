"""Networks that begin with another one's weights, and sound that is mixed once for several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgesep.errors import ModelError
from export.float_model import float_mask
from export.graph import UNetShape, unet
from export.warm import transplant
from tests.helpers import random_weights

SMALL = UNetShape((4, 6, 8, 10), 12, (1, 2))
WIDE = UNetShape((6, 7, 8, 14), 15, (1, 2, 4))


def graph_of(shape: UNetShape, bands: int = 32):
    return unet(bands, 2, shape)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 1, (40, 32, 2)).astype(np.float32)


def test_a_wider_and_deeper_network_computes_the_same_at_first(features: np.ndarray) -> None:
    small, wide = graph_of(SMALL), graph_of(WIDE)
    weights = random_weights(small)
    grown = transplant(small, weights, wide, seed=1)
    before, after = float_mask(small, weights, features), float_mask(wide, grown, features)
    assert before.std() > 0.05
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.abs(grown["enc3/kernel"][..., 10:]).max() > 0  # new channels are alive
    assert np.abs(grown["ctx2.pw/kernel"]).max() == 0  # a new branch waits


def test_a_narrower_network_keeps_the_channels_that_are_used_most(features: np.ndarray) -> None:
    small, wide = graph_of(SMALL), graph_of(WIDE)
    weights = random_weights(small)
    grown = transplant(small, weights, wide, seed=1)
    shape = UNetShape(WIDE.encoder, WIDE.context, SMALL.dilations)  # depth is not cut, width is
    assert graph_of(shape).parameters() > small.parameters()
    cut = transplant(wide, grown, small, seed=1)  # the new channels are read by nobody
    np.testing.assert_allclose(
        float_mask(small, cut, features), float_mask(small, weights, features), atol=1e-5
    )


def test_other_taps_or_stages_are_refused() -> None:
    small = graph_of(SMALL)
    weights = random_weights(small)
    with pytest.raises(ModelError, match="encoder stages"):
        transplant(small, weights, graph_of(UNetShape((4, 6, 8), 12, (1, 2))), seed=1)
    with pytest.raises(ModelError, match=r"enc0.*taps"):
        longer = UNetShape(SMALL.encoder, SMALL.context, SMALL.dilations, first_frames=3)
        transplant(small, weights, graph_of(longer), seed=1)


@pytest.mark.slow
def test_keras_starts_with_the_function_that_the_weights_describe(features: np.ndarray) -> None:
    pytest.importorskip("keras", reason="the train extra is not installed")
    from export.network import build_network
    from export.warm import start

    small, wide = graph_of(SMALL), graph_of(WIDE)
    weights = random_weights(small)
    model = build_network(wide, len(features))
    start(model, wide, transplant(small, weights, wide, seed=1), [features])
    wanted = float_mask(small, weights, features)
    for training in (False, True):  # batch statistics included
        ours = np.asarray(model(features[None], training=training))[0]
        np.testing.assert_allclose(ours, wanted, atol=1e-4)


def test_a_pool_gives_the_batches_that_mixing_gives(tmp_path: Path) -> None:
    from export.corpus import Corpus
    from export.feed import Source, make_batch, pool_of
    from export.recipe import Recipe, load_recipe

    rng = np.random.default_rng(0)
    samples = rng.integers(-9000, 9000, 5 * 32000).astype(np.int16)
    names = tuple(f"v{i}" for i in range(5))
    corpus = Corpus(samples, np.arange(0, 160001, 32000), np.full(5, 0.2), names)
    for kind in ("speech", "noise"):
        corpus.save(tmp_path / f"{kind}.npz")

    def short(name: str) -> Recipe:
        """Return the recipe with batches that are mixed at once."""
        recipe = load_recipe(name)
        return replace(recipe, training=replace(recipe.training, batch=2, clip_s=1.0))

    recipe = short("nano-16ms")
    source = Source(tmp_path / "speech.npz", tmp_path / "noise.npz")
    mixer = source.mixer(recipe)
    pool = pool_of(tmp_path / "pool", source, recipe)
    wanted = make_batch(mixer, recipe, 4)
    for turn in ("mixed", "read"):
        for ours, theirs in zip(pool.batch(mixer, recipe, 4), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=turn)
    assert [path.name for path in pool.folder.iterdir()] == ["4.npy"]
    # Another hop hears the same sound, another seed does not.
    hearing = replace(recipe, frame=load_recipe("small-8ms").frame)
    assert hearing.frame.hop_samples != recipe.frame.hop_samples
    assert pool_of(tmp_path / "pool", source, hearing).folder == pool.folder
    other = replace(recipe, training=replace(recipe.training, seed=9))
    assert pool_of(tmp_path / "pool", source, other).folder != pool.folder
