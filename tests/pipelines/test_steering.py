"""Prompts and guidance of a generator: what crosses what, and what is refused."""

import math

import pytest
import torch
from tiny_models import as_loaded

from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel
from audiodiff.nn.frontends.frontend import StftFrontend
from audiodiff.nn.network import Network
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig, configure
from audiodiff.pipelines.steering import guidance_of

RATE = 8000
SHORT = {"steps": 2, "seconds": 0.1, "peak_level": None}


@pytest.fixture(scope="module")
def generator(make_prompted) -> AudioGenerator:
    return AudioGenerator(make_prompted())


def clip(generator, **options):
    return generator.generate(**SHORT | {"seed": 1} | options).samples


def close(one, other, atol=1e-4):
    return torch.allclose(one, other, rtol=0, atol=atol)


def test_prompts_move_the_clip_and_an_empty_one_is_unconditional(generator):
    clips = [clip(generator, prompt=prompt) for prompt in ("low tone", "high tone", "")]
    assert not any(close(clips[i], clips[j], 1e-3) for i in range(3) for j in range(i))
    assert torch.equal(clips[2], clip(generator)) and torch.equal(clips[0], clip(generator, prompt=" Low  tone"))


def test_a_prompted_clip_does_not_depend_on_its_batch(generator):
    options = {"prompt": "rain:0.7 | thunder:0.3", "guidance_scale": 3.0, "negative": "noise", "labels": ["kick"]}
    together = generator.generate(clip_seeds=[1, 2, 3], **SHORT, **options).samples
    for seed, one in zip((1, 2, 3), together, strict=True):
        assert close(generator.generate(clip_seeds=[seed], **SHORT, **options).samples[0], one)


@pytest.mark.parametrize(
    ("options", "seconds"), [({}, math.nan), ({"seconds": 0.25}, 0.25), ({"seconds": 9.0}, 1.0), ({"loop": True}, 1.0)]
)
def test_a_model_is_conditioned_on_a_length_that_is_requested_and_else_decides(make_music, options, seconds):
    found, generator = [], AudioGenerator(make_music(scalars=("seconds",)))
    scalars = next(one for one in generator.model.conditioners if one.name == "scalars")
    scalars.register_forward_pre_hook(lambda _, batch: found.append(float(batch[0]["scalars"][0, 0])))
    window = generator.model.samples / RATE
    generator.generate(steps=1, labels=["kick"], **options)
    expected = min(seconds, window) if options.get("loop") is None else window
    assert found[0] == pytest.approx(expected, nan_ok=True)


def test_composed_prompts(generator):
    plain, other = (clip(generator, prompt=prompt) for prompt in ("rain", "thunder"))
    assert close(clip(generator, prompt="rain:1 | thunder:0"), plain, 1e-6)
    assert close(clip(generator, prompt="rain:0.5 | rain:0.5"), plain)
    assert close(clip(generator, prompt="rain:0"), clip(generator), 1e-6)
    both = clip(generator, prompt="rain:0.5 | thunder:0.5")
    assert not close(both, plain, 1e-3) and not close(both, other, 1e-3)
    # A weight is guidance: x0 = u + 2 (c - u).
    assert close(clip(generator, prompt="rain:2"), clip(generator, prompt="rain", guidance_scale=2.0))


def test_a_negative_prompt_takes_the_place_of_no_prompt(generator):
    """x0 = n + w (c - n), of both prompts; the same one twice is the prompt itself."""
    plain = clip(generator, prompt="rain")
    assert close(clip(generator, prompt="rain", negative="rain", guidance_scale=4.0), plain)
    guided = clip(generator, prompt="rain", guidance_scale=4.0)
    negative = clip(generator, prompt="rain", negative="wind", guidance_scale=4.0)
    assert not close(guided, negative, 1e-3) and not close(guided, plain, 1e-3)
    assert torch.equal(clip(generator, prompt="rain", negative=" ", guidance_scale=4.0), guided)
    assert close(negative, clip(generator, prompt="rain:4 | wind:-3"))
    alone = clip(generator, negative="wind", guidance_scale=4.0)  # away from it, towards nothing in particular
    assert not close(alone, clip(generator), 1e-3)


@pytest.mark.parametrize("make", ["waveform", "long", "loop"])
def test_prompts_along_time(generator, make):
    """Away from the border each part is what its prompt alone estimates, at the first step."""
    seconds = 0.2 if make == "waveform" else 0.6
    border, samples = seconds / 2, round(seconds * RATE)
    options = {"steps": 1, "seconds": seconds, "loop": make == "loop"}
    first, second = (clip(generator, prompt=prompt, **options) for prompt in ("kick", "hat"))
    found = clip(generator, prompt=f"kick @-{border} | hat @{border}-", **options)
    edge = round(0.06 * RATE)  # half of the fade, and a filter's length
    parts = slice(samples // 2 - edge), slice(samples // 2 + edge, None)
    for part, own, other in zip(parts, (first, second), (second, first), strict=True):
        assert (found - own)[..., part].norm() < 0.05 * (found - other)[..., part].norm()


def test_the_seconds_of_a_continuation_count_from_its_beginning(generator):
    given = generator.generate(seed=3, seconds=0.1, steps=2, peak_level=0.5)
    options = {"continue_from": given, "steps": 2, "seconds": 0.1, "seed": 1}
    one = generator.generate(prompt="kick @0-9 | hat @9-", **options | {"seconds": 9.5, "steps": 1}).samples
    assert one.shape[-1] == round(9.6 * RATE)
    with pytest.raises(UserError, match=r"prompt 'hat': starts at 0.1 s, the clip ends at 0.1 s; raise --seconds"):
        generator.generate(prompt="kick @-0.1 | hat @0.1-", **options)


def test_prompts_with_labels_and_tempo(make_prompted):
    generator = AudioGenerator(make_prompted(scalars=("tempo",)))
    clips = [
        clip(generator, guidance_scale=2.0, **options)
        for options in (
            {"prompt": "rain"},
            {"prompt": "rain", "labels": ["kick"]},
            {"prompt": "rain", "tempo": 120},
            {"labels": ["kick"], "tempo": 120},
        )
    ]
    assert not any(close(clips[i], clips[j], 1e-3) for i in range(4) for j in range(i))


def test_a_checkpoint_keeps_prompts_and_guidance(make_prompted, tmp_path):
    model = make_prompted(guidance=GuidanceSetting(3.0, 0.5, -4.0, 6.0))
    model.save_pretrained(tmp_path)
    again = AudioGenerator.from_pretrained(tmp_path)
    assert again.model.guidance == model.guidance
    same = {"guidance_scale": 3.0, "guidance_rescale": 0.5, "guidance_interval": (-4, 6)}
    found = clip(again, prompt="rain")
    assert torch.equal(found, clip(AudioGenerator(as_loaded(model)), prompt="rain"))
    assert torch.equal(found, clip(again, prompt="rain", **same))
    for name, value in {"guidance_scale": 1.0, "guidance_rescale": 0.0, "guidance_interval": "all"}.items():
        assert not close(clip(again, prompt="rain", **{name: value}), found, 1e-4), name
    assert torch.equal(clip(again), clip(again, prompt=""))  # nothing to guide to
    assert (
        again.settings(configure(GenerationConfig(), {"prompt": "rain"})).items()
        >= {
            "guidance_scale": 3.0,
            "guidance_rescale": 0.5,
            "guidance_interval": "-4:6",
            "prompt": "rain",
            "negative": None,
        }.items()
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"guidance_interval": "all"}, {"guidance_rescale": 0}, {"guidance_scale": 1}, {"guidance_interval": ":3"}],
)
def test_recorded_settings_generate_the_same_clip(make_prompted, options):
    generator = AudioGenerator(make_prompted(guidance=GuidanceSetting(3.0, 0.5, -4.0, 6.0)))
    settings = generator.settings(configure(GenerationConfig(), {"prompt": "rain"} | options))
    recorded = {name: settings[name] for name in ("prompt", "guidance_scale", "guidance_rescale", "guidance_interval")}
    assert None not in recorded.values()
    assert torch.equal(clip(generator, **recorded), clip(generator, prompt="rain", **options))
    assert generator.settings(configure(GenerationConfig(), recorded)) == settings


def test_outside_of_its_interval_guidance_costs_nothing(generator, monkeypatch):
    network, calls = generator.model.network, []
    handle = network.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    try:
        options = {"prompt": "rain", "guidance_scale": 3.0, "steps": 4}
        counts = []
        for interval in ("all", "0:", "20:30"):
            calls.clear()
            made = clip(generator, guidance_interval=interval, **options)
            counts.append(sum(calls))
        assert torch.equal(made, clip(generator, prompt="rain", steps=4))
    finally:
        handle.remove()
    assert counts[0] == 8 and 4 < counts[1] < 8 and counts[2] == 4  # clips that the network evaluates


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": 3}, "prompt 3: expected text"),
        ({"prompt": "rain |"}, "prompt 'rain |': has a part without a text"),
        ({"prompt": "rain", "guidance_scale": 1e9}, r"guidance_scale 1e\+09: out of range"),
        ({"prompt": "rain", "guidance_scale": math.nan}, "guidance_scale nan: out of range"),
        ({"prompt": "rain", "guidance_scale": math.inf}, "guidance_scale inf: out of range"),
        ({"guidance_scale": 2.0}, "guidance_scale 2: needs a condition.*--label or --prompt"),
        ({"prompt": "", "guidance_scale": 2.0}, "guidance_scale 2: needs a condition"),
        ({"prompt": "rain", "guidance_rescale": 1.5}, "guidance_rescale 1.5: out of range"),
        ({"prompt": "rain", "guidance_interval": "3:-5"}, "guidance_interval '3:-5': is no interval"),
        ({"prompt": "rain", "guidance_interval": "high"}, "guidance_interval 'high': is no interval"),
        ({"prompt": "rain", "guidance_interval": (math.nan, 1)}, "guidance_interval 'nan:1': is no interval"),
        ({"prompt": "rain", "guidance_interval": 3}, "guidance_interval 3: expected text"),
        ({"prompt": "rain", "negative": "wind"}, "negative 'wind': has no effect without guidance; add --guidance"),
        ({"prompt": "rain", "negative": "a | b", "guidance_scale": 2}, "negative 'a | b': is a prompt of several"),
        ({"prompt": "gr\udcfcn"}, r"prompt 'gr\\udcfcn': is not valid Unicode"),
        ({"prompt": "rain", "negative": "\udcfc", "guidance_scale": 2}, "negative .*: is not valid Unicode"),
        ({"prompt": "rain @5-"}, "prompt 'rain': starts at 5 s, the clip ends at 0.1 s"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(generator, options, message):
    with pytest.raises(UserError, match=message) as error:
        clip(generator, **options)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=message):
        generator.check(configure(GenerationConfig(seconds=0.1, steps=2), options))


def test_a_model_without_prompts_says_so(make_music):
    generator = AudioGenerator(make_music())
    for options, message in (
        ({"prompt": "rain"}, "prompt 'rain': this model has no prompt condition.*takes labels"),
        ({"negative": "rain", "labels": ["kick"], "guidance_scale": 2}, "negative 'rain': this model takes no prompts"),
    ):
        with pytest.raises(UserError, match=message) as error:
            generator.generate(**SHORT, **options)
        assert "\n" not in str(error.value)


def test_a_prompt_of_any_length_is_made_with_a_warning(generator):
    with pytest.warns(UserWarning, match="10000 characters: only its first 8 tokens") as caught:
        long = clip(generator, prompt=("a short metallic hit with a tail " * 400)[:10000].replace(" ", "x", 0))
    assert long.isfinite().all() and len({str(warning.message) for warning in caught}) == 1


def test_weights_of_a_model_without_prompts_go_on_with_them(make_music, make_prompted):
    before, after = make_music(1), make_prompted()
    fresh = {name: weight.clone() for name, weight in after.weights().items()}
    after.load_initial_weights(before.weights(), before.arguments())
    found = after.weights()
    for name, weight in found.items():
        expected = before.weights().get(name, fresh[name])
        assert torch.equal(weight, expected), name
    assert torch.equal(clip(AudioGenerator(before)), clip(AudioGenerator(after)))  # without a prompt
    before.load_initial_weights(after.weights(), after.arguments())  # and without them again
    assert isinstance(before, AudioModel)
    with pytest.raises(RuntimeError):
        after.load_initial_weights(make_music(2).weights(), make_music(2).arguments())


def test_attention_at_further_levels_adds_nothing_at_first(make_prompted):
    before = make_prompted()
    frontend = StftFrontend(1, n_fft=64, hop_length=16)
    network = Network(frontend, 0, 1, [16, 16], [1, 1], 3, 16, attention_levels=2, token_channels=16)
    after = before.with_arguments(network=network).eval()
    after.load_initial_weights(before.weights(), before.arguments())
    added = after.weights().keys() - before.weights().keys()
    assert {"unet.attention.down0.qkv.weight", "unet.cross_attention.up0.project.weight"} <= added
    one, other = (clip(AudioGenerator(model), prompt="low tone") for model in (before, after))
    assert torch.allclose(one, other, atol=1e-5)
    with pytest.raises(RuntimeError):  # what is learned is not left out silently
        before.load_initial_weights(after.weights(), after.arguments())


def test_guidance_of_a_request():
    class Model:
        guidance = GuidanceSetting(3.0, 0.5, -4.0)
        conditioners = ()

        @staticmethod
        def condition_options():
            return {}

    def of(**options):
        return guidance_of(configure(GenerationConfig(), options), Model)

    assert of(prompt="rain") == Model.guidance and of() == GuidanceSetting()
    assert of(prompt="rain", guidance_scale=1) == GuidanceSetting()
    assert of(prompt="rain", guidance_interval=":2") == GuidanceSetting(3.0, 0.5, None, 2.0)
    assert of(negative="rain", guidance_rescale=0) == GuidanceSetting(3.0, 0.0, -4.0)
    with pytest.raises(ValueError, match="guidance by 101"):
        GuidanceSetting(101)
