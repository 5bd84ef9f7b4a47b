"""The schedulers of diffusers, each run as its authors mean it to be run.

A scheduler gets a number of steps and is called step by step. Its process is the cosine
one of 1000 steps ("squaredcos_cap_v2"); `lambda_min_clipped` = -5.1, which its documentation advises for this
process, is "clip". Networks predict v where they can, which loses the fewest digits: the arithmetic is partly float32.
The network gets the true noise level of the state: `sigmas` of the scheduler where it keeps them, else the
level of the time it names. Three conventions occur:

- variance preserving states (DDIM, PNDM, DPM++, DEIS, UniPC);
- y = x / alpha, divided by sqrt(1 + u^2) for the network (Heun, LMS);
- y with the preconditioning of Karras et al. (arXiv 2206.00364) around the network (EDM).

The EDM schedulers of DPM-Solver++ are k-diffusion's solvers. They run from u = 160, where the clipped process begins,
to u = 0.0064, where it ends, and then to 0.
"""

import math
from collections.abc import Callable
from functools import partial

import diffusers
import torch
from solver_problems import Answer, Problem
from torch import Tensor

Peer = Callable[[Problem, int], Answer]
COSINE = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000}
CLIP = {"lambda_min_clipped": -5.1}
EDM = {"sigma_min": 0.0064, "sigma_max": 160.0}


class Network:
    """A problem's denoiser as the network of a scheduler; counts its evaluations.

    Args:
        problem: whose denoiser.
        prediction: what it predicts, in diffusers' words: "epsilon", "sample" or "v_prediction".
    """

    def __init__(self, problem: Problem, prediction: str):
        self.problem = problem
        self.prediction = prediction
        self.nfe = 0

    def x0(self, z: Tensor, u: float) -> Tensor:
        """E[x0 | z] for a variance preserving state at u = sigma / alpha."""
        self.nfe += 1
        return self.problem.x0(z.double(), math.cos(math.atan(u)), math.sin(math.atan(u)))

    def __call__(self, z: Tensor, u: float) -> Tensor:
        """The prediction."""
        x0, alpha, sigma = self.x0(z, u), math.cos(math.atan(u)), math.sin(math.atan(u))
        if self.prediction == "sample":
            return x0
        noise = (z.double() - alpha * x0) / sigma
        return noise if self.prediction == "epsilon" else alpha * noise - sigma * x0


def table_ratios(scheduler: diffusers.SchedulerMixin) -> list[float]:
    """u at every time of a scheduler's table."""
    abar = scheduler.alphas_cumprod.double()
    return torch.sqrt((1 - abar) / abar).tolist()


def preserving(make: Callable[[], diffusers.SchedulerMixin], fewer: int = 0, begin: bool = False) -> Peer:
    """A scheduler whose states preserve variance.

    Args:
        make: it, fresh.
        fewer: by how many its steps are fewer than nfe.
        begin: tell it that it starts at its first time; without, those that look times up fail on grids of repeated
            whole times.
    """

    def run(problem: Problem, nfe: int) -> Answer:
        scheduler = make()
        scheduler.set_timesteps(nfe - fewer)
        if begin:
            scheduler.set_begin_index(0)
        network, table = Network(problem, scheduler.config.prediction_type), table_ratios(scheduler)
        times = scheduler.timesteps
        if hasattr(scheduler, "sigmas"):
            ratios = scheduler.sigmas.double().tolist()
            end = ratios[-1]
        else:
            ratios = [table[int(t)] for t in times]
            final = float(scheduler.final_alpha_cumprod)
            end = math.sqrt((1 - final) / final)
        z = problem.noise
        for n, t in enumerate(times):
            z = scheduler.step(network(z, ratios[n]), t, z).prev_sample
        return Answer(z.double() / math.cos(math.atan(end)), math.atan(ratios[0]), math.atan(end), network.nfe)

    return run


def exploding(make: Callable[[], diffusers.SchedulerMixin], nfe_per_step: int = 1) -> Peer:
    """A scheduler whose states are y = x / alpha; the last of `nfe_per_step` evaluations is saved in the last step."""

    def run(problem: Problem, nfe: int) -> Answer:
        scheduler = make()
        scheduler.set_timesteps((nfe + nfe_per_step - 1) // nfe_per_step)
        network, ratios = Network(problem, scheduler.config.prediction_type), scheduler.sigmas.double().tolist()
        y = problem.noise * math.hypot(ratios[0], 1)
        for n, t in enumerate(scheduler.timesteps):
            z = scheduler.scale_model_input(y, t)
            y = scheduler.step(network(z, ratios[n]), t, y).prev_sample
        return Answer(y.double(), math.atan(ratios[0]), math.atan(ratios[-1]), network.nfe)

    return run


def preconditioned(make: Callable[[], diffusers.SchedulerMixin]) -> Peer:
    """An EDM scheduler: y = x / alpha, and a network F in x0 = c_skip y + c_out F."""

    def run(problem: Problem, nfe: int) -> Answer:
        scheduler = make()
        scheduler.set_timesteps(nfe)
        network, ratios = Network(problem, "sample"), scheduler.sigmas.double().tolist()
        spread = scheduler.config.sigma_data
        y = problem.noise * math.hypot(ratios[0], 1)
        for n, t in enumerate(scheduler.timesteps):
            scheduler.scale_model_input(y, t)
            u = ratios[n]
            x0 = network(y.double() / math.hypot(u, 1), u)
            norm = u**2 + spread**2
            answer = (x0 - spread**2 / norm * y) * math.sqrt(norm) / (u * spread)
            y = scheduler.step(answer, t, y).prev_sample
        return Answer(y.double(), math.atan(ratios[0]), math.atan(ratios[-1]), network.nfe)

    return run


def _multistep(solver: type, order: int, **options) -> Callable[[], diffusers.SchedulerMixin]:
    return partial(solver, solver_order=order, prediction_type="v_prediction", **COSINE, **options)


def multistep_peers(order: int) -> dict[str, Peer]:
    """What comes in orders 2 and 3, by row name."""
    dpm = partial(_multistep, diffusers.DPMSolverMultistepScheduler, order)
    single = partial(_multistep, diffusers.DPMSolverSinglestepScheduler, order)
    unipc = partial(_multistep, diffusers.UniPCMultistepScheduler, order)
    edm = partial(diffusers.EDMDPMSolverMultistepScheduler, solver_order=order, **EDM)
    to_min = {"final_sigmas_type": "sigma_min"}
    plain = {"algorithm_type": "dpmsolver"}
    return {
        f"DPM++{order}M": preserving(dpm()),
        f"DPM++{order}M clip": preserving(dpm(**CLIP)),
        f"DPM++{order}M clip sigma_min": preserving(dpm(**CLIP, **to_min)),
        f"DPM++{order}M clip sigma_min, no lower order at the end": preserving(
            dpm(**CLIP, **to_min, lower_order_final=False)
        ),
        f"DPM++{order}M karras": preserving(dpm(use_karras_sigmas=True), begin=True),
        f"DPM++{order}M lu_lambdas": preserving(dpm(use_lu_lambdas=True), begin=True),
        f"DPM{order}M clip sigma_min": preserving(dpm(**CLIP, **to_min, **plain)),
        f"DPM++{order}S clip": preserving(single(**CLIP)),
        f"DEIS{order}": preserving(_multistep(diffusers.DEISMultistepScheduler, order)),
        f"UniPC{order} bh1 sigma_min": preserving(unipc(solver_type="bh1", **to_min)),
        f"UniPC{order} bh2": preserving(unipc(solver_type="bh2")),
        f"UniPC{order} bh2 exponential": preserving(unipc(solver_type="bh2", use_exponential_sigmas=True), begin=True),
        f"EDM-DPM++{order}M karras": preconditioned(partial(edm, sigma_schedule="karras")),
        f"EDM-DPM++{order}M exponential": preconditioned(partial(edm, sigma_schedule="exponential")),
    }


def peers() -> dict[str, Peer]:
    """Every scheduler by its row's name."""
    ddim = partial(diffusers.DDIMScheduler, clip_sample=False, prediction_type="v_prediction", **COSINE)
    pndm = partial(diffusers.PNDMScheduler, skip_prk_steps=True, prediction_type="v_prediction", **COSINE)
    heun = partial(diffusers.HeunDiscreteScheduler, **COSINE)
    found = {f"DDIM {s}": preserving(partial(ddim, timestep_spacing=s)) for s in ("leading", "trailing", "linspace")}
    found |= {f"PNDM {s}": preserving(partial(pndm, timestep_spacing=s), fewer=1) for s in ("leading", "trailing")}
    found |= {
        "Heun": exploding(heun, 2),
        "Heun karras": exploding(partial(heun, use_karras_sigmas=True), 2),
        "LMS4": exploding(partial(diffusers.LMSDiscreteScheduler, **COSINE)),
        **multistep_peers(2),
        **multistep_peers(3),
        "EDM Euler karras": preconditioned(partial(diffusers.EDMEulerScheduler, **EDM)),
    }
    return {f"diffusers {name}": peer for name, peer in found.items()}
