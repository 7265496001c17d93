"""The commands for live sound: run, devices, ctl, config, latency, service."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesep.errors import SettingsError

if TYPE_CHECKING:
    from edgesep.config import Config

__all__ = ["add_layers", "add_live_commands", "load_config"]

RUN_NOTES = """\
Settings come from the board's file, then the YAML file, then --set; later ones win. `edgesep
config init` prints a file with all of them. The devices are opened at their own rates; a clock
that differs between them is followed. Where a device is missing or is unplugged, it is waited for.

  edgesep run --set input.device=USB --set output.device=Headphones
  edgesep run --board raspberry_pi_4 live.yaml

Nothing louder than safety.limiter_dbfs leaves. Use headphones, or keep the microphone away from
the loudspeaker: they would howl.

signals: SIGINT, SIGTERM fade out and end (status 0), SIGHUP reads the settings again
"""
CTL_NOTES = """\
  edgesep ctl status                    figures and settings, as JSON
  edgesep ctl set max_attenuation_db=20 any setting; those of separation: and the limiter at once,
                                        others with a short pause
  edgesep ctl bypass on|off             the input as it is, just as late: for comparing
  edgesep ctl mute on|off
  edgesep ctl reload                    read the settings' files again
"""
CONFIG_NOTES = """\
  edgesep config init > live.yaml       all settings with their defaults, units and ranges
  edgesep config check live.yaml        nothing, or an error with line and column
  edgesep config show live.yaml         the settings in force and where each comes from
"""

LATENCY_NOTES = """\
Connect the output to the input by a cable, or put the microphone to the loudspeaker. Five chirps
at -12 dBFS are played; the figure is that of a program: from handing a sample to PortAudio to
getting it back. The live loop adds its own latency, which `edgesep ctl status` lists in parts.

  edgesep latency --set input.device=USB --set output.device=USB
"""

SERVICE_NOTES = """\
Writes ~/.config/systemd/user/edgesep.service with absolute paths, and starts it: again after each
failure, at most five times in five minutes. `loginctl enable-linger` lets it run without a login.

  edgesep service install live.yaml     journalctl --user -u edgesep shows what it says
  systemctl --user reload edgesep       reads the settings again
  edgesep service remove
"""

Commands = Any  # argparse's type for it is private
AddCommand = Callable[..., argparse.ArgumentParser]


def add_live_commands(commands: Commands) -> None:
    """Add the commands to the parser of `edgesep`."""
    _add_run(commands)
    _add_devices(commands)
    _add_ctl(commands)
    _add_config(commands)
    _add_latency(commands)
    _add_service(commands)


def _add(commands: Commands, name: str, text: str, notes: str, run: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=notes,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    command.set_defaults(run=run, known=command)
    return command


def add_layers(command: argparse.ArgumentParser) -> None:
    """Add where settings come from: a file, a board, --set."""
    command.add_argument("config", nargs="?", metavar="CONFIG.yaml", help="file with settings")
    command.add_argument("--board", metavar="NAME", help="start from a board's settings")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting by name"
    )


def _add_run(commands: Commands) -> None:
    command = _add(
        commands, "run", "isolate speech live, from a microphone to a loudspeaker", RUN_NOTES, _run
    )
    add_layers(command)
    add = command.add_argument
    add("--seconds", type=_seconds, metavar="N", help="end after so long (default: never)")
    add("--json", action="store_true", help="print figures and counters as JSON at the end")
    add("--quiet", action="store_true", help="no status line")
    add("--metrics", metavar="FILE", help="append a JSON line of figures a second; - is stdout")
    add("--record", type=Path, metavar="DIR",
        help="keep the last ten minutes of input and output there, as WAV")  # fmt: skip
    add("--socket", metavar="PATH", help="control socket, or off (default: in XDG_RUNTIME_DIR)")


def _add_devices(commands: Commands) -> None:
    command = _add(commands, "devices", "list the sound devices", "", _devices)
    command.add_argument("--json", action="store_true", help="as JSON")


def _add_ctl(commands: Commands) -> None:
    command = _add(commands, "ctl", "control a running `edgesep run`", CTL_NOTES, _ctl)
    command.add_argument("action", choices=("status", "set", "bypass", "mute", "reload"))
    command.add_argument("value", nargs="?", help="KEY=VALUE for set; on or off")
    command.add_argument("--socket", type=Path, metavar="PATH", help="of the running loop")


def _add_config(commands: Commands) -> None:
    text = "check, show or write a file with settings"
    command = _add(commands, "config", text, CONFIG_NOTES, _config)
    command.add_argument("action", choices=("check", "show", "init"))
    add_layers(command)


def _add_latency(commands: Commands) -> None:
    text = "measure the way from the loudspeaker back to the microphone"
    command = _add(commands, "latency", text, LATENCY_NOTES, _latency)
    add_layers(command)
    command.add_argument("--json", action="store_true", help="as JSON")


def _add_service(commands: Commands) -> None:
    text = "let systemd run `edgesep run` for this user"
    command = _add(commands, "service", text, SERVICE_NOTES, _service)
    command.add_argument("action", choices=("install", "remove", "status"))
    add_layers(command)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _layers(options: argparse.Namespace) -> dict[str, Mapping[str, object]]:
    """Return where settings come from, the weakest first: name for people -> full keys."""
    from edgesep.config import board_file, parse_assignments, read_yaml

    layers: dict[str, Mapping[str, object]] = {}
    if options.board:
        layers[f"board {options.board}"] = read_yaml(board_file(options.board))
    if options.config:
        layers[f"file {options.config}"] = read_yaml(Path(options.config))
    layers["--set"] = parse_assignments(options.set)
    return layers


def load_config(options: argparse.Namespace) -> Config:
    """Return the settings that the options of `add_layers` say. Raises SettingsError."""
    from edgesep.config import Config

    return Config.from_keys(*_layers(options).values())


def _run(options: argparse.Namespace) -> int:
    from edgesep.audio.live_run import RunOptions, run_live

    return run_live(
        lambda: load_config(options),
        RunOptions(
            options.seconds, options.json, options.quiet, options.metrics, options.record,
            options.socket,
        ),
    )  # fmt: skip


def _devices(options: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from edgesep.audio.devices import PortAudio

    portaudio = PortAudio()
    try:
        devices = portaudio.devices()
    finally:
        portaudio.close()
    if options.json:
        print(json.dumps([asdict(device) for device in devices]))
        return 0
    print(f"{'index':>5}  {'in':>3}  {'out':>3}  {'Hz':>6}  name")
    for device in devices:
        mark = f"  [default {' and '.join(device.default_for)}]" if device.default_for else ""
        print(
            f"{device.index:>5}  {device.inputs:>3}  {device.outputs:>3}  {device.rate_hz:>6}  "
            f"{device.name} ({device.host_api}){mark}"
        )
    if not devices:
        print("no sound devices: is one plugged in, and is the sound server running?")
    return 0


def _ctl(options: argparse.Namespace) -> int:
    import json

    from edgesep.audio.control import ask, default_socket

    request: dict[str, object] = {"command": options.action}
    if options.action == "set":
        if not options.value:
            raise SettingsError("edgesep ctl set takes KEY=VALUE, such as wet=0.8")
        request["assignment"] = options.value
    elif options.action in ("bypass", "mute"):
        if options.value not in ("on", "off"):
            raise SettingsError(f"edgesep ctl {options.action} takes on or off")
        request["on"] = options.value == "on"
    reply = ask(options.socket or default_socket(), request)
    print(json.dumps(reply, indent=2) if options.action == "status" else reply["done"])
    return 0


def _config(options: argparse.Namespace) -> int:
    from edgesep.config import Config, origins, show_yaml
    from edgesep.keys import ALL_KEYS

    layers = _layers(options)
    config = Config.from_keys(*layers.values())
    if options.action == "show":
        print(show_yaml(config, origins(**layers)), end="")
    elif options.action == "init":
        notes = {key.name: f"{key.help}: {key.choice}" for key in ALL_KEYS.values()}
        print(show_yaml(config, notes), end="")
    return 0


def _latency(options: argparse.Namespace) -> int:
    import json
    from statistics import median

    from edgesep.audio.latency import measure_latency_ms

    found_ms = measure_latency_ms(load_config(options).live)
    if options.json:
        print(json.dumps({"latency_ms": [round(value, 2) for value in found_ms]}))
    else:
        print(
            f"{median(found_ms):.1f} ms, median of {len(found_ms)} chirps "
            f"({min(found_ms):.1f} to {max(found_ms):.1f} ms)"
        )
    return 0


def _service(options: argparse.Namespace) -> int:
    from edgesep import service

    if options.action == "status":
        state = service.status()
        print(state)
        return 0 if state == "active" else 1
    if options.action == "remove":
        print(f"removed {service.remove()}")
        return 0
    load_config(options)  # settings that are wrong are an error now, not in the journal
    config = Path(options.config) if options.config else None
    print(f"wrote and started {service.install(config, options.board, options.set)}")
    return 0
