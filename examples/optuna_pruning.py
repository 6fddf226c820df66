"""Search with Optuna
==================

Search for an autoencoder with Optuna, which gives up early on what does not look promising.

A callback reports the loss of validation rows after every epoch; where Optuna prunes, it returns True, which ends the
training. Run it with ``python examples/optuna_pruning.py``; it needs ``pip install optuna``.
"""

import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from layerwise import Adam, Autoencoder, L1Sparsity
from layerwise.callbacks import Step

X_train, X_val = train_test_split(load_digits().data, random_state=0)


def objective(trial: optuna.Trial) -> float:
    """Train an autoencoder and return the loss of the validation rows."""

    def prune(step: Step) -> bool:
        if step.status is None:
            trial.report(step.validation_loss, step.iteration)
        return trial.should_prune()

    autoencoder = Autoencoder(
        n_hidden=20,
        alpha=trial.suggest_float("alpha", 1e-6, 1e-2, log=True),
        sparsity=L1Sparsity(trial.suggest_float("weight", 1e-5, 1e-1, log=True)),
        solver=Adam(max_iter=20, learning_rate_init=trial.suggest_float("learning_rate_init", 1e-4, 1e-1, log=True)),
        callbacks=[prune],
        random_state=0,
    ).fit(X_train, X_val=X_val)
    if trial.should_prune():
        raise optuna.TrialPruned
    return autoencoder.validation_loss_curve_[-1]


def main(n_trials: int = 15) -> optuna.Study:
    """Run the search and print the best parameters."""
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner(n_warmup_steps=3)
    )
    study.optimize(objective, n_trials=n_trials)
    pruned = sum(trial.state is optuna.trial.TrialState.PRUNED for trial in study.trials)
    print(f"{pruned} of {n_trials} trials were pruned; best {study.best_value:.3f} with {study.best_params}")
    return study


if __name__ == "__main__":
    main()
