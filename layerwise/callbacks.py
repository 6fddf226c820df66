"""What can watch or stop a training run: any callable that takes a `Step` and returns True to stop; early stopping."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval


@dataclass(frozen=True)
class Step:
    """One iteration of a solver within a stage of training.

    Attributes
    ----------
    stage : str
        ``layer 0``, ``layer 1``, ... in pre-training; then ``head``, and ``finetune`` for the whole network.
    iteration : int
        Steps taken in this stage; epochs of stochastic solvers.
    max_iter : int
        The most there can be.
    value : float
        The objective, over the rows of this iteration.
    parts : dict of str to float
        The terms that add up to ``value``.
    mean_activation, target_activation : float or None
        Activation averaged over all units and rows, and what the sparsity asks for.
    max_gradient : float or None
        Largest entry of the gradient by size; None from stochastic solvers.
    n_rows : int
        Rows that the value is an average over: the sample of a progressive solver, or all.
    n_evaluations : int
        Evaluations of the objective so far in this stage, over samples too; batches of stochastic solvers.
    seconds : float
        Since the stage began.
    validation_loss : float or None
        The loss, without penalties and noise, of rows that this stage is not trained on.
    status : str or None
        None while the stage goes on. Each stage ends with one more call for its last iteration, and this says why it
        ended.
    """

    stage: str
    iteration: int
    max_iter: int
    value: float
    parts: dict[str, float]
    mean_activation: float | None
    target_activation: float | None
    max_gradient: float | None
    n_rows: int
    n_evaluations: int
    seconds: float
    validation_loss: float | None = None
    status: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    def describe(self) -> str:
        """Return the cost, its parts and the mean activation in one line."""
        text = f"cost {self.value:.5g} = " + " + ".join(f"{name} {part:.4g}" for name, part in self.parts.items())
        if self.target_activation is not None:
            text += f", mean activation {self.mean_activation:.3f} (target {self.target_activation:g})"
        if self.validation_loss is not None:
            text += f", validation {self.validation_loss:.5g}"
        return text


Callback = Callable[[Step], bool | None]


def call_all(callbacks: Sequence[Callback] | None) -> Callback:
    """Return one callback that calls all, and asks to stop when any of them does."""

    def call(step: Step) -> bool:
        wishes = [callback(step) for callback in callbacks or ()]
        return any(wishes)

    return call


class EarlyStopping(BaseEstimator):
    """End a stage when the loss of rows that are not trained on stops falling, and keep the best parameters.

    Parameters
    ----------
    validation_fraction : float, default=0.1
        Share of the rows to hold out, drawn at random; not used where validation rows are given to ``fit``.
    patience : int, default=10
        Iterations (epochs of stochastic solvers) to wait for a lower loss.
    tol : float, default=0.0
        A loss counts as lower when it is below the lowest so far by ``tol`` times its size.

    Examples
    --------
    >>> from layerwise import Adam, Autoencoder, EarlyStopping
    >>> from layerwise.data import load_mnist_small
    >>> autoencoder = Autoencoder(30, solver=Adam(max_iter=5), early_stopping=EarlyStopping(0.2), random_state=0)
    >>> len(autoencoder.fit(load_mnist_small().X_train[:300]).validation_loss_curve_)
    5
    """

    _parameter_constraints: ClassVar[dict] = {
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, validation_fraction: float = 0.1, *, patience: int = 10, tol: float = 0.0):
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tol = tol


class _Watcher:
    """A callback that clones of an estimator share, so that the one a user holds sees everything."""

    def __deepcopy__(self, memo: dict) -> _Watcher:
        return self


class History(_Watcher):
    """Keeps every step.

    Attributes
    ----------
    steps : list of Step

    Examples
    --------
    >>> from layerwise import Autoencoder, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> history = History()
    >>> autoencoder = Autoencoder(5, solver=LBFGS(max_iter=2), callbacks=[history])
    >>> _ = autoencoder.fit(load_mnist_small().X_train[:100])
    >>> [(step.iteration, step.status) for step in history.steps]
    [(1, None), (2, None), (2, 'stopped: max_iter iterations were made')]
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        """Keep a step."""
        self.steps.append(step)


class Progress(_Watcher):
    """Shows the run: a live bar a stage on a terminal, a plain line now and then elsewhere.

    Use it as a context manager, so that the terminal is left in order.

    Parameters
    ----------
    console : rich.console.Console or None, default=None
        Where to; None is standard error.
    every : int, default=20
        Iterations between plain lines.

    Attributes
    ----------
    reached : str
        The last step that was shown, in words.

    Examples
    --------
    >>> from layerwise import Autoencoder
    >>> from layerwise.callbacks import Progress
    >>> with Progress() as progress:
    ...     Autoencoder(5, callbacks=[progress]).fit(X)  # doctest: +SKIP
    """

    def __init__(self, console: Console | None = None, *, every: int = 20):
        self.console = console or Console(stderr=True)
        self.every = every
        self.reached = "before the first iteration"
        self._live: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        """Begin the live display."""
        if self.console.is_terminal:
            self._live = RichProgress(
                TextColumn("{task.description:9}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[detail]}"),
                console=self.console,
                redirect_stdout=sys.stdout.isatty(),  # so that print() does not tear the display
            )
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the live display."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, step: Step) -> None:
        """Show a step."""
        self.reached = f"in stage {step.stage} at iteration {step.iteration} of {step.max_iter}, cost {step.value:.5g}"
        if self._live is not None:
            self._update_bar(self._live, step)
        elif step.status is not None:
            self._print(
                f"{step.stage}: {step.status}; {step.iteration} iterations, {step.n_evaluations} evaluations, "
                f"{step.seconds:.1f} s"
            )
        elif step.iteration == 1 or step.iteration % self.every == 0:
            self._print(f"{step.stage} [{step.iteration}/{step.max_iter}] {step.describe()}")

    def _update_bar(self, live: RichProgress, step: Step) -> None:
        if step.stage not in self._tasks:
            self._tasks[step.stage] = live.add_task(step.stage, total=step.max_iter, detail="")
        task = self._tasks[step.stage]
        live.update(task, completed=step.iteration, detail=step.describe())
        if step.status is not None:
            live.update(task, total=max(step.iteration, 1), completed=max(step.iteration, 1))
            live.stop_task(task)
            del self._tasks[step.stage]

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
