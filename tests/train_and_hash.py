"""Train small models of several kinds with one seed and print the sha256 of all their parameters; tests run it anew."""

import hashlib
import warnings

import numpy as np

from layerwise import (
    LBFGS,
    SGD,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    EarlyStopping,
    Gaussian,
    KLSparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    TopK,
)


def models():
    """Return estimators by name: each kind of solver, noise, sample and stage comes up."""
    sparse = Autoencoder(12, sparsity=KLSparsity(0.1), alpha=1e-3, solver=LBFGS(15))
    denoising = Autoencoder(
        10, corruption=Masking(0.3), tied=True, loss="binary_cross_entropy", solver=Adam(4, batch_size=64)
    )
    noisy = Autoencoder(8, activation="tanh", output_activation="identity", corruption=Gaussian(0.2), solver=SGD(4))
    growing = Autoencoder(6, solver=LBFGS(20))
    return {
        "sparse classifier": StackedClassifier(StackedAutoencoder([sparse, 6]), solver=LBFGS(10), random_state=0),
        "denoising stack": StackedAutoencoder(
            [denoising, Autoencoder(5, solver=Adam(3))], finetune="reconstruction", solver=Adam(3), random_state=1
        ),
        "noisy regressor": StackedRegressor(noisy, solver=SGD(4), random_state=2),
        "k-sparse": Autoencoder(9, activation=TopK(3), solver=Adam(4), random_state=6),
        "growing samples": growing.set_params(random_state=3),
        "early stopping": Autoencoder(7, early_stopping=EarlyStopping(0.2, patience=2), random_state=4),
        "imputer": AutoencoderImputer(Autoencoder(4, solver=Adam(3)), random_state=5),
    }


def rows():
    """Return 2,500 rows of 16 columns and labels: enough for L-BFGS to begin on a sample."""
    X = np.random.default_rng(0).random((2500, 16))
    return X, (X[:, 0] + X[:, 1] > 1).astype(int)


def parameters(estimator):
    """Return all arrays that training determines."""
    trained = estimator if hasattr(estimator, "coefs_") else estimator.autoencoder_
    return [*trained.coefs_, *trained.intercepts_, np.array(trained.loss_curve_)]


def digest():
    """Train all models; return the sha256 of their parameters."""
    X, y = rows()
    found = hashlib.sha256()
    for name, estimator in models().items():
        given = X if name == "growing samples" else X[:400]
        for array in parameters(estimator.fit(given, y[: len(given)])):
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(digest())
