"""Count the samples of an MP3 whose header does not state them: libsndfile guesses, and stops."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

__all__ = ["count_samples_without_header"]

# ISO/IEC 11172-3 and 13818-3, layer III: index -> kbit/s, Hz
KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
LAYER_III = 1
SEARCH_BYTES = 1 << 16  # how far behind the tags the first frame may stand


def count_samples_without_header(path: Path) -> int | None:
    """Return the samples per channel that the frames of an MP3 hold, by walking them.

    None if the first frame is a Xing or Info header, which states the length, or if there are no
    layer III frames. Raises OSError.
    """
    with path.open("rb") as file:
        position = _first_frame(file)
        if position is None:
            return None
        file.seek(position)
        if any(name in file.read(256) for name in (b"Xing", b"Info")):
            return None
        samples = 0
        while frame := _parse(_at(file, position)):
            samples += frame[0]
            position += frame[1]
    return samples


def _first_frame(file: BinaryIO) -> int | None:
    """Return where the first frame starts that another one follows."""
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3":  # its size has 7 bits a byte
        start = 10 + sum(
            byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
    file.seek(start)
    content = file.read(SEARCH_BYTES)
    offset = content.find(b"\xff")
    while offset >= 0:
        frame = _parse(content[offset : offset + 4])
        if frame and _parse(_at(file, start + offset + frame[1])):
            return start + offset
        offset = content.find(b"\xff", offset + 1)
    return None


def _at(file: BinaryIO, position: int) -> bytes:
    file.seek(position)
    return file.read(4)


def _parse(header: bytes) -> tuple[int, int] | None:
    """Return (samples per channel, bytes) of the frame with this header, None if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    kbit_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if layer != LAYER_III or version not in RATES_HZ or rate_index == 3 or kbit_index in (0, 15):
        return None
    kbits = (KBITS_1 if version == 3 else KBITS_2)[kbit_index]
    samples = 1152 if version == 3 else 576
    return samples, samples // 8 * kbits * 1000 // RATES_HZ[version][rate_index] + padding
