"""How a run looks while it goes on: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from layerwise.callbacks import Pace, Step, Watcher

__all__ = ["Progress"]

# Between plain lines of a stage, at least and at most.
_SHORTEST, _LONGEST = 2.0, 60.0


class Progress(Watcher):
    """Shows the run: a live bar on a terminal, a plain line now and then elsewhere, and a line for each finished stage.

    Use it as a context manager, so that the terminal is left in order; without, it writes plain lines.

    Parameters
    ----------
    console : rich.console.Console or None, default=None
        Where to; None is standard error.
    every : int, default=20
        Plain lines tell of the first iteration and of multiples of this; of none within two seconds of the last line,
        and of any a minute after it.

    Attributes
    ----------
    reached : str
        The last step that was shown, in words.

    Examples
    --------
    >>> from layerwise import Autoencoder, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> with Progress() as progress:
    ...     autoencoder = Autoencoder(5, solver=LBFGS(max_iter=2), callbacks=[progress], random_state=0)
    ...     _ = autoencoder.fit(load_mnist_small().X_train[:100])
    >>> progress.reached
    'in stage layer 0 at iteration 2 of 2, cost ...'
    """

    _of_this_process = ("console", "_live")

    def __init__(self, console: Console | None = None, *, every: int = 20):
        if every < 1:
            raise ValueError(f"every={every} must be at least 1")
        self.console = console or _standard_error()
        self.every = every
        self.reached = "before the first iteration"
        self._pace = Pace()
        self._live: _Display | None = None
        self._printed: Step | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.console = _standard_error()

    def __enter__(self) -> Progress:
        """Begin the live display."""
        if self.console.is_interactive:
            self._live = _Display(self.console)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the live display; what a stage that was interrupted had reached stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, step: Step) -> None:
        """Show a step."""
        self.reached = f"in stage {step.stage} at iteration {step.iteration} of {step.max_iter}, cost {step.value:.5g}"
        self._pace.follow(step)
        if step.status is not None:
            if self._live is not None:
                self._live.clear()
            self._print(
                f"{step.stage}: {step.status}; {step.iteration} iterations, {step.n_evaluations} evaluations, "
                f"cost {step.value:.5g}, {_duration(step.seconds)}",
                step,
            )
        elif self._live is not None:
            self._live.show(step, self._detail(step))
        elif self._is_due(step):
            self._print(f"{step.stage} [{step.iteration}/{step.max_iter}] {self._detail(step)}", step)

    def _detail(self, step: Step) -> str:
        rate, left = self._pace.rows_per_second, self._pace.seconds_left
        if left is None:  # the first step tells no pace
            return step.describe()
        speed = "-" if rate is None else f"{rate:,.0f}"
        return f"{step.describe()}, {speed} rows/s, time left {_duration(left)}"

    def _is_due(self, step: Step) -> bool:
        if self._printed is None or not step.follows(self._printed):
            return True
        waited = step.seconds - self._printed.seconds
        return waited >= (_SHORTEST if step.iteration % self.every == 0 else _LONGEST)

    def _print(self, text: str, step: Step) -> None:
        self._printed = step
        # A terminal breaks lines between phrases; a file gets them whole.
        text = text if self._live is None else _fill(text, self.console.width)
        self.console.print(text, highlight=False, markup=False, soft_wrap=self._live is None)


class _Display(RichProgress):
    """A bar for the stage that goes on; beneath it what was reached, on as many lines as the width asks for."""

    def __init__(self, console: Console):
        self._last: Step | None = None
        self._detail = ""
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, table_column=Column(max_width=40)),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=sys.stdout.isatty(),  # so that print() does not tear the display
        )

    def show(self, step: Step, detail: str) -> None:
        """Show a step."""
        self._detail = detail
        if self._last is None or not step.follows(self._last):
            self.clear()
            self.add_task(step.stage, total=step.max_iter, completed=step.iteration)
            self.tasks[0].start_time = self.get_time() - step.seconds  # the first iteration took time too
        self._last = step
        self.update(self.tasks[0].id, completed=step.iteration)

    def clear(self) -> None:
        """Show nothing."""
        self._last = None
        for task in self.tasks:
            self.remove_task(task.id)
        self.refresh()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is shown, one beneath the other."""
        if self.tasks:
            yield self.make_tasks_table(self.tasks)
            yield Text(_fill(self._detail, self.console.width))


def _standard_error() -> Console:
    console = Console(stderr=True, soft_wrap=True)  # what is printed while it is shown may be a command to copy
    console.is_interactive &= console.file.isatty()  # FORCE_COLOR does not make a terminal of a file
    return console


def _fill(text: str, width: int) -> str:
    """Break lines after commas, semicolons and plus signs."""
    phrases = re.sub(r"(?<![,;+]) ", "\u00a0", text)
    return textwrap.fill(phrases, width, break_long_words=False).replace("\u00a0", " ")


def _duration(seconds: float) -> str:
    """Return a duration in words: 1.5 s, 75 s as 1:15, 7384 s as 2:03:04."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
