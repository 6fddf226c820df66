"""The k-sparse autoencoder on MNIST: one layer of 1000 tied units, a few of which are on for each image.

Fewer units are on in pre-training than in the codes that are classified, as in the source. Outputs, learning rate and
numbers of units were chosen on the last 10,000 of the training images, with networks trained on the first 20,000, the
epochs by the time they take; the test images had no part in it.

References
----------
A. Makhzani and B. Frey, "k-Sparse autoencoders", 2013, section 4. arXiv:1312.5663.
"""

from __future__ import annotations

from sklearn.frozen import FrozenEstimator

from layerwise.activations import TopK
from layerwise.data import Digits, load_mnist
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.reproduce.experiment import Outcome, Session, classify, percent
from layerwise.solvers import LBFGS, Adam

FEATURES, ERROR = "test error of softmax regression on the features (%)", "test error (%)"
PUBLISHED = {"Makhzani 2013": {"k": 25, FEATURES: 1.35, ERROR: 1.08}}
load = load_mnist


def run(
    digits: Digits,
    session: Session,
    *,
    n_layers: int = 1,
    n_hidden: int = 1000,
    k: int = 25,
    k_codes: int = 100,
    pretrain_epochs: int = 10,
    finetune_epochs: int = 20,
) -> Outcome:
    """Run the experiment.

    Parameters
    ----------
    n_layers : int, default=1
    n_hidden : int, default=1000
        Units of each layer.
    k : int, default=25
        How many of them are on at the end of pre-training. Its first half keeps twice as many: fewer units stay dead.
    k_codes : int, default=100
        How many are on in the codes that are classified, and in fine-tuning.
    pretrain_epochs, finetune_epochs : int, default=10, 20
    """
    stack = StackedAutoencoder(warm_start=True, **session.common)
    half = -(-pretrain_epochs // 2)
    for kept, epochs, learning_rate in ((2 * k, half, "constant"), (k, half, "cosine"), (k_codes, 0, "constant")):
        layer = Autoencoder(
            n_hidden,
            activation=TopK(min(kept, n_hidden)),
            output_activation="identity",
            tied=True,
            alpha=0.0,
            solver=Adam(epochs, learning_rate=learning_rate),
        )
        stack.set_params(layers=[layer] * n_layers).fit(digits.X_train)
    features = StackedClassifier(
        FrozenEstimator(stack), finetune="head", solver=LBFGS(100), callbacks=session.watchers
    ).fit(digits.X_train, digits.y_train)
    error_features = 1 - features.score(digits.X_test, digits.y_test)
    session.announce(f"test error of softmax regression on the features: {error_features:.2%}")
    classifier, error = classify(stack, digits, session, finetune_epochs)
    obtained: dict[str, float | str] = {
        "k": k,
        "k of the codes": k_codes,
        "pre-training epochs a layer": pretrain_epochs,
        "fine-tuning epochs": finetune_epochs,
        FEATURES: percent(error_features),
        ERROR: percent(error),
    }
    return Outcome(classifier, obtained, digits.X_test)
