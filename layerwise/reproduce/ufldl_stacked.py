"""UFLDL's stacked autoencoder on MNIST: 784-200-200-10, pre-trained greedily, then fine-tuned.

References
----------
A. Ng et al., "UFLDL tutorial", exercise "Implement deep networks for digit classification", 2011; a Python port of
2014 was measured again for this project (float64 NumPy with SciPy's L-BFGS-B, two cores).
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from sklearn.frozen import FrozenEstimator

from layerwise.callbacks import Callback, History
from layerwise.data import Digits
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.penalties import KLSparsity
from layerwise.solvers import LBFGS

STAGES = ("layer 0", "layer 1", "head", "finetune")

# The tutorial gives accuracies only; the port was run with 200 iterations and decay 3e-3 in every stage.
UFLDL = {
    "settings": {"max_iter": 400, "softmax_alpha": 1e-4},
    "accuracy_greedy": 0.877,
    "accuracy_finetuned": 0.976,
}
PORT_2014 = {
    "settings": {"max_iter": 200, "softmax_alpha": 3e-3},
    "stages": {
        "layer 0": {"cost": 12.680286772, "evaluations": 205, "seconds": 593},
        "layer 1": {"cost": 3.459480394, "evaluations": 210, "seconds": 232},
        "head": {"cost": 0.794575607, "evaluations": 33, "seconds": 3},
        "finetune": {"cost": 0.050107325, "evaluations": 208, "seconds": 297},
    },
    "accuracy_greedy": 0.8707,
    "accuracy_finetuned": 0.9747,
    "seconds": 1125,
    "peak_memory_mb": 2048,
}


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes
    ----------
    classifier : StackedClassifier
        The fine-tuned network.
    history : History
        Every iteration of every stage.
    accuracy_greedy, accuracy_finetuned : float
        Share of the test images that are classified rightly, before and after fine-tuning the encoders.
    """

    classifier: StackedClassifier
    history: History
    accuracy_greedy: float
    accuracy_finetuned: float

    def stages(self) -> dict[str, dict[str, float]]:
        """Return cost, evaluations and seconds of each stage."""
        return {
            step.stage: {"cost": step.value, "evaluations": step.n_evaluations, "seconds": step.seconds}
            for step in self.history.steps
            if step.status is not None
        }


def run(
    digits: Digits,
    *,
    max_iter: int = 200,
    softmax_alpha: float = 3e-3,
    seed: int = 0,
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
    announce: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    digits : Digits
    max_iter : int, default=200
        Iterations of L-BFGS in each stage.
    softmax_alpha : float, default=3e-3
        Decay of the softmax weights; that of the layers is 3e-3.
    seed : int, default=0
        Draws the initial weights.
    device : str, default="auto"
    callbacks : sequence of callable, default=()
    announce : callable, default does nothing
        Takes a line of text: each accuracy, as soon as it is known.

    Returns
    -------
    outcome : Outcome
    """
    history = History()
    watchers: list[Callback] = [history, *callbacks]
    solver = LBFGS(max_iter=max_iter)
    sparse = Autoencoder(200, sparsity=KLSparsity(target=0.1, weight=3.0), alpha=3e-3, solver=solver)
    stack = StackedAutoencoder([sparse, sparse], device=device, random_state=seed, callbacks=watchers)
    pretrained = FrozenEstimator(stack.fit(digits.X_train))

    classifier = StackedClassifier(pretrained, alpha=softmax_alpha, fit_intercept=False, solver=solver)
    greedy = classifier.set_params(finetune="head").fit(digits.X_train, digits.y_train)
    accuracy_greedy = greedy.score(digits.X_test, digits.y_test)
    announce(f"accuracy after greedy training: {accuracy_greedy:.2%}")

    classifier.set_params(finetune="all", callbacks=watchers).fit(digits.X_train, digits.y_train)
    accuracy_finetuned = classifier.score(digits.X_test, digits.y_test)
    announce(f"accuracy after fine-tuning: {accuracy_finetuned:.2%}")
    return Outcome(classifier, history, accuracy_greedy, accuracy_finetuned)


def report(outcome: Outcome, settings: dict[str, Any]) -> dict[str, Any]:
    """Return published and obtained figures as one dict that JSON can hold."""
    stages = outcome.stages()
    return {
        "experiment": "ufldl-stacked",
        "settings": settings,
        "published": {"ufldl": UFLDL, "port_2014": PORT_2014},
        "obtained": {
            "stages": stages,
            "accuracy_greedy": outcome.accuracy_greedy,
            "accuracy_finetuned": outcome.accuracy_finetuned,
            "seconds": sum(stage["seconds"] for stage in stages.values()),
            "peak_memory_mb": peak_memory_mb(),
        },
        "machine": {
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def table(figures: dict[str, Any]) -> Table:
    """Return the figures of `report` as a table, published beside obtained."""
    obtained = figures["obtained"] | {"settings": figures["settings"]}
    runs = {"published: UFLDL": UFLDL, "published: 2014 port": PORT_2014, "obtained": obtained}
    result = Table("", title="UFLDL stacked autoencoder, 784-200-200-10")
    for name in runs:
        result.add_column(name, justify="right")

    rows: list[tuple[str, tuple[str, ...], str]] = [
        ("iterations a stage", ("settings", "max_iter"), "{}"),
        ("softmax alpha", ("settings", "softmax_alpha"), "{:g}"),
    ]
    for stage in STAGES:
        rows += [
            (f"{stage}: cost", ("stages", stage, "cost"), "{:.5g}"),
            ("  evaluations", ("stages", stage, "evaluations"), "{}"),
            ("  seconds", ("stages", stage, "seconds"), "{:.0f}"),
        ]
    rows += [
        ("accuracy after greedy training", ("accuracy_greedy",), "{:.2%}"),
        ("accuracy after fine-tuning", ("accuracy_finetuned",), "{:.2%}"),
        ("seconds in all", ("seconds",), "{:.0f}"),
        ("peak memory (MB)", ("peak_memory_mb",), "{:.0f}"),
    ]
    for name, path, form in rows:
        found = [_look_up(run, path) for run in runs.values()]
        result.add_row(name, *("-" if value is None else form.format(value) for value in found))
    return result


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


def _look_up(figures: Any, path: tuple[str, ...]) -> Any:
    """Return the figure at a path of keys, None where it is not given."""
    for key in path:
        figures = figures.get(key) if figures else None
    return figures
