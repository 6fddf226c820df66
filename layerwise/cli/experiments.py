"""Published experiments: reproduce."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cyclopts import App

from layerwise import runs
from layerwise.atomic import atomic, write_file
from layerwise.callbacks import MetricsFile
from layerwise.cli.common import Device, Display, Overwrite, Reply, Shown, list_contents, render
from layerwise.reproduce import EXPERIMENTS, experiment
from layerwise.reproduce.experiment import Session
from layerwise.strict_json import as_strict

reproduce_app = App(name="reproduce", help="Run a published experiment, and show published beside obtained.")


def _run_experiment(
    name: str, data: Path | None, seed: int, device: str, out: Path, overwrite: bool, display: Display, **settings: Any
) -> Reply:
    """Run an experiment, write its folder, answer with published beside obtained."""
    module = EXPERIMENTS[name]
    inputs = module.load(data)
    with atomic(out, folder=True, overwrite=overwrite) as staging, display.watching() as callbacks:
        with MetricsFile(staging / runs.METRICS) as metrics:
            session = Session(seed, device, [*callbacks, metrics], display.say)
            outcome = module.run(inputs, session, **settings)
        figures = experiment.report(name, module.PUBLISHED, outcome, session)
        write_file(staging / "figures.json", json.dumps(as_strict(figures), indent=2) + "\n")
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
