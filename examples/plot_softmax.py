"""
Softmax regression on pixels
============================

The simplest classifier is the head alone: one weighted sum of the inputs for each class. On pixels its weights can be
looked at: light where ink speaks for the class, dark where it speaks against it.

See :doc:`the page on softmax regression </concepts/softmax>`.
"""

import matplotlib.pyplot as plt
import torch

from layerwise import LBFGS, stacking
from layerwise.data import Rows, load_mnist_small
from layerwise.losses import cross_entropy
from layerwise.modules import StackedNetwork, linear_head
from layerwise.plotting import plot_confusion, plot_filters

X_train, y_train, X_test, y_test = load_mnist_small()
classes = torch.from_numpy(y_train).long()

# %%
# A network without layers is softmax regression. The estimators always have a layer, so the head is trained by the
# function that they call.
fitted = {}
for alpha in (0, 0.01):
    network = StackedNetwork([], linear_head(784, 10))
    stacking.finetune(network, Rows(X_train), classes, LBFGS(max_iter=200), cross_entropy, alpha=alpha)
    predicted = stacking.apply(network, Rows(X_test)).argmax(dim=1).numpy()
    fitted[alpha] = network.head.weight.detach().numpy(), predicted

# %%
# Without decay the weights grow as long as some training digit is not yet certain, and fit the noise in single pixels.
# With a little of it they can be read, and more of the test digits are right.
fig, axes = plt.subplots(2, 1, figsize=(8.5, 2.5), layout="constrained")
for ax, (alpha, (weights, predicted)) in zip(axes, fitted.items(), strict=True):
    ax.set_title(f"alpha={alpha:g}: {(predicted == y_test).mean():.1%} of the test digits are right")
    plot_filters(weights, columns=10, ax=ax)

# %%
# What it takes for what.
ax = plot_confusion(y_test, fitted[0.01][1])
ax.set_title("test digits, alpha=0.01")
plt.show()
