"""The default recipes for tables: networks that begin where the linear model ends, and move away only if it pays."""

from __future__ import annotations

from typing import Any

from layerwise.callbacks import EarlyStopping
from layerwise.corruptions import Gaussian
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier, StackedRegressor
from layerwise.solvers import LBFGS

_ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1)


def table_autoencoder(
    n_samples: int, n_features: int, n_hidden: int | None = None, **parameters: Any
) -> StackedAutoencoder:
    """Return a stack for a table without labels: PCA at the start."""
    n_hidden = n_hidden or max(1, round(n_features / 3))
    layers = [
        Autoencoder(n_features + 10, activation="tanh", output_activation="identity", scale="standard"),
        Autoencoder(n_hidden, activation="identity", output_activation="tanh"),
    ]
    return StackedAutoencoder(
        layers,
        finetune="reconstruction",
        init="pca",
        alpha=[n_features * alpha for alpha in _ALPHAS],
        decay="start",
        solver=LBFGS(300),
        early_stopping=EarlyStopping(0.2, patience=25, tol=0.01, refit=True),
        **parameters,
    )


def table_predictor(
    n_samples: int, n_features: int, *, regression: bool = False, **parameters: Any
) -> StackedClassifier | StackedRegressor:
    """Return a network for a table with labels: a linear model at the start."""
    units = Autoencoder(
        32,
        activation="tanh",
        output_activation="identity",
        scale="standard",
        corruption=Gaussian(0.3),
        solver=LBFGS(50),
    )
    predictor = StackedRegressor if regression else StackedClassifier
    return predictor(
        units,
        init="linear",
        alpha=[1e-3, 1e-2, 1e-1],
        decay="start",
        solver=LBFGS(200),
        early_stopping=EarlyStopping(0.2, patience=25, tol=0.001, refit=True),
        **parameters,
    )
