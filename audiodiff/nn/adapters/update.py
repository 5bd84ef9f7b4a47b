"""Updates of a weight: a learned change Delta W of few numbers, added to a frozen weight W.

A weight (out, in) or (out, in, K) is seen as a matrix of `out` rows and `in K` columns. With rank r and strength
alpha:

- `LowRank` (LoRA, Hu et al. 2021, arXiv 2106.09685): Delta W = alpha / r  B A, with B (out, r) and A (r, in K);
- `Decomposed` (DoRA, Liu et al. 2024, arXiv 2402.09353): V = W + alpha / r  B A, W' = (1 + g) |W| V / |V| row by row,
  which learns direction and magnitude apart; the norm |V| is constant to the gradient (section 4.3 there), and rows of
  zeros stay zero;
- `HadamardProduct` (LoHa, Hyeon-Woo et al. 2021, arXiv 2108.06098): Delta W = alpha / r  (B A) * (D C), entry by entry,
  of rank up to r^2 for twice the numbers.

All of them are exactly zero at initialization. They change weights and not outputs, so that one form serves
convolutions of any kernel, a merged weight is the applied one to the bit, and several updates of one layer add up.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

_TINY = 1e-12  # added to norms, so that a row of zeros has a direction: none


class WeightUpdate(nn.Module, ABC):
    """A change of a weight; as a parametrization (`torch.nn.utils.parametrize`), the weight with its change.

    Args:
        shape: of the weight, (out, in, ...).
        rank: r, from 1 to `largest_rank(shape)`.
        alpha: strength; the change is multiplied by alpha / rank.

    Raises:
        ValueError: a rank or strength out of range.
    """

    NAMES: ClassVar[tuple[str, ...]]  # of the parameters

    def __init__(self, shape: Sequence[int], rank: int, alpha: float):
        super().__init__()
        if not 1 <= rank <= largest_rank(shape):
            raise ValueError(f"rank {rank} is not in 1 to {largest_rank(shape)}, the rank of the layer")
        if not math.isfinite(alpha):
            raise ValueError(f"alpha {alpha} is not finite")
        self.shape, self.rank, self.alpha = tuple(shape), rank, float(alpha)
        for name, size in self.sizes(shape, rank).items():
            setattr(self, name, nn.Parameter(torch.zeros(size)))
        self.initialize()

    @classmethod
    @abstractmethod
    def sizes(cls, shape: Sequence[int], rank: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, by name."""

    @abstractmethod
    def initialize(self) -> None:
        """Draw initial parameters, of which the change is zero."""

    @abstractmethod
    def change(self, weight: Tensor) -> Tensor:
        """Delta W of a weight, of its shape."""

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with its change."""
        return weight + self.change(weight)

    @classmethod
    def of(cls, shape: Sequence[int], parameters: Mapping[str, Tensor], rank: int, alpha: float) -> Self:
        """An update with these parameters.

        Raises:
            ValueError: names, shapes or rank do not fit the weight.
        """
        expected, found = cls.sizes(shape, rank), {name: tuple(tensor.shape) for name, tensor in parameters.items()}
        if found != expected:
            raise ValueError(f"has parameters {found}, expected {expected}")
        with torch.device("meta"):
            update = cls(shape, rank, alpha)
        update.load_state_dict(dict(parameters), assign=True)
        return update.requires_grad_(False)

    @property
    def _strength(self) -> float:
        return self.alpha / self.rank


class LowRank(WeightUpdate):
    """LoRA: Delta W = alpha / r  B A."""

    NAMES: ClassVar[tuple[str, ...]] = ("down", "up")
    down: Tensor
    up: Tensor

    @classmethod
    def sizes(cls, shape: Sequence[int], rank: int) -> dict[str, tuple[int, ...]]:
        """A (r, in K) and B (out, r)."""
        return {"down": (rank, math.prod(shape[1:])), "up": (shape[0], rank)}

    def initialize(self) -> None:
        """A as `nn.Linear` draws a weight, B zero."""
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def change(self, weight: Tensor) -> Tensor:
        """Delta W."""
        return (self._strength * (self.up @ self.down)).reshape(self.shape)


class Decomposed(LowRank):
    """DoRA: the direction of each row by a low-rank change, its magnitude by a factor 1 + g."""

    NAMES = ("down", "up", "gain")
    gain: Tensor

    @classmethod
    def sizes(cls, shape: Sequence[int], rank: int) -> dict[str, tuple[int, ...]]:
        """A, B and g (out,)."""
        return super().sizes(shape, rank) | {"gain": (shape[0],)}

    def change(self, weight: Tensor) -> Tensor:
        """W' - W."""
        rows = weight.flatten(1)
        direction = rows + self._strength * (self.up @ self.down)
        norms = (row.norm(dim=1, keepdim=True).detach() + _TINY for row in (rows, direction))
        before, after = norms
        return ((1 + self.gain[:, None]) * (before / after) * direction - rows).reshape(self.shape)


class HadamardProduct(WeightUpdate):
    """LoHa: the entry-wise product of two low-rank matrices."""

    NAMES = ("down", "up", "other_down", "other_up")
    down: Tensor
    up: Tensor
    other_down: Tensor
    other_up: Tensor

    @classmethod
    def sizes(cls, shape: Sequence[int], rank: int) -> dict[str, tuple[int, ...]]:
        """A, B, and C, D of the same shapes."""
        low = LowRank.sizes(shape, rank)
        return low | {f"other_{name}": size for name, size in low.items()}

    def initialize(self) -> None:
        """As the authors' code: B A of standard deviation about 0.1, C standard normal, D zero."""
        nn.init.normal_(self.down)
        nn.init.normal_(self.up, std=0.1)
        nn.init.normal_(self.other_down)

    def change(self, weight: Tensor) -> Tensor:
        """Delta W."""
        product = (self.up @ self.down) * (self.other_up @ self.other_down)
        return (self._strength * product).reshape(self.shape)


UPDATES: dict[str, type[WeightUpdate]] = {"lora": LowRank, "dora": Decomposed, "loha": HadamardProduct}


def largest_rank(shape: Sequence[int]) -> int:
    """Of a weight (out, in, ...) as a matrix of `out` rows."""
    return min(shape[0], math.prod(shape[1:]))
