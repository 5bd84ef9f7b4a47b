"""Tiny models that do something: the last layer, zero at initialization, is drawn at random."""

import copy
import math

import pytest
import torch

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.io import Audio, write
from audiodiff.audio.mel import PRESETS, MelSpec
from audiodiff.audio.mel.normalization import MelNormalization
from audiodiff.audio.prior import EnergyPrior, MelPrior, RoughPrior, StandardPrior
from audiodiff.conditioners.beats import Beats
from audiodiff.conditioners.labels import Labels
from audiodiff.conditioners.prompt import Prompt
from audiodiff.conditioners.reference import Reference
from audiodiff.conditioners.scalars import Scalars
from audiodiff.conditioners.speaker import Speaker
from audiodiff.diffusion.objective import X0, V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.models.acoustic_model import AcousticModel
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.audio_text_model import AudioTextModel
from audiodiff.models.hypernetwork import Hypernetwork, hash_of, layers_of, shapes_of, width_of
from audiodiff.models.noisy_classifier import NoisyClassifier
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.restoration_model import RestorationModel
from audiodiff.models.setting import Setting
from audiodiff.models.upsampler_model import UpsamplerModel
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.adapters.hypernetwork import HypernetworkNetwork
from audiodiff.nn.audio_encoder import AudioEncoder
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.classifier import ClassifierNetwork
from audiodiff.nn.convolution import pack
from audiodiff.nn.envelope import EnvelopeNetwork
from audiodiff.nn.frontends.frontend import IdentityFrontend, StftFrontend, StridedFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.speech_encoder import SpeechEncoder
from audiodiff.nn.text_head import TextHead
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.text.symbols import ENGLISH

PRIORS = {
    "mel": MelPrior,
    "standard": lambda spec: StandardPrior(),
    "rough": lambda spec: RoughPrior(spec, EnergyPrior(spec)),
    "rough, mel": lambda spec: RoughPrior(spec, MelPrior(spec)),
}


def make_model(
    frontend="stft", objective=None, prior="mel", spec: str | MelSpec = "speech_16k", schedule=None, **arguments
) -> VocoderModel:
    spec = PRESETS[spec] if isinstance(spec, str) else spec
    projected = int(arguments.get("input_consistency", 0) > 0)
    signals = int(arguments.get("bridge") is not None) + projected
    signals += sum(conditioner.signal_channels for conditioner in arguments.get("conditioners", ()))
    front = StftFrontend(signals=signals) if frontend == "stft" else StridedFrontend(1, 16, 64, signals)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bands = spec.n_mels * (1 + projected)
        network = Network(front, bands, spec.hop_length, channels=[16, 16], blocks=[1, 1], embedding=16)
        torch.nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    own = {name: arguments.pop(name) for name in ("steps", "sampler", "consistency") if name in arguments}
    arguments = {"settings": [Setting(**{"consistency": 4} | own)]} | arguments
    return VocoderModel(network, schedule or Cosine(), objective or V(), spec, PRIORS[prior](spec), **arguments).eval()


def sound(samples: int, sample_rate: int = 16000, seed: int = 0) -> Audio:
    """Gliding harmonics that swell and fade, and a little hiss, (T,)."""
    t = torch.arange(samples) / sample_rate
    glide = 2 * math.pi * ((120 + 20 * seed) * t + 40 * t.square())
    tone = sum(torch.sin(k * glide) / k for k in range(1, 9)) * torch.sin(9 * t + seed).square()
    hiss = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    return Audio(0.2 * tone + 0.01 * hiss, sample_rate)


def as_loaded(model: PretrainedModel) -> PretrainedModel:
    """A copy with the layout that loading a checkpoint gives its weights, whose products round otherwise."""
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    pack(copied)
    return copied


@pytest.fixture(scope="session")
def tiny():
    """`tiny(frontend, objective, prior, spec, ...)` -> VocoderModel."""
    return make_model


@pytest.fixture(scope="session")
def recording():
    """`recording(samples, sample_rate, seed)` -> Audio."""
    return sound


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "model"
    make_model().save_pretrained(folder, training={"steps": 7}, card="# A tiny model\n")
    return folder


@pytest.fixture(scope="session")
def vocoder(model_folder):
    return Vocoder.from_pretrained(model_folder)


@pytest.fixture(scope="session")
def make_music():
    """`make_music(channels=2, labels=(...), scalars=(), prompt=None, beats=False, ...)` -> a random `AudioModel`."""

    def build(channels=2, labels=("kick", "snare"), scalars=(), prompt=None, beats=False, **options):
        torch.manual_seed(0)
        tokens = 0 if prompt is None else prompt.token_channels
        front = StftFrontend(channels, n_fft=64, hop_length=16)
        network = Network(front, 3 * beats, 1, [16, 16], [1, 1], 3, 16, token_channels=tokens)
        for parameter in network.parameters():
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter, std=0.05)
        conditioners = [Labels(labels, 16), Scalars(scalars, 16), prompt, Beats() if beats else None]
        if labels:
            torch.nn.init.normal_(conditioners[0].projection.weight)
        arguments = {"spectrum": AverageSpectrum([0.0, -10.0, -30.0], 8000), "sampler": "ddim"}
        return AudioModel(network, Cosine(), V(), 8000, 1600, conditioners=conditioners, **arguments | options)

    return build


@pytest.fixture(scope="session")
def make_classifier():
    """`make_classifier(labels, channels=1, ...)` -> a small random `NoisyClassifier` of the signals of `make_music`."""

    def build(labels=("kick", "snare", "bell"), channels=1, **options):
        torch.manual_seed(1)
        network = ClassifierNetwork(StftFrontend(channels, 64, 16), len(labels), [16, 16], [1, 1], 16)
        for parameter in network.parameters():
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter, std=0.3)
        arguments = {"spectrum": AverageSpectrum([0.0, -10.0, -30.0], 8000)}
        return NoisyClassifier(network, labels, 8000, 1600, **arguments | options).eval()

    return build


@pytest.fixture(scope="session")
def make_prompted(make_music):
    """`make_prompted(...)`: as `make_music`, of a model that takes prompts; of one channel."""

    def build(channels=1, **options):
        prompt = Prompt(16, 16, layers=1, heads=2, max_tokens=8)
        for parameter in prompt.parameters():
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter)
        return make_music(channels, prompt=prompt, **options).eval()

    return build


def make_audio_text(bands: int = 16, stem=(4, 4)) -> AudioTextModel:
    """A small random `AudioTextModel` at 8 kHz."""
    spec = MelSpec(8000, 256, 128, 256, bands, 30.0, 4000.0, 1, "slaney", None, "e", 1e-5, True, "constant", 1e-9)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = AudioEncoder(bands, [8, 8], [1, 1], 12, stem, 2)
        prompt = Prompt(16, 8, layers=1, heads=2, max_tokens=6)
        for parameter in prompt.parameters():
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter, std=0.3)
        return AudioTextModel(network, TextHead(16, 8, 12), spec, [prompt]).eval()


@pytest.fixture(scope="session")
def audio_text_folder(tmp_path_factory):
    """Checkpoint of a small random `AudioTextModel`."""
    folder = tmp_path_factory.mktemp("audio-text") / "model"
    make_audio_text().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def guide_folders(make_music, make_classifier, audio_text_folder, tmp_path_factory):
    """Checkpoints of guides of `make_music(1)` by the names of their options."""
    folder = tmp_path_factory.mktemp("guides")
    worse = make_music(1)
    with torch.no_grad():
        for parameter in worse.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    worse.save_pretrained(folder / "autoguidance")
    make_classifier().save_pretrained(folder / "classifier")
    own = {name: folder / name for name in ("autoguidance", "classifier")}
    return own | {"embedding_guidance": audio_text_folder}


def make_hypernetwork(base, embedder, rank: int = 2) -> Hypernetwork:
    """A small random `Hypernetwork` of a base and an audio-text pair, by their folders."""
    names = (base, ["network"], rank)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        width = width_of(embedder)
        network = HypernetworkNetwork(layers_of(*names), shapes_of(*names), rank, width, 8)
        torch.nn.init.normal_(network.head.weight, std=0.1)
    rate = AudioModel.from_pretrained(base).sample_rate
    return Hypernetwork(network, str(base), "audio", hash_of(base), rate, str(embedder), hash_of(embedder)).eval()


@pytest.fixture(scope="session")
def hypernetwork_base(make_prompted, tmp_path_factory):
    """Checkpoint of a small base of hypernetworks, which takes prompts."""
    folder = tmp_path_factory.mktemp("hypernetwork-base") / "base"
    make_prompted(labels=()).save_pretrained(folder, {"licenses": ["CC0-1.0"]})
    return folder


@pytest.fixture(scope="session")
def hypernetwork(hypernetwork_base, audio_text_folder):
    """A small random `Hypernetwork` of `hypernetwork_base`."""
    return make_hypernetwork(hypernetwork_base, audio_text_folder)


def random_upsampler(**arguments) -> UpsamplerModel:
    spec = PRESETS["speech_16k_fine"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        front = StftFrontend(n_fft=64, hop_length=16, signals=1, additive=False)
        network = Network(front, 2 * spec.n_mels, spec.hop_length, [8], [1], 3, 8)
        envelope = EnvelopeNetwork(spec.n_mels, channels=8, blocks=1)
        for last in (network.unet.conv_out, envelope.conv_out):
            torch.nn.init.normal_(last.weight, std=0.03)
        torch.nn.init.constant_(envelope.conv_out.bias, 1.0)  # something that is audible to be completed
    return UpsamplerModel(network, Cosine(), X0(), spec, MelPrior(spec), envelope, **arguments).eval()


@pytest.fixture(scope="session")
def make_upsampler():
    """`make_upsampler(**arguments)` -> a small random `UpsamplerModel` to 16 kHz."""
    return random_upsampler


def random_restorer(**arguments) -> RestorationModel:
    spec = PRESETS["speech_16k_fine"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        front = StftFrontend(n_fft=64, hop_length=16, signals=2, additive=False)
        network = Network(front, 2 * spec.n_mels + 2, spec.hop_length, [8], [1], 3, 8)
        envelope = EnvelopeNetwork(spec.n_mels, channels=8, blocks=1, further=2)
        for last in (network.unet.conv_out, envelope.conv_out):
            torch.nn.init.normal_(last.weight, std=0.03)
    return RestorationModel(network, Cosine(), X0(), spec, MelPrior(spec), envelope, **{"steps": 1} | arguments).eval()


@pytest.fixture(scope="session")
def make_restorer():
    """`make_restorer(**arguments)` -> a small random `RestorationModel` of 16 kHz."""
    return random_restorer


@pytest.fixture(scope="session")
def make_latent_music():
    """`make_latent_music(channels=2, phases=True, beats=False)` -> a small `AudioModel` on the latents of a codec."""

    def build(channels=2, phases=True, beats=False):
        torch.manual_seed(1)
        autoencoder = Autoencoder(latents=4, hop_length=16, channels=[12, 12], blocks=[1, 1], phases=phases)
        front = IdentityFrontend(4 * channels)
        network = Network(front, 3 * beats, 1, [16, 16], [1, 1], 3, 16, attention_levels=1)
        for parameter in network.parameters():
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter, std=0.05)
        options = {"autoencoder": autoencoder, "sampler": "ddim", "conditioners": [Beats()] if beats else []}
        return AudioModel(network, Cosine(), V(), 8000, 1600, **options)

    return build


def make_acoustic(spec: str = "speech_16k", speakers=("ann", "bob"), **arguments) -> AcousticModel:
    mel_spec = PRESETS[spec]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = SpeechEncoder(len(ENGLISH), mel_spec.n_mels, 16, 1, 1, 1, embedding=16)
        network = Network(IdentityFrontend(2 * mel_spec.n_mels), 16, 1, [16, 16], [1, 1], 3, 16)
        for parameter in (*network.parameters(), *encoder.parameters()):
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter, std=0.05)
        speaker = Speaker(speakers, 16)
    mean = torch.linspace(-4, -7, mel_spec.n_mels).tolist()
    normalization = MelNormalization(mean, [2.0] * mel_spec.n_mels, -10.0)
    options = {"normalization": normalization, "vocoder": "speech-16k", "sampler": "ddim"} | arguments
    return AcousticModel(network, Cosine(), V(), encoder, mel_spec, ENGLISH, speaker, **options).eval()


@pytest.fixture(scope="session")
def make_voice():
    """`make_voice(spec, speakers, ...)` -> a small random `AcousticModel` of English phonemes."""
    return make_acoustic


@pytest.fixture(scope="session")
def reference_voice_folder(tmp_path_factory):
    """As `voice_folder`, of a voice that also takes a reference clip."""
    folder = tmp_path_factory.mktemp("reference-voice") / "model"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = Reference(seconds=0.5, embedding=16)
    make_acoustic(reference=reference).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reference_clips(tmp_path_factory):
    """Files of a low and of a high tone, of a second."""
    folder = tmp_path_factory.mktemp("clips")
    for name, step in (("low", 20), ("high", 3)):
        write(folder / f"{name}.wav", Audio(0.2 * (torch.arange(8000) / step).sin(), 8000))
    return folder / "low.wav", folder / "high.wav"


@pytest.fixture(scope="session")
def voice_folder(tmp_path_factory):
    """Checkpoint of a small random voice with the speakers ann and bob, for the mels of `model_folder`."""
    folder = tmp_path_factory.mktemp("voice") / "model"
    make_acoustic().save_pretrained(folder)
    return folder
