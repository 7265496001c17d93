"""Many files, in one process or several: each fails alone, and an end by force leaves no mess."""

from __future__ import annotations

import logging
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgesep.audio.separate import FileJob, FileResult, separate_file
from edgesep.audio.writer import temporary_path
from edgesep.errors import EdgesepError
from edgesep.isolator import Isolator

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from edgesep.settings import Settings

__all__ = ["IsolatorShelf", "Outcome", "Reporter", "Terminated", "end_on_signals", "run_jobs"]

PROGRESS_PERIOD_S = 0.1
END_PATIENCE_S = 10.0  # what a worker gets to remove its temporary files


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result, or with one line that says why not."""

    source: str
    result: FileResult | None = None
    error: str | None = None


class Reporter(Protocol):
    """Whoever wants to know how the jobs get on."""

    def progress(self, index: int, fraction: float) -> None:
        """Note that `fraction` (0 .. 1) of job number `index` is done."""

    def finished(self, index: int, outcome: Outcome) -> None:
        """Note the end of job number `index`."""


class Terminated(KeyboardInterrupt):
    """A signal asked the process to end."""


class IsolatorShelf:
    """Opens the isolator of a model once for each number of channels in a row."""

    def __init__(self, model: str, settings: Settings) -> None:
        self._model, self._settings = model, settings
        self._isolator: Isolator | None = None

    def __reduce__(self) -> tuple[type[IsolatorShelf], tuple[str, Settings]]:
        """Travel to another process without the isolator, which is opened anew there."""
        return IsolatorShelf, (self._model, self._settings)

    def __call__(self, channels: int) -> Isolator:
        """Return an isolator for so many channels; the last one may come back."""
        if self._isolator is None or self._isolator.channels != channels:
            self._isolator = Isolator(self._model, self._settings, channels)
        return self._isolator


def run_jobs(
    jobs: Sequence[FileJob], shelf: IsolatorShelf, workers: int, reporter: Reporter
) -> list[Outcome]:
    """Run all jobs, `workers` at a time, and return their outcomes in order.

    An error ends the job it belongs to; the others go on, even when a worker process dies.
    On KeyboardInterrupt (see `end_on_signals`) temporary files are removed and it goes on up.
    """
    if workers == 1 or len(jobs) == 1:
        return list(_run_here(jobs, shelf, reporter))
    return _Pool(jobs, shelf, reporter).run(min(workers, len(jobs)))


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into Terminated; ignore more while cleaning up.

    Does nothing outside the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]

    def end(number: int, frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(number)

    previous = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, previous, strict=True):
        if handler is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _run_here(
    jobs: Sequence[FileJob], shelf: IsolatorShelf, reporter: Reporter
) -> Iterator[Outcome]:
    for index, job in enumerate(jobs):

        def progress(fraction: float, index: int = index) -> None:
            reporter.progress(index, fraction)

        outcome = _run_one(job, shelf, progress)
        reporter.finished(index, outcome)
        yield outcome


def _run_one(job: FileJob, shelf: IsolatorShelf, on_progress: Callable[[float], None]) -> Outcome:
    source = str(job.source)
    try:
        return Outcome(source, separate_file(job, shelf, on_progress))
    except EdgesepError as error:
        return Outcome(source, error=str(error))
    except OSError as error:
        return Outcome(source, error=f"{error.filename or source}: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001  a bug of ours must not take other files with it
        traceback.print_exc()
        kind = type(error).__name__
        return Outcome(source, error=f"{source}: {kind}: {error}: please report this bug")
    finally:
        _remove_leftovers(job)


def _remove_leftovers(job: FileJob) -> None:
    for index, target in enumerate(job.targets):
        try:
            temporary_path(target, job.part_tag(index)).unlink(missing_ok=True)
        except OSError:  # its folder is no folder or is gone: then nothing was left there
            continue


class _Pool:
    """Worker processes with one pipe each.

    Not concurrent.futures: there the death of one process (out of memory, on a small board) ends
    all jobs, and Ctrl-C prints a traceback per process.
    """

    def __init__(self, jobs: Sequence[FileJob], shelf: IsolatorShelf, reporter: Reporter) -> None:
        self._jobs = jobs
        self._shelf = shelf
        self._reporter = reporter
        self._waiting = deque(range(len(jobs)))
        self._outcomes: dict[int, Outcome] = {}
        self._busy: dict[Connection, tuple[SpawnProcess, int]] = {}

    def run(self, workers: int) -> list[Outcome]:
        from multiprocessing.connection import Connection, wait  # for --jobs alone

        try:
            for _ in range(workers):
                self._start()
            while self._busy:
                for connection in wait(list(self._busy)):
                    assert isinstance(connection, Connection)
                    self._receive(connection)
        finally:
            self._end()
        return [self._outcomes[index] for index in range(len(self._jobs))]

    def _start(self) -> None:
        """Start a worker on the next job."""
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._shelf), daemon=True)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for us
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()  # so that the worker's death ends the pipe
        self._give(ours, process)

    def _give(self, connection: Connection, process: SpawnProcess) -> None:
        if not self._waiting:
            connection.close()  # the worker takes this as the end
            process.join(END_PATIENCE_S)
            return
        index = self._waiting.popleft()
        self._busy[connection] = (process, index)
        try:
            connection.send(self._jobs[index])
        except OSError:
            pass  # died already: the next receive finds out

    def _receive(self, connection: Connection) -> None:
        process, index = self._busy[connection]
        try:
            message = connection.recv()
        except (EOFError, OSError):
            self._bury(connection)
            return
        if isinstance(message, float):
            self._reporter.progress(index, message)
            return
        self._finish(index, message)
        del self._busy[connection]
        self._give(connection, process)

    def _bury(self, connection: Connection) -> None:
        """Report the job of a worker that died and start another one for the rest."""
        process, index = self._busy.pop(connection)
        connection.close()
        process.join()
        job = self._jobs[index]
        _remove_leftovers(job)
        code = process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        error = f"{job.source}: its process died ({how}): out of memory? try a smaller --jobs"
        self._finish(index, Outcome(str(job.source), error=error))
        if self._waiting:
            self._start()

    def _finish(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome
        self._reporter.finished(index, outcome)

    def _end(self) -> None:
        """End what still runs, which is nothing unless an exception is on its way up."""
        for process, _ in self._busy.values():
            process.terminate()
        deadline = time.monotonic() + END_PATIENCE_S
        for process, index in self._busy.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            _remove_leftovers(self._jobs[index])


def _serve(connection: Connection, shelf: IsolatorShelf) -> None:
    """Run in a worker: a job comes in, shares done (float) and an Outcome go out."""
    last = 0.0

    def progress(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_PERIOD_S:
            last = now
            connection.send(fraction)

    logging.getLogger("edgesep").setLevel(logging.ERROR)  # the parent has warned already
    try:
        with end_on_signals():
            while True:
                connection.send(_run_one(connection.recv(), shelf, progress))
    except (EOFError, OSError, Terminated):
        return  # the parent has no more work, or is gone, or said so
