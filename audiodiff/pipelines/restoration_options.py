"""Options of restoration, declared once for the Python API, the command line and sidecars."""

from dataclasses import dataclass

from audiodiff.errors import UserError
from audiodiff.options import option
from audiodiff.pipelines.edit_options import interval_texts, parse_interval
from audiodiff.pipelines.options import SamplingOptions


@dataclass(frozen=True, kw_only=True)
class RestorationOptions(SamplingOptions):
    """What to restore in a recording, in this order.

    Attributes:
        steps, sampler, seed, adapters: as of `SamplingOptions`.
        declip: restore the tops of a clipped recording.
        clip_level: from which on samples were clipped; None: it is found in the recording.
        fill: gaps as "START:END" or (start, end) in seconds, either end may be left out.
        denoise: remove noise.

    Raises:
        UserError: a value of another type or out of range, nothing to restore, or a clip level without `declip`.
    """

    declip: bool = option(False, kind="flag", help="Restore clipped peaks.", label="Declip")
    clip_level: float | None = option(
        None,
        kind="number",
        help="Level from which on samples were clipped (1 is full scale).",
        label="Clip level",
        above=0,
        default_help="found in the recording",
    )
    fill: "tuple[str | tuple[float, float], ...]" = option(
        (),
        kind="text",
        help="Gap to fill, as START:END in seconds; repeat for several. Either end may be left out.",
        label="Gaps",
        multiple=True,
    )
    denoise: bool = option(False, kind="flag", help="Remove noise.", label="Denoise")

    def __post_init__(self):
        """Check every option."""
        object.__setattr__(self, "fill", interval_texts(self.fill, "fill", "gap"))
        super().__post_init__()
        for gap in self.fill:
            parse_interval(str(gap), "gap", "s")
        if self.clip_level is not None and not self.declip:
            raise UserError(f"clip_level {self.clip_level:g}", "takes effect with declip only", "add --declip")
        if not (self.declip or self.fill or self.denoise):
            raise UserError("restore", "nothing to do", "add --declip, --denoise or --fill START:END")
