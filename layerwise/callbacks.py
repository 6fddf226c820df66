"""What can watch or stop a training run: any callable that takes a `Step` and returns True to stop; early stopping.

`layerwise.progress.Progress` shows a run on a terminal; `layerwise.trackers` hands it to TensorBoard, MLflow or W&B.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, TextIO

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from layerwise.atomic import naming
from layerwise.strict_json import as_strict

__all__ = ["EarlyStopping", "History", "MetricsFile", "Step"]

# Steps that tell how fast a stage goes: a heuristic choice.
_RECENT = 20


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
    n_rows_seen : int
        Rows evaluated so far in this stage: those of every evaluation, over samples too, or of every batch.
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
    n_rows_seen: int = 0
    validation_loss: float | None = None
    status: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict that strict JSON can hold: None stands for what is not finite."""
        return as_strict(dataclasses.asdict(self))

    def describe(self) -> str:
        """Return the cost, its parts and the mean activation in one line."""
        text = f"cost {self.value:.5g} = " + " + ".join(f"{name} {part:.4g}" for name, part in self.parts.items())
        if self.target_activation is not None:
            text += f", mean activation {self.mean_activation:.3f} (target {self.target_activation:g})"
        if self.validation_loss is not None:
            text += f", validation {self.validation_loss:.5g}"
        return text

    def follows(self, earlier: Step) -> bool:
        """Return whether the stage of an earlier step has gone on to this one: it did not end or begin anew."""
        return (
            earlier.status is None
            and (earlier.stage, earlier.max_iter) == (self.stage, self.max_iter)
            and earlier.iteration <= self.iteration
            and earlier.seconds <= self.seconds
        )


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
    refit : bool, default=False
        Whether to train again on all rows, from the same start, for the number of iterations that was best for the
        held-out rows: none, if their loss does not fall by more than twice the standard error of its fall. Not where
        validation rows are given to ``fit``.
    n_splits : int, default=1
        With ``refit``, how many shares of the rows are held out, one after the other, each with a run of its own. Their
        mean loss after as many iterations tells what is best, and must fall by more than the standard error of the mean
        of the falls.

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
        "refit": ["boolean"],
        "n_splits": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        validation_fraction: float = 0.1,
        *,
        patience: int = 10,
        tol: float = 0.0,
        refit: bool = False,
        n_splits: int = 1,
    ):
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tol = tol
        self.refit = refit
        self.n_splits = n_splits

    def is_lower(self, loss: float, best: float) -> bool:
        """Return whether a loss counts as lower than the lowest so far."""
        return loss < best - self.tol * abs(best)

    def best_of(self, start: float, curve: Sequence[float]) -> tuple[int, float]:
        """Return after how many iterations the loss was lowest, and that loss.

        Parameters
        ----------
        start : float
            The loss before the first iteration.
        curve : sequence of float
            The loss after each iteration.

        Returns
        -------
        n_iter : int
        loss : float
        """
        n_iter, best = 0, start
        for place, loss in enumerate(curve, 1):
            if math.isfinite(loss) and (not math.isfinite(best) or self.is_lower(loss, best)):
                n_iter, best = place, loss
        return n_iter, best


class Watcher:
    """A callback that clones of an estimator share, so that the one a user holds sees everything."""

    # Attributes that are open, or of this process: what is pickled begins without them.
    _of_this_process: ClassVar[tuple[str, ...]] = ()

    def __deepcopy__(self, memo: dict) -> Watcher:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | dict.fromkeys(self._of_this_process)


class History(Watcher):
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


class MetricsFile(Watcher):
    """Writes every step to a file as it happens, one line of JSON each; what is not finite becomes null.

    Use it as a context manager. Lines are added to those that are there.

    Parameters
    ----------
    path : str or Path
        Its folder exists.
    resume : bool, default=False
        Whether the lines that are there are of the same fit, before it was interrupted: those of the first step to
        come, and what follows them, are then written anew.

    Examples
    --------
    >>> import json, tempfile
    >>> from layerwise import Autoencoder, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
    >>> with MetricsFile(path) as metrics:
    ...     autoencoder = Autoencoder(5, solver=LBFGS(max_iter=2), callbacks=[metrics], random_state=0)
    ...     _ = autoencoder.fit(load_mnist_small().X_train[:100])
    >>> [json.loads(line)["iteration"] for line in path.read_text().splitlines()]
    [1, 2, 2]
    """

    _of_this_process = ("_file",)

    def __init__(self, path: str | Path, *, resume: bool = False):
        self.path = Path(path)
        self.resume = resume
        self._file: TextIO | None = None

    def __enter__(self) -> MetricsFile:
        """Open the file."""
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"path={str(self.path)!r} lies in a folder that does not exist; make it first")
        self._file = self.path.open("a", encoding="utf-8", buffering=1)  # written out line by line
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        if self._file is not None:
            with naming(self.path):
                self._file.close()
            self._file = None

    def __call__(self, step: Step) -> None:
        """Write a step."""
        if self._file is None:
            raise ValueError("MetricsFile is not open; train inside `with MetricsFile(path) as metrics:`")
        if self.resume:
            self._cut(step)
            self.resume = False
        with naming(self.path):
            self._file.write(json.dumps(step.as_dict(), allow_nan=False) + "\n")

    def _cut(self, step: Step) -> None:
        """Remove the lines from this step on; and the last line if it is not whole."""
        assert self._file is not None
        n_bytes = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                seen = json.loads(line)
                if seen["stage"] == step.stage and _place(seen["iteration"], seen["status"]) >= _place(
                    step.iteration, step.status
                ):
                    break
                n_bytes += len(line)
        self._file.truncate(n_bytes)


def _place(iteration: int, status: str | None) -> tuple[int, bool]:
    """Return what orders the steps of a stage."""
    return iteration, status is not None


class Pace:
    """How fast a stage goes, from its recent steps.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.rows_per_second is None and pace.seconds_left is None
    True
    """

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=_RECENT + 1)

    def follow(self, step: Step) -> None:
        """Take note of a step."""
        last = self._steps[-1] if self._steps else None
        if last is None or not step.follows(last):
            self._steps.clear()
            self._steps.append(dataclasses.replace(step, iteration=0, n_rows_seen=0, seconds=0.0))
        elif step.n_rows != last.n_rows:  # on a larger sample steps take longer
            self._steps.clear()
            self._steps.append(last)
        self._steps.append(step)

    @property
    def rows_per_second(self) -> float | None:
        """Rows evaluated a second; None while that is unknown."""
        n_rows, seconds = _gain(self._steps, "n_rows_seen"), _gain(self._steps, "seconds")
        return n_rows / seconds if n_rows > 0 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long the stage takes to ``max_iter`` if it goes on like this; None while that is unknown.

        The first step is not gone by: it may take a thousand times as long, to load what all of them need.
        """
        steps = [step for step in self._steps if step.iteration > 0]
        n_iter = _gain(steps, "iteration")
        if n_iter == 0:
            return None
        return (steps[-1].max_iter - steps[-1].iteration) * _gain(steps, "seconds") / n_iter


def _gain(steps: Sequence[Step], name: str) -> float:
    return getattr(steps[-1], name) - getattr(steps[0], name) if steps else 0
