"""Ranges of numeric constructor arguments, as annotations."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

Positive = Annotated[int, Gt(0)]
NonNegative = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Ge(0), Le(1)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]  # what torch, numpy and Lightning all take
