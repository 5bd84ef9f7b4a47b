"""The tab of models: what is there, under which licenses, and the card of each."""

import re
from typing import Any

import gradio as gr

from audiodiff.demo.catalog import Catalog, Offer
from audiodiff.demo.model_store import ModelStore
from audiodiff.demo.responses import show_errors

COLUMNS = ["Model", "Type", "Parameters", "Rate", "Licenses of the training data", "Loaded"]
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


class ModelsTab:
    """The tab, and its endpoints `/models` and `/card`.

    Args:
        catalog: the models.
        store: which of them are loaded.
    """

    def __init__(self, catalog: Catalog, store: ModelStore):
        self.catalog, self.store = catalog, store

    def build(self) -> None:
        """Lay out the tab."""
        names = [offer.name for offer in self.catalog.offers]
        with gr.Tab("Models", id="models", elem_id="tab-models") as tab:
            gr.Markdown("The first request that needs a model loads it. A card says what a model is trained on.")
            table = gr.Markdown(self.table(), elem_id="models-table")
            rows = gr.Dataframe(headers=COLUMNS, visible=False)  # what programs get
            chosen = gr.Dropdown(names, value=names[0], label="Model card", elem_id="models-name")
            chosen.preprocess = lambda payload: payload  # type: ignore[method-assign]
            card = gr.Markdown(card_text(self.catalog.offers[0]), elem_id="models-card", container=True)
            tab.select(self.table, None, table, **_PRIVATE)
            tab.select(self.rows, None, rows, api_name="models", api_description="The models of the page, as a table.")
            chosen.change(self.card, chosen, card, api_name="card", api_description="The card of a model, in Markdown.")

    def table(self) -> str:
        """The models of the page, in Markdown."""
        lines = [COLUMNS, ["---"] * len(COLUMNS), *self.rows()]
        return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)

    def rows(self) -> list[list[Any]]:
        """The models of the page, as a table."""
        loaded = self.store.names
        return [
            [
                offer.name,
                offer.kind,
                f"{offer.parameters / 1e6:.1f} M",
                f"{offer.model.sample_rate / 1000:g} kHz",
                offer.licenses[0] or "not stated",
                "yes" if offer.name in loaded else "no",
            ]
            for offer in self.catalog.offers
        ]

    def card(self, name: str) -> str:
        """The card of a model, in Markdown."""
        with show_errors():
            return card_text(self.catalog[name])


def card_text(offer: Offer) -> str:
    """The card of a model and the names of its adapters; without pictures, which the page would have to fetch."""
    text = _FRONT_MATTER.sub("", offer.card)
    text = _COMMENT.sub("", _IMAGE.sub("", text)).strip() or f"# {offer.name}\n\nThis model has no card."
    if offer.licenses[1]:
        text += f"\n\n**Terms of the training data**: {offer.licenses[1]}."
    if titles := offer.adapters.titles.values():
        text += f"\n\n**Adapters**: {', '.join(titles)}. Their scales are in the tab of the model."
    return text
