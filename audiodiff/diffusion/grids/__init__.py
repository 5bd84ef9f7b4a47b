"""Time grids: at which times a sampler evaluates the network.

`fitted` and `stored` know samplers, which know grids: their names are in `audiodiff.diffusion`.
"""

from audiodiff.diffusion.grids.grid import balanced, karras, uniform_log_snr, uniform_t, warped_angle

__all__ = [
    "balanced",
    "karras",
    "uniform_log_snr",
    "uniform_t",
    "warped_angle",
]
