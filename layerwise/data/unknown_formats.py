"""What to do with files of formats that are not read, by how their names end."""

from __future__ import annotations

from pathlib import Path

_PICKLED = "what is pickled can run programs when it is opened, and is never read; save {} instead"
_PACKED = "unpack it, and name the file or the folder that was in it"
_DOCUMENT = "copy the table in it into a spreadsheet, and save that as CSV in UTF-8"
_IMAGE = "an image is one row of many: name the folder that it is in"
_ADVICE = {
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib", ".dill"),
        _PICKLED.format("arrays by numpy.savez, and data frames by their method to_parquet,"),
    ),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), _PICKLED.format("tensors by safetensors.torch.save_file")),
    **dict.fromkeys(
        (".rds", ".rdata", ".rda"), 'only R reads it safely; write Parquet there: arrow::write_parquet(x, "x.parquet")'
    ),
    **dict.fromkeys((".doc", ".docx", ".odt", ".rtf", ".pdf", ".ppt", ".pptx", ".html", ".htm", ".md"), _DOCUMENT),
    **dict.fromkeys((".xml", ".yaml", ".yml", ".toml"), "write its records as JSON lines (.jsonl), one object a line"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar"), _PACKED),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".svg"), _IMAGE),
    **dict.fromkeys((".orc", ".avro"), "save it as Parquet where it was made"),
    ".data": "if it is text, name it .csv, with the names of its columns in the first line",
    ".sas7bcat": "it holds the formats of a .sas7bdat file; name that file",
    **dict.fromkeys(
        (".sps", ".do", ".sas", ".r", ".py", ".m", ".ipynb"), "it is a program; name the data that it reads"
    ),
}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4")


def advise(path: Path) -> str | None:
    """Return how to get from a file of a format that is not read to one that is; None of endings that say nothing.

    Examples
    --------
    >>> advise(Path("ward.tar.gz"))
    'unpack it, and name the file or the folder that was in it'
    >>> advise(Path("ward.parquet.gz"))
    'decompress it first: gunzip ward.parquet.gz'
    """
    name = path.name.lower()
    found = next((words for ending, words in _ADVICE.items() if name.endswith(ending)), None)
    if found is None and name.endswith(_COMPRESSED):
        inner = Path(path.stem).suffix.lower()
        if path.suffix.lower() == ".gz" and (not inner or inner.startswith(".idx")):
            return None  # as IDX files are
        tools = {".gz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz", ".zst": "unzstd", ".lz4": "unlz4"}
        return f"decompress it first: {tools[path.suffix.lower()]} {path.name}"
    return found
