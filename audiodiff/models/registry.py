"""Model types by name: the key of every layer's own table (pipelines, evaluation, demo, cards)."""

from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.aligner import Aligner
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.codec import Codec
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.models.pretrained_model import PretrainedModel
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
    )
}
