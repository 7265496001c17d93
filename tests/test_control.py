"""The control socket, the recorder, the status line: what surrounds the live loop."""

import io
import json
import socket
import stat
import threading
import time

import numpy as np
import pytest
import soundfile

from edgesep.audio.control import ControlServer, ask
from edgesep.audio.live_session import Ends
from edgesep.audio.recorder import Recorder
from edgesep.audio.status import Metrics, StatusLine
from edgesep.cli import main
from edgesep.errors import EdgesepError, SettingsError
from tests.sound import noise16
from tests.test_devices import DEVICES

REPORT = {
    "in_dbfs": -20.0, "out_dbfs": -31.5, "attenuation_db": 11.5, "load_percent": 5.0,
    "hop_p99_ms": 1.2, "latency_sum_ms": 60.4,
}  # fmt: skip


@pytest.fixture
def server(tmp_path):
    """Serve an echo that knows one error."""

    def answer(request):
        if request.get("command") == "bad":
            raise SettingsError("wet is 2: too much")
        return {"done": request.get("command")}

    ending = threading.Event()
    control = ControlServer(tmp_path / "run" / "socket", answer)

    def serve():
        while not ending.is_set():
            control.poll(0.02)

    thread = threading.Thread(target=serve)
    thread.start()
    yield tmp_path / "run" / "socket"
    ending.set()
    thread.join()
    control.close()
    assert not (tmp_path / "run" / "socket").exists()


def test_requests_and_errors_come_back(server):
    assert ask(server, {"command": "mute"}) == {"done": "mute"}
    with pytest.raises(EdgesepError, match="wet is 2"):
        ask(server, {"command": "bad"})


def test_the_socket_is_the_users_own(server):
    assert stat.S_IMODE(server.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.parent.stat().st_mode) == 0o700


def test_a_second_loop_is_refused_and_a_stale_socket_is_not(server, tmp_path):
    with pytest.raises(SettingsError, match="another edgesep runs there"):
        ControlServer(server, dict)
    first = ControlServer(tmp_path / "stale", dict)
    first._socket.close()  # as after a crash
    ControlServer(tmp_path / "stale", dict).close()


def test_a_socket_where_others_could_replace_it_is_refused(tmp_path, monkeypatch):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(SettingsError, match="everybody may write there"):
        ControlServer(tmp_path / "open" / "socket", dict)
    (tmp_path / "open").chmod(0o1777)  # like /tmp: only owners remove what is in it
    ControlServer(tmp_path / "open" / "socket", dict).close()
    monkeypatch.setattr("os.getuid", lambda: 65533)
    monkeypatch.setattr("edgesep.audio.control._ROOT", -1)  # the tests may run as root
    with pytest.raises(SettingsError, match="belongs to another user"):
        ControlServer(tmp_path / "socket", dict)


def test_another_users_socket_is_not_asked(server, monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: server.stat().st_uid + 1)
    monkeypatch.setattr("edgesep.audio.control._ROOT", -1)  # the tests may run as root
    with pytest.raises(EdgesepError, match="belongs to another user"):
        ask(server, {"command": "mute"})


def test_what_is_no_request_gets_an_answer_and_the_loop_goes_on(server):
    for line in (b"[" * 60000, b"3", b'{"a": "\xff"}', b""):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(server))
            connection.sendall(line + b"\n")
            with connection.makefile("rb") as lines:
                assert "error" in json.loads(lines.readline())
    assert ask(server, {"command": "mute"}) == {"done": "mute"}


def test_an_answer_that_is_none_is_an_error(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"3\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(EdgesepError, match="its answer is no JSON object"):
            ask(tmp_path / "socket", {"command": "status"})
        thread.join()


def test_ctl_speaks_to_it(server, capsys):
    assert main(["ctl", "bypass", "on", "--socket", str(server)]) == 0
    assert capsys.readouterr().out == "bypass\n"
    assert main(["ctl", "set", "--socket", str(server)]) == 2
    assert main(["ctl", "mute", "loud", "--socket", str(server)]) == 2
    assert main(["ctl", "status", "--socket", str(server) + "x"]) == 1
    assert "no running edgesep answers there" in capsys.readouterr().err


def test_the_recorder_keeps_the_newest_files(tmp_path):
    ends = Ends(DEVICES[2], DEVICES[3], 16000, 48000, 2, 2)
    recorder = Recorder(tmp_path, piece_s=0.1, pieces=3)
    (tmp_path / "in-mine.wav").write_bytes(b"not the recorder's")
    recorder.begin(ends)
    blocks = noise16(1600, 2), noise16(4800, 2)
    for _ in range(6):
        recorder.push(*blocks)
        time.sleep(0.005)
    recorder.close()
    assert (recorder.error, recorder.lost_blocks) == ("", 0)
    assert (tmp_path / "in-mine.wav").exists()
    outs = sorted(tmp_path.glob("out-*.wav"))
    assert (len(outs), len(list(tmp_path.glob("in-2*.wav")))) == (3, 3)
    samples, rate_hz = soundfile.read(outs[-1], dtype="int16")
    assert rate_hz == 48000
    np.testing.assert_array_equal(samples, blocks[1])


def test_a_terminal_and_a_journal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream in (Terminal(), io.StringIO()):
        line = StatusLine(stream, quiet=False)
        line.show(REPORT, 3)
        line.note("sound has stopped")
        line.show(REPORT, 3)
        text = stream.getvalue()
        assert "losses 3" in text and "latency 60 ms" in text
        assert "edgesep: sound has stopped\n" in text
        assert ("\r" in text) is stream.isatty()
        assert text.endswith("\n") is not stream.isatty()


def test_metrics_are_json_lines(tmp_path):
    metrics = Metrics(str(tmp_path / "m.jsonl"))
    for _ in range(2):
        metrics.write({**REPORT, "hops": 7})
    metrics.close()
    first, second = map(json.loads, (tmp_path / "m.jsonl").read_text().splitlines())
    assert first["hops"] == 7 and second["time_s"] >= first["time_s"]
    with pytest.raises(SettingsError, match="cannot be written"):
        Metrics(str(tmp_path / "none" / "m.jsonl"))
