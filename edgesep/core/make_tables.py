"""Generate the pinned tables of the fixed-point core, for C and for Python.

    python -m edgesep.core.make_tables          rewrites edgesep_tables.c, .h and tables.py

Values come from exact decimal arithmetic and are rounded to the nearest integer, so that no
machine's `sin` decides a bit. `docs/frame_contract.md` lists the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, getcontext
from fractions import Fraction
from pathlib import Path

DIGITS = 60
NEAR_TIE = Decimal("1e-35")  # far above the arithmetic's own error
HERE = Path(__file__).resolve().parent

WINDOW = 512
RISE = 448  # samples of the analysis window before its fast tail
TAIL = WINDOW - RISE


@dataclass(frozen=True)
class Table:
    """One table: its C name, what it holds, and its values (all int32)."""

    name: str
    comment: str
    values: list[int]


def pi() -> Decimal:
    """Return pi to the working precision (Machin's formula)."""

    def arctan_inverse(x: int) -> Decimal:  # arctan(1 / x)
        total = term = Decimal(1) / x
        n = 1
        while term:
            term = -term / (x * x)
            n += 2
            step = term / n
            if total + step == total:
                break
            total += step
        return total

    return 16 * arctan_inverse(5) - 4 * arctan_inverse(239)


def sin_pi(turns: Fraction) -> Decimal:
    """Return sin(pi * turns), exact where it is 0, 1/2 or 1."""
    turns %= 2
    if turns >= 1:
        return -sin_pi(turns - 1)
    if turns > Fraction(1, 2):
        turns = 1 - turns
    exact = {Fraction(0): Decimal(0), Fraction(1, 6): Decimal("0.5"), Fraction(1, 2): Decimal(1)}
    if turns in exact:
        return exact[turns]
    x = pi() * turns.numerator / turns.denominator
    total = term = x
    n = 1
    while True:
        term *= -x * x / ((n + 1) * (n + 2))
        n += 2
        if total + term == total:
            return total
        total += term


def cos_pi(turns: Fraction) -> Decimal:
    """Return cos(pi * turns)."""
    return sin_pi(turns + Fraction(1, 2))


def nearest(value: Decimal) -> int:
    """Round to the nearest integer; a value too close to a tie to be sure of is an error."""
    low = value.to_integral_value(rounding=ROUND_FLOOR)
    rest = value - low
    if abs(rest - Decimal("0.5")) < NEAR_TIE:
        raise ArithmeticError(f"{value} is too close to a tie")
    return int(low) + (1 if rest > Decimal("0.5") else 0)


def quantise(count: int, bits: int, value: Callable[[int], Decimal]) -> list[int]:
    """Return `count` values in Q`bits`, saturated to int32."""
    return [min(nearest(value(i) * 2**bits), 2**31 - 1) for i in range(count)]


def analysis_window(n: int) -> Decimal:
    """Return sample n of the analysis window: a slow sine rise, then a fast cosine tail."""
    half = Fraction(1, 2)
    if n < RISE:
        return sin_pi((n + half) / (2 * RISE))
    return cos_pi((n - RISE + half) / (2 * TAIL))


def sine_square(k: int) -> Decimal:
    """Return sin^2(pi k / 512), exact at the eighths of a turn."""
    return (1 - cos_pi(Fraction(2 * k, 512))) / 2


def log2(i: int) -> Decimal:
    """Return log2(1 + i / 64)."""
    return (1 + Decimal(i) / 64).ln() / Decimal(2).ln() if i not in (0, 64) else Decimal(i // 64)


def column(turn: Callable[[Fraction], Decimal], i: int) -> list[int]:
    """Return cos or sin(2 pi i k / 256) for k < 64, Q30: a product's high half is a quarter."""
    return quantise(64, 30, lambda k: turn(Fraction(2 * i * k, 256)))


def make_tables() -> list[Table]:
    """Return all tables of the frame contract."""
    getcontext().prec = DIGITS
    return [
        Table(
            "analysis_window_q31",
            "n < 448: sin(pi (n + 1/2) / 896); else cos(pi (n - 448 + 1/2) / 128). Q31.",
            quantise(WINDOW, 31, analysis_window),
        ),
        Table(
            "fft_turns_q30",
            "cos, sin(2 pi i k / 256) for k < 64: six columns, two for each i = 1, 2, 3. Q30.",
            [value for i in (1, 2, 3) for turn in (cos_pi, sin_pi) for value in column(turn, i)],
        ),
        Table(
            "split_cos_q31",
            "cos(2 pi k / 512). Q31, saturated: the high half of a product is half of it.",
            quantise(128, 31, lambda k: cos_pi(Fraction(2 * k, 512))),
        ),
        Table(
            "split_sin_q31",
            "sin(2 pi k / 512). Q31.",
            quantise(128, 31, lambda k: sin_pi(Fraction(2 * k, 512))),
        ),
        Table("sine_square_q30", "sin^2(pi k / 512). Q30.", quantise(257, 30, sine_square)),
        Table("log2_q16", "log2(1 + i / 64). Q16.", quantise(65, 16, log2)),
    ]


def _rows(values: list[int], per_row: int, indent: str) -> str:
    chunks = (values[i : i + per_row] for i in range(0, len(values), per_row))
    return "\n".join(indent + ", ".join(str(v) for v in chunk) + "," for chunk in chunks)


MADE_BY = "Made by edgesep/core/make_tables.py: change that, not this."


def c_header(tables: list[Table]) -> str:
    """Return the text of edgesep_tables.h."""
    lines = [
        f"/* {MADE_BY} */",
        "#ifndef EDGESEP_TABLES_H",
        "#define EDGESEP_TABLES_H",
        "",
        "#include <stdint.h>",
        "",
    ]
    for table in tables:
        lines += [
            f"/* {table.comment} */",
            f"extern const int32_t edgesep_{table.name}[{len(table.values)}];",
            "",
        ]
    return "\n".join([*lines, "#endif", ""])


def c_source(tables: list[Table]) -> str:
    """Return the text of edgesep_tables.c."""
    lines = [f"/* {MADE_BY} */", '#include "edgesep_tables.h"', ""]
    for table in tables:
        lines += [
            f"const int32_t edgesep_{table.name}[{len(table.values)}] = {{",
            _rows(table.values, 7, "    "),
            "};",
            "",
        ]
    return "\n".join(lines)


def python_source(tables: list[Table]) -> str:
    """Return the text of tables.py: the same values as int64 arrays."""
    lines = [
        '"""Pinned tables of the fixed-point core.',
        "",
        MADE_BY,
        '"""',
        "",
        "import numpy as np",
        "",
        "# fmt: off",
    ]
    for table in tables:
        lines += [
            f"# {table.comment}",
            f"{table.name.upper()} = np.array((",
            _rows(table.values, 7, "    "),
            "), dtype=np.int64)",
            f"{table.name.upper()}.flags.writeable = False",
        ]
    return "\n".join([*lines, ""])


def render() -> dict[str, str]:
    """Return the generated files: name -> text."""
    tables = make_tables()
    return {
        "edgesep_tables.h": c_header(tables),
        "edgesep_tables.c": c_source(tables),
        "tables.py": python_source(tables),
    }


def main() -> None:
    """Write the generated files beside this one."""
    for name, text in render().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
