"""Groups of layers by name, for adapters and for training a part of a model.

A layer's name is that of its weights in a checkpoint without the last part, such as `unet.bottom.0.dilated`. A filter
is a group's name, or the beginning of layers' names, such as `unet.up.0`.
"""

import re
from collections.abc import Iterable, Sequence

# Groups of layers that models of all types may have; level 0 of a U-Net is the finest.
GROUPS: dict[str, str] = {
    "attention": r"(^|\.)(cross_)?attention\.",
    "self_attention": r"(^|\.)attention\.",
    "cross_attention": r"(^|\.)cross_attention\.",
    "blocks": r"^unet\.((down|up)\.\d+|bottom)\.\d+\.",
    "norms": r"(^|\.)modulation(\.|$)",  # the networks' norms have no weights, the scale and shift after them have
    "noise_level": r"(^|\.)noise_level\.",
    "input": r"(^|\.)conv_in(\.|$)",
    "output": r"(^|\.)conv_out(\.|$)",
    "first_level": r"^unet\.(down|up)\.0\.|^unet\.(cross_)?attention\.(down|up)0\.",
    "last_level": r"^unet\.bottom\.|^unet\.(cross_)?attention\.bottom\.",
    "encoder": r"^encoder\.|^conditioners\.\w+\.encoder\.",
    "conditioners": r"^conditioners\.",
    "network": r"^(unet|frontend)\.",
}


def select(names: Iterable[str], filters: Sequence[str]) -> dict[str, list[str]]:
    """Names of layers or weights that pass each filter.

    Args:
        names: to choose from.
        filters: groups, or beginnings of names.

    Returns:
        For each filter its names, in order.

    Raises:
        ValueError: a filter that nothing passes; names those that something does, if there are names at all.
    """
    names = list(names)
    found = {one: [name for name in names if _passes(name, one)] for one in filters}
    for one, passing in found.items():
        if not passing and not names:
            raise ValueError(f"{one!r:.60} names no layer; there is none to choose")
        if not passing:
            known = [group for group in GROUPS if any(_passes(name, group) for name in names)]
            choice = f"among {', '.join(known)}, or a name" if known else "a name"
            raise ValueError(f"{one!r:.60} names no layer; choose {choice} such as {names[0]}")
    return found


def _passes(name: str, one: str) -> bool:
    return re.search(GROUPS[one], name) is not None if one in GROUPS else f"{name}.".startswith(f"{one.rstrip('.')}.")
