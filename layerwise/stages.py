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
from layerwise.callbacks import Callback, Step
from layerwise.objective import CACHE_BYTES, Objective
from layerwise.solvers import Result, Solver, Status
from layerwise.watching import Following

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
