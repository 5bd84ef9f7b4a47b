"""`python train.py +recipe=speech_mel`: see `audiodiff/train.py`."""

import sys

from audiodiff.errors import UserError
from audiodiff.extras import require

if __name__ == "__main__":
    try:
        require("train")
    except UserError as error:
        sys.exit(f"error: {error}")
    from audiodiff.train import main

    main()
