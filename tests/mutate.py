"""Does a test notice? Perturbs every number in `audiodiff/diffusion` and every entry of each preset's weight table.

`make mutate` (outside `make test`; about ten minutes on two cores). Two kinds of fault, one at a time:

- *numbers*: each numeric constant in the source of the process, moved by a little more than rounding (an integer by
  one), and each arithmetic operator exchanged for its inverse;
- *tables*: each carry, weight, feature and noise of each preset's table at six calls: doubled, negated, and exchanged
  with its neighbour.

A fault that no test of tests/diffusion notices survives. Survivors are printed with file, line and change; any makes the
exit status 1. What cannot matter is exempt and says why: `EXEMPT`.
"""
