"""Worker processes: Ctrl-C is for the process that started them, and none outlives it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess


def start(processes: Iterable[BaseProcess]) -> None:
    """Start processes that a Ctrl-C in the terminal does not reach, not even while they start."""
    resource_tracker.ensure_running()  # the first process starts it, and lets Ctrl-C in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for process in processes:
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Let this worker ignore Ctrl-C, and exit when its parent has gone; call it there first.

    A parent that is killed ends none of its workers: one that waits for room in a queue, whose
    ends it holds both, would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)  # sys.exit would end this thread alone
