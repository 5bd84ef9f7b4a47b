"""`AdapterPredictor`: an adapter from reference clips in one pass, without training."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from audiodiff.audio.io import Audio, read
from audiodiff.errors import UserError
from audiodiff.models.adapter import Adapter
from audiodiff.models.hypernetwork import MAX_SECONDS, Hypernetwork, mean_embedding
from audiodiff.models.training_record import data_licenses
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.pipeline import Pipeline

MIN_SECONDS = 0.05
_SILENCE_PEAK, _LOUDEST_PEAK = 1e-4, 1e6  # of full scale; squares of the latter are far below the largest float
CARD = """# An adapter of {base}

Of rank {rank}, predicted from {clips} by a hypernetwork, without training. It changes `{base}` and no other model:

    audiodiff generate --model {base} --prompt "a sound" --adapter this/folder:1
    python train.py +recipe=sounds init_from={base} adapter=lora adapter.init_from=this/folder data.path=FOLDER

Data licenses of the hypernetwork: {licenses}
"""


class AdapterPredictor(Pipeline):
    """Predicts adapters.

    Args:
        arguments: those of `Pipeline`, with a `Hypernetwork`.
    """

    MODEL = Hypernetwork
    model: Hypernetwork

    @cached_property
    def embedder(self) -> AudioTextEmbedder:
        """The audio-text pair that the hypernetwork reads.

        Raises:
            UserError: it is missing, or another one by now.
        """
        return AudioTextEmbedder(self.model.load_embedder(), self.device)

    def predict(self, clips: Audio | str | Path | Sequence[Audio | str | Path]) -> Adapter:
        """The adapter of what clips have in common.

        Args:
            clips: of one subject, as audio or files; of longer ones the first ten seconds count.

        Raises:
            UserError: no clips, or one that cannot be read, is silent, or shorter than `MIN_SECONDS`.
        """
        single = isinstance(clips, Audio | str | os.PathLike) or not isinstance(clips, Iterable)
        given: list[Any] = [clips] if single else list(clips)  # type: ignore[arg-type]
        if not given:
            raise UserError("clips", "none are given", "pass at least one recording of what to sound like")
        found = [_checked(clip, number) for number, clip in enumerate(given, 1)]
        vectors = self.embedder.embed_audio(found)
        training: dict[str, Any] = {
            "hypernetwork": self.model_hash,
            "references": len(vectors),
            "steps": 0,
            "data": f"{len(vectors)} reference clip(s), by a hypernetwork",
            "licenses": list(data_licenses(self.training)),
            **{name: self.training[name] for name in ("synthetic",) if name in self.training},
        }
        return self.model.adapter(mean_embedding(vectors).to(self.device), training)


def card(adapter: Adapter) -> str:
    """The card of a predicted adapter."""
    count = int(adapter.training["references"])
    texts = {
        "base": adapter.base_name,
        "rank": adapter.rank,
        "clips": f"{count} reference clip{'s' if count > 1 else ''}",
        "licenses": "; ".join(adapter.training.get("licenses", ())) or "not stated",
    }
    return CARD.format(**texts)


def _checked(clip: Audio | str | Path, number: int) -> Audio:
    """A clip that can be embedded, cut to `MAX_SECONDS`."""
    name = str(clip) if isinstance(clip, str | os.PathLike) else f"clip {number}"
    audio = read(clip) if isinstance(clip, str | os.PathLike) else clip
    if not isinstance(audio, Audio):
        raise UserError(name, f"is {type(audio).__name__}", "pass Audio(samples, sample_rate), or a file")
    samples = audio.samples[..., : round(MAX_SECONDS * audio.sample_rate)]
    if samples.shape[-1] < MIN_SECONDS * audio.sample_rate:
        problem = f"lasts {samples.shape[-1] / audio.sample_rate:.3f} s, at least {MIN_SECONDS} s are needed"
        raise UserError(name, problem, "choose a longer clip")
    mixed = samples if samples.ndim == 1 else samples.mean(-2)  # what is embedded
    peaks = mixed.abs().amax(-1)
    if peaks.min() < _SILENCE_PEAK:
        raise UserError(name, "is silent", "choose a clip with sound, or cut the silence before it")
    if peaks.max() > _LOUDEST_PEAK:
        raise UserError(name, f"has samples of {float(peaks.max()):.3g}, full scale is 1", "scale it down")
    return replace(audio, samples=samples)
