"""UFLDL's sparse autoencoder on natural images: 64-25-64 learns edges from 8x8 patches.

References
----------
A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011, and the exercise of the UFLDL tutorial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from layerwise.callbacks import Callback, History
from layerwise.data import extract_patches, load_images, normalize_patches
from layerwise.estimators import Autoencoder
from layerwise.penalties import KLSparsity
from layerwise.reproduce.experiment import Outcome
from layerwise.solvers import LBFGS

PUBLISHED = {
    "UFLDL": {
        "images": "10 whitened (IMAGES.mat)",
        "patches": 10_000,
        "iterations": 400,
        "filters": "edges of many orientations",
        "mean activation": 0.01,
    }
}
load = load_images


def run(
    images: Sequence[np.ndarray],
    *,
    n_patches: int = 10_000,
    max_iter: int = 400,
    seed: int = 0,
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
    announce: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    images : sequence of ndarray of shape (height, width)
    n_patches : int, default=10000
    max_iter : int, default=400
        Iterations of L-BFGS.
    seed : int, default=0
        Draws the patches and the initial weights.
    device : str, default="auto"
    callbacks : sequence of callable, default=()
    announce : callable, default does nothing
        Takes a line of text.

    Returns
    -------
    outcome : Outcome
    """
    history = History()
    patches = normalize_patches(extract_patches(images, (8, 8), n_patches, random_state=seed))
    autoencoder = Autoencoder(
        25,
        alpha=1e-4,
        sparsity=KLSparsity(target=0.01, weight=3.0),
        solver=LBFGS(max_iter=max_iter),
        device=device,
        random_state=seed,
        callbacks=[history, *callbacks],
    ).fit(patches)
    announce(f"cost {autoencoder.loss_:.4f}; look at filters.png: each tile is the input that one unit looks for")
    obtained = {
        "images": str(len(images)),
        "patches": n_patches,
        "iterations": autoencoder.n_iter_,
        "filters": "see filters.png",
        "mean activation": round(float(autoencoder.mean_activations_.mean()), 4),
        "cost": autoencoder.loss_,
    }
    return Outcome(autoencoder, obtained, history, patches, (8, 8))
