"""Makes the numbers of schedules constants of `torch.compile`.

`Schedule.level` imports this while it is traced: earlier, the mark would load the compiler, which takes 1.5 s.
"""

import torch

from audiodiff.diffusion.schedules.schedule import Schedule

torch.compiler.assume_constant_result(Schedule._level)
