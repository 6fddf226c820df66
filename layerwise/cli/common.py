"""What all commands share: the app, the display of a training, the last lines of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import layerwise
from layerwise.callbacks import Progress

app = App(
    name="layerwise",
    help="Stacked autoencoders: features learned one layer at a time.",
    version=layerwise.__version__,
    suppress_keyboard_interrupt=False,
)

Flag = Annotated[bool, Parameter(negative="")]
Words = Parameter(consume_multiple=True, negative="")


@contextmanager
def watching() -> Iterator[Progress]:
    """Show the training in the block, and say what was reached if it is interrupted."""
    with Progress() as progress:
        try:
            yield progress
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted {progress.reached}; nothing was written") from None


def print_contents(out: Path) -> None:
    """Tell what a run wrote."""
    print(f"In {out}: {', '.join(sorted(entry.name for entry in out.iterdir()))}")


def fail(message: str, code: int) -> None:
    """End with one sentence on standard error."""
    print(f"layerwise: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
