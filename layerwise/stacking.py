"""The algorithm: greedy layer-wise pre-training, then fine-tuning.

Knows nothing of scikit-learn and does no input or output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from layerwise.callbacks import EarlyStopping
from layerwise.data.mapped_rows import AnyRows, MappedRows
from layerwise.data.rows import Rows
from layerwise.losses import Loss, reconstruction_loss
from layerwise.modules import AutoencoderLayer, StackedNetwork, UnrolledAutoencoder
from layerwise.objective import (
    CACHE_BYTES,
    LayerObjective,
    Objective,
    default_chunk_rows,
    observe,
    reconstruction_objective,
    supervised_objective,
    with_gradients,
)
from layerwise.selection import Begin, as_list, train_stage
from layerwise.solvers import Solver
from layerwise.stages import UNWATCHED, Stage, Training, threads_for
from layerwise.watching import Split, Watch, split_rows


@with_gradients
def pretrain(
    layers: Sequence[AutoencoderLayer],
    rows: AnyRows,
    solvers: Iterable[Solver | None],
    *,
    problems: Sequence[Callable[..., LayerObjective]] | None = None,
    early_stopping: Sequence[EarlyStopping | None] | None = None,
    validation: AnyRows | None = None,
    training: Training = UNWATCHED,
) -> list[Stage]:
    """Train each layer on the codes of the one before it, the first on the rows.

    Parameters
    ----------
    layers : sequence of AutoencoderLayer, or of other modules that `LayerObjective` takes
        Trained in place, each from the parameters that it has.
    rows : Rows of shape (n_samples, n_features)
    solvers : iterable of (LBFGS, SGD, Adam or None)
        One a layer; None leaves that layer as it is.
    problems : sequence of callable, default=None
        ``problem(layer, rows, seed=, cache_bytes=)``, one a layer: `LayerObjective` with its other arguments given, by
        `functools.partial`. None takes the squared error without penalties.
    early_stopping : sequence of (EarlyStopping or None), default=None
        One a layer.
    validation : Rows of shape (n_validation, n_features) or None, default=None
        Rows to watch the loss of; None holds out a share where there is early stopping.
    training : Training

    Returns
    -------
    stages : list of Stage
        One for each layer that was trained.

    References
    ----------
    Y. Bengio et al., "Greedy layer-wise training of deep networks", NIPS 2006.

    Examples
    --------
    >>> import torch
    >>> from layerwise.solvers import LBFGS
    >>> layers = [AutoencoderLayer(6, 4), AutoencoderLayer(4, 2)]
    >>> stages = pretrain(layers, Rows(torch.rand(20, 6)), [LBFGS(5), LBFGS(5)])
    >>> [stage.name for stage in stages]
    ['layer 0', 'layer 1']
    """
    stages = []
    stoppings, makers = early_stopping or [None] * len(layers), problems or [LayerObjective] * len(layers)
    for index, (layer, solver, stopping, make) in enumerate(zip(layers, solvers, stoppings, makers, strict=True)):
        if solver is not None:
            split = split_rows(rows, None, stopping, validation, None, training.seed)
            stages.append(_pretrain_layer(f"layer {index}", layer, split, solver, make, training))
        if index + 1 < len(layers):
            rows = encode([layer], rows, training.cache_bytes)
            validation = None if validation is None else encode([layer], validation, training.cache_bytes)
    return stages


def _pretrain_layer(
    name: str,
    layer: AutoencoderLayer,
    split: Split,
    solver: Solver,
    problem: Callable[..., LayerObjective],
    training: Training,
) -> Stage:
    seed, cache_bytes = training.stage_seed(name), training.cache_bytes

    def make(rows: AnyRows, targets: Tensor | None, alpha: None) -> LayerObjective:
        return problem(layer, rows, seed=seed, cache_bytes=cache_bytes)

    def watch(split: Split, objective: LayerObjective) -> Watch | None:
        return split.watch(partial(_logits, layer), objective.loss)

    return train_stage(name, make, split, watch, solver, training)


@with_gradients
def finetune_reconstruction(
    network: UnrolledAutoencoder,
    rows: AnyRows,
    solver: Solver,
    *,
    loss: str = "squared_error",
    alpha: float | Sequence[float] = 0.0,
    early_stopping: EarlyStopping | None = None,
    validation: AnyRows | None = None,
    training: Training = UNWATCHED,
    **problem: Any,
) -> list[Stage]:
    """Train all encoders and decoders of a stack together, to reconstruct the rows.

    Parameters
    ----------
    network : UnrolledAutoencoder
        Trained in place, from the parameters that it has.
    rows : Rows of shape (n_samples, n_features)
    solver : LBFGS, SGD or Adam
    loss : str, default="squared_error"
        Between the rows and their reconstructions through the whole network, a key of `layerwise.losses.LOSSES`.
    alpha : float or sequence of float, default=0.0
        Factor of the weight decay; early stopping chooses among several.
    early_stopping : EarlyStopping or None, default=None
    validation : Rows of shape (n_validation, n_features) or None, default=None
    training : Training
    **problem : float, Corruption, ...
        ``decay``, ``dropout``, ``corruption`` and ``terms`` of `reconstruction_objective`.

    Returns
    -------
    stages : list of Stage
        One, ``finetune``.

    References
    ----------
    G. E. Hinton and R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006.

    Examples
    --------
    >>> import torch
    >>> from layerwise.solvers import LBFGS
    >>> network = UnrolledAutoencoder([AutoencoderLayer(6, 4), AutoencoderLayer(4, 2)])
    >>> [stage.name for stage in finetune_reconstruction(network, Rows(torch.rand(20, 6)), LBFGS(5))]
    ['finetune']
    """
    split = split_rows(rows, None, early_stopping, validation, None, training.seed)
    between, seed = reconstruction_loss(loss, network.first.output_activation), training.stage_seed("finetune")

    def make(rows: AnyRows, targets: Tensor | None, alpha: float) -> Objective:
        return reconstruction_objective(network, rows, between, alpha=alpha, seed=seed, **problem)

    def watch(split: Split, objective: Objective) -> Watch | None:
        return split.watch(partial(_logits, network), between)

    return [train_stage("finetune", make, split, watch, solver, training, as_list(alpha))]


@with_gradients
def finetune(
    network: StackedNetwork,
    rows: AnyRows,
    targets: Tensor,
    solver: Solver,
    loss: Loss,
    *,
    depth: int | None = None,
    head: bool = True,
    alpha: float | Sequence[float] = 0.0,
    early_stopping: EarlyStopping | None = None,
    validation: tuple[AnyRows, Tensor] | None = None,
    training: Training = UNWATCHED,
    decay: str = "zero",
    begin: Begin | None = None,
    **problem: Any,
) -> list[Stage]:
    """Train the head on the codes of the encoders; then, if asked, the upper layers with it.

    Parameters
    ----------
    network : StackedNetwork
        Trained in place, from the parameters that it has.
    rows : Rows of shape (n_samples, n_features)
    targets : Tensor of shape (n_samples,) or (n_samples, n_outputs)
        What the loss compares the outputs with.
    solver : LBFGS, SGD or Adam
    loss : callable
        ``loss(z, target, weight=) -> (value, gradient)``, as in `layerwise.losses`.
    depth : int or None, default=None
        How many layers to train, from the head down; 0 leaves the encoders as they are, None trains all.
    head : bool, default=True
        Whether the head is trained alone first; it always is where no layer is trained.
    alpha : float or sequence of float, default=0.0
        Factor of the weight decay ``alpha/2 |W|^2`` of the head's weights; as in the reference (UFLDL), nothing else
        decays, unless ``decay="start"``. Early stopping chooses among several, in each stage.
    early_stopping : EarlyStopping or None, default=None
    validation : tuple of (Rows, Tensor) or None, default=None
        Rows and targets to watch the loss of.
    training : Training
    decay : {"zero", "start"}, default="zero"
        Of `supervised_objective`.
    begin : callable or None, default=None
        ``begin(rows, targets)`` lets the network begin as a model of these rows alone; called for the rows that remain
        where others are held out to choose by. They are the codes of the layers that are not trained.
    **problem : float, Corruption, ...
        ``dropout``, ``corruption`` and ``terms`` of `supervised_objective`, where layers are trained with the head. The
        input that gets the noise is that of the lowest of them.

    Returns
    -------
    stages : list of Stage
        ``head`` and ``finetune``, unless one of them is left out.

    Examples
    --------
    >>> import torch
    >>> from layerwise.losses import cross_entropy
    >>> from layerwise.modules import linear_head
    >>> from layerwise.solvers import LBFGS
    >>> network = StackedNetwork([AutoencoderLayer(6, 4)], linear_head(4, 2))
    >>> stages = finetune(network, Rows(torch.rand(20, 6)), torch.arange(20) % 2, LBFGS(5), cross_entropy)
    >>> [stage.name for stage in stages]
    ['head', 'finetune']
    """
    encoders = network.encoders()
    n_fixed = 0 if depth is None else max(0, len(encoders) - depth)
    fixed, upper = encoders[:n_fixed], encoders[n_fixed:]
    held_out, held_out_targets = validation or (None, None)
    split = split_rows(rows, targets, early_stopping, held_out, held_out_targets, training.seed)
    split = split.map(lambda rows: encode(fixed, rows, training.cache_bytes))

    def train(name: str, part: StackedNetwork, split: Split, **problem: Any) -> Stage:
        seed = training.stage_seed(name)

        def make(rows: AnyRows, targets: Tensor | None, alpha: float) -> Objective:
            assert targets is not None
            return supervised_objective(part, rows, targets, loss, alpha=alpha, decay=decay, seed=seed, **problem)

        def watch(split: Split, objective: Objective) -> Watch | None:
            return split.watch(part.forward, loss)

        return train_stage(name, make, split, watch, solver, training, as_list(alpha), begin)

    stages = []
    if head or not upper:
        codes = split.map(lambda rows: encode(upper, rows, training.cache_bytes))
        stages.append(train("head", StackedNetwork([], network.head), codes))
        del codes  # as large as the rows, perhaps
    if upper:
        stages.append(train("finetune", StackedNetwork(upper, network.head), split, **problem))
    return stages


def encode(layers: Iterable[AutoencoderLayer], rows: AnyRows, cache_bytes: int = CACHE_BYTES) -> AnyRows:
    """Return the codes of rows after these layers; computed once if they fit into so much memory."""
    codes = rows
    if rows.has_missing:
        codes = MappedRows(codes, lambda block: observe(rows, block)[0], n_features=rows.n_features)
    for layer in layers:
        codes = MappedRows(codes, layer.encode, n_features=layer.n_hidden)
    if codes is rows or len(rows) * codes.n_features * rows.dtype.itemsize > cache_bytes:
        return codes
    kept = apply(lambda block: block, codes)
    return Rows(kept, dtype=rows.dtype, device=rows.device, weights=rows.weights, shards=rows.shards)


def _logits(module: Any, x: Tensor) -> Tensor:
    return module.decode_logits(module.encode(x))


@torch.no_grad()
def apply(function: Callable[[Tensor], Tensor], rows: AnyRows) -> Tensor:
    """Apply a function of blocks to all rows.

    Parameters
    ----------
    function : callable
        Maps a tensor of shape (n_block, n_features) to one of shape (n_block, n_outputs).
    rows : Rows of shape (n_samples, n_features)

    Returns
    -------
    outputs : Tensor of shape (n_samples, n_outputs)
        On the device of the rows.
    """
    outputs = None
    # About as many operations as layers of some hundred units take.
    with threads_for(500 * len(rows) * rows.n_features):
        for place, block in rows.blocks(default_chunk_rows(rows)):
            output = function(block)
            if outputs is None:
                outputs = output.new_empty(len(rows), *output.shape[1:])
            outputs[place] = output
    if outputs is None:  # a rank may be without rows
        outputs = function(torch.empty(0, rows.n_features, dtype=rows.dtype, device=rows.device))
    return outputs
