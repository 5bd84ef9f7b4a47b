"""All kinds of models that checkpoints hold, by their type."""

from audiodiff.models.audio_model import AudioModel
from audiodiff.models.codec import Codec
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.vocoder_model import VocoderModel

MODEL_TYPES: dict[str, type[PretrainedModel]] = {kind.TYPE: kind for kind in (VocoderModel, AudioModel, Codec)}
