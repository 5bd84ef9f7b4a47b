"""Controls built from declared options (`audiodiff.options`), and the values that they send.

The values are checked here: of an empty number or NaN, Gradio itself says no more than "Error".
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import gradio as gr
from gradio.components import Component

from audiodiff.errors import UserError
from audiodiff.options import Option

# Limits of the demo, which is for listening and shares one machine.
MAX_SECONDS = 120.0
LIMITS = {
    "seconds": {"maximum": MAX_SECONDS},
    "extend_left": {"maximum": MAX_SECONDS},
    "extend_right": {"maximum": MAX_SECONDS},
    "context": {"maximum": MAX_SECONDS},
    "steps": {"maximum": 100},
    "consistency": {"maximum": 200},
    "guidance_scale": {"minimum": 1, "maximum": 6},
}
STEPS = {"integer": 1, "number": 0.05}
FOLDERS = {"adapters"}  # options that name folders of this machine, which visitors do not


def limited(options: Mapping[str, Option], choices: Mapping[str, Sequence[str]] = {}) -> dict[str, Option]:
    """Options within the limits of the demo, without those that name folders.

    Args:
        options: by name.
        choices: of those options whose choices are known now.
    """
    return {
        name: dataclasses.replace(
            option, **LIMITS.get(name, {}), **({"choices": tuple(choices[name])} if name in choices else {})
        )
        for name, option in options.items()
        if name not in FOLDERS
    }


def defaults(config: type) -> dict[str, Any]:
    """The defaults of a dataclass of options, without those that name folders."""
    return {field.name: field.default for field in dataclasses.fields(config) if field.name not in FOLDERS}


def control(option: Option, value: Any, optional: bool = False) -> Component:
    """The control of an option with a value to begin with; any value reaches the endpoint, which checks it.

    Args:
        option: declares it.
        value: to begin with.
        optional: a number may be left empty.
    """
    texts = {"label": option.label, "info": option.help}
    if option.kind == "audio":
        component = gr.Audio(type="filepath", label=option.label)  # a longer one is cut on a phone
    elif option.kind == "flag":
        component = gr.Checkbox(bool(value), **texts)
    elif option.kind in ("choice", "text"):
        if option.multiple:
            component = gr.CheckboxGroup(list(option.choices), value=list(value or ()), **texts)
        elif option.choices or option.kind == "choice":
            component = gr.Dropdown(list(option.choices), value=value, **texts)
        else:
            component = gr.Textbox(value, **texts)
    elif value is None or optional:  # Gradio shows an empty number as 0
        component = gr.Textbox(_shown(value), placeholder=option.default_help, **texts)
    elif option.maximum is None:
        component = gr.Number(value, precision=0 if option.kind == "integer" else None, **texts)
    else:
        least = option.minimum if option.minimum is not None else STEPS[option.kind]
        component = gr.Slider(least, option.maximum, value, step=STEPS[option.kind], **texts)
    if option.kind not in ("audio", "flag"):
        component.preprocess = lambda payload: payload
    return component


def update(option: Option | None, component: Component, value: Any) -> dict[str, Any]:
    """An update of a control for the same option of another model; None: that model has no such option.

    Args:
        option: of the other model.
        component: the control.
        value: to show.
    """
    if option is None:
        kept = {} if isinstance(component, gr.Slider) else {"value": _EMPTY.get(type(component))}
        return gr.update(visible=False, **kept)
    if isinstance(component, gr.CheckboxGroup):
        return gr.update(visible=True, choices=list(option.choices), value=list(value or ()))
    if isinstance(component, gr.Dropdown):
        return gr.update(visible=True, choices=list(option.choices), value=value)
    return gr.update(visible=True, value=_shown(value) if isinstance(component, gr.Textbox) else value)


_EMPTY: dict[type, Any] = {gr.CheckboxGroup: [], gr.Textbox: ""}  # None of others


def _shown(value: Any) -> Any:
    """A value in a field of text."""
    return f"{value:g}" if isinstance(value, float) else value if value is None else str(value)


def parse(options: Mapping[str, Option], defaults: Mapping[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """The values of controls by the names of their options; None of an option without a value stays None.

    Args:
        options: whose controls they are, in order.
        defaults: of the options; one that is not None needs a value.
        values: of the controls.

    Raises:
        UserError: a value is missing, of another type or out of range; names the control.
    """
    parsed = {}
    for (name, option), value in zip(options.items(), values, strict=True):
        value = _number(value) if option.kind in ("number", "integer") else value
        if value is None and defaults.get(name) is not None:
            raise UserError(option.label, "is empty", "enter a value")
        parsed[name] = option.check(option.label, value)
    return parsed


def _number(value: Any) -> Any:
    """The number that a text is, None of an empty one; another text as it is, which the option refuses."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value) if value.strip() else None
    return value


def named(endpoint: Callable, inputs: Sequence[str], defaults: Mapping[str, Any]) -> Callable:
    """An endpoint of positional values with named parameters, which the page's API shows.

    Args:
        endpoint: takes the inputs, the options and a `gr.Progress`.
        inputs: names of parameters without a default.
        defaults: of the options.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in inputs]
    parameters += [inspect.Parameter(name, kind, default=value) for name, value in defaults.items()]
    progress = inspect.Parameter("progress", kind, default=gr.Progress())

    def call(*values: Any) -> Any:
        yield from endpoint(*values)

    call.__signature__ = inspect.Signature([*parameters, progress])
    call.__doc__, call.__name__ = endpoint.__doc__, endpoint.__name__
    return call
