"""Check an installed edgesep from outside the checkout: `python check_install.py [--no-core]`.

Everything that has to be found beside the code is: models, boards' settings, the templates of
`edgesep firmware`. With --no-core the compiled core has to be missing, else it has to be there.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile

import edgesep
from edgesep import native
from edgesep.cli import main
from edgesep.models import list_models


def run(*arguments: str) -> str:
    """Run a command line, which must not fail; return its standard output."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main(arguments)
    assert status == 0, (arguments, status, out.getvalue())
    return out.getvalue()


def check(folder: Path, *, core: bool) -> dict[str, object]:
    """Run what an installation must be able to do; return what was found."""
    assert native.available() is core
    distribution = metadata.distribution("edgesep")
    assert distribution.version == edgesep.__version__
    boards = sorted(
        Path(str(item)).stem for item in files("edgesep.firmware_configs").iterdir()
        if str(item).endswith(".yaml")
    )  # fmt: skip
    chips = [board for board in boards if board.startswith("cortex_")]
    for board in sorted({*boards} - {*chips}):
        assert f"board {board}" in run("config", "show", "--board", board), board
    for chip in chips if core else ():  # it counts a stream's memory with the core
        run("firmware", "--board", chip, "-o", str(folder / chip))
        assert (folder / chip / "Makefile").is_file()
    assert list_models()
    hiss = np.random.default_rng(0).standard_normal(16000) * 1000
    soundfile.write(folder / "in.wav", hiss.astype(np.int16), 16000)
    for model in list_models():
        out = folder / f"{model}.wav"
        run("file", str(folder / "in.wav"), "-o", str(out), "--model", model, "--quiet",
            "--engine", "exact")  # fmt: skip
        assert soundfile.info(str(out)).frames == 16000
    return {"where": str(Path(edgesep.__file__).parent), "boards": boards, "models": list_models()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(check(Path(name), core="--no-core" not in sys.argv[1:])))
