"""The arithmetic of one dense autoencoder layer, its backward step written out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from layerwise.losses import Loss
from layerwise.modules import AutoencoderLayer
from layerwise.objective.kernel import Block
from layerwise.penalties import Seen, Term, sum_over_rows
from layerwise.products import add_transposed_product, linear


class DenseKernel:
    """Loss, penalties and gradient of one dense layer: the fast way, where terms see nothing but codes and weights.

    With corrupted rows x~_i, codes h_i = s(W1 x~_i + b1) and reconstructions x^_i = t(W2 h_i + b2) it gives the sums of
    L(x^_i, x_i) and of the terms of h_i. What is missing (NaN) is 0 in the input, like what `Masking` hits, and is left
    out of L.

    Parameters
    ----------
    layer : AutoencoderLayer
        Its parameters, in the order encoder weight and bias, decoder weight (unless it is tied) and bias.
    loss : callable
        ``loss(z, target, weight=, out=) -> (value, gradient)``.
    terms : sequence of Term, default=()
        Each sees ``h`` and ``module``, of which only the encoder's weight may have a gradient.

    References
    ----------
    A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011, equations for J_sparse and its gradient.
    """

    def __init__(self, layer: AutoencoderLayer, loss: Loss, terms: Sequence[Term] = ()):
        self.layer = layer
        self.parameters = list(layer.parameters())
        self.terms = ["reconstruction", *(term.name for term in terms)]
        self.n_codes = layer.n_hidden
        self._loss = loss
        self._penalties = list(terms)
        self._wide: list[Tensor] = []

    def encode(self, block: Block, out: Tensor | None = None) -> Tensor:
        """Return the codes of a block, of shape (n_block, n_hidden)."""
        h = linear(block.x, self.layer.encoder_weight, self.layer.encoder_bias, out)
        return self.layer.activation.forward_(h)

    def forward(self, block: Block, codes: Tensor | None) -> Tensor:
        """Return the codes of a block."""
        return self.encode(block) if codes is None else codes

    def codes(self, passed: Tensor) -> Tensor:
        """Return them."""
        return passed

    def measure(self, block: Block) -> tuple[dict[str, Tensor], Tensor]:
        """Return the terms of a block, summed over its rows, and its codes."""
        h = self.encode(block)
        return self._reconstruct(block, h)[0] | self._penalise(block, h), h

    def backward(
        self,
        block: Block,
        passed: Tensor,
        mean_gradient: Tensor | None,
        pieces: Sequence[Tensor],
        n_rows: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of a block, and put their gradient into pieces; see `layerwise.objective.kernel.Kernel`."""
        layer, h = self.layer, passed
        keep, scale = (1.0, 1.0) if n_rows is None else (0.0, 1 / n_rows)
        encoder_weight, encoder_bias, *own, decoder_bias = pieces
        decoder_weight = own[0] if own else encoder_weight.T
        parts, delta = self._reconstruct(block, h)
        add_transposed_product(decoder_weight, delta, h, keep=keep, scale=scale)
        decoder_bias.mul_(keep).add_(delta.sum(dim=0), alpha=scale)

        if mean_gradient is None:
            delta = linear(delta, layer.decoder_matrix.T)
        else:
            by_mean = mean_gradient if block.row_weight is None else block.row_weight * mean_gradient
            delta = linear(delta, layer.decoder_matrix.T, by_mean)
        with torch.enable_grad():
            leaf = h.detach().requires_grad_()
            penalties = self._penalise(block, leaf)
        if penalties:
            by_codes, by_weight = torch.autograd.grad(
                list(penalties.values()), [leaf, layer.encoder_weight], allow_unused=True, materialize_grads=True
            )
            delta += by_codes
        layer.activation.backward_(delta, h)
        add_transposed_product(encoder_weight, delta, block.x, keep=keep if own else 1, scale=scale)
        encoder_bias.mul_(keep).add_(delta.sum(dim=0), alpha=scale)
        if penalties:
            encoder_weight.add_(by_weight, alpha=scale)
        return parts | {name: part.detach() for name, part in penalties.items()}

    def _reconstruct(self, block: Block, h: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the loss of the reconstructions, summed over rows, and its gradient by W2 h + b2."""
        target = block.target
        # The two widest matrices are made once: memory taken anew for every block costs page faults.
        if not self._wide or len(self._wide[0]) < len(target):
            self._wide = [target.new_empty(target.shape), target.new_empty(target.shape)]
        z, delta = (wide[: len(target)] for wide in self._wide)
        z = linear(h, self.layer.decoder_matrix, self.layer.decoder_bias, z)
        value, delta = self._loss(z, target, weight=block.weight, out=delta)
        return {"reconstruction": value}, delta

    def _penalise(self, block: Block, h: Tensor) -> dict[str, Tensor]:
        """Return the terms of the codes, summed over rows; differentiable by autograd."""
        seen = Seen(block.x, block.clean, None, h, h, self.layer)
        return {term.name: sum_over_rows(term, seen, block.row_weight) for term in self._penalties}
