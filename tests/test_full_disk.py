"""Disks that are full, of bytes or of files, and streams that take nothing: one sentence, and nothing is lost."""

import errno
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest
import torch

import layerwise
from layerwise.callbacks import MetricsFile
from layerwise.data.outputs import write_columns
from layerwise.data.scratch import allocate
from layerwise.locks import locked

ENDINGS = ("csv", "tsv", "json", "jsonl", "npy", "npz", "safetensors", "parquet", "feather")
pytestmark = pytest.mark.filterwarnings("ignore:no checkpoint is written")
FIT = ("--layers", 4, "--solver", "adam", "--max-iter", 4, "--random-state", 0, "--quiet", "--checkpoint-seconds", 0)


@pytest.fixture(autouse=True)
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def disk(tmp_path):
    """Make a small file system, or change the options of the one there is; its folder comes back."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(options):
        changed = ["-o", f"remount,{options}"] if mounted else ["-t", "tmpfs", "-o", options]
        words = ["mount", *changed, "none", str(place)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("a tmpfs cannot be mounted here")
        mounted.append(options)
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    X = np.random.default_rng(0).random((60, 5))
    path = tmp_path_factory.mktemp("data") / "table.csv"
    kinds = np.where(X[:, 0] > X[:, 1], "u", "v")
    lines = [",".join([*(f"{value:.3f}" for value in row), kind]) for row, kind in zip(X, kinds, strict=True)]
    path.write_text("\n".join(["a,b,c,d,e,kind", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(table):
    """A classifier on disk, with its rows beside it."""
    model = layerwise.StackedClassifier(layerwise.Autoencoder(4, solver=layerwise.LBFGS(1)), random_state=0)
    X = np.random.default_rng(0).random((60, 5))
    layerwise.save(model.fit(X, X[:, 0] > 0.5), table.parent / "model")
    np.save(table.parent / "rows.npy", X)
    return table.parent / "model"


def hash_of(run):
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fill(folder, leave=0):
    """Leave so many bytes of a disk."""
    free = shutil.disk_usage(folder).free
    with (folder / "filling").open("ab") as file:
        file.write(bytes(max(0, free - leave)))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_of_results_stays_as_it_was(ending, disk):
    folder = disk("size=200k")
    path, columns = folder / f"codes.{ending}", {"code": np.random.default_rng(0).random((3000, 3))}
    write_columns(path, {"code": np.ones((2, 2))})
    fill(folder, leave=8192)
    before = tree(folder)
    with pytest.raises(OSError, match="No space left") as caught:
        write_columns(path, columns)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert tree(folder) == before


def test_python_names_the_file(disk, monkeypatch):
    folder = disk("size=300k")
    X = np.random.default_rng(0).random((50, 100))
    model = layerwise.Autoencoder(20, solver=layerwise.LBFGS(1)).fit(X)
    layerwise.save(model, folder / "model")
    fill(folder, leave=8192)
    before = tree(folder)
    with pytest.raises(OSError, match="No space left") as caught:
        layerwise.save(model, folder / "model", overwrite=True)
    assert caught.value.filename == str(folder / "model" / "model.safetensors")
    with pytest.raises(OSError, match="No space left") as caught:
        allocate((3000, 3), np.float64, memory=0, scratch=folder)  # a page of it would kill the process
    assert Path(caught.value.filename).parent == folder
    assert tree(folder) == before
    (folder / "metrics.jsonl").touch()
    fill(folder)
    with pytest.raises(OSError, match="No space left") as caught, MetricsFile(folder / "metrics.jsonl") as metrics:
        layerwise.Autoencoder(2, solver=layerwise.LBFGS(200), callbacks=[metrics]).fit(X)
    assert caught.value.filename == str(folder / "metrics.jsonl")
    with pytest.warns(UserWarning, match=r"no checkpoint .* space left on device: '.*/kept/000001'"):
        layerwise.Autoencoder(2, solver=layerwise.LBFGS(1), checkpoint=folder / "kept").fit(X)


COMMANDS = {
    "init": ["{t}", "--out", "{d}/made.toml"],
    "encode": ["{m}", "{r}", "--out", "{d}/made.npz"],
    "predict": ["{m}", "{r}", "--out", "{d}/made.parquet"],
    "score": ["{m}", "{r}", "--out", "{d}/made.safetensors"],
    "reconstruct": ["{m}", "{r}", "--out", "{d}/made.jsonl"],
    "report": ["{m}", "{r}", "--out", "{d}/made.html"],
    "export": ["{m}", "--numpy", "{d}/made.py"],
    "compare": [
        *("{t}", "kind", "--layers", "3", "--budgets", "20", "--seeds", "1", "--rivals", "LogisticRegression"),
        *("--finetune", "head", "--out", "{d}/made"),
    ],
    "fit": ["{t}", "--labels", "kind", *map(str, FIT[:-2]), "--out", "{d}/made"],
}


def call(run, command, table, trained, folder, *more):
    places = {"t": table, "m": trained, "r": table.parent / "rows.npy", "d": folder}
    return run(command, *(word.format(**places) for word in COMMANDS[command]), *more)


def check_refused(code, err, folder):
    assert code == 2
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith(f"layerwise: No space left on device: {folder}/made")
    assert "/." not in last  # what is temporary is not named
    assert "; make room, and " in last


@pytest.mark.parametrize("command", ["init", "encode", "predict", "export", "fit"])
@pytest.mark.parametrize("options", ["size=4k", "nr_inodes=2"])
def test_a_command_says_which_file_has_no_room(options, command, run, table, trained, disk):
    folder = disk(options)
    if "size" in options:
        fill(folder)
    code, _, err = call(run, command, table, trained, folder)
    check_refused(code, err, folder)
    assert not list(folder.glob("*made*/*"))
    disk("size=1m,nr_inodes=100")
    (folder / "filling").unlink(missing_ok=True)
    assert call(run, command, table, trained, folder, "--no-report" if command == "fit" else "--json")[0] == 0


def test_a_fit_goes_on_when_there_is_room(run, table, disk, tmp_path):
    words = ("fit", table, "--labels", "kind", *FIT, "--no-report")
    assert run(*words, "--out", tmp_path / "reference")[0] == 0
    folder = disk("size=40k")
    code, _, err = run(*words, "--out", folder / "run")
    assert code == 2
    sentence = err.splitlines()[-1]
    assert sentence.startswith(f"layerwise: No space left on device: {folder}/run.partial/")
    assert sentence.endswith(f"; make room, and layerwise fit --resume --out {folder}/run goes on from there")
    disk("size=1m")
    assert run("fit", "--resume", "--out", folder / "run", "--no-report")[0] == 0
    assert hash_of(folder / "run") == hash_of(tmp_path / "reference")
    assert [path.name for path in folder.iterdir()] == ["run"]


def test_a_folder_with_a_lock_alone_is_no_unfinished_run(run, table, tmp_path):
    words = ("fit", table, "--ignore", "kind", *FIT, "--no-report", "--out", tmp_path / "run")
    partial = tmp_path / "run.partial"
    with locked(partial):
        (partial / "scratch").mkdir()
        assert "is in use by another process" in run(*words)[2]
    assert run(*words)[0] == 0
    with locked(partial):  # beside a run that has ended
        pass
    assert "has ended already" in run(*words, "--resume")[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
def test_output_that_is_full(run, table, trained, monkeypatch):
    for words in (["inspect", "{m}", "--json"], ["predict", "{m}", "{r}"], ["score", "--help"]):
        with open("/dev/full", "w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            code, _, err = run(*(word.format(m=trained, r=table.parent / "rows.npy") for word in words))
            monkeypatch.undo()
        assert code == 2
        assert err.endswith("No space left on device: standard output; make room, and run the same command again\n")


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        (">&-", 0),
        (">&- 2>&-", 0),
        ("| true", 0),
        ("2>/dev/full", 0),
        (">/dev/full 2>/dev/full", 2),
        ("<&- >&- 2>&-", 0),
    ],
)
@pytest.mark.slow
def test_streams_that_take_nothing(redirection, code, table, trained, tmp_path):
    """A process of its own: `layerwise ... | head`, and what a shell has closed."""
    fit = ["fit", table, "--ignore", "kind", *FIT[:-3], "--no-report", "--out", tmp_path / "run"]
    for words in (["inspect", trained], ["encode", trained, table.parent / "rows.npy"], fit):
        command = " ".join(map(str, [sys.executable, "-m", "layerwise", *words]))
        line = f"set -o pipefail; {command} {redirection}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode == code, line
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["n_rows"] == 60


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("options", ["size={}k", "nr_inodes={}"])
def test_every_command_in_steps(options, command, run, table, trained, disk, tmp_path):
    """From no room at all to enough: each end is a sentence, and after it there is room for the same result."""
    words = (FIT[-2:], ())[command != "fit"]
    assert call(run, command, table, trained, tmp_path, *words)[0] == 0
    ends = []
    for step in (0, 4, 8, 16, 32, 64, 128, 256, 1024) if "size" in options else range(2, 30, 3):
        folder = disk(options.format(step or 4))
        if step == 0:
            fill(folder)
        code, _, err = call(run, command, table, trained, folder, *words)
        ends.append(code)
        if code:
            check_refused(code, err, folder)
            assert not (folder / "made").exists()
            disk("size=10m,nr_inodes=1000")
            (folder / "filling").unlink(missing_ok=True)
            again = ("--resume",) if "--resume" in err else ()
            assert call(run, command, table, trained, folder, *words, *again)[0] == 0
        if command == "fit":
            assert hash_of(folder / "made") == hash_of(tmp_path / "made")
        names = {path.name for path in folder.iterdir()}
        assert names == {path.name for path in tmp_path.iterdir() if path.name.startswith("made")}
        subprocess.run(["find", str(folder), "-mindepth", "1", "-delete"], check=True)
    assert ends[0] == 2
    assert ends[-1] == 0


def test_no_room_for_the_text_of_a_table(table, tmp_path, monkeypatch):
    sink = polars.LazyFrame.sink_ipc
    monkeypatch.setattr(polars.LazyFrame, "sink_ipc", lambda frame, _, **options: sink(frame, "/dev/full", **options))
    with pytest.raises(OSError, match="No space left on device") as error:
        layerwise.read(table, memory=100, scratch=tmp_path)
    assert not isinstance(error.value, ValueError)
    assert Path(error.value.filename).is_relative_to(tmp_path)
    del error
    assert not list(tmp_path.iterdir())
