"""From what users pass to what the algorithm needs, each with a clear refusal; and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples, validate_data

from layerwise.activations import get_activation
from layerwise.callbacks import Callback, call_all
from layerwise.corruptions import Corruption
from layerwise.data.rows import Rows
from layerwise.solvers import SOLVERS, Solver, Status
from layerwise.stages import Stage, Training

# What of a stage becomes a fitted attribute.
RECORD = ("loss", "loss_curve", "validation_loss_curve", "n_iter", "n_evaluations", "converged")
DTYPES = {"float32": torch.float32, "float64": torch.float64}
# What rows may be; anything else becomes the first.
ROW_DTYPES = [np.float64, np.float32, np.float16, np.uint8]


def check_rows(
    estimator: BaseEstimator,
    X: Any,
    *,
    dtype: str,
    device: str,
    reset: bool = False,
    output_activation: str | None = None,
    name: str = "X",
) -> Rows:
    """Return ``X`` as rows for this estimator; uint8 and floats keep their type.

    All values must be finite and, where an output activation is named, in its range.
    """
    if isinstance(X, torch.Tensor):  # scikit-learn would not see that it is uint8
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy(force=True)
    X = validate_data(estimator, X, reset=reset, dtype=ROW_DTYPES, ensure_all_finite=False)
    rows = Rows(X, dtype=DTYPES[dtype], device=check_device(device))
    low, high = rows.range(name)
    if output_activation is not None:
        reach = get_activation(output_activation)
        if low < reach.low or high > reach.high:
            raise ValueError(
                f"{name} holds values from {low:g} to {high:g}, but output_activation={output_activation!r} reaches "
                f"only {reach.low:g} to {reach.high:g}; scale the columns, for example with "
                f"sklearn.preprocessing.MinMaxScaler"
            )
    return rows


def check_training_rows(
    estimator: BaseEstimator, X: Any, X_val: Any, output_activation: str
) -> tuple[Rows, Rows | None]:
    """Return ``X`` as rows to train a transformer with, and ``X_val`` as rows to validate it, if there are such."""
    common = {"dtype": estimator.dtype, "device": estimator.device, "output_activation": output_activation}
    rows = check_rows(estimator, X, **common, reset=True)
    return rows, None if X_val is None else check_rows(estimator, X_val, **common, name="X_val")


def check_same_length(X: Any, y: Any, X_name: str, y_name: str) -> None:
    """Refuse labels that are not as many as the rows."""
    n_rows = _num_samples(X)
    if np.ndim(y) == 0:
        raise ValueError(f"{y_name}={y!r} holds no labels; each of the {n_rows} rows of {X_name} needs one")
    if len(y) != n_rows:
        raise ValueError(f"{X_name} has {n_rows} rows, but {y_name} has {len(y)} labels; each row needs one")


def check_device(device: str) -> torch.device:
    """Return the device of this name; ``"auto"`` is a GPU where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(f"device={device!r} is not known; choose 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} was asked for, but torch finds {torch.cuda.device_count()} CUDA devices; choose "
            f"'auto' or 'cpu'"
        )
    return found


def check_solver(solver: Solver | str) -> Solver:
    """Return the solver, checked; a name stands for the default object."""
    if isinstance(solver, str):
        return SOLVERS[solver]()
    if isinstance(solver, type):
        raise ValueError(f"solver={solver.__name__} is a class, but an object is expected: {solver.__name__}()")
    if hasattr(solver, "_parameter_constraints"):
        solver._validate_params()
    return solver


def check_part(part: BaseEstimator | None) -> None:
    """Refuse a penalty or an early stopping with wrong parameters."""
    if part is not None:
        part._validate_params()


def check_corruption(corruption: Corruption) -> None:
    """Refuse a corruption with wrong parameters."""
    corruption._validate_params()
    weights = tuple(corruption.emphasis)
    if len(weights) != 2 or not all(isinstance(weight, Real) and weight >= 0 for weight in weights) or not any(weights):
        raise ValueError(
            f"emphasis={corruption.emphasis!r} of {type(corruption).__name__} must be two weights (corrupted, intact), "
            f"not negative and not both 0"
        )


def make_training(random_state: Any, callbacks: Sequence[Callback] | None, cache_size: float) -> Training:
    """Return what the stages of a fit share."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    for callback in callbacks or ():
        if not callable(callback):
            raise ValueError(
                f"callbacks holds {callback!r}, which cannot be called; a callback takes a Step (early stopping has a "
                f"parameter of its own, early_stopping)"
            )
    return Training(
        callback=call_all(callbacks),
        generator=torch.Generator().manual_seed(int(seed)),
        split_seed=int(seed),
        cache_bytes=int(cache_size * 1e6),
    )


def keep_record(estimator: BaseEstimator, stage: Stage) -> None:
    """Set the fitted attributes that tell how a stage went."""
    for name in RECORD:
        setattr(estimator, f"{name}_", getattr(stage, name))


def forget_record(estimator: BaseEstimator) -> None:
    """Remove those attributes, where an earlier fit left them."""
    for name in RECORD:
        vars(estimator).pop(f"{name}_", None)


def warn_unless_converged(estimator: BaseEstimator, stages: Sequence[Stage]) -> None:
    """Warn once about all stages that used up their iterations or diverged; who stops one knows it."""
    unfinished = [stage for stage in stages if stage.status in (Status.MAX_ITER, Status.DIVERGED)]
    if unfinished:
        reasons = "; ".join(f"{stage.name} {_reason(stage)}" for stage in unfinished)
        diverged = any(stage.status is Status.DIVERGED for stage in unfinished)
        remedy = "Lower learning_rate_init" if diverged else "Raise max_iter of the solver, or its tol"
        warnings.warn(
            f"{type(estimator).__name__} did not converge: {reasons}. {remedy}.",
            ConvergenceWarning,
            stacklevel=3,
        )


def _reason(stage: Stage) -> str:
    gradient = "" if stage.max_gradient is None else f", max |gradient| {stage.max_gradient:.2g}"
    return f"{stage.status.value} (loss {stage.loss:.6g}{gradient})"


def to_array(values: torch.Tensor, like: Any) -> np.ndarray:
    """Return a tensor as an array, in the type of ``like`` where that is a floating one."""
    array = values.cpu().numpy()
    dtype = getattr(like, "dtype", None)
    return array.astype(dtype, copy=False) if dtype in (np.float32, np.float64) else array
