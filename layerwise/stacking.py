"""The algorithm: greedy layer-wise pre-training, then fine-tuning.

Knows nothing of scikit-learn and does no input or output.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layerwise.callbacks import Callback, Step
from layerwise.data.rows import Rows
from layerwise.modules import AutoencoderLayer, StackedNetwork
from layerwise.objective import AutoencoderObjective, NetworkObjective, default_chunk_rows
from layerwise.solvers import LBFGS, LBFGSState, Status


@dataclass(frozen=True)
class Stage:
    """The record of one stage of training.

    Attributes
    ----------
    name : str
        ``layer 0``, ``layer 1``, ..., ``head`` or ``finetune``.
    loss : float
        The objective at the end.
    loss_curve : list of float
        The objective after every iteration.
    n_iter : int
    n_evaluations : int
    seconds : float
    status : Status
        Why it ended.
    max_gradient : float
        Largest entry of the last gradient by size.
    mean_activation : Tensor of shape (n_hidden,) or None
        Of the hidden units over all rows, at the end.
    """

    name: str
    loss: float
    loss_curve: list[float]
    n_iter: int
    n_evaluations: int
    seconds: float
    status: Status
    max_gradient: float
    mean_activation: Tensor | None


def pretrain(
    layers: Sequence[AutoencoderLayer],
    rows: Rows,
    solvers: Iterable[LBFGS],
    *,
    callback: Callback | None = None,
) -> list[Stage]:
    """Train each layer on the codes of the one before it, the first on the rows.

    Parameters
    ----------
    layers : sequence of AutoencoderLayer
        Trained in place, each from the parameters that it has.
    rows : Rows of shape (n_samples, n_features)
    solvers : iterable of LBFGS
        One a layer.
    callback : callable or None, default=None
        Called with a `Step` after every iteration; returning True ends the stage.

    Returns
    -------
    stages : list of Stage
        One a layer.

    References
    ----------
    Y. Bengio et al., "Greedy layer-wise training of deep networks", NIPS 2006.

    Examples
    --------
    >>> import torch
    >>> layers = [AutoencoderLayer(6, 4), AutoencoderLayer(4, 2)]
    >>> stages = pretrain(layers, Rows(torch.rand(20, 6)), [LBFGS(5), LBFGS(5)])
    >>> [stage.name for stage in stages]
    ['layer 0', 'layer 1']
    """
    stages = []
    for index, (layer, solver) in enumerate(zip(layers, solvers, strict=True)):
        stages.append(_run_stage(f"layer {index}", AutoencoderObjective(layer, rows), solver, callback))
        if index + 1 < len(layers):
            rows = encode([layer], rows)
    return stages


def finetune(
    network: StackedNetwork,
    rows: Rows,
    targets: Tensor,
    solver: LBFGS,
    *,
    depth: str = "all",
    alpha: float = 0.0,
    callback: Callback | None = None,
) -> list[Stage]:
    """Train the head on the codes of the encoders; then, if asked, the whole network from there.

    Parameters
    ----------
    network : StackedNetwork
        Trained in place, from the parameters that it has.
    rows : Rows of shape (n_samples, n_features)
    targets : Tensor of shape (n_samples,), int64
        Index of the class of each row.
    solver : LBFGS
    depth : {"all", "head"}, default="all"
        ``"head"`` leaves the encoders as they are.
    alpha : float, default=0.0
        Factor of the weight decay alpha/2 |theta|^2 of the head's weights.
    callback : callable or None, default=None
        As for `pretrain`.

    Returns
    -------
    stages : list of Stage
        ``head`` and, unless left out, ``finetune``.

    Examples
    --------
    >>> import torch
    >>> from layerwise.modules import softmax_head
    >>> network = StackedNetwork([AutoencoderLayer(6, 4)], softmax_head(4, 2))
    >>> stages = finetune(network, Rows(torch.rand(20, 6)), torch.arange(20) % 2, LBFGS(5))
    >>> [stage.name for stage in stages]
    ['head', 'finetune']
    """
    head_alone = StackedNetwork([], network.head)
    codes = encode(network.encoders(), rows)
    stages = [_run_stage("head", NetworkObjective(head_alone, codes, targets, alpha=alpha), solver, callback)]
    del codes
    if depth == "all":
        objective = NetworkObjective(network, rows, targets, alpha=alpha)
        stages.append(_run_stage("finetune", objective, solver, callback))
    return stages


def encode(layers: Iterable[AutoencoderLayer], rows: Rows) -> Rows:
    """Return the codes of rows after these layers."""
    for layer in layers:
        rows = Rows(apply(layer.encode, rows), dtype=rows.dtype, device=rows.device)
    return rows


@torch.no_grad()
def apply(function: Callable[[Tensor], Tensor], rows: Rows) -> Tensor:
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


def _run_stage(
    name: str, objective: AutoencoderObjective | NetworkObjective, solver: LBFGS, callback: Callback | None
) -> Stage:
    """Minimise an objective from the parameters that its network has, and leave the best ones in it."""
    began = time.perf_counter()
    theta = objective.vector.read()
    loss_curve: list[float] = []

    def report(state: LBFGSState, status: Status | None = None) -> bool:
        if callback is None:
            return False
        return bool(callback(_describe(name, objective, solver, state, time.perf_counter() - began, status)))

    def after_iteration(state: LBFGSState) -> bool:
        loss_curve.append(state.value)
        return report(state)

    result = solver.minimize(objective, theta, callback=after_iteration)
    if result.status is Status.NOT_FINITE:
        raise FloatingPointError(
            f"{name}: the objective is not finite at the starting point (value {result.value}); scale the data, "
            f"or use dtype='float64'"
        )
    if sum(objective.parts.values()) != result.value:
        objective(result.x)  # the last point tried was not the one kept
    report(result.state, result.status)
    return Stage(
        name=name,
        loss=result.value,
        loss_curve=loss_curve,
        n_iter=result.n_iter,
        n_evaluations=result.n_evaluations,
        seconds=time.perf_counter() - began,
        status=result.status,
        max_gradient=result.gradient.abs().max().item(),
        mean_activation=objective.mean_activation,
    )


def _describe(
    name: str,
    objective: AutoencoderObjective | NetworkObjective,
    solver: LBFGS,
    state: LBFGSState,
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
        max_gradient=state.gradient.abs().max().item(),
        n_evaluations=state.n_evaluations,
        seconds=seconds,
        status=None if status is None else status.value,
    )
