"""Run the command line, with ``python -m layerwise`` or as the script that is installed."""

import sys


def main() -> None:
    """Import the command line, and run it; Ctrl-C on the way to it is the end of a command like any other."""
    try:
        from layerwise.cli import main as run
    except KeyboardInterrupt:
        print("layerwise: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
