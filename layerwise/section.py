"""Which part of a file holds the rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Layout = Literal["images-first", "images-last", "pixels", "windows"]


@dataclass(frozen=True)
class Section:
    """Which part of a file holds the rows, and which of its axes counts them; each kind of file takes some of it.

    The command line has a flag for each, with these sentences.

    Attributes
    ----------
    array : str or None, default=None
        Which array of a .npz, .mat or .safetensors file holds the rows, if there are several; of a struct in .mat
        name.field.
    layout : {"images-first", "images-last", "pixels", "windows"} or None, default=None
        Which axis of an array of three or more counts rows: images-first, or images-last, which .mat files have if not
        given; pixels of height x width x bands, each a row of bands; windows of samples x time x sensors, each sample a
        row.
    transpose : bool or None, default=None
        A matrix of features x samples, as MATLAB's trainAutoencoder takes it: its columns are the rows. As in the
        training if not given.
    query : str or None, default=None
        Of a database: the SELECT whose rows are wanted. As in the training if neither this nor a table is given.
    table : str or None, default=None
        Of a database: the table, or the view, whose rows are all wanted; of a schema schema.name.
    """

    array: str | None = None
    layout: Layout | None = None
    transpose: bool | None = None
    query: str | None = None
    table: str | None = None

    def given(self) -> dict[str, Any]:
        """Return what is given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


WHOLE = Section()
SECTION_KEYS = tuple(field.name for field in fields(Section))
