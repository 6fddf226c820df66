"""From what users pass to what the algorithm needs, each with a clear refusal; and back."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval, MissingValues
from sklearn.utils.validation import _check_sample_weight, _num_features, _num_samples, validate_data

from layerwise import distributed
from layerwise.activations import get_activation
from layerwise.coder import Scan, Scans
from layerwise.corruptions import Corruption
from layerwise.data.naming import names_of
from layerwise.data.rows import Rows
from layerwise.estimators._columns import check_columns
from layerwise.estimators._intake import as_rows, mark_missing, refuse_kind
from layerwise.estimators._labels import read_labels
from layerwise.solvers import SOLVERS, Solver

# Types of the products; None is that of the rows.
DTYPES = {"auto": None, "float32": torch.float32, "float64": torch.float64}
# What rows may be; anything else becomes the first.
ROW_DTYPES = [np.float64, np.float32, np.float16, np.uint8]
_TENSOR_DTYPES = (torch.float64, torch.float32, torch.float16, torch.uint8)


def check_rows(
    estimator: BaseEstimator,
    X: Any,
    name: str = "X",
    *,
    dtype: torch.dtype | None,
    device: str,
    reset: bool = False,
    sample_weight: Any = None,
) -> Rows:
    """Return ``X`` as rows for this estimator; uint8 and floats keep their type. Rows of weight 0 are left out.

    Their blocks have this type; None makes them float64 where ``X`` is, or is whole numbers, and float32 otherwise.
    """
    X = check_matrix(estimator, X, name, reset=reset)
    weights = None if sample_weight is None else check_sample_weight(sample_weight, X)
    if dtype is None:
        dtype = torch.float64 if X.dtype in (np.float64, torch.float64) else torch.float32
    rows = Rows(X, dtype=dtype, device=check_device(device), weights=weights)
    return rows if weights is None or weights.all() else rows.subset(torch.from_numpy(np.flatnonzero(weights)))


def min_samples() -> int:
    """Return how many rows must be given: one of many ranks may have none."""
    return 1 if distributed.world_size() == 1 else 0


def check_matrix(estimator: BaseEstimator, X: Any, name: str = "X", *, reset: bool) -> Any:
    """Return an array, a tensor or a CSR matrix of one of the row types, with the right number of columns."""
    X = as_rows(X, name)
    if name != "X" and np.ndim(X) == 2 and _num_features(X) != estimator.n_features_in_:
        raise ValueError(f"{name} has {_num_features(X)} features, but X has {estimator.n_features_in_}")
    rows = _validate(estimator, X, name, reset=reset)
    check_columns(estimator, X, name, reset=reset)
    placeholder = getattr(estimator, "_placeholder", None)
    return rows if placeholder is None else mark_missing(rows, placeholder)


def _validate(estimator: BaseEstimator, X: Any, name: str, *, reset: bool) -> Any:
    if isinstance(X, torch.Tensor):
        X = X.detach()
        if X.is_inference() and not torch.is_inference_mode_enabled():
            X = X.clone()  # autograd takes no tensors that `torch.inference_mode` made
        if X.ndim == 2 and len(X) >= min_samples() and X.shape[1]:  # stays on its device
            validate_data(estimator, X, reset=reset, skip_check_array=True)
            return X if X.dtype in _TENSOR_DTYPES else X.double()
        X = X.numpy(force=True)
    accept_sparse = "csr" if get_tags(estimator).input_tags.sparse else False
    try:
        return validate_data(
            estimator,
            X,
            reset=reset,
            dtype=ROW_DTYPES,
            accept_sparse=accept_sparse,
            ensure_all_finite=False,
            ensure_min_samples=min_samples(),
        )
    except ValueError as error:
        reason, _, value = str(error).partition(": ")
        if reason != "could not convert string to float":
            raise
        value = value.removeprefix("np.str_(").removesuffix(")")
        raise ValueError(
            f"{name} holds text such as {value:.65}, but numbers are needed; layerwise.data.TableEncoder makes numbers "
            f"of a data frame with text, for example in make_pipeline(TableEncoder(), {type(estimator).__name__}(...))"
        ) from error


def column_ranges(rows: Rows, name: str = "X", *, allow_missing: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the smallest and the largest value of each column over the rows of all ranks, and check them together."""
    with distributed.agreed():
        lowest, highest = rows.column_ranges(name, allow_missing=allow_missing)
    distributed.check_same(f"the number of columns and the type of {name}", f"{rows.n_features} {rows.value_type}")
    rows.has_missing = distributed.any_rank(rows.has_missing)
    if not distributed.any_rank(len(rows) > 0):
        raise ValueError(f"{name} has no rows on any rank, but at least one is needed")
    return -distributed.maximum(-lowest), distributed.maximum(highest)


def scan_rows(
    estimator: BaseEstimator,
    autoencoder: Any,
    X: Any,
    sample_weight: Any = None,
    X_val: Any = None,
    *,
    reset: bool,
    trained: bool,
    allow_missing: bool = False,
) -> Scans:
    """Return rows to train an autoencoder with, and to validate it with, for the estimator that owns it.

    One that is ``trained`` already goes on in the type that it has, unless a parameter names one.
    """
    dtype, device = DTYPES[autoencoder.dtype], autoencoder.device
    if dtype is None and trained:
        dtype = autoencoder.coder_.dtype
    with distributed.agreed():
        rows = check_rows(estimator, X, dtype=dtype, device=device, reset=reset, sample_weight=sample_weight)
    scan = Scan(rows, *column_ranges(rows, allow_missing=allow_missing))
    if X_val is None:
        return scan, None
    with distributed.agreed():
        held_out = check_rows(estimator, X_val, "X_val", dtype=rows.dtype, device=device)
        return scan, Scan(held_out, *held_out.column_ranges("X_val"))


def check_sample_weight(sample_weight: Any, X: Any) -> np.ndarray:
    """Return weights of rows as float64 of shape (n_samples,), none negative and not all 0."""
    if not isinstance(sample_weight, Real):
        sample_weight = read_labels(sample_weight, "sample_weight")
    if not min_samples() and not len(sample_weight):
        return np.empty(0)
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError("the sum of sample_weight overflows; divide the weights by a large number")
    if total == 0 and min_samples():
        raise ValueError(
            "Sample weights must contain at least one non-zero number; with all weights zero no row counts"
        )
    # Only their proportions matter. On GPUs torch divides by multiplying with the reciprocal, which overflows here.
    return weights * 2.0**500 if 0 < total < 2.0**-900 else weights


def check_reach(estimator: BaseEstimator, first: Any, scan: Scan, name: str = "X", *, known: bool) -> None:
    """Refuse rows to train or validate with that the first layer cannot reconstruct, once they are scaled."""
    scaling, slack, lowest, highest = first.scaling_, 1e-9, scan.lowest, scan.highest  # of scaling, by rounding
    if known:  # rows beyond those of the training are normal; far beyond are other units
        slack += 1.0 if first.loss == "squared_error" else 0.1
    if scaling is not None:
        if known and first.loss == "squared_error":
            return
        lowest, highest = scaling(torch.stack([lowest, highest]))
    reach = get_activation(first.output_activation)
    beyond = ((lowest < reach.low - slack) | (highest > reach.high + slack)) & (lowest <= highest)
    if not beyond.any():
        return
    names = getattr(estimator, "feature_names_in_", None)
    columns = beyond.nonzero()[:, 0].tolist()
    names = names_of(name, len(lowest)) if names is None else names
    shown = ", ".join(repr(str(names[k])) if names is not None else str(k) for k in columns[:5])
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    how = "" if scaling is None else f" with scale={first.scale!r}"
    raise ValueError(
        f"{name} holds values from {lowest[beyond].min():g} to {highest[beyond].max():g}{how} in "
        f"column{'s' if len(columns) > 1 else ''} {shown}{more}, but output_activation={first.output_activation!r} "
        f"reaches only {reach.low:g} to {reach.high:g}; choose scale='auto' or 'minmax', or "
        f"output_activation='identity' with loss='squared_error'"
    )


def check_same_length(X: Any, y: np.ndarray, X_name: str, y_name: str) -> None:
    """Refuse labels that are not as many as the rows."""
    refuse_kind(X, X_name)
    n_rows = _num_samples(X)
    if y.ndim == 0:
        raise ValueError(f"{y_name}={y.item()!r} holds no labels; each of the {n_rows} rows of {X_name} needs one")
    if len(y) != n_rows:
        raise ValueError(f"{X_name} has {n_rows} rows, but {y_name} has {len(y)} labels; each row needs one")


def warn_of_target_rows(estimator: BaseEstimator, X: Any, y: Any) -> None:
    """Warn of ``y`` that looks like rows to reconstruct and is not ``X``: elsewhere they fit noisy rows to clean."""
    shape = getattr(y, "shape", None)
    if y is X or (shape is None and not isinstance(y, (list, tuple))):
        return
    try:
        shape = np.shape(y) if shape is None else shape
        if len(shape) != 2 or tuple(shape) != np.shape(X) or _same_values(X, y):
            return
    except ValueError:  # lists of unequal lengths are labels of some kind
        return
    warnings.warn(
        f"y has the shape of X, but {type(estimator).__name__} does not use it: the rows of X are the target. To learn "
        f"clean rows from noisy ones, fit the clean ones and say what the noise is like, for example "
        f"corruption=Gaussian(0.3); or fit StackedRegressor to the noisy rows with the clean ones as y",
        UserWarning,
        stacklevel=3,
    )


def _same_values(X: Any, y: Any) -> bool:
    if sparse.issparse(X) or sparse.issparse(y):
        return sparse.issparse(X) and sparse.issparse(y) and not (y != X).nnz
    X, y = (rows.numpy(force=True) if isinstance(rows, torch.Tensor) else np.asarray(rows) for rows in (X, y))
    return np.array_equal(X, y, equal_nan=X.dtype.kind == y.dtype.kind == "f")


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
    check_part("solver", solver)
    return solver


def check_part(name: str, part: Any) -> None:
    """Refuse a class in the place of an object, and an object with wrong parameters."""
    if isinstance(part, type):
        raise ValueError(f"{name}={part.__name__} is a class, but an object is expected: {part.__name__}()")
    if hasattr(part, "_parameter_constraints"):
        refuse_flags(part)
        part._validate_params()


def refuse_flags(part: Any) -> None:
    """Refuse True and False where a number is expected; they are integers in Python."""
    for name, constraints in part._parameter_constraints.items():
        value = getattr(part, name)
        if (
            isinstance(value, (bool, np.bool_))
            and "boolean" not in constraints
            and any(isinstance(constraint, (Interval, MissingValues)) for constraint in constraints)
        ):
            raise ValueError(f"{name}={value} of {type(part).__name__} is no number, but one is expected there")


def check_corruption(corruption: Corruption) -> None:
    """Refuse a corruption with wrong parameters."""
    check_part("corruption", corruption)
    weights = tuple(corruption.emphasis)
    sound = len(weights) == 2 and all(isinstance(weight, Real) and 0 <= weight < math.inf for weight in weights)
    if not sound or not any(weights):
        raise ValueError(
            f"emphasis={corruption.emphasis!r} of {type(corruption).__name__} must be two weights (corrupted, intact), "
            f"finite, not negative and not both 0"
        )


def like_input(values: torch.Tensor | np.ndarray, X: Any) -> Any:
    """Return results as ``X`` came: a tensor on its device for a tensor, otherwise an array; floats in its type."""
    if isinstance(X, torch.Tensor):
        tensor = torch.as_tensor(values, device=X.device)
        return (
            tensor.to(X.dtype) if X.dtype in (torch.float32, torch.float64) and tensor.is_floating_point() else tensor
        )
    array = values.cpu().numpy() if isinstance(values, torch.Tensor) else values
    dtype = getattr(X, "dtype", None)
    return array.astype(dtype, copy=False) if dtype in (np.float32, np.float64) and array.dtype.kind == "f" else array
