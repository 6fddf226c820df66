"""How long a stage is trained, and with how much weight decay: chosen by held-out rows, then trained again on all."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layerwise import distributed
from layerwise.data.mapped_rows import AnyRows
from layerwise.objective import Objective
from layerwise.solvers import Solver
from layerwise.stages import Split, Stage, Training, Watch, run_stage

# Groups of held-out rows, whose losses tell how sure a gain is: a heuristic choice.
_N_GROUPS = 20
# Standard errors that a gain must exceed: more than one, since the best of many iterations was taken.
_SURE = 2
# Makes the objective of a stage of rows, their targets and a factor of the weight decay, at the network as it is.
Make = Callable[[AnyRows, Tensor | None, Any], Objective]
# Lets a network begin as a model of rows and their targets.
Begin = Callable[[AnyRows, Any], None]


@dataclass
class Countdown:
    """Stands for a `layerwise.stages.Watch` that ends a stage after so many iterations, whatever the loss."""

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
    """How well an alpha does on held-out rows: in one split, or together in several."""

    loss: float
    n_iter: int
    before: float
    falls: list[float]
    curve: list[float]
    alpha: Any
    theta: Tensor
    stage: Stage


def train_stage(
    name: str,
    make: Make,
    split: Split,
    watch: Callable[[Split, Any], Watch | None],
    solver: Solver,
    training: Training,
    alphas: Sequence[Any] = (None,),
    begin: Begin | None = None,
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
        Each alpha is trained in this one and in its ``others``; losses are averaged, and of the numbers of iterations
        the median is taken.
    watch : callable
        ``watch(split, objective)`` returns what watches the loss of the held-out rows.
    solver : LBFGS, SGD or Adam
    training : Training
    alphas : sequence of float, default=(None,)
    begin : callable or None, default=None
        ``begin(rows, targets)`` lets the network begin without having seen other rows; None begins as it is.

    Returns
    -------
    stage : Stage
        The last run; after a refit with the losses of the held-out rows in the runs that were chosen.

    Raises
    ------
    ValueError
        If there are several alphas and no early stopping to choose by.
    """
    if len(alphas) == 1 and split.whole is None:
        objective = make(split.rows, split.targets, alphas[0])
        return run_stage(name, objective, solver, watch(split, objective), training)
    if split.early_stopping is None:
        raise ValueError(
            f"alpha={list(alphas)} holds several values, but no rows are held out to choose by; set "
            f"early_stopping=EarlyStopping(refit=True), or alpha to a number"
        )
    vector = make(split.rows, split.targets, alphas[0]).vector
    start, splits = distributed.broadcast(vector.read()), (split, *split.others)

    def try_out(place: int, alpha: Any) -> _Choice:
        part, number = splits[place], f", {place + 1} of {len(splits)}" if place else ""
        vector.write(start)
        if begin is not None:
            begin(part.rows, part.targets)
        objective = make(part.rows, part.targets, alpha)
        watching = watch(part, objective)
        assert watching is not None
        assert part.early_stopping is not None
        before, groups = watching.loss(), _groups(part, watching)
        label = f"{name} ({'held out' if alpha is None else f'alpha={alpha:g}'}{number})"
        stage = run_stage(label, objective, solver, watching, training)
        curve = stage.validation_loss_curve
        n_iter, lowest = part.early_stopping.best_of(before, curve)
        falls = [a - b for a, b in zip(groups, _groups(part, watching), strict=True)]
        return _Choice(lowest, n_iter, before, falls, curve, alpha, vector.read(), stage)

    choices = [_together([try_out(place, alpha) for place in range(len(splits))]) for alpha in alphas]
    if split.whole is not None:
        choices = [
            one if _is_clear(one.falls) else dataclasses.replace(one, loss=one.before, n_iter=0) for one in choices
        ]
    best = min(choices, key=lambda choice: choice.loss)
    vector.write(start)
    stage = best.stage
    if split.whole is not None:
        stage = _refit(name, make(*split.whole, best.alpha), solver, training, best.n_iter)
    elif best.n_iter:
        vector.write(best.theta)
    return dataclasses.replace(stage, name=name, validation_loss_curve=best.curve[: best.n_iter], alpha=best.alpha)


def _together(choices: Sequence[_Choice]) -> _Choice:
    """Return how well an alpha does in several splits: means, and the median of the numbers of iterations."""
    if len(choices) == 1:
        return choices[0]
    length = max(1, *(len(choice.curve) for choice in choices))
    curves = np.array(
        [np.pad(one.curve or [one.before], (0, length - max(1, len(one.curve))), "edge") for one in choices]
    )
    return dataclasses.replace(
        choices[0],
        loss=float(np.mean([choice.loss for choice in choices])),
        n_iter=int(np.median([choice.n_iter for choice in choices])),
        before=float(np.mean([choice.before for choice in choices])),
        falls=[fall for choice in choices for fall in choice.falls],
        curve=curves.mean(axis=0).tolist(),
    )


def _groups(split: Split, watch: Watch) -> list[float]:
    """Return the loss of groups of the held-out rows, at the network as it is."""
    assert split.held_out is not None
    counts = distributed.gather_counts([len(split.held_out)])
    n_groups, before = min(_N_GROUPS, sum(counts)), sum(counts[: distributed.rank()])
    places = torch.arange(len(split.held_out), device=split.held_out.device)
    return [watch.loss(places[(group - before) % n_groups :: n_groups]) for group in range(n_groups)]


def _is_clear(falls: Sequence[float]) -> bool:
    """Return whether a loss has fallen by more than twice the standard error of its fall, by groups of rows."""
    if len(falls) == 1:
        return True
    return bool(np.mean(falls) > _SURE * np.std(falls, ddof=1) / len(falls) ** 0.5)


def as_list(alpha: float | Sequence[float]) -> list[float]:
    """Return the factors to choose among: one, where ``alpha`` is a number."""
    return list(alpha) if isinstance(alpha, Sequence) else [alpha]


def _refit(name: str, objective: Objective, solver: Solver, training: Training, n_iter: int) -> Stage:
    """Run a stage for so many iterations, perhaps none."""
    if n_iter == 0:
        solver = copy.copy(solver)
        solver.max_iter = 0
    return run_stage(name, objective, solver, Countdown(n_iter), training)
