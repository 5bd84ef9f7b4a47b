"""Settings that are loaded back: of a sidecar, of a settings file of the demo, or of an audio file's own metadata.

They state every option that decides what a file holds (`rendering.sidecar`). Models, adapters and guides are stated by
their hashes: a sidecar says where they were, and shipped models are found by theirs. Audio files that went into a clip
are stated by hashes alone, and have to be named again.

What a file says of itself is anybody's text: options are checked as those of a user, folders must hold what the hash
says, and what is not about the sound, such as replacing files, is not loaded.
"""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from audiodiff.audio.encoding import FORMATS
from audiodiff.audio.metadata import read_metadata
from audiodiff.errors import UserError, did_you_mean
from audiodiff.models import adapter, checkpoint
from audiodiff.models.adapted import AppliedAdapter
from audiodiff.options import Option
from audiodiff.pipelines.pipeline import Pipeline
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.rendering.batch_place import BatchPlace
from audiodiff.rendering.sidecar import under_todays_names
from audiodiff.text.lexicon import Lexicon

# By the verb: the commands whose settings it takes.
ACCEPTED = {
    "generate": ("audiodiff generate", "audiodiff render"),
    "say": ("audiodiff say", "audiodiff render"),
    "render": ("audiodiff render", "audiodiff generate", "audiodiff say"),
    "edit": ("audiodiff edit",),
    "upsample": ("audiodiff upsample",),
    "restore": ("audiodiff restore",),
}
_ENTRIES = {"sample_rate": "output_rate"}  # names of entries that differ from those of options
# Not about the sound, or stated by others.
_OWN = ("overwrite", "name", "batch_memory", "executor", "workers", "address", "setting")
# Options of which one excludes the others: one that is named leaves the others of the file out.
_EXCLUSIVE = (
    {"speaker", "reference"},
    {"loop", "continue_from", "init_audio"},
    {"init_audio", "seconds"},
    {"setting", "steps"},
    {"setting", "sampler"},
    {"setting", "consistency"},
)
_SINGLE = ("seed", "count", "variations")  # options beside which a clip is not the one of the file
_LARGEST = 2**20  # bytes of a JSON file
_ALIKE = {"count": int, "precision": str, "phonemes": bool, "watermark": bool, "convert_mel": bool}
_FINISHING = {"bit_depth": "--bit-depth", "dither": "--dither", "loudness": "--loudness"} | {
    "output_rate": "--sample-rate"
}


@dataclass(frozen=True)
class SavedSettings:
    """Settings that were loaded.

    Attributes:
        path: of the file.
        entries: under today's names.
        named: options that the user states beside them, which win.
    """

    path: Path
    entries: Mapping[str, Any]
    named: Collection[str] = field(default=frozenset())

    @property
    def command(self) -> str:
        """That wrote them; empty if they do not say."""
        return str(self.entries.get("command") or self.entries.get("sidecar") or "")

    @property
    def clip_seed(self) -> int | None:
        """The noise of the file's clip; None where other clips are requested, or none is stated."""
        found = self.entries.get("clip_seed")
        return found if type(found) is int and not set(_SINGLE) & set(self.named) else None

    @property
    def morph_clip_seed(self) -> int | None:
        """The noise that an edit morphs into, as `clip_seed`."""
        found = self.entries.get("morph_clip_seed")
        return found if type(found) is int and self.clip_seed is not None and "morph_seed" not in self.named else None

    @property
    def batch(self) -> BatchPlace | None:
        """The place of the file's clip in its batch; raises as `BatchPlace.read`."""
        return BatchPlace.read(self.entries, str(self.path))

    @property
    def text(self) -> str | None:
        """That was spoken.

        Raises:
            UserError: it was too long for the file's metadata.
        """
        found = self.entries.get("text")
        if isinstance(found, Mapping):
            raise UserError(self.path, "states a text of this length by its hash alone", "name the text, too")
        return found if isinstance(found, str) else None

    @property
    def inputs(self) -> list[str]:
        """The recording or mel that the file was made of, where a sidecar says where it was."""
        found = self.entries.get("input")
        return [found] if isinstance(found, str) and "input_hash" in self.entries else []

    def check(self, verb: str, known: Collection[str]) -> None:
        """Check that they are settings of a verb.

        Args:
            verb: one of `ACCEPTED`.
            known: names of its options.

        Raises:
            UserError: they are of another command, or none of its options is among them.
        """
        if self.command and self.command not in ACCEPTED[verb]:
            raise UserError(self.path, f"has settings of `{self.command:.60}`", "use them with that command")
        if not self.command:  # written by hand
            names = {*known, *_ALIKE, "model", "model_hash", "text", "clip_seed"}
            for name in self.entries:
                if name not in names:
                    raise UserError(f"{self.path}, {name!r:.60}", "unknown", did_you_mean(name, names, "remove it"))
        if not self.entries.keys() & {*known, "text"}:
            raise UserError(self.path, f"has no settings of `audiodiff {verb}`", "choose a file that audiodiff wrote")
        if self.entries.get("lexicon_hash") and "lexicon" not in self.named:
            raise UserError(self.path, "was made with --lexicon, a file that it does not hold", "add --lexicon FILE")
        if verb == "say" and (finished := [flag for name, flag in _FINISHING.items() if self.entries.get(name)]):
            raise UserError(self.path, f"was written with {finished[0]}", "use `audiodiff render --settings`")
        if verb == "render" and self.entries.get("phonemes") is True:
            raise UserError(self.path, "was spoken from phonemes", "use `audiodiff say --settings`")

    def value(self, name: str, option: Option) -> Any:
        """The value of an option; None where it is not stated.

        Raises:
            UserError: it is out of range, or what it names is not there.
        """
        if name == "format":
            return self._format()
        found = self.entries.get(_ENTRIES.get(name, name))
        excluded = any(name in group and group & set(self.named) for group in _EXCLUSIVE)
        measured = name == "seconds" and "input_hash" in self.entries  # of the file, and not an option
        if name in _OWN or excluded or measured or found is None or found == []:
            return None
        flag = option.flag_for(name)
        if name == "adapters":
            return tuple(self._adapters(found, flag))
        if option.kind == "audio":
            raise UserError(self.path, f"was made with {flag}, an audio file that it does not hold", f"add {flag} FILE")
        if option.kind == "model":
            return self.folder(found, flag)
        try:
            return option.check(name, found)
        except UserError as error:
            raise UserError(f"{self.path}, {error.subject}", error.problem, error.fix) from error

    def plain(self, name: str) -> Any:
        """The value of an option of a verb that is not among those of a dataclass; None where it is not stated."""
        found = self.entries.get("count" if name == "variations" else name)
        kind = _ALIKE.get("count" if name == "variations" else name)
        if kind is int and "clip_seed" in self.entries:
            return None  # one of so many
        return found if kind and type(found) is kind else None

    def model(self) -> Path | None:
        """The model's folder or name; None where none is stated.

        Raises:
            UserError: it is not there.
        """
        if (digest := self.entries.get("model_hash")) is not None:
            return self.folder(digest, "--model")
        name = self.entries.get("model")
        if name is not None and not (isinstance(name, str) and (os.path.isdir(name) or name in checkpoint.shipped())):
            raise UserError(f"{self.path}, model {name!r:.60}", "is not there", "name one with --model")
        return None if name is None else Path(name)

    def folder(self, digest: Any, flag: str) -> Path:
        """The folder of a model or adapter by its hash.

        Raises:
            UserError: it is not there.
        """
        if (found := self.find(digest)) is None:
            problem = f"was made with a model that is not there ({flag.removeprefix('--')} of hash {digest!s:.12})"
            raise UserError(self.path, problem, f"add {flag} DIR")
        return found

    def find(self, digest: Any) -> Path | None:
        """As `folder`; None where it is not there."""
        folders = self.entries.get("folders")
        named = folders.get(digest) if isinstance(folders, Mapping) and isinstance(digest, str) else None
        if isinstance(named, str) and os.path.isdir(named) and digest in _digests(Path(named)):
            return Path(named)
        shipped = shipped_models().get(digest) if isinstance(digest, str) else None
        return None if shipped is None else Path(shipped)

    def compare(self, pipeline: Pipeline) -> None:
        """Compare the model that is used with the one that the settings are of.

        Warns:
            UserWarning: the user named another one.

        Raises:
            UserError: a voice has another vocoder, which the user did not name.
        """
        of_models = [(self.entries.get("model_hash"), pipeline.model_hash, "model")]
        if isinstance(vocoder := getattr(pipeline, "vocoder", None), Pipeline):
            of_models.append((self.entries.get("vocoder_hash"), vocoder.model_hash, "vocoder"))
        for digest, own, kind in of_models:
            if digest in (None, own):
                continue
            if kind == "vocoder" and kind not in self.named:
                self.folder(digest, "--vocoder")
            text = f"{self.path}: was made with another {kind}, of hash {digest!s:.12}; the clip will be another one"
            warnings.warn(text, stacklevel=2)

    def with_lexicon(self, synthesizer: SpeechSynthesizer) -> SpeechSynthesizer:
        """A voice with the lexicon of the settings, if they hold one, as those of the demo do."""
        lines = self.entries.get("lexicon")
        if not isinstance(lines, str) or "lexicon" in self.named:
            return synthesizer
        lexicon = Lexicon.parse(lines.splitlines(), f"{self.path}, lexicon", synthesizer.model.language)
        loaded = (synthesizer.model, synthesizer.device, synthesizer.precision, synthesizer.model_hash)
        return SpeechSynthesizer(*loaded, synthesizer.training, synthesizer.vocoder, lexicon)

    def _format(self) -> str | None:
        names = self.path.name.lower().removesuffix(".json").rpartition(".")
        return names[2] if names[2] in FORMATS else None

    def _adapters(self, records: Any, flag: str) -> Iterator[AppliedAdapter]:
        for one in records if isinstance(records, list) else [None]:
            if not isinstance(one, Mapping) or not isinstance(ends := one.get("interval") or [None, None], list):
                raise UserError(f"{self.path}, adapters {one!r:.60}", "is no adapter", f"add {flag} DIR:SCALE")
            interval = tuple(sign * math.inf if end is None else end for sign, end in zip((-1, 1), ends, strict=False))
            loaded = adapter.inspect(self.folder(one.get("hash"), flag))
            yield AppliedAdapter(loaded, one.get("scale"), interval)  # type: ignore[arg-type]


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a file: JSON, or an audio file with metadata.

    Raises:
        UserError: it holds none.
    """
    file, fix = Path(path), "choose a sidecar, the settings.json of a result, or a clip of audiodiff"
    if not os.path.isfile(file):
        raise UserError(file, "no such file", fix)
    if file.suffix.lower() != ".json":
        if found := read_metadata(file):
            return under_todays_names(found)
        raise UserError(file, "has no settings in its metadata", fix)
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(_LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(file, "is no JSON", fix) from error
    if not isinstance(found, dict):
        raise UserError(file, "holds no settings", fix)
    return under_todays_names(found)


def shipped_models() -> dict[str, str]:
    """Names of the shipped models by their hashes, which settings state."""
    folders = {name: checkpoint.locate(name) for name in checkpoint.shipped()}
    return {digest: name for name, folder in folders.items() for digest in _shipped_digests(folder)}


def _digests(folder: Path) -> list[str]:
    """The hashes of the model or adapter in a folder."""
    found = []
    for names in (("config.json", "model.safetensors"), (adapter.CONFIG, adapter.WEIGHTS), (checkpoint.EXPORTED,)):
        files = [folder / name for name in names]
        if all(map(os.path.isfile, files)):
            digest = hashlib.sha256()
            for file in files:
                with file.open("rb") as content:
                    while piece := content.read(1 << 20):
                        digest.update(piece)
            found.append(digest.hexdigest())
    return found


_shipped_digests = lru_cache(maxsize=64)(_digests)  # of files that do not change
