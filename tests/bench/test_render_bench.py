"""The bench of rendering in bulk, on a small model."""

import argparse

import pytest
import torch

from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.options import GenerationConfig

pytest.importorskip("diffusers", reason="the extra bench is not installed")

import render as bench

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_the_pipeline_of_diffusers_samples_the_same_network(make_music):
    """With many steps both integrate the same flow: from one noise to one clip."""
    generator = AudioGenerator(make_music(channels=1))
    config = GenerationConfig(steps=60, sampler="ddim", peak_level=0, conditions={"labels": ["kick"]})
    unet = bench.Velocity(generator, config)
    x = torch.randn(1, 1, generator.model.samples, generator=torch.Generator().manual_seed(0))
    denoiser, condition = unet.steered[1]
    alpha, sigma = torch.cos(torch.tensor(0.3 * torch.pi / 2)), torch.sin(torch.tensor(0.3 * torch.pi / 2))
    v = unet(x, torch.tensor(0.3)).sample
    torch.testing.assert_close(alpha * x - sigma * v, denoiser(x, 0.3, condition), rtol=1e-4, atol=1e-4)
    made = list(bench.peer(generator, config, 8)(8))
    assert len(made) == 8 and {clip.shape for clip in made} == {(1, generator.model.samples)}


def test_rows_start_and_memory_is_read(make_music, tmp_path):
    make_music().save_pretrained(tmp_path / "model")
    (tmp_path / "rows").mkdir()
    seconds, megabytes = bench.begin(str(tmp_path / "model"), 100, tmp_path / "rows")
    assert 0 < seconds < 60 and megabytes < 500
    assert all(value > 10 for value in bench.growth(str(tmp_path / "model"), 32, tmp_path / "out"))


def test_the_report_names_its_command():
    names = ("loop", "render, 1 worker", "render, 2 workers")
    speeds = [bench.Speed(name, rate, 1.0) for name, rate in zip(names, (1.0, 2.0, 3.8), strict=True)]
    arguments = argparse.Namespace(clips=64, steps=10, rows=50_000, model="drums")
    text = bench.report(speeds, (3.0, 40.0), (900.0, 901.0), arguments)
    assert "`python bench/render.py --clips 64 --steps 10`" in text and "1.90 times as fast as one" in text
