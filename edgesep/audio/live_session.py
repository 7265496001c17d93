"""One run of the live loop on one pair of devices: streams, rings and the worker between them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgesep import native
from edgesep.audio.devices import Device, PortAudio, Stream, find_device
from edgesep.audio.live_io import HOLD, Inlet, Outlet
from edgesep.audio.live_path import LivePath
from edgesep.audio.overload import OverloadGuard
from edgesep.audio.playout import DriftControl
from edgesep.audio.priority import ordinary, promote, realtime, threads
from edgesep.contract import RATE_HZ
from edgesep.live_settings import LiveSettings, parse_channel

if TYPE_CHECKING:
    from edgesep.audio.native_io import NativeInlet, NativeOutlet
    from edgesep.isolator import Isolator

__all__ = ["Counters", "Ends", "LiveSession", "open_devices"]

BUFFER_BLOCKS = 2  # that PortAudio keeps for a device, at the least
EXCESS_S = 0.08  # more waiting sound than this beyond the aim is skipped, not played late
FLOWING_BLOCKS = 2  # PulseAudio asks for three or so before anything comes
STEADY_S, STEADY_SHARE = 0.4, 0.25  # both devices keep time for so long, within so much
STEADY_MOST_S = 5.0  # on a machine that is so busy that they never do, sound begins all the same
MIX_MOST_CHANNELS = 16  # who offers more (PulseAudio: 32) makes as many as it is asked for
UNEVEN_MOST_S = 0.012  # beyond that it is no pace, but a busy machine
STALL_S = 3.0  # a PulseAudio null sink that nobody hears takes sound every two seconds only
START_STALL_S = 6.0
CLOSE_S = 2.0
DRAIN_S = 0.6  # for the last sound to be heard; all of the end has a second
STOP_FADE_S = 0.15  # at the most, whatever the settings say: what waits must be heard as well
SPARE_BLOCKS = 2  # of the device, beyond what PortAudio says of its buffer
TIMES_KEPT = 1024

Log = Callable[[str], None]


@dataclass
class Counters:
    """What has happened since the start, over all sessions."""

    hops: int = 0
    """Hops that went through."""
    passed_hops: int = 0
    """Hops passed through dry because the isolator would have been late."""
    smaller_hops: int = 0
    """Hops that a smaller model isolated because there was too little time."""
    dropped_hops: int = 0
    """Hops thrown away to get rid of a backlog."""
    starvations: int = 0
    """Times that the output had nothing to play."""
    late_requests: int = 0
    """Times that the output was asked for sound later than its buffer lasts: gaps, most likely."""
    overflows: int = 0
    """Times that PortAudio or a full ring lost input."""
    underflows: int = 0
    """Times that PortAudio reported a gap in the output."""
    limited_frames: int = 0
    """Output frames that the limiter turned down."""
    restarts: int = 0
    """Times that the devices were opened again."""
    reloads: int = 0
    """Times that settings were read again."""


@dataclass(frozen=True)
class Ends:
    """The two devices and how they are opened."""

    source: Device
    sink: Device
    in_rate_hz: int
    out_rate_hz: int
    in_channels: int
    out_channels: int


def open_devices(devices: list[Device], settings: LiveSettings) -> Ends:
    """Find both devices. Raises DeviceError when one is missing, or has too few channels."""
    source = find_device(devices, settings.input_device, "input")
    sink = find_device(devices, settings.output_device, "output")
    in_channels = _input_channels(source, settings)
    return Ends(
        source,
        sink,
        settings.input_rate_hz or source.rate_hz,
        settings.output_rate_hz or sink.rate_hz,
        in_channels,
        min(2, sink.outputs),
    )


def _input_channels(source: Device, settings: LiveSettings) -> int:
    """Return how many channels to open. Raises DeviceError where the device has too few."""
    from edgesep.errors import DeviceError

    choice = parse_channel(settings.channel)
    least = choice + 1 if isinstance(choice, int) else 2 if choice == "link" else 1
    wanted = settings.input_channels or least
    if choice == "mix" and not settings.input_channels:
        wanted = source.inputs if source.inputs <= MIX_MOST_CHANNELS else 2
    if max(least, wanted) > source.inputs:
        raise DeviceError(
            f"input device {source.name!r} has {source.inputs} channels: "
            f"channel {settings.channel} needs {max(least, wanted)}"
        )
    return max(least, wanted)


def _open_io(
    ends: Ends, block_s: float, patience_s: float, *, c: bool
) -> tuple[Inlet | NativeInlet, Outlet | NativeOutlet]:
    """Return what PortAudio calls, in C or not."""
    if c:
        from edgesep.audio.native_io import NativeInlet, NativeOutlet

        return (
            NativeInlet(ends.in_rate_hz, ends.in_channels),
            NativeOutlet(ends.out_rate_hz, ends.out_channels, block_s, patience_s),
        )
    return (
        Inlet(ends.in_rate_hz, ends.in_channels),
        Outlet(ends.out_rate_hz, ends.out_channels, block_s, patience_s),
    )


class LiveSession:
    """Runs from its making to `stop`.

    portaudio: a session of PortAudio that outlives this one.
    isolators: see `DryWet`; they are reset; opened with `channels_inside(settings.channel)`.
    log: takes a line for people, from any thread.
    Raises DeviceError when a device is missing or cannot be opened.
    """

    def __init__(
        self,
        portaudio: PortAudio,
        isolators: Sequence[Isolator],
        settings: LiveSettings,
        counters: Counters,
        log: Log,
    ) -> None:
        isolator = isolators[0]
        ends = open_devices(portaudio.devices(), settings)
        self.ends = ends
        self._counters, self._before = counters, Counters(**asdict(counters))
        self._log = log
        self._hop_s = isolator.hop_samples / RATE_HZ
        self._block_s = max(settings.block_ms / 1000, self._hop_s)
        self._inlet, self._outlet = _open_io(
            ends, self._block_s, BUFFER_BLOCKS * settings.block_ms / 1000,
            c=portaudio.takes_native_callbacks and native.available(),
        )  # fmt: skip
        self._path = LivePath(
            isolator, settings, ends.in_rate_hz, ends.out_rate_hz, ends.out_channels,
            ends.in_channels, smaller=isolators[1:],
        )  # fmt: skip
        self._drift = DriftControl(max(0.001, settings.headroom_ms / 1000 - self._path.lookahead_s))
        self._guard = OverloadGuard(self._hop_s, len(isolators))
        self._names = [isolator.card.name for isolator in isolators]
        self._said_level = 0
        self._smaller_hops = 0
        self.recorder: Callable[[np.ndarray, np.ndarray], None] | None = None
        """Takes the input and output of every step, int16 (n, channels), on the worker's thread."""
        self._muted = False
        self._ending = threading.Event()
        self._closed = False
        self._playing = False
        self._skipping = False
        self._settling_hops = 0  # until a seam in the input has left the path
        self._seen_starvations = 0
        self._dropped_hops = 0
        self._times_s = np.zeros(TIMES_KEPT)
        self._steps = 0
        self._busy_s = 0.0
        self._load_mark = (time.perf_counter(), 0.0)
        self._device_block_s = settings.block_ms / 1000
        self._pace = (time.perf_counter(), 0, 0)
        self._opened_s = self._stepped_s = time.perf_counter()
        self._unevenness_s = 0.0  # by which input has come late, at the most, before the start
        self._progress = (time.perf_counter(), 0, 0)
        self._failure: BaseException | None = None
        self._streams: list[Stream] = []
        self._to_promote: set[int] = set()
        self._worker = threading.Thread(target=self._work, name="edgesep worker", daemon=True)
        self._realtime = settings.realtime
        try:
            self._open(portaudio, settings.block_ms)
        except BaseException:
            self._close_streams()
            raise
        with realtime(self._realtime):  # a new thread inherits it
            self._worker.start()

    # --- control, from the main thread ----------------------------------------------------------

    @property
    def path(self) -> LivePath:
        """The path of the sound."""
        return self._path

    @property
    def playing(self) -> bool:
        """Whether the loudspeaker is being fed: both devices have come to their pace."""
        return self._playing

    def set_muted(self, muted: bool) -> None:
        """Fade to silence, or back."""
        self._muted = muted

    def trouble(self) -> str | None:
        """Return what is wrong with the streams, None if nothing is.

        Raises what has ended the worker, if anything has: that is a bug.
        """
        if self._failure is not None:
            raise self._failure
        now = time.perf_counter()
        since, in_blocks, out_blocks = self._progress
        if self._inlet.blocks != in_blocks and self._outlet.blocks != out_blocks:
            self._progress = (now, self._inlet.blocks, self._outlet.blocks)
            return None
        if not all(stream.active() for stream in self._streams):
            return "a device has stopped"
        patience_s = STALL_S if self._playing else START_STALL_S
        if now - since < patience_s:
            return None
        silent = "output" if self._outlet.blocks == out_blocks else "input"
        return f"no {silent} for {now - since:.1f} s"

    def stop(self, *, fade: bool = True) -> None:
        """Fade out, let that be heard, close the streams. Takes up to `DRAIN_S` before it closes.

        Closing throws away what is in the device's buffer (PortAudio's way to play that first
        leaves it to the driver: with ALSA it throws it away as well). So nothing but silence may
        be in there by then.
        """
        self._outlet.refill_frames = HOLD  # what runs dry from now on stays silent
        self._ending.set()
        if fade and self._playing:
            self._play_out(time.perf_counter() + DRAIN_S)
        self._playing = False
        self._outlet.ending = self._closed = True
        self._inlet.bell.ring()
        self._worker.join(CLOSE_S)
        self._close_streams()
        self._count()

    def _play_out(self, deadline_s: float) -> None:
        """Wait until the device has taken the end of the fade, and its buffer full of silence."""

        def wait_for(condition: Callable[[], bool]) -> None:
            while not condition() and time.perf_counter() < deadline_s:
                time.sleep(0.004)

        wait_for(lambda: self._path.fader.closed)
        steps = self._steps + 1 + math.ceil(self._path.lookahead_s / self._hop_s)
        wait_for(lambda: self._steps >= steps)  # what the limiter held back has come out as well
        waiting_s = self._outlet.ring.available / self.ends.out_rate_hz
        buffered_s = max((stream.latency_s for stream in self._streams), default=0.0)
        blocks = math.ceil((waiting_s + buffered_s) / self._device_block_s) + SPARE_BLOCKS
        blocks += self._outlet.blocks
        wait_for(lambda: self._outlet.blocks >= blocks)

    def counters(self) -> Counters:
        """Return the counters, up to date."""
        self._count()
        return self._counters

    def report(self) -> dict[str, float]:
        """Return figures since the last call: levels, load, latency in parts, drift."""
        now = time.perf_counter()
        then, busy_s = self._load_mark
        self._load_mark = (now, self._busy_s)
        level_in, level_out = self._path.level_in.read_dbfs(), self._path.level_out.read_dbfs()
        times_ms = self._times_s[: min(self._steps, TIMES_KEPT)] * 1000
        return {
            "in_dbfs": level_in,
            "out_dbfs": level_out,
            "attenuation_db": max(0.0, level_in - level_out),
            "load_percent": 100 * (self._busy_s - busy_s) / max(now - then, 1e-9),
            "hop_p50_ms": float(np.percentile(times_ms, 50)) if len(times_ms) else 0.0,
            "hop_p99_ms": float(np.percentile(times_ms, 99)) if len(times_ms) else 0.0,
            "drift_ppm": self._drift.drift_ppm,
            "stretch_ppm": 1e6 * (self._drift.stretch - 1),
            "headroom_ms": 1000 * self._drift.headroom_s,
            "headroom_aim_ms": 1000 * self._drift.aim_s,
            **{f"latency_{name}_ms": value for name, value in self.latency_ms().items()},
        }

    def latency_ms(self) -> dict[str, float]:
        """Return the parts of the latency from microphone to loudspeaker, and their sum.

        devices is what PortAudio says of them; a sound server behind it may take more.
        """
        path, outlet = self._path, self._outlet
        waiting_s = outlet.ring.available / self.ends.out_rate_hz + path.lookahead_s
        parts = {
            "algorithm": path.algorithm_s,
            "resampling": path.resampling_s,
            "buffers": waiting_s + max(0.0, self._block_s - self._hop_s),
            "devices": sum(stream.latency_s for stream in self._streams),
        }
        return {name: 1000 * part for name, part in parts.items()} | {
            "sum": 1000 * sum(parts.values())
        }

    # --- the worker -----------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it again
            self._failure = error

    def _loop(self) -> None:
        ring = self._inlet.ring
        block = np.zeros((self._path.hop_frames, ring.channels), np.int16)
        while not self._closed:
            if ring.available < len(block):
                self._inlet.bell.wait()
                continue
            if self._to_promote and self._flows():
                promote(self._to_promote)
                self._to_promote = set()
            self._skip_backlog(len(block))
            ring.read_into(block)
            self._step(block)

    def _flows(self) -> bool:
        """Whether both devices have begun."""
        return self._inlet.blocks >= FLOWING_BLOCKS and self._outlet.blocks > 0

    def _step(self, block: np.ndarray) -> None:
        started = time.perf_counter()
        path, outlet = self._path, self._outlet
        rest = self._decide(len(block), started)
        silent = self._muted or self._skipping or self._ending.is_set() or self._settling_hops > 0
        self._settling_hops = max(0, self._settling_hops - 1)
        was_closed = path.fader.closed
        path.fader.open = self._playing and not silent
        if self._ending.is_set():
            path.fader.shorten(round(STOP_FADE_S * self.ends.out_rate_hz))
        hops = path.hops
        out = path.push(block, self._drift.stretch, rest=rest)
        self._put(out, spare=was_closed and path.fader.closed)
        took_s = time.perf_counter() - started
        if path.hops > hops and not rest:
            self._guard.spent(path.dry_wet.cost_s)
        self._times_s[self._steps % TIMES_KEPT] = took_s
        self._steps += 1
        self._busy_s += took_s
        if self.recorder is not None:
            self.recorder(block, out)
        if self._playing:
            self._steer(len(block) / self.ends.in_rate_hz)
        elif self._ready(started) and not self._ending.is_set():
            outlet.headroom_s = float("inf")
            outlet.refill_frames = self._goal_frames()
            self._playing = True

    def _decide(self, frames: int, now_s: float) -> bool:
        """Tell whether the isolator rests for this hop; say once when that becomes the rule."""
        waiting = self._inlet.ring.available / frames + 1
        left_s = self._outlet.ring.available / self.ends.out_rate_hz
        guard = self._guard
        rest = guard.must_rest(waiting, left_s, now_s)
        self._path.dry_wet.level = guard.level
        self._smaller_hops += guard.level > 0 and not rest
        if guard.level > self._said_level:
            self._said_level = guard.level
            names = self._names
            self._log(
                f"overload: {names[guard.level]} goes on until there is time for {names[0]} again"
                if guard.level < len(names)
                else "overload: the sound passes through as it is until there is time again"
            )
        elif self._said_level and not guard.down:
            self._said_level = 0
            self._log(f"caught up: {self._names[0]} isolates again")
        return rest

    def _ready(self, now_s: float) -> bool:
        """Whether to begin: both devices keep time, and enough waits for how evenly they do.

        Before the start nobody takes from the output's ring, so it holds what has come since: the
        unevenness of the input (PulseAudio's pieces may be longer than ours) is all that is
        missing in the least fill that drift control will see.
        """
        late_s = now_s - self._stepped_s - self._device_block_s
        self._stepped_s = now_s
        self._unevenness_s = max(self._unevenness_s, min(late_s, UNEVEN_MOST_S))
        steady = self._steady(now_s)
        if steady is False:
            self._unevenness_s = 0.0
        return (bool(steady) or now_s - self._opened_s > STEADY_MOST_S) and self._full()

    def _steady(self, now_s: float) -> bool | None:
        """Whether both devices have come to their pace: at first some ask and bring in bursts.

        None: that is not known yet.
        """
        then_s, in_blocks, out_blocks = self._pace
        elapsed_s = now_s - then_s
        if elapsed_s < STEADY_S:
            return None
        self._pace = (now_s, self._inlet.blocks, self._outlet.blocks)
        expected = elapsed_s / self._device_block_s
        seen = (self._inlet.blocks - in_blocks, self._outlet.blocks - out_blocks)
        return all(abs(blocks / expected - 1) <= STEADY_SHARE for blocks in seen)

    def _full(self) -> bool:
        """Whether enough waits for the output to begin, or to go on after skipping."""
        return self._outlet.ring.available >= self._goal_frames()

    def _goal_frames(self) -> int:
        uneven_s = 0.0 if self._playing else self._unevenness_s
        return round((self._drift.aim_s + self._block_s + uneven_s) * self.ends.out_rate_hz)

    def _put(self, out: np.ndarray, *, spare: bool) -> None:
        """Hand sound to the output; before it plays, and while too much waits, only to the brim.

        spare: nothing is in it; the fader has been closed for longer than the limiter looks ahead.
        """
        if self._full() and (not self._playing or (self._skipping and spare)):
            self._dropped_hops += self._playing
            return
        self._outlet.write(out)

    def _skip_backlog(self, hop_frames: int) -> None:
        """Throw away input that is too old to be played, between a fade out and a fade in."""
        ring = self._inlet.ring
        if not self._playing:
            if ring.skip(max(0, ring.available - 2 * hop_frames)):
                self._settle()
            return
        waits_s = (ring.available - hop_frames) / self.ends.in_rate_hz
        ready_s = self._outlet.ring.available / self.ends.out_rate_hz
        if waits_s + ready_s > self._drift.aim_s + self._block_s + EXCESS_S:
            self._skipping = True
        if self._skipping and self._path.fader.closed:
            dropped = ring.skip(max(0, ring.available - hop_frames))
            self._dropped_hops += -(-dropped // hop_frames)
            if dropped:
                self._settle()
            if not self._full():
                self._skipping = False
                self._drift.jumped()

    def _settle(self) -> None:
        """Stay silent until the seam, where input is missing, has come out at the other end."""
        path = self._path
        through_s = path.algorithm_s + path.resampling_s + path.lookahead_s
        self._settling_hops = math.ceil(through_s / self._hop_s) + 1

    def _steer(self, elapsed_s: float) -> None:
        outlet = self._outlet
        headroom_s, outlet.headroom_s = outlet.headroom_s, float("inf")
        if outlet.starvations != self._seen_starvations:
            self._seen_starvations = outlet.starvations
            if not self._ending.is_set():
                self._drift.starved()
                outlet.refill_frames = self._goal_frames()
        elif not self._skipping:
            self._drift.update(headroom_s, elapsed_s)

    # --- ends -----------------------------------------------------------------------------------

    def _open(self, portaudio: PortAudio, block_ms: float) -> None:
        """Open both streams; the output first, which takes longer to begin.

        PortAudio's threads inherit the priority of this one. They get ours once sound flows: until
        its first sound, ALSA's way to PulseAudio has PortAudio poll without a pause, which at
        real-time priority keeps the server from ever bringing it where both share one core.
        """
        ends = self.ends
        before = threads()
        with ordinary():
            for device, kind, rate_hz, channels, end in (
                (ends.sink, "output", ends.out_rate_hz, ends.out_channels, self._outlet),
                (ends.source, "input", ends.in_rate_hz, ends.in_channels, self._inlet),
            ):
                frames = round(block_ms * rate_hz / 1000)
                self._streams.append(
                    portaudio.open(device, kind, rate_hz, channels, frames, end.for_portaudio)
                )
        self._to_promote = threads() - before if self._realtime else set()

    def _count(self) -> None:
        """Bring the shared counters up to date: what there was before, plus this session."""
        counters, before = self._counters, self._before
        inlet, outlet = self._inlet, self._outlet
        counters.hops = before.hops + self._path.hops
        counters.passed_hops = before.passed_hops + self._guard.missed_hops
        counters.smaller_hops = before.smaller_hops + self._smaller_hops
        counters.dropped_hops = before.dropped_hops + self._dropped_hops
        counters.starvations = before.starvations + outlet.starvations
        counters.late_requests = before.late_requests + outlet.late_requests
        counters.overflows = before.overflows + inlet.overflows + (inlet.lost_frames > 0)
        counters.underflows = before.underflows + outlet.underflows
        counters.limited_frames = before.limited_frames + self._path.limiter.limited_frames

    def _close_streams(self) -> None:
        """Close the streams, but do not hang with a driver that does."""
        closers = [threading.Thread(target=s.close, daemon=True) for s in self._streams]
        for closer in closers:
            closer.start()
        deadline = time.perf_counter() + CLOSE_S
        for closer in closers:
            closer.join(max(0.0, deadline - time.perf_counter()))
        if not any(thread.is_alive() for thread in (*closers, self._worker)):
            self._inlet.bell.close()  # else somebody may still use it
        self._streams = []
