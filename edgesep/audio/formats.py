"""What an output file is made of: container, subtype and how samples are handed to libsndfile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from edgesep.audio.samples import Samples, to_float32, to_int16, to_pcm_int32
from edgesep.errors import AudioFileError

__all__ = ["CONTAINERS", "FLOAT_CODED", "Format", "output_format"]

# File name suffix -> container; these names are taken for audio when a folder is searched.
CONTAINERS = {
    ".wav": "WAV", ".wave": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG",
    ".mp3": "MP3", ".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF", ".au": "AU", ".snd": "AU",
    ".caf": "CAF", ".w64": "W64", ".rf64": "RF64",
}  # fmt: skip
WAV_FAMILY = frozenset({"WAV", "WAVEX", "RF64"})
WAV_LIMIT_BYTES = (1 << 32) - (1 << 16)  # the header counts bytes in 32 bits
PCM_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32,
            "ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32}  # fmt: skip
FLOAT_CODED = frozenset(
    {"FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
)
# Where the input's subtype does not exist in the container of another file name.
FALLBACKS = {"FLAC": "PCM_24", "WAV": "PCM_16", "AIFF": "PCM_16"}


@dataclass(frozen=True)
class Format:
    """Format of a sound file, in libsndfile's names."""

    container: str
    subtype: str
    rate_hz: int
    channels: int

    def encode(self, block: Samples) -> NDArray[np.generic]:
        """Turn a block (n, channels) into the array that libsndfile takes for this subtype.

        libsndfile shifts integers and truncates; rounding and saturation happen here.
        """
        if self.subtype in FLOAT_CODED:
            return to_float32(block)
        bits = PCM_BITS.get(self.subtype, 16)
        if bits != 16:
            return to_pcm_int32(block, bits)
        return to_int16(block)


def output_format(
    source: Path, container: str, subtype: str, rate_hz: int, channels: int, frames: int | None,
    target: Path,
) -> Format:  # fmt: skip
    """Choose the format of `target`: that of the source, unless the file name asks for another.

    source, container, subtype, rate_hz, channels, frames: what is read. With another suffix the
    container follows the suffix and the subtype is kept where it exists there.
    Raises AudioFileError for a suffix that says nothing.
    """
    if target.suffix.lower() != source.suffix.lower():
        wanted = CONTAINERS.get(target.suffix.lower())
        if wanted is None:
            raise AudioFileError(
                f"{target}: the name does not say which format to write: end it with "
                + ", ".join(sorted(CONTAINERS))
            )
        if not (wanted == "WAV" and container in WAV_FAMILY):
            container = wanted
        if target.suffix.lower() == ".opus":
            subtype = "OPUS"
    if not soundfile.check_format(container, subtype):
        wide = subtype in ("PCM_32", "FLOAT", "DOUBLE")
        default = soundfile.default_subtype(container) or "PCM_16"
        subtype = FALLBACKS.get(container, default) if wide else default
    if container == "WAV" and frames and _bytes(subtype, channels, frames) > WAV_LIMIT_BYTES:
        container = "RF64"
    return Format(container, subtype, rate_hz, channels)


def _bytes(subtype: str, channels: int, frames: int) -> int:
    width = {"FLOAT": 4, "DOUBLE": 8}.get(subtype, PCM_BITS.get(subtype, 16) // 8)
    return frames * channels * width
