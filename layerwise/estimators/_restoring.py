"""Fitted estimators of weights that were not trained here: out of a file, or by other software."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone

from layerwise.data.scaling import Scaling
from layerwise.estimators._checks import DTYPES, check_device
from layerwise.estimators.autoencoder import Autoencoder
from layerwise.estimators.classifier import StackedClassifier
from layerwise.estimators.stack import StackedAutoencoder


def empty_modules(estimator: BaseEstimator) -> dict[str, torch.nn.Module]:
    """Return modules of the right shape for the attributes of an estimator that are modules, by its parameters."""
    return getattr(estimator, "_empty_modules", dict)()


def fitted_autoencoder(
    autoencoder: Autoencoder, weights: dict[str, np.ndarray], scaling: Scaling | None = None
) -> Autoencoder:
    """Give an autoencoder weights by name, as if it had been fitted; nothing is known of its training."""
    autoencoder._check_parameters()
    device = check_device(autoencoder.device)
    n_features = weights["encoder_weight"].shape[1]
    with torch.device("meta"):  # no initial weights are drawn
        layer = autoencoder._build(n_features)
    dtype = DTYPES[autoencoder.dtype] or torch.float64
    # Row by row in memory, whatever they were: products then give the same bits as after saving and loading.
    state = {name: torch.tensor(np.ascontiguousarray(value), dtype=dtype) for name, value in weights.items()}
    layer.load_state_dict(state, assign=True)
    autoencoder.layer_ = layer.to(device)
    autoencoder.scaling_ = None if scaling is None else scaling.to(device)
    autoencoder.intensities_ = False
    autoencoder.n_features_in_ = n_features
    autoencoder.history_ = []
    return autoencoder


def fitted_classifier(layers: list[Autoencoder], head: np.ndarray, classes: np.ndarray) -> StackedClassifier:
    """Return a fitted classifier; its classes are sorted, as those of any other."""
    first = layers[0]
    template = StackedAutoencoder([clone(layer) for layer in layers], dtype=first.dtype, device=first.device)
    stack = clone(template)
    stack.layers_, stack.history_, stack.n_features_in_ = layers, [], first.n_features_in_
    classifier = StackedClassifier(template, fit_intercept=False)
    order = np.argsort(classes)
    classifier.autoencoder_, classifier.classes_ = stack, classes[order]
    classifier.history_, classifier.n_features_in_ = [], stack.n_features_in_
    network = classifier._build()
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(head[order]))
    classifier.network_ = network.to(first.layer_.encoder_weight.device)
    return classifier
