"""The training command on each recipe of distillation: it starts from its teacher, resumes exactly, and exports."""

import json
import shutil

import pytest
import torch

from audiodiff import config, train
from audiodiff.errors import UserError
from audiodiff.models.audio_model import AudioModel

TINY = (
    *("debug=smoke", "network.channels=[8,8]", "network.blocks=[1,1]", "network.frontend.n_fft=256"),
    *("network.frontend.hop_length=64", "data.sample_rate=8000", "data.crop_samples=2048"),
    *("data.labels=[low,high]", "callbacks.samples.clips=1", "callbacks.samples.steps=2"),
    *("callbacks.progress_bar=null", "+trainer.enable_progress_bar=false"),
)
RECIPES = {
    "drums_progressive": ("task.teacher_steps=4", "task.stage_steps=2"),
    "drums_consistency": ("task.doubling_steps=2", "task.target_decay=0.9"),
    "drums_consistency_training": ("task.doubling_steps=2",),
    "drums_energy": ("task.steps=[1,2]",),
    "drums_adversarial": ("task.steps=[1,2]",),
    "drums_guidance": (),
}


def run(folder, recipe, *words, tones) -> None:
    cfg = config.compose([f"+recipe={recipe}", *TINY, f"folder={folder}", f"data.path={tones}", *words])
    train.run(cfg, folder)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A denoiser that has trained for two steps, and its data."""
    root = tmp_path_factory.mktemp("teacher")
    run(root / "run", "drums", "task.spectrum_crops=4", tones=root / "tones")
    return root / "run" / "model", root / "tones"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_resumes_bit_for_bit_and_says_what_the_student_is(recipe, teacher, tmp_path):
    """Resumed at step 2, where the progressive student becomes the teacher; the teacher's folder is gone by then."""
    model, tones = teacher
    # The rate of a cosine would follow `max_steps`, in which the two runs differ on the way.
    words = ["trainer.val_check_interval=2", "lr_schedule.final_ratio=1.0", *RECIPES[recipe]]
    mine = tmp_path / "teacher"
    shutil.copytree(model, mine)
    for folder, stops in (("whole", (4,)), ("broken", (2, 4))):
        for number, stop in enumerate(stops):
            own = [*words, f"init_from={mine}", f"trainer.max_steps={stop}", f"resume={'true' if number else 'null'}"]
            run(tmp_path / folder, recipe, *own, tones=tones)
            if number:
                continue
            if folder == "broken":
                shutil.rmtree(mine)
    files = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "broken")]
    assert files[0].read_bytes() == files[1].read_bytes()
    states = [
        torch.load(tmp_path / name / "checkpoints" / "step=000000004.ckpt", weights_only=True)["task"]
        for name in ("whole", "broken")
    ]
    assert flat(states[0]) == flat(states[1])
    student = AudioModel.from_pretrained(tmp_path / "whole" / "model")
    expected = {"drums_progressive": (1,), "drums_consistency": (1, 2, 4), "drums_consistency_training": (1, 2, 4),
                "drums_energy": (1, 2), "drums_adversarial": (1, 2)}  # fmt: skip
    assert (student.distillation is None) == (recipe == "drums_guidance")
    if student.distillation is not None:
        assert student.distillation.steps == expected[recipe]
        assert [grid.steps for grid in student.grids] == list(expected[recipe])
        card = (tmp_path / "whole" / "model" / "README.md").read_text()
        assert f"Distilled: {student.distillation}" in card
    record = json.loads((tmp_path / "whole" / "model" / "config.json").read_text())["training"]
    assert record["started_from"]["hash"]


def flat(state) -> list:
    """All values of a nested state, tensors as lists."""
    if isinstance(state, torch.Tensor):
        return [state.tolist()]
    if isinstance(state, dict):
        return [value for key in sorted(state, key=str) for value in flat(state[key])]
    return [value for item in state for value in flat(item)] if isinstance(state, list | tuple) else [state]


@pytest.mark.slow
def test_a_teacher_of_another_type_and_a_missing_one_are_refused(teacher, tmp_path):
    _, tones = teacher
    with pytest.raises(UserError, match="type 'vocoder', not 'audio'") as caught:
        run(tmp_path / "other", "drums_progressive", "init_from=speech-16k", tones=tones)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="set init_from=MODEL"):
        run(tmp_path / "none", "drums_progressive", *RECIPES["drums_progressive"], tones=tones)
