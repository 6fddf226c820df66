"""The layers of a stack: from recipes to autoencoders that can be trained one on the other."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from layerwise.activations import get_activation
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.starts import can_carry


def start_layers(recipes: Sequence[Any], **shared: Any) -> list[Autoencoder]:
    """Return an unfitted clone of every layer, or a copy of a frozen one, with its parameters checked.

    ``shared`` are the parameters that all layers have of their stack.
    """
    layers = []
    for index, layer in enumerate(recipes):
        if isinstance(layer, FrozenEstimator) and isinstance(layer.estimator, Autoencoder):
            layer = copy.deepcopy(layer.estimator)
            check_is_fitted(layer)
            if index > 0 and layer.scaling_ is not None:
                raise ValueError(
                    f"layers[{index}] is a frozen autoencoder that scales its input, but gets codes from below; "
                    f"only the first layer of a stack can scale: fit it with scale=None"
                )
        elif isinstance(layer, Autoencoder):
            layer = clone(layer)
        if not isinstance(layer, Autoencoder):
            raise ValueError(
                f"layers[{index}]={layer!r} is a {type(layer).__name__}, but an Autoencoder, a frozen one or an "
                f"int is expected"
            )
        layer.set_params(**shared)
        layer._check_parameters()
        layers.append(layer)
    _check_chain(layers)
    return layers


def _check_chain(layers: Sequence[Autoencoder]) -> None:
    """Refuse a layer that cannot reconstruct the codes of the one below."""
    for index, (lower, upper) in enumerate(itertools.pairwise(layers)):
        codes, reach = get_activation(lower.activation), get_activation(upper.output_activation)
        if codes.low < reach.low or codes.high > reach.high:
            suited = " or ".join(map(repr, dict.fromkeys([codes.same_range, "identity"])))
            raise ValueError(
                f"layers[{index + 1}] cannot reconstruct the codes of layers[{index}]: those of "
                f"activation={lower.activation!r} go from {codes.low:g} to {codes.high:g}, but "
                f"output_activation={upper.output_activation!r} reaches only {reach.low:g} to {reach.high:g}; "
                f"choose output_activation={suited}"
            )


def check_pca(recipes: Sequence[Autoencoder | FrozenEstimator], finetune: str | None) -> None:
    """Refuse layers that cannot begin as PCA."""
    if finetune is None:
        raise ValueError("init='pca' leaves the training to fine-tuning; set finetune='reconstruction'")
    for index, layer in enumerate(recipes):
        if isinstance(layer, FrozenEstimator):
            raise ValueError(f"init='pca' sets new weights, but layers[{index}] is frozen; set init='uniform'")
        if layer.tied:
            raise ValueError(f"init='pca' needs a decoder of its own, but layers[{index}] has tied=True; set it False")
        outputs = ("identity",) if index == 0 else ()
        for name, known in (("activation", ()), ("output_activation", outputs)):
            value = getattr(layer, name)
            if not can_carry(get_activation(value)) or (known and value not in known):
                wanted = " or ".join(map(repr, known or ("tanh", "identity")))
                raise ValueError(f"init='pca' cannot begin with {name}={value!r} of layers[{index}]; choose {wanted}")
