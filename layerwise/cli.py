"""The command line: parse, call, print. Flags bear the names of the estimators' parameters."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
import numpy as np
from cyclopts import App, Parameter
from rich.console import Console
from sklearn.exceptions import ConvergenceWarning

import layerwise
from layerwise import runs
from layerwise.callbacks import History, Progress
from layerwise.checkpoint import atomic
from layerwise.data import load_labels, load_mnist, load_mnist_small, load_rows
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.penalties import KLSparsity
from layerwise.reproduce import ufldl_stacked
from layerwise.solvers import LBFGS

app = App(
    name="layerwise",
    help="Stacked autoencoders: features learned one layer at a time.",
    version=layerwise.__version__,
    suppress_keyboard_interrupt=False,
)
reproduce_app = App(name="reproduce", help="Run a published experiment and compare.")
app.command(reproduce_app)

Overwrite = Annotated[bool, Parameter(negative="")]


@app.command
def demo(*, out: Path = Path("runs/demo"), seed: int = 0, overwrite: Overwrite = False) -> None:
    """Train a stacked autoencoder on 6,000 handwritten digits and test it on 1,000 others.

    Example: layerwise demo --out runs/demo

    Parameters
    ----------
    out
        Folder for the model, the metrics and the pictures.
    seed
        Draws the initial weights.
    overwrite
        Replace the folder if it is there.
    """
    print(
        "784-200-200-10 on the MNIST images shipped with layerwise: 6,000 to train with, 1,000 to test",
        flush=True,
    )
    digits = load_mnist_small()
    with atomic(out, overwrite=overwrite) as staging, _watching() as progress:
        outcome = ufldl_stacked.run(
            digits,
            max_iter=100,
            softmax_alpha=1e-4,
            seed=seed,
            callbacks=[progress],
            announce=print,
        )
        runs.write_run(staging, outcome.classifier, outcome.history.steps, digits.X_test, (28, 28))
    _print_contents(out)
    print(f"Next: look at {out / 'filters.png'}, or run: layerwise fit --help")


@reproduce_app.command(name="ufldl-stacked")
def reproduce_ufldl_stacked(
    *,
    data: Path,
    max_iter: int = 200,
    softmax_alpha: float = 3e-3,
    seed: int = 0,
    device: str = "auto",
    out: Path = Path("runs/ufldl-stacked"),
    overwrite: Overwrite = False,
) -> None:
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
    device
        auto, cpu, cuda or cuda:N.
    out
        Folder for the figures, the model, the metrics and the pictures.
    overwrite
        Replace the folder if it is there.
    """
    digits = load_mnist(data)
    settings: dict[str, Any] = {"max_iter": max_iter, "softmax_alpha": softmax_alpha, "seed": seed, "device": device}
    with atomic(out, overwrite=overwrite) as staging, _watching() as progress:
        outcome = ufldl_stacked.run(digits, **settings, callbacks=[progress], announce=print)
        figures = ufldl_stacked.report(outcome, settings)
        runs.write_run(staging, outcome.classifier, outcome.history.steps, digits.X_test, (28, 28))
        (staging / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    Console().print(ufldl_stacked.table(figures))
    _print_contents(out)


@app.command
def fit(
    data: Path,
    *,
    out: Path,
    labels: Path | None = None,
    layers: Annotated[list[int], Parameter(consume_multiple=True, negative="")] = [200, 200],  # noqa: B006 - never changed
    activation: str = "sigmoid",
    alpha: float = 3e-3,
    sparsity_target: float | None = None,
    sparsity_weight: float = 3.0,
    max_iter: int = 200,
    finetune: Literal["all", "head"] = "all",
    head_alpha: float = 1e-4,
    random_state: int | None = None,
    dtype: Literal["float32", "float64"] = "float32",
    device: str = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Train a stack of autoencoders on rows; with labels, a classifier.

    Example: layerwise fit train-images.gz --labels train-labels.gz --layers 200 200 --out runs/digits

    Parameters
    ----------
    data
        Rows: a .npy or an IDX file. Bytes are scaled to [0, 1].
    out
        Folder for the model, the metrics and the pictures.
    labels
        One label a row: a .npy or an IDX file. Without it the stack is trained alone.
    layers
        Hidden units of each layer.
    activation
        Of the hidden units and of the output.
    alpha
        Weight decay of each layer.
    sparsity_target
        Wished mean activation of each hidden unit, between 0 and 1; off if not given.
    sparsity_weight
        Factor of the sparsity penalty.
    max_iter
        Iterations of L-BFGS in each stage.
    finetune
        After pre-training, train the whole network or its head only.
    head_alpha
        Weight decay of the head.
    random_state
        Draws the initial weights; a number makes the run repeatable.
    dtype
        Type of the products.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the folder if it is there.
    """
    table = load_rows(data)
    y = None if labels is None else load_labels(labels)
    solver = LBFGS(max_iter=max_iter)
    sparsity = None if sparsity_target is None else KLSparsity(sparsity_target, sparsity_weight)
    stack = StackedAutoencoder(
        [
            Autoencoder(
                n_hidden,
                activation=activation,
                output_activation=activation,
                alpha=alpha,
                sparsity=sparsity,
                solver=solver,
            )
            for n_hidden in layers
        ],
        dtype=dtype,
        device=device,
        random_state=random_state,
    )
    estimator = stack if y is None else StackedClassifier(stack, finetune=finetune, alpha=head_alpha, solver=solver)
    history = History()
    with atomic(out, overwrite=overwrite) as staging, _watching() as progress:
        estimator.set_params(callbacks=[history, progress]).fit(table.X, y)
        runs.write_run(staging, estimator, history.steps, table.X, table.image_shape)
    _print_contents(out)
    next_step = f"encode {out} {data} --out codes.npy" if y is None else f"predict {out} {data}"
    print(f"Next: layerwise {next_step}")


@app.command
def encode(model: Path, data: Path, *, out: Path, device: str = "auto", overwrite: Overwrite = False) -> None:
    """Write the codes of rows to a .npy file.

    Example: layerwise encode runs/digits t10k-images.gz --out codes.npy

    Parameters
    ----------
    model
        Folder of a trained model.
    data
        Rows: a .npy or an IDX file.
    out
        The .npy file to write, one row of codes for each row.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """
    with _array_file(out, overwrite) as staging:
        codes = layerwise.load(model, device=device).transform(load_rows(data).X)
        np.save(staging, codes, allow_pickle=False)
    print(f"{len(codes)} rows of {codes.shape[1]} codes are in {out}")


@app.command
def predict(
    model: Path, data: Path, *, out: Path | None = None, device: str = "auto", overwrite: Overwrite = False
) -> None:
    """Print the predicted label of each row, or write them to a .npy file.

    Example: layerwise predict runs/digits t10k-images.gz --out labels.npy

    Parameters
    ----------
    model
        Folder of a trained classifier.
    data
        Rows: a .npy or an IDX file.
    out
        The .npy file to write; without it, one label a line goes to standard output.
    device
        auto, cpu, cuda or cuda:N.
    overwrite
        Replace the file if it is there.
    """
    if out is None:
        print("\n".join(str(label) for label in _predict(model, data, device)))
        return
    with _array_file(out, overwrite) as staging:
        labels = _predict(model, data, device)
        np.save(staging, labels, allow_pickle=False)
    print(f"{len(labels)} labels are in {out}")


@app.command
def evaluate(model: Path, data: Path, *, labels: Path | None = None, device: str = "auto") -> None:
    """Print how well a model does on rows: its accuracy with labels, its reconstruction error without.

    Example: layerwise evaluate runs/digits t10k-images.gz --labels t10k-labels.gz

    Parameters
    ----------
    model
        Folder of a trained model.
    data
        Rows: a .npy or an IDX file.
    labels
        The true label of each row: a .npy or an IDX file.
    device
        auto, cpu, cuda or cuda:N.
    """
    X = load_rows(data).X
    if labels is None:
        estimator = layerwise.load(model, device=device)
        if isinstance(estimator, StackedClassifier):
            raise ValueError(f"{model} is a classifier; give the true labels with --labels")
        print(f"reconstruction error 1/(2m) sum |x^ - x|^2: {-estimator.score(X):.6g} on {len(X)} rows")
        return
    classifier, y = _load_classifier(model, device), load_labels(labels)
    if len(y) != len(X):
        raise ValueError(f"{data} has {len(X)} rows, but {labels} has {len(y)} labels; each row needs one")
    wrong = int((classifier.predict(X) != y).sum())
    print(f"accuracy {1 - wrong / len(X):.2%}: {wrong} of {len(X)} rows are wrong")


def main() -> None:
    """Run the command line; refusals are one sentence and exit code 2, Ctrl-C is 130."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # the progress display says why each stage ended
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False)
    except KeyboardInterrupt as interrupt:
        _fail(str(interrupt) or "interrupted; nothing was written", 130)
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
    except cyclopts.CycloptsError as error:
        _fail(f"{' '.join(str(error).split())} (see layerwise --help)", 2)
    except OSError as error:
        _fail(f"{error.strerror}: {error.filename}" if error.strerror and error.filename else str(error), 2)
    except (ValueError, FloatingPointError) as error:
        _fail(str(error), 2)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        _fail("there is not enough memory for this; use fewer rows or smaller layers", 2)


def _fail(message: str, code: int) -> None:
    print(f"layerwise: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def _watching() -> Iterator[Progress]:
    """Show the training in the block, and say what was reached if it is interrupted."""
    with Progress() as progress:
        try:
            yield progress
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted {progress.reached}; nothing was written") from None


def _load_classifier(model: Path, device: str) -> StackedClassifier:
    estimator = layerwise.load(model, device=device)
    if not isinstance(estimator, StackedClassifier):
        raise ValueError(f"{model} is no classifier but a {type(estimator).__name__}; train one with fit --labels")
    return estimator


def _predict(model: Path, data: Path, device: str) -> np.ndarray:
    return _load_classifier(model, device).predict(load_rows(data).X)


def _array_file(out: Path, overwrite: bool) -> AbstractContextManager[Path]:
    """Give a place for a .npy file, refused before the work if it cannot be had; otherwise as `atomic`."""
    if out.suffix != ".npy":
        raise ValueError(f"out={out} must end in .npy")
    return atomic(out, overwrite=overwrite)


def _print_contents(out: Path) -> None:
    print(f"In {out}: {', '.join(sorted(entry.name for entry in out.iterdir()))}")
