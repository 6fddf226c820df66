"""UFLDL's sparse autoencoder on MNIST: 784-196-784 learns pen strokes from 10,000 digits.

References
----------
A. Ng et al., "UFLDL tutorial", exercise "Vectorization" (sparse autoencoder on handwritten digits), 2011.
"""

from __future__ import annotations

from layerwise.data import Digits, load_mnist
from layerwise.estimators import Autoencoder
from layerwise.penalties import KLSparsity
from layerwise.reproduce.experiment import Outcome, Session
from layerwise.solvers import LBFGS

PUBLISHED = {"UFLDL": {"images": 10_000, "iterations": 400, "filters": "pen strokes", "mean activation": 0.1}}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    n_images: int = 10_000,
    max_iter: int = 400,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    digits : Digits
        The first ``n_images`` training images are taken.
    session : Session
    n_images : int, default=10000
    max_iter : int, default=400
        Iterations of L-BFGS.
    """
    autoencoder = Autoencoder(
        196,
        alpha=3e-3,
        sparsity=KLSparsity(target=0.1, weight=3.0),
        solver=LBFGS(max_iter=max_iter, progressive=False),
        **session.common,
    ).fit(digits.X_train[:n_images])
    session.announce(f"cost {autoencoder.loss_:.4f}; each tile of filters.png is what one unit looks for")
    obtained: dict[str, float | str] = {
        "images": min(n_images, len(digits.X_train)),
        "iterations": autoencoder.n_iter_,
        "filters": "see filters.png",
        "mean activation": round(float(autoencoder.mean_activations_.mean()), 4),
        "cost": autoencoder.loss_,
    }
    return Outcome(autoencoder, obtained, digits.X_test)
