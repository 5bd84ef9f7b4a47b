"""Model types by name: the key of every layer's own table (pipelines, evaluation, demo, cards)."""

from pathlib import Path

from audiodiff.errors import UserError
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.aligner import Aligner
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.checkpoint import Checkpoint
from audiodiff.models.codec import Codec
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.restoration_model import RestorationModel
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.models.vocoder_model import VocoderModel

MODEL_TYPES: dict[str, type[PretrainedModel]] = {
    model.TYPE: model
    for model in (
        VocoderModel,
        AudioModel,
        Codec,
        AcousticModel,
        Aligner,
        AudioTextModel,
        NoisyClassifier,
        UpsamplerModel,
        RestorationModel,
        Hypernetwork,
    )
}


def load_model(found: Checkpoint, folder: str | Path) -> PretrainedModel:
    """The model of a checkpoint that has been read from `folder`, of whichever type.

    Raises:
        UserError: an unknown type, or config and weights that do not match.
    """
    if found.type not in MODEL_TYPES:
        raise UserError(folder, f"unknown model type {found.type!r:.60}", f"choose a {', '.join(MODEL_TYPES)}")
    return MODEL_TYPES[found.type].from_checkpoint(found, folder)
