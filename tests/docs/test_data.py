"""The commands of docs/data.md, on a tiny model and codec; and the table of effects, which is that of the presets."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiodiff import config, train
from audiodiff.data.preparation import prepare

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
TRAININGS = [line.removeprefix("python train.py ") for line in LINES if line.startswith("python train.py")]
RATE, CROP = 8000, 2048
SMALL = (f"data.sample_rate={RATE}", f"data.crop_samples={CROP}", "data.workers=0", "trainer.accelerator=cpu")
CODEC = ("network.latents=4", "network.hop_length=32", "network.channels=[16,16]", "network.blocks=[1,1]")
LATENT = (
    *("network.frontend.channels=4", "network.channels=[16,16]", "network.blocks=[1,1]", "data.batch_size=2"),
    *("network.token_channels=16", "model.conditioners.prompt.layers=1", "model.conditioners.prompt.heads=2"),
    *("callbacks.samples.clips=1", "callbacks.samples.steps=2", "trainer.max_time=null", "logger=null"),
)


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    """Captioned bursts, prepared as the page says, and a codec trained on them for two steps."""
    root = tmp_path_factory.mktemp("data")
    (root / "my_sounds").mkdir()
    for number, name in enumerate(("rain", "wind", "kick", "snare", "bell", "horn")):
        burst = 0.1 * np.random.default_rng(number).standard_normal(4000) * np.linspace(1, 0, 4000)
        soundfile.write(root / "my_sounds" / f"{name}.wav", burst, RATE)
    words = shlex.split(LINES[0])
    assert words[:3] == ["audiodiff", "prepare", "folder:my_sounds"] and "--captions" in words
    prepare([f"folder:{root / 'my_sounds'}"], root / "prepared", captions=True)
    recipe = [
        "+recipe=autoencoder",
        *SMALL,
        *CODEC,
        "data.channels=1",
        f"data.path={root / 'prepared'}",
        "data.batch_size=2",
    ]
    limits = [
        "trainer.max_steps=2",
        "trainer.max_time=null",
        "callbacks.samples.statistics_crops=4",
        f"folder={root / 'codec'}",
    ]
    train.run(config.compose([*recipe, *limits]), root / "codec")
    return root


@pytest.mark.parametrize("line", TRAININGS)
def test_training_commands_train(line, codec, tmp_path):
    words = [word for word in shlex.split(line) if not word.startswith(("init_from=", "data.path=", "data.copies="))]
    own = [f"data.path={codec / 'prepared'}", f"data.codec={codec / 'codec' / 'model'}", "trainer.max_steps=2"]
    folder = tmp_path / "run"
    train.run(
        config.compose([*words, *SMALL, *LATENT, *own, "trainer.val_check_interval=2", f"folder={folder}"]), folder
    )
    assert (folder / "model" / "config.json").is_file()


def test_the_table_is_that_of_the_presets():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.+) \| .+ \|$", PAGE, re.MULTILINE))
    sounds = dict(re.findall(r"^\| `(\w+)` \|.*\| .+ \| (.+) \|$", PAGE, re.MULTILINE))
    for preset, recipe, shown in (("speech", "speech_mel", rows), ("sound", "sounds", sounds)):
        effects = config.compose([f"+recipe={recipe}", f"augmentation={preset}"]).data.augmentation
        assert set(shown) == set(effects) - {"_target_"}
        for name, described in shown.items():
            assert (effects[name] is None) == described.startswith("off"), name
