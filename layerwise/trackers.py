"""Hands a run to an experiment tracker: TensorBoard, MLflow, or anything with the ``log`` of Weights & Biases.

All log the same numbers after every iteration: ``<stage>/cost`` and its parts, ``<stage>/mean_activation``,
``<stage>/validation_loss`` and ``<stage>/rows_per_second``, where there are such and they are finite. Their steps count
iterations over all stages and all fits that share the tracker; each stage ends with one step more, the cost over all
rows of the parameters that are kept.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise.callbacks import Pace, Step, Watcher

__all__ = ["MLflow", "TensorBoard", "Tracker"]

# What MLflow takes at a time, and the longest value, of any version and server.
_MAX_PARAMS, _MAX_LENGTH = 100, 500


class _Logger(Watcher, abc.ABC):
    """What all trackers have in common: the names of the numbers, and steps that rise."""

    def __init__(self) -> None:
        self._n_steps = 0
        self._pace = Pace()

    def __call__(self, step: Step) -> None:
        """Log a step."""
        self._pace.follow(step)
        self._n_steps += 1
        self._log(_metrics(step, self._pace.rows_per_second), self._n_steps)

    @abc.abstractmethod
    def _log(self, metrics: dict[str, float], number: int) -> None:
        """Log numbers by name, as those of this step."""

    def _opened(self, run: Any) -> Any:
        """Return a run that is open."""
        if run is None:
            name = type(self).__name__
            raise ValueError(f"{name} is not open; train inside `with {name}(...) as tracker:`")
        return run


class TensorBoard(_Logger):
    """Logs to a folder that TensorBoard shows (``tensorboard --logdir``).

    Use it as a context manager. It needs the package tensorboard: ``pip install 'layerwise[tensorboard]'``.

    Parameters
    ----------
    log_dir : str or Path
        Made where it does not exist; what an earlier run wrote there stays.

    Examples
    --------
    >>> from layerwise import StackedAutoencoder
    >>> with TensorBoard("runs/digits") as tracker:  # doctest: +SKIP
    ...     StackedAutoencoder([200, 50], callbacks=[tracker]).fit(X)
    """

    _of_this_process = ("_writer",)

    def __init__(self, log_dir: str | Path):
        super().__init__()
        self.log_dir = Path(log_dir)
        self._writer: Any = None

    def __enter__(self) -> TensorBoard:
        """Open the folder."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing(self, "tensorboard") from error
        self._writer = SummaryWriter(str(self.log_dir), flush_secs=10)  # a run is looked at while it goes on
        return self

    def __exit__(self, *exception: object) -> None:
        """Write what is left, and close."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _log(self, metrics: dict[str, float], number: int) -> None:
        writer = self._opened(self._writer)
        for name, value in metrics.items():
            writer.add_scalar(name, value, number)


class MLflow(_Logger):
    """Logs to a run of MLflow of its own; inside a run that is active, to a child of it.

    Use it as a context manager: the run is active inside, finished after it, and failed after an exception. It needs
    the package mlflow: ``pip install 'layerwise[mlflow]'``.

    Parameters
    ----------
    run_name : str or None, default=None
        None lets MLflow choose a name.
    tracking_uri : str, Path or None, default=None
        Where to, as `mlflow.set_tracking_uri` takes it, which sets it for the whole process; None leaves it as it is.
    experiment_name : str or None, default=None
        Made where it does not exist, and then the active one; None leaves that as it is.
    params : mapping or None, default=None
        Logged at the beginning, for instance ``estimator.get_params()``; values of more than 500 characters are cut.

    Examples
    --------
    >>> from layerwise import StackedAutoencoder
    >>> stack = StackedAutoencoder([200, 50])
    >>> with MLflow("two layers", params=stack.get_params()) as tracker:  # doctest: +SKIP
    ...     stack.set_params(callbacks=[tracker]).fit(X)
    """

    _of_this_process = ("_mlflow", "_run")

    def __init__(
        self,
        run_name: str | None = None,
        *,
        tracking_uri: str | Path | None = None,
        experiment_name: str | None = None,
        params: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.run_name = run_name
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment_name
        self.params = params
        self._mlflow: Any = None
        self._run: Any = None

    def __enter__(self) -> MLflow:
        """Start the run."""
        try:
            import mlflow
        except ImportError as error:
            raise _missing(self, "mlflow") from error
        self._mlflow = mlflow
        if self.tracking_uri is not None:
            mlflow.set_tracking_uri(self.tracking_uri)
        if self.experiment_name is not None:
            mlflow.set_experiment(self.experiment_name)
        self._run = mlflow.start_run(run_name=self.run_name, nested=mlflow.active_run() is not None)
        try:
            params = {name: _shorten(value) for name, value in (self.params or {}).items()}
            for start in range(0, max(1, len(params)), _MAX_PARAMS):
                mlflow.log_params(dict(list(params.items())[start : start + _MAX_PARAMS]))
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        """End the run."""
        run, self._run = self._run, None
        if run is not None:
            self._mlflow.end_run("FINISHED" if kind is None else "FAILED")

    def log_file(self, path: str | Path, folder: str | None = None) -> None:
        """Log a file as an artifact, at the top or in a folder of the artifacts.

        Parameters
        ----------
        path : str or Path
        folder : str or None, default=None
        """
        run = self._opened(self._run)
        self._mlflow.log_artifact(str(path), folder, run_id=run.info.run_id)

    def _log(self, metrics: dict[str, float], number: int) -> None:
        run = self._opened(self._run)
        self._mlflow.log_metrics(metrics, step=number, run_id=run.info.run_id)


class Tracker(_Logger):
    """Logs to a run of Weights & Biases, or to anything like it.

    The run stays yours: it is neither started nor finished here.

    Parameters
    ----------
    run : object with a method ``log(metrics, step=...)``
        What `wandb.init` returns (``pip install 'layerwise[wandb]'``). Its steps must rise, so let all fits of a run
        share one tracker.

    Examples
    --------
    >>> from layerwise import LBFGS, Autoencoder
    >>> from layerwise.data import load_mnist_small
    >>> class Run:
    ...     def log(self, metrics, step):
    ...         print(step, ", ".join(metrics))
    >>> autoencoder = Autoencoder(5, solver=LBFGS(max_iter=1), callbacks=[Tracker(Run())], random_state=0)
    >>> _ = autoencoder.fit(load_mnist_small().X_train[:100])
    1 layer 0/cost, layer 0/reconstruction, layer 0/decay, layer 0/mean_activation, layer 0/rows_per_second
    2 layer 0/cost, layer 0/reconstruction, layer 0/decay, layer 0/mean_activation, layer 0/rows_per_second
    """

    def __init__(self, run: Any):
        super().__init__()
        if not callable(getattr(run, "log", None)):
            raise ValueError(f"run={run!r} has no method log(metrics, step=...); give what wandb.init() returns")
        self.run = run

    def __enter__(self) -> Tracker:
        """Return the tracker."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the run as it is."""

    def _log(self, metrics: dict[str, float], number: int) -> None:
        self.run.log(metrics, step=number)


def _metrics(step: Step, rows_per_second: float | None) -> dict[str, float]:
    values = {
        "cost": step.value,
        **step.parts,
        "mean_activation": step.mean_activation,
        "validation_loss": step.validation_loss,
        "rows_per_second": rows_per_second,
    }
    return {
        f"{step.stage}/{name}": value for name, value in values.items() if value is not None and math.isfinite(value)
    }


def _shorten(value: Any) -> Any:
    """Return the value of a parameter as MLflow takes it: text that is too long ends in three dots."""
    text = str(value)
    return value if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 3]}..."


def _missing(tracker: _Logger, package: str) -> ImportError:
    """Return the error of a package that is not installed; the extra bears its name."""
    return ImportError(
        f"{type(tracker).__name__} needs the package {package}, which is not installed: "
        f"pip install 'layerwise[{package}]'"
    )
