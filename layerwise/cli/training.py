"""Commands that train: demo and fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone

from layerwise import runs
from layerwise.callbacks import EarlyStopping, History
from layerwise.checkpoint import atomic
from layerwise.cli.common import Flag, Words, app, print_contents, watching
from layerwise.corruptions import CORRUPTIONS
from layerwise.data import load_labels, load_mnist_small, load_rows
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.penalties import KLSparsity, L1Sparsity, Sparsity
from layerwise.reproduce import ufldl_stacked
from layerwise.reproduce.experiment import Session
from layerwise.solvers import SOLVERS, Solver


@app.command
def demo(*, out: Path = Path("runs/demo"), seed: int = 0, overwrite: Flag = False) -> None:
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
    with atomic(out, overwrite=overwrite) as staging, watching() as progress:
        session = Session(seed, callbacks=[progress], announce=print)
        outcome = ufldl_stacked.run(digits, session, max_iter=100, softmax_alpha=1e-4)
        runs.write_run(staging, outcome.estimator, session.history.steps, digits.X_test, (28, 28))
    print_contents(out)
    print(f"Next: look at {out / 'filters.png'}, or run: layerwise fit --help")


@app.command
def fit(
    data: Path,
    *,
    out: Path,
    labels: Path | None = None,
    layers: Annotated[list[int], Words] = [200, 200],  # noqa: B006 - never changed
    activation: str = "sigmoid",
    output_activation: str | None = None,
    loss: str = "squared_error",
    tied: Flag = False,
    alpha: float = 3e-3,
    sparsity: Literal["kl", "l1"] | None = None,
    sparsity_target: float | None = None,
    sparsity_weight: float | None = None,
    corruption: Literal["masking", "gaussian", "salt_and_pepper"] | None = None,
    corruption_level: float | None = None,
    contraction: float = 0.0,
    scale: Literal["auto", "minmax", "standard", "none"] = "auto",
    solver: Literal["lbfgs", "sgd", "adam"] = "lbfgs",
    max_iter: int | None = None,
    batch_size: int | None = None,
    learning_rate_init: float | None = None,
    learning_rate: Literal["constant", "linear", "cosine"] | None = None,
    progressive: bool | None = None,
    validation_fraction: float | None = None,
    finetune: str | None = None,
    head_alpha: float | None = None,
    unlabeled: str | None = None,
    random_state: int | None = None,
    dtype: Literal["float32", "float64"] = "float32",
    device: str = "auto",
    overwrite: Flag = False,
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
        Of the hidden units: sigmoid, tanh, relu, leaky_relu, elu, softplus or identity.
    output_activation
        Of the first layer's output, one of the same; sigmoid if not given. Upper layers reconstruct codes, with the
        activation of those.
    loss
        Of the first layer: squared_error or binary_cross_entropy.
    tied
        Decoders are the transposed encoders.
    alpha
        Weight decay of each layer.
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
        Factor of the penalty of the encoder's Jacobian.
    scale
        How columns are scaled within the model: minmax to the range of the output, standard to mean 0 and deviation 1,
        none; auto leaves bytes, and rows that fit the output, as they are.
    solver
        What minimises in every stage.
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
        Share of the rows to hold out for early stopping; off if not given.
    finetune
        With labels: all, head, or a number of layers from the top; all if not given. Without: reconstruction trains the
        layers together in the end.
    head_alpha
        Weight decay of the head; 0.0001 if not given.
    unlabeled
        The label of rows that have none; only pre-training uses them.
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
    for flag, value in _given(unlabeled=unlabeled, head_alpha=head_alpha).items():
        if y is None:
            raise ValueError(f"{flag}={value} has no meaning without labels; give them with --labels")
    if corruption is None and corruption_level is not None:
        raise ValueError(f"corruption_level={corruption_level:g} has no meaning without --corruption")
    minimiser = _make_solver(
        solver,
        _given(
            max_iter=max_iter,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            learning_rate=learning_rate,
            progressive=progressive,
        ),
    )
    stopping = None if validation_fraction is None else EarlyStopping(validation_fraction)
    layer = Autoencoder(
        activation=activation,
        output_activation=output_activation or "sigmoid",
        loss=loss,
        tied=tied,
        alpha=alpha,
        sparsity=_make_sparsity(sparsity, sparsity_target, sparsity_weight),
        corruption=None
        if corruption is None
        else CORRUPTIONS[corruption](0.25 if corruption_level is None else corruption_level),
        contraction=contraction,
        scale=None if scale == "none" else scale,
        solver=minimiser,
        early_stopping=stopping,
    )
    upper = clone(layer).set_params(
        output_activation=activation, loss=loss if activation == "sigmoid" else "squared_error"
    )
    stack = StackedAutoencoder(
        [clone(layer if place == 0 else upper).set_params(n_hidden=width) for place, width in enumerate(layers)],
        dtype=dtype,
        device=device,
        random_state=random_state,
    )
    estimator: BaseEstimator
    if y is None:
        estimator = stack.set_params(finetune=finetune, solver=minimiser, early_stopping=stopping)
    else:
        estimator = StackedClassifier(
            stack,
            finetune=int(finetune) if finetune and finetune.isdecimal() else finetune or "all",
            alpha=1e-4 if head_alpha is None else head_alpha,
            solver=minimiser,
            early_stopping=stopping,
            unlabeled=None if unlabeled is None else _as_label(unlabeled, y),
            random_state=random_state,
        )
    history = History()
    with atomic(out, overwrite=overwrite) as staging, watching() as progress:
        estimator.set_params(callbacks=[history, progress]).fit(table.X, y)
        runs.write_run(staging, estimator, history.steps, table.X, table.image_shape)
    print_contents(out)
    next_step = f"encode {out} {data} --out codes.npy" if y is None else f"predict {out} {data}"
    print(f"Next: layerwise {next_step}")


def _given(**flags: Any) -> dict[str, Any]:
    """Return the flags that were given; the others have the solver's defaults."""
    return {name: value for name, value in flags.items() if value is not None}


def _make_solver(name: str, flags: dict[str, Any]) -> Solver:
    for flag, value in flags.items():
        if flag not in SOLVERS[name]().get_params():
            others = " or ".join(other for other in SOLVERS if flag in SOLVERS[other]().get_params())
            raise ValueError(f"{flag}={value} has no meaning with solver={name!r}; choose --solver {others}")
    return SOLVERS[name](**flags)


def _as_label(text: str, y: np.ndarray) -> Any:
    """Return a label in the type of the others."""
    try:
        label = text if y.dtype.kind == "U" else np.array([text]).astype(y.dtype)[0]
    except (ValueError, OverflowError):
        raise ValueError(f"unlabeled={text!r} is no label of type {y.dtype}, which the labels have") from None
    if not (y == label).any():
        raise ValueError(f"unlabeled={text!r} stands nowhere in the labels")
    return label


def _make_sparsity(kind: str | None, target: float | None, weight: float | None) -> Sparsity | None:
    if kind is None and target is None:
        if weight is not None:
            raise ValueError(f"sparsity_weight={weight:g} has no meaning without sparsity; give --sparsity kl or l1")
        return None
    if kind == "l1":
        if target is not None:
            raise ValueError(f"sparsity_target={target:g} has no meaning with sparsity='l1'; choose --sparsity kl")
        return L1Sparsity(**_given(weight=weight))
    return KLSparsity(**_given(target=target, weight=weight))
