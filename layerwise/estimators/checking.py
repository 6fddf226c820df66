"""Is the mathematics right? Gradients against differences of values, for every stage of an estimator's training."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from layerwise.callbacks import History
from layerwise.estimators._finetuning import FineTunedEstimator
from layerwise.estimators.stack import StackedAutoencoder
from layerwise.objective import with_gradients
from layerwise.solvers import GradientCheck


@with_gradients
def check_gradient(
    estimator: BaseEstimator, X: Any, y: Any = None, *, n_coordinates: int = 100, random_state: int = 0
) -> dict[str, float]:
    """Compare the gradient of every stage of a fit with a numeric one, in float64, at random parameters.

    Nothing is trained and the estimator is not changed.

    Parameters
    ----------
    estimator : Autoencoder, StackedAutoencoder, StackedClassifier or StackedRegressor
        Fitted or not. A frozen stack inside keeps its weights.
    X : array-like of shape (n_samples, n_features)
        A few rows suffice: every evaluation takes all of them.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        For those that need it.
    n_coordinates : int, default=100
        Entries of the gradient that are compared in each stage.
    random_state : int, default=0
        Draws the parameters and the entries.

    Returns
    -------
    errors : dict of str to float
        For each stage (``layer 0``, ..., ``head``, ``finetune``) ``|gradient - numeric| / |numeric|``: about 1e-9 where
        the gradient is right.

    Examples
    --------
    >>> from layerwise import Autoencoder, KLSparsity, check_gradient
    >>> from layerwise.data import load_mnist_small
    >>> errors = check_gradient(Autoencoder(5, sparsity=KLSparsity(0.1)), load_mnist_small().X_train[:20])
    >>> list(errors), errors["layer 0"] < 1e-7
    (['layer 0'], True)
    """
    if n_coordinates < 1:
        raise ValueError(f"n_coordinates={n_coordinates} leaves nothing to compare; give at least 1")
    if isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    if isinstance(estimator, FineTunedEstimator) and y is None:
        raise ValueError(f"{type(estimator).__name__} needs y to be checked: one label a row of X")
    check, history = GradientCheck(n_coordinates, seed=random_state), History()
    estimator = _with_solver(estimator, check).set_params(
        callbacks=[history], checkpoint=None, random_state=random_state
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X) if y is None else estimator.fit(X, y)
    stages = [step.stage for step in history.steps if step.status is not None]
    return dict(zip(stages, check.errors, strict=True))


def _to_float64(estimator: Any) -> Any:
    """Let a fitted stack or layer compute in float64."""
    for each in (estimator, *getattr(estimator, "layers_", ())):
        each.dtype = "float64"
    for module in estimator.coder_.modules:
        module.double()
    return estimator


def _with_solver(estimator: BaseEstimator, solver: GradientCheck) -> Any:
    """Return a clone that computes in float64 and has this very solver in every stage."""
    if isinstance(estimator, FrozenEstimator):
        return FrozenEstimator(_to_float64(copy.deepcopy(estimator.estimator)))
    estimator = clone(estimator).set_params(early_stopping=None)
    if isinstance(estimator, FineTunedEstimator):
        estimator.autoencoder = _with_solver(estimator.autoencoder or StackedAutoencoder(), solver)
    else:
        estimator.dtype = "float64"
    if isinstance(estimator, StackedAutoencoder):
        estimator.layers = [_with_solver(layer, solver) for layer in estimator.recipes()]
    estimator.solver = solver
    if isinstance(estimator.alpha, (list, tuple)):
        estimator.alpha = estimator.alpha[0]
    return estimator
