"""Run a compiled model on a Coral Edge TPU, or say why not and use the CPU.

The compiled model, NAME_edgetpu.tflite, lies beside the model or in the folder of compiled ones,
with a record that says of which model it was made (`edgesep coral compile` writes them). Its bits
are the accelerator's own.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgesep.coral.device import Probe, find_library, list_devices, try_delegate
from edgesep.coral.record import find_compiled, read_compiled
from edgesep.engine import AUTO, open_engine
from edgesep.engine.ends import StateEnds, check_ends
from edgesep.engine.litert import end_of
from edgesep.engine.rings import ColumnRing
from edgesep.engine.runtime import load_delegate, make_interpreter
from edgesep.errors import EngineError, ModelError

if TYPE_CHECKING:
    from edgesep.card import Card
    from edgesep.engine import Engine

__all__ = ["EdgeTpuEngine", "open_edgetpu"]

RETRIES, RETRY_S = 10, 0.5


def open_edgetpu(name: str, model_path: Path, card: Card) -> Engine:
    """Open `model_path`'s compiled twin on the Edge TPU; where that fails, the model on the CPU.

    name: "edgetpu", or "edgetpu:DEVICE" with what libedgetpu takes: usb, pci, usb:0, :1 ..

    The way back to the CPU, to the engine "auto", is said on standard error in one line, once for
    each reason. Raises what `open_engine` raises for "auto".
    """
    device = name.partition(":")[2]
    try:
        return EdgeTpuEngine(name, model_path, card, device)
    except EngineError as error:
        _say_once(f"edgesep: warning: no Edge TPU, using the CPU: {error}")
    return open_engine(AUTO, model_path, card)


class EdgeTpuEngine:
    """An `Engine`: "edgetpu".

    Raises EngineError when there is no compiled model of this card, no library, no device, or when
    the three do not work together.
    """

    def __init__(self, name: str, model_path: Path, card: Card, device: str = "") -> None:
        path = find_compiled(model_path)
        try:
            content = read_compiled(path, card)
        except ModelError as error:
            raise EngineError(str(error)) from error
        library = find_library()
        if library is None:
            seen = ", ".join(list_devices()) or "none in sight"
            raise EngineError(f"libedgetpu.so.1 is not installed (Edge TPU: {seen})")
        found = _tried(library, device, path, path.stat().st_mtime_ns)
        if not found.works:
            raise EngineError(found.reason)
        try:
            delegate = _load_again(library, device)
            self._interpreter = make_interpreter(content, reference=False, delegate=delegate)
            inputs = map(end_of, self._interpreter.get_input_details())
            outputs = map(end_of, self._interpreter.get_output_details())
            ends = check_ends(path, card, inputs, outputs)
        except (OSError, ValueError, RuntimeError, AttributeError, ModelError) as error:
            raise EngineError(" ".join(str(error).split())) from error
        self._cpu: Engine | None = None
        self._open_cpu = functools.partial(open_engine, AUTO, model_path, card)
        self.name = name
        version = f", {found.version}" if found.version else ""
        self.description = f"{name}: {found.runtime}, {library}{version}"
        self._features = ends.features
        self._mask_index = ends.mask.index
        self._states = [_State(state) for state in ends.states]

    def step(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """Run one frame; see `Engine.step`."""
        if self._cpu is None:
            try:
                return self._step(features)
            except RuntimeError as error:  # pulled out, or too hot
                reason = " ".join(str(error).split())
                _say_once(f"edgesep: warning: the Edge TPU stopped, using the CPU: {reason}")
                self._cpu = self._open_cpu()
                self.description = self._cpu.description
        return self._cpu.step(features)

    def _step(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        # With set_tensor and get_tensor: a delegate may move the tensors it fills.
        interpreter = self._interpreter
        frame = features.reshape(self._features.shape)
        interpreter.set_tensor(self._features.index, frame)
        for state in self._states:
            interpreter.set_tensor(state.taps_index, state.ring.taps)
        interpreter.invoke()
        for state in self._states:
            index = state.column_index
            state.ring.push(frame if index is None else interpreter.get_tensor(index))
        mask: NDArray[np.int8] = interpreter.get_tensor(self._mask_index)
        return mask.reshape(-1)

    def reset(self) -> None:
        """Forget the stream; see `Engine.reset`."""
        if self._cpu is not None:
            self._cpu.reset()
        for state in self._states:
            state.ring.reset()


def _load_again(library: str, device: str) -> Any:
    """Load the delegate; the device may still be on its way back from the process that tried it."""
    for _ in range(RETRIES):
        try:
            return load_delegate(library, device)
        except ValueError:  # what a runtime makes of a delegate that could not be had
            time.sleep(RETRY_S)
    return load_delegate(library, device)


class _State:
    """A stateful layer: its ring, its input tensor, and its output (None: the features)."""

    def __init__(self, ends: StateEnds) -> None:
        self.ring = ColumnRing(ends.spec, ends.taps.zero_point)
        self.taps_index = ends.taps.index
        self.column_index: Any = ends.column.index if ends.column else None


@functools.cache
def _tried(library: str, device: str, model: Path, _changed_ns: int) -> Probe:
    """Try once in a process: files with several isolators need not load the firmware again."""
    return try_delegate(library, device, model)


@functools.cache
def _say_once(line: str) -> None:
    if sys.stderr is not None:  # else print would take standard output, which may be sound
        print(line, file=sys.stderr)
