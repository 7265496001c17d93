"""Fixtures of the tests on a real sound system, and how networks are compiled in all tests."""

import os
import tempfile

import pytest

from tests.helpers import write_random_model
from tests.live_jobs import Run
from tests.soundserver import start_server

# Compiling takes most of the time of tests that train: less thoroughly, and every network once.
_compiled = tempfile.TemporaryDirectory(prefix="edgesep-compiled-")
for _name, _value in (
    ("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"),
    ("JAX_COMPILATION_CACHE_DIR", _compiled.name),
    ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0"),
    ("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1"),
):
    os.environ.setdefault(_name, _value)


@pytest.fixture(scope="session")
def live_model(tmp_path_factory):
    """Return the path of a small model of random weights."""
    return write_random_model(tmp_path_factory.mktemp("live_model"))


@pytest.fixture
def server(tmp_path):
    """Run a PulseAudio of its own; skip where there is none."""
    sound = start_server(tmp_path)
    yield sound
    sound.kill()


@pytest.fixture
def start(server, tmp_path, live_model):
    """Return a function that starts `edgesep run` with further options."""
    runs = []

    def begin(*options, **environment):
        runs.append(Run(server, tmp_path, live_model, *options, **environment))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
