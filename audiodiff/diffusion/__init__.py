"""The process: from noise to data with few calls of a network.

A diffusion model is the composition of a **schedule** (how much signal and noise there is at time t), a **denoiser** (a
network wrapped so that it answers E[x0 | x_t]) and a **sampler** (how to walk from noise to data). With t in [0, 1],
t = 0 being data,

    x_t = alpha(t) x0 + sigma(t) noise,   log_snr = log(alpha^2 / sigma^2),   half_log_snr = log(alpha / sigma).

Schedules preserve variance: alpha^2 + sigma^2 = 1. Signals are tensors (B, C, T).
"""
