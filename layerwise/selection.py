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
from layerwise.callbacks import EarlyStopping
from layerwise.data.mapped_rows import AnyRows
from layerwise.objective import Objective
from layerwise.solvers import Solver
from layerwise.stages import Stage, Training, run_stage
from layerwise.watching import Split, Watch

# Groups of held-out rows, whose losses tell how sure a gain is: a heuristic choice.
_N_GROUPS = 20
# Standard errors that a gain must exceed: more than one, since the best of many iterations was taken for the very rows;
# one, as is usual, for the mean of several splits, which is smoother.
_SURE, _SURE_OF_SPLITS = 2, 1
# Makes the objective of a stage of rows, their targets and a factor of the weight decay, at the network as it is.
Make = Callable[[AnyRows, Tensor | None, Any], Objective]
# Lets a network begin as a model of rows and their targets.
Begin = Callable[[AnyRows, Any], None]


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
    standard error of its fall, or once that of its falls in several splits. Otherwise the parameters of the best are
    kept.

    Parameters
    ----------
    name : str
    make : callable
        ``make(rows, targets, alpha)`` returns the objective, at the network as it is.
    split : Split
        Each alpha is trained in this one and in its ``others``, whose losses after as many iterations are averaged.
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

    def start_of(part: Split) -> Tensor:
        if begin is None:
            return start
        begin(part.rows, part.targets)
        return vector.read()

    starts = [start_of(part) for part in splits]

    def try_out(place: int, alpha: Any) -> _Choice:
        part, number = splits[place], f", {place + 1} of {len(splits)}" if place else ""
        vector.write(starts[place])
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

    choices = [
        _together([try_out(place, alpha) for place in range(len(splits))], split.early_stopping) for alpha in alphas
    ]
    if split.whole is not None:
        choices = [
            one
            if _is_clear(one.falls, _SURE_OF_SPLITS if split.others else _SURE)
            else dataclasses.replace(one, loss=one.before, n_iter=0)
            for one in choices
        ]
    best = min(choices, key=lambda choice: choice.loss)
    vector.write(start)
    stage = best.stage
    if split.whole is not None:
        stage = _refit(name, make(*split.whole, best.alpha), solver, training, best.n_iter)
    elif best.n_iter:
        vector.write(best.theta)
    return dataclasses.replace(stage, name=name, validation_loss_curve=best.curve[: best.n_iter], alpha=best.alpha)


def _together(choices: Sequence[_Choice], stopping: EarlyStopping) -> _Choice:
    """Return how well an alpha does in several splits, by the mean of their losses after as many iterations.

    The loss of a run that has stopped stays as it was.
    """
    if len(choices) == 1:
        return choices[0]
    curves = [[choice.before, *choice.curve] for choice in choices]
    length = max(len(curve) for curve in curves)
    losses = np.array([np.pad(curve, (0, length - len(curve)), "edge") for curve in curves])
    before, *curve = losses.mean(axis=0).tolist()
    n_iter, lowest = stopping.best_of(before, curve)
    falls = (losses[:, 0] - losses[:, n_iter]).tolist()
    return dataclasses.replace(choices[0], loss=lowest, n_iter=n_iter, before=before, falls=falls, curve=curve)


def _groups(split: Split, watch: Watch) -> list[float]:
    """Return the loss of groups of the held-out rows, at the network as it is."""
    assert split.held_out is not None
    counts = distributed.gather_counts([len(split.held_out)])
    n_groups, before = min(_N_GROUPS, sum(counts)), sum(counts[: distributed.rank()])
    places = torch.arange(len(split.held_out), device=split.held_out.device)
    return [watch.loss(places[(group - before) % n_groups :: n_groups]) for group in range(n_groups)]


def _is_clear(falls: Sequence[float], n_errors: int) -> bool:
    """Return whether a loss has fallen by more than so many standard errors of its fall, by groups or splits."""
    if len(falls) == 1:
        return True
    return bool(np.mean(falls) > n_errors * np.std(falls, ddof=1) / len(falls) ** 0.5)


def as_list(alpha: float | Sequence[float]) -> list[float]:
    """Return the factors to choose among: one, where ``alpha`` is a number."""
    return list(alpha) if isinstance(alpha, Sequence) else [alpha]


def _refit(name: str, objective: Objective, solver: Solver, training: Training, n_iter: int) -> Stage:
    """Run a stage for so many iterations, perhaps none."""
    if n_iter == 0:
        solver = copy.copy(solver)
        solver.max_iter = 0
    return run_stage(name, objective, solver, Countdown(n_iter), training)
