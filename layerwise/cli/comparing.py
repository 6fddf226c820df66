"""Commands that hold a training against a control: compare, check-gradient."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from rich.table import Table
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split

import layerwise
from layerwise import runs
from layerwise.atomic import atomic, write_file
from layerwise.cli.common import (
    Anywhere,
    Data,
    DateParts,
    Flag,
    InSection,
    Labels,
    Model,
    Overwrite,
    Reply,
    Shown,
    Words,
    list_contents,
    render,
)
from layerwise.cli.opening import match_columns, open_model, select
from layerwise.cli.targets import choose_model, have_fractions, mark_unlabeled, match_classes
from layerwise.cli.task import refuse_gaps
from layerwise.comparison import NONE, RIVALS, Comparison, compare, recipe
from layerwise.data.count_scaler import CountScaler
from layerwise.data.inputs import Input, open_source, read
from layerwise.data.naming import naming_columns
from layerwise.data.values import describe_missing
from layerwise.estimators import AutoencoderImputer, StackedClassifier, check_gradient
from layerwise.estimators._finetuning import FineTunedEstimator
from layerwise.inspection import bare, step_of
from layerwise.labels import find_labelled, find_missing, has_label
from layerwise.section import WHOLE, Section
from layerwise.solvers import LBFGS, Adam
from layerwise.urls import Place

# With fewer, intervals are so wide that hardly anything is clear.
_FEW_SEEDS = 3
# A class has so many rows, or none is left to test with.
_IN_A_CLASS = 2
_SOLVERS: dict[str, LBFGS | Adam] = {"lbfgs": LBFGS(200), "adam": Adam(20, learning_rate="cosine")}


def compare_command(
    data: Anywhere,
    labels: str,
    *,
    test_data: Anywhere | None = None,
    test_labels: str | None = None,
    id: Annotated[list[str] | None, Words] = None,
    ignore: Annotated[list[str] | None, Words] = None,
    sample_weight: str | None = None,
    impute: Flag = False,
    max_categories: int | None = None,
    date_parts: DateParts = None,
    section: InSection = WHOLE,
    pretraining: Annotated[list[Literal["sparse", "denoising", "contractive"]] | None, Words] = None,
    layers: Annotated[list[int] | None, Words] = None,
    solver: Literal["lbfgs", "adam"] | None = None,
    model: Path | None = None,
    budgets: Annotated[list[int | Literal["all"]] | None, Words] = None,
    finetune: Annotated[list[Literal["head", "all"]], Words] = ["head", "all"],  # noqa: B006 - never changed
    rivals: Annotated[list[Literal["LogisticRegression", "SVC"]], Words] = ["LogisticRegression", "SVC"],  # noqa: B006
    seeds: int = 5,
    seed: int = 0,
    out: Path = Path("runs/compare"),
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Show whether pre-training helps: train the same network with and without it, on few labels and on many.

    Example: layerwise compare train.csv species --test-data test.csv --budgets 30 100

    Parameters
    ----------
    data
        Rows, all of which pre-training sees, in any form that fit takes.
    labels
        The column or array of the data, or the file, that holds the labels.
    test_data
        Rows to measure the accuracy on; a quarter of the labelled rows, drawn by the seed, if not given.
    test_labels
        Their labels; the column of the same name if not given.
    id
        Columns that tell rows apart; those of the model if not given.
    ignore
        Columns to leave out; those of the model if not given.
    sample_weight
        The column or array of the data, and of the test data, that says how often each row counts; that of the model if
        not given.
    impute
        Fill in missing numbers by an autoencoder trained on the same rows; done for tables, and if the model does it.
    max_categories
        How many different values a column of text may have; as for the model, or 100, if not given.
    date_parts
        Periods in which dates come round, for every column of dates: year, week, day; those of the model if not given.
    pretraining
        Ways to pre-train, each beside the control; denoising if not given.
    layers
        Units of each layer; 500 500 if not given.
    solver
        What trains the head and the network on the labels: 200 iterations of lbfgs, or 20 epochs of adam for many
        labels; lbfgs if not given.
    model
        Folder of a trained classifier, to take its recipe instead.
    budgets
        Numbers of labelled rows; all takes all. If not given, 100 and 1000, or all where there are fewer.
    finetune
        What labels train: the head, the whole network, or each in turn.
    rivals
        Classifiers of scikit-learn, trained on the rows and on the codes.
    seeds
        How many runs of each, with other initial weights and other labelled rows.
    seed
        The first of them.
    out
        Folder for the figures and the picture.
    """
    facts = {} if model is None else runs.read_facts(model)
    trained = None if model is None else layerwise.load(model)
    weighing = sample_weight or facts.get("sample_weight")
    train = read(
        data,
        labels=labels,
        ids=id or facts.get("id"),
        ignore=ignore or facts.get("ignore") or (),
        sample_weight=weighing,
        max_categories=facts.get("max_categories") if max_categories is None else max_categories,
        date_parts=date_parts or facts.get("date_parts") or (),
        **select(data, facts, section),
    ).without_weightless()
    classifiers = _choose_recipes(trained, pretraining, layers, solver, train.X.shape)
    _refuse_amounts(train.y, labels)
    y, settings = mark_unlabeled(train.y, {"model": "classifier"})
    train = train._replace(y=y)
    unlabeled = settings.get("finetuning", {}).get("unlabeled")
    if test_data is None:
        train, test = _hold_out(train, unlabeled, seed)
    else:
        part = Section(**select(test_data, {**facts, "zero_based": train.zero_based}, section))
        test = _read_test(test_data, test_labels or labels, weighing, part, train, unlabeled)
        test = match_columns(test, train, test_data)
    counts = step_of(trained, CountScaler)
    X, y, X_test = (
        (train.X, train.y, test.X) if counts is None else (counts.transform(train.X), train.y, counts.transform(test.X))
    )
    missing = describe_missing(X, train.column_names) or describe_missing(X_test, train.column_names)
    if missing and train.encoder is None and not (impute or step_of(trained, AutoencoderImputer)):
        refuse_gaps(missing, train)
    n_labelled = int(find_labelled(np.asarray(y), unlabeled).sum())
    with (
        atomic(out, folder=True, overwrite=overwrite) as staging,
        display.watching() as callbacks,
        naming_columns(X=train.feature_names),
    ):
        if missing:
            imputer = AutoencoderImputer(random_state=seed, callbacks=callbacks).set_params(
                autoencoder__dtype="float32"
            )
            imputer.fit(X, sample_weight=train.weights)
            X, X_test = imputer.transform(X), imputer.transform(X_test)
        for classifier in classifiers.values():
            classifier.set_params(callbacks=callbacks)
            if trained is None:
                classifier.set_params(autoencoder__dtype="float32")  # as fit computes
            if unlabeled is not None:
                classifier.set_params(unlabeled=unlabeled)
        comparison = compare(
            classifiers,
            X,
            y,
            X_test,
            test.y,
            sample_weight=train.weights,
            sample_weight_test=test.weights,
            budgets=budgets or [count for count in (100, 1000) if count <= n_labelled] or ["all"],
            depths=finetune,
            rivals={name: RIVALS[name] for name in rivals},
            n_seeds=seeds,
            seed=seed,
            announce=display.say,
        )
        told = comparison.as_dict() | {"n_test": X_test.shape[0]}
        write_file(staging / "comparison.json", json.dumps(told, indent=2) + "\n")
        picture = io.BytesIO()
        comparison.plot().savefig(picture, dpi=120)
        write_file(staging / "comparison.png", picture.getvalue())
    table = render(_comparison_table(comparison, X_test.shape[0]))
    return Reply(told, f"{table}\n{_conclude(comparison)}\n{list_contents(out)}")


def check_gradient_command(
    model: Model,
    data: Data,
    *,
    labels: Labels = None,
    section: InSection = WHOLE,
    n_rows: int = 50,
) -> Reply:
    """Compare the gradient of every stage of a model's training with differences of its objective.

    Example: layerwise check-gradient runs/digits train-images.gz --labels train-labels.gz

    Parameters
    ----------
    model
        Folder of a trained model, to take its recipe.
    n_rows
        How many rows to take, from the first.
    """
    if n_rows < 1:
        raise ValueError(f"n_rows={n_rows} leaves nothing to check with; give at least 1")
    opened = open_model(model, data, labels=labels, section=section)
    X, y, estimator = opened.X[:n_rows], opened.source.y, opened.estimator
    if isinstance(estimator, FineTunedEstimator) and y is None:
        raise ValueError(f"{model} is a {type(estimator).__name__}; give labels with --labels")
    errors = check_gradient(estimator, X, None if y is None else y[:n_rows])
    lines = [f"{stage}: |gradient - numeric| / |numeric| = {error:.1e}" for stage, error in errors.items()]
    return Reply(errors, "\n".join(lines))


def _choose_recipes(
    trained: BaseEstimator | None,
    pretraining: Sequence[str] | None,
    layers: Sequence[int] | None,
    solver: str | None,
    shape: tuple[int, ...],
) -> dict[str, StackedClassifier]:
    """Return the recipe of a model, or one for each way to pre-train rows of this shape."""
    if trained is None:
        widths, trainer = layers or [500, 500], _SOLVERS[solver or "lbfgs"]
        return {way: recipe(way, widths, trainer, *shape) for way in pretraining or ["denoising"]}
    if pretraining or layers or solver:
        raise ValueError("--model brings its own recipe; leave out --pretraining, --layers and --solver")
    classifier = bare(trained)
    if not isinstance(classifier, StackedClassifier):
        raise ValueError(
            f"--model is no classifier but a {type(classifier).__name__}; train one with layerwise fit --labels"
        )
    return {"pre-trained": classifier}


def _refuse_amounts(y: np.ndarray | None, name: str) -> None:
    """Refuse labels that `fit` would take for amounts, and that cannot be classes either."""
    if y is None or choose_model(y)[0] != "regressor":
        return
    values, counts = np.unique(y[~find_missing(y)], return_counts=True)
    if have_fractions(y) or counts.min() < _IN_A_CLASS:
        raise ValueError(
            f"compare needs classes of at least {_IN_A_CLASS} rows, but {name!r} holds {len(values):,} different "
            f"values in {counts.sum():,} rows, such as {values.tolist()[0]!r:.65}, which are rather amounts; train a "
            f"regressor on them with layerwise fit, or make classes of them first"
        )


def _read_test(
    data: Place, labels: str, sample_weight: str | None, section: Section, train: Input, unlabeled: Any
) -> Input:
    """Read the rows for the test that have a label, as those that are trained on."""
    y, opened = np.asarray(train.y), open_source(data, section)
    opened.as_written = labels if y.dtype.kind == "U" else None
    test = read(opened, labels=labels, sample_weight=sample_weight, encoder=train.encoder).without_weightless()
    test = test.take(np.flatnonzero(has_label(np.asarray(test.y))))
    return test._replace(y=match_classes(np.asarray(test.y), y[find_labelled(y, unlabeled)], f"test_data={data}"))


def _hold_out(source: Input, unlabeled: Any, seed: int) -> tuple[Input, Input]:
    """Return what is trained on, and a quarter of the labelled rows for the test, every class in proportion."""
    y = np.asarray(source.y)
    labelled = np.flatnonzero(find_labelled(y, unlabeled))
    try:
        _, test = train_test_split(labelled, stratify=y[labelled], random_state=seed)
    except ValueError as error:
        raise ValueError(
            f"of {len(labelled)} labelled rows a quarter cannot be kept back for the test with some of every class; "
            f"each class needs two, and there must be four times as many rows as classes: leave the rarest out, or "
            f"give other rows with --test-data"
        ) from error
    rest = np.setdiff1d(np.arange(len(y)), test)
    return source.take(rest), source.take(test)


def _conclude(comparison: Comparison) -> str:
    """Return what the best methods say of each number of labels, a line each."""
    lines: dict[int, list[str]] = {}
    for row in comparison.rows():
        if row["method"] == "best":
            gain = f" by {100 * row['gain'][0]:+.1f} points" if row["verdict"] != "no clear difference" else ""
            lines.setdefault(row["budget"], []).append(f"{row['start']}: {row['verdict']}{gain}")
    told = [f"With {budget:,} labels, each at its best: {'; '.join(found)}" for budget, found in lines.items()]
    n_seeds = comparison.accuracies.shape[-1]
    few = [] if n_seeds >= _FEW_SEEDS else [f"Of {n_seeds} seeds little can be told; --seeds 5 says more"]
    return "\n".join([*told, *few])


def _comparison_table(comparison: Comparison, n_test: int) -> Table:
    """Return accuracies, a line a budget and method, with the gain over the control beside those of each start."""
    columns = comparison.starts[1:]
    title = f"Accuracy on {n_test:,} test rows, and gain over no pre-training with its 95 % interval over seeds"
    table = Table("labels", "method", NONE, title=title)
    for start in columns:
        table.add_column(start)
    rows = comparison.rows()
    for first in range(0, len(rows), len(columns)):
        line = rows[first : first + len(columns)]
        cells = []
        for row in line:
            gain, low, high = (100 * end for end in row["gain"])
            clear = "" if row["verdict"] == "no clear difference" else " *"
            cells.append(f"{row['accuracy']:.2%}  {gain:+.2f} [{low:+.2f}, {high:+.2f}]{clear}")
        budget, method, control = line[0]["budget"], line[0]["method"], line[0]["control"]
        table.add_row(f"{budget:,}", str(method), f"{control:.2%}", *cells, end_section=method == "best")
    table.caption = "* the interval does not hold 0; one without width has no star: too few test rows tell seeds apart"
    return table
