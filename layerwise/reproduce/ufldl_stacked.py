"""UFLDL's stacked autoencoder on MNIST: 784-200-200-10, pre-trained greedily, then fine-tuned.

References
----------
A. Ng et al., "UFLDL tutorial", exercise "Implement deep networks for digit classification", 2011; a Python port of
2014 was measured again for this project (float64 NumPy with SciPy's L-BFGS-B, two cores).
"""

from __future__ import annotations

from sklearn.frozen import FrozenEstimator

from layerwise.data import Digits, load_mnist
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.penalties import KLSparsity
from layerwise.reproduce.experiment import Outcome, Session, percent
from layerwise.solvers import LBFGS

STAGES = ("layer 0", "layer 1", "head", "finetune")
GREEDY, FINETUNED = "accuracy after greedy training (%)", "accuracy after fine-tuning (%)"

# The tutorial gives accuracies only.
PUBLISHED = {
    "UFLDL": {"iterations a stage": 400, "softmax alpha": 1e-4, GREEDY: 87.7, FINETUNED: 97.6},
    "2014 port": {
        "iterations a stage": 200,
        "softmax alpha": 3e-3,
        "layer 0: cost": 12.680286772,
        "layer 0: evaluations": 205,
        "layer 0: seconds": 593,
        "layer 1: cost": 3.459480394,
        "layer 1: evaluations": 210,
        "layer 1: seconds": 232,
        "head: cost": 0.794575607,
        "head: evaluations": 33,
        "head: seconds": 3,
        "finetune: cost": 0.050107325,
        "finetune: evaluations": 208,
        "finetune: seconds": 297,
        GREEDY: 87.07,
        FINETUNED: 97.47,
        "seconds": 1125,
        "peak memory (MB)": 2048,
    },
}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    max_iter: int = 200,
    softmax_alpha: float = 3e-3,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    max_iter : int, default=200
        Iterations of L-BFGS in each stage.
    softmax_alpha : float, default=3e-3
        Decay of the softmax weights; that of the layers is 3e-3.
    """
    solver = LBFGS(max_iter=max_iter, progressive=False)  # as published: every step on all rows
    sparse = Autoencoder(200, sparsity=KLSparsity(target=0.1, weight=3.0), alpha=3e-3, solver=solver)
    stack = StackedAutoencoder([sparse, sparse], **session.common)
    pretrained = FrozenEstimator(stack.fit(digits.X_train))

    classifier = StackedClassifier(pretrained, alpha=softmax_alpha, fit_intercept=False, solver=solver)
    greedy = classifier.set_params(finetune="head").fit(digits.X_train, digits.y_train)
    accuracy_greedy = greedy.score(digits.X_test, digits.y_test)
    session.announce(f"accuracy after greedy training: {accuracy_greedy:.2%}")

    classifier.set_params(finetune="all", callbacks=session.watchers).fit(digits.X_train, digits.y_train)
    accuracy_finetuned = classifier.score(digits.X_test, digits.y_test)
    session.announce(f"accuracy after fine-tuning: {accuracy_finetuned:.2%}")

    obtained: dict[str, float | str] = {"iterations a stage": max_iter, "softmax alpha": softmax_alpha}
    for step in session.stages():
        obtained[f"{step.stage}: cost"] = step.value
        obtained[f"{step.stage}: evaluations"] = step.n_evaluations
        obtained[f"{step.stage}: seconds"] = round(step.seconds, 1)
    obtained |= {GREEDY: percent(accuracy_greedy), FINETUNED: percent(accuracy_finetuned)}
    return Outcome(classifier, obtained, digits.X_test)
