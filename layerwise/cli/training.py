"""The command that trains: fit."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from layerwise import distributed, recipes
from layerwise.atomic import target_of
from layerwise.cli.common import (
    AnyText,
    Anywhere,
    DateParts,
    Flag,
    Ignore,
    ImageShape,
    InSection,
    Labels,
    MaxCategories,
    Missing,
    Overwrite,
    Reply,
    SampleWeight,
    Shown,
    Words,
    check_apart,
    given,
    list_contents,
)
from layerwise.cli.fitting import fit_into
from layerwise.cli.judging import tell_held_out
from layerwise.cli.recipe_flags import SETTLED, take
from layerwise.cli.telling import advise_on_labels, suggest_next, warn_of_stages
from layerwise.cli.unfinished import read_begun, refuse_changes, tidy, unfinished_run
from layerwise.section import WHOLE
from layerwise.urls import as_place

# Headings of the page of help.
_DATA = Parameter(group=Group("Data", sort_key=-3))
_TRAINING = Parameter(group=Group("What to train, and how", sort_key=-2))
_LAYERS = Parameter(group=Group("All layers (a recipe for each: --config)", sort_key=-1))

# Settings that may be named anew to go on with a run.
_MAY_MOVE = ("out", "data", "labels", "validation_data", "report")
# Parameters of `fit` that are no settings of a run.
_OF_THIS_PROCESS = ("config", "track", "resume", "checkpoint_seconds", "timeout", "overwrite", "display")


def fit(
    data: Anywhere | None = None,
    *,
    out: Path | None = None,
    config: Path | None = None,
    labels: Annotated[Labels, _DATA] = None,
    id: Annotated[list[str] | None, Words, _DATA] = None,
    ignore: Annotated[Ignore, _DATA] = None,
    sample_weight: Annotated[SampleWeight, _DATA] = None,
    max_categories: Annotated[MaxCategories, _DATA] = None,
    missing: Annotated[Missing, _DATA] = None,
    date_parts: Annotated[DateParts, _DATA] = None,
    section: Annotated[InSection, _DATA] = WHOLE,
    image_shape: Annotated[ImageShape, _DATA] = None,
    impute: Annotated[bool | None, _DATA] = None,
    library_size: Annotated[bool | None, Parameter(negative=""), _DATA] = None,
    log1p: Annotated[bool | None, Parameter(negative=""), _DATA] = None,
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
    validation_data: Annotated[Anywhere | None, _DATA] = None,
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
        Rows: CSV, Parquet, Feather, .jsonl, .json, .arff, .xlsx, .xls, .ods, .npy, .npz, IDX, .mat, .safetensors, HDF5,
        Zarr, AnnData (.h5ad), .svm, .txt, of SPSS, Stata and SAS .sav, .dta, .sas7bdat and .xpt, a folder of images or
        of tables, or a database (postgresql://user@host/db, sqlite:///file.db, duckdb:///file.duckdb) with --query or
        --table. Several files are one pattern in quotes: 'part-*.csv'. Bytes are scaled to [0, 1]; what the columns of
        a table are taken for is said.
    out
        Folder for the model, the metrics, the pictures and the report.
    config
        A TOML file with all of this, and a recipe for each layer (see layerwise init); flags win over it.
    labels
        The column or array of the data, or the file, that holds labels or targets; class for the sub-folders of
        images, which also take a table of file names and labels. Rows whose label is missing serve pre-training only.
    id
        Columns that tell rows apart: no features, but kept in what other commands write.
    impute
        Fill in missing numbers by an autoencoder first; done where numbers of a table are missing, unless it is told
        not to.
    library_size
        Rows are counts: divide each by its sum, times the median of the sums of the training.
    log1p
        Take log(1 + x) of counts, after that; the model does both with rows that come later.
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
        with begun as folder, display.watching() as callbacks:
            facts = fit_into(folder, settings, flags, callbacks, track or [], checkpoint_seconds, display)
        if distributed.rank() > 0:
            return None
    told = [*warn_of_stages(place, facts), *tell_held_out(facts), *advise_on_labels(facts), list_contents(place)]
    text = "\n".join(told)
    return Reply(facts, text, suggest_next(place, facts))


def _settle(
    config: Path | None, flags: dict[str, Any], resume: bool, overwrite: bool
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Return the settings of a run, the flags that are still to be laid over them, and whether it has ended already."""
    settings = ({} if config is None else recipes.read_toml(config)) | take(flags, (*SETTLED, "model"))
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
    check_apart(place, as_place(settings["data"]))
    if place.is_file():
        raise FileExistsError(f"out={place} is a file, but a run is a folder; choose another place")
    return settings, flags, ended
