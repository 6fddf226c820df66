"""The deep autoencoder on MNIST: 784-1000-500-250-30, pre-trained greedily, then unrolled and fine-tuned.

References
----------
G. E. Hinton and R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006.
"""

from __future__ import annotations

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from layerwise.data import Digits, load_mnist
from layerwise.estimators import Autoencoder, StackedAutoencoder
from layerwise.reproduce.experiment import Outcome, Session
from layerwise.solvers import Adam

WIDTHS = (1000, 500, 250, 30)
GREEDY, TEST, TRAIN = (
    "test error before fine-tuning (squared, per image)",
    "test error (squared, per image)",
    "training error (squared, per image)",
)
PUBLISHED = {
    "PCA, 30 components": {TEST: 13.866},
    "Hinton 2006": {
        "pre-training": "RBM, 50 epochs a layer",
        "fine-tuning": "conjugate gradients, 200 epochs",
        TEST: 3.00,
    },
}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    pretrain_epochs: int = 10,
    finetune_epochs: int = 80,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    pretrain_epochs, finetune_epochs : int, default=10, 80
    """
    stack = StackedAutoencoder(layers(pretrain_epochs), **session.common).fit(digits.X_train)
    greedy = -2 * stack.score(digits.X_test)
    session.announce(f"squared error per test image after greedy training: {greedy:.2f}")
    deep, figures = finetune(stack, digits, session, finetune_epochs)
    obtained: dict[str, float | str] = {
        "pre-training": f"autoencoders, Adam, {pretrain_epochs} epochs a layer",
        GREEDY: round(greedy, 3),
    }
    return Outcome(deep, obtained | figures, digits.X_test)


def layers(epochs: int) -> list[Autoencoder]:
    """Return the layers of 784-1000-500-250-30, each with so many epochs of pre-training."""
    hidden = Autoencoder(
        activation="tanh",
        output_activation="tanh",
        tied=True,
        alpha=0.0,
        solver=Adam(epochs, batch_size=256, learning_rate="cosine"),
    )
    layers = [clone(hidden).set_params(n_hidden=width) for width in WIDTHS]
    layers[0].set_params(output_activation="sigmoid", loss="binary_cross_entropy")
    layers[-1].set_params(activation="identity")
    return layers


def finetune(
    stack: StackedAutoencoder, digits: Digits, session: Session, epochs: int
) -> tuple[StackedAutoencoder, dict[str, float | str]]:
    """Unroll a stack, untie its decoders and train the whole on reconstruction.

    Parameters
    ----------
    stack : StackedAutoencoder
        Fitted; not changed.
    digits : Digits
    session : Session
    epochs : int

    Returns
    -------
    deep : StackedAutoencoder
    figures : dict
        Settings, and the errors of test and training images.
    """
    deep = clone(stack).set_params(
        layers=[FrozenEstimator(layer) for layer in stack.layers_],
        finetune="reconstruction",
        untie=True,
        solver=Adam(epochs, batch_size=256, learning_rate="cosine"),
    )
    deep.fit(digits.X_train)
    test, train = (-2 * deep.score(X) for X in (digits.X_test, digits.X_train))
    session.announce(f"squared error per test image after fine-tuning: {test:.2f}")
    return deep, {
        "fine-tuning": f"Adam, {epochs} epochs, batches of 256",
        TEST: round(test, 3),
        TRAIN: round(train, 3),
    }
