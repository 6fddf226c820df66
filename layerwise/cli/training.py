"""Commands that train, or prepare for it: demo, init, fit."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from layerwise import distributed, recipes, runs
from layerwise.atomic import atomic, publish, target_of, write_file
from layerwise.callbacks import Callback, MetricsFile
from layerwise.cli.common import (
    AnyText,
    Array,
    Data,
    Display,
    Flag,
    Labels,
    Layout,
    Overwrite,
    Reply,
    Shown,
    Transpose,
    Words,
    as_command,
    check_apart,
    given,
    list_contents,
)
from layerwise.cli.fitting import (
    choose_model,
    count_labelled,
    fills_gaps,
    find_label_marks,
    log_run,
    mark_unlabeled,
    open_trackers,
    train,
)
from layerwise.cli.held_out import hold_out
from layerwise.cli.judging import judge, tell_held_out
from layerwise.cli.opening import digest_rows, measure_ranges, name_rows, sample_rows
from layerwise.cli.recipe_flags import begin_as_table, overlay, tell_recipe
from layerwise.cli.telling import (
    advise_on_labels,
    advise_on_transpose,
    describe_columns,
    describe_rows,
    describe_task,
    suggest_next,
    warn_of_stages,
)
from layerwise.cli.unfinished import CHECKPOINTS, SCRATCH, read_begun, refuse_changes, tidy, unfinished_run
from layerwise.data import load_mnist_small
from layerwise.data.column_types import as_plain
from layerwise.data.inputs import read
from layerwise.data.naming import naming_columns
from layerwise.data.values import describe_missing, describe_odd_columns
from layerwise.estimators import AutoencoderOutlierDetector
from layerwise.inspection import describe_scale, inspect_model, layers_of
from layerwise.recipes import DATA_KEYS, HELD_OUT_KEYS
from layerwise.recipes.tables import table_settings
from layerwise.reproduce import ufldl_stacked
from layerwise.reproduce.experiment import Session

# Headings of the page of help.
_DATA = Parameter(group=Group("Data", sort_key=-3))
_TRAINING = Parameter(group=Group("What to train, and how", sort_key=-2))
_LAYERS = Parameter(group=Group("All layers (a recipe for each: --config)", sort_key=-1))


# Settings of a run beside those of its model; and those that may be named anew to go on with it.
_SETTLED = (*DATA_KEYS, *HELD_OUT_KEYS, "impute", "deterministic", "report")
_MAY_MOVE = ("out", "data", "labels", "validation_data", "report")
# Parameters of `fit` that are no settings of a run.
_OF_THIS_PROCESS = ("config", "track", "resume", "checkpoint_seconds", "timeout", "overwrite", "display")


def demo(*, out: Path = Path("runs/demo"), seed: int = 0, overwrite: Overwrite = False, display: Shown) -> Reply:
    """Train a stacked autoencoder on 6,000 handwritten digits and test it on 1,000 others.

    Example: layerwise demo --out runs/demo

    Parameters
    ----------
    out
        Folder for the model, the metrics, the pictures and the report.
    seed
        Draws the initial weights.
    """
    display.say("784-200-200-10 on the MNIST images shipped with layerwise: 6,000 to train with, 1,000 to test")
    digits = load_mnist_small()
    start = time.perf_counter()
    with atomic(out, folder=True, overwrite=overwrite) as staging, display.watching() as callbacks:
        with MetricsFile(staging / runs.METRICS) as metrics:
            session = Session(seed, callbacks=[*callbacks, metrics], announce=display.say)
            outcome = ufldl_stacked.run(digits, session, max_iter=100, softmax_alpha=1e-4)
        facts = runs.gather_facts(
            data="MNIST images shipped with layerwise",
            n_rows=len(digits.X_train),
            rows_shown=f"{len(digits.X_test):,} others, to test with",
            random_state=seed,
            seconds=round(time.perf_counter() - start, 1),
        )
        display.say(f"writing {runs.REPORT} ...")
        runs.write_run(
            staging,
            outcome.estimator,
            digits.X_test,
            y=digits.y_test,
            facts=facts,
            image_shape=outcome.image_shape,
            trained_on=False,
        )
    accuracies = [f"{name}: {outcome.obtained[name]}" for name in (ufldl_stacked.GREEDY, ufldl_stacked.FINETUNED)]
    return Reply(
        dict(outcome.obtained) | {"out": str(out)},
        "\n".join([*accuracies, list_contents(out)]),
        f"open {out / runs.REPORT} in a browser, or run: layerwise init YOUR_FILE",
    )


def init(
    data: Data,
    *,
    labels: Labels = None,
    id: Annotated[list[str] | None, Words] = None,
    ignore: Annotated[list[str] | None, Words] = None,
    sample_weight: str | None = None,
    max_categories: int | None = None,
    missing: Annotated[list[str] | None, Words] = None,
    array: Array = None,
    layout: Layout = None,
    transpose: Transpose = None,
    image_shape: Annotated[list[int] | None, Words] = None,
    model: Literal["autoencoder", "classifier", "regressor", "outliers"] | None = None,
    out: Path = Path("run.toml"),
    overwrite: Overwrite = False,
) -> Reply:
    """Look at data and write a commented run.toml that `layerwise fit --config` takes.

    Example: layerwise init table.csv --labels species

    Parameters
    ----------
    id
        Columns that tell rows apart.
    ignore
        Columns to leave out.
    sample_weight
        The column, or the array in the same file, that says how often each row counts: no feature, not negative.
    max_categories
        How many different values a column of text may have, beyond which rare ones are pooled; 100 if not given.
    missing
        What stands for nothing in the table, in columns of text and labels too: --missing unknown --missing=-999.
    image_shape
        Height and width, and 3 for colour: images of a folder are resized to it, rows of other files are such images.
    model
        What to train; chosen by the labels if not given.
    out
        The file to write.
    """
    places = _take(given(**locals()), [name for name in DATA_KEYS if name != "out"])
    check_apart(out, data)
    with atomic(out, overwrite=overwrite) as staging:
        source = read(**_where(places))
        gaps = describe_missing(source.X, source.feature_names)
        n_labelled = None if source.y is None else count_labelled(source.y, {})
        chosen, why = (model, None) if model else choose_model(source.y)
        made = {} if source.encoder is None else table_settings(chosen, *source.X.shape)
        made = made or {"layers": recipes.default_layers(chosen, source.X.shape[1])}
        recipe = recipes.build({"model": chosen, "random_state": 0} | made)
        out_of = f"runs/{data.stem.strip('*?-_. ') or 'model'}"
        settings = recipes.describe(recipe) | places | {"out": out_of, "impute": bool(gaps) or None}
        write_file(staging, recipes.write_toml(settings))
    recipe_line = f"A recipe for model={chosen!r} is in {out}{f' ({why})' if why else ''}"
    lines = [
        describe_rows(source, n_labelled),
        *advise_on_transpose(source, places),
        *describe_columns(source),
        gaps,
        recipe_line,
    ]
    text = "\n".join(line for line in lines if line)
    facts = {
        "out": str(out),
        "n_rows": source.X.shape[0],
        "n_features": source.X.shape[1],
        "model": chosen,
        "chosen_because": why,
    }
    return Reply(facts, text, f"read {out}, then run: {as_command('fit', '--config', out)}")


def fit(
    data: Path | None = None,
    *,
    out: Path | None = None,
    config: Path | None = None,
    labels: Annotated[Labels, _DATA] = None,
    id: Annotated[list[str] | None, Words, _DATA] = None,
    ignore: Annotated[list[str] | None, Words, _DATA] = None,
    sample_weight: Annotated[str | None, _DATA] = None,
    max_categories: Annotated[int | None, _DATA] = None,
    missing: Annotated[list[str] | None, Words, _DATA] = None,
    array: Annotated[Array, _DATA] = None,
    layout: Annotated[Layout, _DATA] = None,
    transpose: Annotated[Transpose, _DATA] = None,
    image_shape: Annotated[list[int] | None, Words, _DATA] = None,
    impute: Annotated[bool | None, _DATA] = None,
    model: Annotated[Literal["autoencoder", "classifier", "regressor", "outliers"] | None, _TRAINING] = None,
    contamination: Annotated[float | None, _TRAINING] = None,
    layers: Annotated[list[int] | None, Words, _LAYERS] = None,
    activation: Annotated[str | None, _LAYERS] = None,
    activation_k: Annotated[int | None, _LAYERS] = None,
    output_activation: Annotated[str | None, _LAYERS] = None,
    loss: Annotated[str | None, _LAYERS] = None,
    tied: Annotated[bool | None, Parameter(negative=""), _LAYERS] = None,
    alpha: Annotated[float | None, _LAYERS] = None,
    sparsity: Annotated[Literal["kl", "l1", "none"] | None, _LAYERS] = None,
    sparsity_target: Annotated[float | None, _LAYERS] = None,
    sparsity_weight: Annotated[float | None, _LAYERS] = None,
    corruption: Annotated[Literal["masking", "gaussian", "salt_and_pepper", "none"] | None, _LAYERS] = None,
    corruption_level: Annotated[float | None, _LAYERS] = None,
    contraction: Annotated[float | None, _LAYERS] = None,
    scale: Annotated[Literal["auto", "minmax", "standard", "none"] | None, _LAYERS] = None,
    solver: Annotated[Literal["lbfgs", "sgd", "adam"] | None, _TRAINING] = None,
    max_iter: Annotated[int | None, _TRAINING] = None,
    batch_size: Annotated[int | None, _TRAINING] = None,
    learning_rate_init: Annotated[float | None, _TRAINING] = None,
    learning_rate: Annotated[Literal["constant", "linear", "cosine"] | None, _TRAINING] = None,
    progressive: Annotated[bool | None, _TRAINING] = None,
    validation_fraction: Annotated[float | None, _DATA] = None,
    validation_data: Annotated[Path | None, _DATA] = None,
    groups: Annotated[str | None, _DATA] = None,
    ordered: Annotated[bool | None, Parameter(negative=""), _DATA] = None,
    finetune: Annotated[str | None, _TRAINING] = None,
    head_alpha: Annotated[float | None, _TRAINING] = None,
    dropout: Annotated[float | None, _TRAINING] = None,
    finetune_corruption: Annotated[Literal["masking", "gaussian", "salt_and_pepper", "none"] | None, _TRAINING] = None,
    finetune_corruption_level: Annotated[float | None, _TRAINING] = None,
    class_weight: Annotated[Literal["balanced"] | None, _TRAINING] = None,
    unlabeled: Annotated[str | None, AnyText, _DATA] = None,
    random_state: Annotated[int | None, _TRAINING] = None,
    dtype: Annotated[Literal["float32", "float64", "auto"] | None, _TRAINING] = None,
    device: Annotated[str | None, _TRAINING] = None,
    track: Annotated[list[Literal["tensorboard", "mlflow"]] | None, Words] = None,
    report: bool | None = None,
    resume: Flag = False,
    checkpoint_seconds: float = 60.0,
    deterministic: Annotated[bool | None, Parameter(negative="")] = None,
    timeout: float = 300.0,
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply | None:
    """Train a model on rows: autoencoders; with labels a classifier, with numbers as labels a regressor.

    Example: layerwise fit table.csv --labels species --out runs/species

    Example: layerwise fit train-images.gz --labels train-labels.gz --layers 200 200 --out runs/digits

    Example: layerwise fit machines.csv --id name --model outliers --impute --out runs/machines

    Parameters
    ----------
    data
        Rows: CSV, Parquet, Feather, .jsonl, .npy, .npz, IDX, .mat, .safetensors, .txt, or a folder of images or of
        tables. Several files are one pattern in quotes: 'part-*.csv'. Bytes are scaled to [0, 1]; what the columns of a
        table are taken for is said.
    out
        Folder for the model, the metrics, the pictures and the report.
    config
        A TOML file with all of this, and a recipe for each layer (see layerwise init); flags win over it.
    labels
        The column or array of the data, or the file, that holds labels or targets; class for the sub-folders of
        images, which also take a table of file names and labels. Rows whose label is missing serve pre-training only.
    id
        Columns that tell rows apart: no features, but kept in what other commands write.
    ignore
        Columns to leave out.
    sample_weight
        The column, or the array in the same file, that says how often each row counts: no feature, not negative.
    max_categories
        How many different values a column of text may have, beyond which rare ones are pooled; 100 if not given.
    missing
        What stands for nothing in the table, in columns of text and labels too: --missing unknown --missing=-999.
    image_shape
        Height and width, and 3 for colour: images of a folder are resized to it, rows of other files are such images.
    impute
        Fill in missing numbers by an autoencoder first; done where numbers of a table are missing, unless it is told
        not to.
    model
        What to train. If not given: a classifier or a regressor, by the labels, and said with the reason (whole numbers
        are classes up to 30 of them that repeat and are not spread, and up to 100 that count from 0 or 1 without gaps,
        each in 5 rows on average);
        without labels autoencoders, or an outlier detector if contamination is given.
    contamination
        Share of the rows to take for outliers; 0.1 if not given.
    layers
        Hidden units of each layer. If not given, 200 200; without labels not more than features, and half of them; for
        outliers 32.
    activation
        Of the hidden units: sigmoid, tanh, relu, leaky_relu, elu, softplus, identity or top_k; sigmoid if neither this
        nor a k is given.
    activation_k
        How many units of each row top_k keeps.
    output_activation
        Of the first layer's output, one of the same but top_k; sigmoid if not given. Upper layers reconstruct codes,
        with the activation of those, which is relu for those of top_k.
    loss
        Of the first layer: squared_error, if not given, or binary_cross_entropy.
    tied
        Decoders are the transposed encoders.
    alpha
        Weight decay of each layer; 0.0001 if not given.
    sparsity
        kl keeps mean activations near a target, l1 keeps activations small; off if neither this nor a target is given.
    sparsity_target
        Wished mean activation of each hidden unit, between 0 and 1; 0.05 if not given.
    sparsity_weight
        Factor of the sparsity penalty: 3 for kl and 0.001 for l1 if not given.
    corruption
        Noise on the input in training; off if not given.
    corruption_level
        Share of the entries that are hit; of gaussian noise, its standard deviation. 0.25 if not given.
    contraction
        Factor of the penalty of the encoder's Jacobian; 0 if not given.
    scale
        How columns are scaled within the model: minmax to the range of the output, standard to mean 0 and deviation 1,
        none; auto, if not given, leaves bytes, and rows that fit the output, as they are.
    solver
        What minimises in every stage; lbfgs if not given.
    max_iter
        Iterations of L-BFGS in each stage, 200 if not given; epochs of the others, 50 if not given.
    batch_size
        Rows a step of sgd and adam.
    learning_rate_init
        Step size of sgd and adam at the start.
    learning_rate
        How it goes on.
    progressive
        L-BFGS trains layers on growing samples first, unless it is told not to.
    validation_fraction
        Share of the rows to hold out: each stage stops when it no longer gets better on them, and what is told of the
        model is measured on them. 0.2 if not given, drawn in the proportions of the classes; fewer than 50 rows are
        measured by folds. 0 trains on all rows.
    validation_data
        A file of such rows, with labels as in the data, instead of a share.
    groups
        A column whose rows with the same value belong together, such as those of one machine or patient: they are held
        out all or none. It is no feature.
    ordered
        Rows are in the order of time: the last ones are held out.
    finetune
        With labels: all, head (often better where they are few), or a number of layers from the top; all if not given.
        Without: reconstruction trains the layers together in the end.
    head_alpha
        Weight decay of the head; 0.0001 if not given.
    dropout
        Share of the codes that fine-tuning sets to 0; 0 if not given.
    finetune_corruption
        Noise on the input in fine-tuning; off if not given.
    finetune_corruption_level
        Share of the entries that are hit then; of gaussian noise, its standard deviation. 0.25 if not given.
    class_weight
        balanced lets rare classes count as much as frequent ones, in fine-tuning; all rows count alike if not given. A
        weight for each class is a table in a file for --config: class_weight = { no = 1, yes = 20 }.
    unlabeled
        The label of rows that have none; gaps are found without it.
    random_state
        Draws the initial weights, noise and batches; drawn, and written down, if not given.
    dtype
        Type of the products; float32 if not given, also for tables, whose numbers are read as float64. auto takes that
        of the rows.
    device
        auto, if not given, cpu, cuda or cuda:N.
    track
        Experiment trackers to send the metrics to as well; mlflow gets the settings and all files too.
    report
        Write report.html, which is done unless it is told not to.
    resume
        Go on with the unfinished run (OUT.partial) where it was interrupted, and end with the same bits; begin if there
        is none, do nothing if it has ended. With --out alone everything else is as it began; data that has moved is
        named anew, and other rows or labels are refused.
    checkpoint_seconds
        Time after which a checkpoint is written, besides at the end of each stage.
    deterministic
        The same bits from 1, 2, 4 or 8 processes (started by torchrun); slower.
    timeout
        Seconds that one of several processes waits for another before it gives up.
    """
    flags = given(**locals())  # each under the name of the parameter that it sets
    for name in _OF_THIS_PROCESS:
        flags.pop(name, None)
    for name, value in flags.items():
        if value == []:
            raise ValueError(f"--{name.replace('_', '-')} is given without a value; give at least one")
    with distributed.joint(timeout=timeout):
        if distributed.rank() > 0:  # one of them speaks
            display, track = replace(display, quiet=True), None
        settings, flags, ended = _settle(config, flags, resume, overwrite)
        if settings.get("deterministic"):
            distributed.make_deterministic()
        place = Path(settings["out"])
        if ended:
            if distributed.rank() > 0:
                return None
            tidy(place)
            return Reply({"out": str(place)}, f"{place} has ended already; there is nothing to go on with")
        begun = unfinished_run(place, resume=resume, overwrite=overwrite)
        with begun as folder, display.watching() as callbacks, ExitStack() as opened:
            facts = _fit_into(folder, settings, flags, callbacks, track or [], opened, checkpoint_seconds, display)
        if distributed.rank() > 0:
            return None
    told = [*warn_of_stages(place, facts), *tell_held_out(facts), *advise_on_labels(facts), list_contents(place)]
    text = "\n".join(told)
    return Reply(facts, text, suggest_next(place, facts))


def _settle(
    config: Path | None, flags: dict[str, Any], resume: bool, overwrite: bool
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Return the settings of a run, the flags that are still to be laid over them, and whether it has ended already."""
    settings = ({} if config is None else recipes.read_toml(config)) | _take(flags, (*_SETTLED, "model"))
    begun, ended = None, False
    if resume and "out" in settings:
        begun, ended = read_begun(Path(settings["out"]), overwrite=overwrite)
        if begun is None and "data" not in settings:
            raise ValueError(f"no run has begun in out={settings['out']}, so there is nothing to resume; name the data")
    if begun is not None:
        refuse_changes(begun, settings, flags)
        settings, flags = begun | {name: settings[name] for name in _MAY_MOVE if name in settings}, {}
    for name, remedy in (("data", "a file or a folder of images"), ("out", "a folder for the run, with --out")):
        if name not in settings:
            raise ValueError(f"{name} is not given; name {remedy}, or both in a TOML file with --config")
    settings.setdefault("random_state", distributed.gather_counts([secrets.randbelow(2**31)])[0])
    place = Path(settings["out"])
    target_of(place)  # which refuses what no run can be
    check_apart(place, Path(settings["data"]))
    if place.is_file():
        raise FileExistsError(f"out={place} is a file, but a run is a folder; choose another place")
    return settings, flags, ended


def _fit_into(
    folder: Path,
    settings: dict[str, Any],
    flags: dict[str, Any],
    callbacks: Sequence[Callback],
    track: Sequence[str],
    opened: ExitStack,
    checkpoint_seconds: float,
    display: Display,
) -> dict[str, Any]:
    """Train, and let rank 0 write all of the run into a folder; return its facts."""
    start = time.perf_counter()
    source = read(**_where(settings), scratch=folder / SCRATCH)
    chosen, why = settings.get("model"), None
    if chosen is None:
        contamination = flags.get("contamination", settings.get("contamination"))
        unlabeled = flags.get("unlabeled", settings.get("finetuning", {}).get("unlabeled"))
        chosen, why = choose_model(source.y, contamination, unlabeled)
    settings = settings | {"model": chosen}
    recipe_line = tell_recipe(settings, flags, source)
    if source.encoder is not None:
        settings = begin_as_table(settings, flags, *source.X.shape)
    settings = overlay(settings, flags, source.X.shape[1])
    marks = None
    if settings["model"] == "regressor" and source.y is not None:
        marks = find_label_marks(source.y, settings.get("finetuning", {}).get("unlabeled"))
    y, complete = mark_unlabeled(source.y, settings)
    if settings["model"] == "regressor":
        source = source._replace(y=y)  # text has become numbers
    n_labelled = None if source.y is None else count_labelled(source.y, complete)
    held_out = hold_out(source, y, complete)
    odd = []
    if source.encoder is not None and source.feature_columns is not None:
        written = [name for name in source.encoder.numbers_ if source.encoder.get_reading(name) is not None]
        odd = describe_odd_columns(source.X, source.feature_columns, written)
    if settings["model"] == "outliers":
        share = settings.get("contamination", AutoencoderOutlierDetector().contamination)
        odd.append(f"Outliers: the most unusual {100 * share:g} % of the rows (--contamination)")
    missing = describe_missing(source.X, source.feature_names)
    told = [describe_rows(source, n_labelled), *advise_on_transpose(source, settings), *describe_columns(source)]
    told += [describe_task(chosen, why, source)] if why else []
    told += recipe_line
    told += [f"Labels: amounts written with {marks}, which predictions are without"] if marks else []
    if missing and fills_gaps(source, settings):
        told.append(f"Filled in by an autoencoder first: {missing} (--no-impute refuses them)")
    for line in (*told, f"Held out: {held_out.how}", *odd):
        display.say(line)
    places = {name: settings[name] for name in _SETTLED if name in settings}
    recipe = recipes.describe(recipes.build(settings)) | places
    if not (folder / runs.SETTINGS).is_file():  # --resume reads it, whenever the process dies
        staging = folder / SCRATCH / runs.SETTINGS
        write_file(staging, recipes.write_toml(recipe))
        publish(staging, folder / runs.SETTINGS)
    trackers = open_trackers(track, Path(settings["out"]), folder, recipe, opened)
    with MetricsFile(folder / runs.METRICS, resume=True) as metrics:
        watchers: list[Callback] = [*callbacks, metrics, *trackers]
        with naming_columns(X=source.feature_names, y=source.label_name and [source.label_name]):
            fitted, X, X_held_out = train(
                held_out.source,
                held_out.y,
                missing,
                complete,
                watchers,
                folder / CHECKPOINTS,
                checkpoint_seconds,
                held_out=None if held_out.rows is None else (held_out.rows.X, held_out.labels),
            )
    scale = describe_scale(layers_of(fitted)[0])
    display.say(f"Scale: {scale}")
    facts = runs.gather_facts(
        model=settings["model"],
        chosen_because=why,
        **{name: value for name, value in places.items() if name != "missing"} | {"image_shape": source.image_shape},
        random_state=settings["random_state"],
        n_rows=sum(distributed.gather_counts([source.X.shape[0]])),
        n_labelled=n_labelled,
        unlabeled=settings.get("finetuning", {}).get("unlabeled"),
        scale=scale,
        n_features=X.shape[1],
        **(
            {"rows_shown": f"{X.shape[0]:,} of them, those of the first process"}
            if distributed.world_size() > 1
            else {}
        ),
        missing=missing,
        digest_of_rows=digest_rows(source.X),
        sample_of_rows=sample_rows(held_out.source.X),
        ranges=measure_ranges(source.X),
        **({"label_marks": as_plain(marks), "amounts": f"written with {marks} in the labels"} if marks else {}),
        **judge(fitted, X, X_held_out, held_out, complete, missing, display),
        seconds=round(time.perf_counter() - start, 1),
    )
    if distributed.rank() > 0:
        return facts
    report = settings.get("report", True)
    if report:
        display.say(f"writing {runs.REPORT} ...")
    shown = held_out.source if held_out.rows is None else held_out.rows
    runs.write_run(
        folder,
        fitted,
        X if held_out.rows is None else X_held_out,
        y=shown.y,
        facts=facts,
        settings=recipe,
        image_shape=source.image_shape,
        feature_names=source.feature_names,
        feature_columns=source.feature_columns,
        row_names=name_rows(shown, held_out.places),
        report=report,
        trained_on=held_out.rows is None,
        unfilled=shown.X,
    )
    log_run(trackers, folder)
    return facts | {"stages": inspect_model(fitted)["stages"]}


def _take(flags: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Take these flags out, as TOML can hold them."""
    taken = {name: flags.pop(name) for name in names if name in flags}
    return {name: str(value) if isinstance(value, Path) else value for name, value in taken.items()}


def _where(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `layerwise.read` takes."""
    places = {name: settings[name] for name in DATA_KEYS if name in settings and name not in ("data", "out")}
    if "image_shape" in places:
        places["image_shape"] = tuple(places["image_shape"])
    places["ids"] = [*places.pop("id", []), *([settings["groups"]] if "groups" in settings else [])]  # kept beside rows
    return {"path": settings["data"], **places}
