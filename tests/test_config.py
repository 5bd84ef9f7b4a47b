"""The vocabulary (conf/), the sentences (recipes/), and the guard against misspelt ones."""

import re
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from audiodiff import config, runs
from audiodiff.audio.mel import PRESETS
from audiodiff.diffusion.samplers import presets
from audiodiff.errors import UserError
from audiodiff.models.codec import Codec
from audiodiff.nn.autoencoder import Autoencoder

RECIPES = {
    *("drums_adversarial", "drums_consistency", "drums_consistency_training", "drums_energy", "drums_guidance"),
    "drums_progressive",
    *(
        "audio_text",
        "autoencoder",
        "drums",
        "music_latent",
        "music_uncond",
        "noisy_classifier",
        "sounds",
        "sounds_hypernetwork",
    ),
    *("speech_few_step", "speech_mel", "speech_mel_24k", "speech_mel_long", "speech_own_voice"),
    *("speech_text", "super_resolution", "restoration", "voice_progressive"),
}
GROUPS = {
    folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
    for folder in config.conf_folder().iterdir()
    if folder.is_dir()
}
# What is prepared writes files: tests/test_schema.py does so in a folder of its own.
LISTS = [f"{group}={name}" for group, names in GROUPS.items() for name in names if group != "prepare"]
# Composing takes a while: the i-th composition takes the i-th file of every group (the last one of a shorter group).
# What goes together, and with nothing else: by its first line a model of a kind.
FAMILIES = (
    ("model=audio", "network=music", "data=audio", "task=denoising", "callbacks=audio"),
    ("model=codec", "network=autoencoder", "data=audio", "task=codec", "callbacks=codec"),
    ("model=latent_audio", "network=latent", "data=latents", "task=denoising", "callbacks=audio"),
    ("model=rhythmic_latent_audio", "network=latent", "data=latents", "task=denoising", "callbacks=audio"),
    ("model=prompted_audio", "network=music", "data=audio", "task=denoising", "callbacks=audio"),
    ("model=prompted_latent_audio", "network=latent", "data=latents", "task=denoising", "callbacks=audio"),
    ("model=audio_text", "network=audio_encoder", "data=audio", "task=contrastive", "callbacks=audio_text"),
    ("model=noisy_classifier", "network=classifier", "data=audio", "task=classification", "callbacks=classifier"),
    ("model=noisy_classifier", "network=latent_classifier", "data=latents", "task=classification"),
    ("model=hypernetwork", "network=hypernetwork", "data=subjects", "task=hypernetwork", "callbacks=hypernetwork"),
    ("model=hypernetwork", "network=hypernetwork", "data=latent_subjects", "task=hypernetwork"),
    ("task=few_step", "sampler=ddim"),
    ("model=guided_audio", "network=music", "data=audio", "task=guidance", "callbacks=audio"),
    ("model=audio", "network=music", "data=audio", "task=progressive", "sampler=ddim", "lr_schedule=staged_linear"),
    ("model=audio", "network=music", "data=audio", "task=consistency_distillation", "sampler=consistency"),
    ("model=audio", "network=music", "data=audio", "task=consistency_training", "sampler=consistency"),
    ("model=audio", "network=music", "data=audio", "task=adversarial", "sampler=consistency"),
    ("model=audio", "network=music", "data=audio", "task=energy_distance", "sampler=ddim"),
    ("audio=speech_16k_fine", "model=upsampler", "network=upsampler", "task=upsampling", "callbacks=upsampler"),
    ("audio=speech_16k_fine", "model=upsampler", "network=upsampler", "task=few_step_upsampling", "sampler=ddim"),
    ("audio=speech_16k_fine", "model=restorer", "network=restorer", "task=restoration", "callbacks=restorer"),
    ("audio=vocos_24k", "model=acoustic", "network=mel", "data=sentences", "task=acoustic", "callbacks=acoustic"),
    ("audio=vocos_24k", "model=acoustic_reference", "network=mel", "data=sentences", "task=acoustic"),
)
PLACES = {"weighting": "objective.weighting", "augmentation": "data.augmentation"}
KEPT = {choice for family in FAMILIES for choice in family}
ALONE = {
    group: [name for name in names if f"{group}={name}" not in KEPT]
    for group, names in GROUPS.items()
    if group not in ("debug", "prepare")
}
SLICES = [
    tuple(f"{group}={names[min(i, len(names) - 1)]}" for group, names in ALONE.items())
    for i in range(max(map(len, ALONE.values())))
]
CHOICES = [*FAMILIES, *SLICES, *((f"debug={name}",) for name in GROUPS["debug"])]


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """Compositions that use every file of conf/ at least once."""
    folder = tmp_path_factory.mktemp("run")
    Codec(Autoencoder(latents=64, channels=[8, 8], blocks=[1, 1]), 22050).save_pretrained(folder / "codec")
    codec, tokens = f"data.codec={folder / 'codec'}", "+network.token_channels=192"
    guided = ["generator=drums", "data.labels=[kick]"]
    latent = ["generator=music", "data.codec=music", "data.labels=[kick]"]
    more = {
        ("model=latent_audio", "network=latent"): [codec],
        ("model=rhythmic_latent_audio", "network=latent"): [codec],
        ("model=prompted_audio", "network=music"): [tokens],
        ("model=prompted_latent_audio", "network=latent"): [codec, tokens],
        ("model=audio_text", "network=audio_encoder"): ["data.sample_rate=22050"],
        ("model=noisy_classifier", "network=classifier"): [*guided, "data.sample_rate=22050", "data.channels=1"],
        ("model=noisy_classifier", "network=latent_classifier"): latent,
        ("data=subjects", "task=hypernetwork"): ["generator=drums"],
        ("data=latent_subjects", "task=hypernetwork"): ["generator=sounds"],
    }
    return [
        config.compose([*choice, f"folder={folder}", *more.get(choice[:2], more.get(choice[2:4], []))])
        for choice in CHOICES
    ]


def test_groups_are_those_of_the_design():
    names = (
        "model network schedule objective weighting prior excitation sampler audio data optimizer lr_schedule "
        "timestep_sampling augmentation task training trainer callbacks logger prepare debug adapter"
    )
    assert set(GROUPS) == set(names.split())
    assert all(GROUPS.values())


def test_every_file_instantiates(composed):
    done = set()
    for cfg, choices in zip(composed, CHOICES, strict=True):
        for choice in sorted(set(choices) - done):
            group = choice.split("=")[0]
            if group in ("debug", "sampler"):  # a debug file changes other groups, a sampler is looked up by name
                continue
            if group == "training":
                assert instantiate(cfg.training, model=instantiate(cfg.model)).model.TYPE
                continue
            made = instantiate(OmegaConf.select(cfg, PLACES.get(group, group)))
            for part in made.values() if group == "callbacks" else [made]:
                assert not OmegaConf.is_config(part), f"{choice} makes no component"
        done |= set(choices)
    assert done == set(LISTS)


def test_every_sampler_file_names_a_preset(composed):
    seen = set()
    for cfg in composed:
        assert presets.build(cfg.sampler.name, cfg.sampler.steps).nfe == cfg.sampler.steps
        seen.add(cfg.sampler.name)
    assert seen == set(GROUPS["sampler"])


@pytest.mark.parametrize("name", GROUPS["audio"])
def test_audio_files_are_the_presets_field_by_field(name):
    file = config.conf_folder() / "audio" / f"{name}.yaml"
    spec = instantiate(OmegaConf.load(file))
    assert PRESETS[name].differences(spec) == []


def test_training_module_is_built_of_the_parts(composed):
    cfg = composed[-1]
    model = instantiate(cfg.model)
    module = instantiate(cfg.training, model=model)
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}


def test_every_recipe_composes_and_is_short():
    found = config.recipes()
    assert set(found) == RECIPES
    for name, file in found.items():
        assert len(file.read_text().splitlines()) <= 30, file
        assert config.compose([f"+recipe={name}"]).name == name


def test_debug_has_the_last_word():
    """Of any recipe, which has its own bounds on steps and time."""
    *_, before, last = OmegaConf.load(config.conf_folder() / "train.yaml").defaults
    assert (dict(before), dict(last)) == ({"recipe": None}, {"debug": None})
    for words in (["+recipe=drums", "debug=smoke"], ["debug=smoke", "recipe=drums"]):
        trainer = config.compose(words).trainer
        assert (trainer.max_steps, trainer.max_time) == (2, None)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["+recipe=nope"], "nope"),
        (["+recpe=speech_mel"], "recpe"),
        (["+recipe=speech_mel", "+datta=x"], "datta"),
        (["datta=x"], "datta"),
        (["+model/nope=y"], "model/nope"),
        (["network=nope"], "network/nope"),
        (["data.pth=x"], "data.pth"),
        (["speech_mel"], "speech_mel"),
    ],
)
def test_misspelt_command_lines_are_refused_in_one_line_that_names_the_recipes(arguments, wrong):
    with pytest.raises(UserError) as caught:
        config.check(arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert wrong in line
    assert f"recipes: {', '.join(sorted(RECIPES))}" in line
    assert "groups: adapter, audio, augmentation, callbacks" in line


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["+recipe=speech_mell"], "speech_mel"),
        (["+recpe=speech_mel"], "recipe"),
        (["network=stfft"], "stft"),
        (["trainr=quick"], "trainer"),
        (["data.batchsize=4"], "data.batch_size"),
        (["+recipe=drums", "data.max_second=4"], "data.max_seconds"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_one(arguments, meant):
    with pytest.raises(UserError, match=rf"did you mean {re.escape(meant)}\?"):
        config.check(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "+recipe=speech_mel", "debug=smoke", "seed=1,2"],
        ["+recipe=speech_mel", "hydra.run.dir=elsewhere"],
        ["--cfg", "job", "+recipe=speech_mel"],
        ["-m", "network=stft,strided", "network.channels=[32,32],[64,64]", "seed=range(1,3)"],
    ],
)
def test_command_lines_that_are_right_pass(arguments):
    config.check(arguments)


def test_folders_of_recipes_come_from_the_environment(tmp_path, monkeypatch):
    folder = tmp_path / "mine" / "whisper"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("# @package _global_\nname: whisper\nseed: 7\n")
    monkeypatch.setenv("AUDIODIFF_RECIPES", str(tmp_path / "mine"))
    assert set(config.recipes()) == RECIPES | {"whisper"}
    cfg = config.compose(["+recipe=whisper"])
    assert (cfg.name, cfg.seed) == ("whisper", 7)
    with pytest.raises(UserError, match=r"recipes: .*whisper"):
        config.check(["+recipe=nope"])


def test_missing_folder_of_recipes_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIODIFF_RECIPES", str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"absent: .*; correct AUDIODIFF_RECIPES"):
        config.recipes()


def test_recipe_that_is_no_yaml_is_named(monkeypatch, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "recipe.yaml").write_text("a: [1\nb: }")
    monkeypatch.setenv("AUDIODIFF_RECIPES", str(tmp_path))
    with pytest.raises(UserError, match=r"broken/recipe.yaml: is not a recipe .*; correct its YAML"):
        config.register()


def test_run_folder_is_new_the_last_or_the_one_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runs.run_folder("speech_mel", None, "now") == "runs/speech_mel/now"
    assert runs.run_folder("speech_mel", "runs/other/then", "now") == "runs/other/then"
    assert runs.run_folder("speech_mel", "last", "now") == "runs/speech_mel/now"
    for stamp in ("2026-01-01_00-00-00", "2026-01-02_00-00-00"):
        Path("runs/speech_mel", stamp, "checkpoints").mkdir(parents=True)
    Path("runs/speech_mel/2026-01-03_00-00-00").mkdir()
    Path("runs/other/2026-01-04_00-00-00/checkpoints").mkdir(parents=True)
    assert runs.run_folder("speech_mel", "last", "now") == "runs/speech_mel/2026-01-02_00-00-00"


def test_files_of_conf_say_what_they_build():
    """Configuration equals constructor: a file has a target, or only overrides others."""
    for group, names in GROUPS.items():
        for name in names:
            keys = set(OmegaConf.load(config.conf_folder() / group / f"{name}.yaml"))
            nested = group in ("callbacks", "debug", "prepare", "sampler") or "defaults" in keys
            assert nested or "_target_" in keys, f"{group}/{name}"
