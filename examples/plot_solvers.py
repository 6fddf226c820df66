"""
L-BFGS and Adam on the same problem
===================================

The objective of one sparse autoencoder on its way down: by all rows at a time, by growing samples, by batches.

See :doc:`the page on solvers </concepts/solvers>`.
"""

import matplotlib.pyplot as plt

from layerwise import LBFGS, Adam, Autoencoder, KLSparsity
from layerwise.callbacks import History
from layerwise.data import load_mnist_small

X = load_mnist_small().X_train
solvers = {
    "L-BFGS, all rows": LBFGS(max_iter=40, progressive=False),
    "L-BFGS, growing samples": LBFGS(max_iter=80),
    "Adam, batches of 128": Adam(max_iter=20, learning_rate_init=5e-3, learning_rate="cosine", n_iter_no_change=20),
}
fitted, histories = {}, {}
for name, solver in solvers.items():
    histories[name] = History()
    fitted[name] = Autoencoder(
        50, sparsity=KLSparsity(target=0.1), alpha=3e-3, solver=solver, callbacks=[histories[name]], random_state=0
    ).fit(X)

# %%
# Points are costs over all rows (L-BFGS), or averages over an epoch (Adam). The dotted part of a curve is the cost of a
# sample of the rows, which is lower than that of all rows, since few rows are easier to learn by heart. Work is counted
# in passes over all 6,000 rows; seconds are those of the machine that drew the picture.
fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
for name, history in histories.items():
    for ax, measure in zip(axes, ("passes over all rows", "seconds"), strict=True):
        along = [s.n_rows_seen / len(X) if measure != "seconds" else s.seconds for s in history.steps]
        values = [s.value for s in history.steps]
        exact = [i for i, s in enumerate(history.steps) if s.n_rows == len(X)]
        first = exact[0]
        (line,) = ax.plot(along[first:], values[first:], label=f"{name}: {fitted[name].loss_:.2f} in the end")
        ax.plot(along[: first + 1], values[: first + 1], linestyle=":", color=line.get_color())
        ax.set_xlabel(measure)
for ax in axes:
    ax.grid(visible=True, alpha=0.3)
    ax.set_ylim(14, 40)
axes[0].set_ylabel("cost")
axes[0].legend()
plt.show()
