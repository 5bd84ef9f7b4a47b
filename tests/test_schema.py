"""Every key of every recipe with values that it cannot have: refused in one line by its key, or taken; never a bug."""

import copy
import math
import re

import pytest
from lightning.pytorch.callbacks import Timer
from omegaconf import OmegaConf

from audiodiff import config, schema, train
from audiodiff.errors import UserError
from audiodiff.models.codec import Codec
from audiodiff.nn.autoencoder import Autoencoder

WRONG = (None, "abc", -1, 0, [1], math.nan, 1e308, True, 2.5)
# What a group's values go into when they pass the check.
BUILT = ("data", "callbacks", "logger", "trainer")


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "codec"
    Codec(Autoencoder(channels=[8, 8], blocks=[1, 1]), 22050).save_pretrained(folder)
    return folder


def small(recipe: str, codec) -> OmegaConf:
    """A recipe with a small network, as `train.run` gets it."""
    cfg = config.compose([f"+recipe={recipe}", "folder=run", f"codec={codec}"])
    for name, size in {"channels": 8, "blocks": 1}.items():
        if name in cfg.network:  # a hypernetwork has the layers of its generator
            cfg.network[name] = [size] * len(cfg.network[name])
    return cfg


def keys(node, at=""):
    """Every key below which there is no other."""
    for name in node:
        key = f"{at}.{name}".lstrip(".")
        value = None if OmegaConf.is_interpolation(node, name) else OmegaConf.select(node, str(name))
        if OmegaConf.is_dict(value):
            yield from keys(value, key)
        elif not str(name).startswith("_"):
            yield key


def try_to_build(cfg, key: str) -> None:
    group = key.split(".")[0]
    schema.check(cfg)
    cfg = copy.deepcopy(cfg)  # Hydra resolves some interpolations in place
    if group in BUILT:
        schema.build(cfg, group)
    elif group in ("training", "task", "timestep_sampling", "optimizer", "lr_schedule"):
        schema.build(cfg, "training", model=schema.build(cfg, "model")).configure_optimizers()
    else:
        schema.build(cfg, "model")


@pytest.fixture(scope="module")
def parts(codec) -> dict[str, list[str]]:
    """Keys to try by recipe: a constructor's argument with the same value is tried once."""
    seen, found = set(), {}
    for recipe in config.recipes():
        cfg = small(recipe, codec)
        found[recipe] = []
        for key in keys(cfg):
            at, _, name = key.rpartition(".")
            target = OmegaConf.select(cfg, f"{at}._target_") if at else None
            part = (at.split(".")[0], target or at, name)
            if part not in seen and not key.startswith("hydra"):
                found[recipe].append(key)
                seen.add(part)
    return found


@pytest.mark.parametrize("recipe", sorted(config.recipes()))
def test_every_key_takes_a_wrong_value_or_refuses_it_in_one_line(recipe, codec, parts):
    cfg = small(recipe, codec)
    schema.check(copy.deepcopy(cfg))
    before, refused = OmegaConf.to_container(cfg, resolve=False), 0
    for key in parts[recipe]:
        at, _, name = key.rpartition(".")
        node = OmegaConf.select(cfg, at) if at else cfg
        original = OmegaConf.to_container(node, resolve=False)[name]
        for value in WRONG:
            OmegaConf.update(cfg, key, value, force_add=True)
            try:
                try_to_build(cfg, key)
            except UserError as error:
                refused += 1
                assert "\n" not in str(error)
                assert not re.search(r"audiodiff\.\w+\.|Error in call|full_key|object_type", str(error)), error
        OmegaConf.update(cfg, key, original, force_add=True)
    assert OmegaConf.to_container(cfg, resolve=False) == before
    assert refused >= 2 * len(parts[recipe])


@pytest.mark.parametrize(
    ("recipe", "override", "words"),
    [
        ("speech_mel", "data.batch_size=0", "data.batch_size=0: should be greater than 0"),
        ("speech_mel", "data.workers=-1", "data.workers=-1: should be greater than or equal to 0"),
        ("speech_mel", "data.crop_samples=abc", "data.crop_samples=abc: should be a valid integer"),
        ("speech_mel", "optimizer.lr=abc", "optimizer.lr=abc: should be a valid number"),
        ("speech_mel", "seed=-1", "seed=-1: should be greater than or equal to 0"),
        ("speech_mel", "trainer.precision=64", "trainer.precision=64: should be '32-true', 'bf16-mixed'"),
        ("speech_mel", "trainer.precision=16-mixed", "trainer.precision=16-mixed: should be '32-true'"),
        ("speech_mel", "trainer.max_steps=-7", "trainer: `max_steps` must be a non-negative integer or -1"),
        ("speech_mel", "trainer.devices=0", "trainer: `Trainer(devices=0)`"),
        ("speech_mel", "+trainer.steps=5", "trainer.steps: is not a key there"),
        ("speech_mel", "+data.crop_sample=5", "did you mean crop_samples?"),
        ("speech_mel", "data.batch_size=0", "set data.batch_size to a number above 0"),
        ("speech_mel", "data.workers=-1", "set data.workers to 0 or more"),
        ("speech_mel", "trainer.precision=64", "set trainer.precision to '32-true', 'bf16-mixed'"),
        ("speech_mel", "trainer.max_time=abc", "trainer.max_time=abc: should be days:hours:minutes:seconds"),
        ("speech_mel", "trainer.max_time={minute:5}", 'set trainer.max_time to "00:00:08:00"'),
        ("speech_mel", "trainer.max_time={minutes:-5}", "trainer.max_time={'minutes': -5}: should be"),
        ("speech_mel", "optimizer.lr={a:1}", "optimizer.lr={'a': 1}: should be a valid number"),
        ("speech_mel", "sampler.name=euler", "sampler.name=euler: should be 'ddpm'"),
        ("speech_mel", "sampler.name=heun sampler.steps=1", "heun needs at least 2"),
        ("speech_mel", "task.gain=1", "task.gain=1: should be a list"),
        ("speech_mel", "schedule=null", "schedule"),
        ("speech_mel", "network=null", "network"),
        ("speech_mel", "data=null", "data: is required"),
        ("drums", "data.labels=ambient", "data.labels=ambient: should be a list; write data.labels=[ambient]"),
        ("drums", "data.channels=3", "data.channels=3: should be 1 or 2"),
        ("drums", "data.path=null", "data.path=null: should be a valid string"),
        ("music_latent", "name=x", "data.codec: is not set; set data.codec=..."),
    ],
)
def test_what_is_wrong_is_said_by_its_key(recipe, override, words, tmp_path):
    with pytest.raises(UserError) as caught:
        cfg = config.compose([f"+recipe={recipe}", f"folder={tmp_path}", *override.split()])
        schema.check(cfg)
        schema.build(cfg, "trainer")
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("duration", ["{minutes: 5}", "00:00:05:00", "{hours: 0, seconds: 300.0}"])
def test_a_duration_is_a_clock_or_its_units(duration, tmp_path):
    cfg = config.compose([f"folder={tmp_path}", f"trainer.max_time={duration}"])
    schema.check(cfg)
    (timer,) = (c for c in schema.build(cfg, "trainer").callbacks if isinstance(c, Timer))
    assert timer.time_remaining() == 300


@pytest.mark.parametrize("recipe", ["speech_mel", "speech_text", "drums"])
def test_data_of_every_kind_may_be_several_folders(recipe, tmp_path):
    cfg = config.compose([f"+recipe={recipe}", f"folder={tmp_path}", "data.path=[one,two]"])
    schema.check(cfg)
    assert list(cfg.data.path) == ["one", "two"]


def test_numbers_of_another_type_become_what_is_asked_for(tmp_path):
    cfg = config.compose(["trainer.max_steps=1e3", "data.batch_size='8'", "optimizer.lr=1", f"folder={tmp_path}"])
    schema.check(cfg)
    assert (cfg.trainer.max_steps, cfg.data.batch_size, cfg.optimizer.lr) == (1000, 8, 1)
    assert type(cfg.trainer.max_steps) is type(cfg.data.batch_size) is int


@pytest.mark.parametrize("override", ["optimizer.lr=-1", "optimizer.betas=[2,3]"])
def test_an_optimizer_that_refuses_is_named(override, codec):
    cfg = small("speech_mel", codec)
    OmegaConf.update(cfg, *override.split("=")) if "[" not in override else setattr(cfg.optimizer, "betas", [2, 3])
    schema.check(cfg)
    module = schema.build(cfg, "training", model=schema.build(cfg, "model"))
    with pytest.raises(UserError, match=r"^optimizer: Invalid"):
        module.configure_optimizers()


SMOKE = ("debug=smoke", "network.channels=[8,8]", "callbacks.progress_bar=null", "+trainer.enable_progress_bar=false")


@pytest.mark.parametrize(
    "overrides",
    [("logger=null",), ("excitation=null", "timestep_sampling=null"), ("callbacks.ema=null", "trainer.max_steps=1")],
)
def test_parts_that_may_be_left_out_are(overrides, tmp_path):
    cfg = config.compose(["+recipe=speech_mel", *SMOKE, *overrides, f"folder={tmp_path}"])
    assert math.isfinite(train.run(cfg, tmp_path))
    assert (tmp_path / "tensorboard").exists() == ("logger=null" not in overrides)


@pytest.mark.parametrize(
    ("recipe", "samples", "words"),
    [
        ("speech_mel", 255, "data.crop_samples 255: is shorter than a mel frame"),
        ("speech_few_step", 100, "data.crop_samples 100: is shorter than a mel frame"),
        ("autoencoder", 1500, "data.crop_samples 1500: is not a multiple of 1024"),
        ("music_latent", 1500, "data.crop_samples 1500: is not a multiple of 1024"),
    ],
)
def test_crops_that_hold_no_frame_are_refused_before_the_first_step(recipe, samples, words, tmp_path):
    cfg = config.compose([f"+recipe={recipe}", *SMOKE, f"data.crop_samples={samples}", f"folder={tmp_path}"])
    with pytest.raises(UserError, match=re.escape(words)):
        train.run(cfg, tmp_path)


def test_a_run_that_diverged_ends_in_one_line(tmp_path):
    cfg = config.compose(["+recipe=speech_mel", *SMOKE, "optimizer.lr=1e308", f"folder={tmp_path}"])
    with pytest.raises(UserError, match=r"diverged: .*; lower optimizer.lr"):
        train.run(cfg, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [100, 512, 513])
def test_crops_of_music_may_be_short(samples, tmp_path):
    cfg = config.compose(["+recipe=drums", *SMOKE, f"data.crop_samples={samples}", f"folder={tmp_path}"])
    assert math.isfinite(train.run(cfg, tmp_path))


# A hypernetwork has the layers of its generator and no channels: tests/training/test_hypernetwork_training.py.
SMOKING = sorted(config.recipes().keys() - {"sounds_hypernetwork"})


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SMOKING)
def test_smoke_needs_no_data_for_any_recipe(recipe, tmp_path):
    words = [f"+recipe={recipe}", "debug=smoke", f"folder={tmp_path}"]
    if "teacher" in config.compose(words).task:  # which is another run's model
        kind = "speech_text" if recipe.startswith("voice") else "drums"
        teacher = config.compose([f"+recipe={kind}", "debug=smoke", f"folder={tmp_path / 'teacher'}"])
        train.run(teacher, tmp_path / "teacher")
        words.append(f"init_from={tmp_path / 'teacher/model'}")
    cfg = config.compose(words)
    assert math.isfinite(train.run(cfg, tmp_path))
    assert (tmp_path / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("recipe", SMOKING)
def test_smoke_makes_its_data(recipe, tmp_path):
    cfg = config.compose([f"+recipe={recipe}", "debug=smoke", f"folder={tmp_path}"])
    schema.check(cfg)
    schema.build(cfg, "prepare")
    data = schema.build(cfg, "data")
    data.setup("fit")
    assert len(data.crops.manifest) and 0 < data.crops.samples <= 8192  # sentences are whole
    assert schema.build(cfg, "model").network is not None
