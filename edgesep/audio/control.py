"""Talk to a running loop: one JSON line there and one back over a Unix socket of the user."""

from __future__ import annotations

import json
import os
import selectors
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgesep.errors import EdgesepError, SettingsError

__all__ = ["ControlServer", "ask", "default_socket"]

LINE_MAX_BYTES = 65536
ANSWER_S = 10.0
_ROOT = 0

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def default_socket() -> Path:
    """Return where the socket is when nobody says anything: in the user's runtime folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime or f"/tmp/edgesep-{os.getuid()}") / "edgesep.socket"


class ControlServer:
    """Listens on a socket that only the user can open; `poll` answers what has come.

    answer: takes a request and returns the reply; an EdgesepError becomes {"error": text}.
    Raises SettingsError when the socket cannot be made, or another loop answers there.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path, self._answer = path, answer
        self._selector = selectors.DefaultSelector()
        self._socket = _listen(path)
        self._selector.register(self._socket, selectors.EVENT_READ, None)

    def poll(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for requests and answer them."""
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                connection, _ = self._socket.accept()
                connection.setblocking(False)
                self._selector.register(connection, selectors.EVENT_READ, bytearray())
            else:
                self._read(key.fileobj, key.data)

    def close(self) -> None:
        """Remove the socket."""
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._path.unlink(missing_ok=True)

    def _read(self, connection: Any, waiting: bytearray) -> None:
        try:
            part = connection.recv(4096)
            waiting += part
            while b"\n" in waiting:
                line, _, rest = bytes(waiting).partition(b"\n")
                waiting[:] = rest
                connection.sendall(json.dumps(self._reply(line)).encode() + b"\n")
        except OSError:
            part = b""
        if not part or len(waiting) > LINE_MAX_BYTES:
            self._selector.unregister(connection)
            connection.close()

    def _reply(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                return {"error": "a request is a JSON object"}
            return self._answer(request)
        except (ValueError, RecursionError) as error:
            return {"error": f"not a JSON line: {error}"}
        except EdgesepError as error:
            return {"error": str(error)}


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send one request to a running loop and return its reply.

    Raises EdgesepError when no loop answers there, when another user's does, or with what it has
    to say.
    """
    _check_owner(path)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                reply = json.loads(lines.readline())
            if not isinstance(reply, dict):
                raise ValueError("its answer is no JSON object")
        except (OSError, ValueError, RecursionError) as error:
            raise EdgesepError(
                f"{path}: no running edgesep answers there ({error}): start `edgesep run`"
            ) from error
    if "error" in reply:
        raise EdgesepError(str(reply["error"]))
    return reply


def _check_owner(path: Path) -> None:
    """Refuse a socket that another user has put where ours would be, such as below /tmp."""
    user = os.getuid()
    if user != _ROOT and path.exists() and path.stat().st_uid not in (_ROOT, user):
        raise EdgesepError(f"{path}: belongs to another user: give --socket the path of yours")


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = path.parent.stat()
        if folder.st_uid not in (_ROOT, os.getuid()):
            raise SettingsError(f"{path.parent}: belongs to another user: give --socket a path")
        if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
            raise SettingsError(
                f"{path.parent}: everybody may write there and replace the socket: "
                "chmod o-w it, or give --socket another path"
            )
        if path.is_socket():
            _remove_stale(path)
        old_mask = os.umask(0o177)  # the socket belongs to the user alone from its first moment
        try:
            listener.bind(str(path))
        finally:
            os.umask(old_mask)
        listener.listen(4)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise SettingsError(f"{path}: the control socket cannot be made ({error})") from error
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a loop that has ended; one that answers stays."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise SettingsError(f"{path}: another edgesep runs there: give --socket another path, or off")
