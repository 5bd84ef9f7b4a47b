"""The harmonic source, and the model that is told by it."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from audiodiff.audio.excitation import accumulate_phase, pulse_train
from audiodiff.audio.mel import PRESETS, MelSpectrogram
from audiodiff.audio.prior import MelPrior
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.vocoder import Vocoder

SPEC = PRESETS["speech_16k"]
HOP, RATE = SPEC.hop_length, SPEC.sample_rate
every_spec = pytest.mark.parametrize("spec", ["speech_16k", "hifigan_22k", "vocos_24k"])


def build(spec: str = "speech_16k") -> HarmonicExcitation:
    torch.manual_seed(0)
    spec = PRESETS[spec]
    return HarmonicExcitation(PitchNetwork(spec.n_mels, channels=16, blocks=2, bins=24), spec)


class Told(nn.Module):
    """In place of a pitch network: a mel whose first two bands are F0 and voicing themselves."""

    bands = SPEC.n_mels

    def forward(self, mel: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return mel[:, 0], mel[:, 1]

    def tiled(self, mel: Tensor, frames: Tensor | None = None, first: int = 0) -> tuple[Tensor, Tensor]:
        return mel[:, 0], mel[:, 1]


def told(
    f0: float | Tensor, voicing: float | Tensor, frames: int, dtype=torch.float32
) -> tuple[HarmonicExcitation, Tensor]:
    """A source and a mel that say just this."""
    f0, voicing = (torch.as_tensor(track, dtype=dtype).expand(frames) for track in (f0, voicing))
    return HarmonicExcitation(Told(), SPEC), torch.stack([f0, voicing])[None]


def mels(frames: int, batch: int = 1, bands: int = SPEC.n_mels) -> Tensor:
    return torch.randn(batch, bands, frames, generator=torch.Generator().manual_seed(frames))


def test_a_steady_voice_makes_its_pulses():
    source, mel = told(125.0, 0.49, 12)
    f0 = torch.full((1, 12 * HOP), 125.0, dtype=torch.float64)
    expected = 0.7 * pulse_train(accumulate_phase(f0, RATE), f0, RATE)[:, None]
    torch.testing.assert_close(source.synthesize(mel, 12 * HOP), expected.float(), rtol=0, atol=1e-4)
    assert source.synthesize(mel, 12 * HOP).var() == pytest.approx(0.49, rel=0.05)


def test_without_voice_there_is_nothing():
    source, mel = told(125.0, torch.tensor([0.0] * 6 + [1.0] * 6), 12)
    for waveform in (None, torch.randn(1, 12 * HOP)):
        made = source.synthesize(mel, 12 * HOP, waveform=waveform)
        last = SPEC.offset + 5 * HOP
        assert (made[..., : last + 1] == 0).all() and made[..., last + HOP :].abs().max() > 1


@every_spec
def test_a_clip_alone_equals_the_clip_in_a_padded_batch(spec):
    source, lengths = build(spec), torch.tensor([30, 11, 2])
    spec = source.mel_spec
    batch, hop = mels(30, 3, spec.n_mels), spec.hop_length
    together = source.synthesize(batch, 30 * hop, lengths)
    assert together.shape == (3, 1, 30 * hop)
    for k, length in enumerate(lengths.tolist()):
        alone = source.synthesize(batch[k : k + 1, :, :length], length * hop)
        torch.testing.assert_close(together[k : k + 1, :, : length * hop], alone, rtol=0, atol=1e-5)
    recordings = torch.randn(3, 30 * hop, generator=torch.Generator().manual_seed(0))
    aligned = source.synthesize(batch, 30 * hop, waveform=recordings)
    for k in range(3):
        alone = source.synthesize(batch[k : k + 1], 30 * hop, waveform=recordings[k : k + 1])
        # In single precision: an error of the pitch stays in the phase, and is seen where a pulse is steep.
        assert (aligned[k : k + 1] - alone).square().mean().sqrt() < 0.01


@every_spec
@pytest.mark.parametrize("cuts", [[1000], [1, 2, 3000], [256, 512, 768, 5000, 7000]], ids=str)
def test_stretches_in_a_row_are_the_whole(spec, cuts):
    source = build(spec)
    mel, samples = mels(30, 2, source.mel_spec.n_mels), 30 * source.mel_spec.hop_length
    whole, phase = source.stretch(mel, 0, samples)
    assert torch.equal(whole, source.synthesize(mel, samples)) and phase.shape == (2, samples)
    before, made = 0.0, []
    for start, stop in zip([0, *cuts], [*cuts, samples], strict=True):
        piece, before = source.stretch(mel, start, stop, before)
        made.append(piece)
    torch.testing.assert_close(torch.cat(made, -1), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(before, phase[:, cuts[-1] :])
    assert (source.stretch(mel, cuts[-1], samples)[0] - piece).abs().max() > 0.1  # the phase before it does matter


def test_the_phase_before_a_stretch_is_that_of_its_clip():
    source, mel = build(), mels(8, 2)
    before = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    both = source.stretch(mel, 100, 900, before)
    for k in range(2):
        for whole, alone in zip(both, source.stretch(mel[k : k + 1], 100, 900, before[k : k + 1]), strict=True):
            torch.testing.assert_close(whole[k : k + 1], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ahead", [0.0, 2.0, -1.0])
def test_in_training_the_pulses_are_the_recordings(ahead):
    """A recording of pulses at some phase: with it the source makes them there, without it elsewhere."""
    f0 = torch.full((1, 20 * HOP), 130.0, dtype=torch.float64)
    recording = 0.1 * pulse_train((accumulate_phase(f0, RATE) + ahead) % (2 * math.pi), f0, RATE).float()
    source, mel = told(130.0, 1.0, 20)
    inner = slice(800, -800)
    likeness = [
        torch.corrcoef(
            torch.cat([source.synthesize(mel, 20 * HOP, waveform=waveform)[:, 0, inner], recording[:, inner]])
        )[0, 1]
        for waveform in (recording, None)
    ]
    assert likeness[0] > 0.99
    assert likeness[1] > 0.99 if ahead == 0 else likeness[1] < 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_excitation_is_as_precise_as_the_mel_and_single_at_least(dtype):
    made, phase = build().stretch(mels(4).to(dtype), 0, 4 * HOP)
    assert made.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert phase.dtype == torch.float64


def test_no_gradient_flows_through_the_excitation():
    source, mel = build(), mels(6).requires_grad_()
    for waveform in (None, torch.randn(1, 6 * HOP)):
        assert not source.synthesize(mel, 6 * HOP, waveform=waveform).requires_grad
    assert not source.stretch(mel, 0, 100)[0].requires_grad


def test_the_weights_stay_in_single_precision():
    source = build()
    source.synthesize(mels(4), 4 * HOP)
    assert {value.dtype for value in source.state_dict().values()} == {torch.float32}


@every_spec
def test_the_tracker_is_asked_about_the_frames_of_the_mel(spec):
    """F0 and voicing that the tracker hears teach the network: at the mel's own frames, of a known glide."""
    heard = {}
    source = build(spec)
    spec = source.mel_spec
    source.pitch.loss = lambda mel, f0, aperiodicity: heard.update(f0=f0, aperiodicity=aperiodicity)
    samples = 30 * spec.hop_length
    time = (torch.arange(samples, dtype=torch.float64) + 0.5) / spec.sample_rate
    phase = 2 * math.pi * (120 * time + 50 * time.square())
    waveform = sum(torch.sin(k * phase + k * k) / k for k in range(1, 9)).float()[None]
    source.loss({"mel": MelSpectrogram(spec)(waveform), "waveform": waveform})
    centers = spec.offset + spec.hop_length * torch.arange(heard["f0"].shape[-1])
    error = (heard["f0"][0] - (120 + 100 * centers / spec.sample_rate))[3:-3]
    assert error.mean().abs() < 0.05 and error.abs().max() < 0.5
    assert heard["aperiodicity"][0, 3:-3].max() < 0.1


def test_the_loss_falls(recording):
    source = build()
    waveform = torch.stack([recording(8192, seed=seed).samples for seed in range(2)])
    mel = MelSpectrogram(SPEC)(waveform) / 4 + 1
    optimizer = torch.optim.Adam(source.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        losses.append(source.loss({"mel": mel, "waveform": waveform}).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert source.loss({"mel": mel, "waveform": waveform}).shape == (2,)
    assert losses[-1] < 0.8 * losses[0]


def make_model() -> VocoderModel:
    torch.manual_seed(0)
    network = Network(StftFrontend(signals=1), SPEC.n_mels, HOP, channels=[16], blocks=[1], embedding=16)
    nn.init.normal_(network.unet.conv_out.weight, std=0.03)
    model = VocoderModel(
        network, Cosine(), V(), SPEC, MelPrior(SPEC), settings=[Setting(consistency=2)], conditioners=[build()]
    )
    return model.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[VocoderModel, str]:
    folder = tmp_path_factory.mktemp("told") / "model"
    model = make_model()
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture
def copy(saved, tmp_path):
    for file in saved[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_round_trip_makes_the_same_audio(saved, recording):
    model, folder = saved
    before, after = Vocoder(model), Vocoder.from_pretrained(folder)
    mel = before.mel(recording(3000))
    made = after.generate(mel, 2, seed=4).samples
    # Weights that are read from a file are packed, and products rounded otherwise.
    torch.testing.assert_close(before.generate(mel, 2, seed=4).samples, made, rtol=0, atol=1e-5)
    state = after.model.excitation.state_dict()
    assert state and all(torch.equal(weight, state[name]) for name, weight in model.excitation.state_dict().items())
    with torch.no_grad():
        for parameter in after.model.excitation.parameters():
            parameter.add_(0.1)
    assert not torch.equal(after.generate(mel, 2, seed=4).samples, made)  # the source is heard


@pytest.mark.parametrize("lost", ["all", "one", "shape"])
def test_a_checkpoint_without_the_weights_of_the_source_is_refused(copy, lost):
    file = copy / "model.safetensors"
    weights = load_file(file)
    names = [name for name in weights if name.startswith("conditioners.excitation.")]
    assert names
    for name in names if lost == "all" else names[:1]:
        weight = weights.pop(name)
        if lost == "shape":
            weights[name] = weight[:-1].contiguous()
    save_file(weights, file)
    with pytest.raises(UserError, match=r"config and weights do not match") as caught:
        VocoderModel.from_pretrained(copy)
    assert str(copy) in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_that_hears_no_source_is_refused():
    model = make_model()
    with pytest.raises(UserError, match=r"network: .*1 signal.*set network.frontend.signals=0"):
        model.with_arguments(conditioners=[])
