"""Random networks whose sizes fit no vector, and a C program that runs many of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgesep import native
from edgesep.card import StateSpec
from edgesep.engine.graph import read_graph
from edgesep.engine.plan import Plan, make_plan
from edgesep.engine.rings import ColumnRing
from edgesep.engine.source import constant, network_source
from export.qgraph import QGraph, state_columns
from export.tflite import write_tflite
from tests import int8_reference, network_jobs
from tests.helpers import NetBuilder, states_of

BANDS = (1, 2, 3, 7, 16, 19)
LARGEST = 12_000  # weights of a layer: many networks go into the flash of an emulated board

MAIN = """
#include <string.h>
#include "edgesep_network.h"
typedef struct { const edgesep_network *network; const int8_t *features, *masks; } test_case;
extern const test_case cases[];
extern const int case_count, frames;
int main(void);
static uint64_t memory[16384];
int main(void) { /* 0, or the number of the case that differs, from 1 on */
    static int8_t mask[256];
    for (int i = 0; i < case_count; i++) {
        const test_case *c = &cases[i];
        const size_t features = (size_t)c->network->features_bytes;
        const size_t bytes = (size_t)c->network->mask_bytes;
        if (edgesep_stream_init(memory, sizeof memory, c->network) != EDGESEP_OK) {
            return 100 + i;
        }
        edgesep_stream *stream = (edgesep_stream *)memory;
        for (size_t t = 0; t < (size_t)frames; t++) {
            if (edgesep_stream_step(stream, c->features + t * features, mask) != EDGESEP_OK ||
                memcmp(mask, c->masks + t * bytes, bytes) != 0) {
                return 1 + i;
            }
        }
    }
    return 0;
}
"""


def odd_graph(seed: int) -> tuple[QGraph, dict[str, int]]:
    """Return a network of any sizes with random weights, and the dilation of each state.

    Every kind of layer is in it, with one channel to more than vectors and blocks hold, paddings,
    strides, several outputs to a depthwise channel, and factors that scale up.
    """
    rng = np.random.default_rng(seed)

    def some(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    def gain() -> float:
        return float(rng.choice([1.0, 1.0, 1.0, 60.0]))

    def activation() -> str:
        return str(rng.choice(["relu", "none"]))

    bands = int(rng.choice(BANDS))
    net = NetBuilder(seed, bands)
    taps = some(1, 2)
    x = net.recall("a", "features", taps, dilation=some(1, 3))
    kernel, stride = (some(1, taps + 1), some(1, 5)), (taps + 1, some(1, 3))
    channels = some(1, 21)
    x = net.filter("conv", "first", x, channels, kernel, stride, "SAME", activation(), gain())
    channels *= some(1, 4) // 4 + 1
    kernel, stride = (1, some(1, 4)), (1, some(1, 2))
    x = net.filter("depthwise", "spread", x, channels, kernel, stride, "SAME", "none", gain())
    channels = some(1, 70)
    x = net.filter("conv", "column.b", x, channels, activation=activation())
    taps = some(1, 2)
    x = net.recall("b", x, taps, dilation=some(1, 3))
    kernel, stride = (some(1, taps + 1), some(1, 3)), (taps + 1, 1)
    x = net.filter("depthwise", "thin", x, channels, kernel, stride, "SAME", "relu", gain())
    y = net.filter("conv", "mixed", x, channels, (1, some(1, 3)), (1, 1), "SAME")
    x = net.add("sum", x, y)
    width = net.width(x)
    most = min(130, LARGEST // (width * channels))
    x = net.filter("conv", "squeeze", x, some(1, most), (1, width), activation=activation())
    x = net.filter("conv", "wide", x, bands)
    x = net.reshape("logits", x, bands)
    return net.finish(x), net.dilations


def compile_odd(seed: int) -> tuple[QGraph, list[StateSpec], Plan]:
    """Return an odd network, its states and its tables for the core."""
    graph, dilations = odd_graph(seed)
    states = states_of(graph, dilations)
    return graph, states, make_plan(read_graph(write_tflite(graph)), states)


def masks_of_integers(
    graph: QGraph, states: list[StateSpec], features: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Return masks (frames, bands) of features (frames, bands, 2) by NumPy integers."""
    tensors = graph.by_name()
    columns = state_columns(graph)
    rings = {s.name: ColumnRing(s, tensors[f"taps.{s.name}"].zero_point) for s in states}
    masks = []
    for frame in features:
        inputs = {f"taps.{name}": ring.taps for name, ring in rings.items()}
        values = int8_reference.run(graph, {**inputs, "features": frame[np.newaxis, np.newaxis]})
        for name, ring in rings.items():
            ring.push(frame if columns[name] == "features" else values[columns[name]])
        masks.append(values["mask"].reshape(-1))
    return np.stack(masks)


def write_cases(folder: Path, count: int, frames: int) -> list[Path]:
    """Write a C program that runs networks 0 to count - 1 and compares with the host's masks.

    Return its files but the core's. It exits with 0, or with one more than the case that differs.
    """
    files, rows, declarations = [], [], []
    for seed in range(count):
        _, _, plan = compile_odd(seed)
        features = network_jobs.random_features(frames, plan.features_bytes // 2, seed)
        host = native.CNetwork(plan)
        masks = np.stack([host.step(frame) for frame in features])
        source = network_source(plan, f"network_{seed}", f"Odd network {seed}.")
        for name, array in (("features", features), ("masks", masks)):
            source += constant(f"{name}_{seed}", array, static=False)
            declarations.append(f"extern const int8_t {name}_{seed}[];")
        declarations.append(f"extern const edgesep_network network_{seed};")
        rows.append(f"{{&network_{seed}, features_{seed}, masks_{seed}}}")
        files.append(folder / f"case_{seed}.c")
        lines = "\n".join(line for line in declarations[-3:-1])
        files[-1].write_text(f"#include <stdint.h>\n{lines}\n{source}\n")
    table = "\n".join([*declarations, "const test_case cases[] = {", ",\n".join(rows), "};"])
    files.append(folder / "cases.c")
    counts = f"const int case_count = {count}, frames = {frames};\n"
    files[-1].write_text(f"{MAIN}\n{table}\n{counts}")
    return files
