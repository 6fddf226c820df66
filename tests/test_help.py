"""The pages of help: every command has an example, and every example runs as it stands."""

import gzip
import json
import re
import shlex
import struct
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_iris, load_wine

from layerwise.cli import app, experiments
from layerwise.reproduce import EXPERIMENTS

COMMANDS = [name for name in app if not name.startswith("-")]
PAGES = [*(name for name in COMMANDS if name != "reproduce"), *(f"reproduce {name}" for name in EXPERIMENTS)]


def find(command):
    found = app
    for word in command.split():
        found = found[word]
    return found


def page_of(command):
    return find(command).default_command.__doc__


def examples():
    for page in PAGES:
        for example in re.findall(r"Example: layerwise (.*)", page_of(page)):
            yield pytest.param(page, example, id=example)


def write_idx(path, array):
    kind = {3: 0x803, 1: 0x801}[array.ndim]
    path.write_bytes(gzip.compress(struct.pack(f">{1 + array.ndim}I", kind, *array.shape) + array.tobytes()))


@pytest.fixture(scope="module")
def desk(tmp_path_factory, digits):
    """A folder with the files that the examples name, and runs like those that the first of them leave."""
    desk = tmp_path_factory.mktemp("desk")
    for part, rows in (("train", slice(0, 150)), ("t10k", slice(150, 200))):
        write_idx(desk / f"{part}-images.gz", digits.X_train[rows].reshape(-1, 28, 28))
        write_idx(desk / f"{part}-labels.gz", digits.y_train[rows])
    iris = load_iris(as_frame=True)
    table = pl.from_pandas(iris.data).with_columns(pl.Series("species", iris.target_names[iris.target]))
    table.write_csv(desk / "table.csv")
    shuffled = table.sample(fraction=1, shuffle=True, seed=0)
    shuffled[:100].write_csv(desk / "train.csv")
    shuffled[100:].write_csv(desk / "test.csv")
    wine = pl.from_pandas(load_wine(as_frame=True).data)
    gap = pl.when(pl.int_range(pl.len()) % 9 == 0).then(None).otherwise(pl.col("ash")).alias("ash")
    wine.with_columns(gap, pl.format("m{}", pl.int_range(pl.len())).alias("name")).write_csv(desk / "machines.csv")
    np.save(desk / "strokes.npy", np.random.default_rng(0).random((4, 6)))
    fast = "--layers 8 6 --max-iter 3 --no-report --random-state 0"
    for words in (
        f"fit train-images.gz --labels train-labels.gz {fast} --out runs/digits",
        f"fit train-images.gz {fast} --out runs/strokes",
        f"fit table.csv --labels species {fast} --out runs/species",
        f"fit machines.csv --id name --model outliers --impute {fast} --out runs/machines",
    ):
        command = [sys.executable, "-m", "layerwise", *words.split()]
        subprocess.run(command, check=True, capture_output=True, cwd=desk)
    return desk


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_an_example_and_says_every_flag(run, page):
    code, out, _ = run(*page.split(), "--help")
    assert code == 0
    assert f"Example: layerwise {page}" in " ".join(out.split())
    for argument in find(page).assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help or argument.parameter.parse is False or argument.children, argument.name


@pytest.mark.parametrize(("page", "example"), list(examples()))
def test_examples_run(run, desk, monkeypatch, page, example):
    if page.startswith("reproduce"):
        command, bound, _ = app.parse_args(shlex.split(example), exit_on_error=False, print_error=False)
        assert command.__module__ == experiments.__name__  # they train for minutes on data that is not here
        assert bound.arguments
        return
    monkeypatch.chdir(desk)
    words = shlex.split(example)
    if "--out" in words or words[0] in ("init", "compare", "export"):
        words.append("--overwrite")
    if words[0] == "compare":
        words += ["--seeds", "1", "--finetune", "head"]  # five runs of each take a minute
    if words[0] == "demo":
        pytest.skip("test_cli.py runs the demo, among the slow tests")
    code, _, err = run(*words)
    assert code == 0, err


def test_the_list_needs_no_torch():
    """`layerwise --help` is not to wait for torch, matplotlib or scikit-learn, which take seconds to import."""
    code = (
        "import sys; sys.argv = ['layerwise', '--help']\n"
        "from layerwise.cli import main\n"
        "main()\n"
        "print(sorted({'torch', 'sklearn', 'matplotlib', 'numpy', 'scipy', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert name in done.stdout


def test_completion(tmp_path, monkeypatch):
    script = app.generate_completion(shell="bash")
    assert "check-gradient" in script
    assert "--sparsity-target" in script


def test_json_is_one_object(run, desk, monkeypatch):
    monkeypatch.chdir(desk)
    for words in (
        "inspect runs/digits",
        "evaluate runs/digits t10k-images.gz --labels t10k-labels.gz",
        "predict runs/species table.csv --probabilities",
        "score runs/machines machines.csv",
        "check-gradient runs/digits t10k-images.gz --labels t10k-labels.gz --n-rows 10",
        "init table.csv --out made.toml --overwrite",
        "fit table.csv --labels species --layers 3 --max-iter 2 --out runs/made --overwrite",
    ):
        code, out, err = run("--json", *words.split())
        assert code == 0, err
        assert isinstance(json.loads(out, parse_constant=pytest.fail), dict)
    code, out, err = run("predict", "runs/none", "table.csv", "--json")
    assert code == 2
    assert json.loads(out)["error"] in err


def test_quiet_says_the_answer_alone(run, desk, monkeypatch):
    monkeypatch.chdir(desk)
    code, out, err = run("fit", "table.csv", "--layers", 3, "--max-iter", 2, "--out", "runs/quiet", "--quiet")
    assert (code, err) == (0, "")
    assert out.startswith("Held out: explained variance ")
    assert "\nIn runs/quiet: " in out
