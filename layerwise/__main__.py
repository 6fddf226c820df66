"""Run the command line with ``python -m layerwise``."""

from layerwise.cli import main

if __name__ == "__main__":
    main()
