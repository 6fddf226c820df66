"""Commands to begin with: demo, init."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

from layerwise import recipes, runs
from layerwise.atomic import atomic, write_file
from layerwise.callbacks import MetricsFile
from layerwise.cli.common import (
    Data,
    DateParts,
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
    as_command,
    check_apart,
    given,
    list_contents,
)
from layerwise.cli.recipe_flags import arguments_of_read, take
from layerwise.cli.targets import choose_model, count_labelled
from layerwise.cli.telling import describe_data
from layerwise.data import load_mnist_small
from layerwise.data.inputs import read
from layerwise.data.values import describe_missing
from layerwise.recipes import DATA_KEYS
from layerwise.recipes.tables import table_settings
from layerwise.reproduce import ufldl_stacked
from layerwise.reproduce.experiment import Session
from layerwise.section import WHOLE


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
    ignore: Ignore = None,
    sample_weight: SampleWeight = None,
    max_categories: MaxCategories = None,
    missing: Missing = None,
    date_parts: DateParts = None,
    section: InSection = WHOLE,
    image_shape: ImageShape = None,
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
    model
        What to train; chosen by the labels if not given.
    out
        The file to write.
    """
    places = take(given(**locals()), [name for name in DATA_KEYS if name != "out"])
    check_apart(out, data)
    with atomic(out, overwrite=overwrite) as staging:
        source = read(**arguments_of_read(places))
        gaps = describe_missing(source.X, source.column_names)
        n_labelled = None if source.y is None else count_labelled(source.y, {})
        chosen, why = (model, None) if model else choose_model(source.y)
        made = {} if source.encoder is None else table_settings(chosen, *source.X.shape)
        made = made or {"layers": recipes.default_layers(chosen, source.X.shape[1])}
        recipe = recipes.build({"model": chosen, "random_state": 0} | made)
        out_of = f"runs/{data.stem.strip('*?-_. ') or 'model'}"
        settings = recipes.describe(recipe) | places | {"out": out_of, "impute": bool(gaps) or None}
        write_file(staging, recipes.write_toml(settings))
    recipe_line = f"A recipe for model={chosen!r} is in {out}{f' ({why})' if why else ''}"
    lines = [*describe_data(source, places, n_labelled), *([gaps] if gaps else []), recipe_line]
    text = "\n".join(lines)
    facts = {
        "out": str(out),
        "n_rows": source.X.shape[0],
        "n_features": source.X.shape[1],
        "model": chosen,
        "chosen_because": why,
    }
    return Reply(facts, text, f"read {out}, then run: {as_command('fit', '--config', out)}")
