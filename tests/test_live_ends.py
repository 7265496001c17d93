"""The ends of the live path: C and its twin give the same sound, and C stays in its memory."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgesep import native
from edgesep.audio.live_ends import open_ends
from edgesep.errors import SamplesError
from tests.sound import noise16

ROOT = Path(__file__).parents[1]
HOP = 128
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion",
         "-Wshadow", "-Werror"]  # fmt: skip

QUICK_AND_SLOW_HZ = [8000, 44100, *(pytest.param(rate_hz, marks=pytest.mark.slow)
                                    for rate_hz in (16000, 48000, 192000))]  # fmt: skip

needs_core = pytest.mark.skipif(not native.available(), reason="the C core is not built")


def ends(backend, in_hz=48000, out_hz=48000, channel="mix", in_channels=1, out_channels=1):
    inside = 2 if channel == "link" else 1
    return open_ends(HOP, inside, channel, ((in_hz, in_channels), (out_hz, out_channels)),
                     round(0.01 * out_hz), -6.0, backend)  # fmt: skip


def blocks(samples, seed=3):
    """Cut samples into blocks of any length."""
    rng = np.random.default_rng(seed)
    at = 0
    while at < len(samples):
        size = int(rng.integers(1, 900))
        yield samples[at : at + size]
        at += size


def hops(entry, samples):
    found = [hop.copy() for block in blocks(samples) for hop in entry.push(block)]
    return np.concatenate(found, axis=1), entry.meter.read_dbfs()


@needs_core
@pytest.mark.parametrize(("channel", "channels"), [("mix", 1), ("mix", 2), ("mix", 4), ("1", 3),
                                                   ("link", 2)])  # fmt: skip
@pytest.mark.parametrize("rate_hz", QUICK_AND_SLOW_HZ)
def test_hops_are_the_same_in_c_and_numpy(rate_hz, channel, channels):
    samples = noise16(rate_hz, channels, level=9000)
    results = [hops(ends(backend, in_hz=rate_hz, channel=channel, in_channels=channels)[0], samples)
               for backend in ("c", "numpy")]  # fmt: skip
    (ours, level), (twin, twin_level) = results
    assert ours.shape == twin.shape and ours.shape[1] > 16000 - 2 * HOP
    difference = np.abs(ours.astype(int) - twin)
    assert difference.max() <= 1  # a sum of floats in another order, rounded
    assert difference.mean() < 1e-3
    assert (ours == twin).all() or rate_hz != 16000
    assert level == pytest.approx(twin_level, abs=0.05)  # C counts the unfinished hop too


@needs_core
@pytest.mark.parametrize(("channel", "channels"), [("mix", 1), ("mix", 2), ("link", 2),
                                                   ("link", 1), ("link", 4)])  # fmt: skip
@pytest.mark.parametrize("rate_hz", QUICK_AND_SLOW_HZ)
def test_frames_are_the_same_in_c_and_numpy(rate_hz, channel, channels):
    """Quiet, loud, louder than the ceiling; opened, closed, and stretched all the while."""
    inside = 2 if channel == "link" else 1
    both = [ends(backend, out_hz=rate_hz, channel=channel, out_channels=channels)[1]
            for backend in ("c", "numpy")]  # fmt: skip
    rng = np.random.default_rng(0)
    streams = ([], [])
    for index in range(400):
        level = 25000 if index % 50 < 15 else 1500
        hop = noise16(HOP, inside, seed=index, level=level).T.copy()
        stretch, is_open = 1 + rng.uniform(-0.004, 0.004), rng.random() < 0.9
        if index % 100 == 99:
            both[0].limiter.set_ceiling(-10.0)
            both[1].limiter.set_ceiling(-10.0)
        for end, stream in zip(both, streams, strict=True):
            end.fader.open = is_open
            stream.append(end.push(hop, stretch))
            assert end.fader.closed == both[0].fader.closed
    ours, twin = (np.concatenate(stream).astype(int) for stream in streams)
    assert abs(len(ours) - len(twin)) <= 1 and ours.shape[1] == channels
    short = min(len(ours), len(twin))
    difference = np.abs(ours[:short] - twin[:short])
    assert difference.max() <= 1
    assert difference.mean() < 2e-3
    assert both[0].limiter.limited_frames == pytest.approx(both[1].limiter.limited_frames, abs=2)
    assert both[0].limiter.limited_frames > 1000
    assert both[0].meter.read_dbfs() == pytest.approx(both[1].meter.read_dbfs(), abs=0.001)
    assert both[0].delay_s == both[1].delay_s


@needs_core
def test_a_block_of_other_channels_is_refused():
    entry = ends("c", in_channels=2)[0]
    with pytest.raises(SamplesError, match="a block of 2 channels, not 1"):
        list(entry.push(noise16(100, 1)))


DRIVER = """
#include <stdio.h>
#include "edgesep_live.h"
#include "edgesep_live_io.h"
static float table[258 * 48], history[2 * 303], weights[48];
static int32_t late[2 * 72], needed[73], lowest[72];
int main(void) {
    edgesep_live_out out = {.resampler = {table, history, weights, 1.0 / 3, 0, 48, 2, 303, 47},
        .late = late, .needed = needed, .lowest = lowest, .lowest_sum = 72LL << 24,
        .fade_frames = 480, .fade_open = 1, .ceiling = 16000, .release_q24 = 3495,
        .recovering = 1 << 24, .lookahead = 72, .device_channels = 2, .quiet = 999};
    int16_t hop[2 * 128], frames[2 * 400];
    long total = 0;
    for (int i = 0; i < 258 * 48; i++) table[i] = i % 48 == 24 ? 1.0f : 0;
    for (int i = 0; i < 73; i++) needed[i] = 1 << 24;
    for (int i = 0; i < 72; i++) lowest[i] = 1 << 24;
    for (int n = 0; n < 2000; n++) {
        for (int i = 0; i < 256; i++) hop[i] = (int16_t)((n / 20 % 2 ? 32767 : 900) * (i % 3 - 1));
        out.fade_open = n % 40 != 7;
        int got = edgesep_live_push(&out, hop, 128, 1 + (n % 9 - 4) * 1e-3, frames, 400);
        if (got < 0) return 1;
        for (int i = 0; i < 2 * got; i++) if (frames[i] > 16000 || frames[i] < -16000) return 2;
        total += got;
    }
    if (edgesep_live_push(&out, hop, 999, 1, frames, 400) != EDGESEP_BAD_ARGUMENT) return 3;
    if (edgesep_live_push(&out, hop, 128, -1, frames, 400) != EDGESEP_BAD_ARGUMENT) return 4;
    printf("%ld", total);
    edgesep_live_in in = {.resampler = {table, history, weights, 3, 0, 48, 1, 303, 47},
        .hop = hop, .hop_samples = 128, .device_channels = 2, .choice = EDGESEP_CHANNEL_MIX};
    int32_t used = 0;
    long full = 0;
    for (int n = 0; n < 3000; n++)
        for (int at = 0; at < 400; at += used)
            full += edgesep_live_pull(&in, frames + 2 * at, 400 - at, &used);
    in.choice = 5;
    if (edgesep_live_pull(&in, frames, 400, &used) != EDGESEP_BAD_ARGUMENT) return 5;
    printf(" %ld", full);
    static float falling[32], rising[32], last[2];
    static int16_t kept[2 * 97], given[2 * 97];
    edgesep_outlet io = {.ring = {.frames = kept, .capacity = 97, .channels = 2},
        .falling = falling, .rising = rising, .last = last, .repair = 32, .rate_hz = 8000,
        .step_frames = 40, .refill_frames = 60, .headroom_frames = INT32_MAX, .dry = 1};
    edgesep_inlet mic = {.ring = {.frames = given, .capacity = 97, .channels = 2}, .bell = -1};
    for (unsigned n = 0; n < 20000; n++) {
        edgesep_ring_write(&io.ring, hop, (int32_t)(n * 7 % 60));
        if (edgesep_outlet_call(0, frames, n * 13 % 61, 0, 0, &io)) return 6;
        if (edgesep_inlet_call(hop, 0, n * 11 % 120, 0, 0, &mic)) return 7;
        edgesep_ring_read(&mic.ring, n % 3 ? frames : 0, (int32_t)(n * 17 % 99));
        const int32_t left = edgesep_ring_available(&mic.ring);
        if (left < 0 || left > 97) return 8;
    }
    return io.starvations < 100 || mic.lost_frames < 100;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_and_sanitizers_find_nothing(compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed (apt install {compiler})")
    (tmp_path / "driver.c").write_text(DRIVER)
    sources = [ROOT / "edgesep" / "audio" / f"edgesep_{name}.c" for name in ("live", "live_io")]
    folders = [f"-I{ROOT / 'edgesep' / name}" for name in ("audio", "core")]
    subprocess.run([compiler, *FLAGS, *folders, "-c", *sources], cwd=tmp_path, check=True)
    sanitizers = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    built = subprocess.run(
        [compiler, "-std=c99", *sanitizers, *folders, *sources, "driver.c", "-o", "driver"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "cannot find" in built.stderr:
        pytest.skip(f"{compiler} has no sanitizer runtime here")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "driver"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frames, full = map(int, done.stdout.split())
    assert frames == pytest.approx(2000 * 384, rel=0.001)
    assert full == pytest.approx(3000 * 400 / 3 / 128, abs=2)
