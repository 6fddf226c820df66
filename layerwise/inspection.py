"""What is in a trained model, in figures and words that JSON can hold."""

from __future__ import annotations

import math
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from layerwise.activations import get_activation
from layerwise.data.count_scaler import CountScaler
from layerwise.data.table_encoder import TableEncoder
from layerwise.estimators import Autoencoder, AutoencoderImputer

_PARTS = ("activation", "sparsity", "corruption", "solver", "early_stopping")


def bare(model: BaseEstimator) -> BaseEstimator:
    """Return the estimator of layerwise at the end of a pipeline, or the model itself."""
    return model[-1] if isinstance(model, Pipeline) else model


def step_of(model: BaseEstimator, kind: type[BaseEstimator]) -> Any:
    """Return the step of this class in a pipeline, whatever its name; None without such."""
    return next((step for _, step in getattr(model, "steps", []) if isinstance(step, kind)), None)


def prepare(model: BaseEstimator, X: Any) -> Any:
    """Return rows as the estimator at the end of a pipeline takes them: counts scaled, what is missing filled in."""
    for kind in (CountScaler, AutoencoderImputer):
        step = step_of(model, kind)
        X = X if step is None else step.transform(X)
    return X


def stack_of(model: BaseEstimator) -> BaseEstimator:
    """Return the autoencoder or stack that a model is, or is built on as pre-training left it."""
    model = bare(model)
    return getattr(model, "autoencoder_", model)


def layers_of(model: BaseEstimator) -> list[Autoencoder]:
    """Return the fitted autoencoders of a model, from the input up."""
    stack: Any = stack_of(model)
    return getattr(stack, "layers_", [stack])


def inspect_model(model: BaseEstimator) -> dict[str, Any]:
    """Describe a fitted model of layerwise.

    Parameters
    ----------
    model : estimator of layerwise, or Pipeline that ends in one

    Returns
    -------
    facts : dict
        ``model`` (its class), ``n_features``, ``feature_names`` and ``classes`` (lists or None), ``n_parameters``,
        ``layers`` (a dict each: its parameters in words, its dead units, its explained variance) and ``stages`` (a dict
        each: how training went).

    Examples
    --------
    >>> import numpy as np
    >>> from layerwise import Autoencoder, LBFGS
    >>> X = np.random.default_rng(0).random((50, 6))
    >>> facts = inspect_model(Autoencoder(3, solver=LBFGS(max_iter=5), random_state=0).fit(X))
    >>> facts["model"], facts["n_parameters"], facts["layers"][0]["n_hidden"]
    ('Autoencoder', 45, 3)
    """
    estimator = bare(model)
    network = getattr(estimator, "network_", None)
    modules = [network] if network is not None else stack_of(model).coder_.modules
    encoder, classes = step_of(model, TableEncoder), getattr(estimator, "classes_", None)
    names = getattr(estimator, "feature_names_in_", getattr(estimator, "column_names_", None))
    names = names if encoder is None else encoder.get_feature_names_out()
    history = getattr(estimator, "history_", stack_of(model).history_)
    return {
        "model": type(estimator).__name__,
        "n_features": int(estimator.n_features_in_),
        "feature_names": None if names is None else [str(name) for name in names],
        "classes": None if classes is None else classes.tolist(),
        "n_parameters": sum(parameter.numel() for module in modules for parameter in module.parameters()),
        "layers": [_describe_layer(layer) for layer in layers_of(model)],
        "stages": [{name: value for name, value in stage.items() if not name.endswith("_curve")} for stage in history],
    }


def describe_scale(layer: Autoencoder) -> str:
    """Return how a fitted layer takes the columns of its rows, in words."""
    bytes_ = "bytes from 0 to 255 are read as intensities from 0 to 1" if layer.intensities_ else ""
    if layer.scaling_ is None:
        return bytes_ or "rows stay as they are"
    kind = layer.scale
    if kind == "auto":
        kind = "standard" if get_activation(layer.output_activation).low == -math.inf else "minmax"
    text = f"{f'{bytes_}, then ' if bytes_ else ''}each column is scaled ({kind})"
    if layer.scaling_.tails is None:
        return text
    n_bent = int((layer.scaling_.tails[2:] != 1).any(dim=0).sum())
    return f"{text}, in {n_bent} of {len(layer.scaling_.scale)} columns values far from all others are drawn nearer"


def describe_counts(model: BaseEstimator) -> str | None:
    """Return how a model scales counts before anything else, in words; None if it takes rows as they are."""
    counts = step_of(model, CountScaler)
    if counts is None:
        return None
    divided = f"each row is divided by its sum, times {counts.target_sum_:g}" if counts.library_size else ""
    return ", then ".join(filter(None, [divided, "log(1 + x)" if counts.log1p else ""]))


def _describe_layer(layer: Autoencoder) -> dict[str, Any]:
    dead = getattr(layer, "dead_units_", None)
    return {
        "n_inputs": int(layer.n_features_in_),
        **{name: getattr(layer, name) for name in ("n_hidden", "output_activation", "loss", "tied")},
        **{name: float(getattr(layer, name)) for name in ("alpha", "contraction")},
        **{name: _words(getattr(layer, name)) for name in _PARTS},
        "scaled": layer.scaling_ is not None,
        "scale": describe_scale(layer),
        "n_dead_units": None if dead is None else len(dead),
        "explained_variance_ratio": getattr(layer, "explained_variance_ratio_", None),
        "pca_explained_variance_ratio": getattr(layer, "pca_explained_variance_ratio_", None),
    }


def _words(part: Any) -> str | None:
    return part if part is None or isinstance(part, str) else " ".join(repr(part).split())
