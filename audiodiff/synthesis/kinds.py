"""All kinds of models that checkpoints hold, by their type."""

from audiodiff.synthesis.codec import Codec
from audiodiff.synthesis.kept import KeptModel
from audiodiff.synthesis.model import VocoderModel
from audiodiff.synthesis.music_model import MusicModel

KINDS: dict[str, type[KeptModel]] = {kind.TYPE: kind for kind in (VocoderModel, MusicModel, Codec)}
