"""Commands that show what the software can do: reproduce, compare, check-gradient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App
from rich.table import Table

import layerwise
from layerwise import plotting, runs
from layerwise.atomic import atomic
from layerwise.callbacks import MetricsFile
from layerwise.cli.common import (
    Data,
    Device,
    Display,
    Labels,
    Model,
    Overwrite,
    Reply,
    Shown,
    Words,
    list_contents,
    render,
)
from layerwise.cli.opening import open_model
from layerwise.comparison import Comparison, compare
from layerwise.corruptions import Masking
from layerwise.data.inputs import read_input
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier, check_gradient
from layerwise.estimators._finetuning import FineTunedEstimator
from layerwise.inspection import bare
from layerwise.reproduce import EXPERIMENTS, experiment
from layerwise.reproduce.experiment import Session
from layerwise.solvers import LBFGS, Adam
from layerwise.strict_json import as_strict

reproduce_app = App(name="reproduce", help="Run a published experiment, and show published beside obtained.")


def _run_experiment(
    name: str, data: Path | None, seed: int, device: str, out: Path, overwrite: bool, display: Display, **settings: Any
) -> Reply:
    """Run an experiment, write its folder, answer with published beside obtained."""
    module = EXPERIMENTS[name]
    inputs = module.load(data)
    with atomic(out, overwrite=overwrite) as staging, display.watching() as callbacks:
        staging.mkdir()
        with MetricsFile(staging / runs.METRICS) as metrics:
            session = Session(seed, device, [*callbacks, metrics], display.say)
            outcome = module.run(inputs, session, **settings)
        figures = experiment.report(name, module.PUBLISHED, outcome, session)
        (staging / "figures.json").write_text(json.dumps(as_strict(figures), indent=2) + "\n", encoding="utf-8")
        facts = runs.gather_facts(experiment=name, random_state=seed, seconds=figures["obtained"]["seconds"])
        runs.write_run(staging, outcome.estimator, outcome.examples, facts=facts, image_shape=outcome.image_shape)
    text = f"{render(experiment.table(figures))}\n{list_contents(out)}"
    return Reply(figures, text, f"open {out / runs.REPORT} in a browser" if outcome.estimator is not None else "")


@reproduce_app.command(name="ufldl-stacked")
def ufldl_stacked(
    *,
    data: Path,
    max_iter: int = 200,
    softmax_alpha: float = 3e-3,
    seed: int = 0,
    device: Device = "auto",
    out: Path = Path("runs/ufldl-stacked"),
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Repeat the stacked autoencoder of the UFLDL tutorial on all of MNIST.

    Example: layerwise reproduce ufldl-stacked --data mnist --softmax-alpha 1e-4 --max-iter 400

    Parameters
    ----------
    data
        Folder with the four files of MNIST.
    max_iter
        Iterations of L-BFGS in each of the four stages.
    softmax_alpha
        Weight decay of the softmax weights.
    seed
        Draws the initial weights.
    out
        Folder for the figures, the model, the metrics and the pictures.
    """
    settings = {"max_iter": max_iter, "softmax_alpha": softmax_alpha}
    return _run_experiment("ufldl-stacked", data, seed, device, out, overwrite, display, **settings)


@reproduce_app.command(name="ufldl-patches")
def ufldl_patches(
    *,
    data: Path | None = None,
    seed: int = 0,
    device: Device = "auto",
    out: Path = Path("runs/ufldl-patches"),
    overwrite: Overwrite = False,
    display: Shown,
) -> Reply:
    """Learn edges from 8x8 patches of natural images, as in the UFLDL tutorial.

    Example: layerwise reproduce ufldl-patches --data IMAGES.mat

    Parameters
    ----------
    data
        UFLDL's IMAGES.mat, or a folder of images; without it, two photographs that scikit-learn ships.
    seed
        Draws the patches and the initial weights.
    out
        Folder for the figures, the model, the metrics and the pictures.
    """
    return _run_experiment("ufldl-patches", data, seed, device, out, overwrite, display)


def _add_mnist_experiment(name: str) -> None:
    """Make the command of an experiment on MNIST that has no settings of its own."""

    def command(
        *,
        data: Path,
        seed: int = 0,
        device: Device = "auto",
        out: Path = Path("runs") / name,
        overwrite: Overwrite = False,
        display: Shown,
    ) -> Reply:
        return _run_experiment(name, data, seed, device, out, overwrite, display)

    command.__doc__ = f"""{(EXPERIMENTS[name].__doc__ or "").splitlines()[0]}

    Example: layerwise reproduce {name} --data mnist

    Parameters
    ----------
    data
        Folder with the four files of MNIST.
    seed
        Draws whatever is random.
    out
        Folder for the figures, the model, the metrics and the pictures.
    """
    reproduce_app.command(command, name=name)


for _name in EXPERIMENTS:
    if _name not in ("ufldl-stacked", "ufldl-patches"):
        _add_mnist_experiment(_name)


def compare_command(
    data: Path,
    labels: str,
    *,
    test_data: Path,
    test_labels: str | None = None,
    id: Annotated[list[str] | None, Words] = None,
    ignore: Annotated[list[str] | None, Words] = None,
    model: Path | None = None,
    budgets: Annotated[list[int | Literal["all"]], Words] = [100, 1000],  # noqa: B006 - never changed
    finetune: Annotated[list[Literal["head", "all"]], Words] = ["head", "all"],  # noqa: B006 - never changed
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
        Rows to measure the accuracy on.
    test_labels
        Their labels; the column of the same name if not given.
    id
        Columns that tell rows apart; those of the model if not given.
    ignore
        Columns to leave out; those of the model if not given.
    model
        Folder of a trained classifier, to take its recipe; without it, two denoising layers of 500 units.
    budgets
        Numbers of labelled rows for fine-tuning; all takes all.
    finetune
        What labels train: the head, the whole network, or each in turn.
    seeds
        How many runs of each, with other initial weights and other labelled rows.
    seed
        The first of them.
    out
        Folder for the figures and the picture.
    """
    classifier = _default_classifier() if model is None else bare(layerwise.load(model))
    if not isinstance(classifier, StackedClassifier):
        raise ValueError(f"{model} is no classifier but a {type(classifier).__name__}; train one with fit --labels")
    facts = {} if model is None else runs.read_facts(model)
    train = read_input(data, labels=labels, id=id or facts.get("id"), ignore=ignore or facts.get("ignore") or ())
    test = read_input(test_data, labels=test_labels or labels, encoder=train.encoder)
    X, y, X_test, y_test = train.X, train.y, test.X, test.y
    with atomic(out, overwrite=overwrite) as staging, display.watching() as callbacks:
        classifier.set_params(callbacks=callbacks)
        comparison = compare(
            classifier,
            X,
            y,
            X_test,
            y_test,
            budgets=budgets,
            depths=finetune,
            n_seeds=seeds,
            seed=seed,
            announce=display.say,
        )
        staging.mkdir()
        (staging / "comparison.json").write_text(json.dumps(comparison.as_dict(), indent=2) + "\n", encoding="utf-8")
        runs.save_picture(plotting.plot_comparison(comparison.budgets, comparison.series()), staging / "comparison.png")
    return Reply(comparison.as_dict(), f"{render(_comparison_table(comparison))}\n{list_contents(out)}")


def check_gradient_command(model: Model, data: Data, *, labels: Labels = None, n_rows: int = 50) -> Reply:
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
    opened = open_model(model, data, labels=labels)
    X, y, estimator = opened.X[:n_rows], opened.y, opened.estimator
    if isinstance(estimator, FineTunedEstimator) and y is None:
        raise ValueError(f"{model} is a {type(estimator).__name__}; give labels with --labels")
    errors = check_gradient(estimator, X, None if y is None else y[:n_rows])
    lines = [f"{stage}: |gradient - numeric| / |numeric| = {error:.1e}" for stage, error in errors.items()]
    return Reply(errors, "\n".join(lines))


def _default_classifier() -> StackedClassifier:
    layer = Autoencoder(
        500,
        loss="binary_cross_entropy",
        tied=True,
        alpha=0.0,
        corruption=Masking(0.25),
        solver=Adam(15, learning_rate="cosine"),
    )
    return StackedClassifier(StackedAutoencoder([layer, layer]), alpha=1e-3, solver=LBFGS(200))


def _comparison_table(comparison: Comparison) -> Table:
    table = Table("labels", "fine-tuned", "pre-trained", "not", "gain, 95 % interval", "", title="Test accuracy")
    for row in comparison.rows():
        gain, low, high = (100 * end for end in row["gain"])
        table.add_row(
            f"{row['budget']:,}",
            str(row["finetune"]),
            f"{row['pretrained']:.2%}",
            f"{row['control']:.2%}",
            f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]",
            row["verdict"],
            end_section=row["finetune"] == "best",
        )
    return table
