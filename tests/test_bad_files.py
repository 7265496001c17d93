"""Bad input and bad targets: one clear line, a non-zero status, and nothing left behind."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgesep.cli import main
from tests.helpers import write_random_model
from tests.sound import ROOT, environment, noise16, said

as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to mount and to change user"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def fails(model, capsys):
    """Run edgesep file, check that it fails with one error line, and return that line."""

    def run(source, target, *options, use=model):
        folder = Path(target).parent
        before = sorted(folder.rglob("*")) if folder.is_dir() else []
        status = main(["file", str(source), "-o", str(target), "--model", str(use), *options])
        lines = said(capsys.readouterr().err)
        assert status in (1, 2)
        assert len(lines) == 1 and lines[0].startswith("edgesep: error: ")
        assert (sorted(folder.rglob("*")) if folder.is_dir() else []) == before
        return lines[0]

    return run


def write(path, frames=8000, **options):
    soundfile.write(path, noise16(frames), 16000, **options)
    return path


def test_missing(fails, tmp_path):
    assert "no such file" in fails(tmp_path / "none.wav", tmp_path / "out.wav")


def test_empty(fails, tmp_path):
    (tmp_path / "in.wav").touch()
    assert "empty (0 bytes)" in fails(tmp_path / "in.wav", tmp_path / "out.wav")


def test_not_audio(fails, tmp_path):
    for name in ("in.wav", "in.ogg", "in.raw", "in"):
        (tmp_path / name).write_bytes(b"just some text, long enough to be read as a header" * 9)
        assert "not audio, or damaged" in fails(tmp_path / name, tmp_path / f"{name}.out.wav")


def test_an_unprintable_name_stays_on_one_line(fails, tmp_path):
    (tmp_path / "two\nlines.wav").touch()
    assert r"two\nlines.wav: empty" in fails(tmp_path / "two\nlines.wav", tmp_path / "out.wav")


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("aiff", "PCM_16"),
     ("mp3", "MPEG_LAYER_III"), ("rf64", "PCM_16"), ("w64", "PCM_16"), ("caf", "PCM_16"),
     ("au", "PCM_16")],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.95, 0.5])
def test_truncated(fails, tmp_path, suffix, subtype, share):
    source = write(tmp_path / f"in.{suffix}", 160000, subtype=subtype)
    os.truncate(source, int(source.stat().st_size * share))
    assert "truncated" in fails(source, tmp_path / f"out.{suffix}")


def test_truncated_inside_the_header(fails, tmp_path):
    source = write(tmp_path / "in.wav")
    os.truncate(source, 30)
    assert "truncated (it ends before its sound begins)" in fails(source, tmp_path / "out.wav")


def test_damaged_inside(fails, tmp_path):
    source = write(tmp_path / "in.flac", 200000)
    content = bytearray(source.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20000] = bytes(20000)
    source.write_bytes(content)
    assert "damaged or truncated" in fails(source, tmp_path / "out.flac")


@pytest.mark.parametrize("placeholder", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_sizes_that_recorders_leave_open_are_no_error(tmp_path, model, placeholder):
    """arecord, sox and ffmpeg write these where they cannot go back to the header."""
    source = write(tmp_path / "in.wav")
    content = bytearray(source.read_bytes())
    content[40:44] = struct.pack("<I", placeholder)
    source.write_bytes(content)
    assert main(["file", str(source), "-o", str(tmp_path / "out.wav"), "--model", str(model)]) == 0
    assert soundfile.info(tmp_path / "out.wav").frames == 8000


@pytest.mark.parametrize(("value", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_not_finite(fails, tmp_path, value, text, rate_hz):
    samples = np.zeros((150000, 2), np.float32)
    samples[140001, 1] = value
    soundfile.write(tmp_path / "in.wav", samples, rate_hz, subtype="FLOAT")
    line = fails(tmp_path / "in.wav", tmp_path / "out.wav")
    assert f"sample 140001 is {text}" in line


def test_zero_length(fails, tmp_path):
    write(tmp_path / "in.wav", 0)
    assert "holds no samples" in fails(tmp_path / "in.wav", tmp_path / "out.wav")


@pytest.mark.parametrize("rate_hz", [7999, 192001])
def test_unsupported_rate(fails, tmp_path, rate_hz):
    soundfile.write(tmp_path / "in.wav", noise16(8000), rate_hz)
    assert f"sampled at {rate_hz} Hz" in fails(tmp_path / "in.wav", tmp_path / "out.wav")


def test_too_many_channels(fails, tmp_path):
    soundfile.write(tmp_path / "in.wav", noise16(800, 65), 16000)
    line = fails(tmp_path / "in.wav", tmp_path / "out.wav")
    assert "in.wav: " in line and "65" in line


def test_input_is_no_regular_file(fails, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in fails(tmp_path / "fifo", tmp_path / "out.wav")


def test_target_exists(fails, tmp_path, model):
    source, target = write(tmp_path / "in.wav"), tmp_path / "out.wav"
    target.write_bytes(b"precious")
    assert "exists already" in fails(source, target)
    assert target.read_bytes() == b"precious"
    assert main(["file", str(source), "-o", str(target), "--model", str(model), "--force"]) == 0
    assert soundfile.info(target).frames == 8000


def test_a_stem_exists(fails, tmp_path):
    source = write(tmp_path / "in.wav")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "background.wav").write_bytes(b"precious")
    assert "background.wav: exists already" in fails(source, tmp_path / "parts", "--stems")


def test_output_is_input(fails, tmp_path, model):
    source = write(tmp_path / "in.wav")
    original = source.read_bytes()
    os.link(source, tmp_path / "same.wav")
    (tmp_path / "link.wav").symlink_to(source)
    for target in (source, tmp_path / "same.wav", tmp_path / "link.wav"):
        assert "input and output are the same file" in fails(source, target)
    assert source.read_bytes() == original
    assert main(["file", str(source), "-o", str(source), "--model", str(model), "--force"]) == 0
    assert soundfile.info(source).frames == 8000 and source.read_bytes() != original


def test_target_is_a_folder_or_its_folder_is_missing(fails, tmp_path):
    source = write(tmp_path / "in.wav")
    (tmp_path / "out" / "in.wav").mkdir(parents=True)
    assert "a folder of that name is in the way" in fails(source, tmp_path / "out")
    assert "there is no folder" in fails(source, tmp_path / "none" / "out.wav")
    assert "a folder is needed" in fails(source, source, "--stems")


def test_target_without_a_known_suffix(fails, tmp_path):
    source = write(tmp_path / "in.wav")
    assert "which format" in fails(source, tmp_path / "out.xyz")


def test_target_that_cannot_hold_the_sound(fails, tmp_path):
    soundfile.write(tmp_path / "in.wav", noise16(800, 10), 16000)
    assert "cannot hold 10 channels" in fails(tmp_path / "in.wav", tmp_path / "out.flac")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_device_is_never_replaced(fails, tmp_path):
    """Renaming over it would turn the device into a file for the whole machine."""
    device = os.stat("/dev/full")
    (tmp_path / "out.wav").symlink_to("/dev/full")
    for options in ([], ["--force"]):
        line = fails(write(tmp_path / "in.wav"), tmp_path / "out.wav", *options)
        assert "a device or pipe" in line
    assert os.path.samestat(device, os.stat("/dev/full"))


@as_root
def test_permissions(fails, model):
    with tempfile.TemporaryDirectory() as name, as_nobody(Path(name), model) as folder:
        fails = partial(fails, use=folder / model.name)
        source = write(folder / "in.wav")
        (folder / "locked").mkdir(mode=0o555)
        assert "Permission denied" in fails(source, folder / "locked" / "out.wav")
        assert "Permission denied" in fails(source, folder / "locked" / "new", "--stems")
        source.chmod(0)
        assert "in.wav: cannot be opened (Permission denied)" in fails(source, folder / "o.wav")


@contextmanager
def as_nobody(folder, model):
    """Give `folder`, with a copy of the model, to nobody, and be nobody for a while."""
    for path in (model, model.with_suffix(".json")):
        shutil.copy(path, folder)
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(0)


@pytest.fixture
def small_disk(tmp_path):
    """Yield a folder on a disk of 200 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    arguments = [mount, "-t", "tmpfs", "-o", "size=200k", "edgesep-test", folder]
    if not mount or subprocess.run(arguments, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@as_root
@pytest.mark.parametrize(
    "suffix", ["wav", "flac", pytest.param("ogg", marks=pytest.mark.slow), "aiff"]
)
def test_full_disk(fails, tmp_path, small_disk, suffix):
    seconds = 60 if suffix == "ogg" else 10
    source = write(tmp_path / f"in.{suffix}", 16000 * seconds)
    line = fails(source, small_disk / f"out.{suffix}", "--wet", "0")
    assert "disk full: make room in" in line


@as_root
@pytest.mark.parametrize("missing_pages", [1, 2, 3])
def test_disk_that_fills_up_when_the_encoder_is_closed(fails, tmp_path, small_disk, missing_pages):
    """The last FLAC frame and the header are written then, and libsndfile says nothing."""
    source = write(tmp_path / "in.flac", 16000)
    pages = -(-source.stat().st_size // 4096)  # the output of --wet 0 needs as many
    (small_disk / "filler").write_bytes(bytes((50 - pages + missing_pages) * 4096))
    assert "disk full" in fails(source, small_disk / "out.flac", "--wet", "0")


@as_root
def test_full_disk_spares_the_file_that_was_to_be_replaced(fails, tmp_path, small_disk):
    source = write(tmp_path / "in.wav", 160000)
    (small_disk / "out.wav").write_bytes(b"precious")
    assert "disk full" in fails(source, small_disk / "out.wav", "--force")
    assert (small_disk / "out.wav").read_bytes() == b"precious"


def test_unknown_model(fails, tmp_path):
    source = write(tmp_path / "in.wav")
    assert "unknown model 'smal-16ms'" in fails(source, tmp_path / "out.wav", use="smal-16ms")
    assert "no such model file" in fails(source, tmp_path / "out.wav", use=tmp_path / "m.tflite")


def test_damaged_model(fails, tmp_path, model):
    source, copy = write(tmp_path / "in.wav"), tmp_path / "m.tflite"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    shutil.copy(model.with_suffix(".json"), copy.with_suffix(".json"))
    assert "m.tflite: damaged" in fails(source, tmp_path / "out.wav", use=copy)


def test_card_that_does_not_fit(fails, tmp_path, model):
    source, copy = write(tmp_path / "in.wav"), tmp_path / "m.tflite"
    shutil.copy(model, copy)
    assert "m.json" in fails(source, tmp_path / "out.wav", use=copy)
    card = model.with_suffix(".json").read_text()
    copy.with_suffix(".json").write_text(card.replace('"taps": 2', '"taps": 3'))
    line = fails(source, tmp_path / "out.wav", use=copy)
    assert "m.tflite" in line or "m.json" in line


@pytest.mark.slow
def test_hostile_models_and_cards_end_in_a_line_or_run():
    """A few of many: `python -m tests.fuzz_models 0 2000`."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz_models", "0", "40"],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-400:] + run.stderr[-400:]


def test_a_card_may_not_ask_for_all_memory(fails, tmp_path, model):
    source, copy = write(tmp_path / "in.wav"), tmp_path / "m.tflite"
    shutil.copy(model, copy)
    card = model.with_suffix(".json").read_text()
    copy.with_suffix(".json").write_text(card.replace('"dilation": 3', '"dilation": 1000000000'))
    line = fails(source, tmp_path / "out.wav", use=copy)
    assert "m.json: the states take" in line and "check taps, dilation" in line


def test_a_model_or_card_that_never_ends(fails, tmp_path, model, monkeypatch):
    source, copy = write(tmp_path / "in.wav"), tmp_path / "m.tflite"
    shutil.copy(model, copy)
    os.mkfifo(tmp_path / "m.json")
    assert "m.json: not a model card: not a regular file" in fails(
        source, tmp_path / "out.wav", use=copy
    )
    (tmp_path / "m.json").unlink()
    shutil.copy(model.with_suffix(".json"), tmp_path / "m.json")
    monkeypatch.setattr("edgesep.models.MAX_MODEL_BYTES", 1000)
    assert "m.tflite: not a model for this: larger than" in fails(
        source, tmp_path / "out.wav", use=copy
    )
