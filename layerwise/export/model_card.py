"""A model in words: what it is, how it was trained, how good it is, how to use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from layerwise.atomic import atomic, write_file
from layerwise.export._parts import take_apart
from layerwise.export._templates import render
from layerwise.inspection import describe_counts, inspect_model, stack_of

# What may stand beside a card, in words.
_FILES = {
    "config.json": "parameters and shapes of the model",
    "model.safetensors": "its numbers",
    "run.json": "how it was trained",
    "run.toml": "the recipe, to train it again",
    "metrics.jsonl": "every iteration of the training",
    "report.html": "report of the training, for a browser",
    "loss.png": "the loss, stage by stage",
    "filters.png": "what the units of the first layer look for",
    "reconstructions.png": "rows and their reconstructions",
}
_EXPORTED = {".onnx": "the model for ONNX runtimes", ".npz": "the model for NumPy alone, with the .py file beside it"}
_TAGS = {
    "coder": "feature-extraction",
    "classifier": "classification",
    "regressor": "regression",
    "detector": "outlier-detection",
    "imputer": "imputation",
}
# What each kind is asked for in Python, and the command for it.
_USES = {
    "coder": ("codes = model.transform(X)", "encode MODEL ROWS --out codes.npy"),
    "classifier": (
        "labels, probabilities = model.predict(X), model.predict_proba(X)",
        "predict MODEL ROWS --out labels.csv",
    ),
    "regressor": ("predictions = model.predict(X)", "predict MODEL ROWS --out predictions.csv"),
    "detector": ("scores = model.decision_function(X)  # negative for outliers", "score MODEL ROWS --out scores.csv"),
    "imputer": ("filled = model.transform(X)  # NaN where a value is missing", None),
}
# Names of features and classes that a card lists, at most.
_MAX_NAMES = 20


def write_model_card(
    path: str | PathLike[str], model: BaseEstimator, run: Mapping[str, Any] | None = None, *, overwrite: bool = False
) -> None:
    """Write a model card in Markdown, with a header as the Hugging Face hub reads it.

    Parameters
    ----------
    path : str or path-like
        The file, usually ``MODEL_CARD.md`` (the hub wants ``README.md``) in the folder of the model. What it knows of
        the files beside it, it lists.
    model : estimator of layerwise, or Pipeline of ("table", TableEncoder), ("imputer", AutoencoderImputer) and such one
        In place of the imputer there may be a ("counts", CountScaler); reconstructions are those of scaled counts then.
    run : mapping, default=None
        What is known of the training: ``command``, ``data``, ``n_rows``, ``seconds``, ``random_state``, ``versions`` (a
        mapping) and whatever else. Any of it may be missing.
    overwrite : bool, default=False
        Whether to replace a card that is there.

    Raises
    ------
    ValueError
        If the model is not known.
    FileExistsError
        If the file exists and must not be replaced.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from layerwise import Autoencoder, LBFGS
    >>> X = np.random.default_rng(0).random((50, 6))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "MODEL_CARD.md"
    >>> write_model_card(path, Autoencoder(3, solver=LBFGS(max_iter=5), random_state=0).fit(X), {"n_rows": 50})
    >>> print(path.read_text()[:27])
    ---
    library_name: layerwise
    """
    path = Path(path)
    parts, facts, run = take_apart(model), inspect_model(model), dict(run or {})
    command, doubts = run.pop("command", None), run.pop("doubts", ())
    for name in ("held_out_figures", "sample_of_rows", "ranges", "label_marks"):
        run.pop(name, None)
    described = run.pop("descriptions", None) or {}
    stack = stack_of(model)
    text = render(
        "model_card.md.j2",
        filters={"md": _markdown, "code": _code, "share": _share},
        facts=facts,
        kind=parts.kind,
        tags=["autoencoder", _TAGS[parts.kind]],
        n_inputs=parts.n_features,
        n_codes=facts["layers"][-1]["n_hidden"],
        intensities=parts.intensities,
        imputes=parts.imputer is not None,
        counts=describe_counts(model),
        contamination=getattr(parts.estimator, "contamination", None),
        names=_listed(parts.feature_names),
        described=dict(list(described.items())[:_MAX_NAMES]),
        n_described=len(described),
        classes=_listed(facts["classes"] and [repr(label) for label in facts["classes"]]),
        command=command,
        doubts=[" ".join(doubt) for doubt in doubts],
        run={str(name).replace("_", " "): words for name, value in run.items() if (words := _words(value))},
        whole=getattr(stack, "explained_variance_ratio_", None) if len(facts["layers"]) > 1 else None,
        whole_pca=getattr(stack, "pca_explained_variance_ratio_", None),
        use=_USES[parts.kind],
        files=_files(path),
        version=version("layerwise"),
    )
    with atomic(path, overwrite=overwrite) as staging:
        write_file(staging, text.encode(errors="replace"))


def _files(path: Path) -> dict[str, str]:
    """Return what is known of the files beside a card."""
    files = {name: words for name, words in _FILES.items() if (path.parent / name).is_file()}
    for suffix, words in _EXPORTED.items():
        files |= {found.name: words for found in sorted(path.parent.glob(f"*{suffix}"))}
    return files


def _listed(names: list[Any] | None) -> str | None:
    """Return names as one line, not all if they are many."""
    if names is None:
        return None
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(str(name) for name in names[:_MAX_NAMES]) + more


def _words(value: Any) -> str:
    """Return a fact on one line; nothing where nothing is known."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _markdown(value: Any) -> str:
    """Return text that Markdown shows as it is, on one line."""
    text = " ".join("".join(char if char.isprintable() else " " for char in str(value)).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", text)


def _code(value: Any) -> str:
    """Return text as a block of code, whatever it holds."""
    lines = str(value).splitlines() or [""]
    return "\n".join("    " + "".join(char if char.isprintable() else " " for char in line) for line in lines)


def _share(value: float | None) -> str:
    """Return a share as a percentage; a dash where it is not known."""
    return "-" if value is None or value != value else f"{value:.1%}"
