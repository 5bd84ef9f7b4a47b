"""`AudioTextModel`: audio and texts as vectors of one space, in which a sound is close to what describes it.

Two encoders are trained together so that a clip and its caption are similar, and a clip and other captions are not
(CLIP, Radford et al. 2021, arXiv 2103.00020; for audio CLAP, Wu et al. 2023, arXiv 2211.06687). The text side starts
from frozen static embeddings (`conditioners.prompt`), so that it has an idea of words that no caption has. Similarity
is the cosine, from -1 to 1.

The audio side is differentiable in the waveform, and does not depend on its level: clips are scaled to the same power.
Its log-mel is zero where a clip is 60 dB below that.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.audio.fourier_resampling import fourier_resample
from audiodiff.audio.mel import MelSpec, MelSpectrogram
from audiodiff.conditioners.conditioner import as_list
from audiodiff.conditioners.prompt import Prompt
from audiodiff.errors import UserError
from audiodiff.models.codec import check_rate
from audiodiff.models.diffusion_model import CONDITIONERS, Conditioners
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.nn.audio_encoder import AudioEncoder
from audiodiff.nn.text_head import TextHead
from audiodiff.options import whole_number
from audiodiff.text.static_embedding import normalize

HEAD = "head."  # prefix of the weights of the text head
_SILENCE = 1e-5  # root mean square that a clip is divided by at least
_FLOOR = 1e-3  # of the mel of a clip of unit power
FEATURE_SCALE = 4.0  # of the natural logarithm: features are between 0 and about 2.5


class AudioTextModel(PretrainedModel):
    """A pair of encoders of audio and text.

    Args:
        network: of the log-mel, to vectors of E numbers.
        head: of the texts, to vectors of E numbers.
        mel_spec: of the log-mel, with natural logarithms of magnitudes.
        conditioners: the prompt encoder, alone.

    Raises:
        ValueError: the mel has another number of bands than the network, or other units; there is no prompt encoder, or
            one of other widths than the text head.
    """

    network: AudioEncoder
    TYPE = "audio_text"
    ARGUMENTS = ("network", "head", "mel_spec", "conditioners")

    def __init__(self, network: AudioEncoder, head: TextHead, mel_spec: MelSpec, conditioners: Conditioners = ()):
        super().__init__()
        self.network, self.head, self.mel_spec = network, head, mel_spec
        self.conditioners.extend(as_list(conditioners))
        if mel_spec.n_mels != network.features:
            raise ValueError(f"the mel has {mel_spec.n_mels} bands, the network {network.features} features")
        if (mel_spec.log_base, mel_spec.power, mel_spec.center, mel_spec.padding) != ("e", 1, True, "constant"):
            raise ValueError("the mel must have log_base e, power 1, center true and padding constant")
        if len(self.conditioners) != 1 or not isinstance(self.conditioners[0], Prompt):
            raise ValueError("the conditioners must be a prompt encoder alone")
        widths = (self.prompt.token_channels, self.prompt.embedding, network.embedding)
        if (head.tokens, head.sentence, head.embedding) != widths:
            given = (head.tokens, head.sentence, head.embedding)
            raise ValueError(f"the text head is of the widths {given}, prompt encoder and network of {widths}")
        self.analysis = MelSpectrogram(mel_spec)

    @property
    def prompt(self) -> Prompt:
        """The prompt encoder."""
        return self.conditioners[0]

    @property
    def sample_rate(self) -> int:
        """Of the log-mel, in Hz; other rates are resampled to it."""
        return self.mel_spec.sample_rate

    @property
    def width(self) -> int:
        """E."""
        return self.network.embedding

    def logit_scale(self) -> Tensor:
        """The inverse of the temperature, (): what similarities are multiplied by before the softmax."""
        return self.head.scale()

    def embed_audio(self, waveform: Tensor, sample_rate: int, samples: Tensor | None = None) -> Tensor:
        """Embed clips, with a gradient.

        Args:
            waveform: (B, C, T) in floating point; channels are mixed.
            sample_rate: Hz.
            samples: (B,) valid ones of each clip; None: all.

        Returns:
            (B, E) unit vectors.

        Raises:
            UserError: another shape or type, no samples, or a rate out of range.
        """
        return self.embed_features(*self.features(waveform, sample_rate, samples))

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, as (B, E) unit vectors.

        Raises:
            UserError: the static embeddings are missing, or others than the model was trained with.
        """
        condition = self.prompt({"prompt": [normalize(text) for text in texts]})
        return nn.functional.normalize(self.head(condition), dim=1)

    def features(
        self, waveform: Tensor, sample_rate: int, samples: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the audio network reads: features (B, M, F), 0 in silence, and the valid frames (B,) of each clip.

        Arguments and errors are those of `embed_audio`.
        """
        rate = whole_number(sample_rate, "sample rate", 1)
        check_rate(rate)
        _check_waveform(waveform)
        mono = waveform.float().mean(1)
        if samples is not None:
            samples = samples.to(mono.device)
            mono = mono * (torch.arange(mono.shape[-1], device=mono.device) < samples[:, None])
        count = mono.shape[-1] if samples is None else samples.clamp(min=1)[:, None]
        power = mono.square().sum(-1, keepdim=True) / count
        mono = fourier_resample(mono * (power + _SILENCE**2).rsqrt(), rate, self.sample_rate)
        mel = self.analysis.linear(mono)
        features = ((mel + _FLOOR).log() - math.log(_FLOOR)) / FEATURE_SCALE
        if samples is None:
            return features, None
        resampled = -(-samples * self.sample_rate // rate)
        return features, self.mel_spec.frames(resampled)

    def embed_features(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Embed features of clips (B, M, F), as (B, E) unit vectors; `frames` (B,) are valid, None: all."""
        return nn.functional.normalize(self.network(features, frames), dim=1)

    def load_initial_weights(self, weights: dict[str, Tensor], trained: Mapping[str, Any]) -> None:
        """Load the weights of a trained model to go on from; `trained` are its constructor's arguments.

        Raises:
            UserError: it was trained with other static embeddings.
            RuntimeError: names or shapes do not match.
        """
        for conditioner in as_list(trained.get("conditioners", ())):
            self.prompt.check_initial(conditioner)
        super().load_initial_weights(weights, trained)

    def _parts(self) -> dict[str, nn.Module]:
        return {HEAD: self.head} | {f"{CONDITIONERS}{self.prompt.name}.": self.prompt}


def _check_waveform(waveform: Tensor) -> None:
    if not isinstance(waveform, Tensor) or not waveform.is_floating_point():
        raise UserError("waveform", "is not a tensor in floating point", "convert it to float32 with full scale +-1")
    if waveform.ndim != 3 or 0 in waveform.shape[1:]:
        raise UserError(
            "waveform", f"has shape {tuple(waveform.shape)}, expected (B, C, T)", "add the missing dimension"
        )
