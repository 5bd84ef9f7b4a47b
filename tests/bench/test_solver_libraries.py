"""The peers' libraries, where the extra `bench` is installed."""

import math

import pytest
import solver_papers
import torch
from solver_problems import KINDS

pytest.importorskip("azula", reason="the extra bench is not installed")
pytest.importorskip("diffusers", reason="the extra bench is not installed")

import solver_azula
import solver_diffusers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PEERS = solver_azula.peers() | solver_diffusers.peers()
# Median errors on a member of family "a" whose draw was not kept (see test_solver_papers.py), at 5, 10, 20 and 50
# nfe of the libraries at these versions.
MEASURED = {
    "azula zEAB3 logSNR": (0.0759, 0.0101, 0.0012, 6.3e-05),
    "azula xEAB2 karras": (0.5271, 0.1437, 0.0308, 0.0040),
    "azula vAB3 karras": (0.5295, 0.0585, 0.0091, 6.7e-04),
    "diffusers DDIM trailing": (0.1335, 0.0731, 0.0387, 0.0162),
    "diffusers DPM++2M": (0.1091, 0.0470, 0.0186, 0.0045),
    "diffusers DPM++3M clip sigma_min": (0.1000, 0.0428, 0.0495, 0.0089),
    "diffusers UniPC2 bh2": (0.0910, 0.0392, 0.0152, 0.0039),
    "diffusers EDM-DPM++2M karras": (0.2398, 0.1009, 0.0212, 0.0028),
    "diffusers EDM-DPM++3M karras": (0.4583, 0.2208, 0.0092, 3.9e-04),
    "diffusers EDM Euler karras": (0.2470, 0.1144, 0.0580, 0.0235),
    "diffusers LMS4": (0.1230, 0.0371, 0.0115, 0.0025),
    "diffusers DEIS3": (0.1119, 0.0482, 0.0147, 0.0029),
    "diffusers PNDM leading": (0.1521, 0.0616, 0.0305, 0.0119),
}


@pytest.fixture(scope="module")
def member():
    return KINDS["a"](22)


@pytest.mark.parametrize("name", MEASURED)
def test_known_rows_are_reproduced(name, member):
    found = [member.errors(PEERS[name](member, nfe)).median for nfe in (5, 10, 20, 50)]
    assert found == pytest.approx(MEASURED[name], rel=0.12)


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_keeps_to_its_budget_and_answers(name, member):
    answers = [PEERS[name](member, nfe) for nfe in (6, 7)]
    assert all(nfe - 1 <= answer.nfe <= nfe for nfe, answer in zip((6, 7), answers, strict=True))
    assert all(bool(torch.isfinite(answer.y).all()) for answer in answers)
    assert member.errors(PEERS[name](member, 50)).median < (5 if "Heun" in name else 0.06)


@pytest.mark.parametrize("kind", ["xEAB", "zEAB"])
def test_azula_of_order_one_is_ddim(kind, member):
    sampler = solver_azula.azula_sampler(
        getattr(solver_azula.azula.sample, f"{kind}Sampler"), 1, solver_azula.exponential
    )
    ours = solver_papers.peers()["official DDIM logSNR"](member, 7)
    assert torch.allclose(sampler(member, 7).y, ours.y, atol=1e-9)


@pytest.mark.parametrize("spacing", [solver_azula.karras, solver_azula.exponential, solver_azula.even_angle])
def test_grids_fall_from_end_to_end(spacing):
    grid = spacing(160.0, 0.0064, 9)
    assert len(grid) == 10 and grid[0] == pytest.approx(160) and grid[-1] == pytest.approx(0.0064)
    assert (grid[1:] < grid[:-1]).all()


def test_edm_of_order_one_is_euler(member):
    first = solver_diffusers.preconditioned(
        lambda: solver_diffusers.diffusers.EDMDPMSolverMultistepScheduler(solver_order=1, **solver_diffusers.EDM)
    )
    euler = PEERS["diffusers EDM Euler karras"](member, 7)
    assert (first(member, 7).y - euler.y).abs().max() < 1e-4
    assert math.tan(euler.start) == pytest.approx(160, rel=1e-6) and euler.stop == 0
