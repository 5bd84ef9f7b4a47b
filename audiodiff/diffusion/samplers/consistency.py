"""Sampling of consistency functions: estimate the clean signal, add fresh noise, estimate it again.

A consistency function f(x_t, t) is the end of the ODE's trajectory through x_t, so one evaluation is a sample. With
more of them, noise of a lower level is added to the sample and removed again, which corrects its errors (Song et al.,
"Consistency Models", arXiv 2303.01469, algorithm 1): x_s = alpha_s f(x_t, t) + sigma_s z. Nothing of x_t but its
estimate is carried over. Generators that were trained adversarially on noisy signals are sampled in the same way.

Noise z of step n is that of every stochastic sampler (`noise.step_noise`): a function of seed, step and position.
"""

import itertools

from torch import Tensor

from audiodiff.diffusion.samplers.sampler import Sampler
from audiodiff.diffusion.samplers.table import Step
from audiodiff.diffusion.schedules.schedule import Schedule


class Consistency(Sampler):
    """Multistep consistency sampling.

    Args:
        nfe: number of network evaluations; with one, no noise is added.
        grid: (nfe + 1,) times; None: uniform t.

    Raises:
        ValueError: as `Sampler`.
    """

    @property
    def stochastic(self) -> bool:
        """Noise is added at every step but a last one to t = 0."""
        return True

    def steps(self, schedule: Schedule, grid: Tensor) -> list[Step]:
        """Rows that carry the estimate alone."""
        levels = schedule.levels(grid)
        return [Step(t.t, (0.0,), (s.alpha,), noise=s.sigma) for t, s in itertools.pairwise(levels)]
