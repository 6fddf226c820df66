"""The algorithm: greedy layer-wise pre-training, then fine-tuning.

Knows nothing of scikit-learn and does no input or output.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from layerwise.callbacks import Callback, EarlyStopping, Step
from layerwise.data.rows import AnyRows, MappedRows, Rows
from layerwise.modules import AutoencoderLayer, StackedNetwork, UnrolledAutoencoder
from layerwise.objective import (
    CACHE_BYTES,
    AutoencoderObjective,
    Loss,
    Objective,
    default_chunk_rows,
    mean_loss,
    reconstruction_objective,
    supervised_objective,
)
from layerwise.solvers import Solver, Status


@dataclass(frozen=True)
class Stage:
    """The record of one stage of training.

    Attributes
    ----------
    name : str
        ``layer 0``, ``layer 1``, ..., ``head`` or ``finetune``.
    loss : float
        The objective over all rows, at the parameters kept.
    loss_curve : list of float
        The objective after every iteration; of stochastic solvers its average over each epoch.
    validation_loss_curve : list of float
        The loss of the validation rows after every iteration; empty without such.
    n_iter : int
    n_evaluations : int
    seconds : float
    status : Status
        Why it ended.
    max_gradient : float or None
        Largest entry of the last gradient by size; None from stochastic solvers.
    mean_activation : Tensor of shape (n_hidden,) or None
        Of the hidden units over all rows, at the end.
    """

    name: str
    loss: float
    loss_curve: list[float]
    validation_loss_curve: list[float]
    n_iter: int
    n_evaluations: int
    seconds: float
    status: Status
    max_gradient: float | None
    mean_activation: Tensor | None


@dataclass(frozen=True)
class Training:
    """What all stages of a run share.

    Attributes
    ----------
    callback : callable or None, default=None
        Called with a `Step` after every iteration; returning True ends the stage.
    generator : torch.Generator or None, default=None
        Draws noise, the order of batches and the rows to hold out; None is one with seed 0.
    cache_bytes : int, default=2**30
        Codes of all rows are kept if they take no more, for each layer; otherwise they are computed again and again.
    """

    callback: Callback | None = None
    generator: torch.Generator | None = None
    cache_bytes: int = CACHE_BYTES

    def draw_seed(self) -> int:
        """Return a random number for one stage."""
        generator = self.generator or torch.Generator().manual_seed(0)
        return int(torch.randint(2**31, (), generator=generator))


def pretrain(
    layers: Sequence[AutoencoderLayer],
    rows: AnyRows,
    solvers: Iterable[Solver | None],
    *,
    early_stopping: Sequence[EarlyStopping | None] | None = None,
    validation: AnyRows | None = None,
    training: Training = Training(),
) -> list[Stage]:
    """Train each layer on the codes of the one before it, the first on the rows.

    Parameters
    ----------
    layers : sequence of AutoencoderLayer
        Trained in place, each from the parameters that it has.
    rows : Rows of shape (n_samples, n_features)
    solvers : iterable of (LBFGS, SGD, Adam or None)
        One a layer; None leaves that layer as it is.
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
    stoppings = early_stopping or [None] * len(layers)
    for index, (layer, solver, stopping) in enumerate(zip(layers, solvers, stoppings, strict=True)):
        if solver is not None:
            split = _split(rows, None, stopping, validation, None, training)
            seed = training.draw_seed()
            objective = AutoencoderObjective(layer, split.rows, seed=seed, cache_bytes=training.cache_bytes)
            watch = split.watch(UnrolledAutoencoder([layer]).logits, layer.reconstruction_loss)
            stages.append(_run_stage(f"layer {index}", objective, solver, watch, training.callback))
        if index + 1 < len(layers):
            rows = encode([layer], rows, training.cache_bytes)
            validation = None if validation is None else encode([layer], validation, training.cache_bytes)
    return stages


def finetune_reconstruction(
    network: UnrolledAutoencoder,
    rows: AnyRows,
    solver: Solver,
    *,
    alpha: float = 0.0,
    early_stopping: EarlyStopping | None = None,
    validation: AnyRows | None = None,
    training: Training = Training(),
) -> list[Stage]:
    """Train all encoders and decoders of a stack together, to reconstruct the rows.

    It minimises the first layer's loss between the rows and their reconstructions through the whole network.

    Parameters
    ----------
    network : UnrolledAutoencoder
        Trained in place, from the parameters that it has.
    rows : Rows of shape (n_samples, n_features)
    solver : LBFGS, SGD or Adam
    alpha : float, default=0.0
        Factor of the weight decay alpha/2 |W|^2 of every weight; a tied one decays once.
    early_stopping : EarlyStopping or None, default=None
    validation : Rows of shape (n_validation, n_features) or None, default=None
    training : Training

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
    split = _split(rows, None, early_stopping, validation, None, training)
    objective = reconstruction_objective(network, split.rows, alpha=alpha, seed=training.draw_seed())
    watch = split.watch(network.logits, network.first.reconstruction_loss)
    return [_run_stage("finetune", objective, solver, watch, training.callback)]


def finetune(
    network: StackedNetwork,
    rows: AnyRows,
    targets: Tensor,
    solver: Solver,
    loss: Loss,
    *,
    depth: int | None = None,
    alpha: float = 0.0,
    early_stopping: EarlyStopping | None = None,
    validation: tuple[AnyRows, Tensor] | None = None,
    training: Training = Training(),
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
        ``loss(z, target) -> (value, gradient)``, as in `layerwise.losses`.
    depth : int or None, default=None
        How many layers to train, from the head down; 0 leaves the encoders as they are, None trains all.
    alpha : float, default=0.0
        Factor of the weight decay alpha/2 |W|^2 of the head's weights; as in the reference (UFLDL), nothing else
        decays.
    early_stopping : EarlyStopping or None, default=None
    validation : tuple of (Rows, Tensor) or None, default=None
        Rows and targets to watch the loss of.
    training : Training

    Returns
    -------
    stages : list of Stage
        ``head`` and, unless left out, ``finetune``.

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
    split = _split(rows, targets, early_stopping, held_out, held_out_targets, training).encode(fixed, training)

    def train(name: str, part: StackedNetwork, split: _Split) -> Stage:
        assert split.targets is not None
        objective = supervised_objective(part, split.rows, split.targets, loss, alpha=alpha, seed=training.draw_seed())
        return _run_stage(name, objective, solver, split.watch(part.forward, loss), training.callback)

    stages = [train("head", StackedNetwork([], network.head), split.encode(upper, training))]
    if upper:
        stages.append(train("finetune", StackedNetwork(upper, network.head), split))
    return stages


def encode(layers: Iterable[AutoencoderLayer], rows: AnyRows, cache_bytes: int = CACHE_BYTES) -> AnyRows:
    """Return the codes of rows after these layers; computed once if they fit into so much memory."""
    for layer in layers:
        codes = MappedRows(rows, layer.encode, n_features=layer.n_hidden)
        fits = len(rows) * layer.n_hidden * rows.dtype.itemsize <= cache_bytes
        rows = Rows(apply(layer.encode, rows), dtype=rows.dtype, device=rows.device) if fits else codes
    return rows


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
    for place, block in rows.blocks(default_chunk_rows(rows)):
        output = function(block)
        if outputs is None:
            outputs = output.new_empty(len(rows), *output.shape[1:])
        outputs[place] = output
    if outputs is None:
        raise ValueError("there are no rows, but at least one is needed")
    return outputs


@dataclass(frozen=True)
class _Split:
    """Rows and targets to train on, and those to watch the loss of, if any."""

    rows: AnyRows
    targets: Tensor | None
    held_out: AnyRows | None
    held_out_targets: Tensor | None
    early_stopping: EarlyStopping | None

    def encode(self, layers: Sequence[AutoencoderLayer], training: Training) -> _Split:
        """Return the same with codes in place of the rows."""
        held_out = None if self.held_out is None else encode(layers, self.held_out, training.cache_bytes)
        rows = encode(layers, self.rows, training.cache_bytes)
        return _Split(rows, self.targets, held_out, self.held_out_targets, self.early_stopping)

    def watch(self, forward: Callable[[Tensor], Tensor], loss: Loss) -> _Watch | None:
        """Return what watches the loss of a network on the rows that are held out; None without such."""
        if self.held_out is None:
            return None
        held_out, targets = self.held_out, self.held_out_targets
        return _Watch(lambda: mean_loss(forward, loss, held_out, targets), self.early_stopping)


def _split(
    rows: AnyRows,
    targets: Tensor | None,
    early_stopping: EarlyStopping | None,
    held_out: AnyRows | None,
    held_out_targets: Tensor | None,
    training: Training,
) -> _Split:
    """Hold out a random share of the rows where early stopping needs it and none are given."""
    if early_stopping is None or held_out is not None:
        return _Split(rows, targets, held_out, held_out_targets, early_stopping)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(training.draw_seed()))
    n_held_out = max(1, round(early_stopping.validation_fraction * len(rows)))
    if n_held_out >= len(rows):
        raise ValueError(
            f"early stopping holds out {n_held_out} of {len(rows)} rows and leaves none to train on; give more "
            f"rows, or validation rows of their own"
        )
    outside, inside = order[:n_held_out].to(rows.device), order[n_held_out:].sort().values.to(rows.device)
    if targets is None:
        return _Split(rows.subset(inside), None, rows.subset(outside), None, early_stopping)
    targets = targets.to(rows.device)
    return _Split(rows.subset(inside), targets[inside], rows.subset(outside), targets[outside], early_stopping)


@dataclass
class _Watch:
    """Follows the validation loss; with early stopping, keeps the best parameters and says when to stop."""

    loss: Callable[[], float]
    early_stopping: EarlyStopping | None
    curve: list[float] = field(default_factory=list)
    best: float = math.inf
    best_theta: Tensor | None = None
    stale: int = 0

    def follow(self, theta: Tensor) -> bool:
        """Take note of the loss at the parameters that the network has, which are ``theta``; True stops."""
        loss = self.loss()
        self.curve.append(loss)
        if self.early_stopping is None:
            return False
        lower = self.best_theta is None or loss < self.best - self.early_stopping.tol * abs(self.best)
        if lower:
            self.best, self.best_theta, self.stale = loss, theta.clone(), 0
        else:
            self.stale += 1
        return self.stale >= self.early_stopping.patience


def _run_stage(
    name: str, objective: Objective, solver: Solver, watch: _Watch | None, callback: Callback | None
) -> Stage:
    """Minimise an objective from the parameters that its network has, and leave the best ones in it."""
    began = time.perf_counter()
    loss_curve: list[float] = []
    stopped_early = False

    def report(state: Any, status: Status | None = None) -> bool:
        if callback is None:
            return False
        seconds = time.perf_counter() - began
        return bool(callback(_describe(name, objective, solver, state, watch, seconds, status)))

    def after_iteration(state: Any) -> bool:
        nonlocal stopped_early
        loss_curve.append(state.value)
        stopped_early = watch is not None and watch.follow(state.x)
        return report(state) or stopped_early

    result = solver.minimize(objective, objective.vector.read(), callback=after_iteration)
    if result.status is Status.NOT_FINITE:
        raise FloatingPointError(
            f"{name}: the objective is not finite at the starting point (value {result.value}); scale the data, "
            f"or use dtype='float64'"
        )
    theta = result.x if watch is None or watch.best_theta is None else watch.best_theta.double()
    exact = result.gradient is not None and sum(objective.parts.values()) == result.value
    if theta is not result.x or not exact:
        objective.value(theta)  # what was evaluated last is not what is kept, or was no average over all rows
    loss = sum(objective.parts.values())
    status = Status.EARLY if stopped_early else result.status
    report(dataclasses.replace(result, value=loss), status)
    return Stage(
        name=name,
        loss=loss,
        loss_curve=loss_curve,
        validation_loss_curve=[] if watch is None else watch.curve,
        n_iter=result.n_iter,
        n_evaluations=result.n_evaluations,
        seconds=time.perf_counter() - began,
        status=status,
        max_gradient=_max(result.gradient),
        mean_activation=objective.mean_activation,
    )


def _describe(
    name: str,
    objective: Objective,
    solver: Solver,
    state: Any,
    watch: _Watch | None,
    seconds: float,
    status: Status | None,
) -> Step:
    mean = objective.mean_activation
    return Step(
        stage=name,
        iteration=state.n_iter,
        max_iter=solver.max_iter,
        value=state.value,
        parts=objective.parts,
        mean_activation=None if mean is None else mean.mean().item(),
        target_activation=objective.target_activation,
        max_gradient=_max(state.gradient),
        n_evaluations=state.n_evaluations,
        seconds=seconds,
        validation_loss=watch.curve[-1] if watch and watch.curve else None,
        status=None if status is None else status.value,
    )


def _max(gradient: Tensor | None) -> float | None:
    return None if gradient is None else gradient.abs().max().item()
