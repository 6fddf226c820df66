"""`layerwise fit` that is interrupted, and `fit --resume`: what is on disk meanwhile, what is said, what is refused."""

import errno
import hashlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from layerwise import atomic
from layerwise.callbacks import MetricsFile
from layerwise.locks import locked
from layerwise.reproduce import ufldl_stacked

KILL_AND_RESUME = Path(__file__).parents[1] / "benchmarks" / "kill_and_resume.py"


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
    yield
    signal.signal(signal.SIGINT, before)
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    X = rng.random((60, 5))
    y = (X[:, 0] > X[:, 1]).astype(int)
    X[rng.random(X.shape) < 0.05] = np.nan
    rows = [",".join("" if np.isnan(value) else f"{value:.3f}" for value in row) for row in X]
    path = tmp_path_factory.mktemp("data") / "table.csv"
    path.write_text("a,b,c,d,e,kind\n" + "".join(f"{row},{'uv'[label]}\n" for row, label in zip(rows, y, strict=True)))
    return path


@pytest.fixture
def fit(table):
    """The words of a fit."""
    flags = ("--layers", 4, "--solver", "adam", "--max-iter", 6, "--random-state", 0, "--no-report", "--quiet")
    return ("fit", table, "--labels", "kind", "--impute", *flags, "--checkpoint-seconds", 0)


@pytest.fixture
def signal_at(monkeypatch):
    """Raise a signal when so many steps were written."""

    def install(count, number):
        write, seen = MetricsFile.__call__, []

        def call(self, step):
            write(self, step)
            seen.append(step)
            if len(seen) == count:
                signal.raise_signal(number)

        monkeypatch.setattr(MetricsFile, "__call__", call)

    return install


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def outcome(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(), steps, names(out)


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_goes_on_to_the_same_run(number, code, word, run, fit, signal_at, tmp_path):
    reference, out, partial = tmp_path / "reference", tmp_path / "run", tmp_path / "run.partial"
    assert run(*fit, "--out", reference)[0] == 0
    for steps, stage in ((5, "imputer layer 0"), (3, "layer 0"), (8, "head")):  # counted anew each time
        signal_at(steps, number)
        words = ("fit", "--resume", "--quiet", "--checkpoint-seconds", 0) if partial.exists() else fit
        found, printed, err = run(*words, "--out", out)
        assert found == code
        assert printed == ""
        assert err.splitlines()[-1].startswith(f"layerwise: {word} in stage {stage} at iteration ")
        assert err.endswith(f"; layerwise fit --resume --out {out} goes on from there\n")
        assert len(err.splitlines()) == 1
        assert names(tmp_path) == ["reference", "run.partial"]
        assert names(partial) == ["checkpoint", "lock", "metrics.jsonl", "run.toml"]
        assert names(partial / "checkpoint")[0] == "imputer"
    assert run(*fit, "--resume", "--out", out)[0] == 0
    assert names(tmp_path) == ["reference", "run"]
    assert outcome(out) == outcome(reference)
    assert (out / "run.toml").read_text().replace(str(out), str(reference)) == (reference / "run.toml").read_text()


def test_an_unfinished_run_is_not_forgotten(run, fit, signal_at, tmp_path):
    out, partial = tmp_path / "run", tmp_path / "run.partial"
    assert run(*fit, "--resume", "--out", out)[0] == 0  # there was nothing to go on with
    old = outcome(out)
    signal_at(3, signal.SIGTERM)
    assert run(*fit, "--overwrite", "--out", out)[0] == 143
    assert outcome(out) == old

    def refusal(*words):
        code, _, err = run(*words, "--out", out, "--overwrite")
        assert code == 2
        assert len(err.splitlines()) == 1
        return err

    assert f"{out} exists" in run(*fit, "--out", out)[2]
    assert "random_state=1 is not how the run began" in refusal("fit", "--resume", "--random-state", 1)
    assert "alpha=0.5 is not" in refusal("fit", "--resume", "--alpha", 0.5)
    assert "dtype='float64' is not how the run began" in refusal("fit", "--resume", "--dtype", "float64")
    assert "deterministic=True is not how the run began" in refusal("fit", "--resume", "--deterministic")
    assert "layers=[5] is not" in refusal("fit", "--resume", "--layers", 5)
    assert "labels='a' is not how the run began, which was 'kind'" in refusal("fit", "--labels", "a", "--resume")
    (tmp_path / "run.toml").write_text('[[layers]]\nn_hidden = 4\ntied = true\n[finetuning]\nsolver = "adam"\n')
    assert "layers=" in refusal("fit", "--config", tmp_path / "run.toml", "--resume")
    with locked(partial):
        for words in (("fit", "--resume"), fit):
            assert f"is in use by another process, {os.getpid()}; wait for its end, or stop it" in refusal(*words)
    assert names(partial) == ["checkpoint", "lock", "metrics.jsonl", "run.toml"]
    (partial / "lock").rename(partial / "key")
    assert "is no unfinished run of layerwise" in refusal(*fit)
    (partial / "key").rename(partial / "lock")

    assert run(*fit, "--overwrite", "--out", out)[0] == 0  # discards it
    assert outcome(out) == old
    assert names(tmp_path) == ["run", "run.toml"]


def test_settings_are_whole_whenever_a_run_dies(run, fit, signal_at, monkeypatch, tmp_path):
    out = tmp_path / "run"
    signal_at(3, signal.SIGTERM)
    assert run(*fit, "--out", out)[0] == 143
    before = (tmp_path / "run.partial" / "run.toml").read_text()

    def die(self, content):
        Path.open(self, "w").close()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", die)
        assert run("fit", "--resume", "--out", out)[0] == 130
    assert (tmp_path / "run.partial" / "run.toml").read_text() == before
    assert run("fit", "--resume", "--out", out)[0] == 0


@pytest.mark.parametrize(("more", "written"), [((), False), (("--report",), True)])
def test_resume_remembers_that_there_shall_be_no_report(run, fit, signal_at, tmp_path, more, written):
    out = tmp_path / "run"
    signal_at(3, signal.SIGINT)
    assert run(*fit, "--out", out)[0] == 130
    assert "\nreport = false " in (tmp_path / "run.partial" / "run.toml").read_text()
    assert run("fit", "--resume", *more, "--out", out)[0] == 0
    assert ("report.html" in names(out)) == written
    assert run("fit", "--config", out / "run.toml", "--out", tmp_path / "again")[0] == 0
    assert ("report.html" in names(tmp_path / "again")) == written


def test_a_run_that_has_ended_is_left_as_it_is(run, fit, tmp_path):
    out = tmp_path / "run"
    assert run(*fit, "--out", out)[0] == 0
    before = outcome(out)
    for words in (fit, ("fit",)):
        code, answer, _ = run(*words, "--resume", "--out", out)
        assert code == 0
        assert f"{out} has ended already; there is nothing to go on with" in answer
    assert "alpha=0.5 is not how the run began" in run("fit", "--resume", "--alpha", 0.5, "--out", out)[2]
    assert outcome(out) == before


def test_an_unfinished_run_is_refused_by_name(run, fit, signal_at, tmp_path):
    signal_at(3, signal.SIGINT)
    assert run(*fit, "--out", tmp_path / "run")[0] == 130
    code, _, err = run(*fit, "--out", tmp_path / "run")
    assert code == 2
    assert "run.partial is an unfinished run; go on with it by --resume, or discard it by --overwrite" in err
    with locked(tmp_path / "run.partial"):  # it may still run
        code, _, err = run(*fit, "--out", tmp_path / "run")
    assert code == 2
    assert f"run.partial is in use by another process, {os.getpid()}; wait for its end, or stop it" in err


def dying(function):
    """Interrupted before it makes anything new; what was made aside moves to its place."""

    def call(place, *arguments, **more):
        if not place.is_file():
            raise KeyboardInterrupt
        return function(place, *arguments, **more)

    return call


# Places in the publication of a run, in their order.
PUBLISHING = {
    "report": ("layerwise.runs.write_report", ["MODEL_CARD.md", "report.html"]),
    "card": ("layerwise.runs.write_model_card", ["MODEL_CARD.md"]),
    "sync": ("layerwise.cli.unfinished.publish", []),
    "rename": ("layerwise.atomic._move", []),
    "tidy": ("layerwise.cli.unfinished.tidy", None),
}


@pytest.mark.parametrize("place", PUBLISHING)
def test_goes_on_wherever_publishing_was_interrupted(place, run, fit, monkeypatch, tmp_path):
    reference, out, partial = tmp_path / "reference", tmp_path / "run", tmp_path / "run.partial"
    name, missing = PUBLISHING[place]
    data, fit = tmp_path / "rows.npy", [word for word in fit[4:] if word != "--impute"]
    fit = ["fit", data, *(word for word in fit if word != "--no-report" or place != "report")]
    np.save(data, np.random.default_rng(0).random((40, 5)))
    assert run(*fit, "--out", reference)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(name, dying(pkgutil.resolve_name(name)))
        assert run(*fit, "--out", out)[0] == 130
    if missing is None:
        assert names(out) == sorted([*names(reference), "checkpoint", "lock"])
    else:
        assert set(names(reference)) - set(names(partial)) == set(missing)
        (partial / ".report.html.x1").mkdir()  # what `kill -9` leaves
        assert "run.partial is an unfinished run" in run(*fit, "--out", out)[2]
    assert run(*fit, "--resume", "--out", out)[0] == 0
    assert outcome(out) == outcome(reference)
    assert ("report.html" in names(out)) == (place == "report")
    assert names(tmp_path) == ["reference", "rows.npy", "run"]


@pytest.mark.parametrize("crosses", [False, True])
def test_published_where_a_link_points_to(crosses, run, fit, monkeypatch, tmp_path):
    """Also in another file system, by a copy."""
    place, rename2 = tmp_path / "large" / "disk" / "run", atomic._rename2

    def rename(source, target, flag):
        if crosses and source.name == "run.partial":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename2(source, target, flag)

    monkeypatch.setattr(atomic, "_rename2", rename)
    (tmp_path / "run").symlink_to(place)
    assert run(*fit, "--out", tmp_path / "run")[0] == 0
    assert names(tmp_path) == ["large", "run"]
    assert names(place.parent) == ["run"]
    assert names(place) == ["MODEL_CARD.md", "config.json", "loss.png", "metrics.jsonl", *names(place)[4:]]
    assert (tmp_path / "run").is_symlink()
    assert run(*fit, "--out", tmp_path / "again")[0] == 0
    assert outcome(tmp_path / "again") == outcome(place)


def test_a_mount_point_is_refused_before_training(run, fit, monkeypatch, tmp_path):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == tmp_path / "run")
    code, _, err = run(*fit, "--overwrite", "--out", tmp_path / "run")
    assert code == 2
    assert f"{tmp_path / 'run'} is a mount point, which nothing can take the place of; choose a folder in it" in err
    assert names(tmp_path) == ["run"]


def test_data_that_has_moved_is_named_anew(run, fit, table, signal_at, tmp_path):
    """So is a file of labels; deterministic the run is as it began."""
    rng = np.random.default_rng(0)
    rows, labels, moved = rng.random((40, 5)), rng.integers(0, 2, 40), tmp_path / "moved"
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "labels.npy", labels)
    flags = [word for word in fit[4:] if word != "--impute"]
    fit = ["fit", tmp_path / "rows.npy", "--labels", tmp_path / "labels.npy", *flags, "--deterministic"]
    assert run(*fit, "--out", tmp_path / "reference")[0] == 0
    assert json.loads((tmp_path / "reference" / "run.json").read_text())["deterministic"] is True
    signal_at(3, signal.SIGINT)
    assert run(*fit, "--out", tmp_path / "run")[0] == 130
    moved.mkdir()
    (tmp_path / "rows.npy").rename(moved / "digits.npy")
    (tmp_path / "labels.npy").rename(moved / "labels.npy")
    resume = ("fit", "--resume", "--quiet", "--no-report", "--out", tmp_path / "run")
    code, _, err = run(*resume)
    assert code == 2
    assert f"{tmp_path / 'rows.npy'}" in err
    places = (moved / "digits.npy", "--labels", moved / "labels.npy")
    for other, what in ((rows[::-1], "X"), (rows, "y")):
        np.save(moved / "digits.npy", other)
        np.save(moved / "labels.npy", 1 - labels if what == "y" else labels)
        code, _, err = run(*resume, *places)
        assert code == 2
        assert f"belongs to another fit: {what}.digest" in err
    np.save(moved / "labels.npy", labels)
    assert "labels='kind' is not how the run began" in run(*resume, moved / "digits.npy", "--labels", "kind")[2]
    assert run(*resume, *places)[0] == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "reference")
    told = (tmp_path / "run" / "run.toml").read_text()
    assert f'data = "{moved / "digits.npy"}"' in told
    assert "deterministic = true" in told


def test_data_that_has_changed_is_refused(run, fit, table, signal_at, tmp_path):
    data = tmp_path / "table.csv"
    data.write_bytes(table.read_bytes())
    fit = [data if word == table else word for word in fit]
    signal_at(3, signal.SIGINT)
    assert run(*fit, "--out", tmp_path / "run")[0] == 130
    head, *lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join([head, *reversed(lines)]))
    code, _, err = run("fit", "--resume", "--out", tmp_path / "run")
    assert code == 2
    assert "belongs to another fit: X." in err  # other rows are held out
    data.write_text("".join([head, *lines, "0.5,0.5,0.5,0.5,9,u\n"]))
    code, _, err = run("fit", "--resume", "--out", tmp_path / "run")
    assert code == 2
    assert "belongs to another fit: X." in err
    assert (tmp_path / "run.partial" / "checkpoint").is_dir()
    code, _, err = run("fit", "--resume", "--out", tmp_path / "never")
    assert code == 2
    assert "no run has begun in out=" in err


def test_before_the_first_checkpoint_nothing_is_left(run, fit, signal_at, monkeypatch, tmp_path):
    monkeypatch.setattr("layerwise.cli.fitting.read", lambda *a, **k: signal.raise_signal(signal.SIGINT))
    code, _, err = run(*fit, "--out", tmp_path / "run")
    assert code == 130
    assert err == "layerwise: interrupted before the first iteration; nothing was written\n"
    assert names(tmp_path) == []


def test_other_commands_clean_up(run, monkeypatch, tmp_path):
    monkeypatch.setattr(ufldl_stacked, "run", lambda *a, **k: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = run("demo", "--out", tmp_path / "run")
    assert code == 143
    assert err.splitlines()[-1] == "layerwise: terminated before the first iteration; nothing was written"
    assert names(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
def test_kills():
    """The short form of benchmarks/kill_and_resume.py."""
    words = [sys.executable, KILL_AND_RESUME, "--runs", "4", "--ranks", "1", "2"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same: 4\n" in done.stdout


@pytest.mark.parametrize("command", ["inspect", "predict", "report", "export"])
def test_an_unfinished_run_is_no_model_yet(run, fit, table, signal_at, tmp_path, command):
    signal_at(3, signal.SIGINT)
    assert run(*fit, "--out", tmp_path / "run")[0] == 130
    code, _, err = run(command, tmp_path / "run.partial", *([table] if command == "predict" else []))
    assert code == 2
    assert f"finish it first: layerwise fit --resume --out {tmp_path / 'run'}\n" in err
    assert "run.partial is an unfinished run, not a model yet; " in err
