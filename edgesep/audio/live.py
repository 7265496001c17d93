"""The live loop as a whole: keeps a session running, whatever is unplugged or set anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edgesep.audio.devices import PortAudio, require_pyaudio
from edgesep.audio.live_path import channels_inside
from edgesep.audio.live_session import Counters, LiveSession
from edgesep.audio.priority import ordinary
from edgesep.audio.step_down import smaller_models
from edgesep.errors import DeviceError, EdgesepError
from edgesep.isolator import Isolator
from edgesep.live_settings import AUTO

if TYPE_CHECKING:
    from edgesep.audio.recorder import Recorder
    from edgesep.config import Config

__all__ = ["LiveLoop"]

RETRY_FIRST_S, RETRY_SOON_S, RETRY_MOST_S = 0.25, 1.0, 4.0
SOON_S = 60.0  # a device that comes back does so soon, mostly


class LiveLoop:
    """From the microphone to the loudspeaker until `stop`. All calls from one thread.

    log: takes a line for people. recorder: gets what goes in and out.
    Raises ModelError, EngineError or SettingsError when the isolator cannot be opened, and
    DeviceError when a device is missing that the settings do not want to wait for, and where there
    is no PyAudio or PortAudio to look for it.
    """

    def __init__(
        self, config: Config, log: Callable[[str], None], recorder: Recorder | None = None
    ) -> None:
        require_pyaudio()
        self._config = config
        self._log = log
        self._recorder = recorder
        self._isolators = _open_isolators(config, log)
        self._counters = Counters()
        self._portaudio: PortAudio | None = None
        self._session: LiveSession | None = None
        self._retry_s = RETRY_FIRST_S
        self._retry_at = 0.0
        self._lost_at = time.monotonic()
        self._said = ""
        self.bypass = False
        """Whether the input passes through as it is."""
        self.muted = False
        """Whether the output is silent."""
        if not config.live.wait:
            self._open()

    @property
    def config(self) -> Config:
        """The settings in force."""
        return self._config

    @property
    def session(self) -> LiveSession | None:
        """What runs now; None while a device is missing."""
        return self._session

    @property
    def isolators(self) -> list[Isolator]:
        """The model in use and smaller ones, the largest first."""
        return self._isolators

    @property
    def description(self) -> str:
        """What runs, for people."""
        return self._isolators[0].description

    def tick(self) -> None:
        """Look after the session; call this every 0.1 s or so."""
        if self._session is not None:
            trouble = self._session.trouble()
            if trouble is None:
                return
            self._log(f"sound has stopped: {trouble}; looking for the devices")
            self._counters.restarts += 1
            self._lost_at = time.monotonic()
            self._close(fade=False)
        elif time.monotonic() >= self._retry_at:
            self._try_to_open()

    def apply(self, config: Config) -> str:
        """Use other settings from now on; return what that took: "at once" or "restarted".

        Raises EdgesepError, and goes on with the old settings and devices, when they do not work;
        while a device is waited for, one that is missing does not count.
        """
        old = self._config
        settings = config.settings
        same_engine = (settings.engine, settings.latency_ms) == (
            old.settings.engine, old.settings.latency_ms,
        )  # fmt: skip
        same_live = config.live == replace(old.live, limiter_dbfs=config.live.limiter_dbfs)
        if config.model == old.model and same_engine and same_live:
            for isolator in self._isolators:
                isolator.set_settings(settings)
            if self._session is not None:
                self._session.path.limiter.set_ceiling(config.live.limiter_dbfs)
            self._config = config
            return "at once"
        before = self._isolators, old
        isolators = _open_isolators(config, self._log)
        was_running = self._session is not None
        self._close(fade=True)
        self._isolators, self._config = isolators, config
        self._retry_at = 0.0
        if was_running:
            try:
                self._open()
            except DeviceError:
                self._close(fade=False)
                self._isolators, self._config = before
                self._try_to_open()
                raise
        return "restarted"

    def set_bypass(self, bypass: bool) -> None:
        """Crossfade to the input, as late as the isolated sound, or back."""
        self.bypass = bypass
        self._tell_session()

    def set_muted(self, muted: bool) -> None:
        """Fade to silence, or back."""
        self.muted = muted
        self._tell_session()

    def count_reload(self) -> None:
        """Count that settings have been read again."""
        self._counters.reloads += 1

    def counters(self) -> Counters:
        """Return the counters, up to date."""
        return self._session.counters() if self._session is not None else self._counters

    def stop(self) -> None:
        """Fade out and give the devices back."""
        self._close(fade=True)

    def _try_to_open(self) -> None:
        try:
            self._open()
        except DeviceError as error:
            if str(error) != self._said:
                self._log(f"waiting: {error}")
            self._said = str(error)
            self._close(fade=False)
            now = time.monotonic()
            self._retry_at = now + self._retry_s
            most_s = RETRY_SOON_S if now - self._lost_at < SOON_S else RETRY_MOST_S
            self._retry_s = min(2 * self._retry_s, most_s)

    def _open(self) -> None:
        """Open PortAudio anew, since only a new session sees what has been plugged in.

        That takes tenths of a second, for which no real-time thread of others should wait.
        """
        with ordinary():
            self._open_session()

    def _open_session(self) -> None:
        self._portaudio = PortAudio()
        session = LiveSession(
            self._portaudio, self._isolators, self._config.live, self._counters, self._log
        )
        session.recorder = self._recorder.push if self._recorder is not None else None
        if self._recorder is not None:
            self._recorder.begin(session.ends)
        self._session = session
        self._tell_session()
        self._retry_s, self._said = RETRY_FIRST_S, ""
        ends = session.ends
        for kind in ("input", "output"):
            wanted = getattr(self._config.live, f"{kind}_device")
            if wanted.isdigit():
                self._log(
                    f"warning: audio.{kind}.device is the index {wanted}, which another device "
                    "may get at the next start: use its name"
                )
        self._log(
            f"listening to {ends.source.name!r} at {ends.in_rate_hz} Hz, "
            f"playing to {ends.sink.name!r} at {ends.out_rate_hz} Hz"
        )

    def _close(self, *, fade: bool) -> None:
        if self._session is not None:
            self._session.stop(fade=fade)
            self._counters = self._session.counters()
            self._session = None
        if self._portaudio is not None:
            self._portaudio.close()
            self._portaudio = None

    def _tell_session(self) -> None:
        if self._session is not None:
            self._session.path.dry_wet.bypass = self.bypass
            self._session.set_muted(self.muted)


def _open_isolators(config: Config, log: Callable[[str], None]) -> list[Isolator]:
    """Open the model and, for an overload, smaller ones; one that "auto" finds may fail."""
    live, settings = config.live, config.settings
    channels = channels_inside(live.channel)
    isolators = [Isolator(config.model, settings, channels)]
    for name in smaller_models(config.model, live.step_down, settings.latency_ms):
        try:
            isolators.append(Isolator(name, settings, channels))
        except EdgesepError as error:
            if live.step_down != AUTO:
                raise
            log(f"warning: no step down to {name}: {error}")
    return isolators
