"""The samplers under their published names."""

from collections.abc import Callable

from audiodiff.diffusion.multistep import Multistep
from audiodiff.diffusion.sampler import Ancestral, Sampler
from audiodiff.errors import UserError

_BUILDERS: dict[str, Callable[[int], Sampler]] = {
    "ddpm": Ancestral,
    "ddim": lambda nfe: Multistep(nfe, order=1),
    "dpmpp_2m": lambda nfe: Multistep(nfe, order=2),
    "dpmpp_3m": lambda nfe: Multistep(nfe, order=3),
}

NAMES = tuple(_BUILDERS)


def build(name: str, nfe: int) -> Sampler:
    """The sampler of a published name with `nfe` network calls, on its default grid.

    Raises:
        UserError: an unknown name, or nfe < 1.
    """
    if name not in _BUILDERS:
        raise UserError(f"sampler {name!r}", "unknown", f"choose one of {', '.join(NAMES)}")
    if nfe < 1:
        raise UserError(f"{nfe} network calls", "a sampler needs at least one")
    return _BUILDERS[name](nfe)


def recommended(nfe: int) -> Sampler:
    """x."""
    return build("dpmpp_2m", nfe)
