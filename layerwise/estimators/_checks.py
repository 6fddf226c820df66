"""From what users pass to what the algorithm needs, each with a clear refusal; and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from layerwise.activations import get_activation
from layerwise.data.rows import Rows
from layerwise.solvers import LBFGS, SOLVERS, Status
from layerwise.stacking import Stage

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def check_rows(
    estimator: BaseEstimator,
    X: Any,
    *,
    dtype: str,
    device: str,
    reset: bool = False,
    output_activation: str | None = None,
) -> Rows:
    """Return ``X`` as rows for this estimator; uint8 and floats keep their type.

    All values must be finite and, where an output activation is named, in its range.
    """
    if isinstance(X, torch.Tensor):  # scikit-learn would not see that it is uint8
        X = X.numpy(force=True)
    X = validate_data(estimator, X, reset=reset, dtype=[np.float64, np.float32, np.uint8], ensure_all_finite=False)
    rows = Rows(X, dtype=DTYPES[dtype], device=check_device(device))
    low, high = rows.range()
    if output_activation is not None:
        reach = get_activation(output_activation)
        if low < reach.low or high > reach.high:
            raise ValueError(
                f"X holds values from {low:g} to {high:g}, but output_activation={output_activation!r} reaches only "
                f"{reach.low:g} to {reach.high:g}; scale the columns, for example with "
                f"sklearn.preprocessing.MinMaxScaler"
            )
    return rows


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


def check_solver(solver: LBFGS | str) -> LBFGS:
    """Return the solver, checked; a name stands for the default object."""
    if isinstance(solver, str):
        return SOLVERS[solver]()
    solver._validate_params()
    return solver


def make_generator(random_state: Any) -> torch.Generator:
    """Return a generator that draws as ``random_state`` says."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return torch.Generator().manual_seed(int(seed))


def keep_record(estimator: BaseEstimator, stage: Stage) -> None:
    """Set the fitted attributes that tell how a stage went."""
    estimator.loss_ = stage.loss
    estimator.loss_curve_ = stage.loss_curve
    estimator.n_iter_ = stage.n_iter
    estimator.n_evaluations_ = stage.n_evaluations
    estimator.converged_ = stage.status.converged


def warn_unless_converged(estimator: BaseEstimator, stages: Sequence[Stage]) -> None:
    """Warn once about all stages that used up their iterations; who stops one by a callback knows it."""
    unfinished = [stage for stage in stages if stage.status is Status.MAX_ITER]
    if unfinished:
        reasons = "; ".join(
            f"{stage.name} {stage.status.value} (loss {stage.loss:.6g}, max |gradient| {stage.max_gradient:.2g})"
            for stage in unfinished
        )
        warnings.warn(
            f"{type(estimator).__name__} did not converge: {reasons}. Raise max_iter of the solver, or its tol.",
            ConvergenceWarning,
            stacklevel=3,
        )


def to_array(values: torch.Tensor, like: Any) -> np.ndarray:
    """Return a tensor as an array, in the type of ``like`` where that is a floating one."""
    array = values.cpu().numpy()
    dtype = getattr(like, "dtype", None)
    return array.astype(dtype, copy=False) if dtype in (np.float32, np.float64) else array
