"""What every published experiment has in common: its outcome, and published figures beside obtained ones."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

from layerwise.callbacks import Callback, History, Step
from layerwise.data import Digits
from layerwise.estimators import StackedClassifier
from layerwise.solvers import Adam

# Names of settings and of figures, each with its unit, to their values.
Figures = Mapping[str, float | str]
# Of this process, all threads, from its start: other work on the machine does not lengthen it.
PROCESSOR = "processor seconds"


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes
    ----------
    estimator : estimator of layerwise or None
        The trained model.
    obtained : mapping of str to float or str
        Settings, then figures, under the names that the published ones have.
    examples : array-like of shape (n_examples, n_features)
        Rows to show reconstructions of.
    image_shape : tuple of int
        Shape of a row as an image.
    """

    estimator: BaseEstimator | None
    obtained: Figures
    examples: Any
    image_shape: tuple[int, int] = (28, 28)


@dataclass
class Session:
    """Where and how an experiment runs; the settings of the experiment itself are parameters of its ``run``.

    Attributes
    ----------
    seed : int, default=0
        Draws whatever is random.
    device : str, default="auto"
    callbacks : sequence of callable, default=()
        Watch every stage.
    announce : callable, default does nothing
        Takes a line of text: each figure, as soon as it is known.
    history : History
        Every iteration of every stage that is reported.
    """

    seed: int = 0
    device: str = "auto"
    callbacks: Sequence[Callback] = ()
    announce: Callable[[str], None] = lambda text: None
    history: History = field(default_factory=History)

    @property
    def watchers(self) -> list[Callback]:
        """The callbacks for the estimators."""
        return [self.history, *self.callbacks]

    @property
    def common(self) -> dict[str, Any]:
        """Parameters of the outermost transformer."""
        return {"device": self.device, "random_state": self.seed, "callbacks": self.watchers}

    def stages(self) -> list[Step]:
        """Return the last step of every stage."""
        return [step for step in self.history.steps if step.status is not None]


def classify(
    pretrained: BaseEstimator, digits: Digits, session: Session, epochs: int
) -> tuple[StackedClassifier, float]:
    """Fine-tune a pre-trained stack with the labels of digits, all of it, by Adam.

    Parameters
    ----------
    pretrained : Autoencoder or StackedAutoencoder
        Fitted; not changed.
    digits : Digits
    session : Session
    epochs : int

    Returns
    -------
    classifier : StackedClassifier
    error : float
        Share of the test images that are classified wrongly.
    """
    classifier = StackedClassifier(
        FrozenEstimator(pretrained),
        alpha=0.0,
        solver=Adam(epochs, learning_rate="cosine"),
        random_state=session.seed,
        callbacks=session.watchers,
    ).fit(digits.X_train, digits.y_train)
    error = 1 - classifier.score(digits.X_test, digits.y_test)
    session.announce(f"test error after fine-tuning: {error:.2%}")
    return classifier, error


def report(name: str, published: Mapping[str, Figures], outcome: Outcome, session: Session) -> dict[str, Any]:
    """Return published and obtained figures, and the machine, as one dict that JSON can hold.

    Parameters
    ----------
    name : str
        Of the experiment.
    published : mapping of str to (mapping of str to float or str)
        Source to its settings and figures.
    outcome : Outcome
    session : Session

    Returns
    -------
    figures : dict
    """
    seconds = sum(step.seconds for step in session.stages())
    obtained = dict(outcome.obtained) | {"seed": session.seed, "seconds": round(seconds, 1)}
    obtained[PROCESSOR] = round(time.process_time())
    memory = peak_memory_mb()
    if memory is not None:
        obtained["peak memory (MB)"] = round(memory)
    return {
        "experiment": name,
        "published": {source: dict(figures) for source, figures in published.items()},
        "obtained": obtained,
        "machine": {
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def table(figures: Mapping[str, Any]) -> Table:
    """Return the figures of `report` as a table, published beside obtained."""
    columns = {f"published: {source}": values for source, values in figures["published"].items()}
    columns["obtained"] = figures["obtained"]
    result = Table("", title=figures["experiment"])
    for name in columns:
        result.add_column(name, justify="right")
    for name in dict.fromkeys(name for values in columns.values() for name in values):
        result.add_row(name, *(_format(values.get(name)) for values in columns.values()))
    return result


def percent(share: float) -> float:
    """Return a share in percent, rounded to two places."""
    return round(100 * share, 2)


def peak_memory_mb() -> float | None:
    """Return the peak resident memory of this process in MB; None where the system does not tell."""
    # Where there is /proc: the maximum that getrusage gives can be that of the process which started this one.
    status = Path("/proc/self/status")
    if status.is_file():
        peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if peaks:
            return int(peaks[0]) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _format(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.7g}"
