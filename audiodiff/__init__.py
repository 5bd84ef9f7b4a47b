"""audiodiff: diffusion models for audio.

A model is the composition of a schedule (`audiodiff.diffusion.schedules.schedule`), a denoiser
(`audiodiff.diffusion.denoiser`) and a sampler (`audiodiff.diffusion.samplers.sampler`). The public names are imported
only when asked for, so that `import audiodiff` stays cheap.

Importing the package before torch also limits how long torch's OpenMP threads spin while they wait for each other; a
value in the environment is kept.
"""

import os
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = [
    "Audio",
    "AudioEditor",
    "AudioGenerator",
    "AudioTextEmbedder",
    "EditConfig",
    "GenerationConfig",
    "MelSpec",
    "Restorer",
    "SpeechSynthesizer",
    "Upsampler",
    "Vocoder",
    "__version__",
    "load",
    "push_to_hub",
]

if TYPE_CHECKING:
    from audiodiff.audio.io import Audio
    from audiodiff.audio.mel import MelSpec
    from audiodiff.export.push import push_to_hub
    from audiodiff.pipelines.audio_editor import AudioEditor
    from audiodiff.pipelines.audio_generator import AudioGenerator
    from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
    from audiodiff.pipelines.edit_options import EditConfig
    from audiodiff.pipelines.options import GenerationConfig
    from audiodiff.pipelines.registry import load
    from audiodiff.pipelines.restorer import Restorer
    from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
    from audiodiff.pipelines.upsampler import Upsampler
    from audiodiff.pipelines.vocoder import Vocoder

# How often a waiting thread looks for work before it sleeps; libgomp reads it once, when torch is loaded. Unset, two
# threads beside a busy process take seven times as long as one thread; with 3000 less than twice as long, and on idle
# cores a sixth longer than unset (bench/results/threads.md).
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

_MODULES = {
    "Audio": "audiodiff.audio.io",
    "MelSpec": "audiodiff.audio.mel",
    "AudioEditor": "audiodiff.pipelines.audio_editor",
    "AudioGenerator": "audiodiff.pipelines.audio_generator",
    "AudioTextEmbedder": "audiodiff.pipelines.audio_text_embedder",
    "EditConfig": "audiodiff.pipelines.edit_options",
    "GenerationConfig": "audiodiff.pipelines.options",
    "Restorer": "audiodiff.pipelines.restorer",
    "SpeechSynthesizer": "audiodiff.pipelines.speech_synthesizer",
    "Upsampler": "audiodiff.pipelines.upsampler",
    "Vocoder": "audiodiff.pipelines.vocoder",
    "load": "audiodiff.pipelines.registry",
    "push_to_hub": "audiodiff.export.push",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'audiodiff' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
