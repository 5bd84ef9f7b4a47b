"""A pipeline leaves the model that it is given as it was, on its way through training too."""

import pytest
import torch

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.vocoder import Vocoder

MEL = torch.linspace(-9, -3, 80)[:, None] + torch.linspace(0, 1, 5)
CLIP = Audio(0.3 * torch.sin(torch.arange(1600) * 0.3), 8000)
VOCODER = {
    "generate": lambda vocoder: vocoder.generate(MEL, 2).samples,
    "list": lambda vocoder: vocoder.generate([MEL, MEL[:, :3]], 2)[1].samples,
    "stream": lambda vocoder: torch.cat([piece.samples for piece in vocoder.stream([MEL, MEL], 2, chunk=2)]),
    "resynthesize": lambda vocoder: vocoder.resynthesize(CLIP, 2).samples,
    "mel": lambda vocoder: vocoder.mel(CLIP),
    "diffused": lambda vocoder: vocoder.process_signal(CLIP),
}
MUSIC = {
    "generate": lambda music: music.generate(seed=1, steps=2, seconds=0.1).samples,
    "longer": lambda music: music.generate(clip_seeds=[1, 2], steps=2, seconds=0.4).samples,
    "loop": lambda music: music.generate(seed=1, steps=2, seconds=0.4, loop=True).samples,
    "after": lambda music: music.generate(seed=1, steps=2, seconds=0.2, continue_from=CLIP).samples,
    "like": lambda music: music.generate(seed=1, steps=2, init_audio=CLIP).samples,
    "diffused": lambda music: music.process_signal(CLIP),
}


def state(model):
    parts = {name: part.training for name, part in model.named_modules()}
    values = {name: (value.data_ptr(), value.clone()) for name, value in model.state_dict().items()}
    return parts, {name: value.requires_grad for name, value in model.named_parameters()}, values


def half_frozen(model):
    """A model in training, some of whose parts are not."""
    model.train().requires_grad_(True)
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].requires_grad_(False)
    model.network.unet.bottom.eval()
    return model


def untouched(pipeline, model, use) -> torch.Tensor:
    before = state(half_frozen(model))
    made = use(pipeline(model))
    for old, new in zip(before[:2], state(model)[:2], strict=True):
        assert old == new
    for name, (place, value) in state(model)[2].items():
        assert place == before[2][name][0] and torch.equal(value, before[2][name][1])
    assert all(parameter.grad is None for parameter in model.parameters()) and not made.requires_grad
    return made


@pytest.mark.parametrize("use", VOCODER.values(), ids=VOCODER)
def test_a_vocoder_leaves_its_model_alone(tiny, use):
    expected = use(Vocoder(tiny().requires_grad_(False)))
    model = tiny()
    assert torch.equal(untouched(Vocoder, model, use), expected)
    noise = torch.randn(1, 1, 1600)
    model.estimate(0.1 * noise[:, 0], noise, torch.tensor([0.5])).loss.sum().backward()


@pytest.mark.parametrize("use", MUSIC.values(), ids=MUSIC)
@pytest.mark.parametrize("kind", ["make_music", "make_latent_music"])
def test_a_generator_leaves_its_model_alone(request, kind, use):
    make = request.getfixturevalue(kind)
    expected = use(AudioGenerator(make().requires_grad_(False).eval()))
    model = make()
    assert torch.equal(untouched(AudioGenerator, model, use), expected)
    # What was used under inference mode takes part in training afterwards.
    z = torch.randn(1, model.network.frontend.channels, 64, requires_grad=True)
    model.normalize(model.restore(z)).square().sum().backward()
    assert z.grad.isfinite().all()


def test_a_model_is_as_it_was_where_generating_fails(make_music):
    model = half_frozen(make_music())
    before = state(model)
    with pytest.raises(UserError):
        AudioGenerator(model).generate(seed=1, steps=2, labels=["flute"])
    with torch.no_grad():
        model.network.unet.conv_out.weight.fill_(torch.nan)
    with pytest.raises(UserError, match="not finite"):
        AudioGenerator(model).generate(seed=1, steps=2, continue_from=CLIP, seconds=0.1)
    assert state(model)[:2] == before[:2]


def test_a_loaded_model_is_ready_for_use(vocoder, model_folder):
    for model in (vocoder.model, Vocoder.untrained(model_folder).model):
        assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())


def test_a_model_elsewhere_is_copied(tiny):
    model = tiny()
    there = Vocoder(model, "meta")
    assert next(there.model.parameters()).is_meta and not next(model.parameters()).is_meta
    assert Vocoder(model).model is model
