"""Run Google's edgetpu_compiler where the user has it: on the PATH, or in a container.

The compiler is closed, runs on x86-64 Linux only, and may not be handed on, so that it can neither
come with edgesep nor be reached from its tests: those run a stand-in that prints what it prints.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesep.card import Card
from edgesep.coral.compile_log import CompileLog, read_log
from edgesep.coral.operations import EDGETPU_CUSTOM_OP, read_operations
from edgesep.coral.record import SUFFIX, Record, record_path, record_text
from edgesep.errors import EdgesepError, ModelError
from edgesep.models import find_model, read_model

__all__ = ["DOCKERFILE", "IMAGE", "WAYS", "CompileError", "Compiled", "compile_model", "find_way"]

PROGRAM = "edgetpu_compiler"
IMAGE = "edgesep-edgetpu-compiler"
WAYS = ("native", "docker", "podman")
LIMIT_S = 600.0
_ASK_LIMIT_S = 20.0

DOCKERFILE = f"""\
# Google's Edge TPU compiler, from Google's own package archive. x86-64 only.
#     edgesep coral dockerfile | docker build --platform linux/amd64 -t {IMAGE} -
FROM debian:bookworm-slim
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends ca-certificates curl gnupg \\
    && curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg \\
        | gpg --dearmor -o /usr/share/keyrings/google-coral.gpg \\
    && echo "deb [signed-by=/usr/share/keyrings/google-coral.gpg] \\
https://packages.cloud.google.com/apt coral-edgetpu-stable main" \\
        > /etc/apt/sources.list.d/google-coral.list \\
    && apt-get update \\
    && apt-get install --yes --no-install-recommends edgetpu-compiler \\
    && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["{PROGRAM}"]
"""


class CompileError(EdgesepError):
    """The compiler is missing, failed, or left operations to the CPU."""


@dataclass(frozen=True)
class Compiled:
    """A model that was compiled whole."""

    path: Path
    """Of the compiled model; record and log lie beside it."""
    log: CompileLog


def compile_model(model: str, folder: Path, way: str | None = None) -> Compiled:
    """Compile a model, by name or path, into `folder`: NAME_edgetpu.tflite, .json and .log.

    way: "native", "docker" or "podman"; None: the first of them that is there.

    Raises CompileError where no compiler is found, it fails, or an operation is not mapped;
    ModelError for a wrong model. Then nothing is written.
    """
    path, card = find_model(model)
    content = read_model(path, card)
    command = find_way(way)
    with tempfile.TemporaryDirectory(prefix="edgesep-coral-") as place:
        work = Path(place)
        (work / path.name).write_bytes(content)
        printed = _run(command, work, path.name)
        made = work / f"{path.stem}{SUFFIX}.tflite"
        log_file = made.with_suffix(".log")
        kept = log_file.read_text(errors="replace") if log_file.is_file() else ""
        log = _check(printed, kept, made, path.name)
        compiled = made.read_bytes()
        files = {
            made.name: compiled,
            log_file.name: (kept or printed).encode(),
            record_path(made).name: _record(card, compiled, log).encode(),
        }
    _write(folder, files)
    return Compiled(folder / made.name, log)


def find_way(way: str | None = None) -> list[str]:
    """Return the start of the command line of the compiler. Raises CompileError.

    "{work}" in it stands for the folder that the container has to see.
    """
    if way is not None and way not in WAYS:
        raise CompileError(f"unknown way {way!r} to run the compiler: give {', '.join(WAYS)}")
    if way in (None, "native") and shutil.which(PROGRAM):
        return [PROGRAM]
    for engine in ("docker", "podman"):
        if way in (None, engine) and shutil.which(engine) and _has_image(engine):
            user = f"{os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "0:0"
            keep = ["--userns=keep-id"] if engine == "podman" else ["--user", user]
            options = ["run", "--rm", "--network", "none", *keep]
            return [engine, *options, "-v", "{work}:/work", "-w", "/work", IMAGE]
    raise CompileError(
        f"no {PROGRAM} found ({way or 'native, docker or podman'}): install Google's package "
        f"edgetpu-compiler on x86-64 Linux, or run `edgesep coral dockerfile | docker build "
        f"--platform linux/amd64 -t {IMAGE} -`; see docs/coral.md"
    )


def _has_image(engine: str) -> bool:
    try:
        asked = subprocess.run(
            [engine, "image", "inspect", IMAGE],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_LIMIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def _run(command: Sequence[str], work: Path, name: str) -> str:
    """Run the compiler in `work`, return what it printed."""
    start = [part.replace("{work}", str(work)) for part in command]
    try:
        run = subprocess.run(
            [*start, "-s", "-o", ".", name],
            cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"{start[0]}: no result within {LIMIT_S:g} s: {name}") from error
    except OSError as error:
        raise CompileError(f"{start[0]}: cannot be started ({error.strerror})") from error
    printed = run.stdout.decode("utf-8", "replace")
    if run.returncode != 0:
        said = read_log(printed).complaint or _last_line(printed) or "no message"
        raise CompileError(f"{name}: {PROGRAM} failed with status {run.returncode}: {said}")
    return printed


def _check(printed: str, kept: str, made: Path, name: str) -> CompileLog:
    """Return the log of a run that mapped everything. Raises CompileError for any other."""
    log = read_log(printed)
    if not log.rows:
        log = CompileLog(log.version, read_log(kept).rows, log.complaint)
    if log.complaint or not made.is_file():  # it may fail with status 0
        said = log.complaint or _last_line(printed) or "no message"
        raise CompileError(f"{name}: {PROGRAM} compiled nothing: {said}")
    if not log.rows:
        raise CompileError(f"{name}: {PROGRAM} {log.version} wrote no operation table")
    if log.unmapped:
        total = log.mapped + sum(row.count for row in log.unmapped)
        rows = "; ".join(f"{row.count} {row.kind}: {row.status}" for row in log.unmapped)
        raise CompileError(
            f"{name}: {total - log.mapped} of {total} operations are not mapped to the Edge TPU: "
            f"{rows} (`edgesep coral check` says what to change)"
        )
    _check_output(made, name)
    return log


def _check_output(made: Path, name: str) -> None:
    try:
        kinds = [operation.kind for operation in read_operations(made.read_bytes())]
    except ModelError as error:
        raise CompileError(f"{name}: {PROGRAM} wrote a damaged file: {error}") from error
    if kinds != [EDGETPU_CUSTOM_OP]:
        raise CompileError(
            f"{name}: the compiled file holds {', '.join(kinds) or 'nothing'}, "
            f"not one {EDGETPU_CUSTOM_OP}"
        )


def _record(card: Card, compiled: bytes, log: CompileLog) -> str:
    digest = hashlib.sha256(compiled).hexdigest()
    return record_text(Record(card.sha256, digest, log.version, log.mapped))


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write all files or none; the record, which makes them valid, comes last."""
    names = sorted(files, key=lambda name: name.endswith(".json"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".edgesep-", dir=folder) as place:
            for name in names:
                (Path(place) / name).write_bytes(files[name])
            for name in names:
                (Path(place) / name).replace(folder / name)
    except OSError as error:
        raise CompileError(f"{folder}: cannot be written ({error.strerror})") from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
