"""What a test runs in a process of its own: train on two threads, fork, and use and train models in the child."""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from layerwise import LBFGS, Adam, Autoencoder, AutoencoderOutlierDetector, StackedClassifier


def work(autoencoder, classifier, detector, X, y):
    """Return what the models make of the rows, those in memory and those of a file, and what they learn anew."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "rows.npy", X)
        mapped = np.load(Path(folder) / "rows.npy", mmap_mode="r")
        codes = autoencoder.transform(mapped)
    # One step: a second one extrapolates so far that a rounding, other on one thread than on two, becomes a hundredth.
    again = StackedClassifier(Autoencoder(200, solver=Adam(1)), solver=LBFGS(1), random_state=0).fit(X, y)
    return [
        codes,
        autoencoder.transform(X),
        classifier.predict_proba(X),
        detector.predict(X),
        np.array([autoencoder.score(X), *again.loss_curve_]),
    ]


def main(how):
    """Train, fork in this way, and compare what parent and child found."""
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    X = rng.random((3000, 60))
    y = (X[:, 0] > 0.5).astype(int)
    autoencoder = Autoencoder(200, solver=LBFGS(3), random_state=0).fit(X)
    frozen = FrozenEstimator(autoencoder)
    classifier = StackedClassifier(frozen, solver=LBFGS(3), random_state=0).fit(X, y)
    models = autoencoder, classifier, AutoencoderOutlierDetector(frozen).fit(X), X, y
    expected = work(*models)
    if how == "os":
        child = os.fork()
        if child == 0:
            compare(work(*models), expected)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    else:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for found in pool.starmap(work, [models] * 2):
                compare(found, expected)
    assert torch.get_num_threads() == 2
    print("done")


def compare(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


if __name__ == "__main__":
    main(sys.argv[1])
