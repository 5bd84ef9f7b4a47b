"""`python -m audiodiff` is the console script."""

from audiodiff.cli import main

main()
