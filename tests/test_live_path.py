"""The live path without devices: bits, levels, delays, and no clicks whatever is switched."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import edgesep
from edgesep.audio.live_ends import Fader, Meter, pick_channels
from edgesep.audio.live_path import DryWet, LivePath
from edgesep.isolator import Isolator
from edgesep.live_settings import LiveSettings
from edgesep.models import DEFAULT_MODEL, list_models
from edgesep.settings import Settings
from tests.helpers import write_random_model
from tests.sound import best_shift, chirp, noise16

DEMO = Path(__file__).parents[1] / "demo"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random_model(tmp_path_factory.mktemp("model"))


def run(path, samples, block=384, **options):
    blocks = [samples[at : at + block] for at in range(0, len(samples), block)]
    return np.concatenate([path.push(piece, **options) for piece in blocks])


def open_path(model, in_hz=16000, out_hz=16000, channels=1, wet=1.0, **live):
    isolator = Isolator(model, Settings(wet=wet), channels)
    path = LivePath(isolator, LiveSettings(limiter_dbfs=0.0, **live), in_hz, out_hz, channels)
    path.fader.open = True
    return path


@pytest.mark.parametrize("channels", [1, 2])
def test_wet_and_dry_are_aligned_and_dry_keeps_its_bits(model, channels):
    isolator = Isolator(model, Settings(wet=0.0), channels)
    both = DryWet(isolator)
    hop, delay = isolator.hop_samples, isolator.delay_samples
    samples = noise16(100 * hop, channels).T
    out = []
    for index in range(100):
        both.bypass = index // 10 % 2 == 1
        out.append(both.process(np.ascontiguousarray(samples[:, index * hop : (index + 1) * hop])))
    stream = np.concatenate(out, axis=1).astype(int)[:, delay:]
    wanted = samples[:, : stream.shape[1]].astype(int)
    assert np.abs(stream - wanted).max() <= 1  # wet 0 rebuilds the input within one step
    dry = stream[:, 11 * hop : 19 * hop]
    np.testing.assert_array_equal(dry, wanted[:, 11 * hop : 19 * hop])


def test_a_rest_is_dry_and_the_isolator_comes_back_with_a_full_window(model):
    isolator = Isolator(model)
    both, fresh = DryWet(isolator), Isolator(model)
    hop, delay = isolator.hop_samples, isolator.delay_samples
    samples = noise16(60 * hop).T
    hops = [np.ascontiguousarray(samples[:, at : at + hop]) for at in range(0, 60 * hop, hop)]
    out = [both.process(piece, rest=20 <= index < 40) for index, piece in enumerate(hops)]
    stream = np.concatenate(out[21:40], axis=1)
    np.testing.assert_array_equal(stream, samples[:, 21 * hop - delay : 40 * hop - delay])
    wanted = [fresh.process(piece[0]) for piece in hops[40:]]
    assert both.wet
    np.testing.assert_array_equal(out[-1][0], wanted[-1])


def test_a_smaller_model_takes_over_and_gives_back(model, tmp_path):
    """Down: dry until its window is full. Up: the smaller one goes on until then."""
    small = write_random_model(tmp_path, seed=5)
    both, large_alone, small_alone = (
        DryWet(Isolator(model), Isolator(small)), Isolator(model), Isolator(small),
    )  # fmt: skip
    hop, delay = large_alone.hop_samples, large_alone.delay_samples
    samples = noise16(120 * hop).T
    hops = [np.ascontiguousarray(samples[:, at : at + hop]) for at in range(0, 120 * hop, hop)]
    out = []
    for index, piece in enumerate(hops):
        both.level = 1 if 40 <= index < 80 else 0
        out.append(both.process(piece)[0])
    large_hops = [large_alone.process(piece[0]) for piece in hops]
    small_hops = [small_alone.process(piece[0]) for piece in hops[40:]]
    np.testing.assert_array_equal(out[39], large_hops[39])
    np.testing.assert_array_equal(out[42], samples[0, 42 * hop - delay : 43 * hop - delay])
    for index in range(46, 84):  # the larger one comes back when its window is full
        np.testing.assert_array_equal(out[index], small_hops[index - 40])
    fresh = Isolator(model)
    again = [fresh.process(piece[0]) for piece in hops[80:]]
    for index in range(86, 120):
        np.testing.assert_array_equal(out[index], again[index - 80])


def jumps(samples):
    return int(np.abs(np.diff(samples.astype(int), axis=0)).max())


def test_a_thousand_switches_make_no_click(model, tmp_path):
    """Bypass, rest, mute, models, settings on a tone: it never moves faster than the tone."""
    isolator, small = Isolator(model), Isolator(write_random_model(tmp_path, seed=5))
    path = LivePath(isolator, LiveSettings(fade_ms=10.0), 48000, 48000, 1, smaller=[small])
    rng = np.random.default_rng(0)
    tone = np.rint(8000 * np.sin(2 * np.pi * 200 * np.arange(384 * 1200) / 48000)).astype(np.int16)
    steady = jumps(run(open_path(model, 48000, 48000), tone[: 384 * 300, None])[3000:])
    out = []
    for index in range(1200):
        rest = bool(rng.random() < 0.3)
        path.dry_wet.bypass = bool(rng.random() < 0.5)
        if index % 20 == 0:
            path.dry_wet.level = int(rng.integers(0, 3))
        path.fader.open = bool(rng.random() < 0.7)
        isolator.set_settings(Settings(max_attenuation_db=rng.uniform(0, 60)))
        out.append(path.push(tone[384 * index : 384 * (index + 1), None], rest=rest))
    slope = 8000 * 2 * np.pi * 200 / 48000
    fading = 8000 / 128 / 3 + 8000 / 480  # a crossfade of one hop, and the fader
    assert jumps(np.concatenate(out)) < max(steady, slope) + fading + 20


@pytest.mark.parametrize("out_hz", [16000, 44100, 48000])
@pytest.mark.parametrize("in_hz", [16000, 44100, 48000])
def test_its_latency_is_what_it_says(model, in_hz, out_hz):
    path = open_path(model, in_hz, out_hz, wet=0.0)
    source = np.rint(chirp(in_hz, 1.0) * 32767).astype(np.int16)
    out = run(path, source, path.hop_frames)[:, 0]
    wanted = chirp(out_hz, 1.0)[:, 0]
    shift_s = best_shift(wanted[: len(out)], out.astype(float), 2000) / out_hz
    hop_s = 128 / 16000  # algorithm_s counts the hop that is collected; the stream does not see it
    said_s = path.algorithm_s - hop_s + path.resampling_s + path.lookahead_s
    assert shift_s == pytest.approx(said_s, abs=1.5 / min(in_hz, out_hz))


def test_it_starts_closed_and_fades(model):
    path = open_path(model, wet=0.0)
    path.fader.open = False
    loud = np.full((16000, 1), 10000, np.int16)
    assert not run(path, loud).any()
    path.fader.open = True
    out = run(path, loud)
    assert jumps(out) <= 10000 / (0.05 * 16000) + 1
    assert out[-1, 0] == pytest.approx(10000, abs=1)


def test_the_limiter_is_the_last_word(model):
    isolator = Isolator(model, Settings(wet=0.0))
    path = LivePath(isolator, LiveSettings(limiter_dbfs=-10.0), 48000, 44100, 2)
    path.fader.open = True
    square = (np.sign(np.sin(np.arange(96000) / 20)) * 32767).astype(np.int16)
    out = run(path, square[:, None])
    assert out.shape[1] == 2
    assert np.abs(out.astype(int)).max() <= 32767 * 10 ** (-10 / 20)


def test_channels_are_picked(model):
    block = np.array([[100, 300, 900]], np.int16)
    scale = 32768
    assert (pick_channels(block[:, :2], "mix") * scale).tolist() == [[200]]
    assert (pick_channels(block, "2") * scale).tolist() == [[900]]
    assert (pick_channels(block, "link") * scale).tolist() == [[100, 300]]
    path = open_path(model, channels=2, wet=0.0, channel="link")
    stereo = np.stack((np.full(8000, 1000), np.full(8000, -3000)), axis=1).astype(np.int16)
    assert run(path, stereo)[-1].tolist() == pytest.approx([1000, -3000], abs=1)


def si_sdr_db(wanted, heard):
    target = wanted * (heard @ wanted) / (wanted @ wanted)
    return 10 * np.log10(np.sum(target**2) / np.sum((heard - target) ** 2))


@pytest.mark.slow
@pytest.mark.skipif(DEFAULT_MODEL not in list_models(), reason="the default model is not there")
def test_it_isolates_about_as_well_as_edgesep_file():
    """At 48 kHz; its hops lie elsewhere in the sound, which moves the figure by some 0.4 dB."""
    noisy, rate_hz = soundfile.read(DEMO / "noisy.flac", dtype="int16")
    clean = soundfile.read(DEMO / "clean.flac", dtype="float64")[0]
    offline = si_sdr_db(clean, edgesep.isolate(noisy, rate_hz).astype(float))
    path = LivePath(Isolator(), LiveSettings(limiter_dbfs=0.0, fade_ms=5.0), 48000, 48000, 1)
    path.fader.open = True
    fine, wanted = (soxr.resample(signal.astype(float), 16000, 48000) for signal in (noisy, clean))
    source = np.rint(np.concatenate((fine, np.zeros(9600)))).clip(-32768, 32767)
    heard = run(path, source.astype(np.int16)[:, None])[:, 0].astype(float)
    late_s = path.algorithm_s - 128 / 16000 + path.resampling_s + path.lookahead_s
    late = round(late_s * 48000)
    live = max(si_sdr_db(wanted, heard[at : at + len(wanted)]) for at in range(late - 3, late + 4))
    assert live > offline - 0.8


def test_fader_and_meter():
    fader = Fader(100)
    assert fader.closed
    fader.open = True
    out = fader.push(np.full((150, 1), 1000, np.int32))[:, 0]
    assert out[49] == 500 and (out[99:] == 1000).all() and not fader.closed
    fader.open = False
    fader.push(np.zeros((100, 1), np.int32))
    assert fader.closed
    meter = Meter()
    meter.add(np.full((10, 2), 3277, np.int16))
    assert meter.read_dbfs() == pytest.approx(-20, abs=0.01)
    assert meter.read_dbfs() == -96
