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
        Which array of a .npz, .mat, .safetensors, HDF5 or Zarr file holds the rows, if there are several; of a struct
        in .mat name.field, of a group /group/name.
    layout : {"images-first", "images-last", "pixels", "windows"} or None, default=None
        Which axis of an array of three or more counts rows: images-first, or images-last, which .mat files have if not
        given; pixels of height x width x bands, each a row of bands; windows of samples x time x sensors, each sample a
        row.
    transpose : bool or None, default=None
        A matrix of features x samples, as MATLAB's trainAutoencoder takes it: its columns are the rows. As in the
        training if not given.
    sheet : str or None, default=None
        Which sheet of a workbook (.xlsx, .xls, .ods) holds the rows: its name, or its number from 1; the first visible
        one with values if not given.
    encoding : str or None, default=None
        How the text of a .sav, .zsav, .por, .dta, .sas7bdat or .xpt file is encoded, such as latin1, if the file does
        not say so itself.
    value_labels : bool or None, default=None
        Columns of these files all of whose values have labels are text of those labels; not so, they stay numbers.
    zero_based : bool or None, default=None
        Columns of a .svm, .svmlight or .libsvm file count from 0; if not given, as in the training, or from 1 unless
        there is a column 0.
    layer : str or None, default=None
        Which layer of an AnnData (.h5ad, .zarr) holds the rows, such as counts; its X if not given.
    obsm : str or None, default=None
        Which array of the obsm of an AnnData holds the rows, such as X_pca.
    query : str or None, default=None
        Of a database: the SELECT whose rows are wanted. As in the training if neither this nor a table is given.
    table : str or None, default=None
        Of a database: the table, or the view, whose rows are all wanted; of a schema schema.name.
    """

    array: str | None = None
    layout: Layout | None = None
    transpose: bool | None = None
    sheet: str | None = None
    encoding: str | None = None
    value_labels: bool | None = None
    zero_based: bool | None = None
    layer: str | None = None
    obsm: str | None = None
    query: str | None = None
    table: str | None = None

    def given(self) -> dict[str, Any]:
        """Return what is given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


WHOLE = Section()
SECTION_KEYS = tuple(field.name for field in fields(Section))
