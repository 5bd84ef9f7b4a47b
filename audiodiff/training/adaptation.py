"""Training of adapters: the base model is frozen; updates of its layers, a new word or a new speaker are trained.

A new word of prompts (textual inversion, Gal et al. 2022, arXiv 2208.01618) begins with the vectors of a word that
means the like, a new speaker with the vector of another or the mean of all. Either may be trained alone, or with
updates of layers.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Le
from torch import nn

from audiodiff.data.manifest import Clip
from audiodiff.errors import UserError
from audiodiff.models import adapter
from audiodiff.models.adapted import (
    adaptable_layers,
    check_base,
    extract,
    inject,
    injected_parameters,
    load_injected,
    weights_hash,
)
from audiodiff.models.adapter import MAX_TOKENS, Adapter
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.adapters.layers import select
from audiodiff.nn.adapters.update import largest_rank
from audiodiff.ranges import Positive, PositiveFloat
from audiodiff.text.placeholder import is_placeholder, is_speaker
from audiodiff.text.static_embedding import normalize

CARD = """# An adapter of {base}

{what}, {numbers} numbers, trained on {data} for {steps} steps. It changes `{base}` and no other model:

    audiodiff {verb} --adapter this/folder:1

Data licenses: {licenses}
"""
# What may not change when a run is resumed, and what a run that starts from an adapter has of that.
_ADAPTER_FIELDS = ("kind", "rank", "alpha", "layers", "word", "tokens", "speaker")
# By model type, a command that samples with an adapter.
_VERBS = {
    "audio": "generate --model {base}",
    "vocoder": "render clip.wav --model {base} --out rendered",
    "acoustic": 'say "Hello." --voice {base}',
    "restorer": "restore clip.wav --denoise --model {base} --out restored",
    "upsampler": "upsample clip.wav --model {base} --out upsampled",
}


class Adaptation:
    """What an adapter consists of.

    Args:
        kind: of the updates of layers: "lora", "dora" or "loha"; None: a new word or speaker alone.
        rank: of the updates.
        alpha: strength of the updates, which are multiplied by alpha / rank; None: rank.
        layers: groups of layers, or beginnings of their names (`nn.adapters.layers`); None: all that have the rank.
        word: new word of prompts in angle brackets, such as <my-drum>; None: none.
        tokens: vectors of the word.
        initial: text whose meaning the word begins with, such as drum (None: "sound"); or the speaker or mixture that
            the new speaker begins with (None: the mean of all).
        speaker: name of a new speaker, as the data has it; None: none.
        init_from: folder of an adapter of the same base to train further, such as one that a hypernetwork predicted;
            kind, rank, alpha, layers, word and speaker are then those of it. None: a new one.

    Raises:
        UserError: nothing to train, no layers, or a word or name that is not written as one.
    """

    def __init__(
        self,
        kind: Literal["lora", "dora", "loha"] | None = "lora",
        rank: Positive = 8,
        alpha: PositiveFloat | None = None,
        layers: Sequence[str] | None = None,
        word: str | None = None,
        tokens: Annotated[Positive, Le(MAX_TOKENS)] = 4,
        initial: str | None = None,
        speaker: str | None = None,
        init_from: str | None = None,
    ):
        self.init_from = init_from
        self.started: Adapter | None = None  # the adapter of `init_from`
        self.kind, self.rank, self.alpha = kind, rank, float(rank if alpha is None else alpha)
        self.layers, self.word, self.tokens, self.initial = layers, word, tokens, initial
        self.speaker, self.base, self.base_name = speaker, "", ""
        if kind is None and word is None and speaker is None:
            raise UserError("adapter", "has nothing to train", 'set adapter.word="<my-drum>", or adapter=lora')
        if layers is not None and not layers:
            fix = "name groups such as [attention], or set adapter.kind=null to train a word or speaker alone"
            raise UserError("adapter.layers=[]", "chooses no layer", fix)
        if word is not None and not is_placeholder(word):
            problem = "is not a new word"
            raise UserError(f"adapter.word {word!r:.40}", problem, 'write it in small letters and < >, as "<my-drum>"')
        if speaker is not None and not is_speaker(speaker):
            raise UserError(
                f"adapter.speaker {speaker!r:.40}", "is not a name", "write one such as anna, without : or ,"
            )

    def record(self) -> dict[str, Any]:
        """What may not change when a run is resumed."""
        return {name: getattr(self, name) for name in (*_ADAPTER_FIELDS, "base", "base_name", "init_from")}

    def inject(self, model: PretrainedModel, name: str, base: str = "") -> None:
        """Add updates, the word and the speaker to a base model, to be trained.

        Args:
            model: the base.
            name: of the base.
            base: hash of its weights, if the model has none yet, because a run that is resumed restores them; it has
                word and speaker already.

        Raises:
            UserError: a rank above a layer, a filter that no layer passes, a model without prompts or speakers, a name
                that it knows already, or an adapter to start from that is of another base.
        """
        self.base, self.base_name = base or weights_hash(model), name
        if self.init_from is not None and not base:
            self._start_from(adapter.inspect(self.init_from), model)
        if self.kind is not None:
            layers = adaptable_layers(model)
            try:
                chosen = self._chosen(layers)
                inject(model, {layer: layers[layer] for layer in chosen}, self.kind, self.rank, self.alpha)
            except ValueError as error:
                raise UserError("adapter", str(error), "lower adapter.rank, or set adapter.layers") from error
        if self.started is not None and self.started.updates:
            load_injected(model, self.started.updates)
        if self.word is not None and not base:
            self._learn(model, name)
        if self.speaker is not None and not base:
            self._add_speaker(model, name)

    def follow(self, record: MutableMapping[str, Any], base_name: str | None) -> str:
        """Take over what a run that is resumed started from.

        Args:
            record: of the run (`record`); what a run of an earlier version did not record is added.
            base_name: as configured now; None: not at all.

        Returns:
            The name of the base.

        Raises:
            UserError: another base, adapter to start from, word or speaker is configured than the run has.
        """
        record.setdefault("base_name", str(base_name))
        record.setdefault("init_from", self.init_from)
        _check_same("init_from", base_name, record["base_name"])
        _check_same("adapter.init_from", self.init_from, record["init_from"])
        self.init_from = record["init_from"]
        if self.init_from is not None:
            for name in _ADAPTER_FIELDS:
                setattr(self, name, record[name])
        for name in ("word", "speaker"):  # which the model of the run has
            _check_same(f"adapter.{name}", getattr(self, name), record.get(name))
        return record["base_name"]

    def _start_from(self, found: Adapter, model: PretrainedModel) -> None:
        check_base(found, model, self.base)
        if len(found.words) > 1 or len(found.speakers) > 1:
            raise found.error("has several words or speakers", "train each of them by itself")
        self.started = found = found.loaded()
        if found.kind:
            self.kind, self.rank, self.alpha, self.layers = found.kind, found.rank, found.alpha, list(found.updates)
        for word, vectors in found.words.items():
            self.word, self.tokens = word, len(vectors)
        self.speaker = next(iter(found.speakers), self.speaker)

    def _chosen(self, layers: Mapping[str, nn.Module]) -> list[str]:
        """The layers of the filters; without filters, those that have the rank."""
        if self.layers is not None:
            passing = select(layers, self.layers)
            return [name for name in layers if any(name in names for names in passing.values())]
        ranks = {name: largest_rank(layer.weight.shape) for name, layer in layers.items()}
        if self.rank > max(ranks.values()):
            raise ValueError(f"rank {self.rank} is above that of every layer, {max(ranks.values())} at most")
        return [name for name, rank in ranks.items() if self.rank <= rank]

    def _learn(self, model: PretrainedModel, name: str) -> None:
        assert self.word is not None
        prompt = next((one for one in model.conditioners if one.name == "prompt"), None)
        if prompt is None:
            raise UserError(f"adapter.word {self.word}", f"{name} takes no prompts", "leave it out, use adapter=lora")
        if self.word in prompt.placeholders:
            raise UserError(f"adapter.word {self.word}", f"{name} knows it already", "choose another word")
        known = {} if self.started is None else self.started.words
        try:
            vectors = known.get(self.word)
            if vectors is None:
                vectors = prompt.initial_vectors(self.initial or "sound", self.tokens)
            prompt.learn(self.word, vectors)
        except ValueError as error:
            raise UserError(f"adapter.word {self.word}", str(error), "change adapter.tokens") from error

    def _add_speaker(self, model: PretrainedModel, name: str) -> None:
        assert self.speaker is not None
        speakers = next((one for one in model.conditioners if one.name == "speaker"), None)
        if speakers is None:
            problem = f"{name} has no speakers"
            raise UserError(f"adapter.speaker {self.speaker}", problem, "leave it out, use adapter=lora")
        try:
            vector = None if self.started is None else self.started.speakers.get(self.speaker)
            speakers.learn(self.speaker, speakers.initial_vector(self.initial) if vector is None else vector)
        except ValueError as error:
            fix = "leave adapter.speaker out to train updates for it, or rename yours"
            raise UserError(f"adapter.speaker {self.speaker}", str(error), fix) from error

    def check(self, clips: Sequence[Clip]) -> None:
        """Check that training captions have the word and clips the speaker, if there is one.

        Raises:
            UserError: none has it.
        """
        known = sorted({clip.speaker for clip in clips})
        if self.speaker is not None and self.speaker not in known:
            fix = f"set it to one of {', '.join(known)}"[:200]
            raise UserError(f"adapter.speaker {self.speaker}", "no training clip has it", fix)
        if self.word is not None and not any(self.word in normalize(clip.caption) for clip in clips):
            fix = f'set data.caption="{self.word}", or write it in the captions'
            raise UserError(f"adapter.word {self.word}", "no training caption has it", fix)

    def parameters(self, model: PretrainedModel) -> list[nn.Parameter]:
        """What is trained, of a model with this adapter."""
        return injected_parameters(model, *self._names)

    @property
    def _names(self) -> tuple[list[str], list[str]]:
        """The new words and the new speakers."""
        return [self.word] if self.word else [], [self.speaker] if self.speaker else []

    def save(self, model: PretrainedModel, folder: Path, training: dict[str, Any], licenses: str) -> None:
        """Write the adapter of a model, with its training record and a card."""
        kind, rank, alpha = (self.kind, self.rank, self.alpha) if self.kind else ("", 0, 0.0)
        learned = extract(model, *self._names)
        trained = Adapter(self.base, model.TYPE, self.base_name, kind, rank, alpha, training=training, **learned)
        parts = [f"{self.kind} of rank {self.rank} on {len(trained.updates)} layers"] if self.kind else []
        parts += [f"the word `{self.word}` of {self.tokens} vectors"] if self.word else []
        parts += [f"the speaker `{self.speaker}`"] if self.speaker else []
        verb = _VERBS.get(model.TYPE, "merge {base} --out merged").format(base=self.base_name)
        verb += f' --prompt "{self.word}"' if self.word else ""
        verb += f' --speaker "{self.speaker}"' if self.speaker else ""
        what = " and ".join(parts)
        text = {"what": what[0].upper() + what[1:], "numbers": trained.numbers(), "base": self.base_name, "verb": verb}
        trained.save(folder, CARD.format(**training | text | {"licenses": licenses}))


def _check_same(option: str, now: Any, before: Any) -> None:
    """Refuse another value of an option than that of the run that is resumed; None is none."""
    if now not in (None, before):
        fix = "leave it unchanged, or start a new run"
        raise UserError(f"{option} {now}", f"the run to resume has {before or 'none'}", fix)
