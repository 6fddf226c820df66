"""Models on disk: a readable ``config.json`` and the numbers in ``model.safetensors``. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
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
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file
from sklearn.base import BaseEstimator
from torch import Tensor

from layerwise.atomic import atomic, identify, naming, write_file
from layerwise.data.archives import check_safetensors
from layerwise.errors import FileError
from layerwise.estimators._checks import check_device
from layerwise.limits import check_room, is_utf8, own_file
from layerwise.objective import with_gradients
from layerwise.persistence.decoding import CLASSES, Decoder
from layerwise.strict_json import read_json

__all__ = ["CLASSES", "load", "save", "write"]

FORMAT = "layerwise model"
# Version 3 has no hash, and is the same otherwise.
FORMAT_VERSION, READABLE = 4, (3, 4)
CONFIG, TENSORS = "config.json", "model.safetensors"
# Parameters that belong to a session, not to a model.
_SESSION = ("callbacks", "checkpoint", "random_state", "memory")


def save(estimator: BaseEstimator, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted estimator into a new folder; all of it, or nothing.

    Parameters
    ----------
    estimator : estimator of layerwise, or Pipeline of such
        Callbacks, and a ``random_state`` that is no integer, are not saved.
    folder : str or path-like
        Will hold ``config.json`` and ``model.safetensors``.
    overwrite : bool, default=False
        Whether to replace a folder that layerwise wrote; of a link, the one that it points to. Other folders are never
        replaced. Old and new change places at once: who loads meanwhile gets the one or the other.

    Raises
    ------
    FileExistsError
        If the folder exists and must not be replaced.
    OSError
        If it cannot be written; it names the file.
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
    with atomic(folder, folder=True, overwrite=overwrite) as staging:
        write(estimator, staging)


def write(estimator: BaseEstimator, folder: Path) -> None:
    """Write the two files of a model into a folder that exists."""
    tensors: dict[str, Tensor] = {}
    description = _encode(estimator, "estimator", tensors)
    with naming(folder / TENSORS):
        save_file(tensors, folder / TENSORS)
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "layerwise_version": version("layerwise"),
        "sha256": _hash(folder / TENSORS),
        "estimator": description,
    }
    write_file(folder / CONFIG, json.dumps(config, indent=2, allow_nan=False) + "\n")
    (folder / TENSORS).chmod((folder / CONFIG).stat().st_mode)  # safetensors lets nobody else read its files


@with_gradients
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
    FileError
        If it holds no whole model of a version that this layerwise reads: the numbers are not those that were saved, or
        not finite, or anything in it is not what `save` writes.
    ValueError
        If there is no such device.

    Notes
    -----
    A folder that `save` replaces meanwhile is read anew, so that a model is never made of two.

    Nothing in the folder can run code, or name another file. Folders of version 3, which have no hash of the numbers,
    are read too. A folder that takes more memory than the environment's ``LAYERWISE_MAX_BYTES`` (4 GiB if not set) is
    refused.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import layerwise
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:100]
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "model"
    >>> layerwise.save(layerwise.Autoencoder(5, solver=layerwise.LBFGS(max_iter=2)).fit(X), folder)
    >>> layerwise.load(folder)
    Autoencoder(n_hidden=5, solver=LBFGS(max_iter=2))
    """
    check_device(device)
    folder = Path(folder)
    while True:
        before = identify(folder)
        try:
            loaded = _load(folder, device)
        except (FileError, OSError):
            if identify(folder) == before:
                raise
        else:
            if identify(folder) == before:
                return loaded


def _load(folder: Path, device: str) -> Any:
    config, path = own_file(folder, CONFIG), own_file(folder, TENSORS)
    for name, there in ((CONFIG, config), (TENSORS, path)):
        if there is None:
            raise FileNotFoundError(f"{folder} is not a model: it holds no {name}")
    assert config is not None
    assert path is not None
    header = _read_config(config)
    try:
        return Decoder(_read_tensors(path, header.get("sha256")), device).decode(header["estimator"])
    except FileError:
        raise
    except (
        *(SafetensorError, LookupError, TypeError, AttributeError, ValueError),
        *(RuntimeError, ArithmeticError, MemoryError),
    ) as error:
        reason = " ".join(str(error).split())
        raise FileError(f"{folder} is damaged: {type(error).__name__}: {reason:.500}") from error


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise FileError(f"{path} does not describe a layerwise model")
    found = config.get("format_version")
    if type(found) is not int or found not in READABLE:
        raise FileError(
            f"{path.parent} has format_version={found!r:.20}, but this layerwise reads "
            f"{' and '.join(map(str, READABLE))}; it was written by layerwise {config.get('layerwise_version')!r:.40}"
        )
    keys = {"format", "format_version", "layerwise_version", "estimator", *(["sha256"] if found > 3 else [])}
    if config.keys() != keys:
        raise FileError(f"{path} is damaged: it has not the keys {', '.join(sorted(keys))}")
    return config


def _read_tensors(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """Return the numbers of a model, all finite; ``sha256`` of their file is None where none was written."""
    check_safetensors(path)
    check_room(path, path.stat().st_size)
    if sha256 is not None and _hash(path) != sha256:
        raise FileError(f"{path} does not hold the numbers that were saved: its sha256 is another; fetch it again")
    tensors = load_file(path) if is_utf8(path) else load_tensors(path.read_bytes())
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"{broken[0]:.80} holds values that are not finite")
    return tensors


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return what JSON keeps of a value; arrays go to ``tensors`` under their path."""
    if type(value).__name__ in ("NAType", "NaTType"):  # of pandas, as missing_values or unlabeled
        value = math.nan
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
    if isinstance(value, dict) and not all(type(key) is str for key in value):  # class_weight by number
        pairs = [(key.item() if isinstance(key, np.generic) else key, weight) for key, weight in value.items()]
        return {"pairs": [[_encode(part, path, tensors) for part in pair] for pair in pairs]}
    if isinstance(value, dict):
        return {"dict": {key: _encode(item, f"{path}.{key}", tensors) for key, item in value.items()}}
    if type(value).__name__ in CLASSES:
        return _encode_estimator(value, path, tensors)
    raise TypeError(f"{path}: a {type(value).__name__} cannot be saved; known are {', '.join(CLASSES)}")


def _encode_estimator(estimator: BaseEstimator, path: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    params = {}
    for name, value in estimator.get_params(deep=False).items():
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
