"""The `edgesep` command: thin wrappers over the package's functions.

Nothing heavy is imported before a command runs, so that `edgesep --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

from edgesep.cli_bench import add_bench_command
from edgesep.cli_coral import add_coral_command
from edgesep.cli_doctor import add_doctor_command
from edgesep.cli_firmware import add_firmware_command
from edgesep.cli_live import add_live_commands
from edgesep.cli_models import add_model_command
from edgesep.errors import EdgesepError, SettingsError, one_line, unknown_name

if TYPE_CHECKING:
    from edgesep.audio.batch import Outcome
    from edgesep.audio.plan import Plan
    from edgesep.audio.progress import ProgressLine
    from edgesep.config import Config

__all__ = ["main"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SIGNAL = 128

FILE_NOTES = """\
The output is as long as the input and aligned with it, at its rate, channels and sample format;
another file name suffix chooses another format (.wav .flac .ogg .opus .mp3 .aiff ..).
Inside, sound is int16 at 16 kHz: such files keep their bits up to the first operation, others are
resampled, rounded to 16 bits, and clipped beyond full scale, which is reported.

  edgesep file noisy.wav -o clean.wav
  edgesep file recordings/ 'more/*.flac' -o clean/ --jobs 4
  edgesep file noisy.wav -o parts/ --stems      parts/speech.wav + parts/background.wav

Stems are 16 kHz int16 WAV. Added up they give the input, sample for sample, where that is
16 kHz int16; else what the input becomes when it is converted to that.

exit status: 0 all done, 1 some failed, 2 wrong usage, 130 interrupted
"""
PIPE_NOTES = """\
Sample k out belongs to sample k in: the first samples come out when the look-ahead is filled, and
the end is pushed out when the input ends, so that the output is as long as the input. With a
--rate other than 16000 the resampling adds up to 0.2 s of delay; record at 16000 for live use.

  arecord -t raw -f S16_LE -r 16000 -c 1 | edgesep pipe | aplay -t raw -f S16_LE -r 16000 -c 1
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process); return the exit status."""
    parser = _parser()
    try:
        options = _parse(parser, argv)
    except SystemExit as end:  # argparse has printed help, version or an error
        return int(end.code or 0)
    try:
        status = int(options.run(options))
        if sys.stdout is not None:
            sys.stdout.flush()  # an error of the output belongs here, not to the end of Python
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0  # whoever reads has what it wanted, such as `edgesep model list | head -1`
    except SettingsError as error:
        _print_error(str(error))
        return EXIT_USAGE
    except EdgesepError as error:
        _print_error(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else 2
        return EXIT_SIGNAL + int(number)


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage in the one line that all other errors have."""

    def error(self, message: str) -> NoReturn:
        _print_error(f"{message} (see {self.prog} --help)")
        self.exit(EXIT_USAGE)


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from edgesep import __version__

        print(f"edgesep {__version__}")
        parser.exit()


def _parser() -> _Parser:
    parser = _Parser(
        prog="edgesep",
        description="Isolate speech on small computers: int8 models, int16 in, int16 out.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", nargs=0, action=_Version, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_file_command(commands)
    _add_pipe_command(commands)
    add_live_commands(commands)
    add_firmware_command(commands)
    add_coral_command(commands)
    add_model_command(commands)
    add_bench_command(commands)
    add_doctor_command(commands)
    return parser


def _add_file_command(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "file",
        help="isolate the speech in sound files",
        description="Isolate the speech in sound files: WAV, FLAC, OGG, MP3, AIFF and what else "
        "libsndfile reads, 8 to 192 kHz, any number of channels.",
        epilog=FILE_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "inputs", nargs="+", metavar="IN", help="files, folders (searched below), glob patterns"
    )
    command.add_argument(
        "-o", "--out", required=True, metavar="OUT",
        help="file to write; with several inputs, a folder or --stems: folder to write to",
    )  # fmt: skip
    command.add_argument(
        "--stems", action="store_true", help="write speech.wav and background.wav, 16 kHz int16"
    )
    command.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="files at a time (default: 1)"
    )
    command.add_argument(
        "--force", action="store_true", help="overwrite files that exist, the input included"
    )
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    _add_settings(command)
    command.set_defaults(run=_run_file, known=command)


def _add_pipe_command(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "pipe",
        help="isolate the speech in raw int16 from standard input to standard output",
        description="Isolate the speech in raw int16 little-endian samples (S16_LE, channels "
        "interleaved) from standard input to standard output, hop by hop.",
        epilog=PIPE_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--channels", type=_count, default=1, metavar="N", help="channels (default: 1)"
    )
    command.add_argument(
        "--rate", type=_count, default=16000, metavar="HZ",
        help="sampling rate, 8000 to 192000 Hz (default: 16000)",
    )  # fmt: skip
    _add_settings(command)
    command.set_defaults(run=_run_pipe, known=command)


def _add_settings(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("settings")
    add = group.add_argument
    add("--model", metavar="NAME", help="model name or .tflite path (default: small-16ms)")
    add("--engine", metavar="NAME", help="fast (LiteRT, XNNPACK), exact or edgetpu (default: auto)")
    add("--max-attenuation-db", metavar="DB",
        help="turn background down by no more than this, 0 to 100 dB (default: 40)")  # fmt: skip
    add("--wet", metavar="SHARE",
        help="share of the isolated signal, 0 (input) to 1 (default: 1)")  # fmt: skip
    add("--output", metavar="WHICH", help="speech or background (default: speech)")
    add("--latency-ms", metavar="MS",
        help="latency of the frame path, at a price in quality (default: the model's)")  # fmt: skip
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any setting by name, such as separation.wet=0.8 or wet=0.8")  # fmt: skip
    add("--config", metavar="YAML", help="file with settings; flags win")


def _parse(parser: _Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse; an unknown option names the nearest one."""
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        command: argparse.ArgumentParser = getattr(options, "known", parser)
        flags = [flag for flag in command._option_string_actions if flag.startswith("--")]
        name = unknown[0].partition("=")[0]
        if name.startswith("-"):
            command.error(unknown_name("option", name, flags))
        command.error(f"unexpected argument {name!r}")
    return options


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def _config(options: argparse.Namespace) -> Config:
    """Put together the YAML file, then --set, then the flags; later ones win."""
    from pathlib import Path

    from edgesep.config import Config, parse_assignments, read_yaml

    from_file = read_yaml(Path(options.config)) if options.config else {}
    flags = {
        "model.name": options.model,
        "model.engine": options.engine,
        "separation.max_attenuation_db": options.max_attenuation_db,
        "separation.wet": options.wet,
        "separation.output": options.output,
        "separation.latency_ms": options.latency_ms,
    }
    return Config.from_keys(from_file, parse_assignments(options.set), flags)


def _run_file(options: argparse.Namespace) -> int:
    config = _config(options)
    if options.stems and config.settings.output != "speech":
        raise SettingsError(
            f"--stems writes speech and background: leave out --output {config.settings.output}"
        )
    from edgesep.audio.batch import IsolatorShelf, end_on_signals, run_jobs
    from edgesep.audio.plan import plan_jobs
    from edgesep.audio.progress import ProgressLine

    plan = plan_jobs(options.inputs, options.out, stems=options.stems, force=options.force)
    weights = [_bytes(job.source) for job in plan.jobs]
    line = ProgressLine(weights, sys.stderr)
    report = _FileReport(line, quiet=options.quiet)
    for _, error in plan.failures:
        report.error(str(error))
    outcomes: list[Outcome] = []
    if plan.jobs:
        shelf = IsolatorShelf(config.model, config.settings)
        shelf(1)  # a model that cannot be opened is one error, not one for each file
        try:
            with end_on_signals():
                outcomes = run_jobs(plan.jobs, shelf, options.jobs, report)
        except KeyboardInterrupt:
            line.note("edgesep: interrupted: files that were not complete have been removed")
            raise
    return _summarize(plan, outcomes, sys.stderr)


class _FileReport:
    """Prints what becomes of the files."""

    def __init__(self, line: ProgressLine, *, quiet: bool) -> None:
        self._line = line
        self._quiet = quiet

    def progress(self, index: int, fraction: float) -> None:
        self._line.update(index, fraction)

    def finished(self, index: int, outcome: Outcome) -> None:
        self._line.finish(index)
        self._line.clear()
        if outcome.error is not None:
            self.error(outcome.error)
        if outcome.result is None:
            return
        result, name = outcome.result, one_line(outcome.source)
        if result.over_full_scale:
            self._line.note(
                f"edgesep: warning: {name}: {result.over_full_scale} samples beyond full scale "
                "(1.0) were clipped: turn the input down"
            )
        if not self._quiet:
            speed = result.seconds / max(result.elapsed_s, 1e-9)
            self._line.note(
                f"{name}: {result.seconds:.1f} s of sound in {result.elapsed_s:.1f} s "
                f"({speed:.0f} times real time)"
            )

    def error(self, message: str) -> None:
        self._line.clear()
        _print_error(message)


def _summarize(plan: Plan, outcomes: Sequence[Outcome], stream: TextIO) -> int:
    """Print a table of what failed, if there was more than one file; return the exit status."""
    failed = [(name, str(error)) for name, error in plan.failures]
    failed += [(item.source, item.error) for item in outcomes if item.error is not None]
    failed = [(one_line(name), one_line(why)) for name, why in failed]
    total = len(plan.failures) + len(outcomes)
    if failed and total > 1:
        width = max(len(name) for name, _ in failed)
        print(f"\n{len(failed)} of {total} files failed:", file=stream)
        for name, why in failed:
            print(f"  {name:<{width}}  {why.removeprefix(name + ': ')}", file=stream)
    return EXIT_FAILED if failed else 0


def _run_pipe(options: argparse.Namespace) -> int:
    config = _config(options)
    from edgesep.audio.pipe import separate_pipe
    from edgesep.audio.resample import RATE_MAX_HZ, RATE_MIN_HZ
    from edgesep.isolator import Isolator

    if not RATE_MIN_HZ <= options.rate <= RATE_MAX_HZ:
        raise SettingsError(f"--rate is {options.rate}: give {RATE_MIN_HZ} to {RATE_MAX_HZ} Hz")
    isolator = Isolator(config.model, config.settings, options.channels)
    try:
        odd_bytes = separate_pipe(isolator, options.rate, options.channels, 0, 1)
    except BrokenPipeError:
        return 0  # the reader has what it wanted
    if odd_bytes:
        print(
            f"edgesep: warning: standard input ended inside a frame: {odd_bytes} bytes dropped",
            file=sys.stderr,
        )
    return 0


def _bytes(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # the job will say what is wrong


def _print_error(message: str) -> None:
    print(f"edgesep: error: {one_line(message)}", file=sys.stderr)
