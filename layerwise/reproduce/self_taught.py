"""UFLDL's self-taught learning: features learned from the digits 5-9 classify the digits 0-4.

References
----------
A. Ng et al., "UFLDL tutorial", exercise "Self-taught learning", 2011; R. Raina et al., "Self-taught learning: transfer
learning from unlabeled data", ICML 2007.
"""

from __future__ import annotations

from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from layerwise.data import Digits, load_mnist
from layerwise.estimators import Autoencoder, StackedClassifier
from layerwise.penalties import KLSparsity
from layerwise.reproduce.experiment import Outcome, Session, percent
from layerwise.solvers import LBFGS

RAW, LEARNED = "accuracy on raw pixels (%)", "accuracy on learned features (%)"
PUBLISHED = {"UFLDL": {"hidden units": 200, "iterations": 400, RAW: 96, LEARNED: 98.3}}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    n_hidden: int = 200,
    max_iter: int = 400,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    digits : Digits
        Its training part: 5-9 are the unlabelled rows; the first half of 0-4 trains the classifiers, the other tests
        them.
    session : Session
    n_hidden : int, default=200
    max_iter : int, default=400
        Iterations of L-BFGS in each stage.
    """
    low = digits.y_train < 5
    X, y = digits.X_train[low], digits.y_train[low]
    half = len(X) // 2

    raw = LogisticRegression(C=1 / (1e-4 * half), max_iter=max_iter).fit(X[:half] / 255, y[:half])
    accuracy_raw = raw.score(X[half:] / 255, y[half:])
    session.announce(f"accuracy of softmax regression on raw pixels: {accuracy_raw:.2%}")

    autoencoder = Autoencoder(
        n_hidden,
        alpha=3e-3,
        sparsity=KLSparsity(target=0.1, weight=3.0),
        solver=LBFGS(max_iter=max_iter, progressive=False),
        **session.common,
    ).fit(digits.X_train[~low])
    classifier = StackedClassifier(
        FrozenEstimator(autoencoder),
        finetune="head",
        alpha=1e-4,
        solver=LBFGS(max_iter=max_iter, progressive=False),
        callbacks=session.watchers,
    ).fit(X[:half], y[:half])
    accuracy = classifier.score(X[half:], y[half:])
    session.announce(f"accuracy of softmax regression on learned features: {accuracy:.2%}")
    obtained = {
        "hidden units": n_hidden,
        "iterations": max_iter,
        RAW: percent(accuracy_raw),
        LEARNED: percent(accuracy),
    }
    return Outcome(classifier, obtained, X[half:])
