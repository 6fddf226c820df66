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
    ufldl, port, obtained = (
        figures["published"]["ufldl"],
        figures["published"]["port_2014"],
        figures["obtained"],
    )
    result = Table(title="UFLDL stacked autoencoder, 784-200-200-10")
    result.add_column("")
    result.add_column(f"published: UFLDL\n({_settings(ufldl)})", justify="right")
    result.add_column(f"published: 2014 port\n({_settings(port)})", justify="right")
    result.add_column(f"obtained\n({_settings(figures)})", justify="right")
    for stage in STAGES:
        result.add_row(
            f"{stage}: cost",
            "",
            f"{port['stages'][stage]['cost']:.5g}",
            f"{obtained['stages'][stage]['cost']:.5g}",
        )
        result.add_row(
            "  evaluations, seconds",
            "",
            *(
                f"{run['stages'][stage]['evaluations']}, {run['stages'][stage]['seconds']:.0f}"
                for run in (port, obtained)
            ),
        )
    for name, key in (("greedy training", "accuracy_greedy"), ("fine-tuning", "accuracy_finetuned")):
        result.add_row(f"accuracy after {name}", *(f"{run[key]:.2%}" for run in (ufldl, port, obtained)))
    result.add_row("seconds in all", "", *(f"{run['seconds']:.0f}" for run in (port, obtained)))
    result.add_row("peak memory (MB)", "", *(_megabytes(run["peak_memory_mb"]) for run in (port, obtained)))
    return result


def peak_memory_mb() -> float | None:
    """Return the peak resident memory of this process in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _megabytes(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"


def _settings(run: dict[str, Any]) -> str:
    return f"{run['settings']['max_iter']} iterations, softmax alpha {run['settings']['softmax_alpha']:g}"
