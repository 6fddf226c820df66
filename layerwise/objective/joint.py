"""Several training problems at once, each over rows of its own: streams of batches that go in step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from layerwise.objective.base import Objective
from layerwise.objective.parameters import ParameterVector


class JointObjective:
    """The sum of training problems that share parameters: for example of one with labels, and of one without.

    Each is an average over its own rows::

        J(theta) = J_0(theta_0) + J_1(theta_1) + ...

    where theta holds every parameter once, and theta_k those of problem k. A step of a stochastic solver takes a batch
    of each: an epoch goes once through the rows of the first, and through those of the others as often as that takes,
    in a new order every time.

    Parameters
    ----------
    first : Objective
        The solver says how many rows its batches have.
    others : sequence of (Objective, int)
        Each with the number of rows that it gives to a step.

    Attributes
    ----------
    vector : ParameterVector
        The parameters of the first problem, then those of the others that are not among them.
    parts : dict of str to float
        The terms of all problems, those of the same name added up; after an epoch, of the others those of their last
        whole one.

    Examples
    --------
    >>> import torch
    >>> from layerwise.data.rows import Rows
    >>> from layerwise.losses import cross_entropy
    >>> from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
    >>> from layerwise.objective import LayerObjective, supervised_objective
    >>> layer, network_head = AutoencoderLayer(4, 3), linear_head(3, 2)
    >>> without = LayerObjective(layer, Rows(torch.rand(50, 4)))
    >>> few, classes = Rows(torch.rand(10, 4)), torch.arange(10) % 2
    >>> labelled = supervised_objective(StackedNetwork([layer], network_head), few, classes, cross_entropy)
    >>> joint = JointObjective(without, [(labelled, 5)])
    >>> value, gradient = joint(joint.vector.read())
    >>> gradient.shape, sorted(joint.parts)
    (torch.Size([39]), ['cross_entropy', 'decay', 'reconstruction'])
    """

    def __init__(self, first: Objective, others: Sequence[tuple[Objective, int]]):
        self._first = first
        self._others = list(others)
        self._all = [first, *(objective for objective, _ in others)]
        parameters = [parameter for objective in self._all for parameter in objective.vector.parameters]
        self.vector = ParameterVector({id(parameter): parameter for parameter in parameters}.values())
        self.target_activation = first.target_activation

    @property
    def dtype(self) -> torch.dtype:
        """Type of the products, and of what `epoch` yields."""
        return self._first.dtype

    @property
    def mean_activation(self) -> Tensor | None:
        """That of the first problem."""
        return self._first.mean_activation

    @property
    def n_rows(self) -> int:
        """Rows of the first problem."""
        return self._first.n_rows

    @property
    def n_draws(self) -> int:
        """Rows of an epoch of the first problem, on average."""
        return self._first.n_draws

    @property
    def n_rows_seen(self) -> int:
        """Rows of all problems evaluated so far."""
        return sum(objective.n_rows_seen for objective in self._all)

    @property
    def parts(self) -> dict[str, float]:
        """The terms of the value by name: their sum is the value."""
        total: dict[str, float] = {}
        for objective in self._all:
            for name, part in objective.parts.items():
                total[name] = total.get(name, 0.0) + part
        return total

    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the value at ``theta`` over all rows, and the gradient of shape (n_parameters,)."""
        value, total = 0.0, torch.zeros_like(theta)
        for objective in self._all:
            own, gradient = objective(self._choose(objective, theta))
            value += own
            self._add(objective, gradient, total)
        self.vector.write(theta)
        return value, total

    def value(self, theta: Tensor) -> float:
        """Return the value alone, in less time; sets ``parts`` and ``mean_activation`` too."""
        return sum(objective.value(self._choose(objective, theta)) for objective in self._all)

    def epoch(self, theta: Tensor, batch_size: int, number: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Go once through the rows of the first problem, with batches of the others; see `Objective.epoch`."""
        self.vector.bind(theta)
        streams = [_go_on(objective, size, number) for objective, size in self._others]
        total = torch.zeros_like(theta)
        for value, gradient, n_rows in self._first.epoch(None, batch_size, number):
            total.zero_()
            self._add(self._first, gradient, total)
            for (objective, _), stream in zip(self._others, streams, strict=True):
                own, gradient, _ = next(stream)
                value = value + own
                self._add(objective, gradient, total)
            yield value, total, n_rows

    def as_dict(self) -> dict[str, Any]:
        """Return what later evaluations and reports take from earlier ones, as tensors, numbers and dicts."""
        return {str(place): objective.as_dict() for place, objective in enumerate(self._all)}

    def running(self) -> dict[str, Any]:
        """Return what batches take from those before them, to go on with on other rows: tensors and numbers."""
        return {str(place): objective.running() for place, objective in enumerate(self._all)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `as_dict` or `running` gave."""
        for place, own in saved.items():
            self._all[int(place)].restore(own)

    def _choose(self, objective: Objective, theta: Tensor) -> Tensor:
        """Return the parameters of one problem."""
        pieces = self._pieces(theta)
        return torch.cat([pieces[id(parameter)].reshape(-1) for parameter in objective.vector.parameters])

    def _add(self, objective: Objective, gradient: Tensor, total: Tensor) -> None:
        """Add the gradient of one problem to that of all."""
        pieces = self._pieces(total)
        for parameter, own in zip(objective.vector.parameters, objective.vector.views(gradient), strict=True):
            pieces[id(parameter)].add_(own)

    def _pieces(self, theta: Tensor) -> dict[int, Tensor]:
        return dict(zip(map(id, self.vector.parameters), self.vector.views(theta), strict=True))


def _go_on(objective: Objective, batch_size: int, number: int) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Go through the rows of a problem, again and again, in orders that depend on the epoch of the first problem."""
    for again in itertools.count():
        yield from objective.epoch(None, batch_size, 1000 * number + again)
