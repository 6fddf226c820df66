"""A model as one ONNX file, compared with the model itself before it is kept."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from layerwise.activations import TopK
from layerwise.atomic import atomic
from layerwise.data.scaling import Scaling
from layerwise.export._parts import Parts, take_apart
from layerwise.export.torch_module import to_module
from layerwise.inspection import layers_of
from layerwise.modules import AutoencoderLayer

# The most that one file can hold, by the format it is written in.
_MAX_BYTES = 2**31 - 2**20
# How far onnxruntime may be from torch, as a share of the largest value of an output, or of its unit.
_TOLERANCE = 1e-5
# Steps of float32 larger than this share of a column's unit, its range or standard deviation, are warned of.
_COARSE = 1e-3
_INPUT = "rows"


def export_onnx(model: BaseEstimator, path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted model as one ONNX file, in which scaling and weights are inside.

    Its input ``rows`` is float32 of shape (n_rows, n_features) in the units that training saw, its outputs are those of
    `to_module`. A float32 has seven digits: of a column around 10,000 it keeps about 0.001. Names of features and
    classes (as JSON), the kind of model and the version of layerwise are in the metadata of the file.

    The file is kept if onnxruntime computes with it what torch computes with the model, on 1, 2 and 1,000 random rows.

    Parameters
    ----------
    model : estimator of layerwise, or Pipeline of ("table", TableEncoder), ("imputer", AutoencoderImputer) and such one
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

    Warns
    -----
    UserWarning
        If a float32 cannot tell the values of a column apart, such as times in seconds since 1970: names the columns.

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
    _warn_of_coarse_columns(parts)
    with atomic(path, overwrite=overwrite) as staging:
        _write(module, parts, staging)
        _check(module, parts, staging)


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
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rows = _without_near_ties(module, _random_rows(parts, 1000))
    units = _units(parts)
    allowed = _allowed(module, rows, units)
    for n_rows in (1, 2, len(rows)):
        found = session.run(None, {_INPUT: rows[:n_rows]})
        expected = module(torch.from_numpy(rows[:n_rows]))
        for (name, values), output in zip(expected.items(), found, strict=True):
            difference = _difference(output, values.numpy(), units.get(name, 1))
            if not difference <= allowed[name]:
                raise ValueError(
                    f"the ONNX file is not kept: of {n_rows} random rows onnxruntime computes {name} that differ from "
                    f"the model's by {difference:.2g}, but {allowed[name]:.2g} is allowed"
                )


def _units(parts: Parts) -> dict[str, np.ndarray]:
    """Return the scale of the columns of those outputs that are in the units of the data."""
    own, targets = _scaling_of(parts), getattr(parts.estimator, "target_scaling_", None)
    units = {} if own is None else dict.fromkeys(("reconstructions", "filled"), own.scale.numpy(force=True))
    return units if targets is None else units | {"predictions": targets.scale.numpy(force=True)}


def _scaling_of(parts: Parts) -> Scaling | None:
    return layers_of(parts.first)[0].scaling_


def _warn_of_coarse_columns(parts: Parts) -> None:
    """Warn of columns that are far from 0 and vary so little that float32 loses what the model was trained on."""
    scaling = _scaling_of(parts)
    if scaling is None:
        return
    center, scale = scaling.center.numpy(force=True), scaling.scale.numpy(force=True)
    with np.errstate(over="ignore"):
        step = np.spacing((np.abs(center) + np.abs(scale)).astype(np.float32)).astype(np.float64)
    coarse = np.flatnonzero(~(step <= _COARSE * np.abs(scale)))
    if len(coarse):
        names = [f"column {place}" if parts.feature_names is None else parts.feature_names[place] for place in coarse]
        listed = ", ".join(f"{name} (steps of {step[place]:.3g})" for name, place in zip(names, coarse, strict=True))
        warnings.warn(
            f"the ONNX file takes float32, which is too coarse for {listed:.500}: what it computes may be far from what "
            f"the model computes; subtract a number near their mean from such columns before training",
            UserWarning,
            stacklevel=3,
        )


def _allowed(module: nn.Module, rows: np.ndarray, units: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return how far each output may be off: more than the tolerance only where float32 itself is less exact."""
    exact = copy.deepcopy(module).double()(torch.from_numpy(rows).double())
    return {
        name: max(_TOLERANCE, 10 * _difference(values.numpy(), exact[name].numpy(), units.get(name, 1)))
        for name, values in module(torch.from_numpy(rows)).items()
    }


class _WatchedTopK(TopK):
    """Marks the rows in which rounding may decide which units are kept."""

    def __init__(self, k: int, marked: Tensor):
        super().__init__(k)
        self.marked = marked

    def forward(self, z: Tensor) -> Tensor:
        strongest = torch.relu(z).topk(min(self.k + 1, z.shape[1]), dim=1).values
        weakest, others = strongest[:, self.k - 1 : self.k], strongest[:, self.k :]
        self.marked |= ((weakest > 0) & (weakest - others < _TOLERANCE * strongest[:, :1])).any(dim=1)
        return super().forward(z)


def _without_near_ties(module: nn.Module, rows: np.ndarray) -> np.ndarray:
    """Leave out rows in which rounding may decide which units `TopK` keeps, unless that leaves none."""
    exact, marked = copy.deepcopy(module).double(), torch.zeros(len(rows), dtype=torch.bool)
    for part in exact.modules():
        if isinstance(part, AutoencoderLayer) and isinstance(part.activation, TopK):
            part.activation = _WatchedTopK(part.activation.k, marked)
    exact(torch.from_numpy(rows).double())
    return rows if marked.all() else rows[~marked.numpy()]


def _random_rows(parts: Parts, n_rows: int) -> np.ndarray:
    """Return rows that are from 0 to 1 when scaled, with gaps where the model fills in such."""
    rng = np.random.default_rng(0)
    rows = rng.random((n_rows, parts.n_features))
    scaling = _scaling_of(parts)
    if scaling is not None:
        rows = copy.deepcopy(scaling).cpu().inverse(torch.from_numpy(rows)).numpy()
    if parts.fills_in:
        rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows.astype(np.float32)


def _difference(found: np.ndarray, expected: np.ndarray, unit: np.ndarray | int) -> float:
    """Return the largest difference, as a share of the unit of its column, or of the largest value if that is more."""
    if found.shape != expected.shape:
        return float("inf")
    size = np.maximum(unit, np.abs(expected).max(axis=0))
    return float((np.abs(found - expected) / size).max())
