"""Log-likelihood: by the probability-flow ODE, and the variational bound."""

from audiodiff.diffusion.likelihood.bound import variational_bound
from audiodiff.diffusion.likelihood.flow import bits_per_dimension, dequantize, log_likelihood

__all__ = [
    "bits_per_dimension",
    "dequantize",
    "log_likelihood",
    "variational_bound",
]
