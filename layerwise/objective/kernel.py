"""What an objective asks of the arithmetic of a block of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Block(NamedTuple):
    """Some rows, as a training problem looks at them.

    Attributes
    ----------
    x : Tensor of shape (n_block, n_features)
        The input: noise is on it, and 0 stands where values are missing.
    clean : Tensor of shape (n_block, n_features)
        The same without the noise.
    target : Tensor of shape (n_block,) or (n_block, n_outputs)
        What the loss compares the outputs with.
    weight : Tensor of shape (n_block, n_outputs) or (n_block, 1), or None
        Weights of the entries in the loss, those of the rows included; None is 1 everywhere.
    row_weight : Tensor of shape (n_block, 1) or None
        How often each row counts; None is once.
    generator : Generator
        Draws further noise.
    """

    x: Tensor
    clean: Tensor
    target: Tensor
    weight: Tensor | None
    row_weight: Tensor | None
    generator: torch.Generator


class Kernel(Protocol):
    """The arithmetic of a training problem for one block of rows: the loss, the penalties, and their gradient.

    Attributes
    ----------
    parameters : list of Parameter
        Those to train.
    terms : list of str
        Names of the terms that are sums over rows.
    n_codes : int
        Width of the codes whose mean over all rows is followed; 0 follows none.
    """

    parameters: list[nn.Parameter]
    terms: list[str]
    n_codes: int

    def encode(self, block: Block, out: Tensor | None = None) -> Tensor:
        """Return the codes of a block, of shape (n_block, n_codes), perhaps written to ``out``; needs no gradient."""

    def forward(self, block: Block, codes: Tensor | None) -> Any:
        """Return what `backward` needs of a block; ``codes`` are those that `encode` gave, where they were kept."""

    def codes(self, passed: Any) -> Tensor:
        """Return the codes of what `forward` gave."""

    def measure(self, block: Block) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms of a block, summed over its rows, and its codes; needs no gradient."""

    def backward(
        self,
        block: Block,
        passed: Any,
        mean_gradient: Tensor | None,
        pieces: Sequence[Tensor],
        n_rows: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of a block, summed over its rows, and put their gradient into ``pieces``.

        It is added to what is there; or, divided by ``n_rows``, takes its place. ``mean_gradient``, of shape
        (n_codes,), is the derivative by the codes of each row, of what depends on their mean.
        """
