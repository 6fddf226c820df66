"""Small files that would take much memory or time: refused in 2 seconds and 64 MB, measured in processes of their own.

The limit is set to 64 MiB there (``LAYERWISE_MAX_BYTES``), and the memory allowed beside it is the whole allowance: a
bomb is refused before anything of its size is taken, so it must not even reach the limit.
"""

import gzip
import json
import os
import re
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib

import numpy as np
import polars as pl
import pytest
import seeds
from PIL import Image
from safetensors.numpy import save_file
from scipy.io import savemat

from layerwise.data import _mat_reader

LIMIT, SPARE, SECONDS = 2**26, 64e6, 2.0
# Loads good files, then the bombs; prints what each has cost beyond the good ones.
_MEASURE = """
    import json, os, sys, warnings
    import layerwise, seeds
    from pathlib import Path

    def peak():  # getrusage would count the memory that the parent had when it started this process
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10

    warnings.simplefilter("ignore")
    load = {"model": lambda path: layerwise.load(path, device="cpu")}.get(sys.argv[1]) or getattr(seeds, sys.argv[1])
    folder = Path(sys.argv[2])
    for good in sorted(folder.glob("good.*")):
        load(good)
    before, found = peak(), {}
    for bomb in sorted(folder.glob("bomb_*")):
        start, message = os.times(), None
        try:
            load(bomb)
        except layerwise.FileError as error:
            message = str(error)
        seconds = sum(os.times()[:4]) - sum(start[:4])
        found[bomb.name] = {"message": message, "bytes": peak() - before, "seconds": seconds}
    print(json.dumps(found))
"""


def measure(kind, folder):
    environment = {
        **os.environ,
        "LAYERWISE_MAX_BYTES": str(LIMIT),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", textwrap.dedent(_MEASURE), kind, str(folder)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


# What the process that reads a MAT file takes.
_MAT_READER = """
    import atexit, runpy, sys
    from pathlib import Path

    atexit.register(lambda: print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
    program = sys.argv.pop(1)  # the arguments are for it
    runpy.run_path(program, run_name="__main__")
"""


def zeros(n_bytes, *, wbits, head=b""):
    """Return compressed zeros: the same block of a megabyte again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (n_bytes >> 20) + packer.flush()


def idx_of_petabytes(path):
    path.write_bytes(bytes([0, 0, 0x0E, 3]) + struct.pack(">3I", 2**31, 2**20, 1) + bytes(1000))


def idx_without_values(path):
    path.write_bytes(bytes([0, 0, 8, 4]) + struct.pack(">4I", 0, *[2**32 - 1] * 3))


def idx_gz(path):
    path.write_bytes(zeros(2**30, wbits=31, head=bytes([0, 0, 8, 2]) + struct.pack(">2I", 2**15, 2**15)))


def npy_with_a_long_header(path):
    path.write_bytes(b"\x93NUMPY\2\0" + struct.pack("<I", 2**27) + b" " * 2**27)


def npz(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("X.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (2**14, 2**14)})
        for _ in range(2**8):
            file.write(bytes(2**20))


def npz_by_bzip2(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive, archive.open("X.npy", "w") as file:
        for _ in range(2**8):
            file.write(bytes(2**20))


def npz_of_many(path):
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(60_000):
            archive.writestr(f"{k}.npy", b"")


def mat(path):
    savemat(path, {"X": np.zeros((2**13, 2**12))}, do_compression=True)


def mat_that_lies(path):
    """Write a matrix of one value whose values claim to take 2 GB."""
    savemat(path, {"X": np.zeros((1, 1))})
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<II", 9, 8))  # doubles, 8 bytes of them
    content[place + 4 : place + 8] = struct.pack("<I", 2**31 - 8)
    path.write_bytes(content)


# Below the limit, but of bytes that expand 1,000 times


def idx_gz_of_zeros(path):
    path.write_bytes(zeros(2**25, wbits=31, head=bytes([0, 0, 8, 2]) + struct.pack(">2I", 2**10, 2**15)))


def npz_of_zeros(path):
    np.savez_compressed(path, X=np.zeros((2**10, 2**12)))


def mat_of_zeros(path):
    savemat(path, {"X": np.zeros((2**10, 2**12))}, do_compression=True)


def mat_of_zeros_in_cells(path):
    cells = np.empty((4, 1), object)
    cells[:, 0] = [np.zeros((2**10, 2**10))] * 4
    savemat(path, {"X": {"a": cells}}, do_compression=True)


def png_of_zeros(path):
    path.mkdir()
    Image.new("RGB", (4000, 4000)).save(path / "x.png")


def png_of_a_gigapixel(path):
    path.mkdir()
    Image.new("1", (40_000, 40_000)).save(path / "x.png")


def png_that_lies(path):
    path.mkdir()
    Image.new("L", (1, 1)).save(path / "x.png")
    content = bytearray((path / "x.png").read_bytes())
    content[16:24] = struct.pack(">2I", 9000, 9000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (path / "x.png").write_bytes(content)


def png_with_text(path):
    path.mkdir()
    Image.new("L", (1, 1)).save(path / "x.png")
    content = (path / "x.png").read_bytes()
    chunk = b"zTXtx\0\0" + zeros(2**28, wbits=15)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (path / "x.png").write_bytes(content[:33] + chunk + content[33:])


def csv_gz(path):
    with gzip.open(path, "wb", 9) as file:
        file.write(b"a,b\n")
        for _ in range(2**9):
            file.write(b"0,0\n" * 2**17)


def csv_of_a_million_columns(path):
    path.write_text(",".join(f"c{k}" for k in range(10**6)) + "\n" + ",".join(["1"] * 10**6) + "\n")


def txt_of_one_line(path):
    path.write_bytes(b"1 " * 2**25)


def txt_of_short_lines(path):
    path.write_bytes(b"1\n" * 2**24)


def csv_of_one_field(path):
    path.write_bytes(b'a,b\n1,"' + b"x" * 2**25)


def parquet(path):
    pl.DataFrame({"a": np.zeros(2**24)}).write_parquet(path)


def toml_nested(path):
    path.write_text("layers = " + "[" * 100_000)


def toml_of_dots(path):
    path.write_text("a" + ".a" * 60_000 + " = 1")


def toml_of_digits(path):
    path.write_text("random_state = " + "9" * 100_000)


def safetensors_with_a_long_header(path):
    path.write_bytes(struct.pack("<Q", 2**40) + bytes(1000))


def safetensors_of_many(path):
    save_file({f"{k}": np.zeros(1) for k in range(100_000)}, path)


def json_nested(path):
    _run(path, run='{"id": ' + "[" * 100_000)


def json_of_empty_lists(path):
    _run(path, run='{"id": [' + "[]," * 5_000_000 + "[]]}")


def json_of_digits(path):
    _run(path, run='{"seconds": ' + "9" * 100_000 + "}")


def metrics_of_one_line(path):
    _run(path, metrics='{"stage": "' + "x" * 2**25 + '"}')


def _run(path, run="{}", metrics=""):
    path.mkdir()
    (path / "run.json").write_text(run)
    (path / "metrics.jsonl").write_text(metrics)


def model_of_many_units(path):
    def change(config):
        config["estimator"]["params"]["n_hidden"] = 2**30
        config["estimator"]["fitted"]["n_features_in_"] = 2**30

    _model(path, change)


def model_of_long_labels(path):
    names = {"strings": ["x" * 10**6, *map(str, range(10**5))], "kind": "U"}
    _model(path, lambda config: config["estimator"]["fitted"].update(feature_names_in_=names))


def model_of_many_layers(path):
    def change(config):
        part = config["estimator"]["params"]["early_stopping"]
        config["estimator"]["params"]["solver"] = [part | {"path": f"estimator.solver.{k}"} for k in range(20_000)]

    _model(path, change)


def model_nested(path):
    _model(path, lambda config: None)
    text = (path / "config.json").read_text()
    (path / "config.json").write_text(text.replace('"fitted": {', '"fitted": {"x": ' + "[" * 100_000, 1))


def _model(path, change):
    path.mkdir()
    files = seeds.models()[0]
    config = json.loads(files["config.json"])
    change(config)
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(files["model.safetensors"])


BOMBS = [
    ("rows", "idx", idx_of_petabytes, "does not hold what its header says"),
    ("rows", "idx", idx_without_values, "no array can have the shape"),
    ("rows", "idx.gz", idx_gz, "more than LAYERWISE_MAX_BYTES"),
    ("rows", "npy", npy_with_a_long_header, "its header would take"),
    ("rows", "npz", npz, "more than LAYERWISE_MAX_BYTES"),
    ("rows", "npz", npz_by_bzip2, "compressed in a way that NumPy does not"),
    ("rows", "npz", npz_of_many, "holds more arrays than fit"),
    ("rows", "idx.gz", idx_gz_of_zeros, "more than 200 times"),
    ("rows", "npz", npz_of_zeros, "more than 200 times"),
    ("matlab_rows", "mat", mat_of_zeros, "more than max_bytes"),
    ("matlab_rows", "mat", mat_of_zeros_in_cells, "more than max_bytes|more memory"),
    ("image_folder", "images", png_of_zeros, "more than 200 times"),
    ("matlab_rows", "mat", mat, "more than max_bytes"),
    ("matlab_rows", "mat", mat_that_lies, "is damaged|takes more memory"),
    ("image_folder", "images", png_of_a_gigapixel, "so many pixels"),
    ("image_folder", "images", png_that_lies, "cannot hold the 9000 x 9000 pixels"),
    ("image_folder", "images", png_with_text, "cannot be read as a PNG"),
    ("table", "csv.gz", csv_gz, "LAYERWISE_MAX_BYTES|expands to more than"),
    ("table", "csv", csv_of_a_million_columns, r"names \d+ columns"),
    ("table", "csv", csv_of_one_field, "a row of more than 4194304 bytes"),
    ("table", "txt", txt_of_one_line, "a row of more than 4194304 bytes"),
    ("table", "txt", txt_of_short_lines, "more than LAYERWISE_MAX_BYTES=67108864 allows"),
    ("table", "parquet", parquet, "more than LAYERWISE_MAX_BYTES"),
    ("recipe", "toml", toml_nested, "nested too deeply"),
    ("recipe", "toml", toml_of_dots, "more than 4000 dots"),
    ("recipe", "toml", toml_of_digits, "is no TOML file"),
    ("rows", "safetensors", safetensors_with_a_long_header, "its header would take"),
    ("rows", "safetensors", safetensors_of_many, "its header would take"),
    ("run", "metrics", json_nested, "nested too deeply"),
    ("run", "metrics", json_of_empty_lists, "lists and objects"),
    ("run", "metrics", json_of_digits, "digits is too large"),
    ("run", "metrics", metrics_of_one_line, "metrics.jsonl is damaged"),
    ("model", "model", model_of_many_units, "is damaged"),
    ("model", "model", model_of_long_labels, "labels are longer"),
    ("model", "model", model_of_many_layers, "more than 1000 objects"),
    ("model", "model", model_nested, "nested too deeply"),
]
_GOOD = {"idx": "idx", "idx.gz": "idx_gz", "csv.gz": "csv_gz", "metrics": "metrics", "model": "models"}


@pytest.mark.parametrize("kind", sorted({bomb[0] for bomb in BOMBS}))
def test_bombs_are_refused(tmp_path, kind):
    bombs = [bomb for bomb in BOMBS if bomb[0] == kind]
    for ending in {ending for _, ending, _, _ in bombs}:
        write_good(tmp_path / f"good.{ending}", getattr(seeds, _GOOD.get(ending, ending))()[0])
    for _, ending, build, _ in bombs:
        build(tmp_path / f"bomb_{build.__name__}.{ending}")
    found = measure(kind, tmp_path)
    assert len(found) == len(bombs)
    for _, ending, build, message in bombs:
        name = f"bomb_{build.__name__}.{ending}"
        assert found[name]["message"] is not None, f"{name} was read"
        assert re.search(message, found[name]["message"])
        assert found[name]["bytes"] <= SPARE, name
        assert found[name]["seconds"] <= SECONDS, name


def write_good(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    path.mkdir()
    for name, part in content.items():
        (path / name).write_bytes(part)


@pytest.mark.parametrize("build", [mat, mat_that_lies])
def test_the_reader_of_mat_files_takes_no_room_for_a_bomb(tmp_path, build):
    (tmp_path / "good.mat").write_bytes(seeds.mat()[2])
    build(tmp_path / "bomb.mat")
    for name in ("good", "bomb"):
        arguments = [_mat_reader.__file__, tmp_path / f"{name}.mat", tmp_path / "x.npy", LIMIT, 3 * LIMIT]
        command = [sys.executable, "-c", textwrap.dedent(_MAT_READER), *map(str, arguments)]
        child = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (child.returncode == 0) == (name == "good"), child.stderr
        assert int(child.stdout) << 10 <= _mat_reader.READER_BYTES


def test_what_is_no_bomb_is_read_and_its_memory_is_seen(tmp_path):
    write_good(tmp_path / "good.idx.gz", seeds.idx_gz()[0])
    content = bytes([0, 0, 8, 2]) + struct.pack(">2I", 2**13, 2**13)
    content += np.random.default_rng(0).integers(0, 2, 2**26, dtype=np.uint8).tobytes()
    (tmp_path / "bomb_that_is_none.idx.gz").write_bytes(gzip.compress(content, 1))
    ((_, found),) = measure("rows", tmp_path).items()
    assert found["message"] is None
    assert found["bytes"] > 0.9 * 2**26
