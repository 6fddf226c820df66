"""
A stack, layer by layer
=======================

The first layer learns from the pixels, the second from the codes of the first: curves of both trainings, and what the
units look for.

See :doc:`the page on stacking </concepts/stacking>`.
"""

import matplotlib.pyplot as plt

from layerwise import LBFGS, Autoencoder, KLSparsity, StackedAutoencoder
from layerwise.data import load_mnist_small
from layerwise.displays import CodesDisplay, FiltersDisplay, LossCurveDisplay

X, y, _, _ = load_mnist_small()
X, y = X[::3], y[::3]

sparse = Autoencoder(64, sparsity=KLSparsity(target=0.1, weight=3.0), alpha=3e-3, solver=LBFGS(max_iter=100))
stack = StackedAutoencoder([sparse, 36], random_state=0).fit(X)

# %%
# Each layer has an objective of its own, and the two curves cannot be compared: the first adds up errors of 784 pixels,
# the second those of 64 codes. What can be compared is the share of the variance that is kept.
fig, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
LossCurveDisplay.from_estimator(stack, ax=axes[0])
axes[0].set_title("objective of each layer")
for layer, ax in enumerate(axes[1:]):
    FiltersDisplay.from_estimator(stack, layer=layer, ax=ax)
    kept = stack.layers_[layer].explained_variance_ratio_
    ax.set_title(f"layer {layer}\nvariance kept: {kept:.0%}")

# %%
# The codes of the last layer, laid out in a plane, for the eye alone: training saw no label.
display = CodesDisplay.from_estimator(stack, X, y, random_state=0)
display.ax_.set_title("codes of layer 1, by t-SNE")
plt.show()
