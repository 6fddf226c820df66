"""A model as a Python file that needs NumPy alone, with its numbers beside it."""

from __future__ import annotations

import keyword
import sys
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from layerwise.activations import _LEAK
from layerwise.atomic import atomic
from layerwise.data.scaling import Scaling
from layerwise.estimators._intake import placeholder_of
from layerwise.export._parts import Parts, take_apart
from layerwise.export._templates import render
from layerwise.modules import AutoencoderLayer

# What the program of each kind offers, the first by default.
_FUNCTIONS = {
    "coder": ("encode", "reconstruct"),
    "classifier": ("predict_proba", "predict", "encode"),
    "regressor": ("predict", "encode"),
    "detector": ("decision_function", "predict", "reconstruction_error"),
    "imputer": (),
}


def export_numpy(model: BaseEstimator, path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted model as a readable Python module that needs NumPy alone.

    ``PATH.py`` holds the functions, ``PATH.npz`` the numbers; they belong beside each other. The functions take rows in
    the units that training saw:

    - autoencoder, stack: ``encode(X)``, ``decode(H)``, ``reconstruct(X)``
    - classifier: ``predict_proba(X)``, ``predict(X)``, ``encode(X)``
    - regressor: ``predict(X)``, ``encode(X)``
    - outlier detector: ``decision_function(X)``, ``predict(X)``, ``reconstruction_error(X)``
    - imputer: ``fill(X)``

    As a program, ``python PATH.py ROWS RESULTS`` reads a .npy or .csv file and writes another one.

    Parameters
    ----------
    model : estimator of layerwise, or Pipeline of ("table", TableEncoder), ("imputer", AutoencoderImputer) and such one
        In place of the imputer there may be a ("counts", CountScaler); reconstructions are those of scaled counts then.
        The encoder of a table is left out: the module takes the columns that it makes.
    path : str or path-like
        The Python file, which ends in ``.py`` and has a name that can be imported.
    overwrite : bool, default=False
        Whether to replace files that are there.

    Raises
    ------
    ValueError
        If the path cannot be imported, or the model is not known.
    FileExistsError
        If one of the files exists and must not be replaced.

    Examples
    --------
    >>> import pathlib, runpy, tempfile
    >>> import numpy as np
    >>> from layerwise import Autoencoder, LBFGS
    >>> X = np.random.default_rng(0).normal(size=(50, 6))
    >>> autoencoder = Autoencoder(3, solver=LBFGS(max_iter=5), random_state=0).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "my_model.py"
    >>> export_numpy(autoencoder, path)
    >>> my_model = runpy.run_path(str(path))  # or: import my_model
    >>> np.allclose(my_model["encode"](X), autoencoder.transform(X), atol=1e-5)
    True
    """
    path = Path(path)
    _check_importable(path)
    parts = take_apart(model)
    arrays: dict[str, np.ndarray] = {}
    text = render("numpy_module.py.j2", **describe_parts(parts, arrays))
    with (
        atomic(path.with_suffix(".npz"), overwrite=overwrite) as numbers,
        atomic(path, overwrite=overwrite) as module,
    ):
        with numbers.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        module.write_text(text, encoding="utf-8")


def _check_importable(path: Path) -> None:
    if path.suffix != ".py":
        raise ValueError(f"path={path.name!r} must end in .py")
    if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        raise ValueError(
            f"path={path.name!r} cannot be imported: {path.stem!r} is no name in Python; choose one like my_model.py"
        )
    if path.stem == "numpy" or path.stem in sys.stdlib_module_names:
        raise ValueError(f"path={path.name!r} would hide Python's own {path.stem!r}; choose a name like my_model.py")


def describe_parts(parts: Parts, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what the template of a program is filled in with; the numbers go to ``arrays``."""
    kind, estimator = parts.kind, parts.estimator
    filling, network = _networks(parts, arrays)
    targets = getattr(estimator, "target_scaling_", None)
    if targets is not None:
        _keep_scaling(arrays, "target_", targets)
    if kind == "classifier":
        _keep(arrays, classes=np.array(estimator.classes_.tolist()))
    if kind == "detector" and estimator.coder_.feature_weights is not None:
        _keep(arrays, feature_weights=estimator.coder_.feature_weights)
    if parts.feature_names is not None:
        _keep(arrays, feature_names=np.array(parts.feature_names))
    return {
        "kind": kind,
        "title": _title(parts),
        "version": version("layerwise"),
        "n_features": parts.n_features,
        "intensities": parts.intensities,
        "reads_uint8": parts.reads_uint8_as_intensities,
        "filling": filling,
        "counts": parts.counts,
        "n_passes": parts.first.n_passes if filling else None,
        "placeholder": _literal(placeholder_of(parts.first.missing_values)) if filling else None,
        "network": network,
        "functions": (*_FUNCTIONS[kind], "fill") if filling else _FUNCTIONS[kind],
        "leak": _LEAK,
        "activations": {name for net in (filling, network) if net for name in net["activations"]},
        "arrays": arrays,
        "one_target": kind == "regressor" and estimator.n_outputs_ is None,
        "offset": repr(float(estimator.offset_)) if kind == "detector" else None,
    }


def _literal(placeholder: float | None) -> str | None:
    """Return the number that means missing as it stands in a program; there is no word for infinity."""
    return None if placeholder is None else f"float('{float(placeholder)!r}')"


def _networks(parts: Parts, arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the network that fills in what is missing and the one after it, each of them None if there is none."""
    filling = None
    if parts.fills_in:
        coder = parts.first.coder_
        filling = _network("imputer_", coder.modules, coder.scaling, arrays, decodes=True)
        if len(parts.first.empty_features_):
            _keep(arrays, empty_features=parts.first.empty_features_)
    if parts.kind == "imputer":
        return filling, None
    decodes = parts.kind in ("coder", "detector")
    if not decodes:
        head = parts.estimator.network_.head
        _keep(arrays, W_out=head.weight, b_out=parts.estimator.intercepts_[-1])
    return filling, _network("", _layers(parts), parts.estimator.coder_.scaling, arrays, decodes=decodes)


def _layers(parts: Parts) -> list[AutoencoderLayer]:
    """Return the layers that are used: of a classifier or a regressor, the fine-tuned ones."""
    network = getattr(parts.estimator, "network_", None)
    return parts.estimator.coder_.modules if network is None else network.encoders()


def _network(
    prefix: str,
    layers: list[AutoencoderLayer],
    scaling: Scaling | None,
    arrays: dict[str, np.ndarray],
    *,
    decodes: bool,
) -> dict[str, Any]:
    """Return what the template has to know of a network."""
    for number, layer in enumerate(layers, 1):
        _keep(arrays, **{f"{prefix}W{number}": layer.encoder_weight, f"{prefix}b{number}": layer.encoder_bias})
        if decodes:
            _keep(arrays, **{f"{prefix}c{number}": layer.decoder_bias})
        if decodes and layer.decoder_weight is not None:
            _keep(arrays, **{f"{prefix}V{number}": layer.decoder_weight})
    if scaling is not None:
        _keep_scaling(arrays, prefix, scaling)
    names = {layer.activation.name for layer in layers}
    return {
        "prefix": prefix,
        "layers": layers,
        "n_codes": layers[-1].n_hidden,
        "scales": scaling is not None,
        "bends": scaling is not None and scaling.tails is not None,
        "activations": names | {layer.output_activation.name for layer in layers} if decodes else names,
    }


def _keep_scaling(arrays: dict[str, np.ndarray], prefix: str, scaling: Scaling) -> None:
    _keep(arrays, **{f"{prefix}center": scaling.center, f"{prefix}scale": scaling.scale})
    if scaling.tails is not None:
        _keep(arrays, **{f"{prefix}tails": scaling.tails})


def _keep(arrays: dict[str, np.ndarray], **values: Any) -> None:
    for name, value in values.items():
        arrays[name] = np.asarray(value.numpy(force=True) if hasattr(value, "numpy") else value)


def _title(parts: Parts) -> str:
    """Return what the model is, in one line."""
    widths = [f"{layer.n_hidden} {layer.activation.name}" for layer in _layers(parts)]
    chain = " -> ".join([f"{parts.n_features} inputs", *widths])
    behind = " behind an AutoencoderImputer" if parts.imputer is not None else ""
    return f"{type(parts.estimator).__name__} of layerwise{behind}: {chain}."
