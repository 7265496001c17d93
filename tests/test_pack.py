"""Packed corpora: what is read back is what was packed, bit for bit, piece by piece."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("scipy", reason="mixing needs SciPy: pip install -e .[export]")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

from edgesep.errors import AudioFileError
from export.cli import main
from export.corpus import Corpus
from export.feed import batches
from export.gather import pack_corpus, packed_sources, prepare_corpora
from export.pack import SMALLEST_PIECE_MIB, Pieces, PieceWriter
from export.recipe import load_recipe

RATE_HZ = 16000
KINDS = ("speech", "noise")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Clips of many lengths, full-scale noise included, which FLAC cannot make smaller."""
    rng = np.random.default_rng(1)
    clips = [
        rng.integers(-(2**15), 2**15, length) if i % 3 else 800 * np.sin(np.arange(length) / 9)
        for i, length in enumerate(rng.integers(3200, 60000, 20))
    ]
    names = [f"vöice{i // 4}_{i}.wav" for i in range(len(clips))]
    return Corpus.of([clip.astype(np.int16) for clip in clips], names)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech and noise without a split."""
    root = tmp_path_factory.mktemp("folders")
    for kind in KINDS:
        (root / kind).mkdir()
        for i in range(6):
            sound = 0.1 * np.random.default_rng([len(kind), i]).standard_normal(2 * RATE_HZ)
            soundfile.write(root / kind / f"{'abcdef'[i]}_1.wav", sound, RATE_HZ)
    return root


@pytest.fixture(scope="module")
def packed(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "corpus"
    arguments = ["--speech", str(folders / "speech"), "--noise", str(folders / "noise")]
    arguments += ["-o", str(out), "--piece-mib", "0.0625"]
    assert main(["pack", *arguments]) == 0
    return out


@pytest.mark.parametrize("codec", ["pcm", "flac"])
def test_reading_back_equals_packing(tmp_path: Path, corpus: Corpus, codec: str) -> None:
    pack_corpus(corpus, tmp_path, "speech-train", codec, SMALLEST_PIECE_MIB)
    pieces = sorted(tmp_path.glob(f"*.{codec}"))
    assert len(pieces) > 5
    assert all(path.stat().st_size <= SMALLEST_PIECE_MIB * 2**20 for path in pieces)
    for _ in range(2):  # FLAC is unpacked the first time
        back = Corpus.load(tmp_path / "speech-train.npz")
        assert back.names == corpus.names and back.hours == corpus.hours
        assert np.array_equal(back.weights, corpus.weights)
        for i in range(len(corpus)):
            assert np.array_equal(back.clip(i), corpus.clip(i))
        assert np.array_equal(back.samples[0 : len(back.samples)], corpus.samples)


def test_mapped_pieces_are_not_read_into_memory(tmp_path: Path, corpus: Corpus) -> None:
    pack_corpus(corpus, tmp_path, "x", "pcm", SMALLEST_PIECE_MIB)
    part = Corpus.load(tmp_path / "x.npz").samples[10:20]
    base = part
    while not isinstance(base, np.memmap):
        assert base.base is not None, "a copy"
        base = base.base


def test_slices_run_on_from_piece_to_piece() -> None:
    whole = np.arange(100, dtype=np.int16)
    pieces = Pieces(np.split(whole, [1, 40, 41, 99]))
    rng = np.random.default_rng(0)
    for start, stop in [(0, 100), (40, 41), (7, 7), (99, 200), *rng.integers(0, 101, (50, 2))]:
        assert np.array_equal(pieces[start:stop], whole[start:stop])
    with pytest.raises(ValueError, match="steps of 1"):
        pieces[0:10:2]


def test_any_writing_gives_the_same_pieces(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).integers(-3000, 3000, 200_000).astype(np.int16)
    made = []
    for name, size in (("a", 200_000), ("b", 777)):
        (tmp_path / name).mkdir()
        writer = PieceWriter(tmp_path / name, "s", "pcm", SMALLEST_PIECE_MIB)
        for start in range(0, len(sound), size):
            writer.write(sound[start : start + size])
        made.append(writer.close())
    assert made[0] == made[1] and sum(piece.samples for piece in made[0]) == len(sound)


def test_missing_and_cut_off_pieces_are_named(tmp_path: Path, corpus: Corpus) -> None:
    pack_corpus(corpus, tmp_path, "x", "pcm", SMALLEST_PIECE_MIB)
    (tmp_path / "x-002.pcm").unlink()
    (tmp_path / "x-004.pcm").write_bytes(b"1234")
    with pytest.raises(AudioFileError) as error:
        Corpus.load(tmp_path / "x.npz")
    assert "x-002.pcm is missing, x-004.pcm has 4 of 65536 bytes" in str(error.value)


def test_a_changed_flac_piece_is_refused(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).integers(-3000, 3000, 16000).astype(np.int16)
    pack_corpus(Corpus.of([sound], ["a"]), tmp_path, "x", "flac", 1.0)
    path = tmp_path / "x-000.flac"
    size = path.stat().st_size
    soundfile.write(path, sound[::-1], RATE_HZ)
    path.write_bytes(path.read_bytes()[:size].ljust(size, b"\0"))
    with pytest.raises(AudioFileError, match="not those that were packed"):
        Corpus.load(tmp_path / "x.npz")


def test_the_packed_folder_trains_like_the_folders(
    folders: Path, packed: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("nano-16ms")
    recipe = replace(recipe, training=replace(recipe.training, batch=2, clip_s=0.5))
    read = prepare_corpora(folders / "speech", folders / "noise", tmp_path)
    carried = packed_sources(packed)
    for split in ("train", "dev"):
        a, b = (next(batches(s[split], recipe, 3, workers=0)) for s in (read, carried))
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_pack_names_what_is_wrong(
    folders: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--speech", str(folders / "speech"), "--noise", str(folders / "noise")]
    assert main(["pack", *both, "-o", str(packed)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["pack", *both, "-o", str(tmp_path / "p"), "--held-out", "1"]) == 1
    assert "held-out share 1.0" in capsys.readouterr().err
    assert main(["pack", *both, "-o", str(folders / "noise" / "p")]) == 1
    assert "lies in" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    broken = [str(folders / "speech"), "--noise", str(tmp_path / "empty")]
    assert main(["pack", "--speech", *broken, "-o", str(tmp_path / "p")]) == 1
    assert "no audio files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]  # nothing half-written
    with pytest.raises(AudioFileError, match=r"speech-train\.npz, speech-dev\.npz.*missing"):
        packed_sources(tmp_path)
    assert main(["train", "nano-16ms", *both, "--packed", str(packed)]) == 1
    assert "--packed holds speech and noise" in capsys.readouterr().err
    assert main(["train", "nano-16ms", "--speech", str(packed)]) == 1
    assert "--noise DIR" in capsys.readouterr().err


@pytest.mark.slow
def test_training_imports_little() -> None:
    """What docs/corpora.md says has to be carried to a machine without a network."""
    lacking = "tensorflow torch ai_edge_litert tflite_runtime flatbuffers pesq pystoi matplotlib"
    code = (
        "import sys, export.cli, export.train; export.cli.build_parser();"
        f"unwanted = set({(lacking + ' keras jax').split()});"
        "sys.exit(' '.join(sorted(unwanted & set(sys.modules))) or None)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)
