"""What every model type promises: saved and loaded the same, clips independent of their batch, seeds, devices, errors.

A type is exercised through what users hold of it: its pipeline, or the model itself (`pipelines.registry`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tiny_models import as_loaded, make_audio_text
from torch import Tensor

import audiodiff
from audiodiff.audio.cepstrum import FEATURES
from audiodiff.audio.io import Audio
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.aligner import Aligner
from audiodiff.models.codec import Codec
from audiodiff.models.pretrained_model import PretrainedModel
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.gaussian_mixture import GaussianMixtures
from audiodiff.pipelines.options import SpeechOptions
from audiodiff.pipelines.registry import PIPELINES
from audiodiff.pipelines.seeds import clip_seeds
from audiodiff.pipelines.speech_synthesizer import SpeechSynthesizer
from audiodiff.text.front_end import Utterance

PHONEMES = ["həlˈO wˈɜɹld.", "ɡˈʊd mˈɔɹnɪŋ, ˈɛvɹiwˌʌn.", "jˈɛs."]
MELS = [torch.randn(80, frames, generator=torch.Generator().manual_seed(frames)) - 5 for frames in (7, 7, 7)]
WAVEFORMS = torch.randn(3, 2, 640, generator=torch.Generator().manual_seed(0))


def random_codec() -> Codec:
    torch.manual_seed(0)
    return Codec(Autoencoder(latents=3, hop_length=16, channels=[8, 8], blocks=[1, 1]), 8000).eval()


def mels(voice: SpeechSynthesizer, clips: list[int], seed: int) -> Tensor:
    """The first 8 frames (B, M, 8) of the mels of utterances."""
    options, numbers = SpeechOptions(steps=2), seeds_of(clips, seed)
    spoken = [Utterance.from_phonemes(PHONEMES[clip]) for clip in clips]
    found = [voice.mel(one, options, noise_seed=number) for one, number in zip(spoken, numbers, strict=True)]
    return torch.stack([mel[:, :8] for mel in found])


def random_aligner() -> Aligner:
    network = GaussianMixtures(9, 2, FEATURES)
    torch.nn.init.normal_(network.mean, generator=torch.Generator().manual_seed(0))
    return Aligner(network, "ab", " ,", "ˈ", mark_share=0.5).eval()


@dataclass(frozen=True)
class Subject:
    """How a model type is built and run.

    Attributes:
        build: a small random model, of the test's fixtures.
        run: (pipeline or model, numbers of clips, seed) -> their audio.
        bad: calls that are refused.
    """

    build: Callable[[Any], PretrainedModel]
    run: Callable[[Any, list[int], int], Tensor]
    bad: tuple[Callable[[Any], Any], ...]


def seeds_of(clips: list[int], seed: int) -> list[int]:
    return [clip_seeds(seed, 3)[clip] for clip in clips]


SUBJECTS = {
    "vocoder": Subject(
        lambda request: request.getfixturevalue("tiny")(),
        lambda vocoder, clips, seed: torch.stack(
            [one.samples for one in vocoder.generate([MELS[i] for i in clips], 2, clip_seeds=seeds_of(clips, seed))]
        ),
        (
            lambda vocoder: vocoder.generate(torch.full((80, 4), torch.nan), 2),
            lambda vocoder: vocoder.generate(torch.zeros(79, 4), 2),
            lambda vocoder: vocoder.generate(MELS[0], 0),
            lambda vocoder: vocoder.generate(MELS[0], 2, seed="x"),
        ),
    ),
    "audio": Subject(
        lambda request: request.getfixturevalue("make_music")(),
        lambda generator, clips, seed: (
            generator.generate(clip_seeds=seeds_of(clips, seed), steps=2, seconds=0.1).samples
        ),
        (
            lambda generator: generator.generate(seconds=-1),
            lambda generator: generator.generate(labels=["gong"]),
            lambda generator: generator.generate(gong=1),
            lambda generator: generator.generate(sampler="magic"),
        ),
    ),
    "codec": Subject(
        lambda request: random_codec(),
        lambda codec, clips, seed: codec.decode(codec.encode(WAVEFORMS[clips])).detach(),
        (
            lambda codec: codec.encode(torch.zeros(1, 3, 640)),
            lambda codec: codec.decode(torch.zeros(1, 6, 0)),
            lambda codec: codec.encode(torch.zeros(1, 2, 640, dtype=torch.int16)),
        ),
    ),
    "acoustic": Subject(
        lambda request: request.getfixturevalue("make_voice")(),
        mels,
        (
            lambda voice: voice.say(""),
            lambda voice: voice.say("Hello.", speaker="nobody"),
            lambda voice: voice.say("Hello.", speaker="ann:1,bob:x"),
            lambda voice: voice.say("Hello.", rate=9),
            lambda voice: voice.say("Hello.", gong=1),
        ),
    ),
    "aligner": Subject(
        lambda request: random_aligner(),
        lambda aligner, clips, seed: torch.tensor(
            [found.durations for found in aligner.align([WAVEFORMS[i].flatten() for i in clips], ["a, b"] * len(clips))]
        ),
        (
            lambda aligner: aligner.align([WAVEFORMS[0, 0]], ["ax"]),
            lambda aligner: aligner.align([WAVEFORMS[0, 0]], [" ,"]),
        ),
    ),
    "audio_text": Subject(
        lambda request: make_audio_text(),
        lambda embedder, clips, seed: embedder.embed_audio(Audio(WAVEFORMS[clips], 8000)),
        (
            lambda embedder: embedder.embed_audio(Audio(torch.zeros(0), 8000)),
            lambda embedder: embedder.embed_audio([]),
            lambda embedder: embedder.embed_text(" "),
            lambda embedder: embedder.embed_text(["rain", 3]),
            lambda embedder: embedder.embed_text("x" * 20_000),
        ),
    ),
    "noisy_classifier": Subject(
        lambda request: request.getfixturevalue("make_classifier")(channels=2),
        lambda classifier, clips, seed: classifier.classify(WAVEFORMS[clips]),
        (
            lambda classifier: classifier.log_prob(Cosine(), ["gong"]),
            lambda classifier: classifier.classify(torch.zeros(1, 1, 640)),
            lambda classifier: classifier.classify(torch.zeros(1, 2, 0)),
        ),
    ),
    "hypernetwork": Subject(
        lambda request: request.getfixturevalue("hypernetwork"),
        lambda predictor, clips, seed: torch.stack(
            [predictor.predict(Audio(WAVEFORMS[i], 8000)).updates["unet.conv_in"]["up"] for i in clips]
        ),
        (
            lambda predictor: predictor.predict([]),
            lambda predictor: predictor.predict(Audio(torch.zeros(8000), 8000)),
            lambda predictor: predictor.predict(Audio(torch.ones(20), 8000)),
            lambda predictor: predictor.predict([Audio(WAVEFORMS[0], 8000), 3]),
            lambda predictor: predictor.predict("no such file.wav"),
        ),
    ),
    "upsampler": Subject(
        lambda request: request.getfixturevalue("make_upsampler")(),
        lambda upsampler, clips, seed: torch.stack(
            [
                upsampler.upsample(Audio(WAVEFORMS[i], 8000), clip_seeds=[number]).samples
                for i, number in zip(clips, seeds_of(clips, seed), strict=True)
            ]
        ),
        (
            lambda upsampler: upsampler.upsample(Audio(WAVEFORMS[0], 16000)),
            lambda upsampler: upsampler.upsample(Audio(WAVEFORMS[0], 1000)),
            lambda upsampler: upsampler.upsample(Audio(WAVEFORMS, 8000)),
            lambda upsampler: upsampler.upsample(Audio(torch.zeros(4000), 8000)),
            lambda upsampler: upsampler.upsample(Audio(torch.ones(20), 8000)),
            lambda upsampler: upsampler.upsample(Audio(WAVEFORMS[0], 8000), 0),
            lambda upsampler: upsampler.upsample(Audio(WAVEFORMS[0], 8000), sampler="magic"),
            lambda upsampler: upsampler.upsample(Audio(WAVEFORMS[0], 8000), cutoff=5000),
            lambda upsampler: upsampler.upsample(WAVEFORMS[0]),
        ),
    ),
    "restorer": Subject(
        lambda request: request.getfixturevalue("make_restorer")(),
        lambda restorer, clips, seed: torch.stack(
            [
                restorer.restore(Audio(WAVEFORMS[i], 16000), denoise=True, clip_seeds=[number]).samples
                for i, number in zip(clips, seeds_of(clips, seed), strict=True)
            ]
        ),
        (
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000)),
            lambda restorer: restorer.restore(Audio(WAVEFORMS, 16000), denoise=True),
            lambda restorer: restorer.restore(WAVEFORMS[0], denoise=True),
            lambda restorer: restorer.restore(Audio(torch.zeros(4000), 8000), denoise=True),
            lambda restorer: restorer.restore(Audio(torch.ones(20), 8000), denoise=True),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), 0, denoise=True),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), denoise=True, sampler="magic"),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), declip=True),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), declip=True, clip_level=99),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), denoise=True, clip_level=0.5),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), fill=["0.01:9"]),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), fill=["0.02:0.01"]),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), fill=":"),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), fill=[":"]),
            lambda restorer: restorer.restore(Audio(WAVEFORMS[0], 16000), fill=[(0.01, "x")]),
        ),
    ),
}


@pytest.fixture(scope="module", params=list(MODEL_TYPES))
def saved(request, tmp_path_factory):
    """(type name, model, folder that it is saved in)"""
    model = SUBJECTS[request.param].build(request)
    folder = tmp_path_factory.mktemp("models") / request.param
    model.save_pretrained(folder, {"steps": 3})
    return request.param, model, folder


def held(kind: str, model: PretrainedModel) -> Any:
    pipeline = PIPELINES[kind]
    return model if pipeline is None else pipeline(model)


def test_every_type_has_a_subject():
    assert SUBJECTS.keys() == MODEL_TYPES.keys()


def test_a_loaded_model_is_the_saved_one(saved):
    kind, model, folder = saved
    subject, loaded = SUBJECTS[kind], audiodiff.load(folder, "cpu")
    assert isinstance(loaded, PIPELINES[kind] or MODEL_TYPES[kind])
    before = model if PIPELINES[kind] is None else PIPELINES[kind](as_loaded(model))
    assert torch.equal(subject.run(loaded, [0, 1], 4), subject.run(before, [0, 1], 4))
    again = MODEL_TYPES[kind].from_pretrained(folder)
    again.save_pretrained(folder.with_name(f"{kind} again"), {"steps": 3})
    for name in ("config.json", "model.safetensors"):
        assert (folder.with_name(f"{kind} again") / name).read_bytes() == (folder / name).read_bytes()


def test_a_clip_does_not_depend_on_its_batch(saved):
    kind, model, _ = saved
    subject, used = SUBJECTS[kind], held(kind, model)
    together = subject.run(used, [0, 1, 2], 4)
    for clip in range(3):
        torch.testing.assert_close(subject.run(used, [clip], 4)[0], together[clip], rtol=0, atol=1e-4)


def test_clip_i_of_a_seed_is_the_same_for_any_count(saved):
    """And other seeds give other audio, where the model samples at all."""
    kind, model, _ = saved
    subject, used = SUBJECTS[kind], held(kind, model)
    if PIPELINES[kind] is None or kind in ("audio_text", "hypernetwork"):
        assert torch.equal(subject.run(used, [0], 4), subject.run(used, [0], 5))
        return
    assert not torch.equal(subject.run(used, [0], 4), subject.run(used, [0], 5))
    if kind == "audio":
        single = used.generate(seed=4, steps=2, seconds=0.1).samples
        several = used.generate(seed=4, count=3, steps=2, seconds=0.1).samples
    elif kind == "upsampler":
        single, several = used.upsample(Audio(WAVEFORMS[0], 8000), seed=4).samples, subject.run(used, [0, 1], 4)[0]
    elif kind == "restorer":
        recording = Audio(WAVEFORMS[0], 16000)
        single = used.restore(recording, denoise=True, seed=4).samples
        several = subject.run(used, [0, 1], 4)[0]
    elif kind == "acoustic":
        single = used.mel(Utterance.from_phonemes(PHONEMES[0]), SpeechOptions(steps=2, seed=4))[:, :8]
        several = subject.run(used, [0, 1], 4)
    else:
        single, several = used.generate(MELS[0], 2, seed=4).samples, used.generate(MELS, 2, seed=4)[0].samples
    several = several[0] if several.ndim > single.ndim else several
    torch.testing.assert_close(single, several, rtol=0, atol=1e-4)
    torch.testing.assert_close(single, subject.run(used, [0], 4)[0], rtol=0, atol=1e-4)


def test_audio_is_finite_in_single_precision_on_the_cpu(saved):
    kind, model, _ = saved
    audio = SUBJECTS[kind].run(held(kind, model), [0], 4)
    assert audio.dtype == torch.float32 and audio.device.type == "cpu" and audio.isfinite().all()


@pytest.mark.parametrize("device", ["auto", "cpu", torch.device("cpu")])
def test_devices(saved, device):
    kind, _, folder = saved
    assert SUBJECTS[kind].run(audiodiff.load(folder, device), [0], 4).isfinite().all()


def test_a_device_that_is_not_there_is_one_line(saved):
    with pytest.raises(UserError, match="device nowhere") as caught:
        audiodiff.load(saved[2], "nowhere")
    assert "\n" not in str(caught.value)


def test_bad_input_is_one_line(saved):
    kind, model, _ = saved
    for ask in SUBJECTS[kind].bad:
        with pytest.raises(UserError) as caught:
            ask(held(kind, model))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_other_folders_are_one_line(saved, tmp_path):
    with pytest.raises(UserError, match=r"no such model folder"):
        audiodiff.load(tmp_path / "none")
    text = (saved[2] / "config.json").read_text().replace(f'"type": "{saved[0]}"', '"type": "spell"', 1)
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").write_bytes((saved[2] / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"spell.*choose"):
        audiodiff.load(tmp_path)
