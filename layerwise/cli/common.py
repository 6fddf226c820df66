"""What all commands share: the app, what they answer with, the display of a training, refusals.

Nothing here imports torch: `layerwise --help` answers at once.
"""

from __future__ import annotations

import glob
import io
import json
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter

import layerwise
from layerwise.atomic import LOCK, NO_ROOM, naming
from layerwise.interruption import TERMINATED, end_by
from layerwise.section import Section
from layerwise.strict_json import as_strict
from layerwise.urls import Place, Url, as_place, redact

app = App(
    name="layerwise",
    help="Stacked autoencoders: features learned one layer at a time, fine-tuned with the labels there are.",
    version=layerwise.__version__,
    suppress_keyboard_interrupt=False,
)
app.meta.suppress_keyboard_interrupt = False


def _refuse_unfinished(kind: Any, folder: Path) -> None:
    """Say of the folder of a run that is not finished how to finish it."""
    if folder.suffix == ".partial" and (folder / LOCK).is_file():
        command = as_command("fit", "--resume", "--out", folder.with_suffix(""))
        # An OSError, which cyclopts does not make another sentence of.
        raise FileNotFoundError(f"{folder} is an unfinished run, not a model yet; finish it first: {command}")


Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Words = Parameter(consume_multiple=True, negative="")
# One text, which may be - and the like.
AnyText = Parameter(allow_leading_hyphen=True)
# What many commands take.
Model = Annotated[Path, Parameter(help="Folder of a trained model.", validator=_refuse_unfinished)]


def _to_place(kind: Any, tokens: Any) -> Place:
    """Return a path, or the address of a database, whose slashes a path would lose."""
    return as_place(tokens[0].value)


# A file, a folder, or the address of a database.
Anywhere = Annotated[Place, Parameter(converter=_to_place, n_tokens=1)]
Data = Annotated[
    Anywhere,
    Parameter(
        help="Rows: CSV, Parquet, Feather, .jsonl, .json, .arff, .xlsx, .xls, .ods, .npy, .npz, IDX, .mat, "
        ".safetensors, HDF5, Zarr, AnnData (.h5ad), .svm, .txt, of SPSS, Stata and SAS .sav, .dta, .sas7bdat and .xpt, "
        "a folder of images or of tables, or a database (postgresql://, sqlite:///, duckdb:///); several files are one "
        "pattern in quotes: 'part-*.csv'."
    ),
]
# Which part of the data holds the rows: a flag for each attribute.
InSection = Annotated[Section, Parameter(name="*")]
Out = Annotated[
    Anywhere | None,
    Parameter(
        help="File to write: .csv, .tsv, .parquet, .feather, .json, .jsonl, .xlsx, .npy, .npz, .mat or .safetensors; "
        "of .h5ad data also .h5ad, a copy with the results in it; or a database, with --out-table. CSV goes to "
        "standard output if not given."
    ),
]


@dataclass(frozen=True)
class IntoTable:
    """Which table of a database results go into.

    Attributes
    ----------
    out_table : str or None, default=None
        The table of the database to write: a new one, unless rows are added, or it is overwritten.
    append : bool, default=False
        Add the rows to the table that is there.
    """

    out_table: str | None = None
    append: Flag = False


NO_TABLE = IntoTable()
IntoATable = Annotated[IntoTable, Parameter(name="*")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")]
Overwrite = Annotated[
    bool,
    Parameter(
        negative="", show_default=False, help="Replace the file that is there, or the folder that layerwise wrote."
    ),
]
Labels = Annotated[
    str | None,
    Parameter(
        help="The column or array of the data, or the file, that holds labels or targets; of images class for their "
        "sub-folders, or a table of file names and labels."
    ),
]
Ignore = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="", help="Columns to leave out.")]
SampleWeight = Annotated[
    str | None,
    Parameter(
        help="The column, or the array in the same file, that says how often each row counts: no feature, not negative."
    ),
]
MaxCategories = Annotated[
    int | None,
    Parameter(
        help="How many different values a column of text may have, beyond which rare ones are pooled; 100 if not given."
    ),
]
Missing = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=True,
        negative="",
        help="What stands for nothing in the table, in columns of text and labels too: --missing unknown "
        "--missing=-999.",
    ),
]
DateParts = Annotated[
    list[Literal["year", "week", "day"]] | None,
    Parameter(
        consume_multiple=True,
        negative="",
        help="Periods in which dates come round, for every column of dates: year, week, day. Each adds a sine and a "
        "cosine beside the days.",
    ),
]
ImageShape = Annotated[
    list[int] | None,
    Parameter(
        consume_multiple=True,
        negative="",
        help="Height and width, and 3 for colour: images of a folder are resized to it, rows of other files are such "
        "images.",
    ),
]
_EVERYWHERE = Group("With every command", sort_key=1)


@dataclass(frozen=True)
class Reply:
    """What a command answers with.

    Attributes
    ----------
    facts : mapping
        For machines: one JSON object with --json.
    text : str
        For people.
    next : str, default=""
        The command that a person may want next.
    """

    facts: Mapping[str, Any]
    text: str
    next: str = ""


@dataclass(frozen=True)
class Display:
    """How a command shows what it does, until it answers.

    Attributes
    ----------
    quiet : bool, default=False
        Show nothing but the answer.
    as_json : bool, default=False
        Answer with one JSON object.
    """

    quiet: bool = False
    as_json: bool = False

    def say(self, text: str) -> None:
        """Tell something on the way; standard output is for the answer."""
        if not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    @contextmanager
    def watching(self) -> Iterator[list[Callable]]:
        """Give the callbacks that show a training; say what was reached if it is interrupted."""
        from rich.console import Console
        from sklearn.exceptions import ConvergenceWarning

        from layerwise.progress import Progress

        with warnings.catch_warnings(), Progress(Console(stderr=True, quiet=True) if self.quiet else None) as progress:
            warnings.simplefilter("ignore", ConvergenceWarning)  # the display says why each stage ended
            warnings.filterwarnings("ignore", "terminated")  # and the command where it was ended
            try:
                yield [progress]
            except KeyboardInterrupt:
                raise end_by(signal.SIGINT, f"interrupted {progress.reached}") from None
            except SystemExit as exit_:
                if exit_.code != TERMINATED:
                    raise
                raise end_by(signal.SIGTERM, f"terminated {progress.reached}") from None

    def answer(self, reply: Reply | None) -> None:
        """Print the answer of a command."""
        if reply is None:  # help
            return
        if self.as_json:
            print(json.dumps(as_strict(reply.facts), allow_nan=False, default=str))
            return
        if reply.text:
            print(printable(reply.text))
        if reply.next and not self.quiet:
            print(f"Next: {printable(reply.next)}", file=sys.stderr)


Shown = Annotated[Display, Parameter(parse=False)]


@app.meta.default
def run(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    n_threads: Annotated[int | None, Parameter(group=_EVERYWHERE)] = None,
    quiet: Annotated[bool, Parameter(negative="", show_default=False, group=_EVERYWHERE)] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False, group=_EVERYWHERE)] = False,
) -> None:
    """Run a command.

    Parameters
    ----------
    n_threads
        Threads that compute; as many as there are cores, or as OMP_NUM_THREADS says, if not given.
    quiet
        Show no progress and no advice, only the answer.
    as_json
        Answer with one JSON object on standard output.
    """
    if _is_one_of_many() and tokens[:1] != ("fit",):
        raise ValueError(
            f"{tokens[0] if tokens else 'this'} runs in one process; of several, started by torchrun, only fit"
        )
    command, bound, injected = app.parse_args(tokens, exit_on_error=False, print_error=False)
    if n_threads is not None:
        if n_threads < 1:
            raise ValueError(f"n_threads={n_threads} must be at least 1")
        import torch

        torch.set_num_threads(n_threads)
    display = Display(quiet, as_json)
    display.answer(command(*bound.args, **bound.kwargs, **dict.fromkeys(injected, display)))


def _is_one_of_many() -> bool:
    """Whether torchrun started this process as one of several; `layerwise.distributed` would import torch."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


class _Lossy(io.FileIO):
    """A stream that takes no offence where nobody reads it, or its disk is full: the work goes on."""

    def write(self, text: Any) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)


def open_streams() -> None:
    """Prepare standard output and error; where the shell has closed them, the next file would take their place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the end
    stream = sys.stderr
    if stream is sys.__stderr__ and isinstance(stream, io.TextIOWrapper):
        raw = io.BufferedWriter(_Lossy(stream.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding=stream.encoding, errors=stream.errors, line_buffering=True)


@contextmanager
def answering() -> Iterator[None]:
    """Write out all that the block prints; a file that cannot be written and has no name is standard output."""
    with naming(Path("standard output"), reads=True):
        yield
        sys.stdout.flush()


def leave_output() -> None:
    """Write no answer any more: what Python has not got rid of, it would complain of at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def given(**flags: Any) -> dict[str, Any]:
    """Return the flags that were given; the others have their defaults."""
    selected = {} if "section" not in flags else flags.pop("section").given()
    return {name: value for name, value in flags.items() if value is not None} | selected


def as_command(*words: object) -> str:
    """Return a command of layerwise as one would type it, names with blanks quoted."""
    return shlex.join(["layerwise", *map(str, words)])


def check_apart(out: Path, data: Place) -> None:
    """Refuse to write over the data, or into a folder of it."""
    if isinstance(data, Url):
        if data.file is None:
            return
        data = data.file
    place = out.resolve()
    for part in [data] if data.exists() else map(Path, glob.glob(str(data))):
        if place == part.resolve() or (part.is_dir() and part.resolve() in place.parents):
            raise ValueError(f"out={out} is the data itself, or lies inside it; choose another place")


def printable(text: str) -> str:
    """Return text that a terminal shows as it is: what would steer it, or turn its direction, is written out.

    No password of a database is shown.
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in redact(text)
    )


def render(table: Any) -> str:
    """Return a table of rich as plain text, as wide as the terminal; wide enough for all columns in a file."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 140
    # Text of the data is no markup, and codes that move a cursor must not come from it.
    text = io.StringIO()
    Console(
        file=text, width=width, color_system=None, force_terminal=False, markup=False, emoji=False, highlight=False
    ).print(table)
    return text.getvalue().rstrip()


def list_contents(out: Path) -> str:
    """Return what is in the folder of a run, in words."""
    return f"In {out}: {', '.join(sorted(entry.name for entry in out.iterdir()))}"


def fail(message: str, code: int) -> None:
    """End with one sentence on standard error; with --json, as a JSON object on standard output too.

    One of several processes says which it is.
    """
    message = redact(" ".join(message.split()))
    speaker = f"layerwise, rank {os.environ.get('RANK')}" if _is_one_of_many() else "layerwise"
    with suppress(OSError):  # the exit code tells it too
        if "--json" in sys.argv:
            print(json.dumps({"error": message}), flush=True)
    print(f"{speaker}: {printable(message)}", file=sys.stderr)
    leave_output()
    sys.exit(code)


def describe_os_error(error: OSError) -> str:
    """Return what the system refused, of which file, and what can be done."""
    on = getattr(error, "__notes__", [])
    if not error.strerror:
        return "; ".join([str(error), *on])
    sentence = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if error.errno in NO_ROOM:
        return f"{sentence}; make room, and {'; '.join(on) or 'run the same command again'}"
    return "; ".join([sentence, *on])
