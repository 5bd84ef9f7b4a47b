"""An empty stand-in for `encodec`, which the package `vocos` imports.

Its mel model does not use encodec, whose wheel has another license; so it need not be installed.
"""

import sys
from types import ModuleType

_stand_in = ModuleType("encodec")
_stand_in.EncodecModel = None  # type: ignore[attr-defined]
sys.modules.setdefault("encodec", _stand_in)
