"""The parts of the live loop, one by one: ring, rates, limiter, drift, overload, holes."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesep import native
from edgesep.audio.devices import Device
from edgesep.audio.fractional import FractionalResampler
from edgesep.audio.latency import find_chirp, sweep
from edgesep.audio.limiter import Limiter, ceiling_int16
from edgesep.audio.live_io import Inlet, Outlet
from edgesep.audio.live_session import open_devices
from edgesep.audio.native_io import NativeInlet, NativeOutlet, NativeRing
from edgesep.audio.overload import OverloadGuard
from edgesep.audio.playout import DriftControl
from edgesep.audio.ring import Ring
from edgesep.errors import DeviceError
from edgesep.live_settings import LiveSettings
from tests.sound import best_shift, chirp, noise16, snr_db

# --- ring --------------------------------------------------------------------------------------


def native_ring(frames, channels):
    ffi, _ = native.library()
    struct = ffi.new("edgesep_ring *")
    ring = NativeRing(struct, frames, channels)
    ring.struct = struct  # kept alive
    return ring


needs_core = pytest.mark.skipif(not native.available(), reason="the C core is not built")
RINGS = [Ring, pytest.param(native_ring, marks=needs_core)]
IO = [(Inlet, Outlet)]
if native.available():
    IO.append((NativeInlet, NativeOutlet))


@pytest.mark.parametrize("make", RINGS)
def test_a_ring_keeps_order_and_counts_what_is_lost(make):
    ring, block = make(10, 2), noise16(8, 2)
    assert ring.write(block) == 0
    assert ring.write(block) == 6  # two find a place
    out = np.zeros((20, 2), np.int16)
    assert ring.read_into(out) == 10
    np.testing.assert_array_equal(out[:10], np.concatenate((block, block[:2])))
    assert (ring.available, ring.read_into(out)) == (0, 0)
    assert ring.write(block) == 0
    assert (ring.skip(3), ring.available, ring.skip(9), ring.available) == (3, 5, 5, 0)


@pytest.mark.parametrize("make", RINGS)
def test_a_ring_between_two_threads_loses_and_repeats_nothing(make):
    ring, total = make(97, 1), 20_000
    numbers = (np.arange(total) % 30011).astype(np.int16)[:, None]
    taken = []

    def write():
        position = 0
        while position < total:
            piece = numbers[position : position + 13]
            written = len(piece) - ring.write(piece)
            position += written
            time.sleep(0 if written else 1e-4)

    writer = threading.Thread(target=write)
    writer.start()
    block = np.zeros((17, 1), np.int16)
    while sum(map(len, taken)) < total:
        count = ring.read_into(block)
        taken.append(block[:count].copy())
        time.sleep(0 if count else 1e-4)
    writer.join()
    np.testing.assert_array_equal(np.concatenate(taken), numbers)


# --- rates -------------------------------------------------------------------------------------

LIVE_RATES = [(48000, 16000), (16000, 48000), (44100, 16000), (16000, 44100), (16000, 16000)]


def resample(resampler, samples, block):
    pieces = [samples[at : at + block] for at in range(0, len(samples), block)]
    return np.concatenate([resampler.push(piece) for piece in pieces])


@pytest.mark.parametrize(("in_hz", "out_hz"), LIVE_RATES)
def test_a_tone_keeps_its_level_and_stays_clean(in_hz, out_hz):
    moments = np.arange(in_hz // 2) / in_hz
    for hz in (200, 3000, 6500):
        tone = (0.5 * np.sin(2 * np.pi * hz * moments)).astype(np.float32)[:, None]
        out = resample(FractionalResampler(in_hz, out_hz, 1), tone, in_hz // 125)[1000:-500, 0]
        phase = 2 * np.pi * hz * np.arange(len(out)) / out_hz
        basis = np.stack((np.sin(phase), np.cos(phase)), axis=1)
        fit = basis @ np.linalg.lstsq(basis, out, rcond=None)[0]
        assert snr_db(fit, out) > 75
        assert 20 * np.log10(np.abs(fit).max() / 0.5) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(("in_hz", "out_hz"), LIVE_RATES)
def test_its_delay_is_what_it_says(in_hz, out_hz):
    source = chirp(in_hz, 0.5).astype(np.float32)
    resampler = FractionalResampler(in_hz, out_hz, 1)
    out = resample(resampler, source, 100)[:, 0]
    wanted = chirp(out_hz, 0.5)[: len(out), 0]
    assert best_shift(wanted, out) == pytest.approx(resampler.delay_s * out_hz, abs=1)
    assert resampler.delay_s <= 0.0016
    assert len(out) >= len(source) * out_hz / in_hz - resampler.delay_s * out_hz - 1


def test_what_would_alias_is_removed():
    tone = (0.5 * np.sin(2 * np.pi * 9000 * np.arange(24000) / 48000)).astype(np.float32)
    out = resample(FractionalResampler(48000, 16000, 1), tone[:, None], 384)
    assert np.abs(out[500:]).max() < 0.5e-3  # 60 dB


def test_block_sizes_do_not_matter_and_channels_do_not_mix():
    source = chirp(44100, 0.3, 2).astype(np.float32)
    long = resample(FractionalResampler(44100, 16000, 2), source, 10_000)
    short = resample(FractionalResampler(44100, 16000, 2), source, 97)
    np.testing.assert_allclose(long[: len(short)], short, atol=1e-5)
    alone = resample(FractionalResampler(44100, 16000, 1), source[:, 1:], 97)
    np.testing.assert_allclose(short[:, 1:], alone, atol=1e-6)


def test_stretching_gives_more_samples_and_no_click():
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(120_000) / 16000)).astype(np.float32)
    resampler = FractionalResampler(16000, 48000, 1)
    pieces = []
    for index, at in enumerate(range(0, len(tone), 128)):
        pieces.append(resampler.push(tone[at : at + 128, None], 1.004 if index % 2 else 0.996))
    out = np.concatenate(pieces)[:, 0]
    assert len(out) == pytest.approx(3 * len(tone), rel=1e-3)
    steepest = 0.5 * 2 * np.pi * 440 / 48000
    assert np.abs(np.diff(out[100:])).max() < 1.01 * steepest
    more = resample_by(1.001, tone)
    assert more == pytest.approx(3 * len(tone) * 1.001, abs=100)


def resample_by(stretch, tone):
    resampler = FractionalResampler(16000, 48000, 1)
    return sum(
        len(resampler.push(tone[at : at + 128, None], stretch)) for at in range(0, len(tone), 128)
    )


# --- limiter -----------------------------------------------------------------------------------


def limit(samples, ceiling_dbfs=-6.0, block=384):
    limiter = Limiter(ceiling_dbfs, 48000, samples.shape[1])
    pieces = [samples[at : at + block] for at in range(0, len(samples), block)]
    return limiter, np.concatenate([limiter.push(piece) for piece in pieces])


@given(st.integers(0, 2**32 - 1), st.sampled_from([-60.0, -20.0, -6.0, -1.0, 0.0]))
@settings(max_examples=25, deadline=None)
def test_nothing_ever_exceeds_the_ceiling(seed, ceiling_dbfs):
    rng = np.random.default_rng(seed)
    samples = rng.integers(-40000, 40000, (4000, 2)) * (rng.random((4000, 1)) < rng.random())
    _, out = limit(samples.astype(np.int32), ceiling_dbfs, int(rng.integers(1, 700)))
    assert np.abs(out.astype(int)).max() <= 32767 * 10 ** (ceiling_dbfs / 20)


def test_full_scale_bursts_are_limited_without_a_click():
    moments = np.arange(48000) / 48000
    loud = (moments % 0.25) < 0.1
    tone = np.where(loud, 32767, 3000) * np.sin(2 * np.pi * 200 * moments)
    limiter, out = limit(np.rint(tone).astype(np.int32)[:, None], -12.0)
    ceiling = ceiling_int16(-12.0)
    assert np.abs(out.astype(int)).max() <= ceiling
    assert np.abs(out.astype(int)).max() > 0.95 * ceiling
    steepest = np.abs(np.diff(np.rint(tone))).max()
    assert np.abs(np.diff(out[:, 0].astype(int))).max() < steepest
    assert limiter.limited_frames > 10_000


def test_below_the_ceiling_bits_pass_and_after_a_burst_they_come_back():
    samples = noise16(48000, 2, level=2000).astype(np.int32)
    limiter, out = limit(samples)
    late = limiter.lookahead_frames
    np.testing.assert_array_equal(out[late:], samples[:-late])
    samples[1000:1100] = 32767
    limiter, out = limit(samples)
    after = 1100 + 5000  # the release takes 100 ms
    np.testing.assert_array_equal(out[after + late :], samples[after:-late])
    assert (out[late : 900 + late] == samples[:900]).all()


@pytest.mark.slow
def test_blocks_do_not_matter_to_the_limiter():
    samples = noise16(9000, 1, level=20000).astype(np.int32)
    np.testing.assert_array_equal(limit(samples, -6.0, 1)[1], limit(samples, -6.0, 4096)[1])


def test_a_lower_ceiling_holds_at_once():
    limiter = Limiter(0.0, 48000, 1)
    limiter.push(np.full((1000, 1), 30000, np.int32))
    limiter.set_ceiling(-20.0)
    out = limiter.push(np.full((1000, 1), 30000, np.int32))
    assert np.abs(out.astype(int)).max() <= ceiling_int16(-20.0)


# --- clocks ------------------------------------------------------------------------------------


def play_for(seconds, ppm, jitter=None):
    """Let two clocks run against each other through a buffer; return what became of it."""
    control, block_s, aim_s = DriftControl(0.006), 0.008, 0.006
    fill_s, fed_s, in_s, out_s = aim_s + block_s, 0.0, 0.0, 0.0
    starved, fills, least, index = 0, [], float("inf"), 0
    while in_s < seconds:
        if in_s <= out_s:
            fill_s, fed_s = fill_s + block_s * control.stretch, in_s
            control.update(least, block_s)
            least = float("inf")
            index += 1
            in_s = block_s * (index + (0 if jitter is None else jitter.uniform(0, 0.5)))
            continue
        if fill_s < block_s:
            starved += 1
            control.starved()
        else:
            fill_s -= block_s
        least = min(least, fill_s + min(out_s - fed_s, block_s) - block_s)
        out_s += block_s / (1 + ppm * 1e-6)
        fills.append(fill_s)
    return starved, np.array(fills), control


@pytest.mark.parametrize(
    "ppm", [300, *(pytest.param(ppm, marks=pytest.mark.slow) for ppm in (-300, -60, 0, 60))]
)
def test_an_hour_of_drift_neither_starves_nor_grows(ppm):
    starved, fills, control = play_for(3600, ppm)
    assert starved == 0
    assert fills[len(fills) // 2 :].max() < 0.006 + 0.008 + 0.002
    assert fills.min() > 0.0005
    assert control.drift_ppm == pytest.approx(ppm, abs=5)


def test_drift_is_found_through_jitter():
    starved, fills, control = play_for(900, 100, np.random.default_rng(1))
    assert starved <= 1
    assert fills[len(fills) // 2 :].max() < 0.030
    assert control.drift_ppm == pytest.approx(100, abs=40)


def test_starving_raises_the_aim_and_calm_lowers_it():
    control = DriftControl(0.006)
    control.starved()
    assert control.aim_s == pytest.approx(0.009)
    for _ in range(100):
        control.starved()
    assert control.aim_s <= 0.2
    for _ in range(300 * 125):
        control.update(control.aim_s, 0.008)
    assert control.aim_s < 0.01


# --- overload ----------------------------------------------------------------------------------


def drive(guard, seconds, cost_s, start_s=0.0):
    """Feed a guard hops of 8 ms that cost `cost_s`; return the share that was isolated."""
    isolated, waiting, now = 0, 1.0, start_s
    count = round(seconds / 0.008)
    for _ in range(count):
        rest = guard.must_rest(waiting, 0.010, now)
        if not rest:
            guard.spent(cost_s)
            isolated += 1
        waiting = max(1.0, waiting - 1 + (0.0005 if rest else cost_s) / 0.008)
        now += 0.008
    return isolated / count


def test_a_fast_model_never_rests():
    guard = OverloadGuard(0.008)
    assert drive(guard, 60, 0.001) == 1.0
    assert (guard.missed_hops, guard.down) == (0, False)


def test_a_slow_model_steps_down_tries_again_and_comes_back():
    guard = OverloadGuard(0.008)
    assert drive(guard, 30, 0.020) < 0.1
    assert guard.down
    drive(guard, 60, 0.001, start_s=30)
    assert not guard.down
    assert drive(guard, 10, 0.001, start_s=90) == 1.0


def test_it_steps_down_model_by_model_and_climbs_back():
    """Three models of 20, 12 and 2 ms a hop; later there is time for all."""
    guard = OverloadGuard(0.008, models=3)
    levels, now = [], 0.0
    for costs_s, seconds in (((0.020, 0.012, 0.002), 60), ((0.001,) * 3, 90)):
        waiting = 1.0
        for _ in range(round(seconds / 0.008)):
            rest = guard.must_rest(waiting, 0.010, now)
            cost_s = 0.0005 if rest else costs_s[guard.level]
            if not rest:
                guard.spent(cost_s)
            waiting = max(1.0, waiting - 1 + cost_s / 0.008)
            now += 0.008
            levels.append(guard.level)
    assert max(levels) == 2  # the smallest is fast enough: nothing is passed through for long
    assert levels[round(55 / 0.008)] == 2
    changes = int(np.count_nonzero(np.diff(levels)))
    assert changes <= 16  # every try waits twice as long as the last
    assert levels[-1] == 0 and not guard.down


def test_where_no_model_is_fast_enough_the_sound_passes():
    guard = OverloadGuard(0.008, models=2)
    assert drive(guard, 60, 0.020) < 0.2
    assert guard.level == 2 and guard.down
    assert drive(guard, 180, 0.001, start_s=60) > 0.6
    assert not guard.down


def test_one_slow_hop_is_no_overload():
    guard = OverloadGuard(0.008)
    drive(guard, 1, 0.001)
    guard.spent(0.030)
    assert drive(guard, 1, 0.001, start_s=1) > 0.95
    assert not guard.down


# --- the ends ----------------------------------------------------------------------------------


def pull(outlet, frames):
    raw, flag = outlet.callback(None, frames, None, 0)
    assert flag == 0
    return np.frombuffer(raw, np.int16).reshape(frames, -1).astype(int)


@pytest.mark.parametrize("make", [pair[1] for pair in IO])
def test_a_hole_in_the_output_fades_and_is_counted(make):
    outlet = make(48000, 1, 0.008, 0.016)
    outlet.refill_frames = 384
    outlet.ring.write(np.full((1000, 1), 20000, np.int16))
    out = np.concatenate([pull(outlet, 384) for _ in range(4)])
    assert outlet.starvations == 1
    assert out.max() == 20000 and (out[-300:] == 0).all()
    outlet.ring.write(np.full((383, 1), 20000, np.int16))
    assert not pull(outlet, 384).any()  # one frame is missing: it waits
    outlet.ring.write(np.full((1000, 1), 20000, np.int16))
    out = np.concatenate((out, pull(outlet, 384), pull(outlet, 384)))
    assert np.abs(np.diff(out[:, 0])).max() <= 20000 / 192 + 1
    assert (outlet.starvations, out[-1, 0]) == (1, 20000)


@pytest.mark.parametrize("make", [pair[1] for pair in IO])
def test_before_the_first_word_the_output_is_silent(make):
    outlet = make(48000, 2, 0.008, 0.016)
    outlet.ring.write(np.full((1000, 2), 20000, np.int16))
    assert not pull(outlet, 384).any()
    assert outlet.starvations == 0


@pytest.mark.parametrize("make", [pair[1] for pair in IO])
def test_what_runs_empty_at_the_end_is_no_starvation(make):
    outlet = make(48000, 1, 0.008, 0.016)
    outlet.refill_frames = 384
    outlet.ring.write(np.full((1000, 1), 20000, np.int16))
    pull(outlet, 384)
    outlet.ending = True
    assert [pull(outlet, 384).any() for _ in range(4)] == [True, True, True, False]
    assert outlet.starvations == 0


@pytest.mark.parametrize(
    ("channel", "offered", "asked", "opened"),
    [("mix", 1, 0, 1), ("mix", 2, 0, 2), ("mix", 6, 0, 6), ("mix", 32, 0, 2), ("mix", 32, 4, 4),
     ("mix", 6, 1, 1), ("link", 6, 0, 2), ("3", 6, 0, 4), ("3", 6, 6, 6), ("link", 6, 1, 2)],
)  # fmt: skip
def test_as_many_channels_are_opened_as_the_choice_needs(channel, offered, asked, opened):
    devices = [Device(0, "ears", "ALSA", offered, 0, 48000), Device(1, "out", "ALSA", 0, 2, 48000)]
    wanted = LiveSettings("ears", "out", channel=channel, input_channels=asked)
    assert open_devices(devices, wanted).in_channels == opened


@pytest.mark.parametrize(("channel", "asked"), [("2", 0), ("link", 0), ("mix", 2)])
def test_too_few_channels_are_an_error(channel, asked):
    devices = [Device(0, "ears", "ALSA", 1, 0, 48000), Device(1, "out", "ALSA", 0, 2, 48000)]
    wanted = LiveSettings("ears", "out", channel=channel, input_channels=asked)
    with pytest.raises(DeviceError, match="'ears' has 1 channels: channel"):
        open_devices(devices, wanted)


@pytest.mark.parametrize("make", [pair[1] for pair in IO])
def test_a_request_that_comes_late_is_counted(make):
    outlet = make(48000, 1, 0.008, 0.5)
    outlet.refill_frames = 384
    outlet.ring.write(np.full((4000, 1), 20000, np.int16))
    pull(outlet, 384)
    pull(outlet, 384)
    time.sleep(0.6)
    pull(outlet, 384)
    assert outlet.late_requests == 1


@needs_core
@pytest.mark.parametrize("channels", [1, 2])
def test_the_output_in_c_is_that_in_python(channels):
    """Thousands of requests of all sizes, with holes: the same bytes, and the same counts."""
    both = [make(8000, channels, 0.004, 1e3) for make in (NativeOutlet, Outlet)]
    rng = np.random.default_rng(0)
    for outlet in both:
        outlet.refill_frames = 100
    for index in range(3000):
        block = rng.integers(-32768, 32768, (int(rng.integers(0, 112)), channels)).astype(np.int16)
        frames, refill = int(rng.integers(1, 120)), int(rng.integers(1, 300))
        for outlet in both:
            outlet.write(block)
            if index % 100 == 0:
                outlet.refill_frames = refill
            outlet.ending = index > 2500
        given = [outlet.callback(None, frames, None, index % 7 == 0) for outlet in both]
        assert given[0] == given[1], index
    names = ("blocks", "starvations", "underflows", "late_requests", "ending", "refill_frames")
    ours, twin = ([getattr(outlet, name) for name in names] for outlet in both)
    assert ours == twin and ours[1] > 50
    assert both[0].headroom_s == pytest.approx(both[1].headroom_s, abs=0.003)


@pytest.mark.parametrize("make", [pair[0] for pair in IO])
def test_the_bell_rings_with_every_block(make):
    inlet = make(16000, 1)
    heard = []
    listener = threading.Thread(target=lambda: heard.append(inlet.bell.wait()), daemon=True)
    listener.start()
    time.sleep(0.02)
    assert listener.is_alive()
    inlet.callback(noise16(100).tobytes(), 100, None, 0)
    listener.join(5)
    assert heard == [None]
    for _ in range(70_000):  # more than a pipe holds: nobody waits
        inlet.bell.ring()
    inlet.bell.close()


@pytest.mark.parametrize("make", [pair[0] for pair in IO])
def test_the_inlet_counts_what_it_loses(make):
    inlet = make(16000, 1)
    raw = noise16(10_000).tobytes()
    assert inlet.callback(raw, 10_000, None, 0) == (None, 0)
    inlet.callback(raw, 10_000, None, 2)
    assert (inlet.blocks, inlet.lost_frames, inlet.overflows) == (2, 4000, 1)


# --- measuring latency -------------------------------------------------------------------------


def test_a_chirp_is_found_in_noise_and_not_in_noise_alone():
    noise = np.random.default_rng(0).normal(0, 0.02, 48000)
    heard = noise.copy()
    heard[20_000 : 20_000 + len(sweep(48000))] += 0.1 * sweep(48000)
    assert find_chirp(heard, 48000) == pytest.approx(20_000, abs=2)
    assert find_chirp(noise, 48000) is None
    assert find_chirp(np.zeros(48000), 48000) is None
