"""Data is never code: an audit hook of Python watches while files and models are loaded and commands run.

Every word of the data holds a marker. Refused are: unpickling, a connection or a name looked up in the network, another
program than the one that reads MAT files, source or code that holds the marker, and code that was made outside of the
installed libraries: importing a module executes code of its file, and namedtuple, dataclasses and jinja2 execute code
that they write themselves, from templates which are part of the libraries.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from safetensors.numpy import save_file
from scipy.io import savemat
from test_inputs import write_mat73

_HOOK = """
    import json, os, sys, sysconfig

    roots = [os.path.realpath(p) + os.sep for p in {*sysconfig.get_paths().values(), sys.argv[1]}]
    found, watching = [], False
    marker = "zq7"

    def installed(name):
        return name.startswith("<frozen ") or os.path.realpath(name).startswith(tuple(roots))

    def holds_marker(code):
        parts = [*code.co_names, *code.co_varnames, *code.co_consts]
        return any(holds_marker(p) if hasattr(p, "co_code") else marker in repr(p) for p in parts)

    def judge(event, args):
        if event in ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"):
            return True
        if event.startswith("socket.") and event != "socket.__new__":
            return True
        if event == "subprocess.Popen":
            return not (args[1][0] == sys.executable and args[1][2].endswith("_mat_reader.py"))
        if event == "compile":
            source = args[0] if isinstance(args[0], (str, bytes)) else b""
            return marker in (source if isinstance(source, str) else source.decode("latin1"))
        if event == "exec":
            return holds_marker(args[0]) or not (installed(args[0].co_filename) or installed(caller()))
        return False

    def caller():
        return sys._getframe(3).f_code.co_filename  # beyond caller, judge and hook

    def hook(event, args):
        global watching
        if watching:
            watching = False  # what the hook itself does
            try:
                if judge(event, args):
                    found.append(f"{event} {args!r:.200}")
            finally:
                watching = True

    sys.addaudithook(hook)
    watching = True
"""
_WORK = """
    import contextlib, io, warnings
    from pathlib import Path

    folder = Path(sys.argv[2])
    warnings.simplefilter("ignore")
    from layerwise.data import load_image_folder, load_labels, load_mat, load_rows, read_input
    for path in sorted(folder.glob("rows*")):
        read_input(path)
    load_labels(folder / "labels.csv")
    from layerwise.recipes import read_toml
    read_toml(folder / "run.toml")

    import layerwise
    from layerwise import cli
    out = folder / "run-zq7"

    def command(*words):
        sys.argv = ["layerwise", *map(str, words)]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            try:
                cli.main()
            except SystemExit as exit:
                assert not exit.code, errors.getvalue()

    table = folder / "rows-zq7.csv"
    layers = ("--layers", "3", "--max-iter", "2")
    command("fit", table, "--labels", "label-zq7", "--id", "name-zq7", *layers, "--out", out)
    command("predict", out, table, "--out", folder / "p.csv")
    command("encode", out, table, "--out", folder / "c.npy")
    command("inspect", out)
    command("report", out)
    model = layerwise.load(out)
    import polars as pl
    frame = pl.read_csv(table)
    model.predict(frame), model.transform(frame)
"""
_REPORT = """
    watching = False
    print(json.dumps(found))
"""


def watch(tmp_path, work):
    """Run a program under the hook; return the events that must not be."""
    program = "".join(map(textwrap.dedent, (_HOOK, work, _REPORT)))
    package = Path(__file__).parents[1] / "layerwise"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, str(package), str(tmp_path)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture
def folder(tmp_path):
    X = np.random.default_rng(0).random((12, 3))
    table = pl.DataFrame(X, schema=["a-zq7", "__import__('os').system('zq7')", "{{ zq7() }}"]).with_columns(
        pl.Series("name-zq7", [f"zq7{k}" for k in range(12)]), pl.Series("label-zq7", ["exec('zq7')", "<zq7>"] * 6)
    )
    table.write_csv(tmp_path / "rows-zq7.csv")
    with (tmp_path / "rows.parquet").open("wb") as file:
        table.drop("name-zq7").write_parquet(file)
    with (tmp_path / "rows.feather").open("wb") as file:
        table.drop("name-zq7").write_ipc(file)
    (tmp_path / "rows-zq7.csv").rename(tmp_path / "all.csv")
    table.drop("name-zq7").write_csv(tmp_path / "rows.csv")
    (tmp_path / "all.csv").rename(tmp_path / "zq7.csv")
    pl.DataFrame({"y-zq7": ["zq7", "b"]}).write_csv(tmp_path / "labels.csv")
    np.save(tmp_path / "rows.npy", X)
    np.savez(tmp_path / "rows.npz", X=X)
    savemat(tmp_path / "rows.mat", {"zq7": X})
    write_mat73(tmp_path / "rows73.mat", {"zq7": X})
    save_file({"zq7": X}, tmp_path / "rows.safetensors")
    (tmp_path / "rows.idx").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(6)]))
    (tmp_path / "rows_images").mkdir()
    Image.new("L", (3, 2)).save(tmp_path / "rows_images" / "zq7.png")
    (tmp_path / "run.toml").write_text('labels = "zq7"\n[[layers]]\nn_hidden = 3\n')
    return tmp_path


def test_no_data_is_run(folder):
    work = _WORK.replace("rows-zq7.csv", "zq7.csv")
    assert watch(folder, work) == []


@pytest.mark.parametrize(
    ("work", "event"),
    [
        ("import pickle; pickle.loads(pickle.dumps(json.JSONDecoder))", "pickle.find_class"),
        ("eval('len(\"zq7\")')", "compile"),
        ("exec(compile('zq' + '7 = 1', '<data>', 'exec'))", "exec"),
        ("exec('x = 1')", "exec"),
        ("os.system('true')", "os.system"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import socket; socket.socket().bind(('127.0.0.1', 0))", "socket.bind"),
    ],
)
def test_the_hook_sees_what_must_not_be(tmp_path, work, event):
    assert any(found.startswith(event) for found in watch(tmp_path, work))
