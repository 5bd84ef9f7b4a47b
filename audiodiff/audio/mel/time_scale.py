"""Time scale of a mel: the same sounds, faster or slower, at the same pitch.

A frame of a mel is a short spectrum, so that the frames of speech at another rate are those of the speech, read at
another pace. Words stay clearer than in speech that is spoken fast, where sounds are slurred and left out (Janse 2004,
"Word perception in fast speech: artificially time-compressed vs. naturally produced fast speech", Speech Communication
42).
"""

from torch import Tensor
from torch.nn.functional import interpolate

from audiodiff.errors import UserError


def scale_time(mel: Tensor, rate: float) -> Tensor:
    """A log-mel (M, F) at another rate: (M, F / rate), interpolated linearly; at rate 1, the mel itself.

    Raises:
        UserError: `rate` is not positive.
    """
    if not 0 < rate < float("inf"):
        raise UserError(f"rate {rate}", "is no rate", "choose a number above 0; 1 changes nothing")
    frames = max(1, round(mel.shape[-1] / rate))
    return mel if frames == mel.shape[-1] else interpolate(mel[None], size=frames, mode="linear")[0]
