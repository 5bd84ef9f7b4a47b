"""Log-likelihood: by the probability-flow ODE, and the variational bound."""
