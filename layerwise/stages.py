"""One stage of training: an objective is minimised, its validation loss watched, the best parameters kept."""

from __future__ import annotations

import dataclasses
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from layerwise import distributed
from layerwise.callbacks import Callback, EarlyStopping, Step
from layerwise.data.layout import Layout
from layerwise.data.mapped_rows import AnyRows
from layerwise.losses import Loss
from layerwise.objective import CACHE_BYTES, Objective, mean_loss
from layerwise.solvers import Result, Solver, Status

# Operations that one core does in some milliseconds: a heuristic choice.
_SMALL = 3e8


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
        The objective after every iteration, of progressive solvers over the sample of that iteration; of stochastic
        solvers its average over each epoch.
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
    state : object
        The solver's; its ``restart`` begins a later stage with what it has learnt. None where a checkpoint has given
        the stage back.
    running : dict
        What the objective carries from batch to batch, `Objective.running`; a later stage goes on with it.
    alpha : float or None, default=None
        The factor of the weight decay, where it was chosen among several.
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
    state: Any
    running: dict[str, Any] = field(default_factory=dict)
    alpha: float | None = None

    @property
    def converged(self) -> bool:
        """Whether a minimum was found, as far as the tolerances and the arithmetic allow."""
        return self.status.converged

    def as_dict(self) -> dict[str, Any]:
        """Return all but the solver's state, as tensors, numbers, texts and lists: `restore` takes it."""
        kept = {name: value for name, value in vars(self).items() if name not in ("state", "running")}
        return kept | {"status": self.status.name}

    @staticmethod
    def restore(saved: Mapping[str, Any]) -> Stage:
        """Return the record that `as_dict` gave."""
        return Stage(**{**saved, "status": Status[saved["status"]]}, state=None)


class Keeper(Protocol):
    """What keeps a fit, stage by stage, so that another process can go on with it: `layerwise.checkpoint.KeptFit`."""

    def begin(self, name: str, device: torch.device) -> Mapping[str, Any] | None:
        """Return what was kept of the next stage: ``ended`` if it had, or ``running``; None if it begins."""

    def follow(self, n_iter: int, capture: Callable[[], Mapping[str, Any]]) -> None:
        """Keep the stage that runs, after so many iterations, if it is time."""

    def end(self, record: Mapping[str, Any]) -> None:
        """Keep a stage that has ended."""


@dataclass(frozen=True)
class Training:
    """What all stages of a run share.

    Attributes
    ----------
    callback : callable or None, default=None
        Called with a `Step` after every iteration; returning True ends the stage.
    seed : int, default=0
        Draws the rows to hold out, the same ones in all stages; noise and the order of batches.
    cache_bytes : int, default=2**30
        Codes of all rows are kept if they take no more, for each layer; otherwise they are computed again and again.
    states : dict of str to (object, dict), default={}
        `Stage.state` and `Stage.running` of earlier stages by name, which the stages of these names go on with.
    keeper : Keeper or None, default=None
        Keeps the stages, and gives back those that were kept.
    """

    callback: Callback | None = None
    seed: int = 0
    cache_bytes: int = CACHE_BYTES
    states: Mapping[str, tuple[Any, dict[str, Any]]] = field(default_factory=dict)
    keeper: Keeper | None = None

    def stage_seed(self, name: str) -> int:
        """Return the seed of noise and batches in the stage of this name, the same in every fit."""
        return (self.seed + zlib.crc32(name.encode())) % 2**31


# No callback, seed 0.
UNWATCHED = Training()


@dataclass(frozen=True)
class Split:
    """Rows and targets to train on, and those to watch the loss of, if any.

    Attributes
    ----------
    rows : Rows of shape (n_samples, n_features)
    targets : Tensor of shape (n_samples, ...) or None
    held_out : Rows of shape (n_held_out, n_features) or None
    held_out_targets : Tensor of shape (n_held_out, ...) or None
    early_stopping : EarlyStopping or None
    whole : tuple of (Rows, Tensor or None) or None, default=None
        All rows and their targets, where a stage is to be trained again on them.
    others : tuple of Split, default=()
        Splits of the same rows that hold out other shares.
    """

    rows: AnyRows
    targets: Tensor | None
    held_out: AnyRows | None
    held_out_targets: Tensor | None
    early_stopping: EarlyStopping | None
    whole: tuple[AnyRows, Tensor | None] | None = None
    others: tuple[Split, ...] = ()

    def map(self, function: Callable[[AnyRows], AnyRows]) -> Split:
        """Return the same with a function of both kinds of rows in their places."""
        held_out = None if self.held_out is None else function(self.held_out)
        whole = None if self.whole is None else (function(self.whole[0]), self.whole[1])
        others = tuple(other.map(function) for other in self.others)
        return dataclasses.replace(self, rows=function(self.rows), held_out=held_out, whole=whole, others=others)

    def watch(self, forward: Callable[[Tensor], Tensor], loss: Loss) -> Watch | None:
        """Return what watches the loss of a network on the rows that are held out; None without such."""
        if self.held_out is None:
            return None
        held_out, targets = self.held_out, self.held_out_targets

        def measure(places: Tensor | None = None) -> float:
            if places is None:
                return mean_loss(forward, loss, held_out, targets)
            return mean_loss(forward, loss, held_out.subset(places), None if targets is None else targets[places])

        return Watch(measure, self.early_stopping)


def split_rows(
    rows: AnyRows,
    targets: Tensor | None,
    early_stopping: EarlyStopping | None,
    held_out: AnyRows | None,
    held_out_targets: Tensor | None,
    training: Training,
) -> Split:
    """Hold out a random share of the rows where early stopping needs it and none are given; or several in turn."""
    if early_stopping is None or held_out is not None:
        held_out_targets = None if held_out_targets is None else held_out_targets.to(rows.device)
        return Split(rows, targets, held_out, held_out_targets, early_stopping)
    layout = Layout.of(rows)
    n_held_out = max(1, round(early_stopping.validation_fraction * layout.n_rows))
    if n_held_out >= layout.n_rows:
        raise ValueError(
            f"early stopping holds out {n_held_out} of {layout.n_rows} rows and leaves none to train on; give more "
            f"rows, or validation rows of their own"
        )
    n_splits = early_stopping.n_splits
    if n_splits > 1 and not (early_stopping.refit and n_splits * early_stopping.validation_fraction <= 1):
        raise ValueError(
            f"n_splits={n_splits} of early stopping holds out so many shares one after the other, and needs refit=True "
            f"and a validation_fraction of at most 1/{n_splits}"
        )
    targets = None if targets is None else targets.to(rows.device)
    splits: list[Split] = []
    drawn = torch.zeros(len(rows), dtype=torch.bool)
    for place in range(1, 1 + min(n_splits, layout.n_rows // n_held_out)):
        chosen = torch.zeros(len(rows), dtype=torch.bool)
        chosen[layout.draw(place * n_held_out, training.seed)] = True  # the shares before and this one
        outside = (chosen & ~drawn).nonzero().squeeze(1).to(rows.device)
        inside = (~chosen | drawn).nonzero().squeeze(1).to(rows.device)
        drawn = chosen
        part = Split(
            rows=rows.subset(inside),
            targets=None if targets is None else targets[inside],
            held_out=rows.subset(outside),
            held_out_targets=None if targets is None else targets[outside],
            early_stopping=early_stopping,
        )
        splits.append(part)
    whole = (rows, targets) if early_stopping.refit else None
    return dataclasses.replace(splits[0], whole=whole, others=tuple(splits[1:]))


@dataclass
class Watch:
    """Follows the validation loss; with early stopping, keeps the best parameters and says when to stop.

    ``loss()`` is that of all validation rows; ``loss(places)`` that of those at some positions.
    """

    loss: Callable[..., float]
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
        # What is not finite is never the best, and anything finite is better.
        first = self.best_theta is None
        if math.isfinite(loss) and (first or self.early_stopping.is_lower(loss, self.best)):
            self.best, self.best_theta, self.stale = loss, theta.clone(), 0
        else:
            self.stale += 1
        return self.stale >= self.early_stopping.patience

    def as_dict(self) -> dict[str, Any]:
        """Return what it has seen, as tensors, numbers and lists."""
        return {name: getattr(self, name) for name in ("curve", "best", "best_theta", "stale")}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `as_dict` gave."""
        for name in self.as_dict():
            setattr(self, name, saved[name])

    @property
    def over(self) -> bool:
        """Whether the stage shall end before its first iteration."""
        return False


@contextmanager
def threads_for(operations: float) -> Iterator[None]:
    """Let small products run on one thread: no slower, and the same to the bit whatever the number of threads.

    Parameters
    ----------
    operations : float
        Floating-point operations of an iteration.
    """
    n_threads = torch.get_num_threads()
    if operations >= _SMALL or n_threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


class Following(Protocol):
    """What follows a stage and may end it: a `Watch`, or what only counts its iterations."""

    curve: list[float]
    best_theta: Tensor | None

    @property
    def over(self) -> bool:
        """Whether the stage shall end before its first iteration."""

    def follow(self, theta: Tensor, /) -> bool:
        """Take note of an iteration; True stops."""

    def as_dict(self) -> dict[str, Any]:
        """Return what it has seen, as tensors, numbers and lists."""

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `as_dict` gave."""


def run_stage(name: str, objective: Objective, solver: Solver, watch: Following | None, training: Training) -> Stage:
    """Minimise an objective from the parameters that its network has on rank 0, and leave the best ones in it.

    Any rank may ask to stop.
    """
    start = distributed.broadcast(objective.vector.read())
    kept = _recall(name, solver, training, start.device)
    if kept is not None and "ended" in kept:
        objective.vector.write(kept["theta"])
        return Stage.restore(kept["ended"])
    began = time.perf_counter()
    loss_curve: list[float] = []
    stopped_early = watch is not None and watch.over
    earlier, running = training.states.get(name, (None, {}))
    state = None
    if earlier is not None and solver.can_go_on_from(earlier, objective.dtype):
        state = earlier.restart(start)
        objective.restore(running)
    if kept is not None:
        state = _restore(kept["running"], objective, solver, watch)
        loss_curve, began = kept["running"]["loss_curve"], began - kept["running"]["seconds"]

    def report(reached: Any, status: Status | None = None) -> bool:
        if training.callback is None:
            return False
        seconds = time.perf_counter() - began
        return bool(training.callback(_describe(name, objective, solver, reached, watch, seconds, status)))

    def after_iteration(reached: Any) -> bool:
        nonlocal stopped_early
        loss_curve.append(reached.value)
        stopped_early = watch is not None and watch.follow(reached.x)
        stop = distributed.agree(report(reached) or stopped_early, reached.x)
        if training.keeper is not None and not stop:  # what stops is kept at its end
            seconds = time.perf_counter() - began
            training.keeper.follow(reached.n_iter, lambda: _capture(reached, objective, watch, loss_curve, seconds))
        return stop

    with threads_for(6 * objective.n_rows * len(start)):
        result = solver.minimize(objective, start, callback=after_iteration, state=state)
    running = {} if result.status is Status.DIVERGED else objective.running()
    loss = _keep_best(name, objective, result, watch, start)
    status = Status.EARLY if stopped_early else result.status
    report(dataclasses.replace(result, value=loss), status)
    stage = Stage(
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
        state=result.state,
        running=running,
    )
    if training.keeper is not None:
        theta = objective.vector.read().to(objective.dtype)
        training.keeper.end({"ended": stage.as_dict(), "theta": theta})
    return stage


def _keep_best(name: str, objective: Objective, result: Result, watch: Following | None, start: Tensor) -> float:
    """Leave the best parameters in the network, and return the objective over all rows at them."""
    theta = result.x if watch is None or watch.best_theta is None else watch.best_theta.double()
    exact = result.gradient is not None and sum(objective.parts.values()) == result.value
    if theta is not result.x or not exact:
        objective.value(theta)  # what was evaluated last is not what is kept, or was no average over all rows
    loss = sum(objective.parts.values())
    if not math.isfinite(loss) or result.status is Status.NOT_FINITE:
        objective.vector.write(start)  # an estimator that trains its network in place stays usable
        what = "gradient" if math.isfinite(loss) else "objective"
        where = "at the starting point" if result.n_iter == 0 else "at the parameters reached"
        raise FloatingPointError(
            f"{name}: the {what} is not finite {where} (value {loss:.6g}); scale the data, lower a penalty or a "
            f"learning rate, or use dtype='float64'"
        )
    return loss


def _recall(name: str, solver: Solver, training: Training, device: torch.device) -> Mapping[str, Any] | None:
    """Return what was kept of a stage, if it is kept."""
    if training.keeper is None:
        return None
    if not hasattr(solver, "restore"):
        raise ValueError(
            f"{name}: solver={solver!r} has no method restore, so no checkpoint is kept; set checkpoint=None"
        )
    return training.keeper.begin(name, device)


def _capture(
    state: Any, objective: Objective, watch: Following | None, loss_curve: list[float], seconds: float
) -> dict[str, Any]:
    """Return all that a stage needs to go on, as tensors, numbers, lists and dicts."""
    return {
        "solver": state.as_dict(),
        "objective": objective.as_dict(),
        "watch": None if watch is None else watch.as_dict(),
        "loss_curve": loss_curve,
        "seconds": seconds,
    }


def _restore(running: Mapping[str, Any], objective: Objective, solver: Any, watch: Following | None) -> Any:
    """Bring objective and watch to where a stage was left; return the state of its solver."""
    state = solver.restore(running["solver"])
    objective.restore(running["objective"])
    objective.vector.write(state.x)
    if watch is not None:
        watch.restore(running["watch"])
    return state


def _describe(
    name: str,
    objective: Objective,
    solver: Solver,
    state: Any,
    watch: Following | None,
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
        n_rows=objective.n_rows,
        n_evaluations=state.n_evaluations,
        seconds=seconds,
        n_rows_seen=objective.n_rows_seen,
        validation_loss=watch.curve[-1] if watch and watch.curve else None,
        status=None if status is None else status.value,
    )


def _max(gradient: Tensor | None) -> float | None:
    return None if gradient is None else gradient.abs().max().item()
