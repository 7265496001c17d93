"""PortAudio, in one place: find devices by name, open streams, turn its errors into ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

from edgesep.audio.portaudio_native import NativeCallback, NativePortAudio
from edgesep.errors import DeviceError, one_line

__all__ = ["Device", "PortAudio", "Stream", "find_device", "require_pyaudio"]

PYAUDIO_MISSING = (
    "live sound needs PyAudio: apt install gcc python3-dev portaudio19-dev, "
    "then pip install 'edgesep[audio]'"
)
PORTAUDIO_MISSING = (
    "PyAudio does not load ({}): apt install libportaudio2, or install PyAudio again"
)
Callback = Callable[[Any, int, Any, int], tuple[bytes | None, int]]
"""PyAudio's stream callback: (samples in, frames, times, status flags) -> (samples out, what)."""


@dataclass(frozen=True)
class Device:
    """A sound device as PortAudio lists it."""

    index: int
    name: str
    host_api: str
    inputs: int
    """Most channels it records; 0: it does not."""
    outputs: int
    """Most channels it plays."""
    rate_hz: int
    """Its own sampling rate."""
    default_for: tuple[str, ...] = ()
    """"input", "output", both or none."""

    def serves(self, kind: str) -> bool:
        """Tell whether it is an "input" or "output"."""
        return bool(self.inputs if kind == "input" else self.outputs)


def find_device(devices: Sequence[Device], wanted: str, kind: str) -> Device:
    """Return the device that `wanted` means: "default", a name, a part of one, or an index.

    kind: "input" or "output". The whole name wins over parts of names; case matters in neither.
    Raises DeviceError with the candidates when none or several match.
    """
    able = [device for device in devices if device.serves(kind)]
    if wanted == "default":
        chosen = [d for d in able if kind in d.default_for] or able[:1]
        if not chosen:
            raise DeviceError(f"there is no {kind} device: `edgesep devices` lists what there is")
        return chosen[0]
    if wanted.isascii() and wanted.isdigit():
        for device in able:
            if device.index == int(wanted):
                return device
        raise DeviceError(f"{kind} device {wanted}: no {kind} has this index; {_listed(able)}")
    text = wanted.casefold()
    matches = [d for d in able if d.name.casefold() == text]
    matches = matches or [d for d in able if text in d.name.casefold()]
    if not matches:
        raise DeviceError(f"{kind} device {wanted!r} is not there; {_listed(able)}")
    if len(matches) > 1:
        raise DeviceError(
            f"{kind} device {wanted!r} could be any of {_names(matches)}: give more of the name"
        )
    return matches[0]


def _listed(devices: Sequence[Device]) -> str:
    return f"there are {_names(devices)}" if devices else "there is none at all"


def _names(devices: Sequence[Device]) -> str:
    return ", ".join(f"{device.name!r} ({device.index})" for device in devices)


class PortAudio:
    """A PortAudio session. What is plugged in later shows only in a new one.

    Raises DeviceError when PyAudio is not installed or PortAudio does not start.
    """

    def __init__(self) -> None:
        self._pyaudio = require_pyaudio()
        try:
            with _silent_stderr():  # ALSA reports every device that it does not find
                self._session = self._pyaudio.PyAudio()
        except OSError as error:
            raise DeviceError(f"PortAudio does not start ({_reason(error)})") from error
        self._native: NativePortAudio | None = None
        try:
            self._native = NativePortAudio(self._pyaudio.pa.__file__)
        except (OSError, AttributeError):  # another build of PyAudio: its own callbacks do
            pass

    @property
    def takes_native_callbacks(self) -> bool:
        """Whether `open` takes a NativeCallback."""
        return self._native is not None

    def devices(self) -> list[Device]:
        """List all devices."""
        session = self._session
        defaults = {kind: self._default_index(kind) for kind in ("input", "output")}
        found = []
        for index in range(session.get_device_count()):
            info = session.get_device_info_by_index(index)
            api = session.get_host_api_info_by_index(info["hostApi"])["name"]
            kinds = tuple(kind for kind, number in defaults.items() if number == index)
            found.append(
                Device(index, str(info["name"]), str(api), int(info["maxInputChannels"]),
                       int(info["maxOutputChannels"]), int(info["defaultSampleRate"]), kinds)
            )  # fmt: skip
        return found

    def open(
        self,
        device: Device,
        kind: str,
        rate_hz: int,
        channels: int,
        block_frames: int,
        callback: Callback | NativeCallback,
    ) -> Stream:
        """Open and start an int16 stream; `callback` runs on PortAudio's thread.

        kind: "input" or "output". Raises DeviceError.
        """
        try:
            if self._native is not None and isinstance(callback, NativeCallback):
                info = self._session.get_device_info_by_index(device.index)
                native = self._native.open(
                    device.index, kind, rate_hz, channels, block_frames,
                    info[f"defaultLow{kind.capitalize()}Latency"], callback,
                )  # fmt: skip
                return Stream(native, native.latency_s())
            stream = self._session.open(
                rate=rate_hz,
                channels=channels,
                format=self._pyaudio.paInt16,
                frames_per_buffer=block_frames,
                stream_callback=callback,
                **{kind: True, f"{kind}_device_index": device.index},
            )
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"{kind} device {device.name!r}: cannot be opened at {rate_hz} Hz with {channels} "
                f"channels ({_reason(error)})"
            ) from error
        get_latency = stream.get_input_latency if kind == "input" else stream.get_output_latency
        return Stream(stream, float(get_latency()))

    def close(self) -> None:
        """End the session."""
        self._session.terminate()

    def _default_index(self, kind: str) -> int | None:
        ask = getattr(self._session, f"get_default_{kind}_device_info")
        try:
            return int(ask()["index"])
        except OSError:  # PortAudio's way to say that there is none
            return None


class Stream:
    """A running stream."""

    def __init__(self, stream: Any, latency_s: float) -> None:
        self._stream = stream
        self.latency_s = latency_s
        """What PortAudio says the device and its buffer take."""

    def active(self) -> bool:
        """Tell whether PortAudio still runs it."""
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def close(self) -> None:
        """Stop at once and give the device back."""
        try:
            self._stream.close()
        except OSError:
            pass  # the device has gone: there is nothing left to give back


def require_pyaudio() -> Any:
    """Return the module `pyaudio`. Raises DeviceError with what to install; waiting is no help."""
    try:
        with redirect_stdout(StringIO()):  # where PyAudio says what it then raises
            import pyaudio
    except ModuleNotFoundError as error:
        raise DeviceError(PYAUDIO_MISSING) from error
    except ImportError as error:  # it is there, and a library that it is linked with is not
        raise DeviceError(PORTAUDIO_MISSING.format(one_line(str(error)))) from error
    return pyaudio


def _reason(error: Exception) -> str:
    """PyAudio raises OSError(number, text), (text, number) or (text,)."""
    texts = [str(part) for part in error.args if isinstance(part, str)]
    return " ".join(texts) or type(error).__name__


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what C code writes to standard error meanwhile."""
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
