"""Start the processes of a team on this machine, watch them, and end all when one ends badly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from edgesep.errors import EdgesepError

from .stopping import SIGNALS, stop_requests

LOOK_S = 0.2
GRACE_S = 300.0  # for the steps in hand and a checkpoint, after a signal
STOPPED = {128 + number for number in SIGNALS}
GO_ON = "the same command goes on from the last checkpoint"


def launch(command: Sequence[str], processes: int) -> int:
    """Run a command in so many processes, each told its number; return the exit status.

    A signal to stop is passed on. Where one process ends badly the others are ended, too, and
    EdgesepError says which it was. None is left, nor what they started.
    """
    address = f"127.0.0.1:{_free_port()}"
    # JAX would listen at all addresses of the machine
    environment = {"JAX_COORDINATOR_BIND_ADDRESS": address, **os.environ}
    team: list[subprocess.Popen[bytes]] = []
    try:
        with stop_requests() as asked:
            for number in range(processes):
                team.append(
                    subprocess.Popen(
                        [*command, f"--cluster={address}", f"--process-id={number}", "--launched"],
                        env=environment,
                        stdin=subprocess.PIPE,  # closes when we are gone: `end_with_launcher`
                        start_new_session=True,  # Ctrl-C reaches it through us alone
                    )
                )
            return _watch(team, asked)
    finally:
        for process in team:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and its mixing processes
            process.wait()


def end_with_launcher() -> None:
    """Let this process stop as after SIGTERM when the one that launched it has gone."""
    threading.Thread(target=_stop_after_input, daemon=True).start()


def _stop_after_input() -> None:
    # not sys.stdin, whose lock is wanted when Python ends
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def _watch(team: list[subprocess.Popen[bytes]], asked: list[int]) -> int:
    """Wait for all to end, pass a signal on once; raise EdgesepError at the first that fails."""
    stopping_since = 0.0
    passed_on = False
    while True:
        statuses = [process.poll() for process in team]
        _check(statuses, bool(asked))
        signals = asked or [status - 128 for status in statuses if status and status in STOPPED]
        if None not in statuses:
            return 128 + signals[0] if signals else 0
        if asked and not passed_on:
            passed_on = True
            for process in team:
                process.send_signal(signal.SIGTERM)
        if signals and not stopping_since:
            stopping_since = time.monotonic()
        if stopping_since and time.monotonic() - stopping_since > GRACE_S:
            raise EdgesepError(
                f"the processes did not stop within {GRACE_S:.0f} s: killed; {GO_ON}"
            )
        time.sleep(LOOK_S)


def _check(statuses: list[int | None], asked: bool) -> None:
    """Raise EdgesepError for a process that neither did its work nor stopped in order."""
    orderly = {None, 0, *STOPPED}
    if asked:
        orderly |= {-number for number in SIGNALS}  # it had not begun to listen
    for number, status in enumerate(statuses):
        if status not in orderly:
            assert status is not None
            how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            which = f"process {number} of {len(statuses)}"
            raise EdgesepError(f"{which} ended ({how}), and so the others, too; {GO_ON}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
