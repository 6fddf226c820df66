"""UFLDL's sparse autoencoder on natural images: 64-25-64 learns edges from 8x8 patches.

References
----------
A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011, and the exercise of the UFLDL tutorial.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layerwise.data import extract_patches, load_images, normalize_patches, whiten_images
from layerwise.estimators import Autoencoder
from layerwise.penalties import KLSparsity
from layerwise.reproduce.experiment import Outcome, Session
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


def load(source: Path | None) -> list[np.ndarray]:
    """Load images, and whiten them as those of IMAGES.mat are."""
    images = load_images(source)
    return images if source is not None and source.suffix.lower() == ".mat" else whiten_images(images)


def run(
    images: Sequence[np.ndarray],
    session: Session,
    *,
    n_patches: int = 10_000,
    max_iter: int = 400,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    images : sequence of ndarray of shape (height, width)
    session : Session
    n_patches : int, default=10000
    max_iter : int, default=400
        Iterations of L-BFGS.
    """
    patches = extract_patches(images, (8, 8), n_patches, random_state=session.seed)
    patches = normalize_patches(patches - patches.mean(axis=1, keepdims=True))  # brightness is no edge
    autoencoder = Autoencoder(
        25,
        alpha=1e-4,
        sparsity=KLSparsity(target=0.01, weight=3.0),
        solver=LBFGS(max_iter=max_iter, progressive=False),
        **session.common,
    ).fit(patches)
    session.announce(f"cost {autoencoder.loss_:.4f}; each tile of filters.png is what one unit looks for")
    obtained: dict[str, float | str] = {
        "images": str(len(images)),
        "patches": n_patches,
        "iterations": autoencoder.n_iter_,
        "filters": "see filters.png",
        "mean activation": round(float(autoencoder.mean_activations_.mean()), 4),
        "cost": autoencoder.loss_,
    }
    return Outcome(autoencoder, obtained, patches, (8, 8))
