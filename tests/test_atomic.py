"""What takes the place of what: links, folders of others, two at once, a kill in between, odd names."""

import errno
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

import layerwise
from layerwise import atomic as room
from layerwise.atomic import LOCK, atomic, discard, is_written, publish
from layerwise.cli.unfinished import finish_publication
from layerwise.data.outputs import write_columns
from layerwise.locks import locked

X = np.random.default_rng(0).random((40, 5))


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchange(request, monkeypatch):
    """Whether the system lets two folders change places."""
    if not request.param:
        monkeypatch.setattr(room, "_rename2", lambda *words: False)
    return request.param


@pytest.fixture(scope="module")
def models():
    return [layerwise.Autoencoder(n, solver=layerwise.LBFGS(1), random_state=0).fit(X) for n in (2, 3)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def width(folder):
    return layerwise.load(folder).transform(X).shape[1]


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": '{"model_type": "bert"}', "weights.bin": "of somebody else"},
        {"config.json": "{"},
        {"run.json": '["layerwise_version"]'},
        {"comparison.json": '{"rows": []}'},
        {"metrics.jsonl": '{"loss": 0.1}'},
        {"run.toml": 'data = "table.csv"', "table.csv": "a\n1\n"},  # what `layerwise init` leaves among the data
    ],
)
def test_a_folder_of_somebody_else_is_never_replaced(files, models, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(FileExistsError, match=r"is not a run of layerwise .* not overwritten; choose another"):
        layerwise.save(models[0], folder, overwrite=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    assert names(tmp_path) == ["folder"]


def test_a_folder_that_layerwise_wrote_is_replaced(models, tmp_path, exchange):
    folder = tmp_path / "model"
    folder.mkdir()
    layerwise.save(models[0], folder, overwrite=True)  # it was empty
    (folder / "run.json").write_text("{}")
    layerwise.save(models[1], folder, overwrite=True)
    assert width(folder) == 3
    assert names(folder) == ["config.json", "model.safetensors"]
    assert names(tmp_path) == ["model"]


def test_a_file_replaces_no_folder_nor_a_folder_a_file(models, tmp_path):
    layerwise.save(models[0], tmp_path / "codes.csv")
    (tmp_path / "model").write_text("a file")
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(FileExistsError, match="is a folder, but what is written is a file"):
        write_columns(tmp_path / "codes.csv", {"code": X})
    with pytest.raises(FileExistsError, match="is a file, but what is written is a folder"):
        layerwise.save(models[0], tmp_path / "model", overwrite=True)
    with pytest.raises(FileExistsError, match="is neither a file nor a folder"):
        write_columns(tmp_path / "pipe.npy", {"code": X})
    assert width(tmp_path / "codes.csv") == 2
    assert (tmp_path / "model").read_text() == "a file"


def test_a_link_is_written_through(models, tmp_path, exchange):
    store = tmp_path / "store"
    store.mkdir()
    for name in ("object", "codes.npy", "model"):
        (tmp_path / name).symlink_to(Path("store") / f"{name}-1")
    with atomic(tmp_path / "object") as staging:  # the target is not there yet
        staging.write_text("new")
    layerwise.save(models[0], tmp_path / "model")
    layerwise.save(models[1], tmp_path / "model", overwrite=True)
    (store / "codes.npy-1").write_text("old")
    (store / "codes.npy-1").chmod(0o600)
    write_columns(tmp_path / "codes.npy", {"code": X})  # what is written is said by the name of the link
    assert all(path.is_symlink() for path in tmp_path.iterdir() if path != store)
    assert (store / "object-1").read_text() == "new"
    assert width(store / "model-1") == 3
    assert np.array_equal(np.load(store / "codes.npy-1"), X)
    assert (store / "codes.npy-1").stat().st_mode & 0o777 == 0o600
    assert names(store) == ["codes.npy-1", "model-1", "object-1"]
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="symbolic links") as caught:
        layerwise.save(models[0], tmp_path / "loop", overwrite=True)
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("links", [True, False])
def test_of_two_at_once_the_second_is_refused(folder, links, exchange, monkeypatch, tmp_path):
    """Both have found nothing in their place before they began."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    place = tmp_path / "codes"

    def write(text, *, other=None):
        with atomic(place, folder=folder) as staging:
            if other is not None:
                write(other)
            (staging / "name" if folder else staging).write_text(text)

    with pytest.raises(FileExistsError, match="codes exists; choose another place"):
        write("one", other="two")
    assert (place / "name" if folder else place).read_text() == "two"
    assert names(tmp_path) == ["codes"]


def test_many_who_save_at_once_and_one_who_loads(models, tmp_path, exchange, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    folder, failures, widths = tmp_path / "model", [], set()
    layerwise.save(models[0], folder)

    def save(model):
        try:
            for _ in range(8):
                layerwise.save(model, folder, overwrite=True)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=[models[place % 2]]) for place in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        try:
            widths.add(width(folder))
        except FileNotFoundError:
            assert not exchange  # with two renames there is an instant without a model
    assert failures == []
    assert widths <= {2, 3}
    assert width(folder) in (2, 3)
    assert names(tmp_path) == ["model"]


def test_a_model_is_never_made_of_two(models, tmp_path, monkeypatch):
    """The folder is replaced after its first file was read: the hash cannot tell if both were read before."""
    folder, read = tmp_path / "model", layerwise.persistence._read_tensors
    layerwise.save(models[0], folder)

    def read_late(*words):
        monkeypatch.setattr("layerwise.persistence._read_tensors", read)
        tensors = read(*words)
        layerwise.save(models[1], folder, overwrite=True)
        return tensors

    monkeypatch.setattr("layerwise.persistence._read_tensors", read_late)
    assert width(folder) == 3


def make_run(folder, text):
    folder.mkdir()
    (folder / "run.json").write_text('{"layerwise_version": "1"}')
    (folder / "run.toml").write_text(text)


@pytest.mark.parametrize("killed", ["before", "after", "amid"])
def test_a_kill_when_a_run_is_replaced_loses_nothing(killed, tmp_path, monkeypatch):
    """Whenever it comes, the old run or the new one is whole in its place, and the rest is tidied up."""
    place, partial = tmp_path / "run", tmp_path / "run.partial"
    make_run(place, "old")
    with locked(partial):
        (partial / "checkpoint").mkdir()
    for name, text in {"run.json": '{"layerwise_version": "1"}', "run.toml": "new"}.items():
        (partial / name).write_text(text)
    name = {"before": "_move", "after": "sync", "amid": "discard"}[killed]
    whole, seen = getattr(room, name), []

    def die(*words):
        if name == "sync" and words[0] != tmp_path:
            return whole(*words)
        seen.append(words)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room, name, die)
        with pytest.raises(KeyboardInterrupt):
            publish(partial, place, overwrite=True)
    assert seen
    assert (place / "run.toml").read_text() == ("old" if killed == "before" else "new")
    assert (partial / "run.toml").read_text() == ("new" if killed == "before" else "old")
    assert (partial / LOCK).exists() == (killed == "before")
    with locked(place):  # the one who publishes still lives
        if killed != "before":
            with pytest.raises(ValueError, match="is in use by another process"):
                finish_publication(place)
    (place / LOCK).unlink() if killed == "before" else None
    finish_publication(place)
    assert names(tmp_path) == (["run", "run.partial"] if killed == "before" else ["run"])
    assert names(place) == ["run.json", "run.toml"]


def test_what_is_beside_a_run_is_not_tidied_up_unless_it_was_replaced(tmp_path):
    place, other = tmp_path / "run", tmp_path / "run.partial"
    make_run(place, "whole")
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    (place / LOCK).touch()
    finish_publication(place)
    assert names(other) == ["thesis.txt"]
    make_run(tmp_path / "older.partial", "whole")
    make_run(tmp_path / "older", "whole")
    finish_publication(tmp_path / "older")
    assert is_written(tmp_path / "older.partial")
    discard(tmp_path / "older.partial")
    assert names(tmp_path) == ["older", "run", "run.partial"]


def test_a_lock_that_was_removed_keeps_nobody_out(tmp_path, monkeypatch):
    """Between opening the file and locking it, its owner has finished and removed it."""
    import fcntl

    flock, removed = fcntl.flock, []

    def late(descriptor, how):
        if not removed:
            removed.append((tmp_path / "run" / LOCK).unlink())
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(tmp_path / "run"):
        assert removed
        with pytest.raises(ValueError, match="is in use by another process"), locked(tmp_path / "run"):
            pass


@pytest.mark.parametrize("name", ["n" * 240, "two\nlines", "b\udcff", "-", "ü ß"])
def test_odd_names(name, models, tmp_path):
    layerwise.save(models[0], tmp_path / name)
    layerwise.save(models[1], tmp_path / name, overwrite=True)
    assert width(tmp_path / name) == 3
    for ending in ("csv", "parquet", "safetensors", "npz"):
        write_columns(tmp_path / f"{name}.{ending}", {"code": X})
        assert (tmp_path / f"{name}.{ending}").stat().st_size > 500
    assert len(names(tmp_path)) == 5


def test_places_where_nothing_can_be(models, tmp_path):
    (tmp_path / "file").write_text("x")
    for place, error, message in (
        (tmp_path / "file" / "model", NotADirectoryError, "file is a file, not a folder"),
        (tmp_path / ("n" * 300), OSError, "too long"),
        (Path("/proc/model"), OSError, "'?/proc"),
    ):
        with pytest.raises(error, match=message):
            layerwise.save(models[0], place, overwrite=True)
        with pytest.raises(error, match=message):
            write_columns(f"{place}.csv", {"code": X})
    assert names(tmp_path) == ["file"]


def test_file_systems(models, tmp_path):
    """Read-only; a mount point; a link into another one, where the old model is replaced beside itself."""
    other = tmp_path / "other"
    other.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", other], capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        with pytest.raises(FileExistsError, match="is a mount point, which nothing can take the place of"):
            layerwise.save(models[0], other, overwrite=True)
        (tmp_path / "link").symlink_to(other / "model")
        for model in models:
            layerwise.save(model, tmp_path / "link", overwrite=True)
        assert width(other / "model") == 3
        make_run(tmp_path / "run", "new")
        make_run(other / "run", "old")
        publish(tmp_path / "run", other / "run", overwrite=True)
        assert (other / "run" / "run.toml").read_text() == "new"
        assert names(other) == ["model", "run"]
        assert names(tmp_path) == ["link", "other"]
        subprocess.run(["mount", "-o", "remount,ro", "none", other], check=True)
        with pytest.raises(OSError, match="Read-only") as caught:
            write_columns(other / "codes.csv", {"code": X})
        assert caught.value.filename == str(other / "codes.csv")
        with pytest.raises(OSError, match="Read-only"):
            layerwise.save(models[0], tmp_path / "link", overwrite=True)
        assert width(other / "model") == 3
    finally:
        subprocess.run(["umount", "-l", other], check=True)
