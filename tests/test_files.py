"""edgesep file on real sound files: formats, rates, channels, lengths, alignment, stems."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from edgesep.audio.formats import output_format
from edgesep.audio.reader import AudioReader
from edgesep.cli import main
from tests.helpers import write_random_model
from tests.sound import FFMPEG, RATES_HZ, ROOT, best_shift, chirp, needs_ffmpeg, noise16, snr_db


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_random_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def isolate(model):
    """Run edgesep file in this process; the mask counts for nothing unless asked otherwise."""

    def run(source, target, *options, wet="0"):
        arguments = ["file", str(source), "-o", str(target), "--model", model, "--wet", wet]
        return main([*arguments, "--quiet", *options])

    return run


FORMATS = [
    ("wav", "WAV", "PCM_U8", 28),
    ("wav", "WAV", "PCM_16", 70),
    ("wav", "WAV", "PCM_24", 70),
    ("wav", "WAV", "PCM_32", 70),
    ("wav", "WAV", "FLOAT", 70),
    ("wav", "WAV", "DOUBLE", 70),
    ("wav", "WAVEX", "PCM_24", 70),
    ("wav", "WAV", "ULAW", 28),
    ("flac", "FLAC", "PCM_16", 70),
    ("flac", "FLAC", "PCM_24", 70),
    ("ogg", "OGG", "VORBIS", 15),
    ("opus", "OGG", "OPUS", 10),
    ("mp3", "MP3", "MPEG_LAYER_III", 10),
    ("aiff", "AIFF", "PCM_24", 70),
    ("w64", "W64", "PCM_16", 70),
    ("caf", "CAF", "PCM_16", 70),
    ("au", "AU", "PCM_16", 70),
]


@pytest.mark.parametrize("rate_hz", [16000, 48000])
@pytest.mark.parametrize(("suffix", "container", "subtype", "least_db"), FORMATS)
def test_formats_are_kept(isolate, tmp_path, suffix, container, subtype, least_db, rate_hz):
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    samples = chirp(rate_hz, 0.5, channels=2)[:-5]
    soundfile.write(source, samples, rate_hz, format=container, subtype=subtype)
    before, rate_before = soundfile.read(source)
    assert isolate(source, target) == 0
    old, new = soundfile.info(source), soundfile.info(target)
    assert (new.format, new.subtype) == (old.format, old.subtype)
    assert (new.samplerate, new.channels, new.frames) == (rate_before, 2, len(before))
    after, _ = soundfile.read(target)
    edge = rate_hz // 10
    for channel in range(2):
        assert best_shift(before[:, channel], after[:, channel]) == 0
        assert snr_db(before[edge:-edge, channel], after[edge:-edge, channel]) > least_db


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 6])
def test_rates_and_channels_are_kept(isolate, tmp_path, rate_hz, channels):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    samples = chirp(rate_hz, 0.3, channels)[:-1]
    soundfile.write(source, samples, rate_hz)
    assert isolate(source, target) == 0
    after, rate_after = soundfile.read(target, always_2d=True)
    assert after.shape == samples.shape and rate_after == rate_hz
    for channel in range(channels):
        assert best_shift(samples[:, channel], after[:, channel]) == 0


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", ["-ar", "44100", "-c:a", "pcm_s24le"]),
        ("a.flac", ["-ar", "96000", "-ac", "2"]),
        ("a.ogg", ["-ar", "32000", "-c:a", "libvorbis"]),
        ("a.opus", ["-ar", "48000", "-c:a", "libopus"]),
        ("a.mp3", ["-ar", "22050"]),
        ("a.aiff", ["-ar", "11025"]),
    ],
)
def test_files_of_ffmpeg_are_read(isolate, tmp_path, name, options):
    source, target = tmp_path / name, tmp_path / f"out.{name}"
    tone = ["-f", "lavfi", "-i", "sine=440:duration=0.7"]
    subprocess.run([FFMPEG, "-v", "error", *tone, *options, source], check=True)
    assert isolate(source, target) == 0
    assert soundfile.info(target).frames == soundfile.info(source).frames


@needs_ffmpeg
@pytest.mark.parametrize(("container", "suffix"), [("wav", "wav"), ("flac", "flac")])
def test_files_that_went_through_a_pipe_have_no_length_and_are_read(
    isolate, tmp_path, container, suffix
):
    tone = ["-f", "lavfi", "-i", "sine=440:duration=3", "-ar", "44100"]
    piped = subprocess.run(
        [FFMPEG, "-v", "error", *tone, "-f", container, "-"], check=True, capture_output=True
    )
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    source.write_bytes(piped.stdout)
    assert isolate(source, target) == 0
    assert soundfile.info(target).frames == 3 * 44100


@needs_ffmpeg
@pytest.mark.parametrize(
    ("loud", "options", "fits"),
    [("1", ["-b:a", "64k"], True), ("gt(t,2)", ["-q:a", "4"], True),
     ("lt(t,2)", ["-q:a", "4"], False)],
)  # fmt: skip
def test_an_mp3_without_a_length_is_read_whole_or_refused(
    isolate, tmp_path, capsys, loud, options, fits
):
    """libsndfile takes the first frame's bit rate for that of all and stops where it ends."""
    noise = f"anoisesrc=d=6:a=0.3,volume='{loud}':eval=frame"
    source, target = tmp_path / "in.mp3", tmp_path / "out.mp3"
    arguments = ["-f", "lavfi", "-i", noise, "-ar", "44100", "-write_xing", "0", *options]
    subprocess.run([FFMPEG, "-v", "error", *arguments, source], check=True)
    assert isolate(source, target) == (0 if fits else 1)
    if fits:
        assert soundfile.info(target).duration == pytest.approx(6, abs=0.1)
    else:
        assert "does not state its length" in capsys.readouterr().err


def test_several_ogg_streams_in_one_file_are_refused(isolate, tmp_path, capsys):
    """libsndfile reads the first one only."""
    soundfile.write(tmp_path / "one.ogg", noise16(8000), 16000)
    (tmp_path / "in.ogg").write_bytes((tmp_path / "one.ogg").read_bytes() * 2)
    assert isolate(tmp_path / "in.ogg", tmp_path / "out.ogg") == 1
    assert "several Ogg streams" in capsys.readouterr().err


@pytest.mark.slow
def test_memory_stays_small(model):
    """The benchmark of the long file, one minute of it: exits with 1 above 250 MB."""
    script = ROOT / "benchmarks" / "long_file.py"
    arguments = [sys.executable, script, "--minutes", "1", "--model", model]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "peak memory" in run.stdout


def test_16_khz_int16_keeps_every_bit_but_the_last(isolate, tmp_path):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    samples = noise16(20000, level=20000)
    samples[100:140] = 32767
    soundfile.write(source, samples, 16000)
    assert isolate(source, target) == 0
    after, _ = soundfile.read(target, dtype="int16", always_2d=True)
    assert np.abs(after.astype(int) - samples).max() <= 1


def test_the_same_input_gives_the_same_bytes(isolate, tmp_path):
    source = tmp_path / "in.wav"
    soundfile.write(source, chirp(44100, 0.5, 2), 44100)
    outs = [tmp_path / "one.wav", tmp_path / "two.wav"]
    assert [isolate(source, out, wet="1") for out in outs] == [0, 0]
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_wide_and_float_files_hear_the_same_as_int16(isolate, tmp_path):
    samples = noise16(8000)
    outs = []
    for subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        source, target = tmp_path / f"{subtype}.wav", tmp_path / f"{subtype}.out.wav"
        soundfile.write(source, samples / 32768, 16000, subtype=subtype)
        assert isolate(source, target, wet="1") == 0
        outs.append(soundfile.read(target)[0])
    for out in outs[1:]:
        np.testing.assert_array_equal(out, outs[0])


@pytest.mark.parametrize("frames", [1, 100, 127, 128, 129])
@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_files_shorter_than_a_hop_work(isolate, tmp_path, frames, rate_hz):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, noise16(frames), rate_hz)
    assert isolate(source, target) == 0
    assert soundfile.info(target).frames == frames


def test_floats_beyond_full_scale_are_clipped_and_counted(isolate, tmp_path, capsys):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    samples = np.zeros((4000, 1), np.float32)
    samples[1000:1007] = 1.5
    samples[2000] = 1.0  # full scale itself is nothing to warn about
    soundfile.write(source, samples, 16000, subtype="FLOAT")
    assert isolate(source, target) == 0
    assert "7 samples beyond full scale" in capsys.readouterr().err
    assert np.abs(soundfile.read(target)[0]).max() <= 1.0


@pytest.mark.parametrize("channels", [1, 2])
def test_stems_add_up_to_a_16_khz_int16_input(isolate, tmp_path, channels):
    source, folder = tmp_path / "in.wav", tmp_path / "new" / "parts"
    samples = noise16(16001, channels, level=12000)
    soundfile.write(source, samples, 16000)
    assert isolate(source, folder, "--stems", wet="1") == 0
    assert sorted(path.name for path in folder.iterdir()) == ["background.wav", "speech.wav"]
    stems = []
    for name in ("speech", "background"):
        info = soundfile.info(folder / f"{name}.wav")
        assert (info.samplerate, info.subtype, info.frames) == (16000, "PCM_16", 16001)
        stems.append(soundfile.read(folder / f"{name}.wav", dtype="int16", always_2d=True)[0])
    np.testing.assert_array_equal(stems[0].astype(int) + stems[1], samples)
    assert stems[0].any() and stems[1].any()


def test_speech_stem_is_the_speech_output(isolate, tmp_path):
    source = tmp_path / "in.wav"
    soundfile.write(source, noise16(9000), 16000)
    assert isolate(source, tmp_path / "parts", "--stems", wet="1") == 0
    assert isolate(source, tmp_path / "out.wav", wet="1") == 0
    stem, output = (
        soundfile.read(path, dtype="int16")[0]
        for path in (tmp_path / "parts" / "speech.wav", tmp_path / "out.wav")
    )
    np.testing.assert_array_equal(stem, output)


def test_stems_of_other_rates_are_16_khz_and_add_up_to_the_converted_input(isolate, tmp_path):
    source, folder = tmp_path / "in.flac", tmp_path / "parts"
    samples = chirp(44100, 1.0)
    soundfile.write(source, samples, 44100, subtype="PCM_24")
    assert isolate(source, folder, "--stems", wet="1") == 0
    stems = [soundfile.read(folder / f"{n}.wav", dtype="int16") for n in ("speech", "background")]
    assert [rate for _, rate in stems] == [16000, 16000]
    together = stems[0][0].astype(int) + stems[1][0]
    expected = chirp(16000, 1.0)[:, 0] * 32768
    assert len(together) == 16000
    assert snr_db(expected[800:-800], together[800:-800]) > 60


@pytest.mark.parametrize(
    ("old", "subtype", "name", "expected"),
    [
        ("WAV", "PCM_16", "b.flac", ("FLAC", "PCM_16")),
        ("WAV", "FLOAT", "b.flac", ("FLAC", "PCM_24")),
        ("WAV", "PCM_24", "b.ogg", ("OGG", "VORBIS")),
        ("FLAC", "PCM_24", "b.wav", ("WAV", "PCM_24")),
        ("OGG", "VORBIS", "b.wav", ("WAV", "PCM_16")),
        ("OGG", "VORBIS", "b.opus", ("OGG", "OPUS")),
        ("WAVEX", "PCM_24", "b.wave", ("WAVEX", "PCM_24")),
    ],
)
def test_another_suffix_asks_for_another_format(tmp_path, old, subtype, name, expected):
    form = output_format(tmp_path / "a", old, subtype, 16000, 1, 1000, tmp_path / name)
    assert (form.container, form.subtype) == expected


def test_another_suffix_is_written(isolate, tmp_path):
    source, target = tmp_path / "in.wav", tmp_path / "out.flac"
    soundfile.write(source, noise16(4000, 2), 16000)
    assert isolate(source, target) == 0
    assert soundfile.info(target).format == "FLAC"


def test_wav_beyond_4_gb_becomes_rf64(tmp_path):
    frames = 3 * 3600 * 192000
    wav = tmp_path / "a.wav"
    assert output_format(wav, "WAV", "PCM_16", 192000, 1, frames, wav).container == "WAV"
    assert output_format(wav, "WAV", "PCM_16", 192000, 2, frames, wav).container == "RF64"


def test_blocks_are_small_whatever_the_number_of_channels(tmp_path):
    source = tmp_path / "in.wav"
    soundfile.write(source, np.zeros((30000, 60), np.int16), 16000)
    with AudioReader(source) as reader:
        assert max(block.nbytes for block in reader.blocks()) <= 1 << 19
