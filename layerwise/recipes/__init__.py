"""Recipes: from settings, as a TOML file or the flags of the command line give them, to estimators, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from sklearn.base import BaseEstimator

from layerwise.activations import ACTIVATIONS, WITH_PARAMETERS, get_activation
from layerwise.callbacks import EarlyStopping
from layerwise.corruptions import CORRUPTIONS
from layerwise.estimators import (
    Autoencoder,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.penalties import SPARSITIES
from layerwise.recipes.toml_files import DATA_KEYS, HELD_OUT_KEYS, check_keys, read_toml, write_toml
from layerwise.solvers import SOLVERS

__all__ = [
    "DATA_KEYS",
    "HELD_OUT_KEYS",
    "MODELS",
    "PARTS",
    "build",
    "default_layers",
    "describe",
    "read_toml",
    "write_toml",
]

MODELS = ("autoencoder", "classifier", "regressor", "outliers")
# The classes that stand behind the names of parts; a name that stands for itself has no parameters.
PARTS: dict[str, dict[str, Any]] = {
    "activation": {name: name for name in ACTIVATIONS} | WITH_PARAMETERS,
    "sparsity": SPARSITIES,
    "corruption": CORRUPTIONS,
    "solver": SOLVERS,
}
# What layers begin with where settings do not describe them; of outliers what `AutoencoderOutlierDetector` takes.
_N_HIDDEN = (200, 200)
_OUTLIER_LAYER = {
    "n_hidden": 32,
    "activation": "tanh",
    "output_activation": "identity",
    "tied": True,
    "alpha": 0.1,
    "solver": {"name": "lbfgs", "history_size": 5, "max_iter": 30},
}
# Parameters of a layer that belong to the whole run.
_OF_RUN = ("cache_size", "dtype", "device", "warm_start", "random_state", "callbacks", "checkpoint")
_PREDICTORS: dict[str, Any] = {"classifier": StackedClassifier, "regressor": StackedRegressor}
_LAYER_KEYS = tuple(name for name in Autoencoder().get_params(deep=False) if name not in _OF_RUN)
_SWITCHES = ("tied", "untie", "fit_intercept", "unlabeled")
_FINETUNING_KEYS = (
    *("finetune", "init", "untie", "alpha", "decay", "dropout", "corruption", "sparsity", "fit_intercept", "solver"),
    *("early_stopping", "unlabeled", "class_weight"),
)


def default_layers(model: str, n_features: int | None = None) -> list[dict[str, Any]]:
    """Return the description of the layers that a model has if settings do not tell.

    Parameters
    ----------
    model : str
        One of ``MODELS``.
    n_features : int or None, default=None
        Of the rows. The codes of an autoencoder without labels are narrower than its rows.

    Returns
    -------
    layers : list of dict

    Examples
    --------
    >>> default_layers("autoencoder", n_features=13)
    [{'n_hidden': 13}, {'n_hidden': 7}]
    """
    if model == "outliers":
        return [dict(_OUTLIER_LAYER)]
    if model != "autoencoder" or n_features is None:
        return [{"n_hidden": width} for width in _N_HIDDEN]
    return [{"n_hidden": min(width, -(-n_features // part))} for part, width in enumerate(_N_HIDDEN, 1)]


def build(settings: Mapping[str, Any]) -> BaseEstimator:
    """Return the estimator that settings describe.

    Parameters
    ----------
    settings : mapping
        ``model`` (one of ``MODELS``), ``layers`` (a list of mappings, one a layer, with the parameters of
        `Autoencoder`; parts such as the solver are mappings too, with a ``name``), ``finetuning`` (a mapping with the
        parameters of the estimator around the layers), ``contamination``, ``random_state``, ``dtype`` (float32 if it is
        not there: of the numbers of tables nobody has chosen float64), ``device``.

    Returns
    -------
    estimator : StackedAutoencoder, StackedClassifier, StackedRegressor or AutoencoderOutlierDetector

    Raises
    ------
    ValueError
        If a key or a value has no meaning.

    Examples
    --------
    >>> stack = build({"layers": [{"n_hidden": 50, "sparsity": {"name": "kl", "target": 0.1}}, {"n_hidden": 10}]})
    >>> [layer.n_hidden for layer in stack.layers], stack.layers[0].sparsity
    ([50, 10], KLSparsity(target=0.1))
    """
    model = settings.get("model", "autoencoder")
    if model not in MODELS:
        raise ValueError(f"model={model!r} is not known; choose one of {', '.join(MODELS)}")
    if "contamination" in settings and model != "outliers":
        raise ValueError(
            f"contamination={settings['contamination']} has no meaning with model={model!r}; choose model outliers"
        )
    specs = settings.get("layers") or ([] if model == "outliers" else default_layers(model))
    finetuning = _build_parts("finetuning", settings.get("finetuning", {}), _FINETUNING_KEYS)
    seed = settings.get("random_state")
    place = {"dtype": settings.get("dtype", "float32"), "device": settings.get("device", "auto")}
    stack = StackedAutoencoder(_build_layers(specs), **place, random_state=seed)
    if model in _PREDICTORS:
        return _set("finetuning", _PREDICTORS[model](stack, random_state=seed), finetuning)
    stack = _set("finetuning", stack, finetuning)
    if model == "autoencoder":
        return stack
    contamination = {name: settings[name] for name in ("contamination",) if name in settings}
    if specs:
        return AutoencoderOutlierDetector(stack, random_state=seed, **contamination)
    default = {f"autoencoder__{name}": value for name, value in place.items()}
    return AutoencoderOutlierDetector(random_state=seed, **contamination).set_params(**default)


def describe(estimator: BaseEstimator) -> dict[str, Any]:
    """Return the settings that `build` would make an estimator from: all parameters, those of parts too.

    Parameters
    ----------
    estimator : StackedAutoencoder, StackedClassifier, StackedRegressor or AutoencoderOutlierDetector

    Returns
    -------
    settings : dict

    Examples
    --------
    >>> settings = describe(build({"model": "classifier", "layers": [{"n_hidden": 50}]}))
    >>> settings["layers"][0]["n_hidden"], settings["finetuning"]["finetune"]
    (50, 'all')
    """
    names = {cls: name for name, cls in {**_PREDICTORS, "outliers": AutoencoderOutlierDetector}.items()}
    model = names.get(type(estimator), "autoencoder")
    settings: dict[str, Any] = {"model": model, "random_state": estimator.random_state}
    stack = getattr(estimator, "autoencoder", estimator)
    if model == "outliers":
        settings["contamination"] = estimator.contamination
    if stack is None:
        return settings
    settings |= {"dtype": stack.dtype, "device": stack.device}
    if isinstance(stack, Autoencoder):  # the default of a detector
        return settings
    layers = stack.recipes()
    settings["layers"] = [{name: _describe_part(getattr(layer, name)) for name in _LAYER_KEYS} for layer in layers]
    for upper in settings["layers"][1:]:
        del upper["scale"]  # only the first scales
    outer = stack if model == "outliers" else estimator
    settings["finetuning"] = {
        name: _describe_part(getattr(outer, name)) for name in _FINETUNING_KEYS if hasattr(outer, name)
    }
    return settings


def _build_layers(specs: Sequence[Mapping[str, Any]]) -> list[Autoencoder]:
    """Return a layer for each description; upper ones reconstruct codes unless they say otherwise."""
    layers: list[Autoencoder] = []
    for place, spec in enumerate(specs):
        where = f"layers[{place}]"
        _check_table(where, spec)
        params = _build_parts(where, spec, _LAYER_KEYS)
        if layers:
            params = {"output_activation": get_activation(layers[-1].activation).same_range} | params
        layers.append(_set(where, Autoencoder(), params))
    return layers


def _build_parts(where: str, spec: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Return parameters with parts made from their descriptions."""
    check_keys(where, spec, known)
    params = {name: None if value == "none" else value for name, value in spec.items()}
    for name, value in params.items():
        if isinstance(value, bool) and name not in _SWITCHES:
            raise ValueError(f"{where}: {name}={str(value).lower()} must not be true or false")
        if isinstance(value, int) and abs(value) > 2**53:
            raise ValueError(f"{where}: {name}={value} is too large")
    for kind in PARTS.keys() & params.keys():
        params[kind] = _build_part(kind, params[kind])
    stopping = params.get("early_stopping")
    if stopping is not None:
        _check_table("early_stopping", stopping)
        check_keys("early_stopping", stopping, _parameters(EarlyStopping))
        params["early_stopping"] = EarlyStopping(**stopping)
    return params


def _build_part(kind: str, spec: Any) -> Any:
    """Return the activation, penalty, corruption or solver of a description: a name, or a mapping with one."""
    if spec in (None, {"name": "none"}):
        return None
    spec = {"name": spec} if isinstance(spec, str) else spec
    _check_table(kind, spec, f", or the name of one: {', '.join(PARTS[kind])}")
    choices = PARTS[kind]
    name = spec.get("name")
    if name not in choices:
        raise ValueError(f"{kind} has name={name!r}, which is not known; choose one of {', '.join(choices)}")
    params = {key: value for key, value in spec.items() if key != "name"}
    known = _parameters(choices[name])
    for key, value in params.items():
        if key not in known:
            others = [other for other, choice in choices.items() if key in _parameters(choice)]
            own = ", ".join(known) or "no parameters"
            remedy = f"choose {kind} {' or '.join(others)}" if others else f"it has {own}"
            raise ValueError(f"{key}={value} has no meaning with {kind}={name!r}; {remedy}")
    for key, default in known.items():
        if default is Parameter.empty and key not in params:
            raise ValueError(f"{kind}={name!r} needs {key}, which is not given")
    if isinstance(choices[name], str):
        return name
    return choices[name](**{key: tuple(value) if isinstance(value, list) else value for key, value in params.items()})


def _describe_part(part: Any) -> Any:
    for choices in PARTS.values():
        for name, cls in choices.items():
            if type(part) is cls:
                defaults = _parameters(cls)
                changed = {key: value for key, value in part.get_params().items() if value != defaults[key]}
                return {"name": name} | changed if changed else name
    return part.get_params() if isinstance(part, EarlyStopping) else part


def _set(where: str, estimator: Any, params: Mapping[str, Any]) -> Any:
    check_keys(where, params, estimator.get_params(deep=False))
    return estimator.set_params(**params)


def _check_table(where: str, value: Any, other: str = "") -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where}={value!r} must be a table of names and values{other}")


def _parameters(choice: Any) -> dict[str, Any]:
    """Return the parameters of a part, with their defaults."""
    if isinstance(choice, str):
        return {}
    return {name: parameter.default for name, parameter in signature(choice).parameters.items()}
