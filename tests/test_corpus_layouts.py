"""Public corpora, each in its own layout: who speaks, what is noise, what is held out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("scipy", reason="mixing needs SciPy: pip install -e .[export]")
pytest.importorskip("tqdm", reason="reading folders needs tqdm: pip install -e .[export]")

from edgesep.errors import AudioFileError, SettingsError
from export.cli import main
from export.corpus import Corpus
from export.gather import Selection, gather, prepare_corpora
from export.layouts import LAYOUTS, find, held_out, kinds_of

RATE_HZ = 16000


def fill(root: Path, names: Iterable[str], rate_hz: int = RATE_HZ, seconds: float = 0.4) -> Path:
    """Write a different broadband sound under each name."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([i, len(name)])
        soundfile.write(
            root / name, 0.1 * rng.standard_normal(int(seconds * rate_hz)), rate_hz, format="WAV"
        )
    return root


def librispeech(root: Path, *parts: str) -> Path:
    return fill(
        root,
        [
            f"{part}/{speaker}/{speaker + 7}/{speaker}-{speaker + 7}-{utterance:04d}.wav"
            for part in parts
            for speaker in range(100 + 10 * len(part), 104 + 10 * len(part))
            for utterance in range(2)
        ],
    )


def layout_and_owners(folder: Path, kind: str) -> tuple[str, dict[str, int]]:
    found = find(folder, kind)
    owners: dict[str, int] = {}
    for item in found.recordings:
        owners[item.owner] = owners.get(item.owner, 0) + 1
    return found.layout, owners


def test_librispeech_speakers_are_the_first_number(tmp_path: Path) -> None:
    root = librispeech(tmp_path / "LibriSpeech", "train-clean-100")
    layout, owners = layout_and_owners(root, "speech")
    assert layout == "librispeech" and len(owners) == 4 and set(owners.values()) == {2}
    assert layout_and_owners(root / "train-clean-100", "speech") == (layout, owners)
    with pytest.raises(AudioFileError, match=r"LibriSpeech layout, no noise in it"):
        find(root, "noise")


def test_librispeech_keeps_its_own_split_and_its_test_sets_out(tmp_path: Path) -> None:
    root = librispeech(tmp_path / "L", "train-clean-100", "dev-clean", "test-other")
    found = find(root, "speech")
    splits = {item.split for item in found.recordings}
    assert splits == {"train", "dev"} and found.left_out == {"of the test sets": 8}
    # Half a split is none: what is named alone is all there is.
    assert {item.split for item in find(root / "dev-clean", "speech").recordings} == {""}
    assert len(find(root / "test-other", "speech").recordings) == 8


def test_vctk_takes_one_microphone_of_each_speaker(tmp_path: Path) -> None:
    names = [
        f"wav48/{s}/{s}_{i:03d}_mic{m}.wav" for s in ("p225", "s5") for i in (1, 2) for m in (1, 2)
    ]
    root = fill(tmp_path / "VCTK", names)
    assert layout_and_owners(root, "speech") == ("vctk", {"p225": 2, "s5": 2})
    assert find(root, "speech").left_out == {"second microphone": 4}


def test_voicebank_mixtures_and_test_set_are_no_clean_speech(tmp_path: Path) -> None:
    names = [
        f"{folder}/{speaker}_{i:03d}.wav"
        for folder in ("clean_trainset_28spk_wav", "noisy_trainset_28spk_wav")
        for speaker in ("p226", "p228", "p231")
        for i in (1, 2)
    ]
    root = fill(tmp_path / "VB", [*names, "clean_testset_wav/p232_001.wav"])
    found = find(root, "speech")
    assert found.layout == "voicebank"
    assert {item.owner for item in found.recordings} == {"p226", "p228", "p231"}
    assert found.left_out == {"noisy mixtures": 6, "of the test set": 1}
    with pytest.raises(AudioFileError, match="noisy mixtures"):
        find(root / "noisy_trainset_28spk_wav", "speech")


def musan(root: Path) -> Path:
    names = [f"noise/free-sound/noise-free-sound-{i:04d}.wav" for i in range(3)]
    names += [f"music/fma/music-fma-{i:04d}.wav" for i in range(2)]
    return fill(root, [*names, *(f"speech/librivox/speech-librivox-{i:04d}.wav" for i in range(4))])


def test_musan_speech_is_never_noise(tmp_path: Path) -> None:
    root = musan(tmp_path / "musan")
    noise = find(root, "noise")
    assert noise.layout == "musan" and len(noise.recordings) == 5
    assert not any("speech" in item.name for item in noise.recordings)
    assert noise.left_out == {"speech": 4}
    assert len(find(root, "speech").recordings) == 4
    with pytest.raises(AudioFileError, match=r"MUSAN layout, no noise in it \(4 speech\)"):
        find(root / "speech", "noise")
    # Neither in a folder of one's own that looks like it.
    own = fill(tmp_path / "own", ["noise/fan.wav", "speech/anna.wav"])
    assert [item.name for item in find(own, "noise").recordings] == ["noise/fan.wav"]


def test_demand_gives_one_channel_per_environment(tmp_path: Path) -> None:
    names = [f"{e}/ch{c:02d}.wav" for e in ("DKITCHEN", "PCAFETER") for c in range(1, 5)]
    root = fill(tmp_path / "DEMAND", names)
    assert layout_and_owners(root, "noise") == ("demand", {"DKITCHEN": 1, "PCAFETER": 1})
    assert find(root, "noise").left_out == {"further channels": 6}


def test_dns_challenge_parts_and_readers(tmp_path: Path) -> None:
    speech = [
        f"clean_fullband/read_speech/book_{i:05d}_chp_0001_reader_{reader:05d}_{i}_seg_1.wav"
        for reader in (7, 12)
        for i in range(2)
    ]
    speech += ["clean_fullband/vctk_wav48_silence_trimmed/p225/p225_001_mic1.wav"]
    noise = [f"noise_fullband/door_Freesound_validated_123_{i}.wav" for i in range(2)]
    root = fill(
        tmp_path / "datasets_fullband", [*speech, *noise, "impulse_responses/SLR26/room.wav"]
    )
    layout, owners = layout_and_owners(root, "speech")
    assert (layout, owners) == ("dns", {"reader-7": 2, "reader-12": 2, "p225": 1})
    layout, owners = layout_and_owners(root, "noise")
    assert layout == "dns" and list(owners.values()) == [2]  # two cuts of one recording
    assert find(root, "noise").left_out == {"speech": 5, "impulse responses": 1}
    only = layout_and_owners(root / "clean_fullband" / "read_speech", "speech")
    assert only == ("dns", {"reader-7": 2, "reader-12": 2})


def test_a_speaker_of_two_corpora_has_one_name(tmp_path: Path) -> None:
    libri = librispeech(tmp_path / "L", "train-clean-100")
    ours = {item.owner for item in find(libri, "speech").recordings}
    dns = fill(tmp_path / "D", ["book_1_chp_1_reader_00250_0.wav"])
    assert {item.owner for item in find(dns, "speech").recordings} <= ours


def test_plain_folders_by_speaker_folder_or_by_name(tmp_path: Path) -> None:
    many = fill(tmp_path / "many", [f"{s}/{i}.wav" for s in "abcd" for i in range(2)])
    assert layout_and_owners(many, "speech")[0] == "folders"
    assert len(layout_and_owners(many, "speech")[1]) == 4
    few = fill(tmp_path / "few", ["anna_1.wav", "anna_2.wav", "deep/er/ben-01.WAV", "notes.m4a"])
    found = find(few, "speech")
    assert found.layout == "files" and found.left_out == {"no decoder for .m4a": 1}
    assert {item.owner for item in found.recordings} == {"few/anna", "few/deep/er/ben"}
    noises = fill(tmp_path / "n", ["0001.wav", "0002.wav"])
    assert len({item.owner for item in find(noises, "noise").recordings}) == 2


def test_a_layout_can_be_forced_and_a_wrong_name_says_which_there_are(tmp_path: Path) -> None:
    root = fill(tmp_path / "x", [f"{s}/u_{i}.wav" for s in ("ann", "ben") for i in range(2)])
    assert find(root, "speech").layout == "files"
    assert {i.owner for i in find(root, "speech", "folders").recordings} == {"x/ann", "x/ben"}
    with pytest.raises(SettingsError, match="did you mean 'librispeech'"):
        find(root, "speech", "librispech")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_held_out_owners_stay_held_out(share: float) -> None:
    owners = [f"speaker {i}" for i in range(400)]
    chosen = held_out(owners, share)
    assert abs(len(chosen) / 400 - share) < 0.08
    assert held_out(reversed(owners), share) == chosen
    assert held_out(owners[:200], share) == chosen & set(owners[:200])  # whoever comes or goes
    assert len(held_out(owners[:2], 0.001)) == len(held_out(owners[:2], 0.999)) == 1
    assert held_out(["alone"], share) == set()


def test_whole_speakers_and_noises_are_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = librispeech(tmp_path / "LibriSpeech", "train-clean-100", "train-other-500x")
    sources = prepare_corpora(speech, musan(tmp_path / "musan"), tmp_path / "cache")
    said = capsys.readouterr().out
    assert "LibriSpeech layout, 8 speakers, 16 files, 0.0 h, " in said
    heard = {}
    for split, source in sources.items():
        names = Corpus.load(source.speech).names
        heard[split] = {name.split("/")[2] for name in names}
        assert len(Corpus.load(source.noise)) >= 1
    assert heard["train"] and heard["dev"] and not heard["train"] & heard["dev"]
    assert sum(len(Corpus.load(s.noise)) for s in sources.values()) == 5
    # Read once: the second time nothing is, and the corpora are the same files.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    again = prepare_corpora([speech], [tmp_path / "musan"], tmp_path / "cache")
    assert again == sources
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_several_folders_make_one_corpus(tmp_path: Path) -> None:
    folders = (
        librispeech(tmp_path / "L", "train-clean-100"),
        fill(tmp_path / "own", ["anna_1.wav", "anna_2.wav"], seconds=0.5),
    )
    out = tmp_path / "out"
    out.mkdir()
    gather(Selection(folders, "speech"), out)
    parts = [Corpus.load(out / f"speech-{split}.npz") for split in ("train", "dev")]
    assert sum(len(part) for part in parts) == 10
    assert all(part.weights.sum() == pytest.approx(1.0) for part in parts)


def test_one_voice_alone_serves_both_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    folder = fill(tmp_path / "me", ["me_1.wav", "me_2.wav"])
    gather(Selection((folder,), "speech"), out)
    assert "dev figures count nothing" in capsys.readouterr().out
    assert Corpus.load(out / "speech-dev.npz").names == ("me/me_1.wav", "me/me_2.wav")


def test_a_folder_with_train_and_dev_is_read_and_cached_as_ever(tmp_path: Path) -> None:
    names = ["train/anna_1.wav", "train/ben_1.wav", "dev/cleo_1.wav"]
    root = fill(tmp_path / "s", names)
    sources = prepare_corpora(root, root, tmp_path / "cache")
    files = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert [name[:-13] for name in files] == [
        f"{k}-{s}" for k in ("noise", "speech") for s in ("dev", "train")
    ]
    assert Corpus.load(sources["train"].speech).names == ("anna_1.wav", "ben_1.wav")
    samples, _ = soundfile.read(root / "dev/cleo_1.wav", dtype="int16")
    assert np.array_equal(Corpus.load(sources["dev"].speech).samples, samples)


def test_kinds_are_known_by_the_layout_or_the_name(tmp_path: Path) -> None:
    assert kinds_of(musan(tmp_path / "musan")) == ("speech", "noise")
    assert kinds_of(librispeech(tmp_path / "L", "dev-clean")) == ("speech",)
    assert kinds_of(fill(tmp_path / "my_noises", ["fan.wav"])) == ("noise",)
    assert kinds_of(fill(tmp_path / "talk", ["fan.wav"])) == ("speech",)


def test_the_corpus_command_reports_without_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = musan(tmp_path / "musan")
    soundfile.write(root / "noise/free-sound/noise-free-sound-0099.wav", np.zeros(9000), RATE_HZ)
    report = tmp_path / "report.json"
    assert main(["corpus", str(root), "--json", str(report)]) == 0
    said = capsys.readouterr().out
    assert "MUSAN layout, 5 noises, 5 files" in said and "left out: speech" in said
    found = json.loads(report.read_text())
    assert found[1]["skipped_by_reason"] == {"silent": 1}
    assert found[1]["skipped"][0]["path"].endswith("noise-free-sound-0099.wav")
    assert main(["corpus", str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_every_layout_says_what_it_is() -> None:
    kinds = {"speech", "noise"}
    assert all(layout.title and set(layout.kinds) <= kinds for layout in LAYOUTS.values())
