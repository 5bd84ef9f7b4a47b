"""Distances between two sets of clips, as distributions of embeddings (N, D).

- **Frechet distance** (Dowson and Landau 1982; for generated images Heusel et al. 2017): between the normal
  distributions of the same means and covariances. It needs many more clips than dimensions, and its estimate is too
  large by an amount that grows with D and falls with N: only compare distances of the same N.
- **Kernel distance**: the unbiased estimate of the squared maximum mean discrepancy under (x y / D + 1)^3 (Gretton et
  al. 2012; Binkowski et al. 2018), which compares the first three moments. Its expectation is 0 between two samples of
  one distribution at any N, so a single estimate may be negative.

Embeddings are first projected to comparable axes (`Axes`), which are computed from real clips only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

LEAST_PER_DIMENSION = 5
HALVES = 200  # resamples of a confidence interval


@dataclass(frozen=True)
class Axes:
    """Principal axes of the embeddings of real clips, each scaled to unit variance.

    Attributes:
        mean: (D,).
        basis: (D, K).
    """

    mean: np.ndarray
    basis: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray, dimensions: int | None = None) -> "Axes":
        """The first `dimensions` axes of embeddings (N, D); None: one per five clips. At most D.

        Raises:
            ValueError: fewer than ten clips, or all embeddings are equal.
        """
        if len(embeddings) < 2 * LEAST_PER_DIMENSION:
            raise ValueError(f"axes need {2 * LEAST_PER_DIMENSION} clips, got {len(embeddings)}")
        mean = embeddings.mean(0)
        variances, axes = eigh(np.cov(embeddings.T))
        count = min(len(variances), dimensions or len(embeddings) // LEAST_PER_DIMENSION)
        variances, axes = variances[::-1][:count], axes[:, ::-1][:, :count]
        nonzero = variances > 1e-9 * max(variances[0], 1e-30)
        if not nonzero.any() or variances[0] <= 0:
            raise ValueError("all clips have the same embedding")
        return cls(mean, axes[:, nonzero] / np.sqrt(variances[nonzero]))

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Project embeddings (N, D) to (N, K)."""
        return (embeddings - self.mean) @ self.basis


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) between (N, K) and (M, K)."""
    means = a.mean(0) - b.mean(0)
    first, second = (np.atleast_2d(np.cov(one.T)) for one in (a, b))
    variances, axes = eigh(first)
    root = axes * np.sqrt(variances.clip(min=0)) @ axes.T
    cross = np.sqrt(eigh(root @ second @ root, eigvals_only=True).clip(min=0)).sum()
    return float(means @ means + np.trace(first) + np.trace(second) - 2 * cross)


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    """Kernel distance: unbiased squared maximum mean discrepancy between (N, K) and (M, K)."""

    def values(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: np.ndarray) -> float:
        gram = values(x, x)
        return (gram.sum() - np.trace(gram)) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * values(a, b).mean())


def nearest(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distance (N,) of each of (N, K) to its nearest neighbor in (M, K), and its index (N,).

    If `a` is `b`, a point is not its own neighbor.
    """
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    if a is b:
        np.fill_diagonal(squares, np.inf)
    return np.sqrt(squares.clip(min=0).min(1)), squares.argmin(1)


@dataclass(frozen=True)
class Spread:
    """A median or estimate, and the limits of the middle 95 % or of a 95 % confidence interval."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        """Median and middle 95 % of values (N,)."""
        return cls(*map(float, np.quantile(values, [0.5, 0.025, 0.975])))

    @classmethod
    def about(cls, center: float, halves: np.ndarray) -> "Spread":
        """Estimate with a confidence interval from the estimates of random halves (N,).

        Halves scatter about their mean as the estimate does about its true value (the delete-half jackknife, Shao and
        Wu 1989).
        """
        low, high = np.quantile(halves - halves.mean(), [0.025, 0.975])
        return cls(float(center), float(center + low), float(center + high))

    def __str__(self) -> str:
        """Format for a table."""
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def estimate(
    distance: Callable[[np.ndarray, np.ndarray], float], a: np.ndarray, b: np.ndarray, size: int, seed: int = 0
) -> Spread:
    """Distance between two sets of clips, over subsets of `size` clips, with its 95 % confidence interval.

    Halves of a set of more than `size` clips scatter too much, so its interval is too wide rather than too narrow.
    """
    center = float(np.median(subsampled(distance, a, b, size, seed=seed)))
    halves = subsampled(distance, a, b, size // 2, rounds=HALVES, seed=seed)
    return Spread.about(center, halves)


def subsampled(
    distance: Callable[[np.ndarray, np.ndarray], float],
    a: np.ndarray,
    b: np.ndarray,
    size: int,
    rounds: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Distances (rounds,) between random subsets of `size` clips of each set, drawn without replacement.

    A bootstrap draws with replacement: repeated clips would bias the distance. Subsets of equal size make distances
    comparable between sets of different sizes. If `a` is `b` the two subsets are disjoint: the noise floor.

    Raises:
        ValueError: the sets have too few clips.
    """
    same = a is b
    if (2 * size if same else size) > min(len(a), len(b)) or size < 2:
        raise ValueError(f"subsets of {size} cannot be drawn of {len(a)} and {len(b)} clips")
    rng = np.random.default_rng(seed)
    distances = []
    for _ in range(rounds):
        first = rng.permutation(len(a))
        second = first[size:] if same else rng.permutation(len(b))
        distances.append(distance(a[first[:size]], b[second[:size]]))
    return np.array(distances)
