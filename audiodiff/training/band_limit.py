"""Band-limiting of training crops: as the inputs of an upsampler are."""

import torch
from torch import Tensor

from audiodiff.audio import band
from audiodiff.conditioners.conditioner import RandomRows
from audiodiff.precision import float64_device
from audiodiff.ranges import PositiveFloat, UnitInterval

_ORDERS = (6.0, 20.0)  # of the Butterworth filters


class BandLimit:
    """Low-pass filters with random cutoffs and slopes.

    A cutoff is `common` or anything between the bounds, evenly on a logarithmic scale. Every filter stops at its
    cutoff, as resampling does, after a transition of 5 to 20 % of it. Some recordings were attenuated before: they are
    also filtered by a gentle slope, the magnitude of a Butterworth filter of random order.

    Args:
        lowest, highest: bounds of the cutoffs in Hz.
        common: cutoff in Hz that is drawn more often.
        share: of the crops that have the common cutoff.
        gentle: share of the crops with a gentle slope.

    Raises:
        ValueError: bounds that fall.
    """

    def __init__(
        self,
        lowest: PositiveFloat = 2000.0,
        highest: PositiveFloat = 7500.0,
        common: PositiveFloat = 4000.0,
        share: UnitInterval = 0.5,
        gentle: UnitInterval = 0.3,
    ):
        if not lowest <= highest:
            raise ValueError(f"cutoffs from {lowest} to {highest} Hz")
        self.lowest, self.highest, self.common, self.share, self.gentle = lowest, highest, common, share, gentle

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest cutoff that crops have, in Hz."""
        if self.share == 1:
            return self.common, self.common
        ends = [self.lowest, self.highest] + [self.common] * (self.share > 0)
        return min(ends), max(ends)

    def __call__(self, waveform: Tensor, sample_rate: float, random: RandomRows) -> tuple[Tensor, Tensor]:
        """Band-limit signals (B, T): the limited ones (B, T) and their cutoffs (B,) in Hz."""
        device = float64_device(waveform.device)
        numbers = random.uniform(len(waveform), 5).to(device, torch.float64)
        drawn = self.lowest * (self.highest / self.lowest) ** numbers[:, 0]
        cutoff = torch.where(numbers[:, 1] < self.share, torch.full_like(drawn, self.common), drawn)
        transition = (0.05 + 0.15 * numbers[:, 2]) * cutoff
        half = band.half_length(0.05 * min(self.lowest, self.common), sample_rate)
        length = band.padded_length(waveform.shape[-1], half)
        gain = band.response(cutoff, transition, sample_rate, length)
        hertz = torch.linspace(0, sample_rate / 2, length // 2 + 1, dtype=torch.float64, device=device)
        low, high = _ORDERS
        order = (low + (high - low) * numbers[:, 3])[:, None]
        slope = (1 + (hertz / (band.KNOWN * cutoff[:, None])).pow(2 * order)).rsqrt()
        gain = torch.where((numbers[:, 4] < self.gentle)[:, None], gain * slope, gain)
        return band.apply(waveform, gain, length), cutoff.to(waveform.device, torch.float32)
