"""The frame path: reconstruction, saturation, features, stereo, and C against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgesep import native
from edgesep.contract import FrameContract
from edgesep.errors import SamplesError, SettingsError
from edgesep.features import signal_features
from edgesep.frontend import Frontend
from edgesep.mask import gain_table_q15
from tests import signals

needs_c = pytest.mark.skipif(not native.available(), reason="the C core is not built")
BACKENDS = [pytest.param("c", marks=needs_c), "numpy"]
SAMPLES = 2816  # a multiple of every hop, longer than five windows
SIGNALS = signals.signals(SAMPLES)
HOPS_AND_FADES = pytest.mark.parametrize(("hop", "fade"), signals.HOPS_AND_FADES)
ONE = gain_table_q15(0.0)


def run(frontend: Frontend, x: np.ndarray, masks: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Send a signal (samples,) or (channels, samples) through, one mask (hops, bands) each hop."""
    channels, hop = np.atleast_2d(x), frontend.contract.hop_samples
    hops = [np.ascontiguousarray(channels[:, i : i + hop]) for i in range(0, x.shape[-1], hop)]
    out = []
    for piece, mask in zip(hops, masks, strict=True):
        frontend.analyse(piece)
        out.append(frontend.synthesise(mask, gains))
    return np.concatenate(out, axis=1).reshape(x.shape)


def constant_masks(contract: FrameContract, samples: int, value: int = 127) -> np.ndarray:
    return np.full((samples // contract.hop_samples, contract.bands), value, np.int8)


# --- reconstruction and saturation -------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@HOPS_AND_FADES
def test_a_mask_of_one_returns_the_delayed_input(hop: int, fade: int, backend: str) -> None:
    contract = signals.contract(hop, fade)
    stacked = np.stack(list(SIGNALS.values()))  # channels share only the mask
    frontend = Frontend(contract, len(stacked), backend)
    out = run(frontend, stacked, constant_masks(contract, SAMPLES), ONE).astype(int)
    error = np.abs(out[:, fade:] - stacked[:, :-fade]).max(axis=1)
    assert dict(zip(SIGNALS, error > 1, strict=True)) == dict.fromkeys(SIGNALS, False)
    assert not out[:, :fade].any()


def random_masks(contract: FrameContract, seed: int) -> np.ndarray:
    """Return masks (hops, bands) that strain the path: smooth ones, coin tosses, near nothing."""
    rng = np.random.default_rng(seed)
    shape = (SAMPLES // contract.hop_samples, contract.bands)
    masks = rng.integers(-128, 128, shape).astype(np.int8)
    masks[1::3] = rng.choice(np.array([-128, 127], np.int8), masks[1::3].shape)
    masks[2::9] = -127
    return masks


@pytest.mark.parametrize("name", SIGNALS)
@HOPS_AND_FADES
def test_masked_output_is_the_clipped_float_result(name: str, hop: int, fade: int) -> None:
    contract, x = signals.contract(hop, fade), SIGNALS[name]
    masks, table = random_masks(contract, 1), gain_table_q15(100.0)
    out = run(Frontend(contract, 1, "auto"), x, masks, table)
    bins = np.repeat(table[masks.astype(int) + 128] / 32768, np.diff(contract.band_edges), axis=1)
    truth = signals.masked(x, np.concatenate((bins, bins[:, -1:]), axis=1), hop, fade)
    assert np.abs(out - np.clip(truth, -32768, 32767)).max() <= 2


def test_overshoot_saturates() -> None:
    contract, x = signals.contract(), SIGNALS["square"]
    masks = constant_masks(contract, SAMPLES)
    masks[:, 40:] = -128  # taking the edges off a square wave makes it overshoot
    out = run(Frontend(contract), x, masks, gain_table_q15(100.0))
    bins = np.repeat(masks == 127, np.diff(contract.band_edges), axis=1).astype(float)
    truth = signals.masked(x, np.concatenate((bins, bins[:, -1:]), axis=1), 128, 128)
    assert truth.max() > 33000 and truth.min() < -33000
    assert (out[truth > 32768] == 32767).all() and (out[truth < -32769] == -32768).all()


@pytest.mark.parametrize("backend", BACKENDS)
@HOPS_AND_FADES
def test_latency_is_what_the_contract_says(hop: int, fade: int, backend: str) -> None:
    contract = signals.contract(hop, fade)
    assert contract.delay_samples == fade and contract.latency_samples == hop + fade
    x = np.zeros(SAMPLES, np.int16)
    x[1000] = 20000
    out = run(Frontend(contract, 1, backend), x, constant_masks(contract, SAMPLES), ONE)
    assert np.flatnonzero(np.abs(out.astype(int)) > 1).tolist() == [1000 + fade]
    assert abs(int(out[1000 + fade]) - 20000) <= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_silence_stays_silent(backend: str) -> None:
    contract = signals.contract()
    x = np.zeros(SAMPLES, np.int16)
    assert not run(Frontend(contract, 1, backend), x, random_masks(contract, 2), ONE).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_silence_after_sound_is_silent_again(backend: str) -> None:
    contract = signals.contract()
    x = SIGNALS["noise"].copy()
    x[1024:] = 0
    out = run(Frontend(contract, 1, backend), x, random_masks(contract, 2), ONE)
    assert out[:1024].any() and not out[1024 + 512 + contract.fade_samples :].any()


# --- features ----------------------------------------------------------------------------------


def float_features(x: np.ndarray, contract: FrameContract) -> np.ndarray:
    """Return unrounded features (frames, bands, 2) as float64 sees them."""
    power = np.abs(signals.spectrum(signals.history_frames(x, contract.hop_samples))) ** 2
    power[:, 0] = signals.spectrum(signals.history_frames(x, contract.hop_samples))[:, 0].real ** 2
    bands = np.add.reduceat(power, contract.band_edges[:-1], axis=1)
    level = np.clip(np.log2(np.maximum(bands, 1e-9)), 8, 10495 / 256)
    floors, floor = np.empty_like(level), np.full(contract.bands, 10495 / 256)
    for i, now in enumerate(level):
        if bands[i].any():
            floor = floor + (now - floor) * np.where(now > floor, 2.0**-8, 2.0**-3)
        floors[i] = floor
    features = np.stack((8 * (level - 24), 8 * (level - floors) - 64), axis=-1)
    features[~bands.any(axis=1)] = -128
    return np.clip(features, -128, 127)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SIGNALS)
def test_features_are_the_rounded_float_ones(name: str, backend: str) -> None:
    contract = signals.contract()
    result = signal_features(SIGNALS[name], contract, backend)
    assert result.shape == (SAMPLES // 128, contract.bands, 2) and result.dtype == np.int8
    # Bands 100 dB below a full-scale tone lie near the last bit of the block.
    bound = 1.25 if name in ("dc", "full-scale dc", "alternating", "full-scale sine") else 0.56
    assert np.abs(result - float_features(SIGNALS[name], contract)).max() < bound


@pytest.mark.parametrize("backend", BACKENDS)
def test_signal_features_are_the_stream_s(backend: str) -> None:
    contract = signals.contract(64, 64)
    x = np.stack([SIGNALS["speech"], SIGNALS["burst"]])
    frontend = Frontend(contract, 2, backend)
    hops = [np.ascontiguousarray(x[:, i : i + 64]) for i in range(0, SAMPLES, 64)]
    stream = np.array([frontend.analyse(hop).copy() for hop in hops])
    np.testing.assert_array_equal(signal_features(x, contract, backend), stream)
    np.testing.assert_array_equal(signal_features(x[:, :-1], contract, backend), stream[:-1])
    assert signal_features(x[:, :63], contract, backend).shape == (0, 128, 2)


# --- the same bits -----------------------------------------------------------------------------


@st.composite
def contracts(draw: st.DrawFn) -> FrameContract:
    hop, fade = draw(st.sampled_from(signals.HOPS_AND_FADES))
    inner = draw(st.sets(st.integers(1, 255), max_size=255))
    shifts = draw(st.tuples(st.integers(0, 16), st.integers(0, 16)))
    return FrameContract(hop, fade, (0, *sorted(inner), 256), *shifts)


EXTREMES = st.sampled_from([-32768, -1, 0, 1, 32767])


@st.composite
def streams(draw: st.DrawFn) -> tuple[FrameContract, np.ndarray, int]:
    """A contract, a signal (channels, 6 hops) in blocks of wildly different levels, a seed."""
    contract, channels = draw(contracts()), draw(st.integers(1, 3))
    blocks = draw(
        hnp.arrays(np.int16, (channels, 6, 32), elements=st.integers(-32768, 32767), fill=EXTREMES)
    )
    shifts = draw(hnp.arrays(np.int16, (channels, 6, 1), elements=st.integers(0, 16), fill=None))
    blocks = np.where(shifts == 16, 0, blocks >> np.minimum(shifts, 15)).astype(np.int16)
    blocks = np.tile(blocks, (1, 1, contract.hop_samples // 32))
    return contract, blocks, draw(st.integers(0, 2**32 - 1))


def assert_same_stream(
    contract: FrameContract, hops: np.ndarray, masks: np.ndarray, gains: np.ndarray
) -> None:
    """hops: (hops, channels, H)."""
    ours, twin = (Frontend(contract, hops.shape[1], backend) for backend in ("c", "numpy"))
    for hop, mask in zip(hops, masks, strict=True):
        np.testing.assert_array_equal(ours.analyse(hop), twin.analyse(hop))
        np.testing.assert_array_equal(ours.synthesise(mask, gains), twin.synthesise(mask, gains))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hop", [64, 128])
def test_silence_before_the_first_sound_leaves_no_trace(hop: int, backend: str) -> None:
    """Recordings and microphones begin with zeros; the noise floor must not fall to them."""
    contract = signals.contract(hop, hop)
    sound = SIGNALS["speech"]
    late = np.concatenate([np.zeros(40 * hop, np.int16), sound])
    after = signal_features(late, contract, backend)[40:]
    assert np.array_equal(after, signal_features(sound, contract, backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("hop", [64, 128])
def test_silence_amid_sound_leaves_the_floor_where_it_was(hop: int, backend: str) -> None:
    """A muted microphone, a lost packet: what follows is heard as if nothing had been."""
    contract = signals.contract(hop, hop)
    sound = (300 * np.random.default_rng(3).standard_normal(200 * hop)).astype(np.int16)
    muted = np.concatenate([sound[: 100 * hop], np.zeros(150 * hop, np.int16), sound[100 * hop :]])
    above, muted_above = (
        signal_features(x, contract, backend)[..., 1].astype(float) for x in (sound, muted)
    )
    window = 512 // hop
    assert np.all(muted_above[100 + window : 250] == -128)
    again = muted_above[250 + window :]
    assert np.abs(again.mean() - above[100 + window :].mean()) < 12.0  # 4.5 dB: the gap's edges


@needs_c
@settings(deadline=None, max_examples=60)
@given(streams())
def test_c_and_numpy_streams_agree(case: tuple[FrameContract, np.ndarray, int]) -> None:
    contract, blocks, seed = case
    rng = np.random.default_rng(seed)
    masks = rng.integers(-128, 128, (6, contract.bands)).astype(np.int8)
    gains = gain_table_q15(rng.uniform(0, 100), rng.random(), rng.choice(["speech", "background"]))
    assert_same_stream(contract, np.ascontiguousarray(blocks.swapaxes(0, 1)), masks, gains)


@pytest.mark.slow
@needs_c
@HOPS_AND_FADES
def test_c_and_numpy_agree_on_all_signals(hop: int, fade: int) -> None:
    contract = signals.contract(hop, fade)
    for x in SIGNALS.values():
        hops = x[: 12 * hop].reshape(-1, 1, hop)[:12]
        assert_same_stream(contract, hops, random_masks(contract, 3)[: len(hops)], ONE)


@needs_c
def test_c_and_numpy_agree_on_the_features_of_many_frames() -> None:
    for seed, hop in enumerate((32, 64, 128, 256)):
        x = signals.adversarial_frames(640 * hop // 128, seed).reshape(2, -1)
        contract = signals.contract(hop, 32)
        ours, twin = (signal_features(x, contract, backend) for backend in ("c", "numpy"))
        assert len(ours) >= 1000
        np.testing.assert_array_equal(ours, twin)


@needs_c
def test_as_many_channels_as_allowed_agree() -> None:
    x = np.tile(signals.adversarial_frames(64)[:, None, :256], (1, 3, 1)).swapaxes(0, 1)
    contract = signals.contract(256, 128)
    assert_same_stream(contract, np.ascontiguousarray(x), random_masks(contract, 4)[:3], ONE)


@needs_c
def test_loudest_signals_of_all_channels_do_not_overflow_a_single_band() -> None:
    contract = signals.contract(256, 128, (0, 256))
    for name in ("noise", "square", "alternating", "full-scale sine"):
        hops = np.tile(SIGNALS[name][:1024].reshape(4, 1, 256), (1, 64, 1))
        assert_same_stream(contract, hops, np.full((4, 1), 127, np.int8), ONE)


# --- stereo ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_stereo_keeps_level_and_time_differences(backend: str) -> None:
    contract = signals.contract()
    near = signals.speech_like(SAMPLES, -6)
    far = (np.pad(near, (11, 0))[:SAMPLES] / 2).astype(np.int16)
    masks = np.repeat(random_masks(contract, 5)[:1], SAMPLES // 128, axis=0)
    stereo = run(Frontend(contract, 2, backend), np.stack([near, far]), masks, ONE)
    for channel, alone in zip(stereo, (near, far), strict=True):  # the other ear changes nothing
        mono = run(Frontend(contract, 1, backend), alone, masks, ONE)
        np.testing.assert_array_equal(channel, mono)
    left, right = stereo.astype(float)
    lag = [np.dot(left[600:2700], right[600 + d : 2700 + d]) for d in range(25)]
    assert int(np.argmax(lag)) == 11
    rms = np.sqrt((stereo[:, 600:2700].astype(float) ** 2).mean(axis=1))
    assert abs(20 * np.log10(rms[1] / rms[0]) - 20 * np.log10(0.5)) < 0.3


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_channels_have_the_features_of_one(backend: str) -> None:
    contract = signals.contract()
    x = SIGNALS["speech"]
    mono = signal_features(x, contract, backend)
    np.testing.assert_array_equal(signal_features(np.stack([x, x]), contract, backend), mono)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_silent_channel_costs_its_share_of_the_power(backend: str) -> None:
    contract = signals.contract()
    x = SIGNALS["noise"] >> 4
    mono = signal_features(x, contract, backend)[..., 0].astype(int)
    half = signal_features(np.stack([x, 0 * x]), contract, backend)[..., 0].astype(int)
    assert (mono < 127).all() and set(np.unique(mono - half)) == {8}  # 3 dB: an octave, 8 steps


# --- the object --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_reset_is_a_fresh_start(backend: str) -> None:
    contract = signals.contract(64, 32)
    frontend = Frontend(contract, 1, backend)
    assert frontend.backend == backend
    masks = random_masks(contract, 6)
    first = run(frontend, SIGNALS["noise"], masks, ONE)
    frontend.reset()
    np.testing.assert_array_equal(run(frontend, SIGNALS["noise"], masks, ONE), first)


@pytest.mark.parametrize("backend", BACKENDS)
def test_synthesis_before_analysis_is_silence_and_may_be_repeated(backend: str) -> None:
    contract = signals.contract()
    frontend = Frontend(contract, 1, backend)
    mask = np.full(contract.bands, 127, np.int8)
    assert not frontend.synthesise(mask, ONE).any()
    frontend.analyse(SIGNALS["noise"][:128].reshape(1, 128))
    first = frontend.synthesise(mask, ONE)
    second = frontend.synthesise(mask, ONE)
    assert second is not first and second.any()
    assert np.shares_memory(first, second) is False


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_arrays_are_refused_and_leave_the_stream_alone(backend: str) -> None:
    bad: Any
    bad_mask: Any
    bad_gains: Any
    contract = signals.contract()
    frontend = Frontend(contract, 2, backend)
    good = np.zeros((2, 128), np.int16)
    for bad in (good[:1], good[:, :64], good.astype(float), np.zeros((128, 2), np.int16).T):
        with pytest.raises(SamplesError, match="hop is"):
            frontend.analyse(bad)
    mask = np.zeros(contract.bands, np.int8)
    for bad_mask in (mask[:-1], mask.astype(np.uint8), np.zeros(2 * contract.bands, np.int8)[::2]):
        with pytest.raises(SamplesError, match="mask is"):
            frontend.synthesise(bad_mask, ONE)
    for bad_gains in (ONE[:-1], ONE.astype(int), np.zeros(512, np.uint16)[::2]):
        with pytest.raises(SamplesError, match="gains_q15 is"):
            frontend.synthesise(mask, bad_gains)
    too_high = ONE.copy()
    too_high[128] = 32769
    with pytest.raises(SamplesError, match="32768"):
        frontend.synthesise(mask, too_high)
    assert not frontend.synthesise(mask, ONE).any()


@pytest.mark.parametrize("channels", [0, -1, 65])
def test_channel_counts_have_limits(channels: int) -> None:
    with pytest.raises(SettingsError, match=f"channels is {channels}: use 1 to 64"):
        Frontend(signals.contract(), channels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop_samples": 100}, "hop_samples is 100: use one of 32, 64, 128, 256"),
        ({"hop_samples": 128.0}, "hop_samples is 128.0: use a whole number"),
        ({"fade_samples": 256}, "fade_samples is 256: use one of"),
        ({"hop_samples": 64}, "longer than the hop of 64 samples"),
        ({"floor_rise_shift": 17}, "floor_rise_shift is 17: use 0 to 16"),
        ({"floor_fall_shift": True}, "floor_fall_shift is True: use a whole number"),
        ({"band_edges": (0, 255)}, r"band_edges is \[0, 255\]: it must start with 0"),
        ({"band_edges": (0, 9, 9, 256)}, "band_edges has 9 after 9"),
        ({"band_edges": 256}, "band_edges is 256: use a list"),
        ({"band_edges": (0, "1", 256)}, "band_edges is '1': use a whole number"),
    ],
)
def test_contracts_are_validated(change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {
        "hop_samples": 128,
        "fade_samples": 128,
        "band_edges": (0, 256),
        "floor_rise_shift": 8,
        "floor_fall_shift": 3,
    }
    with pytest.raises(SettingsError, match=message):
        FrameContract(**(fields | change))  # type: ignore[arg-type]


# --- gain tables -------------------------------------------------------------------------------


@given(
    st.floats(0, 100),
    st.floats(0, 1),
    st.sampled_from(["speech", "background"]),
)
def test_gain_tables_follow_the_settings(attenuation: float, wet: float, output: str) -> None:
    table = gain_table_q15(attenuation, wet, output)
    mask = np.minimum(np.arange(256) / 240, 1.0)
    target = np.maximum(mask, 10 ** (-attenuation / 20)) if output == "speech" else 1 - mask
    assert table.dtype == np.uint16 and table.max() <= 32768
    assert np.abs(table - 32768 * (1 + wet * (target - 1))).max() <= 1.5


def test_gain_tables_have_exact_ends() -> None:
    assert (gain_table_q15(100.0)[240:] == 32768).all() and gain_table_q15(100.0)[239] < 32768
    assert gain_table_q15(40.0)[0] == 328
    assert (gain_table_q15(0.0) == 32768).all() and (gain_table_q15(40.0, wet=0.0) == 32768).all()
    background = gain_table_q15(40.0, output="background")
    assert background[255] == 0 and background[0] == 32768
    # Speech without a floor and background add up to the input, byte by byte.
    speech = gain_table_q15(100.0).astype(int)
    assert (speech + background == 32768)[1:].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0,), "max_attenuation_db is -1.0: use 0 to 100"),
        ((float("nan"),), "max_attenuation_db is nan"),
        ((40.0, 1.5), "wet is 1.5: use 0 to 1"),
        ((40.0, 1.0, "speach"), "did you mean 'speech'"),
    ],
)
def test_bad_gain_settings_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        gain_table_q15(*arguments)


@needs_c
@given(st.integers(0, 32768), st.integers(0, 32768), st.booleans())
def test_the_core_s_gain_table_is_the_python_one(floor: int, wet: int, background: bool) -> None:
    ffi, lib = native.library()
    table = ffi.new("uint16_t[256]")
    assert lib.edgesep_gain_table(floor, wet, background, table) == 0
    db = -20 * np.log10(max(floor, 1) / 32768)
    output = "background" if background else "speech"
    expected = gain_table_q15(float(min(max(db, 0), 100)), wet / 32768, output)
    if background or floor > 0:
        assert list(table) == expected.tolist()
