"""How far one body of clips is from another: distances between distributions of embeddings (N, D).

- **Frechet distance** (Dowson and Landau 1982; for generated images Heusel et al. 2017): between the normal
  distributions of the same means and covariances. It needs many more clips than dimensions, and its estimate is too
  large by an amount that grows with D and falls with N: compare only numbers of the same N.
- **Kernel distance**: the unbiased estimate of the squared maximum mean discrepancy under (x y / D + 1)^3 (Gretton et
  al. 2012; Binkowski et al. 2018), which no shape of the distributions escapes in its first three moments. Its mean is
  0 between two halves of one body whatever N, and a single estimate may be below.

Embeddings are to be brought to comparable axes first (`Axes`), by the real clips alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

LEAST_PER_DIMENSION = 5
HALVES = 200  # that an interval is read off


@dataclass(frozen=True)
class Axes:
    """Principal axes of the real clips' embeddings, each at unit variance.

    Attributes:
        mean: (D,).
        basis: (D, K).
    """

    mean: np.ndarray
    basis: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray, dimensions: int | None = None) -> "Axes":
        """The first `dimensions` axes of (N, D), None: as many as N allows at five clips each; at most D.

        Raises:
            ValueError: fewer than ten clips, or none of them differs from another.
        """
        if len(embeddings) < 2 * LEAST_PER_DIMENSION:
            raise ValueError(f"axes need {2 * LEAST_PER_DIMENSION} clips, got {len(embeddings)}")
        mean = embeddings.mean(0)
        spread, axes = eigh(np.cov(embeddings.T))
        most = min(len(spread), dimensions or len(embeddings) // LEAST_PER_DIMENSION)
        spread, axes = spread[::-1][:most], axes[:, ::-1][:, :most]
        kept = spread > 1e-9 * max(spread[0], 1e-30)
        if not kept.any() or spread[0] <= 0:
            raise ValueError("all clips have the same embedding")
        return cls(mean, axes[:, kept] / np.sqrt(spread[kept]))

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """(N, D) to (N, K)."""
        return (embeddings - self.mean) @ self.basis


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of (N, K) and (M, K)."""
    means = a.mean(0) - b.mean(0)
    first, second = (np.atleast_2d(np.cov(one.T)) for one in (a, b))
    spread, axes = eigh(first)
    root = axes * np.sqrt(spread.clip(min=0)) @ axes.T
    cross = np.sqrt(eigh(root @ second @ root, eigvals_only=True).clip(min=0)).sum()
    return float(means @ means + np.trace(first) + np.trace(second) - 2 * cross)


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy of (N, K) and (M, K)."""

    def values(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: np.ndarray) -> float:
        found = values(x, x)
        return (found.sum() - np.trace(found)) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * values(a, b).mean())


def nearest(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each of (N, K) the Euclidean distance to the nearest of (M, K), and which that is; of `a` to `a` another."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    if a is b:
        np.fill_diagonal(squares, np.inf)
    return np.sqrt(squares.clip(min=0).min(1)), squares.argmin(1)


@dataclass(frozen=True)
class Spread:
    """A figure: its median or best estimate, and the ends of the middle 95 %."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        """Of values (N,)."""
        return cls(*map(float, np.quantile(values, [0.5, 0.025, 0.975])))

    @classmethod
    def about(cls, center: float, halves: np.ndarray) -> "Spread":
        """A confidence interval: the estimate, and the deviations of those of halves (N,) from their own mean.

        Halves of a body scatter about their mean as the whole does about what it estimates (the delete-half jackknife,
        Shao and Wu 1989).
        """
        low, high = np.quantile(halves - halves.mean(), [0.025, 0.975])
        return cls(float(center), float(center + low), float(center + high))

    def __str__(self) -> str:
        """As in a table."""
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def estimate(
    distance: Callable[[np.ndarray, np.ndarray], float], a: np.ndarray, b: np.ndarray, size: int, seed: int = 0
) -> Spread:
    """The distance between two different bodies over subsets of `size` clips, with its 95 % confidence interval.

    Of a body of more than `size` clips halves scatter more than they should, so the interval is rather too wide.
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
    """Distances (rounds,) between subsets of `size` clips of each, drawn without putting back.

    Drawing with putting back, as a bootstrap does, would find some clips twice, and call the sets nearer or further
    than they are. Subsets of one size make numbers comparable whatever there is of each; `a` may be `b`, and the
    subsets are then disjoint: the floor.

    Raises:
        ValueError: there are not as many.
    """
    same = a is b
    if (2 * size if same else size) > min(len(a), len(b)) or size < 2:
        raise ValueError(f"subsets of {size} cannot be drawn of {len(a)} and {len(b)} clips")
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        first = rng.permutation(len(a))
        second = first[size:] if same else rng.permutation(len(b))
        found.append(distance(a[first[:size]], b[second[:size]]))
    return np.array(found)
