"""Fields that are checked here: Gradio answers an empty number or NaN by the bare word "Error"."""

from typing import Any

from gradio.components import Component

from audiodiff.errors import UserError

LARGEST_SEED = 2**63 - 1


def skip_check(component: Component) -> Component:
    """The component, of which any value reaches the endpoint, from the page and from programs alike."""
    component.preprocess = lambda payload: payload
    return component


def number(name: str, value: Any, least: float, most: float, whole: bool = False) -> float:
    """The number in a field; an integer if it is to be `whole`.

    Raises:
        UserError: it is empty, no number, not from `least` to `most`, or not whole; names the field and its range.
    """
    kind = "a whole number" if whole else "a number"
    fix = f"enter {kind} from {least:.20g} to {most:.20g}"
    if value is None:
        raise UserError(name, "is empty", fix)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise UserError(name, f"{value!s:.20} is out of range", fix)
    if whole and value != int(value):
        raise UserError(name, f"{value} is not whole", fix)
    return int(value) if whole else float(value)
