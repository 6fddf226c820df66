"""The linear models that networks may begin as: by scikit-learn, of standard scores, with penalties chosen by folds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import StratifiedKFold

from layerwise.activations import get_activation
from layerwise.starts import can_carry

# Inverse strengths of the penalty of logistic regression; ridge penalties as shares of the number of rows.
_INVERSE_PENALTIES = 10.0 ** np.arange(-3, 5)
_PENALTIES = 10.0 ** np.arange(-5, 2)
_N_FOLDS, _FEWEST_FOLDS, _MAX_ITER = 5, 3, 500
# Logit of a class without a row, below the others: a heuristic choice.
_FAR_BELOW = 10.0


def refuse_layers_that_cannot_carry(recipes: Sequence[Any]) -> None:
    """Refuse to begin as a linear model with layers whose units cannot pass on the columns."""
    for index, layer in enumerate(recipes):
        activation = getattr(layer, "estimator", layer).activation
        if not can_carry(get_activation(activation)):
            raise ValueError(
                f"init='linear' cannot begin with activation={activation!r} of layer {index}, whose units do not act "
                f"one by one; choose 'tanh' or another function by name, or init='zero'"
            )


def fit_logistic(
    scores: np.ndarray,
    classes: np.ndarray,
    n_classes: int,
    weights: np.ndarray | None,
    *,
    fit_intercept: bool,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits as a linear function of standard scores, by logistic regression.

    The L2 penalty is the one of eight with the lowest cross-entropy over five folds, or as many as the
    rarest class has rows; where that has fewer than three, that of scikit-learn.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_features)
    classes : ndarray of shape (n_samples,), int
    n_classes : int
        Classes without a row get a logit far below the others.
    weights : ndarray of shape (n_samples,) or None
    fit_intercept : bool
    seed : int
        Deals the rows out to the folds.

    Returns
    -------
    coefficients : ndarray of shape (n_classes, n_features)
    intercepts : ndarray of shape (n_classes,)
    """
    present, counts = np.unique(classes, return_counts=True)
    coefficients, intercepts = np.zeros((n_classes, scores.shape[1])), np.zeros(n_classes)
    if len(present) < 2:
        return coefficients, intercepts
    strength = 1.0
    if counts.min() >= _FEWEST_FOLDS:
        folds = StratifiedKFold(min(_N_FOLDS, counts.min()), shuffle=True, random_state=seed)
        losses = np.zeros(len(_INVERSE_PENALTIES))
        for train, test in folds.split(scores, classes):
            model = _logistic(fit_intercept, warm_start=True)
            for place, strength in enumerate(_INVERSE_PENALTIES):
                model.set_params(C=strength)
                _fit(model, scores[train], classes[train], None if weights is None else weights[train])
                p = model.predict_proba(scores[test])[np.arange(len(test)), np.searchsorted(present, classes[test])]
                logs = np.log(np.maximum(p, np.finfo(float).tiny))
                losses[place] -= np.average(logs, weights=None if weights is None else weights[test])
        strength = _INVERSE_PENALTIES[losses.argmin()]
    model = _fit(_logistic(fit_intercept, C=strength), scores, classes, weights)
    if len(present) == 2:  # one logit for the second against the first
        coefficients[present] = np.concatenate([-model.coef_, model.coef_]) / 2
        intercepts[present] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        coefficients[present], intercepts[present] = model.coef_, model.intercept_
    if fit_intercept:
        intercepts[np.setdiff1d(np.arange(n_classes), present)] = intercepts.min() - _FAR_BELOW
    return coefficients, intercepts


def fit_ridge(
    scores: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, *, fit_intercept: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets as a linear function of standard scores, by ridge regression, its penalty by leaving rows out.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_features)
    targets : ndarray of shape (n_samples, n_outputs)
    weights : ndarray of shape (n_samples,) or None
    fit_intercept : bool

    Returns
    -------
    coefficients : ndarray of shape (n_outputs, n_features)
    intercepts : ndarray of shape (n_outputs,)
    """
    model = RidgeCV(_PENALTIES * len(scores), fit_intercept=fit_intercept).fit(scores, targets, sample_weight=weights)
    coefficients = np.reshape(model.coef_, (targets.shape[1], -1))
    return coefficients, np.broadcast_to(model.intercept_, len(coefficients)).astype(np.float64)


def _logistic(fit_intercept: bool, **others: Any) -> LogisticRegression:
    return LogisticRegression(fit_intercept=fit_intercept, max_iter=_MAX_ITER, **others)


def _fit(model: Any, *rows: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the network is trained further
        return model.fit(*rows)
