"""Every key of a settings file: what it sets, its unit and range, and one line of help."""

from __future__ import annotations

from dataclasses import dataclass, fields

from edgesep.live_settings import LiveSettings
from edgesep.settings import Settings

__all__ = ["ALL_KEYS", "DEFAULT_MODEL", "Key"]

DEFAULT_MODEL = "small-16ms"


@dataclass(frozen=True)
class Key:
    """One key, as it stands in YAML and after --set."""

    name: str
    """Dotted path, such as "separation.wet"."""
    owner: str
    """"model", "settings" (`Settings`) or "live" (`LiveSettings`)."""
    field: str
    """Field of the owner."""
    kind: str
    """"text", "number" or "flag"."""
    choice: str
    """Unit and range, for people."""
    help: str

    @property
    def default(self) -> object:
        """What holds when nobody says anything."""
        if self.owner == "model":
            return DEFAULT_MODEL
        owner = Settings if self.owner == "settings" else LiveSettings
        return next(f.default for f in fields(owner) if f.name == self.field)

    @property
    def short(self) -> str:
        """The key without its section."""
        return self.name.partition(".")[2]


_ROWS = (
    Key("model.name", "model", "model", "text", "shipped model or .tflite path", "the network"),
    Key("model.engine", "settings", "engine", "text",
        "auto, fast, exact, edgetpu", "speed, the same bits, or Coral"),
    Key("separation.max_attenuation_db", "settings", "max_attenuation_db", "number",
        "0 to 100 dB", "background is never turned down by more"),
    Key("separation.wet", "settings", "wet", "number", "0 to 1", "share of the isolated signal"),
    Key("separation.output", "settings", "output", "text", "speech, background", "what comes out"),
    Key("separation.latency_ms", "settings", "latency_ms", "number",
        "ms; 10, 12, 16 with hops of 8 ms, 6, 8 with 4", "shorter fade; none: the model's own"),
    Key("audio.input.device", "live", "input_device", "text",
        "name, part of it, or index", "the microphone"),
    Key("audio.input.rate_hz", "live", "input_rate_hz", "number",
        "8000 to 192000 Hz", "0: the device's own"),
    Key("audio.input.channel", "live", "channel", "text",
        "0 to 63, mix, link", "mix: the mean of all; link: two under one mask"),
    Key("audio.input.channels", "live", "input_channels", "number",
        "1 to 64", "how many to open; 0: as many as it has or channel needs"),
    Key("audio.output.device", "live", "output_device", "text",
        "name, part of it, or index", "the loudspeaker"),
    Key("audio.output.rate_hz", "live", "output_rate_hz", "number",
        "8000 to 192000 Hz", "0: the device's own"),
    Key("audio.block_ms", "live", "block_ms", "number",
        "2 to 100 ms", "sound that devices hand over at a time"),
    Key("audio.headroom_ms", "live", "headroom_ms", "number",
        "1 to 200 ms", "least sound kept waiting for the output"),
    Key("audio.wait", "live", "wait", "flag",
        "true, false", "wait for a device that is missing at the start"),
    Key(
        "audio.realtime", "live", "realtime", "flag", "true, false",
        "ask for real-time priority",
    ),
    Key("safety.limiter_dbfs", "live", "limiter_dbfs", "number",
        "-60 to 0 dBFS", "nothing louder leaves"),
    Key("safety.fade_ms", "live", "fade_ms", "number",
        "5 to 1000 ms", "fade at start, stop, mute and after a gap"),
    Key("overload.step_down", "live", "step_down", "text",
        "auto, off, or models", "smaller models to go on with when there is too little time"),
)  # fmt: skip
ALL_KEYS = {key.name: key for key in _ROWS}
