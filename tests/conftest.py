"""Fixtures of the tests on a real sound system."""

import pytest

from tests.helpers import write_random_model
from tests.live_jobs import Run
from tests.soundserver import start_server


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
