"""`AcousticModel`: text to mel, as a diffusion over mels that an encoded text is the condition of.

Symbols are encoded, their durations and pitch predicted, and the encoded symbols repeated for their durations
(`nn.speech_encoder`). A frame decoder turns them into the frames that the U-Net is conditioned on, and into
an estimate of the mel, its mean given the text. With `prior_mean` the process runs on what that mean lacks (as the
noise of Grad-TTS, Popov et al. 2021, arXiv 2105.06337, is centered on it): texture, which has no mean, is left to the
diffusion. What is lacking is divided by its standard deviation, which is estimated too (after PriorGrad, Lee et al.
2022, arXiv 2106.06406): large in noise and small in vowels, so that the process runs on values of unit variance, and
a network that has learned nothing yet (v = 0 is the best estimate of white noise) already puts texture where it
belongs. Without `prior_mean`, the process runs on the mel itself.

A voice is a speaker of the training data, a mixture of several, or, with a `reference` conditioner, that of a clip: its
embedding takes the place of the speaker's.

The process runs on normalized log-mels (`audio.mel.normalization`), `fold` mel frames being one of its frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from audiodiff.audio.io import Audio
from audiodiff.audio.mel import MelSpec
from audiodiff.audio.mel.normalization import MelNormalization
from audiodiff.conditioners.reference import Reference
from audiodiff.conditioners.speaker import Speaker
from audiodiff.diffusion.denoiser import Denoiser
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.objective import Objective
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.errors import UserError
from audiodiff.models.diffusion_model import CONDITIONERS, DiffusionModel
from audiodiff.models.distillation import Distillation
from audiodiff.nn.condition import Condition
from audiodiff.nn.network import Network
from audiodiff.nn.prosody import restore_pitch
from audiodiff.nn.speech_encoder import SpeechEncoder
from audiodiff.nn.text_encoder import whole_frames
from audiodiff.ranges import NonNegativeFloat
from audiodiff.text.symbols import BOUNDARY, PADDING, SymbolTable

ENCODER = "encoder."
_MAX_LOG_DURATION = 5.0  # of a symbol: 148 frames, one and a half seconds


@dataclass(frozen=True)
class Prosody:
    """Prosody of a batch of texts.

    Attributes:
        durations: (B, N) mel frames of each symbol, boundaries included; 0 beyond the end of a text.
        pitch: (B, N) Hz of each symbol, 0 where unvoiced.
    """

    durations: Tensor
    pitch: Tensor


@dataclass(frozen=True)
class EncodedSymbols:
    """A batch of texts as its speakers say them, before it is known when and how high.

    Attributes:
        hidden: (B, C, N) of each symbol, boundaries included.
        mask: (B, 1, N), one for symbols, zero beyond the end of a text.
        speaker: (B, E) embeddings.
    """

    hidden: Tensor
    mask: Tensor
    speaker: Tensor


@dataclass(frozen=True)
class EncodedText:
    """What a text, its speaker and its prosody say about the mel.

    Attributes:
        condition: of the network, with the valid frames of the process.
        mean: (B, fold x M, F) of the normalized mel, which the frame decoder estimates.
        scale: (B, fold x M, F), standard deviation of the normalized mel around it.
        frames: (B,) valid mel frames.
    """

    condition: Condition
    mean: Tensor
    scale: Tensor
    frames: Tensor


class AcousticModel(DiffusionModel):
    """Phonemes to mel.

    Args:
        network: predicts from folded, normalized mels (B, fold x M, F), conditioned on the encoder's channels.
        schedule: how much signal and noise there is at time t.
        objective: what the network predicts.
        encoder: text, prosody and frames.
        mel_spec: of the mels.
        symbols: symbol table of the phonemes.
        speaker: the speakers.
        language: of the texts, such as "en-us".
        normalization: of the mels; None: not measured yet.
        prior_mean: whether the process runs on the difference between the mel and the encoder's mean, in units of the
            encoder's scale.
        vocoder: name or folder of the vocoder that the voice is made for.
        guidance: default guidance scale.
        temperature: default standard deviation of the noise that sampling starts from. Below 1, samples are closer to
            what is likeliest: of a young model, cleaner (Grad-TTS, section 3.3).
        reference: of voices that are known by a clip only; None: the model takes none.
        sampler, grids, validated, distillation: as of `DiffusionModel`.

    Raises:
        UserError: parts that do not fit each other, or as `DiffusionModel`.
    """

    TYPE = "acoustic"
    ARGUMENTS = (
        "network",
        "schedule",
        "objective",
        "encoder",
        "mel_spec",
        "symbols",
        "speaker",
        "language",
        "normalization",
        "prior_mean",
        "vocoder",
        "guidance",
        "temperature",
        "sampler",
        "grids",
        "validated",
        "reference",
        "distillation",
    )

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        objective: Objective,
        encoder: SpeechEncoder,
        mel_spec: MelSpec,
        symbols: SymbolTable,
        speaker: Speaker,
        language: str = "en-us",
        normalization: MelNormalization | None = None,
        prior_mean: bool = True,
        vocoder: str = "speech-24k",
        guidance: float = 1.0,
        temperature: NonNegativeFloat = 1.0,
        sampler: str = "recommended",
        grids: Sequence[StoredGrid] = (),
        validated: Sequence[int] | None = None,
        reference: Reference | None = None,
        distillation: Distillation | None = None,
    ):
        voice = [speaker, reference]
        denoiser = Denoiser(network, schedule, objective)
        super().__init__(denoiser, sampler, grids, validated, voice, distillation=distillation)
        self.encoder, self.mel_spec, self.symbols, self.language = encoder, mel_spec, symbols, language
        self.normalization, self.prior_mean = normalization, prior_mean
        self.vocoder, self.guidance, self.temperature = vocoder, guidance, temperature
        self._check_encoder()

    @property
    def speaker(self) -> Speaker:
        """The conditioner of the speakers."""
        return self.conditioners[0]

    @property
    def reference(self) -> Reference | None:
        """The conditioner of reference clips, if the model takes them."""
        return self.conditioners[1] if len(self.conditioners) > 1 else None

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of the speakers."""
        return self.speaker.names

    @property
    def sample_rate(self) -> int:
        """Hz, of the audio that the mels are of."""
        return self.mel_spec.sample_rate

    @property
    def fold(self) -> int:
        """Mel frames that are one frame of the process."""
        return self.encoder.fold

    def tokens(self, phonemes: Sequence[str]) -> Tensor:
        """Ids (B, N) of phonemes, with a boundary at both ends, padded with 0.

        Raises:
            UserError: unknown symbols.
        """
        rows = [torch.tensor([BOUNDARY, *self.symbols.encode(text), BOUNDARY]) for text in phonemes]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING).to(self._device)

    def speaker_embedding(self, speakers: Sequence[str | Mapping[str, float] | Audio | None]) -> Tensor:
        """Embeddings (B, E) of speakers, of mixtures (`conditioners.speaker.Speaker.weights`), or of reference clips.

        A clip may have any length; 10 to 60 seconds of speech are advised.

        Raises:
            UserError: an unknown speaker, a silent clip, or a clip and the model takes none.
        """
        return torch.stack([self._embed_voice(speaker) for speaker in speakers])

    def embed_speaker(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Embeddings (B, E) of the raw values of a batch; where it has a reference, the speaker does not matter."""
        if self.reference is not None and "reference" in batch:
            known = batch["reference"].isnan().any(-1, keepdim=True)
            batch = {**batch, "speaker": batch["speaker"] * known}
        embedding = self.embed_condition(batch).global_embedding
        assert embedding is not None
        return embedding

    def encode_symbols(self, tokens: Tensor, speaker: Tensor) -> EncodedSymbols:
        """Encode the symbols of texts (B, N) spoken by speakers (B, E): what prosody and frames are made from."""
        mask = _mask(tokens)
        return EncodedSymbols(self.encoder.text(tokens, mask, speaker), mask, speaker)

    def predict_prosody(self, symbols: EncodedSymbols) -> Prosody:
        """Predict durations and pitch.

        Raises:
            UserError: a duration is not finite, as with a speaker of an adapter that has huge numbers.
        """
        mask = symbols.mask
        log_duration, log_pitch, voicing = self.encoder.prosody(symbols.hidden, mask, symbols.speaker)
        if log_duration.isnan().any():
            fix = "lower the scales of adapters, or leave them out"
            raise UserError("the predicted durations", "are not finite", fix)
        durations = log_duration.clamp(max=_MAX_LOG_DURATION).exp() * mask[:, 0]
        pitch = torch.where((voicing > 0) & (mask[:, 0] > 0), restore_pitch(log_pitch), 0.0)
        return Prosody(durations, pitch)

    def prosody_losses(self, symbols: EncodedSymbols, prosody: Prosody) -> tuple[Tensor, Tensor]:
        """The losses (B,) of predicted durations and pitch."""
        prediction = self.encoder.prosody(symbols.hidden, symbols.mask, symbols.speaker)
        return self.encoder.prosody.loss(prediction, symbols.mask, prosody.durations, prosody.pitch)

    def embed_text(self, symbols: EncodedSymbols, prosody: Prosody) -> EncodedText:
        """Embed texts with a prosody: what the network is conditioned on."""
        durations = whole_frames(prosody.durations)
        hidden = symbols.hidden + self.encoder.pitch(prosody.pitch.to(symbols.hidden), symbols.mask)
        frames, samples = self.encoder.decoder(hidden, durations, symbols.speaker)
        condition = Condition(frames, samples, global_embedding=symbols.speaker)
        return EncodedText(condition, self.encoder.mean(frames), self.encoder.scale(frames), durations.sum(1))

    def unconditional(self, encoded: EncodedText) -> Condition:
        """The null condition of the same shape: neither text nor speaker."""
        condition = encoded.condition
        frames, embedding = condition.frames, condition.global_embedding
        assert frames is not None and embedding is not None
        return Condition(torch.zeros_like(frames), condition.samples, global_embedding=torch.zeros_like(embedding))

    def from_mel(self, mel: Tensor, encoded: EncodedText) -> Tensor:
        """What the process runs on (B, fold x M, F) of log-mels (B, M, F'); mean and scale get no gradient from it."""
        normalized = self.fold_mel(mel)
        return (normalized - encoded.mean.detach()) / encoded.scale.detach() if self.prior_mean else normalized

    def to_mel(self, x: Tensor, encoded: EncodedText) -> Tensor:
        """The log-mels (B, M, F') of a sample of the process, the inverse of `from_mel` above the floor."""
        normalized = encoded.mean.float() + encoded.scale.float() * x.float() if self.prior_mean else x.float()
        return self.normalized_to_mel(normalized)

    def fold_mel(self, mel: Tensor) -> Tensor:
        """Normalize log-mels (B, M, F') and fold them to (B, fold x M, F); the last frames are padded by the floor."""
        pad = -mel.shape[-1] % self.fold
        mel = nn.functional.pad(mel, (0, pad), value=self._normalization.floor)
        return rearrange(self._normalization.normalize(mel), "b m (f fold) -> b (fold m) f", fold=self.fold)

    def normalized_to_mel(self, normalized: Tensor) -> Tensor:
        """Log-mels (B, M, fold x F) of folded, normalized ones (B, fold x M, F)."""
        unfolded = rearrange(normalized, "b (fold m) f -> b m (f fold)", fold=self.fold)
        return self._normalization.restore(unfolded)

    def _embed_voice(self, speaker: str | Mapping[str, float] | Audio | None) -> Tensor:
        """(E,) of one speaker, mixture or clip; of a clip, the mean over its windows."""
        if not isinstance(speaker, Audio):
            batch = {"speaker": self.speaker.weights(speaker)[None]}
            if self.reference is not None:
                batch["reference"] = self.reference.absent()[None]
        elif self.reference is not None:
            batch = {"speaker": self.speaker.weights(None)[None], "reference": self.reference.windows(speaker)}
        else:
            fix = f"choose one of {', '.join(self.speakers)}, or fine-tune the voice on the clip"
            raise UserError("reference", "this voice takes no reference clip", fix)
        return self.embed_speaker(batch).mean(0)

    @property
    def _normalization(self) -> MelNormalization:
        if self.normalization is None:
            raise UserError("the model", "has no normalization of mels", "train it first")
        return self.normalization

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _check_conditioners(self) -> None:
        """The encoder's frames are checked against the network in `_check_encoder`."""

    def _check_encoder(self) -> None:
        network, encoder = self.network, self.encoder
        expected = {
            "network.condition": (network.condition, encoder.channels),
            "network.condition_hop": (network.condition_hop, 1),
            "network.frontend.channels": (network.frontend.channels, encoder.fold * self.mel_spec.n_mels),
            "network.frontend.stride": (network.frontend.stride, 1),
            "model.encoder.embedding": (encoder.embedding, network.embedding),
            "model.speaker.embedding": (self.speaker.embedding, network.embedding),
            "model.encoder.n_mels": (encoder.n_mels, self.mel_spec.n_mels),
            "model.encoder.symbols": (encoder.symbols, len(self.symbols)),
        }
        for key, (found, wanted) in expected.items():
            if found != wanted:
                raise UserError(key, f"is {found}, the other parts of the model need {wanted}", f"set {key}={wanted}")
        bands = self.mel_spec.n_mels if self.normalization is None else len(self.normalization.mean)
        if bands != self.mel_spec.n_mels:
            raise UserError("normalization", f"has {bands} bands, the mel {self.mel_spec.n_mels}", "measure it again")

    def load_initial_weights(self, weights: dict[str, Tensor], trained: Mapping[str, Any]) -> None:
        """Load the weights of a model that may have other speakers (`Speaker.carry_over`).

        Weights for reference clips are left out where this model takes none; where only this model takes them, its own
        stay as they are.

        Args:
            weights: of the trained model.
            trained: its constructor's arguments.
        """
        prefix = f"{CONDITIONERS}{self.speaker.name}."
        own = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
        if isinstance(speaker := trained.get("speaker"), Speaker) and own:
            weights = {name: weight for name, weight in weights.items() if not name.startswith(prefix)}
            carried = self.speaker.carry_over(speaker, own)
            weights |= {prefix + name: weight for name, weight in carried.items()}
        prefix, reference = f"{CONDITIONERS}{Reference.name}.", self.reference
        if reference is None:
            weights = {key: value for key, value in weights.items() if not key.startswith(prefix)}
        else:
            weights = {prefix + key: value for key, value in reference.state_dict().items()} | weights
        self.load_weights(weights)

    def _parts(self) -> dict[str, nn.Module]:
        return super()._parts() | {ENCODER: self.encoder}


def _mask(tokens: Tensor) -> Tensor:
    """(B, 1, N): one for symbols, zero for padding."""
    return (tokens != PADDING)[:, None].float()
