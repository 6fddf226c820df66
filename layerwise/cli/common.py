"""What all commands share: the app, the display of a training, the last lines of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import App, Parameter

import layerwise
from layerwise.callbacks import Progress

app = App(
    name="layerwise",
    help="Stacked autoencoders: features learned one layer at a time.",
    version=layerwise.__version__,
    suppress_keyboard_interrupt=False,
)
app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def with_threads(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)], n_threads: int | None = None
) -> None:
    """Run a command.

    Parameters
    ----------
    n_threads
        Threads that compute, in every command; as many as there are cores, or as OMP_NUM_THREADS says, if not given.
    """
    if n_threads is not None:
        if n_threads < 1:
            raise ValueError(f"n_threads={n_threads} must be at least 1")
        torch.set_num_threads(n_threads)
    app(tokens, exit_on_error=False, print_error=False)


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
