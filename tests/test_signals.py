"""Ctrl-C and SIGTERM end every command with exit code 130 or 143 and one line, wherever they meet it."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from layerwise.interruption import ending_by_signals

ENDS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
COMMANDS = {
    "encode": ("encode", "MODEL", "ROWS"),
    "predict": ("predict", "MODEL", "ROWS"),
    "evaluate": ("evaluate", "MODEL", "ROWS", "--labels", "LABELS"),
    "report": ("report", "MODEL", "ROWS", "--out", "report.html"),
    "export": ("export", "MODEL", "--numpy", "model.py"),
    "inspect": ("inspect", "MODEL"),
    "compare": ("compare", "ROWS", "LABELS", "--layers", 4, "--budgets", 20, "--seeds", 1, "--out", "compared"),
    "fit": ("fit", "ROWS", "--layers", 4, "--out", "run", "--no-report"),
    "init": ("init", "ROWS"),
}


@pytest.fixture(autouse=True)
def foreground():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained model, and rows for it."""
    folder = tmp_path_factory.mktemp("signals")
    rng = np.random.default_rng(0)
    X = rng.random((60, 5))
    np.save(folder / "ROWS.npy", X)
    np.save(folder / "LABELS.npy", (X[:, 0] > X[:, 1]).astype(int))
    words = ("fit", "ROWS.npy", "--labels", "LABELS.npy", "--layers", "4", "--max-iter", "5", "--out", "MODEL")
    subprocess.run([sys.executable, "-m", "layerwise", *words, "--no-report"], cwd=folder, check=True)
    return folder


def words_of(command):
    names = {"ROWS": "ROWS.npy", "LABELS": "LABELS.npy"}
    return [names.get(word, word) for word in COMMANDS[command]]


@pytest.mark.parametrize(("number", "kind"), ENDS)
def test_one_that_is_lost_comes_again(number, kind, capsys):
    """Python ignores what is raised in a destructor."""

    class Loses:
        def __del__(self):
            signal.raise_signal(number)

    before = sys.unraisablehook, signal.getsignal(number)

    def lose():
        lost = Loses()
        del lost
        time.sleep(5)
        raise AssertionError("it did not come again")

    with pytest.raises(kind), ending_by_signals():
        lose()
    assert "ignored" not in capsys.readouterr().err
    assert (sys.unraisablehook, signal.getsignal(number)) == before


@pytest.mark.parametrize(("number", "kind"), ENDS)
def test_no_error_takes_its_place(number, kind):
    """Libraries make another one of what ends their import, say."""

    def import_numbers():
        try:
            signal.raise_signal(number)
        except BaseException:
            error = ImportError("numbers failed to import")
            error.add_note("go on there")
            raise error from None

    with pytest.raises(kind) as ended, ending_by_signals():
        import_numbers()
    assert ended.value.__notes__ == ["go on there"]
    with pytest.raises(ImportError), ending_by_signals():
        raise ImportError("of another cause")


@pytest.mark.parametrize(("number", "kind"), ENDS)
def test_one_that_is_swallowed_is_told_at_the_end(number, kind):
    done = []

    def swallow():
        try:
            signal.raise_signal(number)
        except BaseException:
            done.append("all")

    with pytest.raises(kind) as ended, ending_by_signals():
        swallow()
    assert done == ["all"]
    assert ended.value.__notes__ == ["what was asked for is done"]


@pytest.mark.parametrize("becomes", [None, ValueError("invalid"), OSError("broken"), ImportError("failed")])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_by_them(command, becomes, run, folder, monkeypatch):
    number, code, word = random.Random(command + str(becomes)).choice(
        [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
    )

    def end(*arguments, **more):
        try:
            signal.raise_signal(number)
        except BaseException:
            raise becomes or sys.exception() from None

    monkeypatch.chdir(folder)
    monkeypatch.setattr("layerwise.persistence.load", end)
    monkeypatch.setattr("layerwise.load", end, raising=False)
    for home in ("comparing", "starting", "fitting", "opening"):
        monkeypatch.setattr(f"layerwise.cli.{home}.read", end)
    before = sorted(path.name for path in folder.iterdir())
    found, out, err = run(*words_of(command))
    assert found == code
    assert out == ""
    assert err.splitlines()[-1].startswith(f"layerwise: {word}")
    assert err.endswith("; nothing was written\n")
    assert "Traceback" not in err
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("command", ["compare", "report", "predict"])
def test_at_random_moments(command, folder):
    rng = random.Random(command)
    program = [sys.executable, "-m", "layerwise", *map(str, words_of(command)), "--overwrite"]
    began = time.perf_counter()
    subprocess.run(program, cwd=folder, check=True, capture_output=True)
    took = time.perf_counter() - began
    for _ in range(5):
        number = rng.choice([signal.SIGINT, signal.SIGTERM])
        process = subprocess.Popen(program, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        time.sleep(rng.uniform(0.3, 0.7) * took)
        process.send_signal(number)
        err = process.communicate()[1]
        assert process.returncode in (0, 128 + number, -number), err
        assert "Traceback" not in err
        assert "ignored" not in err


def test_while_the_command_line_is_imported():
    """Ctrl-C before there is anything that could take it is one line and exit code 130."""
    program = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'layerwise.cli':\n"
        "            raise KeyboardInterrupt\n"
        "import layerwise\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from layerwise.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "layerwise: interrupted\n")
