"""Recipes: from settings, as a TOML file or the flags of the command line give them, to estimators, and back."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from os import PathLike
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from sklearn.base import BaseEstimator

from layerwise.activations import ACTIVATIONS, WITH_PARAMETERS, get_activation
from layerwise.callbacks import EarlyStopping
from layerwise.corruptions import CORRUPTIONS
from layerwise.errors import FileError, in_content_of
from layerwise.estimators import (
    Autoencoder,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.limits import check_length, is_utf8
from layerwise.penalties import SPARSITIES
from layerwise.solvers import SOLVERS

# The longest TOML file, and how deep it may be nested: layers, each with a solver, with a list.
_MAX_TOML, _MAX_DEPTH = 2**17, 8
# Names joined by dots take Python's parser a time that grows with the square of their number: half a second here.
_MAX_DOTS = 4000
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
_RUN_KEYS = (
    *("model", "contamination", "impute", "random_state", "dtype", "device", "deterministic", "report"),
    *("layers", "finetuning"),
)
# Which rows `layerwise fit` does not train on.
HELD_OUT_KEYS = ("validation_fraction", "validation_data", "groups", "ordered")
_KINDS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(
        ("data", "out", "labels", "sample_weight", "array", "layout", "model", "dtype", "device"),
        (str, "a text in quotes"),
    ),
    **dict.fromkeys(("validation_data", "groups"), (str, "a text in quotes")),
    "validation_fraction": ((int, float), "a number"),
    **dict.fromkeys(
        ("impute", "deterministic", "report", "ordered", "transpose"),
        (bool, "true or false"),
    ),
    **dict.fromkeys(("id", "ignore"), (list, "a list of names of columns")),
    "missing": (list, "a list of texts"),
    "max_categories": (int, "a whole number"),
    "image_shape": (list, "a list of height and width, and 3 for colour"),
    "contamination": ((int, float), "a number"),
    "random_state": (int, "a whole number"),
    "layers": (list, "a list of tables, [[layers]]"),
    "finetuning": (dict, "a table, [finetuning]"),
}
# Of these those that name a file or a folder.
_PLACES = {"data", "out", "validation_data"}
DATA_KEYS = (
    *("data", "out", "labels", "id", "ignore", "sample_weight", "max_categories", "missing", "array", "layout"),
    *("transpose", "image_shape"),
)


def read_toml(path: str | PathLike[str]) -> dict[str, Any]:
    """Read settings from a TOML file, and refuse keys that mean nothing.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    settings : dict
        As `build` takes them, and the keys of ``DATA_KEYS`` and ``HELD_OUT_KEYS``.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileError
        If it is no TOML, has an unknown key or a value of the wrong kind, or is larger than any recipe.
    """
    if Path(path).is_dir():
        raise FileError(f"config={path} is a folder, but a TOML file is expected")
    with in_content_of(path):
        return _parse(Path(path))


def _parse(path: Path) -> dict[str, Any]:
    check_length(path, _MAX_TOML, "a recipe")
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.count(".") > _MAX_DOTS:
            raise ValueError(f"it holds more than {_MAX_DOTS} dots")
        settings = tomllib.loads(text)
        _check_depth(settings, _MAX_DEPTH)
    except RecursionError as error:
        raise FileError(f"{path} is no recipe: its tables and lists are nested too deeply") from error
    except ValueError as error:
        hint = " (write paths of Windows in single quotes, or with /)" if "\\" in text else ""
        raise FileError(f"{path} is no TOML file: {str(error)[:200]}{hint}") from error
    _check_keys(str(path), settings, _RUN_KEYS + HELD_OUT_KEYS + DATA_KEYS)
    for name, value in settings.items():
        kind, words = _KINDS[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise FileError(f"{path}: {name}={value!r:.80} must be {words}")
        if value == "":
            raise FileError(f'{path}: {name} = "" is empty; write what it shall be, or leave the line out')
    for name in _PLACES & settings.keys():
        settings[name] = str(Path(settings[name]).expanduser())
    for name, kind, words in (
        *((name, str, "names of columns") for name in ("id", "ignore")),
        ("missing", str, "texts"),
    ):
        _check_items(f"{path}: {name}", settings.get(name, []), kind, words)
    _check_items(f"{path}: image_shape", settings.get("image_shape", []), int, "whole numbers")
    _check_items(f"{path}: layers", settings.get("layers", []), dict, "tables, [[layers]]")
    return settings


def _check_depth(value: Any, depth: int) -> None:
    """Refuse what no recipe holds: deep nesting, whole numbers of more than 64 bits, dates."""
    if depth == 0 or not isinstance(value, (str, int, float, list, dict)):
        raise ValueError(f"it holds {'lists and tables too deep' if depth == 0 else type(value).__name__}")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("it holds a whole number of more than 64 bits")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(item, depth - 1)


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


def write_toml(settings: Mapping[str, Any]) -> str:
    """Return settings as a TOML file with comments, which `layerwise fit --config` takes.

    Parameters
    ----------
    settings : mapping
        As `describe` returns them, and keys of ``DATA_KEYS`` and ``HELD_OUT_KEYS``.

    Returns
    -------
    text : str

    Raises
    ------
    ValueError
        If a name is no text in UTF-8.
    """
    environment = Environment(
        loader=PackageLoader(__name__, "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["toml"] = _toml
    known = dict.fromkeys(_RUN_KEYS + HELD_OUT_KEYS + DATA_KEYS) | {"finetuning": {}, "layers": []}
    text = environment.get_template("run.toml.j2").render(known | dict(settings))
    if not is_utf8(text):
        odd = [f"{name}={value!r}" for name, value in settings.items() if not is_utf8(value)]
        raise ValueError(
            f"{', '.join(odd) or 'a name'} is no text in UTF-8, so run.toml cannot tell of it; choose another name"
        )
    return text


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
    _check_keys(where, spec, known)
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
        _check_keys("early_stopping", stopping, _parameters(EarlyStopping))
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
    _check_keys(where, params, estimator.get_params(deep=False))
    return estimator.set_params(**params)


def _check_keys(where: str, found: Mapping[str, Any], known: Any) -> None:
    unknown = [key for key in found if key not in known]
    if unknown:
        raise ValueError(f"{where} has {unknown[0]!r}, which means nothing there; known are {', '.join(sorted(known))}")


def _check_table(where: str, value: Any, other: str = "") -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where}={value!r} must be a table of names and values{other}")


def _check_items(where: str, values: list[Any], kind: type, words: str) -> None:
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{where} holds {value!r}, but {words} are expected")


def _parameters(choice: Any) -> dict[str, Any]:
    """Return the parameters of a part, with their defaults."""
    if isinstance(choice, str):
        return {}
    return {name: parameter.default for name, parameter in signature(choice).parameters.items()}


def _key(name: Any) -> str:
    """Return a key as TOML writes it; labels of classes may be any text or number."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name := str(name)) else json.dumps(name, ensure_ascii=False)


def _toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items() if item is not None) + " }"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return '"none"' if value is None else json.dumps(value, ensure_ascii=False)
