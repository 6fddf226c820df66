"""The default recipes for tables: networks that begin where the linear model ends, and leave it only for a gain."""

from __future__ import annotations

from typing import Any

from layerwise.callbacks import EarlyStopping
from layerwise.corruptions import Gaussian
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier, StackedRegressor
from layerwise.recipes import describe
from layerwise.solvers import LBFGS

# Chosen on tables of R's data sets other than those that benchmarks/bench_tables.py reports.
_ACTIVATION = "elu"
_ALPHA = 1e-3  # of the reconstruction, for each column
_ALPHAS = (1e-3, 1e-2)
_N_UNITS = 32
# Values of a table, and its columns, up to which the recipes take seconds to a few minutes.
_MOST_VALUES, _MOST_COLUMNS = 5_000_000, 300


def table_autoencoder(n_features: int, n_hidden: int | None = None, **parameters: Any) -> StackedAutoencoder:
    """Return the default recipe for a table without labels: a stack that begins as PCA.

    Its first layer has n_features + 10 random units beside one for each column; its codes are linear.

    Parameters
    ----------
    n_features : int
        Columns, once text has become one column a value.
    n_hidden : int or None, default=None
        Width of the code; None is a third of the columns.
    **parameters : dict
        Other parameters of `StackedAutoencoder`, such as ``random_state``.

    Returns
    -------
    stack : StackedAutoencoder

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> X = load_wine().data
    >>> stack = table_autoencoder(X.shape[1], random_state=0).fit(X)
    >>> stack.transform(X).shape, stack.explained_variance_ratio_ > stack.pca_explained_variance_ratio_
    ((178, 4), True)
    """
    layers = [
        Autoencoder(n_features + 10, activation=_ACTIVATION, output_activation="identity", scale="standard"),
        Autoencoder(n_hidden or max(1, round(n_features / 3)), activation="identity", output_activation=_ACTIVATION),
    ]
    settings: dict[str, Any] = {
        "finetune": "reconstruction",
        "init": "pca",
        "alpha": n_features * _ALPHA,
        "decay": "start",
        "solver": LBFGS(200),
        "early_stopping": EarlyStopping(0.2, patience=100, tol=0.001, refit=True),
    }
    return StackedAutoencoder(layers, **settings | parameters)


def table_predictor(*, regression: bool = False, **parameters: Any) -> StackedClassifier | StackedRegressor:
    """Return the default recipe for a table with labels: a network that begins as a linear model.

    Its other units are those of a denoising autoencoder, trained on all rows, those without labels too.

    Parameters
    ----------
    regression : bool, default=False
        Whether to predict numbers instead of classes.
    **parameters : dict
        Other parameters of `StackedClassifier` or `StackedRegressor`, such as ``unlabeled``.

    Returns
    -------
    predictor : StackedClassifier or StackedRegressor

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> X, y = load_wine(return_X_y=True)
    >>> table_predictor(random_state=0).fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    True
    """
    units = Autoencoder(
        _N_UNITS,
        activation=_ACTIVATION,
        output_activation="identity",
        scale="standard",
        corruption=Gaussian(0.3),
        solver=LBFGS(50),
    )
    settings: dict[str, Any] = {
        "init": "linear",
        "alpha": list(_ALPHAS),
        "decay": "start",
        "solver": LBFGS(200),
        "early_stopping": EarlyStopping(0.2, patience=50, tol=0.001, refit=True, n_splits=5),
    }
    predictor = StackedRegressor if regression else StackedClassifier
    return predictor(StackedAutoencoder([units]), **settings | parameters)


def table_settings(model: str, n_rows: int, n_features: int) -> dict[str, Any]:
    """Return the layers and the fine-tuning of the default recipe for a table, as `layerwise.recipes.build` takes them.

    Parameters
    ----------
    model : str
        One of `layerwise.recipes.MODELS`.
    n_rows, n_features : int
        Of the table, once text has become numbers.

    Returns
    -------
    settings : dict
        ``layers`` and ``finetuning``; empty where there is no such recipe: for outliers, and for large tables.

    Examples
    --------
    >>> settings = table_settings("autoencoder", n_rows=200, n_features=13)
    >>> [layer["n_hidden"] for layer in settings["layers"]], settings["finetuning"]["init"]
    ([23, 4], 'pca')
    """
    if model == "outliers" or n_rows * n_features > _MOST_VALUES or n_features > _MOST_COLUMNS:
        return {}
    estimator = (
        table_autoencoder(n_features) if model == "autoencoder" else table_predictor(regression=model == "regressor")
    )
    settings = describe(estimator)
    return {name: settings[name] for name in ("layers", "finetuning")}
