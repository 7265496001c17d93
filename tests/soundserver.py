"""A PulseAudio server of the tests' own, with two null sinks for a microphone and a loudspeaker.

It runs in a private folder and is never the user's: PULSE_SERVER names its socket, and nothing is
started or stopped but the process that was started here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesep.audio.priority import realtime_allowed
from tests.awake import Awake

PROGRAMS = ("pulseaudio", "pactl", "parec", "pacat")
# A player that has to wait would be heard as a hole in the sound, which is not what is tested.
PLAYER_PRIORITY = 5
FIRST = (
    ["chrt", "--rr", str(PLAYER_PRIORITY)] if realtime_allowed() and shutil.which("chrt") else []
)
PLAYER_LATENCY_MS = 16  # PulseAudio brings pieces of half as much: blocks of 8 ms, as a card would
PIPE_S = 0.5  # more than what a full pipe holds of stereo at 48 kHz
ALSA_PLUGIN = "libasound_module_pcm_pulse.so"
QUAD = "front-left,front-right,rear-left,rear-right"
SINK = "sink_name={} rate=48000 channels={}"
ASOUND_CONF = """\
pcm.microphone { type pulse device "mic.monitor" hint { show on description "edgesep microphone" } }
pcm.loudspeaker { type pulse device "speaker" hint { show on description "edgesep loudspeaker" } }
pcm.into_mic { type pulse device "mic" hint { show on description "plays to the microphone" } }
pcm.of_speaker {
    type pulse device "speaker.monitor" hint { show on description "hears the loudspeaker" }
}
"""


class SoundServer:
    """Null sinks "mic" (what is played there is what a microphone hears) and "speaker".

    awake: keep the cores from sleeping while it runs (`awake.py`).
    """

    def __init__(self, folder: Path, awake: bool = True) -> None:
        self._folder = folder
        self._awake_wanted = awake
        self._awake: Awake | None = None
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "asound.conf").write_text(ASOUND_CONF)
        for name in ("home", "state", "runtime"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": str(folder / "runtime"),
            "PULSE_RUNTIME_PATH": str(folder / "runtime"),
            "PULSE_STATE_PATH": str(folder / "state"),
            "PULSE_SERVER": f"unix:{folder}/socket",
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{folder}/asound.conf",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [
            *FIRST, "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1",
            "--use-pid-file=no", "--disable-shm=yes", "--realtime=yes", "--high-priority=yes",
            "--log-target=stderr", "--log-level=error", "-L",
            f"module-native-protocol-unix auth-anonymous=1 socket={self._folder}/socket",
        ]  # fmt: skip
        for name in ("mic", "speaker"):
            command += ["-L", f"module-null-sink {SINK.format(name, 2)}"]
        if self._awake_wanted:
            self._awake = Awake()
        with (self._folder / "pulseaudio.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=self.environment, stderr=log)
        deadline = time.monotonic() + 20
        while self.ask("pactl", "info").returncode:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._folder / "pulseaudio.log").read_text())
            time.sleep(0.05)
        self.keep_awake()

    def keep_awake(self) -> None:
        """Listen to both sinks: one that nobody hears wakes up every two seconds only."""
        for source in ("mic.monitor", "speaker.monitor"):
            self.record(Path("/dev/null"), source=source)

    def ask(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a client of the server."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, timeout=30, check=False
        )

    def add_sink(self, name: str, channels: int = 2) -> None:
        """Load a null sink while the server runs."""
        given = SINK.format(name, channels).split()
        given += [f"channel_map={QUAD}"] if channels == 4 else []
        done = self.ask("pactl", "load-module", "module-null-sink", *given)
        assert done.returncode == 0, done.stderr

    def remove_sink(self, name: str) -> None:
        """Unload a null sink."""
        listed = self.ask("pactl", "list", "short", "modules").stdout.decode().splitlines()
        number = next(line.split()[0] for line in listed if f"sink_name={name} " in line)
        assert self.ask("pactl", "unload-module", number).returncode == 0

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._awake is not None:
            self._awake.close()
            self._awake = None
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None
            Path(self._folder, "socket").unlink(missing_ok=True)

    def play(
        self,
        samples: NDArray[np.int16],
        rate_hz: int = 48000,
        latency_ms: int = PLAYER_LATENCY_MS,
    ) -> subprocess.Popen[bytes]:
        """Play (n,) or (n, channels) to the microphone; ends by itself.

        A null sink passes sound on in pieces of the least latency that a client asks for, or of
        two seconds; PortAudio's way does not ask. So players and recorders here set the pace.
        """
        path = self._folder / f"play-{time.monotonic_ns()}.raw"
        path.write_bytes(samples.astype("<i2").tobytes())
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        return self._play(path, rate_hz, channels, latency_ms)

    def _play(
        self, path: Path | None, rate_hz: int, channels: int, latency_ms: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*FIRST, "pacat", "--playback", "--raw", f"--rate={rate_hz}",
             f"--channels={channels}", "--format=s16le", "--device=mic",
             f"--latency-msec={latency_ms}",
             *([f"--channel-map={QUAD}"] if channels == 4 else []),
             *([str(path)] if path else [])],
            env=self.environment, stderr=subprocess.DEVNULL,
            stdin=None if path else subprocess.PIPE,
        )  # fmt: skip

    def open_microphone(self, channels: int = 2) -> Microphone:
        """Play silence to the microphone, and later, in the same stream, what it is told."""
        player = self._play(None, 48000, channels, PLAYER_LATENCY_MS)
        return Microphone(player, channels)

    def record(
        self, path: Path, channels: int = 1, source: str = "speaker.monitor"
    ) -> subprocess.Popen[bytes]:
        """Record what the loudspeaker plays as raw int16 at 48 kHz, until terminated."""
        return subprocess.Popen(
            [*FIRST, "parec", "--raw", "--rate=48000", f"--channels={channels}", "--format=s16le",
             f"--device={source}", "--latency-msec=10", str(path)],
            env=self.environment, stderr=subprocess.DEVNULL,
        )  # fmt: skip


class Microphone:
    """A microphone that is on before anybody speaks, and after, as a real one is.

    A null sink changes its pace, with a pause, when a player comes or goes; a stream that goes on
    does not.
    """

    def __init__(self, player: subprocess.Popen[bytes], channels: int) -> None:
        self._player, self._channels = player, channels
        self._said: bytes | None = None
        self._through = threading.Event()
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()

    def say(self, samples: NDArray[np.int16]) -> None:
        """Play (n, channels) as soon as what waits in the pipe is through, then silence again."""
        self._said = samples.astype("<i2").tobytes()

    def wait(self, seconds: float) -> None:
        """Wait until all that was said has been played; raises TimeoutError after `seconds`."""
        if not self._through.wait(seconds):
            raise TimeoutError(f"the microphone has not said all within {seconds:g} s")
        time.sleep(PIPE_S)

    def close(self) -> None:
        """End at once."""
        self._player.terminate()
        self._player.wait(5)

    def _feed(self) -> None:
        assert self._player.stdin is not None
        silence = bytes(2 * self._channels * 480)
        with contextlib.suppress(BrokenPipeError), self._player.stdin as pipe:
            while True:
                pipe.write(silence)  # waits while the pipe is full
                if self._said is not None and not self._through.is_set():
                    pipe.write(self._said)
                    self._through.set()


def missing_sound_system() -> str:
    """Return why there is no sound system to test with; empty if there is one."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"apt install pulseaudio pulseaudio-utils ({', '.join(missing)} missing)"
    if not list(Path("/usr/lib").glob(f"*/alsa-lib/{ALSA_PLUGIN}")):
        return "apt install libasound2-plugins"
    try:
        import pyaudio  # noqa: F401
    except ImportError:
        return "PyAudio is not installed: pip install 'edgesep[audio]'"
    return ""


def start_server(folder: Path) -> SoundServer:
    """Start a server in `folder`, or skip the test and say what is missing."""
    reason = missing_sound_system()
    if reason:
        pytest.skip(reason)
    server = SoundServer(folder)
    server.start()
    return server
