"""`python -m export corpus | pack`, and the audio arguments of the other commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgesep.errors import EdgesepError, SettingsError

CACHE = Path("build/corpus")
KINDS = ("speech", "noise")


def add_audio(parser: argparse.ArgumentParser) -> None:
    """Add --speech, --noise and what tells how to read them, or --packed instead."""
    _add_folders(parser)
    parser.add_argument(
        "--packed", type=Path, metavar="DIR", help="what `export pack` wrote, instead of both"
    )


def _add_folders(parser: argparse.ArgumentParser) -> None:
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}", type=Path, nargs="+", metavar="DIR", help=f"folders of {kind}, any layout"
        )
    _add_reading(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        metavar="DIR",
        help="where the audio is packed once (default %(default)s)",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    from .layouts import LAYOUTS

    parser.add_argument(
        "--layout",
        action="append",
        default=[],
        metavar="[KIND=]NAME",
        help=f"how the folders lie, where it is guessed wrong: {', '.join(LAYOUTS)}; "
        "speech=NAME or noise=NAME for one kind",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the speakers and noises that dev alone hears, where a corpus brings no "
        "split (default %(default)s)",
    )


def sources_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the sources "train" and "dev" that the arguments of `add_audio` name."""
    from .gather import packed_sources, prepare_corpora

    if args.packed:
        if args.speech or args.noise:
            raise EdgesepError("--packed holds speech and noise: leave --speech and --noise out")
        return dict(packed_sources(args.packed))
    if not (args.speech and args.noise):
        raise EdgesepError("name the sound: --speech DIR .. and --noise DIR .., or --packed DIR")
    layouts = layouts_of(args.layout)
    return dict(prepare_corpora(args.speech, args.noise, args.cache, layouts, args.held_out))


def layouts_of(given: list[str]) -> dict[str, str]:
    """Return kind -> layout of --layout's values. Raises SettingsError for an unknown kind."""
    layouts: dict[str, str] = {}
    for value in given:
        kind, _, name = value.rpartition("=")
        if kind not in ("", *KINDS):
            raise SettingsError(f"--layout {value}: the kind is speech or noise, not {kind!r}")
        layouts |= {kind: name} if kind else dict.fromkeys(KINDS, name)
    return layouts


def add_corpus(commands: Any) -> None:
    """Add the commands to the parser's sub-commands."""
    corpus = commands.add_parser("corpus", help="check folders of audio, without training")
    corpus.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    corpus.add_argument(
        "--kind", choices=KINDS, help="what they hold (default: by the layout, else by the name)"
    )
    _add_reading(corpus)
    corpus.add_argument("--json", type=Path, metavar="FILE", help="save every skipped file's name")
    _add_workers(corpus)
    corpus.set_defaults(run=_corpus)

    pack = commands.add_parser("pack", help="write corpora in pieces, to carry them to a trainer")
    _add_folders(pack)
    pack.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="a new folder")
    pack.add_argument(
        "--codec",
        choices=("flac", "pcm"),
        default="flac",
        help="flac is smaller and is unpacked where it is used (default %(default)s)",
    )
    pack.add_argument(
        "--piece-mib", type=float, default=60.0, metavar="MIB", help="at most (default %(default)s)"
    )
    _add_workers(pack)
    pack.set_defaults(run=_pack)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=int, metavar="N", help="reading processes (default: by the processors)"
    )


def _corpus(args: argparse.Namespace) -> None:
    from edgesep.table import print_table

    from .gather import Selection, gather, save_report
    from .layouts import kinds_of

    layouts = layouts_of(args.layout)
    reports = []
    for folder in args.folders:
        for kind in (args.kind,) if args.kind else kinds_of(folder, layouts.get("speech")):
            selection = Selection((folder,), kind, layouts.get(kind), args.held_out)
            reports.append(gather(selection, workers=args.workers))
    if args.json:
        save_report(reports, args.json)
    rows = []
    for report in reports:
        used = report.files - len(report.skipped)
        rows.append((report.kind, "used", f"{used:,}", _share(used, report.files), ""))
        for reason, count in report.reasons.most_common():
            first = next(entry for entry in report.skipped if entry["reason"] == reason)
            example = f"{Path(first['path']).name} {first['detail']}"
            rows.append((report.kind, reason, f"{count:,}", _share(count, report.files), example))
        for reason, count in report.left_out.most_common():
            rows.append((report.kind, f"left out: {reason}", f"{count:,}", "", ""))
    print_table(("kind", "files", "count", "share", "for example"), rows)


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else ""


def _pack(args: argparse.Namespace) -> None:
    from .gather import Selection, pack
    from .pack import SMALLEST_PIECE_MIB

    if not (args.speech and args.noise):
        raise EdgesepError("name the sound to pack: --speech DIR .. and --noise DIR ..")
    if args.piece_mib < SMALLEST_PIECE_MIB:
        raise SettingsError(f"--piece-mib {args.piece_mib}: use {SMALLEST_PIECE_MIB} or more")
    layouts = layouts_of(args.layout)
    selections = [
        Selection(tuple(getattr(args, kind)), kind, layouts.get(kind), args.held_out)
        for kind in KINDS
    ]
    pack(selections, args.cache, args.out, args.codec, args.piece_mib, args.workers)
    files = sorted(path for path in args.out.iterdir() if path.is_file())
    total = sum(path.stat().st_size for path in files)
    print(f"{args.out}: {len(files)} files, {total / (1 << 20):.1f} MiB")
