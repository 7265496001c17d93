"""`python -m export finetune`: a released model, adapted to the user's own noise."""

from __future__ import annotations

import argparse
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

from edgesep.errors import EdgesepError, SettingsError

SPEECH_HINT = (
    "finetune: no --speech: your noise is mixed with clean speech: give a folder of it "
    "(several speakers, ten minutes and more, such as LibriSpeech dev-clean from openslr.org/12), "
    "or --speech espeak-ng for synthesized voices, which fit real ones less well"
)
HIGHEST_LEARNING_RATE = 0.0005
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


def add_finetune(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "finetune", help="adapt a released model to recordings of your own noise"
    )
    parser.add_argument("model", help="released model to go on from, such as small-16ms")
    parser.add_argument(
        "--noise",
        type=Path,
        required=True,
        metavar="PATH",
        help="a folder of recordings of your room and machines without talk, or one file; "
        "30 s at least, five minutes are good",
    )
    parser.add_argument(
        "--speech",
        metavar="DIR",
        help="clean speech of several speakers, any layout; or espeak-ng: synthesize it",
    )
    parser.add_argument(
        "--noise-general",
        type=Path,
        metavar="DIR",
        help="other noise, mixed in so that the model does not forget, and measured, too",
    )
    parser.add_argument(
        "--general-share",
        type=float,
        default=0.3,
        metavar="X",
        help="share of other noise among recorded noise, 0 to 0.9 (default %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=15.0,
        metavar="N",
        help="for everything: reading, measuring, training, quantizing (default %(default)s)",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="train exactly so many steps, however long"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="default: build/NAME")
    parser.add_argument("--name", help="of the new model; default: MODEL-FOLDER")
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=0.0003,
        metavar="X",
        help=f"at most {HIGHEST_LEARNING_RATE}: more destroys what was learnt "
        "(default %(default)s)",
    )
    parser.add_argument("--clips", type=int, default=40, help="to measure (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--workers", type=int, default=1, help="mixing processes, 0: none (default %(default)s)"
    )
    parser.add_argument(
        "--keep-talk", action="store_true", help="use what sounds like talk in the noise, too"
    )
    parser.add_argument(
        "--keep-anyway", action="store_true", help="export even what is not better than before"
    )
    parser.set_defaults(run=_finetune)


def _finetune(args: argparse.Namespace) -> None:
    from .finetune import Plan, finetune, released
    from .finetune_report import print_table

    begun = time.monotonic()
    _check(args)
    base = released(args.model)
    name = args.name or f"{args.model}-{_slug(args.noise)}"
    plan = Plan(
        name,
        args.minutes,
        args.steps,
        args.learning_rate,
        args.general_share,
        args.seed,
        args.workers,
        args.clips,
        args.keep_anyway,
    )
    out = args.out or Path("build") / name
    try:
        outcome = finetune(base, _sound(args, base.path, out), plan, out, begun)
    except KeyboardInterrupt:
        print("\nstopped: nothing was exported; the same command goes on from the last checkpoint")
        raise SystemExit(INTERRUPTED) from None
    print_table(outcome.comparison)
    print(f"report: {outcome.report}, after {(time.monotonic() - begun) / 60.0:.1f} minutes")
    if outcome.model is None:
        raise EdgesepError(
            f"finetune: {'; '.join(outcome.comparison.faults)}: nothing exported: record more "
            "noise, give more --minutes, or use --keep-anyway"
        )
    for fault in outcome.comparison.faults:
        print(f"kept anyway, although {fault}")
    print(f"model: {outcome.model}")
    print(f"  edgesep file noisy.wav -o clean.wav --model {outcome.model}")
    print(f"  edgesep model add {outcome.model}")


def _sound(args: argparse.Namespace, model: Path, out: Path) -> Any:
    from edgesep import isolate
    from edgesep.contract import RATE_HZ

    from .espeak import PROGRAM, synthesize
    from .finetune import WORK, Sound
    from .recordings import check_length, describe, read_recordings, split_in_time
    from .talk import without_talk
    from .voices import read_share

    recordings = read_recordings(args.noise)
    if not args.keep_talk:
        recordings, lines = without_talk(recordings, partial(isolate, rate_hz=RATE_HZ, model=model))
        print("\n".join(lines), end="\n" if lines else "")
        check_length(recordings, args.noise)
    noise = split_in_time(recordings)
    print(describe(noise))
    folder = synthesize(out / WORK / PROGRAM) if args.speech == PROGRAM else Path(args.speech)
    general = read_share(args.noise_general, "noise") if args.noise_general else None
    return Sound(noise, read_share(folder, "speech"), general)


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is read."""
    if not args.speech:
        raise SettingsError(SPEECH_HINT)
    limits = {
        "minutes": (1.0, 24 * 60.0),
        "steps": (1, 10**6),
        "learning_rate": (1e-7, HIGHEST_LEARNING_RATE),
        "general_share": (0.0, 0.9),
        "clips": (2, 1000),
        "workers": (0, 64),
    }
    for key, (low, high) in limits.items():
        value = getattr(args, key)
        if value is not None and not low <= value <= high:
            flag = f"--{key.replace('_', '-')}"
            raise SettingsError(f"{flag} {value:g}: use a value from {low:g} to {high:g}")
    for package in ("pesq", "pystoi"):
        try:
            __import__(package)
        except ImportError as error:
            raise EdgesepError(
                f"finetune measures with {package}, which is not installed: "
                "pip install -e '.[score]' (PESQ is compiled: apt install gcc python3-dev)"
            ) from error


def _slug(path: Path) -> str:
    """Return a folder's or file's name as part of a model's name."""
    stem = path.resolve().stem if path.is_file() else path.resolve().name
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40] or "room"
