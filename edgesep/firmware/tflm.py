"""A model for TensorFlow Lite for Microcontrollers: its bytes, resolver list, arena, frame path."""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from edgesep import native
from edgesep.card import FEATURES, Card, StateSpec
from edgesep.contract import FrameContract
from edgesep.engine.ends import MASK
from edgesep.engine.exact import compile_model
from edgesep.engine.graph import read_graph
from edgesep.engine.source import comment_text, constant
from edgesep.errors import ModelError
from edgesep.firmware.folder import check_folder, write_folder
from edgesep.firmware.layout import CPU_METHODS, Layout, read_layout
from edgesep.isolator import with_latency
from edgesep.mask import gain_table_q15
from edgesep.models import find_model, read_model
from edgesep.settings import Settings

__all__ = ["MANIFEST_FORMAT", "fill", "generate_tflm", "tflm_figures", "tflm_files", "zeros_of"]

MANIFEST_FORMAT = 1
_WIDTH = 100
_TEMPLATES = {  # template -> path in the folder
    "tflm_edgesep.c": "edgesep.c",
    "tflm_edgesep.h": "edgesep.h",
    "tflm_network.cc": "edgesep_tflm.cc",
    "tflm_network.h": "edgesep_tflm.h",
}
_FOLDER_TEMPLATES = {
    "tflm_Makefile": "Makefile",
    "tflm_README.md": "README.md",
    "LICENSE": "LICENSE",
}
_NETWORK_FILES = {  # of the core: the kernels that TFLM stands in for
    "edgesep_dot.h",
    "edgesep_kernels.c",
    "edgesep_kernels.h",
    "edgesep_network.c",
    "edgesep_network.h",
}
_ARENA_HOW = (
    "an upper bound, worked out and not measured: TFLM's plan of the activations, the largest "
    "scratch buffer of CMSIS-NN's kernels, and TFLM's structures with 64-bit pointers; "
    "edgesep_tflm_arena_used() says what a build uses"
)


@dataclass(frozen=True)
class _State:
    """A row of edgesep_model_states."""

    spec: StateSpec
    input: int
    output: int
    ring: int
    zero: int


def generate_tflm(model: str, settings: Settings, folder: Path) -> None:
    """Write what a TFLM user needs of a model into `folder`, which must be new or empty.

    model: shipped name or .tflite path. settings: become constants. Equal arguments give equal
    bytes. Raises ModelError for a model that is damaged or holds what the exact engine does not
    run, EdgesepError for a folder that cannot be written; then nothing is left behind.
    """
    check_folder(folder)
    path, card = find_model(model)
    compile_model(path, card)  # refuses what the exact engine does not run
    content = read_model(path, card)
    contract = with_latency(card.contract, settings.latency_ms)
    files = tflm_files(content, card, contract, settings, zeros_of(content, card), CPU_METHODS)
    words = {"MODEL": comment_text(card.name), "VERSION": comment_text(card.version),
             "CORE": "core", "LIBRARY": "edgesep_tflm", "BOARD_FILES": "",
             "CPU_FLAGS": "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard",
             "LICENCE": comment_text(card.licence or "a licence that its card does not state"),
             "LATENCY_MS": f"{contract.latency_samples / 16:g}"}  # fmt: skip
    for name, target in _FOLDER_TEMPLATES.items():
        files[target] = fill(_template(name), words).encode()
    for entry in resources.files("edgesep.core").iterdir():
        if entry.name.endswith((".c", ".h")) and entry.name not in _NETWORK_FILES:
            files[f"core/{entry.name}"] = entry.read_bytes()
    files["MANIFEST.json"] = _manifest(content, card, contract, settings, files)
    write_folder(files, folder)


def zeros_of(content: bytes, card: Card) -> dict[str, int]:
    """Return what the ring of each state of a model starts with: the zero point of its columns."""
    points = {tensor.name: tensor.zero_point for tensor in read_graph(content).inputs}
    return {state.name: points[state.taps_tensor] for state in card.states}


def tflm_files(
    content: bytes,
    card: Card,
    contract: FrameContract,
    settings: Settings,
    zeros: Mapping[str, int],
    methods: Mapping[str, str],
) -> dict[str, bytes]:
    """Return the C and C++ files that run `content` under TFLM, by their names.

    content: a .tflite with the ends of the card's model, such as that model compiled by Vela.
    zeros: what the ring of each state starts with. methods: of TFLM's resolver, by the operators
    that are allowed. Raises ModelError for any other operator, or an end that is missing.
    """
    layout = read_layout(content)
    foreign = layout.makers(list(methods))
    if foreign:
        raise ModelError(f"{card.name}: no resolver method is known for: {', '.join(foreign)}")
    states = _states(layout, card, zeros)
    if not states:
        raise ModelError(f"{card.name}: has no stateful layer, which this code expects")
    words = {"MODEL": comment_text(card.name)}
    files = {target: fill(_template(name), words) for name, target in _TEMPLATES.items()}
    files["model_data.h"] = _data_header(layout, card, contract, len(content))
    files["model_data.c"] = _data_source(content, card, contract, settings, states)
    files["edgesep_resolver.h"] = _resolver(layout, methods)
    return {name: text.encode() for name, text in files.items()}


def tflm_figures(content: bytes, card: Card) -> dict[str, Any]:
    """Return what a manifest says of `content` under TFLM."""
    layout = read_layout(content)
    return {
        "model_bytes": len(content),
        "arena_bytes": layout.arena_bytes(),
        "arena_how": _ARENA_HOW,
        "rings_bytes": sum(state.state_bytes for state in card.states),
        "operators": layout.counts(),
    }


# --- parts of the files --------------------------------------------------------------------------


def _states(layout: Layout, card: Card, zeros: Mapping[str, int]) -> list[_State]:
    states, ring = [], 0
    for spec in card.states:
        output = -1 if spec.column == FEATURES else _end(layout.outputs, spec.column, card)
        taps = _end(layout.inputs, spec.taps_tensor, card)
        states.append(_State(spec, taps, output, ring, zeros[spec.name]))
        ring += spec.state_bytes
    return states


def _end(names: tuple[str, ...], name: str, card: Card) -> int:
    if name not in names:
        raise ModelError(f"{card.name}: the compiled model has lost {name!r}")
    return names.index(name)


def _data_header(layout: Layout, card: Card, contract: FrameContract, model_bytes: int) -> str:
    rings = sum(state.state_bytes for state in card.states)
    values = {
        "EDGESEP_MODEL_BANDS": contract.bands,
        "EDGESEP_HOP_SAMPLES": contract.hop_samples,
        "EDGESEP_DELAY_SAMPLES": contract.delay_samples,
        "EDGESEP_LATENCY_SAMPLES": contract.latency_samples,
        "EDGESEP_MEMORY_BYTES": native.frontend_memory_bytes(contract),
        "EDGESEP_MODEL_BYTES": model_bytes,
        "EDGESEP_RINGS_BYTES": rings,
        "EDGESEP_STATE_COUNT": len(card.states),
        "EDGESEP_FEATURES_INPUT": _end(layout.inputs, FEATURES, card),
        "EDGESEP_MASK_OUTPUT": _end(layout.outputs, MASK, card),
    }
    defines = "\n".join(f"#define {name} {value}" for name, value in values.items())
    arena = textwrap.fill(f"{_ARENA_HOW}.", 94, initial_indent="/* ", subsequent_indent=" * ")
    return f"""/* {comment_text(card.name)} for TFLM, made by edgesep: not to be edited. */
#ifndef EDGESEP_MODEL_DATA_H
#define EDGESEP_MODEL_DATA_H

#include <stdint.h>

#include "edgesep_frontend.h"

{defines}

{arena} */
#ifndef EDGESEP_ARENA_BYTES
#define EDGESEP_ARENA_BYTES {layout.arena_bytes()}
#endif

/* A stateful layer: at frame t it sees its own columns of the frames t - taps * dilation,
 * .. t - dilation, oldest first. */
typedef struct edgesep_state {{
    uint8_t input;         /* which of the model's inputs takes them */
    int8_t output;         /* which output is the column of frame t; -1: the features are */
    uint16_t taps, dilation;
    uint32_t column_bytes;
    uint32_t ring;         /* its first byte among the rings of taps * dilation columns */
    int8_t zero;           /* what the columns before the first frame hold */
}} edgesep_state;

#ifdef __cplusplus
extern "C" {{
#endif

extern const uint8_t edgesep_model_data[EDGESEP_MODEL_BYTES]; /* aligned to 16 */
extern const edgesep_state edgesep_model_states[EDGESEP_STATE_COUNT];
extern const edgesep_contract edgesep_model_contract;
extern const uint16_t edgesep_model_gains_q15[256]; /* attenuation limit and mix, as generated */

#ifdef __cplusplus
}}
#endif

#endif
"""


def _data_source(
    content: bytes,
    card: Card,
    contract: FrameContract,
    settings: Settings,
    states: list[_State],
) -> str:
    gains = gain_table_q15(settings.max_attenuation_db, settings.wet, settings.output)
    digest = hashlib.sha256(content).hexdigest()
    numbers = textwrap.fill(
        ", ".join(map(str, content)), _WIDTH, initial_indent="    ", subsequent_indent="    "
    )
    rows = "".join(
        f"    {{{s.input}, {s.output}, {s.spec.taps}, {s.spec.dilation}, "
        f"{s.spec.width * s.spec.channels}, {s.ring}, {s.zero}}}, "
        f"/* {comment_text(s.spec.name)} */\n"
        for s in states
    )
    names = ("hop_samples", "fade_samples", "bands", "floor_rise_shift", "floor_fall_shift")
    values = "".join(f"    .{name} = {getattr(contract, name)},\n" for name in names)
    parts = [
        f"/* {comment_text(card.name)} for TFLM, made by edgesep: not to be edited.\n"
        f" * SHA-256 {digest} */",
        '#include "model_data.h"',
        "const uint8_t edgesep_model_data[EDGESEP_MODEL_BYTES] __attribute__((aligned(16))) = "
        f"{{\n{numbers}\n}};",
        f"const edgesep_state edgesep_model_states[EDGESEP_STATE_COUNT] = {{\n{rows}}};",
        constant("edges", np.array(contract.band_edges, np.uint16)),
        "const edgesep_contract edgesep_model_contract = {\n    .channels = 1,\n"
        f"{values}    .band_edges = edges,\n}};",
        constant("edgesep_model_gains_q15", gains, static=False),
    ]
    return "\n\n".join(parts) + "\n"


def _resolver(layout: Layout, methods: Mapping[str, str]) -> str:
    counts = layout.counts()
    calls = " ||\n        ".join(f"resolver.{methods[kind]}() != kTfLiteOk" for kind in counts)
    used = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"""/* The operators of the model, and no others: {comment_text(used)}. */
#ifndef EDGESEP_RESOLVER_H
#define EDGESEP_RESOLVER_H

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

using edgesep_resolver = tflite::MicroMutableOpResolver<{len(counts)}>;

inline TfLiteStatus edgesep_add_operators(edgesep_resolver &resolver) {{
    if ({calls}) {{
        return kTfLiteError;
    }}
    return kTfLiteOk;
}}

#endif
"""


def _manifest(
    content: bytes,
    card: Card,
    contract: FrameContract,
    settings: Settings,
    files: Mapping[str, bytes],
) -> bytes:
    document = {
        "format": MANIFEST_FORMAT,
        "for": "tflm",
        "model": {"name": card.name, "version": card.version, "sha256": card.sha256},
        "settings": {
            name: getattr(settings, name) for name in ("max_attenuation_db", "wet", "output")
        },
        "latency_ms": contract.latency_samples / 16,
        "hop_samples": contract.hop_samples,
        "tflm": tflm_figures(content, card),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _template(name: str) -> str:
    folder = resources.files("edgesep.firmware") / "template"
    return (folder / name).read_text(encoding="utf-8")


def fill(template: str, words: Mapping[str, str]) -> str:
    """Return a template with every @WORD@ that `words` knows replaced."""
    return re.sub(r"@([A-Z_]+)@", lambda match: words.get(match[1], match[0]), template)
