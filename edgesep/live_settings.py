"""What a user may choose about live sound: devices, buffers, hearing safety."""

from __future__ import annotations

from dataclasses import dataclass

from edgesep.errors import SettingsError
from edgesep.settings import check_range

__all__ = ["AUTO", "OFF", "LiveSettings", "parse_channel", "parse_step_down"]

CHANNEL_WORDS = ("mix", "link")
AUTO, OFF = "auto", "off"
RATE_MIN_HZ, RATE_MAX_HZ = 8_000, 192_000


@dataclass(frozen=True)
class LiveSettings:
    """Frozen settings of the live loop. Raises SettingsError for a wrong value."""

    input_device: str = "default"
    """Name of the microphone, or a part of it that only one device has, or its index."""
    output_device: str = "default"
    """Name of the loudspeaker, likewise."""
    input_rate_hz: int = 0
    """Rate to open the input at, 8000 .. 192000 Hz; 0: the device's own."""
    output_rate_hz: int = 0
    """Rate to open the output at, 8000 .. 192000 Hz; 0: the device's own."""
    channel: str = "mix"
    """Input channel "0", "1", ..; "mix": the mean of all; "link": the first two,
    one mask."""
    input_channels: int = 0
    """Channels to open the input with, 1 .. 64; 0: for "mix" all that it has, or two where it takes
    any number, as PulseAudio does; else as many as `channel` needs."""
    block_ms: float = 8.0
    """Sound that the devices hand over at a time: 2 .. 100 ms."""
    headroom_ms: float = 10.0
    """Least sound kept waiting for the output, the limiter's look-ahead of 1.5 ms included:
    1 .. 200 ms. More survives more jitter; it grows by itself when the output starves."""
    wait: bool = True
    """Wait for a device that is missing at the start; else that is an error."""
    realtime: bool = True
    """Ask for real-time priority; where that is not allowed, do without."""
    limiter_dbfs: float = -1.0
    """Nothing louder than this leaves: -60 .. 0 dBFS."""
    fade_ms: float = 50.0
    """Fade at start, stop, mute and after a gap: 5 .. 1000 ms."""
    step_down: str = AUTO
    """Smaller models for an overload: "auto": those with the same hop and latency; "off": none;
    or names or paths, parted by commas, the first step first. The last step is no model at all."""

    def __post_init__(self) -> None:
        check_range("block_ms", self.block_ms, 2.0, 100.0)
        check_range("headroom_ms", self.headroom_ms, 1.0, 200.0)
        check_range("limiter_dbfs", self.limiter_dbfs, -60.0, 0.0)
        check_range("fade_ms", self.fade_ms, 5.0, 1000.0)
        for name in ("input_rate_hz", "output_rate_hz"):
            rate_hz = getattr(self, name)
            check_range(name, rate_hz, 0.0, float(RATE_MAX_HZ))
            if rate_hz != int(rate_hz) or 0 < rate_hz < RATE_MIN_HZ:
                raise SettingsError(
                    f"{name} is {rate_hz:g}: give a whole number from {RATE_MIN_HZ} to "
                    f"{RATE_MAX_HZ}, or 0 for the device's own"
                )
            object.__setattr__(self, name, int(rate_hz))
        check_range("input_channels", self.input_channels, 0.0, 64.0)
        if self.input_channels != int(self.input_channels):
            raise SettingsError(f"input_channels is {self.input_channels:g}: give a whole number")
        object.__setattr__(self, "input_channels", int(self.input_channels))
        for name in ("wait", "realtime"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise SettingsError(f"{name} is {value!r}: give true or false")
        parse_channel(self.channel)
        parse_step_down(self.step_down)


def parse_channel(channel: str) -> int | str:
    """Return "mix", "link" or the number of a channel, 0 .. 63. Raises SettingsError."""
    if channel in CHANNEL_WORDS:
        return channel
    if channel.isascii() and channel.isdigit() and int(channel) < 64:
        return int(channel)
    raise SettingsError(f"channel is {channel!r}: give mix, link, or a number from 0 to 63")


def parse_step_down(step_down: str) -> list[str]:
    """Return the names in `LiveSettings.step_down`; ["auto"] or ["off"] for these words.

    Raises SettingsError for an empty name, or one of these words among names.
    """
    names = [name.strip() for name in step_down.split(",")]
    if not all(names) or (len(names) > 1 and {AUTO, OFF} & set(names)):
        raise SettingsError(
            f"step_down is {step_down!r}: give auto, off, or names of models parted by commas"
        )
    return names
