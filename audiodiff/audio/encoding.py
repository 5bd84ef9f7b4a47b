"""How samples are stored in files: formats and bit depths. Nothing heavy is imported here: options name them."""

from dataclasses import dataclass

from audiodiff.errors import UserError

# libsndfile's names: of formats by suffix, and of their encodings by bit depth.
CONTAINERS = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG"}
SUBTYPES = {
    "wav": {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"},
    "flac": {"16": "PCM_16", "24": "PCM_24"},
    "ogg": {"16": "VORBIS"},  # which has no bit depth: the default stands for it
}
FORMATS = tuple(CONTAINERS)
BIT_DEPTHS = tuple(SUBTYPES["wav"])


@dataclass(frozen=True)
class Encoding:
    """How samples are stored.

    Attributes:
        bit_depth: "16", "24", or "32f" for floating point, which holds peaks above full scale; Ogg has none.
        dither: add triangular dither before samples are rounded to integers.
    """

    bit_depth: str = "16"
    dither: bool = False

    def check(self, format: str) -> None:
        """Check that a format has the bit depth.

        Raises:
            UserError: it has not.
        """
        depths = SUBTYPES[format]
        if self.bit_depth not in depths:
            fix = f"use {' or '.join(depths)}, or wav" if len(depths) > 1 else "leave it out, or use wav"
            raise UserError(f"bit_depth {self.bit_depth}", f"is none of {format}", fix)
