"""`AudioTextEmbedder`: how well audio and texts belong together, as similarities of their vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from audiodiff.audio.io import Audio, resample
from audiodiff.errors import UserError
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.pipelines.pipeline import Pipeline

Clips = Audio | Sequence[Audio]
Texts = str | Sequence[str]


class AudioTextEmbedder(Pipeline):
    """Embeds clips and texts in one space, in which a sound is close to what describes it.

    Clips may be of any length, level, sample rate and number of channels, which are mixed. A vector stands for all of a
    clip: cut long recordings (`pipelines.audio_index` does).

    Args:
        arguments: those of `Pipeline`, with an `AudioTextModel`.
    """

    MODEL = AudioTextModel
    model: AudioTextModel

    def embed_audio(self, audio: Clips) -> Tensor:
        """Unit vectors (B, E) of clips: of one, of a batch (B, C, T), or of a list of them.

        Raises:
            UserError: an empty clip, or not `Audio`.
        """
        return torch.cat([self._embed_clip(samples, rate) for samples, rate in _clips(audio)])

    def embed_text(self, texts: Texts) -> Tensor:
        """Unit vectors (N, E) of texts.

        Warns:
            UserWarning: words that no training caption has, or a text that is too long to be read word by word.

        Raises:
            UserError: an empty text, one that is not valid Unicode or too long, or the static embeddings are not
                installed.
        """
        prompts = [self.model.prompt.parse({"prompt": text}) for text in ([texts] if isinstance(texts, str) else texts)]
        if not prompts or "" in prompts:
            raise UserError("text", "is empty", 'describe a sound, such as "a short snare drum"')
        with torch.no_grad(), self._context():  # and not inference_mode: guidance takes gradients
            return self.model.embed_text(prompts).float().cpu()

    def similarity(self, audio: Clips, texts: Texts) -> Tensor:
        """Cosine similarities (B, N) of clips and texts, from -1 to 1; warns and raises as both of `embed_*`."""
        return self.embed_audio(audio) @ self.embed_text(texts).T

    @torch.no_grad()
    def _embed_clip(self, samples: Tensor, sample_rate: int) -> Tensor:
        mono = resample(samples.mean(-2), sample_rate, self.sample_rate)
        with self._context():
            return self.model.embed_audio(mono[None, None].to(self.device), self.sample_rate).float().cpu()


def _clips(audio: Clips) -> list[tuple[Tensor, int]]:
    """Samples (C, T) and sample rate of each clip."""
    clips = [audio] if isinstance(audio, Audio) else list(audio)
    found = []
    for clip in clips:
        if not isinstance(clip, Audio):
            raise UserError("audio", f"is {type(clip).__name__}", "pass Audio(samples, sample_rate), or a list of them")
        if not clip.samples.shape[-1] or not clip.channels:
            raise UserError("audio", "has no samples", "pass a clip with sound")
        batch = clip.samples if clip.samples.ndim == 3 else torch.atleast_2d(clip.samples)[None]
        found += [(samples, clip.sample_rate) for samples in batch]
    if not found:
        raise UserError("audio", "no clips are given", "pass at least one")
    return found
