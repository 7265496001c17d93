"""The processes and devices that train one network together; most often one of each.

Every process mixes its share of each batch. JAX computes over all shares as if they lay on one
device, so that gradients, batch statistics and losses are those of the whole batch. Process 0
alone reads, measures and writes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import numpy as np

from edgesep.errors import EdgesepError, SettingsError

from .feed import Share

TALK_STEPS = 10


@dataclass(frozen=True)
class Team:
    """This process among `processes`; `layout` is None where it computes alone on one device."""

    process: int = 0
    processes: int = 1
    layout: Any = None  # keras.distribution.DataParallel

    @property
    def leads(self) -> bool:
        """Whether this process reads, measures, prints and writes."""
        return self.process == 0

    @property
    def share(self) -> Share:
        """The clips of every batch that this process mixes."""
        return Share(self.process, self.processes)

    @property
    def talk_steps(self) -> int:
        """After how many steps the processes hear of each other's signals: to talk is to wait."""
        return 1 if self.processes == 1 else TALK_STEPS

    @property
    def devices(self) -> int:
        """How many devices of all processes compute."""
        return int(self.layout.device_mesh.devices.size) if self.layout else 1

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let Keras compute on all devices of the team inside the block."""
        if self.layout is None:
            yield
        else:
            with self.layout.scope():
                yield

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let Keras compute on this process' first device, inside a block of `together`, too."""
        if self.layout is None:
            yield
            return
        import keras

        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self.layout)

    def spread(self, own: Any, build: Callable[[], Any]) -> Any:
        """Return the model that the team trains: what `build` returns, in the state of `own`.

        own: a compiled model of process 0, itself what is trained where it computes alone. The
        others' are overwritten.
        """
        if self.layout is None:
            return own
        import jax
        from jax.experimental import multihost_utils

        with self.together():
            model = build()
            model.optimizer.build(model.trainable_variables)
        values = multihost_utils.broadcast_one_to_all([_value(v) for v in _state(own)])
        mesh = self.layout.device_mesh.backend_mesh
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        for variable, value in zip(_state(model), values, strict=True):
            variable.assign(jax.make_array_from_process_local_data(everywhere, np.asarray(value)))
        return model

    def collect(self, model: Any, own: Any) -> None:
        """Put the state of the team's model into this process' own."""
        if model is not own:
            for ours, theirs in zip(_state(own), _state(model), strict=True):
                ours.assign(_value(theirs))

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process; all must ask."""
        if self.processes == 1:
            return flag
        from jax.experimental import multihost_utils

        return bool(np.any(multihost_utils.process_allgather(np.array([flag], np.int32))))


ALONE = Team()


def _state(model: Any) -> list[Any]:
    return [*model.weights, *model.optimizer.variables]


def _value(variable: Any) -> np.ndarray:
    return np.array(variable.value)  # a copy: JAX frees what two variables share


def check_batch(batch: int, devices: int) -> None:
    """Raise SettingsError where a batch cannot be shared out evenly."""
    if batch % devices:
        raise SettingsError(
            f"batch of {batch} clips: not to be divided among {devices} devices; "
            "change `batch` in the recipe or the number of processes"
        )


def check_backend() -> None:
    """Raise SettingsError for a backend on which several processes cannot train."""
    backend = os.environ["KERAS_BACKEND"]  # `export` sets it where nobody has
    if backend != "jax":
        raise SettingsError(
            f"several processes train on JAX alone, not on {backend}: unset KERAS_BACKEND"
        )


def devices_here() -> Team:
    """Return the team of this process alone, over all its devices where it has several."""
    if os.environ["KERAS_BACKEND"] != "jax":
        return ALONE
    import jax

    return Team(layout=_data_parallel()) if jax.device_count() > 1 else ALONE


def join(address: str, process: int, processes: int) -> Team:
    """Meet the other processes at process 0's `address`, HOST:PORT, and return the team.

    Raises SettingsError for what cannot be a team, EdgesepError where the others do not come.
    """
    check_backend()
    if not 0 <= process < processes:
        raise SettingsError(f"--process-id {process}: give 0 to {processes - 1}, each once")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"--cluster {address!r}: give HOST:PORT of process 0")
    _check_own_address(host)
    import keras

    try:
        keras.distribution.initialize(address, processes, process)
        team = Team(process, processes, _data_parallel())
        # Gloo waits 30 s at the first exchange, and half an hour at later ones: so now, while
        # nobody has anything else to do
        team.any(False)
    except (RuntimeError, ValueError) as error:
        raise EdgesepError(
            f"no team of {processes} processes met at {address}: {first_line(error)}"
        ) from error
    return team


def _check_own_address(host: str) -> None:
    """Raise SettingsError where the others would not reach this machine.

    Gloo listens at the address of the machine's own name, and JAX has no way to tell it another.
    """
    name = socket.gethostname()
    try:
        own, met = (socket.getaddrinfo(at, None)[0][4][0] for at in (name, host.strip("[]")))
    except OSError as error:
        raise SettingsError(
            f"no address is known of {host} or of this machine's own name, {name}: {error}; "
            "name both in /etc/hosts"
        ) from None
    if ip_address(own).is_loopback and not ip_address(met).is_loopback:
        raise SettingsError(
            f"this machine's name, {name}, stands for {own}, where other machines do not reach it: "
            "give it its address in their network in /etc/hosts"
        )


def lost(error: BaseException | None) -> BaseException | None:
    """Return what says that another process of the team has gone: the error or what led to it."""
    while error and not any(word in str(error) for word in ("Gloo", "NCCL", "oordination")):
        error = error.__context__
    return error


def first_line(error: BaseException) -> str:
    """Return an error's first line, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _data_parallel() -> Any:
    import keras

    return keras.distribution.DataParallel(auto_shard_dataset=False)
