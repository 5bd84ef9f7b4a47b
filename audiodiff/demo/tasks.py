"""What the page does with each type of model."""

from audiodiff.demo.editing import EditingTask
from audiodiff.demo.generation import GenerationTask
from audiodiff.demo.restoration import RestorationTask
from audiodiff.demo.resynthesis import ResynthesisTask
from audiodiff.demo.speaking import SpeakingTask
from audiodiff.demo.task import Task
from audiodiff.demo.upsampling import UpsamplingTask
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.aligner import Aligner
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.codec import Codec
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.models.restoration_model import RestorationModel
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.models.vocoder_model import VocoderModel

# By model type, the tasks of its models; none: they have no place on the page.
TASKS: dict[str, tuple[Task, ...]] = {
    VocoderModel.TYPE: (ResynthesisTask(),),
    AudioModel.TYPE: (GenerationTask(), EditingTask()),
    Codec.TYPE: (),
    AcousticModel.TYPE: (SpeakingTask(),),
    Aligner.TYPE: (),
    AudioTextModel.TYPE: (),
    NoisyClassifier.TYPE: (),
    Hypernetwork.TYPE: (),
    UpsamplerModel.TYPE: (UpsamplingTask(),),
    RestorationModel.TYPE: (RestorationTask(),),
}
KINDS = tuple(kind for kind, tasks in TASKS.items() if tasks)
