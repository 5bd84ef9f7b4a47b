"""Restoration of a recording that is clipped, noisy or has gaps."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiodiff.audio.io import Audio
from audiodiff.demo.catalog import Offer
from audiodiff.demo.residual import MAX_SECONDS, ResidualTask
from audiodiff.demo.rewriting import Rewriting, encoding_of, opened, whole
from audiodiff.demo.task import Callback, Clip, Work, check_length, identity
from audiodiff.options import Option
from audiodiff.pipelines.edit_window import scale_progress
from audiodiff.pipelines.restoration_options import RestorationOptions
from audiodiff.pipelines.restorer import Restorer
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.rendering.restoration import replacements

_FILL = {"multiple": False, "help": "START:END in seconds, after commas. Drag on the waveform to select one."}


class RestorationTask(ResidualTask):
    """Restores a recording, in the encoding of its file."""

    COMMAND = "audiodiff restore"
    CONFIG = RestorationOptions
    INPUT = Option("audio", "The recording to restore.", "Recording")
    SHOWN = ("fill", "declip", "denoise", "clip_level")
    REGIONS = "fill"
    COMPARED = False  # what to restore is to be chosen
    FILES = ("count", "watermark")

    def options(self, offer: Offer) -> dict[str, Option]:
        """Those of `RestorationOptions`; gaps are one text."""
        options = super().options(offer)
        return options | {"fill": replace(options["fill"], **_FILL)}

    def known(self, offer: Offer) -> dict[str, Any]:
        """The defaults of `RestorationOptions`; no gaps are an empty text."""
        return super().known(offer) | {"fill": ""}

    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """The recording and its restorations; raises as `RestorationOptions` and `opened`."""
        path = values.pop("recording")
        with opened(path, MAX_SECONDS) as file:
            encoding, suffix = encoding_of(file)
            check_length(file.samples / file.sample_rate, count)
        values["fill"] = [text.strip() for text in (values["fill"] or "").split(",") if text.strip()]
        options = RestorationOptions(**offer.adapters.load(values))

        def run(restorer: Restorer, callback: Callback) -> list[Clip]:
            with opened(path, MAX_SECONDS) as file:
                audio = whole(file)
            name, rate = Path(path).name, audio.sample_rate
            record = restorer.with_defaults(options).record()
            shared = identity(self, offer, restorer.model_hash) | record | {"count": count, "input": name}
            clips = [Clip(audio, "Original")]
            for number, seed in enumerate(clip_seeds(options.seed, count)):
                report = scale_progress(callback, number, count)
                restored = restorer.restore_recording(audio, options, seed, report, name=name).samples
                parts, gain = replacements(audio.samples, restored, encoding, name)
                own = {"clip": number, "clip_seed": seed, "sample_rate": rate, "gain": gain}
                title = f"Restored {number + 1}" if count > 1 else "Restored"
                rewriting = Rewriting(Path(path), parts, encoding, suffix)
                clips.append(Clip(Audio(restored * gain, rate), title, shared | own, rewriting=rewriting))
            return clips

        return Work(run)

    def restore(self, offer: Offer, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Values of controls; gaps as one text."""
        gaps = settings.get("fill") or ()
        text = ", ".join(map(str, gaps)) if isinstance(gaps, list | tuple) else str(gaps)
        return super().restore(offer, dict(settings) | {"fill": text})
