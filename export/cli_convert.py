"""`python -m export quantize | convert`: calibrate and look at what int8 costs; pack; check."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgesep.errors import EdgesepError

from .cli_corpus import add_audio, sources_of

CLIPS = 8
TABLE_ROWS = 12


def add_quantize(commands: Any) -> None:
    """Add `quantize` to the parser's sub-commands."""
    parser = commands.add_parser(
        "quantize", help="calibrate; report what int8 costs, tensor by tensor and layer by layer"
    )
    parser.add_argument("recipe", help="the recipe that trained the weights")
    add_audio(parser)
    _add_weights(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="for quantization.json, which `convert` packs, and .png (default: build/NAME)",
    )
    parser.add_argument(
        "--clips", type=int, default=CLIPS, metavar="N", help="dev mixtures (default %(default)s)"
    )
    parser.set_defaults(run=_quantize)


def add_convert(commands: Any) -> None:
    """Add `convert` to the parser's sub-commands."""
    parser = commands.add_parser("convert", help="quantize trained weights to an int8 .tflite")
    parser.add_argument("recipe", nargs="?", help="the recipe that trained them")
    add_audio(parser)
    _add_weights(parser)
    parser.add_argument(
        "--quantization",
        type=Path,
        metavar="FILE",
        help="what `quantize` wrote, instead of sound: gives the same bytes",
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("edgesep/models"), metavar="DIR", help="%(default)s"
    )
    parser.add_argument(
        "--version", default="1", metavar="TEXT", help="of the model, for its card (%(default)s)"
    )
    parser.add_argument("--note", default="", help="what the card says of the training")
    parser.add_argument(
        "--check",
        type=Path,
        metavar="FILE.tflite",
        help="write nothing: say whether this file, anybody's, keeps the model contract",
    )
    parser.set_defaults(run=_convert)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="default: build/NAME/weights.npz, else export/weights/NAME.npz",
    )


def _weights_of(args: argparse.Namespace, name: str) -> Path:
    from .convert import KEPT

    trained = Path("build") / name / "weights.npz"
    path = args.weights or (trained if trained.exists() else KEPT / f"{name}.npz")
    print(f"weights: {path}")
    return Path(path)


def _convert(args: argparse.Namespace) -> None:
    from .convert import convert
    from .recipe import load_recipe

    if args.check:
        _check(args.check)
        return
    if not args.recipe:
        raise EdgesepError("convert: name a RECIPE, or --check FILE.tflite")
    recipe = load_recipe(args.recipe)
    weights = _weights_of(args, recipe.name)
    source = None if args.quantization else sources_of(args)["train"]
    training = {"recipe": recipe.name, "note": args.note}
    convert(recipe, weights, source, args.out, training, args.quantization, args.version)


def _check(path: Path) -> None:
    from edgesep.errors import one_line

    from .check_model import check_file

    findings = check_file(path)
    for finding in findings:
        print(f"{finding.what:14} {'ok    ' if finding.ok else 'BROKEN'} {one_line(finding.found)}")
    broken = [finding for finding in findings if not finding.ok]
    if broken:
        raise EdgesepError(
            f"{path} breaks the model contract: {broken[0].what}: {one_line(broken[0].found)}"
        )


def _quantize(args: argparse.Namespace) -> None:
    from .convert import calibration_clips, check_weights, load_weights
    from .equalize import equalized
    from .fake_quant import FakeQuant
    from .quantization import Calibration, save_quantization
    from .quantize_plot import draw_quantization
    from .recipe import load_recipe
    from .sensitivity import Sensitivity, dev_clips

    if args.clips < 1:
        raise EdgesepError(f"--clips {args.clips}: 1 at least")
    recipe = load_recipe(args.recipe)
    graph, path = recipe.graph(), _weights_of(args, recipe.name)
    weights = load_weights(path)
    check_weights(graph, weights, path)
    sources = sources_of(args)
    clips = dev_clips(recipe, sources["dev"], args.clips)
    if not clips:
        raise EdgesepError("no dev mixture holds both speech and noise: give more sound")
    calibration = Calibration.of(graph, weights, calibration_clips(recipe, sources["train"]))
    even = equalized(graph, weights, calibration.gains)
    net = FakeQuant(graph, even, calibration.quantized(graph, weights, recipe.name))
    sensitivity = Sensitivity(net, clips, recipe.frame.contract())
    groups, layers, tensors = sensitivity.groups(), sensitivity.layers(), sensitivity.tensors()
    out = args.out or Path("build") / recipe.name
    saved = out / "quantization.json"
    save_quantization(saved, recipe.name, weights, calibration, tensors, groups, layers)
    draw_quantization(groups, layers, tensors, saved.with_suffix(".png"))
    _print_report(groups, layers, tensors)
    print(f"wrote {saved} and .png; pack: convert {args.recipe} --quantization {saved}")


def _print_report(groups: Any, layers: Any, tensors: Any) -> None:
    from edgesep.table import print_table

    rows = [
        (cost.layer, f"{cost.mask_error_db:.1f} dB", f"{cost.si_sdr_lost_db:.3f} dB")
        for cost in (*groups, *layers[:TABLE_ROWS])
    ]
    print_table(("in int8, the rest float", "mask error", "SI-SDR lost"), rows)
    print()
    worst = sorted(tensors, key=lambda row: row.sqnr_db)[:TABLE_ROWS]
    print_table(
        ("tensor, least SQNR first", "role", "SQNR", "scale", "zero", "range", "seen", "clipped"),
        [
            (
                row.tensor,
                row.role,
                f"{row.sqnr_db:.1f} dB",
                f"{row.scale:.4g}",
                str(row.zero_point),
                f"{row.low:.3g}..{row.high:.3g}",
                f"{row.seen_low:.3g}..{row.seen_high:.3g}",
                f"{row.clipped_share:.3%}",
            )
            for row in worst
        ],
    )
