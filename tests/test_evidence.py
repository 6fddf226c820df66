"""The page of evidence: what is run, what is kept, what is said of it."""

import gzip
import json
import re
import runpy
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from layerwise.reproduce import EXPERIMENTS

FOLDER = Path(__file__).parents[1] / "benchmarks" / "evidence"
sys.path.insert(0, str(FOLDER))
import collecting  # noqa: E402
import page  # noqa: E402
from cases import CASES, CONTROLS, Claim, Control  # noqa: E402

sys.path.remove(str(FOLDER))


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the script in this process; return exit code, standard output and standard error."""
    monkeypatch.syspath_prepend(FOLDER)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["evidence", *map(str, words)])
        code = 0
        try:
            runpy.run_path(str(FOLDER), run_name="__main__")
        except SystemExit as exit_:
            code = exit_.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def small_mnist(tmp_path_factory, digits):
    """A folder in the form of MNIST, with 300 images to train on and 60 to test."""
    folder = tmp_path_factory.mktemp("mnist")
    for part, X, y in (("train", digits.X_train[:300], digits.y_train[:300]), ("t10k", *(a[:60] for a in digits[2:]))):
        for kind, magic, array in (("images-idx3", 0x803, X.reshape(-1, 28, 28)), ("labels-idx1", 0x801, y)):
            content = struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return folder


def test_names_and_figures_are_known():
    assert len({entry.name for entry in (*CASES, *CONTROLS)}) == len(CASES) + len(CONTROLS)
    for case in CASES:
        published = EXPERIMENTS[case.words.split()[0]].PUBLISHED
        for claim in case.claims:
            assert np.isfinite(published[claim.source][claim.figure])
    assert {case.words.split()[0] for case in CASES} == set(EXPERIMENTS)


def test_what_is_kept_is_not_run_again(run, small_mnist, tmp_path, monkeypatch):
    control = Control("compare-wine", "Wine", "{tables}/wine.csv target --layers 5 --budgets 10 --seeds 2")
    monkeypatch.setattr(collecting, "CASES", [case for case in CASES if case.name == "softmax"])
    monkeypatch.setattr(collecting, "CONTROLS", [control])
    monkeypatch.setattr(page, "CONTROLS", [control])
    words = ["--data", small_mnist, "--seeds", 2, "--runs", tmp_path / "runs", "--out"]
    code, out, err = run(*words, tmp_path / "docs" / "evidence")
    assert code == 0, err
    assert out == f"Written: {tmp_path / 'docs' / 'evidence.md'}\n"
    assert len(re.findall("^layerwise ", err, re.MULTILINE)) == 3
    kept = json.loads((tmp_path / "docs" / "evidence" / "softmax.json").read_text())
    assert [figures["obtained"]["seed"] for figures in kept] == [0, 1]
    text = (tmp_path / "docs" / "evidence.md").read_text()
    mean = np.mean([figures["obtained"]["test accuracy (%)"] for figures in kept])
    assert f"| 92.6 % | UFLDL | {mean:.2f} % [" in text
    assert "layerwise reproduce softmax --seed S --data mnist" in text
    assert "Not run yet: ufldl-stacked, " in text
    assert "layerwise compare tables/wine.csv target --layers 5 --budgets 10 --seeds 2" in text
    for picture in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (tmp_path / "docs" / picture).stat().st_size > 5000

    code, _, err = run(*words, tmp_path / "docs" / "evidence")
    assert (code, err) == (0, "")
    (tmp_path / "docs" / "evidence" / "softmax.json").unlink()
    code, _, err = run(*words, tmp_path / "docs" / "evidence")
    assert (code, err) == (0, ""), "the folders of the runs are still there"
    assert json.loads((tmp_path / "docs" / "evidence" / "softmax.json").read_text()) == kept


def test_long_runs_are_made_once(tmp_path, monkeypatch):
    case = CASES[0]
    (tmp_path / f"{case.name}.json").write_text(
        json.dumps([{"obtained": {"seed": 0, "processor seconds": 1203}, "machine": {"threads": 2}}])
    )
    monkeypatch.setattr(collecting, "_layerwise", lambda words: pytest.fail("it is run again"))
    collecting._run_case(case, 1, tmp_path, tmp_path, tmp_path / "runs")


@pytest.mark.parametrize(
    ("figure", "published", "obtained", "verdict", "error"),
    [
        ("accuracy (%)", 97.6, [97.8, 97.6], "reached", (2.4, 2.3)),
        ("accuracy (%)", 97.6, [97.5, 97.5], "short by 0.10", (2.4, 2.5)),
        ("error (%)", 1.3, [1.3, 1.2], "reached", (1.3, 1.25)),
        ("error (%)", 1.3, [1.4, 1.4, 1.1, 1.42], "short by 0.03, within the interval", (1.3, 1.33)),
        ("error (%)", 1.3, [1.4], "short by 0.10", (1.3, 1.4)),
        ("error (squared)", 3.0, [3.5, 3.5], "short by 0.50", None),
    ],
)
def test_verdicts(figure, published, obtained, verdict, error):
    runs = [
        {"published": {"A": {figure: published}}, "obtained": {figure: value, "processor seconds": 5}}
        for value in obtained
    ]
    told = page._hold_against(CASES[0], Claim("what", figure, "A"), runs)
    assert told["verdict"] == verdict
    assert told["is_share"] == (error is not None)
    if error is not None:
        np.testing.assert_allclose([told["published_error"], told["error"][0]], error)
    assert told["error"][1] <= told["error"][0] <= told["error"][2]


def test_signs_tell_what_is_clear():
    accuracies = np.array([[0.7, 0.71, 0.7], [0.9, 0.91, 0.92], [0.5, 0.5, 0.51], [0.7, 0.9, 0.6]]).reshape(4, 1, 1, 3)
    facts = {"budgets": [10], "starts": ["none", *"abc"], "methods": ["all"], "accuracies": accuracies.tolist()}
    assert page._tabulate(facts)["rows"] == [["10", "all", "70.3", "**91.0 +**", "50.3 -", "73.3"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "softmaxx"], "only='softmaxx' is not known; choose of ufldl-stacked, "),
        (["--seeds", 0], "seeds=0 leaves nothing to run"),
    ],
)
def test_refusals(run, tmp_path, words, message):
    code, _, err = run("--data", tmp_path, "--out", tmp_path / "docs", *words)
    assert code == 2
    assert message in err
    assert not (tmp_path / "docs").exists()
