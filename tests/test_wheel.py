"""The packages that `make dist` builds: what is in them, and how much."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "layerwise"

pytestmark = pytest.mark.slow


def build(source, out, *flags):
    subprocess.run([sys.executable, "-m", "build", *flags, "--outdir", out, source], check=True, capture_output=True)
    return next(out.glob("*.tar.gz" if "--sdist" in flags else "*.whl"))


def read(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "--wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "--sdist")


def test_wheel_is_the_package_and_nothing_else(wheel):
    assert wheel.stat().st_size < 3e6
    contents = read(wheel)
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    ours = {name for name in contents if not name.split("/")[0].endswith(".dist-info")}
    assert ours == {path.relative_to(ROOT).as_posix() for path in files}
    assert {
        "layerwise/py.typed",
        "layerwise/recipes/run.toml.j2",
        "layerwise/report/templates/report.html.j2",
        "layerwise/data/mnist_small/train-images-idx3-ubyte.gz",
    } <= ours
    for name, content in contents.items():
        assert str(ROOT.resolve()).encode() not in content, f"{name} names this machine"


def test_wheel_brings_its_licences(wheel):
    licences = [name.split("/licenses/")[1] for name in read(wheel) if "/licenses/" in name]
    assert sorted(licences) == ["LICENSE", "layerwise/data/mnist_small/README.md"]


def test_wheel_of_the_sdist_is_the_same(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "tests", "docs"} <= {
        path.name for path in source.iterdir()
    }
    assert read(build(source, tmp_path / "built", "--wheel")) == read(wheel)
