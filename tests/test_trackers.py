"""Experiment trackers: what they are told, and that they are left in order."""

import math
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone

from layerwise import LBFGS, Adam, Autoencoder, EarlyStopping, KLSparsity, StackedAutoencoder, load
from layerwise.callbacks import History, MetricsFile, Step
from layerwise.data import load_mnist_small
from layerwise.progress import Progress
from layerwise.trackers import MLflow, TensorBoard, Tracker

STEP = Step("layer 0", 1, 9, 12.5, {"reconstruction": 10.0}, None, None, None, 100, 2, 0.5, n_rows_seen=200)


class Run:
    """Records what is logged to it, in the shape of a run of Weights & Biases."""

    def __init__(self):
        self.logged = []

    def log(self, data, step=None):
        self.logged.append((step, data))


class FakeMLflow:
    """The functions of mlflow that are used, with the parameters they have in version 2.14 and in 3.17."""

    def __init__(self, outer_run=None):
        self.calls, self.runs = [], [] if outer_run is None else [outer_run]

    def set_tracking_uri(self, uri):
        self.calls.append(("set_tracking_uri", uri))

    def set_experiment(self, experiment_name=None, experiment_id=None):
        self.calls.append(("set_experiment", experiment_name))

    def active_run(self):
        return self.runs[-1] if self.runs else None

    def start_run(
        self, run_id=None, experiment_id=None, run_name=None, nested=False, tags=None, description=None,
        log_system_metrics=None,
    ):  # fmt: skip
        if self.runs and not nested:
            raise RuntimeError("a run is active already")
        self.calls.append(("start_run", run_name))
        self.runs.append(SimpleNamespace(info=SimpleNamespace(run_id=f"run {len(self.runs)}")))
        return self.runs[-1]

    def log_params(self, params, synchronous=None, run_id=None):
        if "refused" in params:
            raise RuntimeError("this parameter is refused")
        self.calls.append(("log_params", params))

    def log_metrics(self, metrics, step=None, synchronous=None, run_id=None):
        self.calls.append(("log_metrics", metrics, step, run_id))

    def log_artifact(self, local_path, artifact_path=None, run_id=None):
        self.calls.append(("log_artifact", Path(local_path).name, artifact_path, run_id))

    def end_run(self, status="FINISHED"):
        self.calls.append(("end_run", status))
        self.runs.pop()


@pytest.fixture
def mlflow(monkeypatch):
    module = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


@pytest.fixture(scope="module")
def images():
    return load_mnist_small().X_train[:200]


def make_stack(*callbacks):
    sparse = Autoencoder(6, sparsity=KLSparsity(0.2), solver=LBFGS(max_iter=3))
    watched = Autoencoder(4, solver=Adam(max_iter=2), early_stopping=EarlyStopping(0.2))
    return StackedAutoencoder([sparse, watched], callbacks=list(callbacks), random_state=0)


def test_names_and_steps(images):
    run, history = Run(), History()
    with Tracker(run) as tracker:
        stack = make_stack(tracker, history)
        clone(stack).fit(images)
        clone(stack).fit(images)
    assert [number for number, _ in run.logged] == list(range(1, len(history.steps) + 1))
    for step, (_, metrics) in zip(history.steps, run.logged, strict=True):
        expected = {"cost": step.value, "mean_activation": step.mean_activation, **step.parts}
        if step.stage == "layer 1":
            expected["validation_loss"] = step.validation_loss
        rate = metrics.pop(f"{step.stage}/rows_per_second")
        assert metrics == {f"{step.stage}/{name}": value for name, value in expected.items()}
        assert rate > 0
    assert {"layer 0/sparsity", "layer 0/decay"} <= set(run.logged[0][1])


def test_what_is_unknown_or_not_finite_is_left_out():
    run = Run()
    Tracker(run)(Step("head", 1, 9, math.nan, {"loss": math.inf, "decay": 1.0}, None, None, None, 100, 1, 0.5))
    assert run.logged == [(1, {"head/decay": 1.0})]


def test_rows_per_second_are_those_between_steps():
    run = Run()
    tracker = Tracker(run)
    tracker(STEP)
    tracker(Step("layer 0", 2, 9, 12.0, {}, None, None, None, 100, 4, 1.0, n_rows_seen=600))
    assert [metrics["layer 0/rows_per_second"] for _, metrics in run.logged] == [400, 600]


def test_a_run_needs_a_log():
    with pytest.raises(ValueError, match=r"run=3 has no method log\(metrics, step=...\); give what wandb.init"):
        Tracker(3)


def test_tensorboard(images, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run()
    tracker = TensorBoard(tmp_path / "runs" / "digits")
    with tracker:
        make_stack(tracker, Tracker(run)).fit(images)
    events = EventAccumulator(str(tmp_path / "runs" / "digits")).Reload()
    assert set(events.Tags()["scalars"]) == {name for _, metrics in run.logged for name in metrics}
    for name in ("layer 0/cost", "layer 1/validation_loss", "layer 0/mean_activation"):
        read = [(event.step, event.value) for event in events.Scalars(name)]
        assert read == [(k, pytest.approx(metrics[name])) for k, metrics in run.logged if name in metrics]


def test_tensorboard_is_closed_after_an_exception(tmp_path):
    pytest.importorskip("tensorboard")
    tracker = TensorBoard(str(tmp_path))

    def train():
        with tracker:
            tracker(STEP)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert list(tmp_path.glob("events*"))
    tracker.__exit__()  # once more does no harm
    with pytest.raises(ValueError, match=r"TensorBoard is not open; train inside `with TensorBoard\(...\) as tracker"):
        tracker(STEP)


def test_mlflow(mlflow, images):
    run = Run()
    params = {"alpha": 0.1}
    with MLflow("small", tracking_uri="sqlite:///x.db", experiment_name="digits", params=params) as tracker:
        make_stack(tracker, Tracker(run)).fit(images)
    start, logged, end = mlflow.calls[:4], mlflow.calls[4:-1], mlflow.calls[-1]
    assert start == [
        ("set_tracking_uri", "sqlite:///x.db"),
        ("set_experiment", "digits"),
        ("start_run", "small"),
        ("log_params", params),
    ]
    assert [(number, run_id) for _, _, number, run_id in logged] == [(number, "run 0") for number, _ in run.logged]
    assert [set(metrics) for _, metrics, *_ in logged] == [set(metrics) for _, metrics in run.logged]
    assert end == ("end_run", "FINISHED")
    assert not mlflow.runs


def test_mlflow_takes_long_and_many_parameters(mlflow):
    params = {f"name {k}": k for k in range(230)} | {"long": list(range(1000)), "none": None}
    with MLflow(params=params):
        pass
    logged = [call[1] for call in mlflow.calls if call[0] == "log_params"]
    assert [len(part) for part in logged] == [100, 100, 32]
    together = {name: value for part in logged for name, value in part.items()}
    assert together.keys() == params.keys()
    assert together["name 7"] == 7
    assert len(together["long"]) == 500
    assert str(params["long"]).startswith(together["long"].removesuffix("..."))


def test_mlflow_gets_the_settings_and_the_files_of_a_run(mlflow, run, tmp_path, images):
    np.save(tmp_path / "rows.npy", images)
    out = tmp_path / "runs" / "small"
    words = ["--layers", 6, 4, "--max-iter", 2, "--alpha", 0.01, "--random-state", 3, "--track", "mlflow"]
    code, _, error = run("fit", tmp_path / "rows.npy", *words, "--out", out)
    assert code == 0, error
    assert mlflow.calls[0] == ("start_run", "small")
    params = mlflow.calls[1][1]
    assert [params[f"layers.{k}.n_hidden"] for k in range(2)] == [6, 4]
    assert (params["model"], params["random_state"], params["layers.1.solver.max_iter"]) == ("autoencoder", 3, 2)
    assert {"layer 0/cost", "layer 1/decay"} <= {
        name for call in mlflow.calls if call[0] == "log_metrics" for name in call[1]
    }
    files = dict(call[1:3] for call in mlflow.calls if call[0] == "log_artifact")
    assert files == {
        path.name: "model" if path.name in ("config.json", "model.safetensors") else None
        for path in out.iterdir()
        if path.is_file() and not path.name.startswith(".")
    }
    assert {"report.html", "metrics.jsonl", "run.toml", "config.json"} <= files.keys()
    assert mlflow.calls[-1] == ("end_run", "FINISHED")


@pytest.mark.filterwarnings("default")
def test_a_run_is_whole_though_mlflow_takes_no_files(mlflow, run, tmp_path, images):
    def refuse(*_, **__):
        raise ConnectionError("no server")

    mlflow.log_artifact = refuse
    np.save(tmp_path / "rows.npy", images)
    words = ["--layers", 3, "--max-iter", 1, "--track", "mlflow", "--no-report", "--out", tmp_path / "out"]
    code, _, error = run("fit", tmp_path / "rows.npy", *words)
    assert code == 0
    assert "MLflow did not take the files of the run: no server" in error
    assert load(tmp_path / "out").layers_[0].n_hidden == 3


@pytest.mark.parametrize("kind", ["mlflow", "tensorboard", "progress", "metrics"])
def test_what_is_open_is_not_pickled(kind, mlflow, tmp_path, images):
    """An estimator is logged, or sent to another process, with the callbacks that watched it."""
    if kind == "tensorboard":
        pytest.importorskip("tensorboard")
    made = {
        "mlflow": MLflow,
        "tensorboard": lambda: TensorBoard(tmp_path),
        "progress": Progress,
        "metrics": lambda: MetricsFile(tmp_path / "metrics.jsonl"),
    }
    with made[kind]() as callback:
        stack = make_stack(callback).fit(images)
        read = pickle.loads(pickle.dumps(stack))
    assert (read.transform(images) == stack.transform(images)).all()
    if kind == "progress":
        read.fit(images)
        return
    with pytest.raises(ValueError, match="is not open; train inside `with "):
        read.fit(images)


def test_mlflow_leaves_alone_what_is_not_asked_for(mlflow):
    with MLflow():
        pass
    assert mlflow.calls == [("start_run", None), ("log_params", {}), ("end_run", "FINISHED")]


def test_mlflow_inside_a_run_is_its_child(monkeypatch):
    module = FakeMLflow(outer_run="theirs")
    monkeypatch.setitem(sys.modules, "mlflow", module)
    with MLflow() as tracker:
        tracker(STEP)
    assert module.runs == ["theirs"]


def test_mlflow_run_has_failed_after_an_exception(mlflow):
    tracker = MLflow()

    def train():
        with tracker:
            tracker(STEP)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert mlflow.calls[-1] == ("end_run", "FAILED")
    with pytest.raises(ValueError, match="MLflow is not open"):
        tracker(STEP)


def test_mlflow_run_ends_where_its_parameters_are_refused(mlflow):
    with pytest.raises(RuntimeError, match="refused"):
        MLflow(params={"refused": 1}).__enter__()
    assert mlflow.calls[-1] == ("end_run", "FAILED")
    assert not mlflow.runs


@pytest.mark.parametrize(
    ("tracker", "module", "package"),
    [
        (TensorBoard("nowhere"), "torch.utils.tensorboard", "tensorboard"),
        (MLflow(), "mlflow", "mlflow"),
    ],
)
def test_a_package_that_is_missing_is_named(monkeypatch, tracker, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    message = f"{type(tracker).__name__} needs the package {package}, which is not installed: pip install 'layerwise"
    with pytest.raises(ImportError, match=rf"{message}\[{package}\]'"):
        tracker.__enter__()
