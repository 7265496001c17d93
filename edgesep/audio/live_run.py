"""`edgesep run`: the live loop with its signals, status line, metrics and control socket."""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from edgesep.audio.control import ControlServer, default_socket
from edgesep.audio.live import LiveLoop
from edgesep.audio.priority import realtime
from edgesep.audio.recorder import Recorder
from edgesep.audio.status import Metrics, StatusLine
from edgesep.config import Config, parse_assignments
from edgesep.errors import EdgesepError, SettingsError, unknown_name
from edgesep.keys import ALL_KEYS

__all__ = ["RunOptions", "run_live"]

TICK_S = 0.1
SWITCH_S = 0.0005  # so that PortAudio's thread gets the interpreter in time; Python's is 5 ms
COMMANDS = ("status", "set", "bypass", "mute", "reload")


@dataclass(frozen=True)
class RunOptions:
    """How to run, apart from the settings."""

    seconds: float | None = None
    """End by itself after so long."""
    json: bool = False
    """Print the counters as JSON at the end."""
    quiet: bool = False
    """No status line."""
    metrics: str | None = None
    """File for a JSON line a second; "-" is standard output."""
    record: Path | None = None
    """Folder for the last minutes of sound."""
    socket: str | None = None
    """Path of the control socket; "off": none; None: the usual place."""


def run_live(load: Callable[[], Config], options: RunOptions) -> int:
    """Run the live loop until a signal or `options.seconds` ends it; return the exit status.

    load: reads the settings; called again on SIGHUP.
    """
    run = _Run(load, options)
    try:
        with realtime(run.wants_realtime):  # a slow owner of the interpreter would hold up the rest
            run.loop()
    finally:
        run.close()
    return 0


class _Run:
    def __init__(self, load: Callable[[], Config], options: RunOptions) -> None:
        self._load, self._options = load, options
        self._status = StatusLine(sys.stderr, quiet=options.quiet)
        config = load()
        self.wants_realtime = config.live.realtime
        self._metrics = Metrics(options.metrics) if options.metrics else None
        self._recorder = Recorder(options.record) if options.record else None
        self._ending = self._reloading = False
        sys.setswitchinterval(SWITCH_S)
        self._handlers = {number: signal.signal(number, self._note_signal)
                          for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}  # fmt: skip
        self._live = LiveLoop(config, self._status.note, self._recorder)
        self._status.note(self._live.description)
        self._control = self._open_control()
        self._began = time.monotonic()
        self._report: dict[str, float] = {}
        gc.collect()
        gc.freeze()  # what is here stays: collections during the run have less to look at

    def loop(self) -> None:
        seconds = self._options.seconds
        while not self._ending:
            self._live.tick()
            if self._reloading:
                self._reloading = False
                self._try_reload()
            self._show()
            if self._control is not None:
                self._control.poll(TICK_S)
            else:
                time.sleep(TICK_S)
            if seconds is not None and time.monotonic() - self._began >= seconds:
                break

    def close(self) -> None:
        final = self._figures()
        self._live.stop()
        if self._control is not None:
            self._control.close()
        if self._recorder is not None:
            self._recorder.close()
            if self._recorder.error or self._recorder.lost_blocks:
                lost = f"{self._recorder.lost_blocks} blocks were not recorded"
                self._status.note(self._recorder.error or lost)
        if self._metrics is not None:
            self._metrics.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._options.json:
            print(json.dumps({**final, **asdict(self._live.counters())}))

    def _note_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reloading = True
        else:
            self._ending = True

    def _open_control(self) -> ControlServer | None:
        if self._options.socket == "off":
            return None
        given = self._options.socket
        return ControlServer(Path(given) if given else default_socket(), self._answer)

    def _show(self) -> None:
        if self._live.session is None:
            return
        status_due = self._status.due
        metrics_due = self._metrics is not None and self._metrics.due
        if not (status_due or metrics_due):
            return
        self._report = self._live.session.report()
        counters = self._live.counters()
        if status_due:
            losses = counters.starvations + counters.overflows + counters.dropped_hops
            self._status.show(self._report, losses)
        if metrics_due and self._metrics is not None:
            self._metrics.write({**self._report, **asdict(counters)})

    def _figures(self) -> dict[str, Any]:
        session = self._live.session
        report = session.report() if session is not None else self._report
        return {
            "seconds": round(time.monotonic() - self._began, 3),
            "model": self._live.config.model,
            "engine": self._live.description,
            **{name: round(value, 3) for name, value in report.items()},
        }

    # --- settings while it runs -------------------------------------------------------------------

    def _try_reload(self) -> None:
        try:
            self._status.note(f"settings read again: {self._reload()}")
        except EdgesepError as error:
            self._status.note(f"warning: the old settings stay: {error}")

    def _reload(self) -> str:
        how = self._live.apply(self._load())
        self._live.count_reload()
        return how

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the control socket."""
        command = request.get("command")
        if command == "status":
            return self._state()
        if command == "set":
            how = self._set(str(request.get("assignment", "")))
            return {"done": how}
        if command == "reload":
            return {"done": self._reload()}
        if command in ("bypass", "mute"):
            on = request.get("on")
            if not isinstance(on, bool):
                raise SettingsError(f"{command} takes on or off")
            (self._live.set_bypass if command == "bypass" else self._live.set_muted)(on)
            return {"done": "on" if on else "off"}
        raise SettingsError(unknown_name("command", command, COMMANDS))

    def _set(self, assignment: str) -> str:
        config = self._live.config
        now = {name: config.value(name) for name in ALL_KEYS}
        return self._live.apply(Config.from_keys(now, parse_assignments([assignment])))

    def _state(self) -> dict[str, Any]:
        config = self._live.config
        return {
            **self._figures(),
            **asdict(self._live.counters()),
            "running": self._live.session is not None,
            "playing": self._live.session is not None and self._live.session.playing,
            "bypass": self._live.bypass,
            "muted": self._live.muted,
            "settings": {name: config.value(name) for name in ALL_KEYS},
        }
