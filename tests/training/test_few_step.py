"""Training through the sampler: what is judged, what is drawn, and that it learns."""

import pytest
import torch
from torch import Tensor, nn

from audiodiff.audio.mel import PRESETS
from audiodiff.audio.prior import MelPrior
from audiodiff.audio.spectral import multi_resolution_stft
from audiodiff.conditioners.excitation import HarmonicExcitation
from audiodiff.data.corpora.tones import tone
from audiodiff.diffusion.grids.stored import StoredGrid
from audiodiff.diffusion.noise import batch_noise
from audiodiff.diffusion.objective import V
from audiodiff.diffusion.schedules.schedule import Cosine
from audiodiff.errors import UserError
from audiodiff.models.setting import Setting
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.nn.pitch import PitchNetwork
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.training.module import TrainingModule
from audiodiff.training.tasks.few_step import FewStepTask
from audiodiff.training.tasks.task import fade_edges

SPEC = PRESETS["speech_16k"]
HOP = SPEC.hop_length


def build(source: bool = False, grids=(), seed: int = 0, **options) -> TrainingModule:
    """A tiny model whose network is awake, so that gradients reach all of it."""
    torch.manual_seed(0)
    network = Network(StftFrontend(1, 1024, 256, int(source)), SPEC.n_mels, HOP, [8], [1], embedding=8)
    for weight in network.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.03)
    pulses = HarmonicExcitation(PitchNetwork(SPEC.n_mels, channels=8, blocks=1, bins=24), SPEC) if source else None
    model = VocoderModel(
        network,
        Cosine(),
        V(),
        SPEC,
        MelPrior(SPEC),
        settings=[Setting(consistency=2)],
        conditioners=[pulses],
        grids=grids,
    )
    return TrainingModule(model, FewStepTask(**{"gain": (1.0, 1.0), "steps": (2,)} | options), None, None, seed)


def clips(count: int = 2, samples: int = 16 * HOP) -> Tensor:
    return torch.stack([tone(k, samples, SPEC.sample_rate) for k in range(count)])


def captured(training: TrainingModule) -> dict:
    """What the next step hands to its synthesis and gets back."""
    seen, synthesize = {}, training.task._synthesize

    def spy(model, noise, mel, condition, steps):
        seen.update(noise=noise, mel=mel, condition=condition, output=synthesize(model, noise, mel, condition, steps))
        return seen["output"]

    training.task._synthesize = spy
    return seen


@pytest.mark.parametrize("source", [False, True])
def test_a_step_is_a_function_of_weights_batch_seed_and_key(source):
    training, waveform = build(source, seed=3, gain=(0.5, 1.2)), clips()
    first = training.compute_loss({"waveform": waveform}, "draw 0")
    torch.manual_seed(99)
    again = training.compute_loss({"waveform": waveform}, "draw 0")
    assert all(torch.equal(first[name], again[name]) for name in first)
    others = [
        training.compute_loss({"waveform": waveform}, "draw 1"),
        training.compute_loss({"waveform": waveform.flip(0)}, "draw 0"),
        build(source, seed=4, gain=(0.5, 1.2)).compute_loss({"waveform": waveform}, "draw 0"),
    ]
    with torch.no_grad():
        training.model.network.unet.conv_out.bias += 1e-2
    others.append(training.compute_loss({"waveform": waveform}, "draw 0"))
    assert not any(torch.equal(first["clip_loss"], other["clip_loss"]) for other in others)


@torch.no_grad()
def test_what_is_trained_is_what_will_be_heard():
    """From one noise, the step's waveform is that of `generate`, on the grid that the model keeps for these calls."""
    grid = StoredGrid("ddim", 3, [0.98, 0.7, 0.2, 0.001])
    for grids in ((), (grid,)):
        training = build(True, grids, sampler="ddim", align_excitation=False).eval()
        seen = captured(training)
        training.compute_loss({"waveform": clips(1)}, "draw 0")
        noise, mel = batch_noise([5], 1, 16 * HOP), seen["mel"]
        made = training.task._synthesize(training.model, noise, mel, training.model.embed_mel(mel), 3)
        heard = Vocoder(training.model).generate(mel[0], 3, clip_seeds=[5], sampler="ddim").samples
        torch.testing.assert_close(made[0], heard, rtol=0, atol=1e-5 * float(heard.abs().max()))


@pytest.mark.parametrize("consistency", [0, 2])
def test_the_gradient_is_that_of_the_whole_synthesis(consistency):
    """Along the gradient itself the loss rises as it says: no call and no iteration is left out."""
    training, waveform = build(steps=(3,), consistency=consistency), clips(1)
    weights = list(training.model.network.parameters())
    training.compute_loss({"waveform": waveform}, "draw 0")["loss"].backward()
    gradients = [weight.grad.clone() for weight in weights]
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    losses = []
    with torch.no_grad():
        for shift in (-3e-3, 6e-3):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight += shift * gradient / length
            losses.append(training.compute_loss({"waveform": waveform}, "draw 0")["loss"])
    assert float((losses[1] - losses[0]) / 6e-3) == pytest.approx(float(length), rel=0.03)


def test_the_projection_is_part_of_what_is_judged():
    with torch.no_grad():
        losses = [build(consistency=n).compute_loss({"waveform": clips()}, "a")["loss"] for n in (None, 0, 2, 8)]
    assert losses[0] == losses[2]  # None: the model's own
    assert losses[3] < losses[2] < losses[1]


def test_without_repulsion_the_loss_is_the_distance():
    training = build(repulsion=0.0, stft_weight=0.3)
    seen = captured(training)
    waveform = clips()
    out = training.compute_loss({"waveform": waveform}, "draw 0")
    assert seen["noise"].shape == (2, 1, 16 * HOP)
    expected = 0.3 * multi_resolution_stft(seen["output"], fade_edges(waveform, HOP))
    torch.testing.assert_close(out["clip_loss"], expected.detach())
    torch.testing.assert_close(out["loss"], expected.mean())


def test_the_mel_distance_is_added_with_its_weight():
    waveform = clips()
    with torch.no_grad():
        without, once, twice = (
            float(build(repulsion=0.0, mel_weight=m).compute_loss({"waveform": waveform}, "a")["loss"])
            for m in (0.0, 1.0, 2.0)
        )
    assert once > without
    assert twice - once == pytest.approx(once - without, rel=1e-4)


@pytest.mark.parametrize("repulsion", [0.5, 1.0])
def test_two_outputs_are_pulled_and_pushed_apart(repulsion):
    training, waveform = build(repulsion=repulsion, stft_weight=0.3), clips(3)
    seen = captured(training)
    out = training.compute_loss({"waveform": waveform}, "draw 0")
    first, second = seen["output"].unflatten(0, (2, 3))
    clean = fade_edges(waveform, HOP)
    pull = (multi_resolution_stft(first, clean) + multi_resolution_stft(second, clean)) / 2
    push = multi_resolution_stft(first, second, scale=clean)
    torch.testing.assert_close(push, multi_resolution_stft(second, first, scale=clean))
    torch.testing.assert_close(out["clip_loss"], (0.3 * (pull - repulsion / 2 * push)).detach())
    assert (push > 0.1).all()


def test_the_two_outputs_come_from_two_noises_and_one_mel():
    training = build()
    seen = captured(training)
    training.compute_loss({"waveform": clips()}, "draw 0")
    first, second = seen["noise"].unflatten(0, (2, 2))
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].abs() < 0.05
    assert seen["noise"].std() == pytest.approx(1, abs=0.02)
    assert len(seen["mel"]) == 2 and len(seen["condition"].frames) == 2
    # Clip by clip: with the same noise twice, both outputs of a clip are the same, and there is nothing to push.
    noise = torch.cat([first, first])
    again = training.task._synthesize(training.model, noise, seen["mel"], seen["condition"], 2).unflatten(0, (2, 2))
    torch.testing.assert_close(again[0], again[1])
    assert (multi_resolution_stft(again[0], again[1]) < 1e-3).all()
    torch.testing.assert_close(again[0], seen["output"][:2])


def test_the_recording_itself_costs_nothing():
    training, waveform = build(), clips()
    perfect = fade_edges(waveform, HOP).repeat(2, 1)
    training.task._synthesize = lambda *_: perfect
    assert training.compute_loss({"waveform": waveform}, "draw 0")["clip_loss"].tolist() == [0, 0]
    training.task._synthesize = lambda *_: 0.5 * perfect
    assert (training.compute_loss({"waveform": waveform}, "draw 0")["clip_loss"] > 0.1).all()


def test_the_level_is_drawn_and_a_rest_of_a_hop_is_left_out():
    training = build()
    seen = captured(training)
    longer = torch.cat([clips(), torch.ones(2, HOP - 1)], -1)
    whole, rest = (
        training.compute_loss({"waveform": waveform}, "draw 0")["clip_loss"] for waveform in (clips(), longer)
    )
    assert torch.equal(whole, rest)
    at_full = seen["mel"]
    training.task.gain = (0.5, 0.5)
    training.compute_loss({"waveform": clips()}, "draw 0")
    torch.testing.assert_close((seen["mel"] - at_full).median(), torch.tensor(0.5).log(), rtol=0, atol=1e-3)


@torch.no_grad()
def test_only_the_numbers_of_calls_that_are_given_are_drawn():
    training, waveform = build(steps=(2, 5), consistency=0, repulsion=0.0), clips(1, 4 * HOP)
    asked = []
    training.model.network.register_forward_hook(lambda *_: asked.append(1))
    drawn = []
    for draw in range(12):
        asked.clear()
        training.compute_loss({"waveform": waveform}, f"draw {draw}")
        drawn.append(len(asked))
    assert set(drawn) == {2, 5}


@pytest.mark.parametrize("aligned", [True, False])
def test_the_excitation_is_aligned_if_asked_for(aligned):
    training, waveform = build(source=True, align_excitation=aligned), clips()
    seen = captured(training)
    out = training.compute_loss({"waveform": waveform}, "draw 0")
    clean, model = fade_edges(waveform, HOP), training.model
    told = model.embed_mel(model.analysis(clean), waveform=clean, align=aligned)
    torch.testing.assert_close(seen["condition"].signal, told.signal)
    other = model.embed_mel(model.analysis(clean), waveform=clean, align=not aligned)
    assert (seen["condition"].signal - other.signal).abs().max() > 0.5
    expected = out["clip_loss"].mean() + model.conditioner_loss(model.analysis(clean), clean).mean()
    torch.testing.assert_close(out["loss"], expected)
    out["loss"].backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.excitation.parameters())


@pytest.mark.parametrize("repulsion", [0.0, 1.0])
def test_a_few_steps_lower_the_loss_of_a_clip(repulsion):
    """Judged with a noise that no step has seen."""
    training, waveform = build(repulsion=repulsion, consistency=0), clips(1)
    optimizer = torch.optim.Adam(training.model.parameters(), lr=1e-2)
    with torch.no_grad():
        before = training.compute_loss({"waveform": waveform}, "unseen")["loss"]
    for draw in range(30):
        optimizer.zero_grad()
        training.compute_loss({"waveform": waveform}, f"draw {draw}")["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        after = training.compute_loss({"waveform": waveform}, "unseen")["loss"]
    assert after < 0.8 * before


@pytest.mark.parametrize(
    ("options", "words"), [({"sampler": "ddpm"}, "stochastic"), ({"sampler": "dpmpp_2m", "steps": (1,)}, None)]
)
def test_a_sampler_that_cannot_be_unrolled_is_refused(options, words):
    training = build(**options)
    with pytest.raises(UserError, match=words):
        training.task.prepare(training.model, None)
