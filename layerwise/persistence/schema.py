"""What a fitted estimator consists of: the attributes that a file may set, and how they must agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from layerwise.data.column_types import is_plain
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
from layerwise.estimators._checks import check_part

Coder = (Autoencoder, StackedAutoencoder)
ESTIMATORS = (
    *(Autoencoder, StackedAutoencoder, StackedClassifier, StackedRegressor, AutoencoderOutlierDetector),
    *(AutoencoderImputer, TableEncoder, CountScaler, Pipeline, FrozenEstimator),
)
_ENTRIES = {
    "stage": str,
    "loss": Real,
    "loss_curve": list,
    "validation_loss_curve": list,
    "n_iter": int,
    "n_evaluations": int,
    "seconds": Real,
    "converged": bool,
    "status": str,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value < 2**31


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is str for item in value)


def _is_names(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "OU" and value.ndim == 1


def _is_vector(value: Any, kinds: str) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in kinds and value.ndim == 1


def _is_record(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), kind) for name, kind in _ENTRIES.items())
        and all(_is_number(number) for name in ("loss_curve", "validation_loss_curve") for number in value[name])
        and all(isinstance(item, (str, Real)) or item is None for name, item in value.items() if name not in _ENTRIES)
    )


# What each attribute must be, by itself.
KINDS: dict[str, Callable[[Any], bool]] = {
    "n_features_in_": _is_count,
    "feature_names_in_": _is_names,
    "column_names_": _is_names,
    "history_": lambda value: isinstance(value, list) and all(map(_is_record, value)),
    "explained_variance_ratio_": _is_number,
    "pca_explained_variance_ratio_": _is_number,
    "intensities_": lambda value: type(value) is bool,
    "scaling_": lambda value: value is None,  # others are modules
    "mean_activations_": lambda value: _is_vector(value, "f"),
    "dead_units_": lambda value: _is_vector(value, "i"),
    "layers_": lambda value: bool(value) and isinstance(value, list) and all(type(x) is Autoencoder for x in value),
    "autoencoder_": lambda value: type(value) in Coder,
    "classes_": lambda value: (_is_names(value) or _is_vector(value, "biuf")) and len(value) > 0,
    "n_outputs_": lambda value: value is None or _is_count(value),
    "offset_": _is_number,
    "target_sum_": lambda value: _is_number(value) and 0 < value < math.inf,
    "empty_features_": lambda value: _is_vector(value, "i"),
    "numbers_": _is_texts,
    "categories_": lambda value: isinstance(value, dict) and all(map(_is_texts, value.values())),
    "readings_": lambda value: isinstance(value, dict) and all(map(is_plain, value.values())),
}
_ALWAYS, _SAMPLE = {"n_features_in_", "history_"}, {"explained_variance_ratio_", "pca_explained_variance_ratio_"}
# What each class has after a fit, and what it may have.
ATTRIBUTES: dict[type, tuple[set[str], set[str]]] = {
    Autoencoder: (_ALWAYS | {"intensities_"}, _SAMPLE | {"scaling_", "mean_activations_", "dead_units_"}),
    StackedAutoencoder: (_ALWAYS | {"layers_"}, _SAMPLE),
    StackedClassifier: (_ALWAYS | {"autoencoder_", "classes_"}, set()),
    StackedRegressor: (_ALWAYS | {"autoencoder_", "n_outputs_"}, set()),
    AutoencoderOutlierDetector: ({"n_features_in_", "autoencoder_", "offset_"}, set()),
    AutoencoderImputer: ({"n_features_in_", "autoencoder_", "empty_features_"}, set()),
    TableEncoder: ({"n_features_in_", "feature_names_in_", "numbers_", "categories_"}, {"readings_"}),
    CountScaler: ({"n_features_in_", "target_sum_"}, set()),
}


def check_attributes(cls: type, fitted: dict[str, Any]) -> None:
    """Refuse attributes that a fit does not leave behind, or of which some are missing."""
    required, others = ATTRIBUTES.get(cls, (set(), set()))
    known = required | others | ({"feature_names_in_", "column_names_"} if required else set())
    for name, value in fitted.items():
        if name not in known:
            raise ValueError(f"{name} is no fitted attribute of {cls.__name__}")
        if not KINDS[name](value):
            raise ValueError(f"{name} of {cls.__name__} is not what a fit leaves there")
    if fitted and required - fitted.keys():
        raise ValueError(f"{cls.__name__} lacks {min(required - fitted.keys())}")


def check_agreement(estimator: BaseEstimator) -> None:
    """Refuse a fitted estimator whose parts do not go together; shapes of weights have been compared before."""
    names = getattr(estimator, "feature_names_in_", None)
    n_features = estimator.n_features_in_
    for attribute in ("feature_names_in_", "column_names_"):
        found = getattr(estimator, attribute, None)
        _agree(found is None or len(found) == n_features, f"{attribute} are not as many as n_features_in_")
    if isinstance(estimator, Autoencoder):
        means, dead = getattr(estimator, "mean_activations_", None), getattr(estimator, "dead_units_", None)
        _agree(means is None or len(means) == estimator.n_hidden, "mean_activations_ are not as many as n_hidden")
        _agree(dead is None or _are_places(dead, estimator.n_hidden), "dead_units_ are no units")
    elif isinstance(estimator, StackedAutoencoder):
        _check_layers(estimator)
    elif isinstance(estimator, TableEncoder):
        assert names is not None
        columns = [*estimator.numbers_, *estimator.categories_]
        _agree(sorted(columns) == sorted(names) and len({*columns}) == n_features, "its columns are not its features")
    elif not isinstance(estimator, CountScaler):
        coder = estimator.autoencoder_
        _agree(hasattr(coder, "n_features_in_"), "autoencoder_ is not fitted")
        _agree(coder.n_features_in_ == n_features, "autoencoder_ has another n_features_in_")
        empty = getattr(estimator, "empty_features_", None)
        _agree(empty is None or _are_places(empty, n_features), "empty_features_ are no features")


def check_scaling(module: Any) -> None:
    """Refuse a scaling that divides by 0, or whose tails turn back."""
    if isinstance(module, Scaling):
        _agree(bool((module.scale != 0).all()), "a scale is 0")
        _agree(module.tails is None or bool((module.tails[2:] > 0).all()), "a tail of a scaling has no slope")


def check_steps(pipeline: Pipeline) -> None:
    """Refuse steps that are no estimators, and what would keep results on disk as pickles."""
    names = [name for name, _ in pipeline.steps]
    _agree(all(type(name) is str for name in names) and len({*names}) == len(names) > 0, "steps have no names")
    _agree(all(isinstance(step, ESTIMATORS) or step == "passthrough" for _, step in pipeline.steps), "a step is none")
    _agree(isinstance(pipeline.steps[-1][1], ESTIMATORS), "the last step is no estimator")
    _agree(pipeline.memory is None and pipeline.transform_input is None, "memory and transform_input must be null")
    _agree(isinstance(pipeline.verbose, bool), "verbose is neither true nor false")


def check_parameters(estimator: BaseEstimator) -> None:
    """Refuse parameters that `fit` would refuse, and objects where a scalar is expected."""
    if isinstance(estimator, Pipeline):
        check_steps(estimator)
        return
    if isinstance(estimator, FrozenEstimator):
        _agree(isinstance(estimator.estimator, ESTIMATORS), "what is frozen is no estimator")
        return
    check_part("estimator", estimator)
    if isinstance(estimator, CountScaler):
        _agree(all(type(value) is bool for value in estimator.get_params().values()), "a flag is none")
    if isinstance(estimator, TableEncoder):
        estimator.list_date_parts()  # which refuses what is none
    for part in getattr(estimator, "layers", ()):
        _agree(isinstance(part, (Integral, Autoencoder, FrozenEstimator)), "layers holds what is no layer")
    unlabeled = getattr(estimator, "unlabeled", None)
    _agree(unlabeled is None or isinstance(unlabeled, (str, Real)), "unlabeled is no label")
    class_weight = getattr(estimator, "class_weight", None)
    if isinstance(class_weight, dict):
        _agree(all(isinstance(x, Real) for x in class_weight.values()), "class_weight holds what is no weight")
    _agree(getattr(estimator, "callbacks", None) is None, "callbacks are never read from a file")
    _agree(getattr(estimator, "checkpoint", None) is None, "checkpoint is never read from a file")


def _check_layers(stack: StackedAutoencoder) -> None:
    layers = stack.layers_
    _agree(all(hasattr(layer, "layer_") for layer in layers), "a layer is not fitted")
    widths = [stack.n_features_in_, *(layer.n_hidden for layer in layers)]
    _agree([layer.n_features_in_ for layer in layers] == widths[:-1], "layers_ do not follow upon each other")
    _agree(all(upper.scaling_ is None for _, upper in pairwise(layers)), "an upper layer scales its input")
    _agree({layer.dtype for layer in layers} == {stack.dtype}, "layers_ are of different dtypes")
    types = {weights.dtype for layer in layers for weights in layer.layer_.parameters()}
    _agree(len(types) == 1, "layers_ hold numbers of different types")


def _are_places(places: np.ndarray, length: int) -> bool:
    return bool(((places >= 0) & (places < length)).all())


def _agree(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
