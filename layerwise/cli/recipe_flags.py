"""From the flags of `fit`, which give one recipe for all layers, to settings; flags win over a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerwise.recipes import DATA_KEYS, HELD_OUT_KEYS, default_layers
from layerwise.recipes.tables import table_settings
from layerwise.solvers import SOLVERS

# Settings of a run beside those of its model.
COUNTS = ("library_size", "log1p")  # what brings counts to one scale
SETTLED = (*DATA_KEYS, *HELD_OUT_KEYS, "impute", *COUNTS, "deterministic", "report")
_SOLVER_FLAGS = ("solver", "max_iter", "batch_size", "learning_rate_init", "learning_rate", "progressive")
# Flags that go with the recipe for tables; any other asks for layers as the flags say.
_LEAVE_THE_RECIPE = {"max_iter", "random_state", "dtype", "device", "unlabeled", "class_weight"}
_OF_FINETUNING = ("dropout", "finetune_corruption", "finetune_corruption_level")


def take(flags: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Take these flags out, as TOML can hold them."""
    taken = {name: flags.pop(name) for name in names if name in flags}
    return {name: str(value) if isinstance(value, Path) else value for name, value in taken.items()}


def arguments_of_read(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `layerwise.read` takes."""
    places = {name: settings[name] for name in DATA_KEYS if name in settings and name not in ("data", "out")}
    if "image_shape" in places:
        places["image_shape"] = tuple(places["image_shape"])
    places["ids"] = [*places.pop("id", []), *([settings["groups"]] if "groups" in settings else [])]  # kept beside rows
    return {"path": settings["data"], **places}


def begin_as_table(
    settings: Mapping[str, Any], flags: Mapping[str, Any], n_rows: int, n_features: int
) -> dict[str, Any]:
    """Return the settings of a run on a table with the recipe for tables, unless it is told how to train."""
    if {"layers", "finetuning"} & settings.keys() or not _LEAVE_THE_RECIPE.issuperset(flags):
        return dict(settings)
    return dict(settings) | table_settings(settings["model"], n_rows, n_features)


def tell_recipe(before: Mapping[str, Any], flags: Mapping[str, Any], source: Any) -> list[str]:
    """Say that an array of few real numbers gets the layers of arrays, where nobody has said how to train."""
    n_rows, n_features = source.X.shape
    told = {"layers", "finetuning"} & before.keys() or not _LEAVE_THE_RECIPE.issuperset(flags)
    numbers = source.encoder is None and source.image_shape is None and source.X.dtype.kind == "f"
    if told or not numbers or not table_settings(before["model"], n_rows, n_features):
        return []
    return ["Recipe: that of arrays and images; as a table with named columns (CSV) these rows get the one of tables"]


def overlay(settings: Mapping[str, Any], flags: Mapping[str, Any], n_features: int | None = None) -> dict[str, Any]:
    """Return settings with the flags that were given in their places, in every layer.

    Parameters
    ----------
    settings : mapping
        Of a TOML file; empty without one.
    flags : mapping
        Those of `fit` that describe a model, only the ones that were given.
    n_features : int or None, default=None
        Of the rows.

    Returns
    -------
    settings : dict
        As `layerwise.recipes.build` takes them.
    """
    settings, flags = dict(settings), dict(flags)
    for name in ("model", "contamination", "random_state", "dtype", "device"):
        if name in flags:
            settings[name] = flags.pop(name)
    finetuning = dict(settings.get("finetuning", {}))
    if "finetune" in flags:
        finetune = flags.pop("finetune")
        finetuning["finetune"] = int(finetune) if finetune.isdecimal() else finetune
    own = {name.removeprefix("finetune_"): flags.pop(name) for name in list(flags) if name in _OF_FINETUNING}
    if own:
        if settings.get("model") == "outliers" or (not _has_labels(settings) and "finetune" not in finetuning):
            raise ValueError(
                f"{', '.join(own)} has no meaning without fine-tuning; give --labels, or --finetune reconstruction"
            )
        _set_parts(finetuning, own)
    for flag, name in (("head_alpha", "alpha"), ("unlabeled", "unlabeled")):
        if flag in flags:
            if not _has_labels(settings):
                raise ValueError(f"{flag}={flags[flag]} has no meaning without labels; give them with --labels")
            finetuning[name] = flags.pop(flag)
    if "class_weight" in flags:
        if settings.get("model") != "classifier":
            raise ValueError(f"class_weight={flags['class_weight']} has no meaning without classes to tell apart")
        finetuning["class_weight"] = flags.pop("class_weight")
    layers = [dict(layer) for layer in settings.get("layers", [])]
    model = settings.get("model", "autoencoder")
    if not layers and (flags or model == "autoencoder"):
        layers = default_layers(model, n_features)
    if "layers" in flags:  # further layers are like the last that there is
        widths = flags.pop("layers")
        layers = [layers[min(place, len(layers) - 1)] | {"n_hidden": width} for place, width in enumerate(widths)]
    solver = {name: flags.pop(name) for name in _SOLVER_FLAGS if name in flags}
    for spec in [*layers, finetuning]:
        if solver:
            spec["solver"] = _update(spec.get("solver", "lbfgs"), solver, "solver")
    for spec in layers:
        _set_parts(spec, flags)
    if layers:
        settings["layers"] = layers
    if finetuning:
        settings["finetuning"] = finetuning
    return settings


def iterations_asked_for(settings: Mapping[str, Any]) -> int | None:
    """Return how many iterations the first layer has, if that is not what it has when nothing is said.

    Settings alone tell it: those of a run that goes on, or is repeated, were flags once.
    """
    finetuning, layers = settings.get("finetuning", {}), settings.get("layers", [])
    # The recipe for tables has iterations of its own for its layer.
    spec = finetuning if finetuning.get("init") == "linear" else layers[0] if layers else {}
    solver, usual = (
        solver if isinstance(solver := one.get("solver"), Mapping) else {}
        for one in (spec, *(default_layers(settings["model"])[:1]))
    )
    asked = solver.get("max_iter")
    return None if asked in (usual.get("max_iter"), SOLVERS[solver.get("name", "lbfgs")]().max_iter) else asked


def _has_labels(settings: Mapping[str, Any]) -> bool:
    return settings.get("model") in ("classifier", "regressor")


def _set_parts(spec: dict[str, Any], flags: Mapping[str, Any]) -> None:
    """Set parameters of a layer; those of its parts are flags such as ``sparsity_target``."""
    plain = dict(flags)
    defaults = {"activation": "top_k", "sparsity": "kl" if "sparsity_target" in flags else None, "corruption": None}
    for kind, default in defaults.items():
        chosen = {}
        if kind in plain:
            chosen[kind] = plain.pop(kind)
        details = {name: plain.pop(name) for name in list(plain) if name.startswith(f"{kind}_")}
        if not chosen and not details:
            continue
        part = spec.get(kind) or default
        if details and (chosen.get(kind) == "none" or (not chosen and part is None)):
            name, value = next(iter(details.items()))
            raise ValueError(f"{name}={value:g} has no meaning without {kind}; choose one with --{kind}")
        renamed = {name.removeprefix(f"{kind}_"): value for name, value in details.items()}
        spec[kind] = _update(part, chosen | renamed, kind)
        if kind == "corruption":
            spec[kind] = _complete_corruption(spec[kind])
    spec |= plain


def _complete_corruption(part: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a corruption with a level; that of gaussian noise is its standard deviation."""
    if part["name"] == "none":
        return part
    name = "std" if part["name"] == "gaussian" else "level"
    return {"name": part["name"], name: part.get(name, 0.25)} | {
        key if key != "level" else name: value for key, value in part.items()
    }


def _update(part: Any, changes: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the description of a part with changes; another kind of part begins with its own defaults."""
    part = {"name": part} if isinstance(part, str) or part is None else dict(part)
    name = changes.get(kind, part.get("name"))
    if name != part.get("name"):
        part = {"name": name}
    return part | {key: value for key, value in changes.items() if key != kind}
