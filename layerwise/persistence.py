"""Models on disk: a readable ``config.json`` and the numbers in ``model.safetensors``. Nothing is ever unpickled."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor

from layerwise.atomic import atomic
from layerwise.callbacks import EarlyStopping
from layerwise.corruptions import Gaussian, Masking, SaltAndPepper
from layerwise.data.table_encoder import TableEncoder
from layerwise.estimators import (
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.estimators._checks import check_device
from layerwise.penalties import KLSparsity, L1Sparsity
from layerwise.solvers import LBFGS, SGD, Adam

FORMAT = "layerwise model"
FORMAT_VERSION = 3
CONFIG, TENSORS = "config.json", "model.safetensors"

# Only these are ever made from a file.
CLASSES = {
    cls.__name__: cls
    for cls in (
        *(Autoencoder, StackedAutoencoder, StackedClassifier, StackedRegressor, FrozenEstimator),
        *(AutoencoderOutlierDetector, AutoencoderImputer, TableEncoder, Pipeline),
        *(KLSparsity, L1Sparsity, Masking, SaltAndPepper, Gaussian),
        *(LBFGS, SGD, Adam, EarlyStopping),
    )
}
# Parameters that belong to a session, not to a model.
_SESSION = ("callbacks", "checkpoint", "random_state")


def save(estimator: BaseEstimator, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted estimator into a new folder; all of it, or nothing.

    Parameters
    ----------
    estimator : estimator of layerwise, or Pipeline of such
        Callbacks, and a ``random_state`` that is no integer, are not saved.
    folder : str or path-like
        Will hold ``config.json`` and ``model.safetensors``.
    overwrite : bool, default=False
        Whether to replace a model that is there.

    Raises
    ------
    FileExistsError
        If the folder exists and must not be replaced.
    OSError
        If it cannot be written.
    TypeError
        If the estimator is none of layerwise.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import layerwise
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:100]
    >>> autoencoder = layerwise.Autoencoder(5, solver=layerwise.LBFGS(max_iter=2)).fit(X)
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "model"
    >>> layerwise.save(autoencoder, folder)
    >>> bool((layerwise.load(folder).transform(X) == autoencoder.transform(X)).all())
    True
    """
    with atomic(folder, overwrite=overwrite) as staging:
        staging.mkdir()
        write(estimator, staging)


def write(estimator: BaseEstimator, folder: Path) -> None:
    """Write the two files of a model into a folder that exists."""
    tensors: dict[str, Tensor] = {}
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "layerwise_version": version("layerwise"),
        "estimator": _encode(estimator, "estimator", tensors),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    save_file(tensors, folder / TENSORS)
    (folder / TENSORS).chmod((folder / CONFIG).stat().st_mode)  # safetensors lets nobody else read its files


def load(folder: str | PathLike[str], *, device: str = "auto") -> Any:
    """Read an estimator from a folder that `save` wrote.

    Parameters
    ----------
    folder : str or path-like
    device : str, default="auto"
        Where the model shall compute, whatever it was trained on.

    Returns
    -------
    estimator : estimator of layerwise, or Pipeline of such

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    ValueError
        If it holds no whole model of a version that this layerwise reads, or there is no such device.
    """
    check_device(device)
    folder = Path(folder)
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is not a model: it holds no {name}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"{folder / CONFIG} does not describe a layerwise model")
    if config.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format_version={config.get('format_version')!r}, but this layerwise reads "
            f"{FORMAT_VERSION}; it was written by layerwise {config.get('layerwise_version')}"
        )
    try:
        tensors = load_file(folder / TENSORS)
        broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise ValueError(f"{broken[0]} holds values that are not finite")
        return _decode_estimator(config["estimator"], tensors, device)
    except (SafetensorError, KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder} is damaged: {type(error).__name__}: {reason}") from error


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return what JSON keeps of a value; arrays go to ``tensors`` under their path."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}  # JSON has no such numbers
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return _encode(value.item(), path, tensors)
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OU":
            return {"strings": [str(item) for item in value], "kind": value.dtype.kind}
        tensors[path] = torch.tensor(value)
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": {key: _encode(item, f"{path}.{key}", tensors) for key, item in value.items()}}
    if type(value).__name__ in CLASSES:
        return _encode_estimator(value, path, tensors)
    raise TypeError(f"{path}: a {type(value).__name__} cannot be saved; known are {', '.join(CLASSES)}")


def _encode_estimator(estimator: BaseEstimator, path: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    params = {}
    for name in estimator._get_param_names():
        value = getattr(estimator, name)
        session = name in _SESSION and not isinstance(value, Integral)
        params[name] = None if session else _encode(value, f"{path}.{name}", tensors)
    fitted = {}
    for name, value in vars(estimator).items():
        if not name.endswith("_") or name.startswith("_"):
            continue
        if isinstance(value, torch.nn.Module):
            for key, tensor in value.state_dict().items():
                tensors[f"{path}.{name}.{key}"] = tensor.detach().cpu().clone()
        else:
            fitted[name] = _encode(value, f"{path}.{name}", tensors)
    return {"class": type(estimator).__name__, "params": params, "fitted": fitted, "path": path}


def _decode(value: Any, tensors: dict[str, Tensor], device: str) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors, device) for item in value]
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {key: _decode(item, tensors, device) for key, item in value["dict"].items()}
    if "float" in value:
        return float(value["float"])
    if "strings" in value:
        return np.array(value["strings"], dtype=value["kind"])
    if "tensor" in value:
        return tensors[value["tensor"]].numpy()
    return _decode_estimator(value, tensors, device)


def _decode_estimator(spec: dict[str, Any], tensors: dict[str, Tensor], device: str) -> BaseEstimator:
    cls = CLASSES[spec["class"]]
    params = {name: _decode(value, tensors, device) for name, value in spec["params"].items()}
    if "device" in params:
        params["device"] = device
    if cls is Pipeline:
        params["steps"] = [(name, step) for name, step in params["steps"]]
    estimator = cls(**params)
    fitted = {name: _decode(value, tensors, device) for name, value in spec["fitted"].items()}
    for name, value in fitted.items():
        if not name.endswith("_") or name.startswith("_"):
            raise ValueError(f"{name} is no fitted attribute")
        setattr(estimator, name, value)
    if fitted and hasattr(estimator, "_empty_modules"):
        with torch.device("meta"):  # shapes only: the numbers come from the file
            modules = estimator._empty_modules()
        for name, module in modules.items():
            prefix = f"{spec['path']}.{name}."
            state = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
            module.load_state_dict(state, assign=True)
            setattr(estimator, name, module.to(check_device(device)))
    return estimator
