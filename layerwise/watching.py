"""Rows that a stage is not trained on, and what their loss says: which parameters are best, and when to stop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from layerwise.callbacks import EarlyStopping
from layerwise.data.layout import Layout
from layerwise.data.mapped_rows import AnyRows
from layerwise.losses import Loss
from layerwise.objective import mean_loss


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
    seed: int,
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
        chosen[layout.draw(place * n_held_out, seed)] = True  # the shares before and this one
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
