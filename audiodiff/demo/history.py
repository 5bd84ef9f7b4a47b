"""The history of a visit: what was generated, with players and settings. It is kept in the browser, and nowhere else.

The files behind the players are deleted an hour after they were made.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from audiodiff.demo.component_files import script_and_style

LENGTH = 30  # entries
EMPTY: dict[str, Any] = {"entries": [], "chosen": None}
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# In the browser: a new entry, and the settings that are to be used again in a tab.
_REMEMBER = """(clips, settings, history) => ({{...history, entries: [
    {{tab: "{title}", endpoint: "{endpoint}", time: new Date().toLocaleTimeString(), clips: clips.clips, settings}},
    ...history.entries].slice(0, {length})}})"""
_CHOSEN = '(history) => (history.chosen?.endpoint === "{endpoint}" ? history.chosen.settings : null)'


class History:
    """The list of what was generated; the value of its component is `entries`, the newest first, and the `chosen` one.

    Args:
        elem_id: of the component, which `self.component.render()` places on the page.
    """

    def __init__(self, elem_id: str = "history"):
        template = '<div class="entries" role="group" aria-label="History"></div>'
        files = script_and_style("history")
        self.component = gr.HTML(EMPTY, html_template=template, elem_id=elem_id, render=False, **files)

    def remember(self, running: Any, title: str, endpoint: str, clips: Component, settings: Component) -> None:
        """Add an entry whenever the event of a tab has succeeded."""
        script = _REMEMBER.format(title=title, endpoint=endpoint, length=LENGTH)
        running.success(None, [clips, settings, self.component], self.component, js=script, **_PRIVATE)

    def reuse(self, load: Callable, endpoint: str, outputs: Sequence[Component], tab: gr.Tab) -> None:
        """Load the settings of a chosen entry of a tab into its controls, and open the tab."""
        chosen, script = gr.JSON(visible=False), _CHOSEN.format(endpoint=endpoint)
        picked = self.component.input(None, self.component, chosen, js=script, **_PRIVATE)
        opened = {row: gr.update(selected=identifier) for row, identifier in _rows(tab)}
        picked.then(lambda settings: opened if settings else gr.skip(), chosen, list(opened), **_PRIVATE)
        picked.then(load, chosen, list(outputs), **_PRIVATE)


def _rows(tab: gr.Tab) -> Iterator[tuple[gr.Tabs, Any]]:
    """The rows of tabs that a tab is in, with the identifier of what is open there when it is seen."""
    block: Any = tab
    while block is not None:
        if isinstance(block.parent, gr.Tabs):
            yield block.parent, block.id
        block = block.parent
