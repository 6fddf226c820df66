"""
Sparse units become pen strokes
===============================

The same 49 units, three times: without sparsity, with a sensible target, and with a target that is too low.

Each tile is one unit: the picture of unit length that excites it most, grey where its weights are 0. See
:doc:`the page on sparse autoencoders </concepts/sparse>`.
"""

import matplotlib.pyplot as plt

from layerwise import LBFGS, Autoencoder, KLSparsity
from layerwise.data import load_mnist_small
from layerwise.displays import ActivationsDisplay, FiltersDisplay

X = load_mnist_small().X_train[::3]

recipes = {
    "no sparsity": None,
    "target 0.1": KLSparsity(target=0.1, weight=3.0),
    "target 0.01: too low": KLSparsity(target=0.01, weight=3.0),
}
fitted = {
    name: Autoencoder(49, sparsity=sparsity, alpha=3e-3, solver=LBFGS(max_iter=100), random_state=0).fit(X)
    for name, sparsity in recipes.items()
}

# %%
# Without sparsity every unit answers to a bit of everything, and its picture is a mottle. A target of 0.1 lets a unit
# be on for about a tenth of the digits: it has to choose, and becomes a part of a digit. With 0.01 the units
# cannot share the work any more: most of them turn into the same upright stroke.
fig, axes = plt.subplots(1, 3, figsize=(12, 4.6), layout="constrained", gridspec_kw={"wspace": 0.05})
for ax, (name, autoencoder) in zip(axes, fitted.items(), strict=True):
    FiltersDisplay.from_estimator(autoencoder, ax=ax)
    ax.set_title(f"{name}\nvariance kept: {autoencoder.explained_variance_ratio_:.0%}")

# %%
# The mean activations are what to look at first. They should be gathered a little above the target; no unit should be
# dead or far from the others.
fig, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained", sharey=True)
for ax, (name, autoencoder) in zip(axes, fitted.items(), strict=True):
    ActivationsDisplay.from_estimator(autoencoder, ax=ax)
    ax.set_title(name)
plt.show()
