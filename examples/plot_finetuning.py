"""
Fine-tuning with few labels learns them by heart
================================================

The loss of the labelled rows falls and falls. That of other rows tells whether anything was learned by it.

See :doc:`the page on fine-tuning </concepts/finetuning>`.
"""

import matplotlib.pyplot as plt
from sklearn.frozen import FrozenEstimator

from layerwise import LBFGS, Adam, Autoencoder, Masking, StackedClassifier
from layerwise.data import load_mnist_small

X, y, X_test, y_test = load_mnist_small()
recipe = Autoencoder(
    100,
    activation="relu",
    loss="binary_cross_entropy",
    corruption=Masking(0.5),
    solver=Adam(max_iter=10, learning_rate_init=5e-3),
    random_state=0,
)
start = FrozenEstimator(recipe.fit(X))

# %%
# One pre-trained autoencoder is the starting point for 100 labels and for 3,000. First the head learns alone; from the
# dashed line on the layer learns with it.
fig, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
for ax, n_labels in zip(axes, (100, 3000), strict=True):
    accuracies = {}
    for finetune in ("head", "all"):
        classifier = StackedClassifier(start, finetune=finetune, solver=LBFGS(max_iter=60), alpha=1e-2)
        classifier.fit(X[:n_labels], y[:n_labels], X_val=X_test, y_val=y_test)
        accuracies[finetune] = classifier.score(X_test, y_test)
    done = 0
    for record in classifier.history_[-2:]:
        iterations = range(done + 1, done + 1 + record["n_iter"])
        (labelled,) = ax.semilogy(iterations, record["loss_curve"], color="C0")
        (others,) = ax.semilogy(iterations, record["validation_loss_curve"], color="C1")
        done += record["n_iter"]
        if record["stage"] == "head":
            ax.axvline(done + 0.5, color="black", linestyle="--", linewidth=0.8)
    ax.legend([labelled, others], ["labelled rows, with the penalty", "test rows"], loc="lower left")
    ax.set_title(f"{n_labels:,} labels. Right: head {accuracies['head']:.1%}, all {accuracies['all']:.1%}")
    ax.set_xlabel("iteration")
    ax.grid(visible=True, alpha=0.3)
axes[0].set_ylabel("loss")
plt.show()
