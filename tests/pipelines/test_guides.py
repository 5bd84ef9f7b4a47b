"""Guidance by other models: what it composes with, what it costs, and what is refused."""

import json

import pytest
import torch
from typer.testing import CliRunner

from audiodiff.audio.io import read
from audiodiff.cli import build
from audiodiff.diffusion.guidance.setting import GuidanceSetting
from audiodiff.diffusion.schedules.schedule import RectifiedFlow
from audiodiff.errors import UserError
from audiodiff.pipelines.audio_generator import AudioGenerator, configure
from audiodiff.pipelines.guides import Guide
from audiodiff.pipelines.options import GenerationConfig

SHORT = {"steps": 3, "seconds": 0.1, "peak_level": None}
KICK = {"labels": ["kick"]}
OTHER = Guide("embedding_guidance", "x", None, "0")


@pytest.fixture(scope="module")
def generator(make_music):
    return AudioGenerator(make_music(1))


@pytest.fixture(scope="module")
def folders(guide_folders):
    return guide_folders


@pytest.fixture(scope="module")
def guides(folders):
    return {name: Guide.load(name, folder) for name, folder in folders.items()}


def clip(generator, **options):
    return generator.generate(**SHORT | {"seed": 1} | options).samples


def close(one, other, tolerance=1e-4):
    return float((one - other).norm() / other.norm()) < tolerance


def options_for(name, guides, weight=None):
    weight = {"classifier": 60.0, "autoguidance": 4.0, "embedding_guidance": 60.0}[name] if weight is None else weight
    prompt = {"prompt": "rain"} if name == "embedding_guidance" else {}
    return KICK | prompt | {name: guides[name], f"{name.removesuffix('_guidance')}_weight": weight}


def every_guide(guides):
    return {key: value for name in guides for key, value in options_for(name, guides).items()}


@pytest.mark.parametrize("name", ["classifier", "autoguidance", "embedding_guidance"])
def test_a_guide_changes_the_clip_by_its_weight(generator, guides, name):
    plain, guided = clip(generator, **KICK), clip(generator, **options_for(name, guides))
    assert guided.isfinite().all() and not close(guided, plain, 1e-2)
    assert not close(guided, clip(generator, **options_for(name, guides, 80.0)), 1e-2)
    none = {"classifier": 0.0, "autoguidance": 1.0, "embedding_guidance": 0.0}[name]
    assert close(clip(generator, **options_for(name, guides, none)), plain, 1e-5)
    assert close(clip(generator, **options_for(name, guides), guidance_interval="30:40"), plain, 1e-5)


def test_a_classifier_knows_labels_that_the_model_does_not(make_music, generator, guides):
    """Of a model without labels it is the only one that reads them, so that nothing else changes."""
    unlabeled = AudioGenerator(make_music(1, labels=()))
    found = clip(unlabeled, labels=["bell"], classifier=guides["classifier"], classifier_weight=60.0)
    assert not close(found, clip(unlabeled), 1e-2)
    with pytest.raises(UserError, match="guidance_scale 2: needs a condition"):
        clip(unlabeled, labels=["bell"], classifier=guides["classifier"], guidance_scale=2.0)
    # A model that has labels reads them, too; with a guidance scale of 0 the classifier alone does.
    alone = clip(generator, **options_for("classifier", guides), guidance_scale=0.0)
    assert not close(alone, clip(generator, **options_for("classifier", guides)), 1e-3)


def test_labels_that_a_model_with_others_lacks_are_the_classifiers(make_music, generator, guides):
    bell = {"classifier": guides["classifier"], "classifier_weight": 60.0, "labels": ["bell"]}
    assert close(clip(generator, **bell | {"classifier_weight": 0.0}), clip(generator), 1e-6)
    assert not close(clip(generator, **bell), clip(generator), 1e-2)
    both = bell | {"labels": ["kick", "bell"]}  # of which the model reads the first
    assert close(clip(generator, **both | {"classifier_weight": 0.0}), clip(generator, **KICK), 1e-6)
    assert not close(clip(generator, **both), clip(generator, **options_for("classifier", guides)), 1e-3)
    with pytest.raises(UserError, match=r"label 'gong': .*choose among kick, snare, bell"):
        clip(generator, **bell | {"labels": ["gong"]})
    with pytest.raises(UserError, match="labels 'bell': unknown"):
        clip(generator, labels=["bell"])


@pytest.mark.parametrize("latent", [False, True])
def test_embedding_guidance_raises_the_similarity_to_the_prompt(make_music, make_latent_music, guides, latent):
    """Also of a model that takes no prompts, and of each part of a prompt in its stretch of the clip.

    In one step, which is a step along the gradient: a random model pulls later estimates nowhere.
    """
    pair = guides["embedding_guidance"].model
    generator = AudioGenerator(make_latent_music(1) if latent else make_music(1, labels=()))

    def similarities(text, found):
        audio = pair.embed_audio(found, generator.sample_rate)
        return (audio @ pair.embed_text([text])[0]).mean()

    guided = {"embedding_guidance": guides["embedding_guidance"], "embedding_weight": 100.0, "steps": 1}
    plain = clip(generator, count=4, steps=1)
    assert similarities("rain", clip(generator, count=4, prompt="rain", **guided)) > similarities("rain", plain) + 0.002
    if latent:  # of which each sounds beyond its own frame
        return
    plain = clip(generator, count=4, seconds=0.4, steps=1)
    found = clip(generator, count=4, seconds=0.4, prompt="rain @0-0.2 | metal bell:2 @0.2-", **guided)
    for text, half in (("rain", slice(1600)), ("metal bell", slice(1600, None))):
        assert similarities(text, found[..., half]) > similarities(text, plain[..., half]) + 0.002


def test_words_that_only_the_pair_reads_are_said(generator, guides, monkeypatch):
    pair = guides["embedding_guidance"]
    monkeypatch.setattr(pair.model.prompt, "words", ("rain", "wind"))
    with pytest.warns(UserWarning, match="'thunder'"):
        clip(generator, prompt="rain | thunder", embedding_guidance=pair)


def test_a_part_of_a_loop_is_not_repeated(generator, guides, monkeypatch):
    pair, lengths = guides["embedding_guidance"].model, []
    embed = pair.embed_audio
    monkeypatch.setattr(pair, "embed_audio", lambda x, *rest: lengths.append(x.shape[-1]) or embed(x, *rest))
    options = {"embedding_guidance": guides["embedding_guidance"], "seconds": 0.2, "steps": 1, "loop": True}
    clip(generator, prompt="rain @0-0.05 | wind @0.05-", **options)
    assert sorted(set(lengths)) == [400, 1200]
    lengths.clear()
    clip(generator, prompt="rain", **options)
    assert set(lengths) == {1600}


def test_guides_and_classifier_free_guidance_compose(generator, guides):
    both = every_guide(guides)
    every = [both, both | {"guidance_scale": 3.0}, both | {"guidance_scale": 3.0, "guidance_rescale": 0.7}]
    clips = [clip(generator, **options) for options in every]
    clips += [clip(generator, **options_for(name, guides)) for name in guides]
    assert all(one.isfinite().all() for one in clips)
    assert not any(close(clips[i], clips[j], 1e-3) for i in range(len(clips)) for j in range(i))


def test_with_weighted_and_negative_prompts(make_prompted, guides):
    generator = AudioGenerator(make_prompted(labels=()))
    worse = Guide("autoguidance", "worse", make_prompted(labels=()), "0")
    options = {"labels": ["bell"], "classifier": guides["classifier"], "autoguidance": worse, "negative": "wind"}
    options["embedding_guidance"] = guides["embedding_guidance"]
    prompted = {"prompt": "rain:0.7 | thunder:0.4 @0.05-", "guidance_scale": 3.0}
    found = clip(generator, **options, **prompted)
    assert found.isfinite().all() and not close(found, clip(generator, **prompted, negative="wind"), 1e-3)


@pytest.mark.parametrize("make", ["plain", "long", "loop", "variation", "continuation"])
def test_a_clip_of_a_batch_is_that_clip_alone(generator, guides, make):
    options = every_guide(guides) | {"guidance_scale": 2.0}
    given = generator.generate(seed=3, seconds=0.15, steps=2, peak_level=0.5)
    options |= {
        "plain": {},
        "long": {"seconds": 0.5},
        "loop": {"seconds": 0.3, "loop": True},
        "variation": {"init_audio": given, "seconds": None},
        "continuation": {"continue_from": given, "seconds": 0.1, "steps": 2},
    }[make]
    several = clip(generator, count=2, **options)
    assert several.isfinite().all()
    assert close(several[0], clip(generator, **options), 1e-4)
    assert not close(several[0], clip(generator, **options | {"classifier": None, "classifier_weight": None}), 1e-3)


@pytest.mark.slow
def test_a_long_continuation_is_guided(generator, guides):
    """More windows than are evaluated at once, through which the gradient of a continuation passes."""
    given = generator.generate(seed=3, seconds=0.15, steps=2, peak_level=0.5)
    options = {"continue_from": given, "seconds": 1.3, "steps": 2}
    found = clip(generator, **options_for("classifier", guides), **options)
    assert found.isfinite().all() and not close(found, clip(generator, **KICK, **options), 1e-3)


def test_the_interval_of_the_model_holds_for_guides(make_music, guides):
    generator = AudioGenerator(make_music(1, guidance=GuidanceSetting(lowest=-2.0, highest=3.0)))
    own = clip(generator, **options_for("classifier", guides))
    assert torch.equal(own, clip(generator, **options_for("classifier", guides), guidance_interval=(-2, 3)))
    assert not close(own, clip(generator, **options_for("classifier", guides), guidance_interval="all"), 1e-4)
    settings = generator.settings(configure(GenerationConfig(), options_for("classifier", guides)))
    assert settings["guidance_interval"] == "-2:3" and settings["guidance_scale"] == 1.0


def test_each_guide_costs_what_it_evaluates(generator, guides):
    calls = []
    networks = {"own": generator.model.network} | {name: guide.model.network for name, guide in guides.items()}
    handles = [
        network.register_forward_pre_hook(lambda _, inputs, name=name: calls.append(name))
        for name, network in networks.items()
    ]
    try:
        clip(generator, **every_guide(guides), steps=4)
        assert {name: calls.count(name) for name in networks} == dict.fromkeys(networks, 4)
        calls.clear()
        clip(generator, **every_guide(guides), steps=4, guidance_interval="30:")
        assert {name: calls.count(name) for name in networks} == dict.fromkeys(guides, 0) | {"own": 4}
    finally:
        for handle in handles:
            handle.remove()


def run(generator_folder, out, *words):
    command = ["generate", "--model", str(generator_folder), "--out", str(out), "--device", "cpu"]
    result = CliRunner().invoke(build(), [*command, "--seconds", "0.1", "--steps", "3", *map(str, words)])
    if isinstance(result.exception, UserError):
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_line_records_guides_and_resumes_only_the_same(make_music, folders, guides, tmp_path):
    folder = tmp_path / "model"
    make_music(1).save_pretrained(folder)
    words = ["--label", "kick", "--classifier", folders["classifier"], "--classifier-weight", 3, "--seed", 1]
    run(folder, tmp_path / "out", *words)
    entries = json.loads((tmp_path / "out" / "0000.wav.json").read_text())
    assert entries["classifier"] == guides["classifier"].digest and entries["classifier_weight"] == 3
    assert entries["autoguidance"] is None and entries["autoguidance_weight"] is None
    expected = clip(AudioGenerator.from_pretrained(folder), **options_for("classifier", guides, 3.0), peak_level=0.9)
    found = read(tmp_path / "out" / "0000.wav").samples
    torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=0, atol=1 / 32767)
    same = run(folder, tmp_path / "out", *words, "--count", 2)
    assert "1 skipped" in same or "skipped 1" in same, same
    words[5] = 4
    assert "another classifier weight (3.0, not 4.0)" in run(folder, tmp_path / "out", *words)
    assert "another classifier (" in run(folder, tmp_path / "out", "--label", "kick", "--seed", 1)


def test_a_guide_may_be_named_by_its_folder(generator, folders, guides):
    by_folder = clip(generator, **KICK, classifier=folders["classifier"])
    assert torch.equal(by_folder, clip(generator, **KICK, classifier=guides["classifier"], classifier_weight=1.0))
    assert GenerationConfig(autoguidance=str(folders["autoguidance"])).autoguidance_weight == 2.0


def test_a_generator_of_another_schedule_or_signal_does_not_guide(
    generator, make_music, make_classifier, audio_text_folder
):
    def refused(message, **options):
        config = configure(GenerationConfig(seconds=0.1), KICK | options)
        for act in (lambda: generator.check(config), lambda: generator.generate(config)):
            with pytest.raises(UserError, match=message) as error:
                act()
            assert "\n" not in str(error.value)

    def guide(name, model):
        return {name: Guide(name, "other", model, "0")}

    other = make_music(1)
    other = type(other)(**other.arguments() | {"schedule": RectifiedFlow()})
    refused("autoguidance other: has another noise schedule", **guide("autoguidance", other))
    refused("autoguidance other: is for channels 2, not 1", **guide("autoguidance", make_music(2)))
    spectrum = make_music(1, spectrum=None)
    refused("autoguidance other: is for another average spectrum", **guide("autoguidance", spectrum))
    refused("autoguidance other: has no labels condition", **guide("autoguidance", make_music(1, labels=())))
    refused("classifier other: is for channels 2, not 1", **guide("classifier", make_classifier(channels=2)))
    refused("classifier other: has nothing to guide to; add --label, of kick, snare", labels=[], **guide(
        "classifier", make_classifier(("kick", "snare"))
    ))  # fmt: skip
    nothing = "embedding_guidance .*: has nothing to guide to; add --prompt"
    refused(nothing, prompt="", embedding_guidance=audio_text_folder)
    refused("label 'kick': the classifier has no such class; choose among bell", **guide(
        "classifier", make_classifier(("bell",))
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classifier_weight": 2}, "classifier_weight 2: has no effect without classifier; add --classifier MODEL"),
        ({"embedding_weight": 2}, "embedding_weight 2: has no effect without embedding_guidance"),
        ({"embedding_guidance": "drums"}, "is a model of type 'audio', not 'audio_text'"),
        ({"classifier": "no/such/model"}, "no/such/model"),
        ({"classifier": "drums"}, "is a model of type 'audio', not 'noisy_classifier'"),
        ({"autoguidance": "speech-16k"}, "is a model of type 'vocoder', not 'audio'"),
        ({"classifier": OTHER}, "classifier: expected a model folder, got Guide embedding_guidance; pass its path"),
        ({"autoguidance": OTHER}, "autoguidance: expected a model folder, got Guide embedding_guidance"),
        ({"autoguidance": 3}, "autoguidance: expected a model folder, got int"),
        ({"autoguidance": "drums", "autoguidance_weight": 1e9}, "autoguidance_weight 1e\\+09: out of range"),
        ({"autoguidance": "drums", "autoguidance_weight": float("nan")}, "autoguidance_weight nan: out of range"),
    ],
)
def test_mistakes_are_one_line(options, message):
    with pytest.raises(UserError, match=message) as error:
        GenerationConfig(**options)
    assert "\n" not in str(error.value)


def test_mistakes_name_the_option_of_the_command_line(make_music, folders, tmp_path):
    make_music(1).save_pretrained(tmp_path / "model")
    found = run(tmp_path / "model", tmp_path / "out", "--classifier-weight", 2)
    assert found.startswith("--classifier-weight 2: has no effect without")
    found = run(tmp_path / "model", tmp_path / "out", "--classifier", folders["classifier"])
    assert found.startswith("--classifier ") and "add --label" in found
    assert "no/such" in run(tmp_path / "model", tmp_path / "out", "--autoguidance", "no/such")


def test_a_clip_that_is_not_finite_says_what_to_lower(generator, guides):
    with pytest.raises(UserError, match=r"lower the guidance scale .* or weights"):
        broken = Guide("classifier", "x", guides["classifier"].model, "0")
        weights = [parameter.detach().clone() for parameter in broken.model.parameters()]
        try:
            with torch.no_grad():
                broken.model.network.conv_out.weight.fill_(torch.nan)
            clip(generator, **KICK, classifier=broken)
        finally:
            with torch.no_grad():
                for parameter, weight in zip(broken.model.parameters(), weights, strict=True):
                    parameter.copy_(weight)
