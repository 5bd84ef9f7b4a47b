"""Upsampling of a recording to the rate of a model, which generates the upper band."""

from pathlib import Path
from typing import Any

import torch

from audiodiff.audio.io import Audio
from audiodiff.demo.catalog import Offer
from audiodiff.demo.residual import MAX_SECONDS, ResidualTask
from audiodiff.demo.rewriting import opened, whole
from audiodiff.demo.task import Callback, Clip, Work, check_length, identity
from audiodiff.options import Option
from audiodiff.pipelines.edit_window import scale_progress
from audiodiff.pipelines.options import UpsamplingOptions
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.pipelines.upsampler import Upsampler


class UpsamplingTask(ResidualTask):
    """Upsamples a recording."""

    COMMAND = "audiodiff upsample"
    CONFIG = UpsamplingOptions
    INPUT = Option("audio", "The recording to upsample.", "Recording")
    SHOWN = ("cutoff",)
    FILES = ("count", "format", "watermark")

    def prepare(self, offer: Offer, values: dict[str, Any], count: int) -> Work:
        """The recording and its versions of a full band; raises as `UpsamplingOptions` and `opened`."""
        path = values.pop("recording")
        with opened(path, MAX_SECONDS) as file:
            check_length(file.samples / file.sample_rate, count)
        options = UpsamplingOptions(**offer.adapters.load(values))

        def run(upsampler: Upsampler, callback: Callback) -> list[Clip]:
            with opened(path, MAX_SECONDS) as file:
                audio = whole(file)
            name, rate = Path(path).name, audio.sample_rate
            complete = upsampler.complete(options, rate, name)
            shared = identity(self, offer, upsampler.model_hash) | complete.record() | {"count": count, "input": name}
            shared |= {"input_rate": rate, "sample_rate": upsampler.sample_rate}
            clips = [Clip(audio, "Original")]
            for number, seed in enumerate(clip_seeds(options.seed, count)):
                report = scale_progress(callback, number, count)
                signal = audio.samples
                pieces = upsampler.stream([signal], signal.shape[-1], rate, complete, seed, report, name=name)
                upsampled = Audio(torch.cat(list(pieces), -1), upsampler.sample_rate)
                title = f"Upsampled {number + 1}" if count > 1 else "Upsampled"
                clips.append(Clip(upsampled, title, shared | {"clip": number, "clip_seed": seed}))
            return clips

        return Work(run)
