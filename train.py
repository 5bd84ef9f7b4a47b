"""`python train.py +recipe=speech_mel`: see `audiodiff/train.py`."""

from audiodiff.train import main

if __name__ == "__main__":
    main()
