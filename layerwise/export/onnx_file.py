"""A model as one ONNX file, compared with the model itself before it is kept."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from layerwise.atomic import atomic
from layerwise.data.scaling import Scaling
from layerwise.export._parts import Parts, take_apart
from layerwise.export.torch_module import to_module
from layerwise.limits import is_utf8
from layerwise.modules import AutoencoderLayer

# The most that one file can hold, by the format it is written in.
_MAX_BYTES = 2**31 - 2**20
# How far onnxruntime may be from torch, as a share of the largest value of an output, or of 1.
_TOLERANCE = 1e-5
# Columns are warned of where a step of float32 is a larger share of their scale.
_COARSE = 0.01
_INPUT = "rows"


def export_onnx(model: BaseEstimator, path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted model as one ONNX file, in which scaling and weights are inside.

    Its input ``rows`` is float32 of shape (n_rows, n_features) in the units that training saw, its outputs are those of
    `to_module`. A float32 has seven digits: of a column around 10,000 it keeps about 0.001, and a warning names columns
    of which that is a hundredth of their scale or more. Names of features and classes (as JSON), the kind of model and
    the version of layerwise are in the metadata of the file.

    The file is kept if onnxruntime computes with it what torch computes with the model, on 1, 2 and 1,000 random rows;
    reconstructions and predictions are compared in the scale of the training.

    Parameters
    ----------
    model : estimator of layerwise, or Pipeline of ("table", TableEncoder), ("imputer", AutoencoderImputer) and such one
        In place of the imputer there may be a ("counts", CountScaler); reconstructions are those of scaled counts then.
        The encoder of a table is left out: the file takes the columns that it makes.
    path : str or path-like
        The file, which ends in ``.onnx``.
    overwrite : bool, default=False
        Whether to replace a file that is there.

    Raises
    ------
    ValueError
        If the path does not end in ``.onnx``, the model is not known or too large, or the file computes something else.
    FileExistsError
        If the file exists and must not be replaced.
    ImportError
        If onnx, onnxscript or onnxruntime is missing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, onnxruntime
    >>> from layerwise import Autoencoder, LBFGS
    >>> X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    >>> autoencoder = Autoencoder(3, solver=LBFGS(max_iter=5), random_state=0).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.onnx"
    >>> export_onnx(autoencoder, path)
    >>> codes, reconstructions = onnxruntime.InferenceSession(path).run(None, {"rows": X})
    >>> np.allclose(codes, autoencoder.transform(X), atol=1e-5)
    True
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"path={path.name!r} must end in .onnx")
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs onnx, onnxscript and onnxruntime ({error}); pip install 'layerwise[onnx]'"
        ) from error
    parts, module = take_apart(model), to_module(model)
    n_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
    if n_bytes > _MAX_BYTES:
        raise ValueError(
            f"the model takes {n_bytes / 2**30:.1f} GiB, but one ONNX file holds less than 2; use export_numpy"
        )
    with atomic(path, overwrite=overwrite) as staging:
        _write(module, parts, staging)
        _check(module, parts, staging)
    _warn_of_coarse_columns(parts)


def _write(module: nn.Module, parts: Parts, path: Path) -> None:
    example = torch.zeros(2, parts.n_features)
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[_INPUT],
            output_names=list(module(example)),
            dynamic_shapes={_INPUT: {0: torch.export.Dim("n_rows")}},
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props.update(_metadata(parts))
        program.save(path, external_data=False)


def _metadata(parts: Parts) -> dict[str, str]:
    metadata = {
        "layerwise_version": version("layerwise"),
        "model": type(parts.estimator).__name__,
        "input": "intensities from 0 to 1 (those of uint8, divided by 255)"
        if parts.intensities
        else "rows as they are",
    }
    if parts.feature_names is not None:
        metadata["feature_names"] = json.dumps(parts.feature_names)
    if hasattr(parts.estimator, "classes_"):
        metadata["classes"] = json.dumps(parts.estimator.classes_.tolist())
    return metadata


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of its own parts."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)


def _check(module: nn.Module, parts: Parts, path: Path) -> None:
    """Compare what a file and the model that it was made of compute from the same rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    source = path if is_utf8(path) else path.read_bytes()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    rows = _without_near_ties(module, _random_rows(parts, 1000))
    units = _units(parts)
    allowed = _allowed(module, rows, units)
    for n_rows in (1, 2, len(rows)):
        found = session.run(None, {_INPUT: rows[:n_rows]})
        expected = module(torch.from_numpy(rows[:n_rows]))
        for (name, values), output in zip(expected.items(), found, strict=True):
            difference = _difference(output, values.numpy(), units.get(name))
            if not difference <= allowed[name]:
                raise ValueError(
                    f"the ONNX file is not kept: of {n_rows} random rows onnxruntime computes {name} that differ from "
                    f"the model's by {difference:.2g}, but {allowed[name]:.2g} is allowed"
                )


def _units(parts: Parts) -> dict[str, np.ndarray]:
    """Return how much of each column of an output is 1 in the scale of the training, where that is known."""
    scaling: Scaling | None = parts.first.coder_.scaling
    targets: Scaling | None = getattr(parts.estimator, "target_scaling_", None)
    units = {"predictions": targets, "filled": scaling, "reconstructions": scaling}
    return {name: found.scale.numpy(force=True) for name, found in units.items() if found is not None}


def _warn_of_coarse_columns(parts: Parts) -> None:
    """Warn of columns of which float32 tells too few values apart, such as times in seconds since 1970."""
    scaling: Scaling | None = parts.first.coder_.scaling
    if scaling is None:
        return
    center, unit = scaling.center.numpy(force=True), scaling.scale.numpy(force=True)
    steps = np.spacing(np.maximum(np.abs(center), np.abs(center + unit)).astype(np.float32)).astype(float)
    coarse = np.flatnonzero(steps > _COARSE * np.abs(unit))
    if len(coarse):
        names = [str(k) if parts.feature_names is None else repr(parts.feature_names[k]) for k in coarse]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        warnings.warn(
            f"the input of the file is float32, which cannot hold column{'s' if len(names) > 1 else ''} "
            f"{', '.join(names[:5])}{more}: its steps are {steps[coarse[0]]:g} there, while one unit of the scale is "
            f"{unit[coarse[0]]:g}; subtract a constant from such columns before the fit, or use export_numpy",
            UserWarning,
            stacklevel=3,
        )


def _allowed(module: nn.Module, rows: np.ndarray, units: dict[str, np.ndarray]) -> dict[str, float]:
    """Return how far each output may be off: more than the tolerance only where float32 itself is less exact."""
    exact = copy.deepcopy(module).double()(torch.from_numpy(rows).double())
    return {
        name: max(_TOLERANCE, 10 * _difference(values.numpy(), exact[name].numpy(), units.get(name)))
        for name, values in module(torch.from_numpy(rows)).items()
    }


class _Watched:
    """An activation that marks the rows in which rounding may decide which units it keeps."""

    def __init__(self, activation: Any, marked: Tensor):
        self.activation = activation
        self.marked = marked

    def forward(self, z: Tensor) -> Tensor:
        self.marked |= self.activation.find_ties(z, _TOLERANCE)
        return self.activation.forward(z)


def _without_near_ties(module: nn.Module, rows: np.ndarray) -> np.ndarray:
    """Leave out rows in which rounding may decide which units an activation keeps, unless that leaves none."""
    exact, marked = copy.deepcopy(module).double(), torch.zeros(len(rows), dtype=torch.bool)
    for part in exact.modules():
        if isinstance(part, AutoencoderLayer) and hasattr(part.activation, "find_ties"):
            part.activation = _Watched(part.activation, marked)  # type: ignore[assignment]
    exact(torch.from_numpy(rows).double())
    return rows if marked.all() else rows[~marked.numpy()]


def _random_rows(parts: Parts, n_rows: int) -> np.ndarray:
    """Return rows that are from 0 to 1 when scaled, with gaps where the model fills in such."""
    rng = np.random.default_rng(0)
    rows = rng.random((n_rows, parts.n_features))
    scaling: Scaling | None = parts.first.coder_.scaling
    if scaling is not None:
        rows = copy.deepcopy(scaling).cpu().inverse(torch.from_numpy(rows)).numpy()
    if parts.fills_in:
        rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows.astype(np.float32)


def _difference(found: np.ndarray, expected: np.ndarray, unit: np.ndarray | None) -> float:
    """Return the largest difference, in units of its column; without, as a share of its largest value if above 1."""
    if found.shape != expected.shape:
        return float("inf")
    size = np.maximum(1, np.abs(expected).max(axis=0)) if unit is None else np.abs(unit)
    return float((np.abs(found - expected) / size).max())
