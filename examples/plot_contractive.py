"""
Contraction leaves few directions
=================================

A contractive autoencoder pays for every direction of the input that its codes react to. It keeps the few along which
the data vary, and ignores the others.

The singular values of the encoder's Jacobian at a row tell how strongly the code reacts to a small change of it, in
the direction of the strongest reaction, in the next one, and so on. See
:doc:`the page on contractive autoencoders </concepts/contractive>`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from layerwise import LBFGS, Autoencoder

X = load_digits().data / 16
contractions = [0, 0.01, 0.03, 0.1, 0.3, 1]
fitted = [
    Autoencoder(64, tied=True, contraction=contraction, solver=LBFGS(max_iter=150), random_state=0).fit(X[:1400])
    for contraction in contractions
]


def singular_values(autoencoder: Autoencoder, rows: np.ndarray) -> np.ndarray:
    """Return the singular values of dh/dx, which is diag(h (1 - h)) W for sigmoid units, averaged over rows."""
    h = autoencoder.transform(rows)
    jacobians = (h * (1 - h))[:, :, None] * autoencoder.components_
    return np.linalg.svd(jacobians, compute_uv=False).mean(axis=0)


# %%
# Without contraction the codes of held-out digits follow almost every direction. With it the curve falls sooner: the
# encoder is flat in all but some directions. With too much of it, it is flat in all of them, and the digits are lost.
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
colours = plt.colormaps["viridis"](np.linspace(0, 0.9, len(contractions)))
for contraction, autoencoder, colour in zip(contractions, fitted, colours, strict=True):
    left.semilogy(singular_values(autoencoder, X[1400:]), color=colour, label=f"contraction {contraction:g}")
left.set(xlabel="direction", ylabel="singular value", title="how the code follows the input", ylim=(1e-4, 10))
left.legend()

kept = [autoencoder.explained_variance_ratio_ for autoencoder in fitted]
right.plot(range(len(kept)), kept, marker="o")
right.set_xticks(range(len(kept)), [f"{contraction:g}" for contraction in contractions])
right.set(xlabel="contraction", ylabel="variance that reconstructions keep", title="the price", ylim=(0, 1))
for ax in (left, right):
    ax.grid(visible=True, alpha=0.3)
plt.show()
