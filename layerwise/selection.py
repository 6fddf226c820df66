"""How long a stage is trained, and with how much weight decay: chosen by held-out rows, then trained again on all."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from layerwise import distributed
from layerwise.data.mapped_rows import AnyRows
from layerwise.objective import Objective
from layerwise.solvers import Solver
from layerwise.stages import Stage, Training, run_stage
from layerwise.watching import Split, Watch

# Groups of held-out rows, whose losses tell how sure a gain is: a heuristic choice.
_N_GROUPS = 20
# Standard errors that a gain must exceed: more than one, since the best of many iterations was taken.
_SURE = 2
# Makes the objective of a stage of rows, their targets and a factor of the weight decay, at the network as it is.
Make = Callable[[AnyRows, Tensor | None, Any], Objective]


@dataclass
class Countdown:
    """Stands for a `layerwise.watching.Watch` that ends a stage after so many iterations, whatever the loss."""

    n_iter: int
    curve: list[float] = field(default_factory=list)
    best_theta: Tensor | None = None

    @property
    def over(self) -> bool:
        """Whether the stage shall end."""
        return self.n_iter <= 0

    def follow(self, theta: Tensor) -> bool:
        """Count an iteration."""
        self.n_iter -= 1
        return self.over

    def as_dict(self) -> dict[str, Any]:
        """Return what is left."""
        return {"n_iter": self.n_iter}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `as_dict` gave."""
        self.n_iter = saved["n_iter"]


@dataclass(frozen=True)
class _Choice:
    """The best of a curve of losses of held-out rows."""

    loss: float
    n_iter: int
    curve: list[float]
    alpha: Any
    theta: Tensor


def train_stage(
    name: str,
    make: Make,
    split: Split,
    watch: Callable[[Any], Watch | None],
    solver: Solver,
    training: Training,
    alphas: Sequence[Any] = (None,),
) -> Stage:
    """Run a stage; with several ``alphas``, or early stopping with ``refit``, once for each of them to choose.

    From the same start each is trained until the loss of the held-out rows stops falling. The lowest loss, that of the
    start included, chooses alpha and the number of iterations. With ``refit`` the stage then runs from the start on all
    rows for as many iterations: none, where the loss of the held-out rows has not fallen by more than twice the
    standard error of its fall. Otherwise the parameters of the best are kept.

    Parameters
    ----------
    name : str
    make : callable
        ``make(rows, targets, alpha)`` returns the objective, at the network as it is.
    split : Split
    watch : callable
        ``watch(objective)`` returns what watches the loss of the held-out rows.
    solver : LBFGS, SGD or Adam
    training : Training
    alphas : sequence of float, default=(None,)

    Returns
    -------
    stage : Stage
        The last run; after a refit with the losses of the held-out rows in the run that was chosen.

    Raises
    ------
    ValueError
        If there are several alphas and no early stopping to choose by.
    """
    if len(alphas) == 1 and split.whole is None:
        objective = make(split.rows, split.targets, alphas[0])
        return run_stage(name, objective, solver, watch(objective), training)
    if split.early_stopping is None:
        raise ValueError(
            f"alpha={list(alphas)} holds several values, but no rows are held out to choose by; set "
            f"early_stopping=EarlyStopping(refit=True), or alpha to a number"
        )
    vector = make(split.rows, split.targets, alphas[0]).vector
    start, choices, stages = distributed.broadcast(vector.read()), [], []
    for alpha in alphas:
        vector.write(start)
        objective = make(split.rows, split.targets, alpha)
        watching = watch(objective)
        assert watching is not None
        before = watching.loss()
        groups = _groups(split, watching)
        label = f"{name} (held out)" if alpha is None else f"{name} (alpha={alpha:g})"
        stage = run_stage(label, objective, solver, watching, training)
        n_iter, lowest = split.early_stopping.best_of(before, stage.validation_loss_curve)
        if split.whole is not None and not _is_clear(groups, _groups(split, watching)):
            n_iter, lowest = 0, before
        choices.append(_Choice(lowest, n_iter, stage.validation_loss_curve, alpha, vector.read()))
        stages.append(stage)
    vector.write(start)
    chosen = min(range(len(choices)), key=lambda place: choices[place].loss)
    best, stage = choices[chosen], stages[chosen]
    if split.whole is not None:
        stage = _refit(name, make(*split.whole, best.alpha), solver, training, best.n_iter)
    else:
        vector.write(best.theta if best.n_iter else start)
    return dataclasses.replace(stage, name=name, validation_loss_curve=best.curve[: best.n_iter], alpha=best.alpha)


def _groups(split: Split, watch: Watch) -> list[float]:
    """Return the loss of groups of the held-out rows, at the network as it is."""
    assert split.held_out is not None
    counts = distributed.gather_counts([len(split.held_out)])
    n_groups, before = min(_N_GROUPS, sum(counts)), sum(counts[: distributed.rank()])
    places = torch.arange(len(split.held_out), device=split.held_out.device)
    return [watch.loss(places[(group - before) % n_groups :: n_groups]) for group in range(n_groups)]


def _is_clear(before: list[float], after: list[float]) -> bool:
    """Return whether a loss has fallen by more than twice the standard error of its fall, by groups of rows."""
    if len(before) == 1:
        return True
    falls = torch.tensor(before, dtype=torch.float64) - torch.tensor(after, dtype=torch.float64)
    return bool(falls.mean() > _SURE * falls.std() / len(falls) ** 0.5)


def as_list(alpha: float | Sequence[float]) -> list[float]:
    """Return the factors to choose among: one, where ``alpha`` is a number."""
    return list(alpha) if isinstance(alpha, Sequence) else [alpha]


def _refit(name: str, objective: Objective, solver: Solver, training: Training, n_iter: int) -> Stage:
    """Run a stage for so many iterations, perhaps none."""
    if n_iter == 0:
        solver = copy.copy(solver)
        solver.max_iter = 0
    return run_stage(name, objective, solver, Countdown(n_iter), training)
