"""The models that a page offers: the one that it is started with, the newest below `runs`, and those that are shipped.

A page lays out controls by what models declare (conditions, speakers, settings). That is read once, when the page is
built; the weights are dropped then, and loaded again by the first request that needs them (`model_store`).
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from audiodiff.data.licenses import license_names, license_terms
from audiodiff.demo.adapter_menu import AdapterMenu
from audiodiff.demo.guide_menu import GuideMenu
from audiodiff.errors import UserError, did_you_mean
from audiodiff.models import checkpoint
from audiodiff.models.adapted import AppliedAdapter, weights_hash
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.registry import MODEL_TYPES, load_model
from audiodiff.models.training_record import data_licenses
from audiodiff.options import options_of
from audiodiff.pipelines.adapter_options import load_adapters
from audiodiff.pipelines.guidance_options import GuideModels

EXPORTED = "model"  # the folder of a run that a model is exported to


@dataclass(frozen=True)
class Offer:
    """A model of the page.

    Attributes:
        name: what the page and its API call it.
        folder: of the checkpoint.
        model: what it declares; its weights are on the meta device.
        digest: SHA-256 of the checkpoint.
        parameters: how many the model has.
        training: the checkpoint's training record.
        guides: other models that may guide it.
        adapters: that may be applied to it.
    """

    name: str
    folder: Path
    model: Any
    digest: str
    parameters: int
    training: Mapping[str, Any] = field(default_factory=dict)
    guides: GuideMenu = field(default_factory=GuideMenu)
    adapters: AdapterMenu = field(default_factory=AdapterMenu)

    @property
    def kind(self) -> str:
        """The model type."""
        return self.model.TYPE

    @property
    def card(self) -> str:
        """The model card; empty if there is none."""
        file = self.folder / "README.md"
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    @cached_property
    def licenses(self) -> tuple[str, str]:
        """Names of the licenses of the training data, and what they ask for; empty where nothing is stated."""
        statements = data_licenses(dict(self.training), self.card)
        return (", ".join(license_names(*statements)), str(license_terms(*statements))) if statements else ("", "")

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """The conditions that the model declares, by name."""
        return self.model.condition_options() if hasattr(self.model, "condition_options") else {}

    @property
    def musical(self) -> bool:
        """Whether it generates music: it is conditioned on a tempo."""
        return "tempo" in self.conditions


class Catalog:
    """The models of a page.

    Args:
        offers: in the order in which the page lists them.

    Raises:
        ValueError: two of them have one name.
    """

    def __init__(self, offers: Iterable[Offer]):
        self.offers = list(offers)
        self._by_name = {offer.name: offer for offer in self.offers}
        if len(self._by_name) < len(self.offers):
            raise ValueError("two models have one name")

    def of(self, *kinds: str) -> list[Offer]:
        """The models of some types, in order."""
        return [offer for offer in self.offers if offer.kind in kinds]

    def __getitem__(self, name: str) -> Offer:
        """A model by its name.

        Raises:
            UserError: there is none.
        """
        if isinstance(name, str) and name in self._by_name:
            return self._by_name[name]
        fix = did_you_mean(str(name)[:60], self._by_name, f"choose among {', '.join(self._by_name)}")
        raise UserError(f"model {name!r:.60}", "is not on this page", fix)

    def by_digest(self, digest: str) -> Offer | None:
        """The model with this hash of its checkpoint; None if there is none."""
        return next((offer for offer in self.offers if offer.digest == digest), None)

    @classmethod
    def find(
        cls,
        kinds: Iterable[str],
        folder: str | Path | None = None,
        runs: str | Path = "runs",
        guides: GuideModels | None = None,
        adapters: Sequence[str] = (),
    ) -> "Catalog":
        """Find the models of a page.

        Args:
            kinds: model types that have a place on the page.
            folder: a checkpoint folder, or the name of a shipped model; it comes first.
            runs: where training puts its runs: the newest export of each type is offered.
            guides: of the model of `folder`, which is then an audio generator.
            adapters: as "DIR" or "DIR:SCALE"; each goes to the model that it was trained on.

        Warns:
            UserWarning: an export below `runs` that cannot be loaded; it is left out.

        Raises:
            UserError: `folder` is no model, a guide does not fit, an adapter fits no model, or no model is found.
        """
        kinds = list(kinds)
        offers: list[Offer] = []
        if folder is not None:
            located = checkpoint.locate(folder)
            if (kind := checkpoint.type_of(located)) in MODEL_TYPES and kind not in kinds:
                fix = f"give a {' or '.join([', '.join(kinds[:-1]), kinds[-1]])}"
                raise UserError(folder, f"is a {kind}, for which the demo has no tab", fix)
            offers.append(_read(located, _title(folder), guides))
        elif guides is not None and (given := _given(guides)):
            name, guide = given
            raise UserError(f"{name} {guide}", "guides no model", "give an audio generator by --model")
        for found in newest(Path(runs)) if folder is None else ():
            if checkpoint.type_of(found) not in kinds:
                continue
            try:
                offers.append(_read(found, _unused(_title(found), offers)))
            except UserError as error:
                warnings.warn(str(error), stacklevel=2)
        for name in checkpoint.shipped():
            if checkpoint.type_of(checkpoint.locate(name)) in kinds and all(one.name != name for one in offers):
                offers.append(_read(checkpoint.locate(name), name))
        if not offers:
            fix = "train one with `make speech`, or `audiodiff demo --model DIR`"
            raise UserError(f"{runs}/", "no exported model yet, and none is shipped", fix)
        return cls(_with_adapters(offers, load_adapters(adapters)))


def newest(runs: Path) -> list[Path]:
    """The newest export of each model type in `runs/<recipe>/<date_time>/model`, the newest first."""
    exported = sorted(runs.glob(f"*/*/{EXPORTED}/config.json"), key=lambda config: -config.stat().st_mtime)
    found: dict[str, Path] = {}
    for config in exported:
        if kind := checkpoint.type_of(config.parent):
            found.setdefault(kind, config.parent)
    return list(found.values())


def _read(folder: Path, name: str, guides: GuideModels | None = None) -> Offer:
    found = checkpoint.load(folder)
    model: PretrainedModel = load_model(found, folder).requires_grad_(False)
    given = None if guides is None else _given(guides)
    if given and not isinstance(model, AudioModel):
        fix = "leave it out, or give an audio generator"
        raise UserError(f"{given[0]} {given[1]}", f"has no effect on a {model.TYPE}", fix)
    menu = GuideMenu.for_model(model, guides) if isinstance(model, AudioModel) else GuideMenu()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Offer(name, folder, model.to("meta"), found.digest, parameters, found.training, menu)


def _given(guides: GuideModels) -> tuple[str, Any] | None:
    """The first guide of a command line, and its name."""
    named = ((name, getattr(guides, name)) for name in options_of(GuideModels))
    return next(((name, guide) for name, guide in named if guide is not None), None)


def _with_adapters(offers: list[Offer], adapters: Sequence[AppliedAdapter]) -> list[Offer]:
    """The models, each with the adapters that were trained on it."""
    if not adapters:
        return offers
    result, left = [], list(adapters)
    for offer in offers:
        own = []
        if any(one.adapter.base_type == offer.kind for one in left):
            model = load_model(checkpoint.load(offer.folder), offer.folder).requires_grad_(False)
            digest = weights_hash(model)
            own = [one for one in left if one.adapter.base == digest]
            left = [one for one in left if one.adapter.base != digest]
        result.append(replace(offer, adapters=AdapterMenu.for_model(model, own)) if own else offer)
    for one in left:
        base = f"{one.adapter.base_name or 'another model'} ({one.adapter.base_type or 'of an unknown type'})"
        raise one.adapter.error(f"was trained on {base}, which is not on this page", "give its base by --model")
    return result


def _title(folder: str | Path) -> str:
    """What visitors call a model, without where it lies: the name of its folder, or that of its run."""
    path = Path(folder).absolute()
    return path.parent.name if path.name == EXPORTED and path.parent.name else path.name


def _unused(name: str, offers: Sequence[Offer]) -> str:
    taken = {offer.name for offer in offers} | set(checkpoint.shipped())
    numbered = (f"{name}-{number}" for number in range(2, 1000))
    return name if name not in taken else next(one for one in numbered if one not in taken)
