"""UFLDL's sparse autoencoder on MNIST: 784-196-784 learns pen strokes from 10,000 digits.

References
----------
A. Ng et al., "UFLDL tutorial", exercise "Vectorization" (sparse autoencoder on handwritten digits), 2011.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from layerwise.callbacks import Callback, History
from layerwise.data import Digits, load_mnist
from layerwise.estimators import Autoencoder
from layerwise.penalties import KLSparsity
from layerwise.reproduce.experiment import Outcome
from layerwise.solvers import LBFGS

PUBLISHED = {"UFLDL": {"images": 10_000, "iterations": 400, "filters": "pen strokes", "mean activation": 0.1}}
load = load_mnist


def run(
    digits: Digits,
    *,
    n_images: int = 10_000,
    max_iter: int = 400,
    seed: int = 0,
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
    announce: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    digits : Digits
        The first ``n_images`` training images are taken.
    n_images : int, default=10000
    max_iter : int, default=400
        Iterations of L-BFGS.
    seed : int, default=0
        Draws the initial weights.
    device : str, default="auto"
    callbacks : sequence of callable, default=()
    announce : callable, default does nothing
        Takes a line of text.

    Returns
    -------
    outcome : Outcome
    """
    history = History()
    autoencoder = Autoencoder(
        196,
        alpha=3e-3,
        sparsity=KLSparsity(target=0.1, weight=3.0),
        solver=LBFGS(max_iter=max_iter),
        device=device,
        random_state=seed,
        callbacks=[history, *callbacks],
    ).fit(digits.X_train[:n_images])
    announce(f"cost {autoencoder.loss_:.4f}; look at filters.png: each tile is the input that one unit looks for")
    obtained = {
        "images": min(n_images, len(digits.X_train)),
        "iterations": autoencoder.n_iter_,
        "filters": "see filters.png",
        "mean activation": round(float(autoencoder.mean_activations_.mean()), 4),
        "cost": autoencoder.loss_,
    }
    return Outcome(autoencoder, obtained, history, digits.X_test)
