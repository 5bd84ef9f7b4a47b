"""All kinds of models that checkpoints hold, by their type."""

from audiodiff.models.audio_model import MusicModel
from audiodiff.models.codec import Codec
from audiodiff.models.pretrained_model import KeptModel
from audiodiff.models.vocoder_model import VocoderModel

KINDS: dict[str, type[KeptModel]] = {kind.TYPE: kind for kind in (VocoderModel, MusicModel, Codec)}
