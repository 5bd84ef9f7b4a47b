"""Adapters applied, merged and stored: exactly the base at scale 0, the same bytes however they are used."""

import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from adapter_models import random_adapter
from tiny_models import as_loaded

from audiodiff.errors import UserError
from audiodiff.models import adapter as adapters
from audiodiff.models.adapted import AppliedAdapter, adaptable_layers, apply, merge, weights_hash
from audiodiff.models.onnx_network import OnnxNetwork
from audiodiff.nn.condition import Condition
from audiodiff.nn.convolution import is_packed
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.vocoder import Vocoder

KINDS = ["lora", "dora", "loha"]
CLIP = {"seed": 3, "steps": 3, "seconds": 0.1, "peak_level": None}


@pytest.fixture
def base(make_prompted):
    return as_loaded(make_prompted())


def generate(model, **options):
    return AudioGenerator(model).generate(prompt="rain", **CLIP | options).samples


@pytest.mark.parametrize("kind", KINDS)
def test_scale_zero_is_the_base_and_its_code_does_not_run(kind, base, monkeypatch):
    one = AppliedAdapter(random_adapter(base, kind), 0.0)
    expected = generate(base)
    monkeypatch.setattr(adapters.Adapter, "update", None)
    assert apply(base, [one]) is base
    assert torch.equal(generate(base, adapters=[one]), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_is_the_applied_one(kind, base, tmp_path):
    one, other = (AppliedAdapter(random_adapter(base, kind, seed=seed), scale) for seed, scale in ((0, 0.8), (1, -0.5)))
    before = {name: weight.clone() for name, weight in base.weights().items()}
    applied = generate(base, adapters=[one, other])
    merge(base, [one, other]).save_pretrained(tmp_path)
    loaded = AudioGenerator.from_pretrained(tmp_path).generate(prompt="rain", **CLIP).samples
    assert torch.equal(loaded, applied) and not torch.equal(applied, generate(base))
    assert all(torch.equal(weight, before[name]) for name, weight in base.weights().items())


def test_changes_add_up_in_any_order(base):
    one, other = (AppliedAdapter(random_adapter(base, seed=seed), 0.5) for seed in (0, 1))
    name, layer = next(iter(adaptable_layers(base).items()))
    expected = layer.weight + sum(
        0.5 * each.adapter.update(name, layer.weight).change(layer.weight) for each in (one, other)
    )
    for order in ([one, other], [other, one]):
        assert torch.allclose(adaptable_layers(apply(base, order))[name].weight, expected, atol=1e-6)


def test_packed_weights_are_adapted_as_others_are(base):
    one = AppliedAdapter(random_adapter(base))
    plain = copy.deepcopy(base)  # copies are not packed
    assert is_packed(base) and is_packed(apply(base, [one])) and not is_packed(apply(plain, [one]))
    assert torch.allclose(generate(plain, adapters=[one]), generate(base, adapters=[one]), atol=1e-5)
    assert is_packed(base)


def test_an_adapter_in_an_interval_is_applied_at_its_noise_levels_only(base):
    one = AppliedAdapter(random_adapter(base), 1.0, (-2.0, 2.0))
    everywhere = AppliedAdapter(one.adapter)
    adapted, always = apply(base, [one]), apply(base, [everywhere])
    signal = torch.randn(1, 1, 256, generator=torch.Generator().manual_seed(0))
    for level, expected in ((-5.0, base), (0.0, always), (5.0, base), (2.0, always), (-2.0, always)):
        level = torch.tensor([level])
        assert torch.equal(adapted.network(signal, level), expected.network(signal, level))
    assert not torch.equal(always.network(signal, level), base.network(signal, level))


def test_what_is_derived_from_a_condition_is_of_the_weights_in_force(base):
    """Keys of cross-attention are those of every step's own weights, whatever was sampled before."""
    one = random_adapter(base)
    adapted, always = apply(base, [AppliedAdapter(one, 1.0, (-2.0, 2.0))]), apply(base, [AppliedAdapter(one)])
    tokens = torch.randn(1, 5, base.network.token_channels, generator=torch.Generator().manual_seed(1))
    signal, condition = torch.randn(1, 1, 256), Condition(tokens=tokens)
    prepared = adapted.network.prepare(condition, signal)
    for level, expected in ((-5.0, base), (0.0, always), (5.0, base)):
        level = torch.tensor([level])
        assert torch.equal(adapted.network(signal, level, prepared), expected.network(signal, level, condition))
    bounded = AppliedAdapter(one, 1.0, (-100.0, 0.0))
    pipeline = AudioGenerator(base)
    first, second = (pipeline.generate(prompt="rain", adapters=[bounded], **CLIP).samples for _ in range(2))
    assert torch.equal(first, second)


def test_two_intervals_that_overlap_compose(base):
    low, high = (
        AppliedAdapter(random_adapter(base, seed=0), 1.0, (-9.0, 1.0)),
        AppliedAdapter(random_adapter(base, "dora", seed=1), 0.5, (-1.0, 9.0)),
    )
    signal, adapted = torch.randn(1, 1, 256), apply(base, [low, high])
    for level, chosen in ((-3.0, [low]), (0.0, [low, high]), (3.0, [high]), (0.5, [low, high])):
        plain = [AppliedAdapter(one.adapter, one.scale) for one in chosen]
        found = adapted.network(signal, torch.tensor([level]))
        assert torch.allclose(found, apply(base, plain).network(signal, torch.tensor([level])), atol=1e-6)


def test_a_bounded_adapter_is_not_merged(base):
    with pytest.raises(UserError, match="some noise levels only"):
        merge(base, [AppliedAdapter(random_adapter(base), 1.0, (0.0, 1.0))])


@pytest.mark.parametrize("kind", KINDS)
def test_saved_loaded_in_a_new_process_and_applied_it_makes_the_same_bytes(kind, base, tmp_path):
    found = random_adapter(base, kind)
    found.save(tmp_path / "adapter")
    base.save_pretrained(tmp_path / "base")
    expected = generate(base, adapters=[AppliedAdapter(found, 0.7)])
    script = (
        "import sys, torch; from audiodiff import AudioGenerator; base = AudioGenerator.from_pretrained(sys.argv[1]); "
        f"clip = base.generate(prompt='rain', adapters=[sys.argv[2]], **{CLIP}); "
        "torch.save(clip.samples, sys.argv[3])"
    )
    paths = [tmp_path / "base", f"{tmp_path / 'adapter'}:0.7", tmp_path / "clip.pt"]
    subprocess.run([sys.executable, "-c", script, *map(str, paths)], check=True, timeout=120)
    assert torch.equal(torch.load(tmp_path / "clip.pt", weights_only=True), expected)


def test_vocoders_and_voices_take_adapters(tiny, make_voice):
    for model in (tiny(), make_voice()):
        model.requires_grad_(False)
        adapted = apply(model, [AppliedAdapter(random_adapter(model))])
        names = {name for name, weight in adapted.weights().items() if not torch.equal(weight, model.weights()[name])}
        assert any(name.startswith("unet.") for name in names)
    vocoder = Vocoder(tiny().requires_grad_(False))
    mel = torch.randn(80, 12, generator=torch.Generator().manual_seed(0)) - 5
    one = AppliedAdapter(random_adapter(vocoder.model))
    plain, changed = vocoder.generate(mel, 2).samples, vocoder.generate(mel, 2, adapters=[one]).samples
    assert not torch.equal(plain, changed)
    assert torch.equal(vocoder.generate(mel, 2).samples, plain)
    pieces = vocoder.stream([mel], 2, adapters=[one])
    assert torch.allclose(torch.cat([piece.samples for piece in pieces]), changed, atol=1e-5)


def test_the_codec_of_a_latent_model_is_not_adapted(make_latent_music):
    model = make_latent_music(1).requires_grad_(False)
    assert all(not name.startswith("codec.") for name in adaptable_layers(model))


def test_another_base_is_refused_in_one_line(base, make_prompted, tiny):
    other = make_prompted()
    with torch.no_grad():
        other.network.unet.conv_in.bias += 1e-6
    one = AppliedAdapter(random_adapter(base))
    for model, word in ((other, "hash of its base differs"), (tiny(), "for a model of type 'audio', not 'vocoder'")):
        with pytest.raises(UserError, match=word) as error:
            apply(model, [one])
        assert "\n" not in str(error.value)
    assert weights_hash(other) != weights_hash(base)


def test_updates_that_do_not_fit_are_refused_in_one_line(base):
    found = random_adapter(base)
    layer = next(iter(found.updates))
    shapes = {**found.updates, layer: {"down": torch.zeros(2, 3), "up": torch.zeros(4, 2)}}
    for updates, word in ((shapes, "has parameters"), ({"codec.x": found.updates[layer]}, "no layer of this model")):
        broken = adapters.Adapter(found.base, "audio", "base", "lora", 2, 4.0, updates)
        with pytest.raises(UserError, match=word) as error:
            apply(base, [AppliedAdapter(broken)])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("scale", [0.1, 1.5])
def test_words_are_whole_at_any_scale(scale, base):
    """A word is a name and no change of the model: a prompt weakens it, a scale does not."""
    vectors = torch.randn(3, 256, generator=torch.Generator().manual_seed(0))
    one = AppliedAdapter(random_adapter(base, "", words={"<my-drum>": vectors}), scale)
    (prompt,) = (each for each in apply(base, [one]).conditioners if each.name == "prompt")
    assert torch.equal(prompt.vectors["<my-drum>"], vectors)


def test_a_model_keeps_new_words_when_adapters_are_merged(base, tmp_path):
    vectors = torch.randn(3, 256, generator=torch.Generator().manual_seed(0))
    one = AppliedAdapter(random_adapter(base, "", words={"<my-drum>": vectors}))
    spoken = {"prompt": "a <my-drum> in rain"}
    applied = AudioGenerator(base).generate(adapters=[one], **spoken, **CLIP).samples
    with pytest.warns(UserWarning, match="<my-drum>: no adapter has learned it"):
        plain = AudioGenerator(base).generate(**spoken, **CLIP).samples
    assert not torch.allclose(applied, plain, atol=1e-3)
    merge(base, [one]).save_pretrained(tmp_path)
    loaded = AudioGenerator.from_pretrained(tmp_path)
    assert torch.equal(loaded.generate(**spoken, **CLIP).samples, applied)
    with pytest.raises(UserError, match="word <my-drum>: is known already"):
        apply(base, [one, one])


@pytest.mark.parametrize(
    "numbers",
    [
        *((float("nan"),), (float("inf"),), ("1",), (None,), (10**400,)),
        *((1.0, (3.0, -3.0)), (1.0, (float("nan"), 1.0)), (1.0, (1.0,)), (1.0, (1.0, 2.0, 3.0)), (1.0, None)),
        *((1.0, 3.0), (1.0, ("a", 2.0)), (1.0, {0: 1.0})),
    ],
)
def test_scales_and_intervals_that_make_no_sense_are_refused(base, numbers):
    with pytest.raises(UserError, match=r"^adapter (scale|interval) [^\n]*$"):
        AppliedAdapter(random_adapter(base), *numbers)


def test_numbers_of_other_libraries_are_taken(base):
    one = AppliedAdapter(random_adapter(base), np.float32(0.5), [-1, np.float64(2)])
    assert one == AppliedAdapter(one.adapter, 0.5, (-1.0, 2.0)) and json.dumps(one.record())


def test_the_last_adapted_pipeline_is_remembered_by_what_its_adapters_do(base, tmp_path):
    for seed, name in enumerate(("one", "other")):
        random_adapter(base, seed=seed).save(tmp_path / name)
    pipeline = AudioGenerator(base)

    def adapted(name, scale=1.0, interval=(-5.0, 5.0)):
        return pipeline.with_adapters([AppliedAdapter(adapters.load(tmp_path / name), scale, interval)])

    first = adapted("one")
    assert adapted("one") is first
    for changed in ({"name": "other"}, {"name": "one", "scale": 0.5}, {"name": "one", "interval": (-5.0, 4.0)}):
        before = adapted("one")
        assert adapted(**changed) is not before


def test_adapters_that_were_not_loaded_are_told_apart(base):
    pipeline = AudioGenerator(base)
    one, other = (AppliedAdapter(random_adapter(base, seed=seed)) for seed in (0, 1))
    first = pipeline.with_adapters([one])
    assert pipeline.with_adapters([one]) is first
    assert pipeline.with_adapters([other]) is not first


@pytest.mark.parametrize("kind", KINDS)
def test_huge_changes_name_their_adapter(kind, base):
    for size in (1e4, 1e30):
        with pytest.raises(UserError, match=r"^adapter hostile: changes weights of .* lower its scale") as error:
            found = random_adapter(base, kind, deviation=size)
            apply(base, [AppliedAdapter(replace(found, folder="hostile"), 0.5)])
        assert "\n" not in str(error.value)


def test_an_exported_model_says_that_it_takes_no_adapters(base):
    one = AppliedAdapter(random_adapter(base))
    exported = copy.copy(base)
    exported._modules = {**base._modules, "denoiser": copy.copy(base.denoiser)}
    exported.denoiser.network = object.__new__(OnnxNetwork)
    with pytest.raises(UserError, match=r"cannot be applied to an exported model.* audiodiff merge"):
        apply(exported, [one])


def test_calls_are_replayed_only_with_one_set_of_weights(tiny, monkeypatch):
    """With an adapter of an interval weights change during a call, which a captured graph would not do."""
    recorded = []
    monkeypatch.setattr("audiodiff.pipelines.vocoder.CudaRecorder", recorded.append)
    pipeline = Vocoder(tiny().requires_grad_(False), compile=True)
    pipeline.device = torch.device("cuda")
    found = random_adapter(pipeline.model)
    everywhere = pipeline.with_adapters([AppliedAdapter(found)])
    assert everywhere._recorded is not None and recorded == [torch.device("cuda")]
    assert pipeline.with_adapters([AppliedAdapter(found, 1.0, (-5.0, 3.0))])._recorded is None
    assert len(recorded) == 1


def test_an_adapter_of_more_numbers_than_its_base_can_use_is_refused(base):
    numbers = sum(weight.numel() for weight in base.parameters())
    layer = "unet.conv_in"
    for more, match in ((1, "more than 4 for each of the"), (0, "has parameters")):
        wide = {layer: {"down": torch.zeros(1, 4 * numbers - 1 + more), "up": torch.zeros(1, 1)}}
        with pytest.raises(UserError, match=match) as error:
            apply(base, [AppliedAdapter(replace(random_adapter(base), updates=wide, rank=1))])
        assert "\n" not in str(error.value)
