"""Pipelines by model type, and loading a model by its folder or name."""

from pathlib import Path

import torch

from audiodiff.errors import UserError
from audiodiff.models import checkpoint
from audiodiff.models.checkpoint import locate, type_of
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.pipelines.adapter_predictor import AdapterPredictor
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.pipeline import Pipeline, resolve_device
from audiodiff.pipelines.restorer import Restorer
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.pipelines.upsampler import Upsampler
from audiodiff.pipelines.vocoder import Vocoder

# None: the model itself is what users hold.
PIPELINES: dict[str, type[Pipeline] | None] = {
    "vocoder": Vocoder,
    "audio": AudioGenerator,
    "codec": None,
    "acoustic": SpeechSynthesizer,
    "aligner": None,
    "audio_text": AudioTextEmbedder,
    "noisy_classifier": None,
    "hypernetwork": AdapterPredictor,
    "upsampler": Upsampler,
    "restorer": Restorer,
}


def load(
    model: str | Path, device: str | torch.device = "auto", precision: str = "float32"
) -> Pipeline | PretrainedModel:
    """Load any model with the pipeline of its type: a `Vocoder`, an `AudioGenerator` or a `Codec`.

    Args:
        model: a checkpoint folder, or the name of a shipped model.
        device: where it runs; "auto" takes CUDA, then MPS, then CPU.
        precision: of a pipeline's network: float32, bfloat16 or float16.

    Raises:
        UserError: no such model, a model of an unknown type, or a damaged one; the device is not available.
    """
    folder = locate(model)
    kind = type_of(folder)
    if kind not in MODEL_TYPES:
        found = checkpoint.load(folder)  # says what is wrong with a folder that is not a model's
        raise UserError(folder, f"unknown model type {found.type!r}", f"choose a {', '.join(MODEL_TYPES)}")
    pipeline = PIPELINES[kind]
    if pipeline is None:
        return MODEL_TYPES[kind].from_pretrained(folder).to(resolve_device(device))
    return pipeline.from_pretrained(folder, device, precision)
