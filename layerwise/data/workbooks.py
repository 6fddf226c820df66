"""Workbooks (``.xlsx``, ``.xls``, ``.ods``): a sheet is a table, read by another process, which bad files may harm."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from layerwise.data import _workbook_reader
from layerwise.data._polars import import_polars, pl
from layerwise.data.archives import check_directory
from layerwise.data.parts import Part
from layerwise.data.reading_process import run_reader
from layerwise.data.sheets import Cells, Found
from layerwise.errors import FileError
from layerwise.limits import EXPANSION, VARIABLE, check_room, max_bytes, max_expanded
from layerwise.section import Section

WORKBOOK_ENDINGS = (".xlsx", ".xlsm", ".xls", ".ods")
EXTRA = "pip install 'layerwise[workbooks]'"
# The seconds that reading may take, and the bytes a second beyond them.
_SECONDS, _SPEED = 30, 2**20
# How a file of an old format of Microsoft's begins, and where an encrypted one of a new format names what it holds.
_OLE, _ENCRYPTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "EncryptedPackage".encode("utf-16-le")
# The longest reason why a file cannot be read.
_MAX_REASON = 2**12


def open_workbook(path: Path, section: Section) -> Part:
    """Read a sheet of a workbook: its names of columns, and the rows, which stay in memory."""
    with tempfile.TemporaryDirectory() as folder:
        found = _read(path, _link(path, Path(folder)), Path(folder), section.sheet)
        sheet: Found = Cells(path, found, _take(path, Path(folder))).as_table()
    notes, several = list(sheet.notes), len(found["sheets"]) > 1
    if several and section.sheet is None:
        listed = ", ".join(repr(name[:63]) for name in found["sheets"][:20])
        notes.insert(0, f"sheet {found['sheet']!r:.65} is read, of {listed}; --sheet (sheet=) names another")
    table = sheet.frame.lazy()
    return Part(
        path,
        sheet.frame.columns,
        lambda keep: table,
        takes=("sheet",),
        sheet=found["sheet"] if several else None,
        notes=tuple(notes),
        misfits=sheet.misfits,
        loose=True,
    )


def has_sheet(path: Path, name: str) -> bool:
    """Whether a workbook has a sheet of this name."""
    with tempfile.TemporaryDirectory() as folder:
        return name in _read(path, _link(path, Path(folder)), Path(folder), None, lists=True)["sheets"]


def is_workbook(path: Path) -> bool:
    """Whether a file is one, by how its name ends."""
    return path.suffix.lower() in WORKBOOK_ENDINGS


def _link(path: Path, folder: Path) -> Path:
    """Return a place of a file whose name ends as its content asks for; refuse what is no workbook."""
    import_polars()
    if find_spec("fastexcel") is None:
        raise ImportError(f"{path} is a workbook, which needs fastexcel to be read: {EXTRA}")
    ending = _find_ending(path)
    if path.suffix.lower() == ending:
        return path.absolute()
    place = folder / f"book{ending}"
    os.symlink(path.absolute(), place)
    return place


def _find_ending(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(2**16)
    if not start:
        raise FileError(f"{path} is empty")
    if start.startswith(_OLE):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2**20))
            if _ENCRYPTED in start or _ENCRYPTED in file.read():
                raise FileError(f"{path} is encrypted; save it without a password")
        return ".xls"
    if start.startswith(b"PK"):
        return _find_zipped(path)
    if start[:4] in (b"\x09\x08\x10\x00", b"\x09\x08\x08\x00", b"\x09\x04\x06\x00", b"\x09\x00\x04\x00"):
        raise FileError(f"{path} is a workbook of Excel 95 or before; save it as .xlsx")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<"):
        raise FileError(f"{path} is no workbook but HTML or XML; open it in a spreadsheet program and save it as .xlsx")
    if b"\0" not in start:
        raise FileError(f"{path} is no workbook but text; if it is CSV, let its name end in .csv")
    raise FileError(f"{path} is no workbook, or is damaged")


def _find_zipped(path: Path) -> str:
    """Return the ending of a workbook that is a ZIP file; refuse one that is damaged, or would expand to too much."""
    check_directory(path, "parts")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            manifest = "META-INF/manifest.xml"
            length = archive.getinfo(manifest).file_size if manifest in names else 0
            coded = 0 < length < 2**20 and b"encryption-data" in archive.read(manifest)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise FileError(f"{path} is damaged: it begins as a workbook, but is not whole ({str(error)[:200]})") from error
    if coded:
        raise FileError(f"{path} is encrypted; save it without a password")
    size, n_bytes = path.stat().st_size, sum(entry.file_size for entry in entries)
    check_room(f"{path} is a workbook that", n_bytes)
    if n_bytes > max_expanded(size, max_bytes()):
        raise FileError(
            f"{path} is a workbook that expands to {n_bytes} bytes, more than {EXPANSION} times the {size} bytes that "
            f"it has; raise {VARIABLE} in the environment if you trust the file"
        )
    if "xl/workbook.bin" in names:
        raise FileError(f"{path} is a binary workbook (.xlsb); save it as .xlsx")
    if "content.xml" in names:
        return ".ods"
    if not any(name.startswith("xl/") for name in names):
        raise FileError(f"{path} is a ZIP file, but holds no workbook")
    return ".xlsm" if path.suffix.lower() == ".xlsm" else ".xlsx"


def _read(path: Path, place: Path, folder: Path, sheet: str | None, *, lists: bool = False) -> dict[str, Any]:
    """Let another process read a sheet to the folder; return what it says of it, or only the names of the sheets."""
    size = path.stat().st_size
    words = [place, folder, max_expanded(size, max_bytes()), json.dumps(sheet), *(["lists"] if lists else [])]
    status, said = run_reader(path, _workbook_reader.__file__, words, seconds=_SECONDS + size / _SPEED)
    if status == _workbook_reader.NO_FASTEXCEL:
        raise ImportError(f"{path} is a workbook, which needs fastexcel to be read: {EXTRA}")
    if status == 1:
        reason = said[-_MAX_REASON:].decode(errors="replace").strip()
        raise FileError(f"{path} {reason.splitlines()[-1] if reason else 'cannot be read'}")
    if status:
        raise FileError(
            f"{path} is damaged, or takes more memory than workbooks of its size do: the process that read it broke "
            f"down; save it as Parquet or CSV, or raise LAYERWISE_MAX_BYTES in the environment, if you trust it"
        )
    try:
        return json.loads((folder / "sheet.json").read_bytes())
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be trusted: the process that read it did not say what is in it") from error


def _take(path: Path, folder: Path) -> dict[str, pl.DataFrame]:
    """Return the tables that the other process has written."""
    found = {}
    for name in ("typed", "text", "kinds", "dates"):
        place = folder / f"{name}.arrow"
        if place.is_file():
            try:
                with place.open("rb") as file:
                    found[name] = pl.read_ipc(file)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise FileError(f"{path} cannot be trusted: the process that read it gave no table") from error
    return found
