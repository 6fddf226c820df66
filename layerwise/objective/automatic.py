"""The arithmetic of any network, its backward step by autograd."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from layerwise.losses import Loss
from layerwise.objective.kernel import Block
from layerwise.penalties import Seen, Term, sum_over_rows


class Coding(Protocol):
    """What is needed of a module: codes of rows, and outputs before their activation.

    One with ``pre_activation`` beside its ``activation``, as `layerwise.modules.AutoencoderLayer` has them, lets terms
    see pre-activations too.
    """

    def encode(self, x: Tensor, /) -> Tensor:
        """Map inputs of shape (n_rows, n_features) to codes."""

    def decode_logits(self, h: Tensor, /) -> Tensor:
        """Map codes to outputs of shape (n_rows, n_outputs), before their activation."""


class AutogradKernel:
    """Loss, penalties and gradient of any module that encodes and decodes.

    Parameters
    ----------
    module : Coding
    parameters : iterable of Parameter
        Those to train.
    loss : callable
        ``loss(z, target, weight=) -> (value, gradient)``, as in `layerwise.losses`.
    terms : sequence of Term, default=()
    dropout : float, default=0.0
        Share of the codes that are set to 0 in training, the others divided by ``1 - dropout``; the module's ``encode``
        then takes what drops the codes below the last as ``drop``.
    name : str, default="loss"
        Name of the loss in ``parts``.
    n_codes : int, default=0
        Width of the codes whose mean is followed; 0 follows none.
    """

    def __init__(
        self,
        module: Coding,
        parameters: Iterable[nn.Parameter],
        loss: Loss,
        terms: Sequence[Term] = (),
        *,
        dropout: float = 0.0,
        name: str = "loss",
        n_codes: int = 0,
    ):
        self.parameters = list(parameters)
        self.terms = [name, *(term.name for term in terms)]
        self.n_codes = n_codes
        self._module: Any = module
        self._loss = loss
        self._penalties = list(terms)
        self._dropout = dropout
        if any(parameter.is_cuda for parameter in self.parameters):
            # Autograd has threads of its own: torch warns if the first that such a thread does is a matrix product.
            with torch.enable_grad():
                torch.ones((), device=self.parameters[0].device, requires_grad=True).mul(1).backward()

    def encode(self, block: Block, out: Tensor | None = None) -> Tensor:
        """Return the codes of a block, of shape (n_block, n_codes)."""
        return self._encode(block)[1]

    @torch.enable_grad()
    def forward(self, block: Block, codes: Tensor | None) -> Seen:
        """Return what terms see of a block, with the graph of its computation."""
        return self._see(block)

    def codes(self, passed: Seen) -> Tensor:
        """Return the codes."""
        return passed.h.detach()

    def measure(self, block: Block) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms of a block, summed over its rows, and its codes."""
        seen = self._see(block)
        return self._add_up(block, seen)[0], seen.h

    def backward(
        self,
        block: Block,
        passed: Seen,
        mean_gradient: Tensor | None,
        pieces: Sequence[Tensor],
        n_rows: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of a block, and put their gradient into pieces; see `layerwise.objective.kernel.Kernel`."""
        with torch.enable_grad():
            parts, delta = self._add_up(block, passed)
        penalties = list(parts.values())[1:]
        outputs, seeds = [passed.logits, *penalties], [delta, *map(torch.ones_like, penalties)]
        if mean_gradient is not None:
            by_mean = mean_gradient if block.row_weight is None else block.row_weight * mean_gradient
            outputs, seeds = [*outputs, passed.h], [*seeds, by_mean.expand_as(passed.h)]
        gradients = torch.autograd.grad(outputs, self.parameters, seeds, allow_unused=True, materialize_grads=True)
        for piece, gradient in zip(pieces, gradients, strict=True):
            if n_rows is None:
                piece += gradient
            else:
                torch.div(gradient, n_rows, out=piece)
        return {name: part.detach() for name, part in parts.items()}

    def _see(self, block: Block) -> Seen:
        z, h = self._encode(block)
        logits = self._module.decode_logits(self._drop(h, block.generator))
        return Seen(block.x, block.clean, z, h, logits, self._module)

    def _encode(self, block: Block) -> tuple[Tensor | None, Tensor]:
        """Return pre-activations, where the module gives them, and codes."""
        module = self._module
        if self._dropout:
            return None, module.encode(block.x, drop=lambda h: self._drop(h, block.generator))
        if not hasattr(module, "pre_activation"):
            return None, module.encode(block.x)
        z = module.pre_activation(block.x)
        return z, module.activation.forward(z)

    def _drop(self, h: Tensor, generator: torch.Generator) -> Tensor:
        """Set a share of codes to 0, and divide the others by what is left."""
        if not self._dropout:
            return h
        kept = torch.empty_like(h).bernoulli_(1 - self._dropout, generator=generator)
        return h * kept.div_(1 - self._dropout)

    def _add_up(self, block: Block, seen: Seen) -> tuple[dict[str, Tensor], Tensor]:
        """Return loss and penalties, summed over rows, and the gradient of the loss by the logits."""
        penalties = {term.name: sum_over_rows(term, seen, block.row_weight) for term in self._penalties}
        logits = seen.logits.detach()  # which the loss writes over
        value, delta = self._loss(logits.clone() if penalties else logits, block.target, weight=block.weight)
        return {self.terms[0]: value} | penalties, delta
