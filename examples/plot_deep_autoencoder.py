"""
Two numbers for a digit
=======================

A deep autoencoder squeezes each digit through two numbers. PCA does so too, but all that it can draw is straight axes.

The stack is trained layer by layer, then unrolled and fine-tuned as one network (G. E. Hinton and R. R. Salakhutdinov,
"Reducing the dimensionality of data with neural networks", Science 313, 2006). See
:doc:`the page on unrolling </concepts/unrolled>`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from layerwise import LBFGS, Autoencoder, StackedAutoencoder
from layerwise.plotting import plot_codes

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X / 16, y, random_state=0)

layers = [
    Autoencoder(100, activation="tanh", output_activation="sigmoid", solver=LBFGS(max_iter=50)),
    Autoencoder(50, activation="tanh", output_activation="tanh", solver=LBFGS(max_iter=50)),
    Autoencoder(2, activation="tanh", output_activation="tanh", solver=LBFGS(max_iter=50)),
]
greedy = StackedAutoencoder(layers, random_state=0).fit(X_train)
tuned = StackedAutoencoder(
    layers, finetune="reconstruction", alpha=1e-4, solver=LBFGS(max_iter=300), random_state=0
).fit(X_train)
pca = PCA(2).fit(X_train)

# %%
# Held-out digits by their two numbers. The title of each map tells how well the digits come back from it.
fig, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for ax, (name, coder) in zip(axes, {"PCA": pca, "layer by layer": greedy, "fine-tuned": tuned}.items(), strict=True):
    codes = coder.transform(X_test)
    error = 0.5 * ((coder.inverse_transform(codes) - X_test) ** 2).sum(axis=1).mean()
    plot_codes(codes, y_test, ax=ax)
    ax.set_title(f"{name}: squared error {error:.2f}")
for ax in axes[:2]:
    ax.get_legend().remove()

# %%
# Decoding goes the other way: any two numbers become a picture. A walk through the plane passes from one digit to
# the next.
across, up = np.meshgrid(np.linspace(-0.95, 0.95, 14), np.linspace(0.95, -0.95, 14))
pictures = tuned.inverse_transform(np.column_stack([across.ravel(), up.ravel()]))
canvas = np.pad(pictures.reshape(14, 14, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1))).swapaxes(1, 2).reshape(140, 140)
fig, ax = plt.subplots(figsize=(6, 6.3), layout="constrained")
ax.imshow(canvas, cmap="gray", vmin=0, vmax=1)
ax.set_axis_off()
ax.set_title("the plane of the fine-tuned codes, decoded")
plt.show()
