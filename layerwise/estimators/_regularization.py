"""What keeps fine-tuning from learning rows by heart: noise on the input, dropout and sparsity of the codes."""

from __future__ import annotations

from numbers import Real
from typing import Any

from sklearn.utils._param_validation import HasMethods, Interval

from layerwise.activations import Activation, get_activation
from layerwise.corruptions import CORRUPTIONS
from layerwise.estimators._checks import check_corruption, check_part
from layerwise.objective import split_terms
from layerwise.penalties import SPARSITIES

CONSTRAINTS: dict[str, Any] = {
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "corruption": [*CORRUPTIONS.values(), HasMethods("corrupt"), None],
    "sparsity": [*SPARSITIES.values(), HasMethods("value"), HasMethods("of_rows"), None],
}


def regularization(estimator: Any, activation: str | Activation) -> dict[str, Any]:
    """Return the parameters of an estimator as arguments of a training problem, checked.

    Parameters
    ----------
    estimator : estimator with the parameters ``dropout``, ``corruption`` and ``sparsity``
    activation : str or Activation
        That of the last codes.

    Returns
    -------
    arguments : dict
        Of `layerwise.objective.supervised_objective`.
    """
    check_part("sparsity", estimator.sparsity)
    if estimator.corruption is not None:
        check_corruption(estimator.corruption)
    terms = [] if estimator.sparsity is None else [estimator.sparsity]
    split_terms(get_activation(activation), terms)
    return {"dropout": float(estimator.dropout), "corruption": estimator.corruption, "terms": terms}
