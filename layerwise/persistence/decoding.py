"""From the JSON and the tensors of a model folder to its estimator: objects of a closed table of classes alone."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor

from layerwise.activations import WITH_PARAMETERS
from layerwise.callbacks import EarlyStopping
from layerwise.corruptions import CORRUPTIONS
from layerwise.data.count_scaler import CountScaler
from layerwise.data.scaling import Scaling
from layerwise.data.table_encoder import TableEncoder
from layerwise.estimators import (
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.estimators._checks import check_corruption, check_device
from layerwise.estimators._restoring import empty_modules
from layerwise.penalties import SPARSITIES
from layerwise.persistence.schema import (
    ESTIMATORS,
    check_agreement,
    check_attributes,
    check_parameters,
    check_scaling,
)
from layerwise.solvers import SOLVERS

# Only these are ever made from a file.
CLASSES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        *(Autoencoder, StackedAutoencoder, StackedClassifier, StackedRegressor, FrozenEstimator),
        *(AutoencoderOutlierDetector, AutoencoderImputer, TableEncoder, CountScaler, Pipeline),
        *(*SPARSITIES.values(), *CORRUPTIONS.values(), *SOLVERS.values(), *WITH_PARAMETERS.values()),
        EarlyStopping,
    )
}
_NOT_FINITE = ("nan", "inf", "-inf")
# Objects in a model: a layer takes a handful. Bytes of an array of texts, which gives each the room of the longest.
_MAX_OBJECTS, _MAX_TEXTS = 1000, 2**26


class Decoder:
    """Makes an estimator of what `layerwise.persistence.write` wrote, and refuses everything else with a ValueError.

    Parameters
    ----------
    tensors : dict of str to Tensor
        Each is named after its place in the model, and must be used there.
    device : str
        Where the model shall compute.
    """

    def __init__(self, tensors: dict[str, Tensor], device: str):
        self._tensors = dict(tensors)
        self._device = device
        self._n_objects = 0

    def decode(self, spec: Any) -> BaseEstimator:
        """Return the estimator of a description."""
        estimator = self._object(spec, "estimator")
        if not isinstance(estimator, ESTIMATORS):
            raise ValueError(f"a {type(estimator).__name__} is no estimator")
        if self._tensors:
            raise ValueError(f"the tensor {min(self._tensors)!r:.80} belongs to nothing")
        return estimator

    def _value(self, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return [self._value(item, f"{path}.{place}") for place, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        keys = value.keys()
        if keys == {"dict"}:
            return {key: self._value(item, f"{path}.{key}") for key, item in value["dict"].items()}
        if keys == {"pairs"}:
            return dict(_pair(key, weight, path) for key, weight in value["pairs"])
        if keys == {"float"} and value["float"] in _NOT_FINITE:
            return float(value["float"])
        if keys == {"strings", "kind"} and value["kind"] in ("O", "U"):
            return _texts(value["strings"], value["kind"])
        if value == {"tensor": path}:
            return self._tensors.pop(path).numpy()
        return self._object(value, path)

    def _object(self, spec: dict[str, Any], path: str) -> BaseEstimator:
        self._n_objects += 1
        if self._n_objects > _MAX_OBJECTS:
            raise ValueError(f"it consists of more than {_MAX_OBJECTS} objects")
        if spec.keys() != {"class", "params", "fitted", "path"} or spec["path"] != path:
            raise ValueError(f"{path:.80} is described in a way that layerwise does not write")
        cls = CLASSES[spec["class"]]
        params = {name: self._value(value, f"{path}.{name}") for name, value in spec["params"].items()}
        if "device" in params:
            params["device"] = self._device
        if cls is Pipeline:
            params["steps"] = [(name, step) for name, step in params["steps"]]
        estimator = cls(**params)
        check_parameters(estimator)
        if cls in CORRUPTIONS.values():
            check_corruption(estimator)
        fitted = {name: self._value(value, f"{path}.{name}") for name, value in spec["fitted"].items()}
        check_attributes(cls, fitted)
        if fitted:
            vars(estimator).update(fitted)
            self._load_modules(estimator, path)
            check_agreement(estimator)
        return estimator

    def _load_modules(self, estimator: Any, path: str) -> None:
        """Give an estimator its modules: shapes by its parameters, numbers from the file."""
        with torch.device("meta"):  # shapes only
            modules = empty_modules(estimator)
        for name, module in modules.items():
            if isinstance(module, Scaling) and f"{path}.{name}.tails" in self._tensors:
                module.tails = torch.empty(4, len(module.scale), dtype=torch.float64, device="meta")
            state, any_type = {}, getattr(estimator, "dtype", None) == "auto"
            for key, expected in module.state_dict().items():
                tensor = self._tensors.pop(f"{path}.{name}.{key}")
                if tensor.shape != expected.shape or tensor.dtype not in (torch.float32, torch.float64):
                    raise ValueError(
                        f"{path}.{name}.{key} has shape {tuple(tensor.shape)} and type {tensor.dtype}, but the "
                        f"parameters demand shape {tuple(expected.shape)} and floats"
                    )
                state[key] = tensor if any_type else tensor.to(expected.dtype)
            module.load_state_dict(state, assign=True)
            check_scaling(module)
            setattr(estimator, name, module.to(check_device(self._device)))


def _pair(key: Any, value: Any, path: str) -> tuple[Any, Any]:
    if not isinstance(key, (str, Real)) or not isinstance(value, Real):
        raise ValueError(f"{path:.80} holds pairs of something else than labels and numbers")
    return key, value


def _texts(values: Any, kind: str) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) is str for value in values):
        raise ValueError("an array of texts holds something else")
    if kind == "U" and 4 * len(values) * max(map(len, values), default=0) > _MAX_TEXTS:
        raise ValueError("its labels are longer than any text is")
    return np.array(values, dtype=kind)
