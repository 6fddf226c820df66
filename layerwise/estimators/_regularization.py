"""What keeps fine-tuning from learning rows by heart: noise on the input, dropout and sparsity of the codes."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from layerwise.activations import Activation, get_activation
from layerwise.corruptions import CORRUPTIONS
from layerwise.estimators._checks import check_corruption, check_part
from layerwise.objective import split_terms
from layerwise.penalties import SPARSITIES

# Of the weight decay in fine-tuning.
DECAY: dict[str, Any] = {
    "alpha": [Interval(Real, 0, None, closed="left"), list, tuple],
    "decay": [StrOptions({"zero", "start"})],
}
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


def weight_decay_of(estimator: Any, *, one_iteration: bool) -> float | list[float]:
    """Return the factor of the weight decay, or those to choose among, checked.

    Parameters
    ----------
    estimator : estimator with the parameters ``alpha`` and ``early_stopping``
    one_iteration : bool
        Whether only one step is taken, as by ``partial_fit``.
    """
    alpha, stopping = estimator.alpha, estimator.early_stopping
    several = isinstance(alpha, (list, tuple))
    if one_iteration and (several or (stopping is not None and stopping.refit)):
        raise ValueError(
            f"partial_fit takes one step, which chooses nothing: alpha={alpha!r} must be a number, and "
            f"early_stopping={stopping!r} must not have refit=True; or call fit"
        )
    if not several:
        return float(alpha)
    numbers = [isinstance(each, Real) and not isinstance(each, bool) and 0 <= float(each) < math.inf for each in alpha]
    if not numbers or not all(numbers):
        raise ValueError(f"alpha={alpha!r} must be a number that is not negative, or a list of one or more such")
    if len(alpha) > 1 and stopping is None:
        raise ValueError(
            f"alpha={alpha!r} holds several values, but no samples are held out to choose by; set "
            f"early_stopping=EarlyStopping(refit=True), or alpha to a number"
        )
    return [float(each) for each in alpha]
