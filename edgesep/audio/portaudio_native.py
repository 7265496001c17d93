"""Open PortAudio's streams with callbacks in C, past PyAudio, which only takes Python's.

It is the PortAudio that PyAudio has loaded, and PyAudio has begun its session: this is about
streams alone. What a C callback saves is the wait for the interpreter, and its making a state for
a foreign thread, every block anew.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

__all__ = ["NativeCallback", "NativePortAudio"]

INT16, NO_FLAGS = 8, 0  # paInt16, paNoFlag


@dataclass(frozen=True)
class NativeCallback:
    """A PaStreamCallback and what it gets as its last argument, as addresses."""

    function: int
    data: int
    owner: object
    """Has the memory; kept while a stream runs."""


class _Parameters(ctypes.Structure):
    _fields_ = [
        ("device", ctypes.c_int), ("channels", ctypes.c_int), ("format", ctypes.c_ulong),
        ("latency_s", ctypes.c_double), ("specific", ctypes.c_void_p),
    ]  # fmt: skip


class _Info(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int), ("input_latency_s", ctypes.c_double),
        ("output_latency_s", ctypes.c_double), ("rate_hz", ctypes.c_double),
    ]  # fmt: skip


class NativePortAudio:
    """The library itself. Raises OSError or AttributeError where there is no way to it.

    extension: path of PyAudio's compiled module: what it is linked with is looked up in it.
    """

    def __init__(self, extension: str) -> None:
        if os.name != "posix":
            raise OSError("the callbacks in C are for POSIX systems")
        library = ctypes.CDLL(extension)
        self._open, self._start = library.Pa_OpenStream, library.Pa_StartStream
        self._abort, self._close = library.Pa_AbortStream, library.Pa_CloseStream
        self._active, self._text = library.Pa_IsStreamActive, library.Pa_GetErrorText
        self._info = library.Pa_GetStreamInfo
        self._open.argtypes = [
            ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p, ctypes.c_void_p, ctypes.c_double,
            ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        for function in (self._start, self._abort, self._close, self._active, self._info):
            function.argtypes = [ctypes.c_void_p]
        self._info.restype = ctypes.POINTER(_Info)
        self._text.argtypes, self._text.restype = [ctypes.c_int], ctypes.c_char_p

    def open(
        self, device: int, kind: str, rate_hz: int, channels: int, block_frames: int,
        latency_s: float, callback: NativeCallback,
    ) -> NativeStream:  # fmt: skip
        """Open and start an int16 stream. kind: "input" or "output". Raises OSError."""
        parameters = ctypes.byref(_Parameters(device, channels, INT16, latency_s, None))
        ends = (parameters, None) if kind == "input" else (None, parameters)
        stream = ctypes.c_void_p()
        self._check(self._open(ctypes.byref(stream), *ends, rate_hz, block_frames, NO_FLAGS,
                               callback.function, callback.data))  # fmt: skip
        try:
            self._check(self._start(stream))
        except OSError:
            self._close(stream)
            raise
        return NativeStream(self, stream, kind, callback)

    def active(self, stream: Any) -> bool:
        """Tell whether a stream runs."""
        return bool(self._active(stream) == 1)

    def latency_s(self, stream: Any, kind: str) -> float:
        """Return what PortAudio says the device and its buffer take."""
        info = self._info(stream)
        return float(getattr(info.contents, f"{kind}_latency_s")) if info else 0.0

    def close(self, stream: Any) -> None:
        """Stop a stream at once and free it."""
        self._abort(stream)
        self._close(stream)

    def _check(self, status: int) -> None:
        if status < 0:
            raise OSError(status, self._text(status).decode())


class NativeStream:
    """A running stream; the methods of PyAudio's that are needed."""

    def __init__(
        self, library: NativePortAudio, stream: ctypes.c_void_p, kind: str, callback: NativeCallback
    ) -> None:
        self._library, self._stream, self._kind = library, stream, kind
        self._callback = callback  # keeps its memory alive
        self._open = True

    def is_active(self) -> bool:
        """Tell whether PortAudio still runs it."""
        return self._open and self._library.active(self._stream)

    def latency_s(self) -> float:
        """Return what PortAudio says the device and its buffer take."""
        return self._library.latency_s(self._stream, self._kind)

    def close(self) -> None:
        """Stop at once and give the device back."""
        if self._open:
            self._open = False
            self._library.close(self._stream)
