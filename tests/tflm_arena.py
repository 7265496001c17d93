"""Print the smallest arena, in bytes, in which TFLM's Python interpreter runs a model.

python tflm_arena.py MODEL.tflite. Every try is a process of its own: TFLM may crash in an arena
that is a little too small.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro import runtime

STEP = 64


def outputs(content: bytes, arena_bytes: int) -> bytes:
    """Run the model once on random inputs; return all outputs."""
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
    rng = np.random.default_rng(0)
    for index, shape in enumerate(ends(interpreter.get_input_details)):
        interpreter.set_input(rng.integers(-128, 128, shape).astype(np.int8), index)
    interpreter.invoke()
    count = len(ends(interpreter.get_output_details))
    return b"".join(interpreter.get_output(i).tobytes() for i in range(count))


def ends(details):
    """Return the shapes of the inputs or outputs: there is no count to ask for."""
    shapes = []
    while True:
        try:
            shapes.append(tuple(details(len(shapes))["shape"]))
        except (IndexError, RuntimeError):
            return shapes


def works(content: bytes, arena_bytes: int, expected: bytes) -> bool:
    """Tell whether the model runs in so many bytes, with the outputs it should have."""
    child = os.fork()
    if child == 0:
        os.close(2)
        try:
            os._exit(outputs(content, arena_bytes) != expected)
        except RuntimeError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


if __name__ == "__main__":
    model = Path(sys.argv[1]).read_bytes()
    truth = outputs(model, 1 << 22)
    low, high = 0, 1 << 22
    while high - low > STEP:
        middle = (low + high) // 2 // 16 * 16
        if works(model, middle, truth):
            high = middle
        else:
            low = middle
    print(high)
