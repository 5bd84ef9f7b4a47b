"""A sampler's table as text: the printed rows are the published equations of DDIM and DPM-Solver++ 2M."""

import math
import re

import pytest
import torch

from audiodiff.diffusion import DDIM, Ancestral, Cosine, Multistep, ShiftedLogSNR, Step, Table

GRID = torch.tensor([0.9, 0.7, 0.4, 0.2], dtype=torch.float64)


def coefficients(line: str) -> dict[str, float]:
    """The right-hand side of the last equation of a line, by symbol."""
    right = line.rpartition(" = ")[2].replace("- ", "-").replace("+ ", "")
    found = re.findall(r"(-?)(\S*?) ?([xDfz]_\d+)", right)
    return {symbol: float(sign + (factor or "1")) for sign, factor, symbol in found}


def test_ddim_reads_as_its_equation():
    """Song et al. (arXiv 2010.02502), eq. 12: x_s = alpha_s x0 + sigma_s (x_t - alpha_t x0) / sigma_t."""
    schedule = Cosine()
    lines = str(DDIM(3, grid=GRID).table(schedule)).splitlines()
    levels = schedule.levels(GRID)
    for n, (line, t, s) in enumerate(zip(lines, levels, levels[1:], strict=False)):
        carry = s.sigma / t.sigma
        expected = {f"x_{n}": carry, f"D_{n}": s.alpha - carry * t.alpha}
        assert line.startswith(f"t_{n} = {t.t:g}:") and f"x_{n + 1} = " in line
        assert coefficients(line) == pytest.approx(expected, rel=1e-5)
    assert len(lines) == 3


def test_dpmpp_2m_reads_as_its_equation():
    """Lu et al. (arXiv 2211.01095), eq. 9 and algorithm 2, with the exact integral of the line through both estimates.

    x_s = sigma_s / sigma_t x_t + alpha_s (1 - e^-h) D_n + alpha_s (h - 1 + e^-h) (D_n - D_(n-1)) / h_last, with
    h = lambda_s - lambda_t. (Algorithm 2 has (1 - e^-h) / 2 for (h - 1 + e^-h) / h: equal up to the order of the step.)
    """
    schedule = Cosine()
    lines = str(Multistep(3, 2, "x0", GRID).table(schedule)).splitlines()
    levels = schedule.levels(GRID)
    half = [level.log_snr / 2 for level in levels]
    for n in (1, 2):
        t, s, h, last = levels[n], levels[n + 1], half[n + 1] - half[n], half[n] - half[n - 1]
        slope = s.alpha * (h - 1 + math.exp(-h)) / last
        expected = {
            f"x_{n}": s.sigma / t.sigma,
            f"D_{n}": s.alpha * (1 - math.exp(-h)) + slope,
            f"D_{n - 1}": -slope,
        }
        assert coefficients(lines[n]) == pytest.approx(expected, rel=1e-5)
    assert coefficients(lines[0]).keys() == {"x_0", "D_0"}


def test_noise_and_other_features_are_written():
    table = Table(
        [
            Step(1.0, (1.0,), (-0.5,), feature=(0.25, -1.0), noise=0.75),
            Step(0.5, (0.0,), (1.0,)),
            Step(0.25, (0.0,), (0.0,)),
        ]
    )
    assert str(table) == (
        "t_0 = 1:  f_0 = 0.25 x_0 - D_0   x_1 = x_0 - 0.5 f_0 + 0.75 z_0\nt_1 = 0.5:  x_2 = D_1\nt_2 = 0.25:  x_3 = 0"
    )


def test_a_table_of_a_schedule_is_that_of_its_denoisers(gaussian):
    for sampler in (Ancestral(4), Multistep(4, 2, "v")):
        assert sampler.table(gaussian) == sampler.table(gaussian.schedule)
    shifted = ShiftedLogSNR(Cosine(), -1.0)  # has a schedule, and is one
    assert DDIM(3).table(shifted) == DDIM(3).steps(shifted, DDIM(3).grid_for(shifted))
