"""Change shipped models and cards at random and open them: an error line, or a model that runs.

`python -m tests.fuzz_models FIRST COUNT [ENGINE]` opens so many of each kind and ends with status
1 at the first that breaks the rule; one that ends the process has its number printed before.
The changed file's SHA-256 goes into its card: what is tested is what a hostile file could do.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgesep.engine import ENGINE_NAMES, open_engine
from edgesep.engine.flatbuffer import root
from edgesep.errors import EdgesepError
from edgesep.models import DEFAULT_MODEL, find_model

FRAMES = 2
LONGEST = 1000  # letters of an error that may still be called a line
WORDS = (0, 1, 2, 4, 8, 127, 255, 32767, 65535, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
         0x3F800000, 0x7F800000, 0x7FC00000)  # fmt: skip
VALUES = (-1, 0, 1, 2, 64, 10**6, 10**9, 2**31, 2**63, 10**400, 1.5, 1e308, float("nan"), None,
          "", "\ud800", "a\nb\x1b[2J", "x" * 100_000, "../../x", True, [], {}, [1])  # fmt: skip


def structure(content: bytes) -> list[int]:
    """Return the bytes of a model that are no weights: where a change does most."""
    whole = np.frombuffer(content, "u1")
    free = np.ones(len(content), bool)
    for table in root(content).tables(4):
        data = table.array(0, "u1")
        if data.size > 64:
            start = data.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
            free[start : start + data.size] = False
    return [int(place) for place in np.flatnonzero(free)]


def changed_model(content: bytes, places: list[int], rng: random.Random) -> bytes:
    """Return the model with some bytes, words or spans changed, or cut off."""
    changed = bytearray(content)
    kind = rng.randrange(6)
    if kind == 0:
        return content[: rng.randrange(8, len(content))]
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.choice(places)
        word = place & ~3
        if kind == 1:
            changed[place] = rng.randrange(256)
        elif kind == 2:
            changed[word : word + 4] = rng.choice(WORDS).to_bytes(4, "little")
        elif kind == 3:
            near = int.from_bytes(changed[word : word + 4], "little") + rng.randrange(-64, 65)
            changed[word : word + 4] = (near & 0xFFFFFFFF).to_bytes(4, "little")
        elif kind == 4:
            changed[place] ^= 1 << rng.randrange(8)
        else:
            source, size = rng.choice(places), rng.randrange(1, 200)
            changed[place : place + size] = changed[source : source + size]
    return bytes(changed)


def changed_card(text: str, rng: random.Random) -> bytes:
    """Return the card with a value that has no place there, without a key, or cut off."""
    kind = rng.randrange(6)
    if kind == 0:
        return text.encode()[: rng.randrange(len(text))]
    if kind == 1:
        content = bytearray(text.encode())
        content[rng.randrange(len(content))] = rng.randrange(256)
        return bytes(content)
    document = json.loads(text)
    table, key = rng.choice([*entries(document["frame"]), *entries(document["states"]),
                             *entries({"": document})])  # fmt: skip
    if kind == 2 and isinstance(table, dict):
        del table[key]
    else:
        table[key] = rng.choice(VALUES)
    return json.dumps(document).encode()


def entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (table, key) of every value below a JSON value, two levels down."""
    for table in node.values() if isinstance(node, dict) else node:
        if isinstance(table, dict):
            yield from ((table, key) for key in table)
    if isinstance(node, dict):
        yield from ((node, key) for key in node if key)


def broken(path: Path, engine: str) -> str | None:
    """Open and run a model; return what it did that it may not, or None."""
    try:
        found, card = find_model(path)
        opened = open_engine(engine, found, card)
        for _ in range(FRAMES):
            opened.step(np.zeros((card.contract.bands, 2), np.int8))
    except EdgesepError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST + len(str(path)):
            return f"no line: {text[:200]!r} .."
    except Exception as error:  # noqa: BLE001 - what is looked for
        return f"{type(error).__name__}: {error}"
    return None


def main() -> int:
    """Open the numbers that the command line says."""
    first, count = int(sys.argv[1]), int(sys.argv[2])
    engines = sys.argv[3:] or ENGINE_NAMES
    source, card = find_model(DEFAULT_MODEL)
    content, text = source.read_bytes(), source.with_suffix(".json").read_text()
    places = structure(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tflite"
        for number in range(first, first + count):
            rng = random.Random(number)
            new = changed_model(content, places, rng)
            sealed = text.replace(card.sha256, hashlib.sha256(new).hexdigest())
            for kind, model, described in (
                ("model", new, sealed.encode()),
                ("card", content, changed_card(text, rng)),
            ):
                path.write_bytes(model)
                path.with_suffix(".json").write_bytes(described)
                for engine in engines:
                    print(f"{kind} {number} {engine}", flush=True)
                    problem = broken(path, engine)
                    if problem:
                        print(problem)
                        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
