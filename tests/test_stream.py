"""Any rate, any block size: as long as the input and aligned with it."""

import numpy as np
import pytest

from edgesep.audio.samples import to_float32, to_int16, to_pcm_int32
from edgesep.audio.stream import SeparatedStream, StemStream, split_exactly
from edgesep.isolator import Isolator
from edgesep.settings import Settings
from tests.helpers import write_random_model
from tests.sound import RATES_HZ, best_shift, chirp, noise16, snr_db


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def dry(model):
    """An isolator that returns its input: the mask counts for nothing."""
    return Isolator(model, Settings(wet=0.0), channels=2)


class Loud:
    """Stands in for an isolator and returns the worst a model could: the opposite extreme."""

    channels, hop_samples, delay_samples = 1, 128, 64

    def reset(self):
        self.tail = np.zeros(64, np.int16)

    def process(self, hop):
        both = np.concatenate((self.tail, np.where(hop >= 0, -32768, 32767).astype(np.int16)))
        self.tail = both[128:]
        return both[:128]


def run(stream, samples, block):
    pieces = [stream.push(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate([*pieces, stream.finish()])


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_output_is_aligned_and_as_long_at_every_rate(dry, rate_hz):
    samples = chirp(rate_hz, 1.0, channels=2).astype(np.float32)[:-3]
    out = run(SeparatedStream(dry, rate_hz, 2), samples, 5000)
    out = to_float32(out)
    assert out.shape == samples.shape
    edge = rate_hz // 20
    for channel in range(2):
        assert best_shift(samples[:, channel], out[:, channel]) == 0
        assert snr_db(samples[edge:-edge, channel], out[edge:-edge, channel]) > 70


@pytest.mark.parametrize("frames", [1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 4096])
@pytest.mark.parametrize("rate_hz", [16000, 44100, 8000])
def test_every_length_comes_back(dry, frames, rate_hz):
    samples = noise16(frames, 2)
    out = to_int16(run(SeparatedStream(dry, rate_hz, 2), samples, 100))
    assert out.shape == samples.shape
    if rate_hz == 16000:
        assert np.abs(out.astype(int) - samples).max() <= 1


def test_block_sizes_do_not_matter(model):
    isolator = Isolator(model)
    samples = noise16(5000)
    whole = run(SeparatedStream(isolator, 16000, 1), samples, 5000)
    for block in (1, 7, 128, 1000):
        pieces = run(SeparatedStream(isolator, 16000, 1), samples, block)
        np.testing.assert_array_equal(whole, pieces)


def test_nothing_is_left_from_the_stream_before(model):
    isolator = Isolator(model)
    first = run(SeparatedStream(isolator, 16000, 1), noise16(3000, seed=1), 500)
    run(SeparatedStream(isolator, 16000, 1), noise16(3000, seed=2, level=12000), 500)
    again = run(SeparatedStream(isolator, 16000, 1), noise16(3000, seed=1), 500)
    np.testing.assert_array_equal(first, again)


def test_stream_is_the_frame_path_without_its_delay(model):
    isolator = Isolator(model)
    hop, samples = isolator.hop_samples, noise16(128 * 20)[:, 0]
    isolator.reset()
    hops = [isolator.process(samples[at : at + hop]) for at in range(0, len(samples), hop)]
    expected = np.concatenate(hops)[isolator.delay_samples :]
    out = run(SeparatedStream(isolator, 16000, 1), samples[:, None], 999)[:, 0]
    np.testing.assert_array_equal(out[: len(expected)], expected)


def test_silence_gives_silence(model):
    for rate_hz in (16000, 48000):
        stream = SeparatedStream(Isolator(model), rate_hz, 1)
        assert not run(stream, np.zeros((rate_hz // 4, 1), np.int16), 1000).any()


def test_stems_add_up_even_where_a_model_does_its_worst():
    samples = noise16(5000, level=30000)
    stream = StemStream(Loud(), 16000, 1)
    pairs = [stream.push(samples[at : at + 333]) for at in range(0, 5000, 333)]
    pairs.append(stream.finish())
    speech, background = (np.concatenate([pair[i] for pair in pairs]) for i in range(2))
    assert speech.dtype == background.dtype == np.int16
    np.testing.assert_array_equal(speech.astype(int) + background, samples)


def test_stems_split_every_extreme():
    ends = np.array([-32768, -32767, -1, 0, 1, 32766, 32767], np.int16)
    mixture, speech = (grid.ravel() for grid in np.meshgrid(ends, ends))
    first, second = split_exactly(mixture, speech)
    np.testing.assert_array_equal(first.astype(int) + second, mixture)
    fits = np.abs(mixture.astype(int) - speech) <= 32767
    np.testing.assert_array_equal(first[fits], speech[fits])


@pytest.mark.parametrize(("rate_hz", "frames", "expected"), [(48000, 4801, 1600), (8000, 3, 6)])
def test_stems_of_other_rates_last_as_long(dry, rate_hz, frames, expected):
    stream = StemStream(dry, rate_hz, 2)
    parts = [stream.push(noise16(frames, 2)), stream.finish()]
    assert sum(len(speech) for speech, _ in parts) == expected
    assert sum(len(background) for _, background in parts) == expected


def test_sample_formats_round_and_saturate():
    values = np.array([[0.0, 1.0, -1.0, 2.0, -2.0, 0.4 / 32768, 0.6 / 32768]], np.float32)
    expected = [0, 32767, -32768, 32767, -32768, 0, 1]
    np.testing.assert_array_equal(to_int16(values)[0], expected)
    every = np.arange(-32768, 32768).astype(np.int16)[:, None]
    np.testing.assert_array_equal(to_int16(to_float32(every)), every)
    for bits in (16, 24, 32):
        np.testing.assert_array_equal(to_pcm_int32(every, bits) >> 16, every)
    assert to_pcm_int32(np.array([127, 128, 32767, -32768], np.int16), 8).tolist() == [
        0, 0, 127 << 24, -128 << 24,
    ]  # fmt: skip
