"""The diffusion process: schedules, denoisers, objectives, samplers, guidance, editing, likelihood.

A diffusion model is the composition of a **schedule** (how much signal and noise there is at time t), a **denoiser** (a
network wrapped so that it answers E[x0 | x_t]) and a **sampler** (how to get from noise to data). With t in [0, 1],
t = 0 being data,

    x_t = alpha(t) x0 + sigma(t) noise,   log_snr = log(alpha^2 / sigma^2),   half_log_snr = log(alpha / sigma).

Signals are tensors (B, C, T). Where to look:

- what noise there is: `schedule`, and by another idea each `adapted_schedule`, `discrete_schedule`, `learned_schedule`;
- what a network learns: `objective`, `weighting`, `variance`, `times`, and the `denoiser` that they meet in;
- how to sample: `sampler` (the loop) over the tables of `ancestral`, `multistep`, `singlestep`, `heun` and `langevin`,
  with the weights of `integral`; `adaptive` without a table; all by name in `presets`; `noise` and `brownian`;
- when to stop by: `grid`, `fitted_grid`, `stored_grid`;
- where to: `guidance`, `gradient_guidance`; how far: `windowed`; denoisers around denoisers all, by `wrapper`;
- where from, if not from noise: `editing`, `bridge`;
- how likely: `likelihood`, `bound`;
- what is right: `oracle`, denoisers in closed form.
"""
