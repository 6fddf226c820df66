"""What is said of the columns of a table: what they are taken for, and what is doubtful about that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from layerwise.data._polars import list_names
from layerwise.data.column_types import Date, Flag, Reading
from layerwise.data.naming import advise_to_ignore, name_columns
from layerwise.data.profiles import MISSING, Choice, find_twins

# What is left out, by its kind, in words.
LEFT_OUT = {
    "row name": ("name per row", "names per row"),
    "text": ("text of too many values", "texts of too many values"),
}


def describe_types(
    numbers: Mapping[str, Reading | None], categories: Mapping[str, list[str]], readings: Mapping[str, dict[str, Any]]
) -> str:
    """Return what columns are taken for, in words; the arguments are as `TableEncoder` has them."""
    kinds: dict[str, list[str]] = {}
    for name in numbers:
        reading = numbers[name]
        kind = "number"
        if isinstance(reading, Flag):
            kind = "true or false" if reading.is_truth else "text of 2 values"
        elif isinstance(reading, Date):
            kind = f"date written as {reading}" if "%" in reading.format else "date"
            kind += f" with cycles of {_join(reading.parts)}" if reading.parts else ""
        elif reading is not None:
            kind = f"number written with {reading}"
        kinds.setdefault(kind, []).append(name)
    texts = [len(values) for name, values in categories.items() if name not in readings]
    parts = [_count(kind, names, named="written" in kind) for kind, names in kinds.items()]
    if texts:
        span = f"{min(texts)} to {max(texts)}" if min(texts) < max(texts) else f"{texts[0]}"
        parts.append(f"{len(texts)} text{'s' * (len(texts) > 1)} of {span} value{'s' * (span != '1')}")
    for name, values in categories.items():
        if name in readings:
            count = readings[name]["n_values"]
            parts.append(f"1 text of {count:,} values, the {len(values) - 1} most frequent kept ({name!r:.65})")
    for kind, words in LEFT_OUT.items():
        names = [name for name, plain in readings.items() if plain["type"] == kind]
        if names:
            parts.append(f"{len(names)} {words[len(names) > 1]} left out ({list_names(names)})")
    return ", ".join(parts)


def judge(choices: Mapping[str, Choice], max_categories: int) -> tuple[str | None, list[str]]:
    """Return why columns of these types are refused, if they are, and what is doubtful about others."""
    if all(choice.kind in LEFT_OUT for choice in choices.values()):
        names, are = ("names", "is") if len(choices) == 1 else ("name", "are")
        refusal = (
            f"no column is left to learn from: {name_columns(list(choices))} {names} the rows, or {are} text of too "
            f"many values (more than max_categories={max_categories} (--max-categories))"
        )
        return refusal, []
    odd = {name: choice for name, choice in choices.items() if choice.misfit}
    refused = [name for name, choice in odd.items() if not choice.values]
    if refused:
        return f"{_tell(odd, refused)}, or {advise_to_ignore(refused)}", []
    warned = []
    if odd:
        counts = ", ".join(str(len(choice.values)) for choice in odd.values())
        warned.append(
            f"{name_columns(list(odd))} {'is' if len(odd) == 1 else 'are'} taken as {counts} categories, but "
            f"{_tell(odd, list(odd))}, or {advise_to_ignore(list(odd))}"
        )
    values = {name: choice.values for name, choice in choices.items() if choice.values}
    flags = {
        name: [choice.reading.low, choice.reading.high]
        for name, choice in choices.items()
        if isinstance(choice.reading, Flag)
    }
    twins = {name: found for name, texts in {**values, **flags}.items() if (found := find_twins(texts))}
    if twins:
        shown = "; ".join(
            f"{name}: {list_names([text for group in found for text in group])}" for name, found in twins.items()
        )
        warned.append(
            f"{name_columns(list(twins))} {'has' if len(twins) == 1 else 'have'} values that differ only in blanks "
            f"or case, and are taken as different ({shown}); write them alike if they are the same"
        )
    return None, warned


def refuse_parts(asked: Sequence[str]) -> str:
    """Return why parts of dates are refused that no column has."""
    times = " with a time of day" if set(asked) == {"day"} else ""
    return f"date_parts={list(asked)!r} asked for, but no column holds dates{times}; leave it out (--date-parts)"


def describe_unknown(unknown: Mapping[str, Sequence[str | None]], categories: Mapping[str, list[str]]) -> str:
    """Return which values training did not have, by column, and how they are encoded."""
    lists = []
    for name, values in unknown.items():
        there = [value for value in values if value not in (None, MISSING)]  # what is missing has no name in the table
        empty = ["an empty field"] if len(there) < len(values) else []
        lists.append(f"{name}: {', '.join([*([list_names(there)] if there else []), *empty])}")
    several = {name in categories for name in unknown}
    how = " and ".join(word for kind, word in ((True, "as zeros"), (False, "halfway")) if kind in several)
    return f"the table has values that training did not have, which are encoded {how}: {'; '.join(lists)}"


def _join(words: Sequence[str]) -> str:
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def _tell(odd: dict[str, Choice], names: Iterable[str]) -> str:
    """Say what columns of text rather look like."""
    return "; ".join(f"column {name!r:.65} looks like {odd[name].misfit}" for name in names)


def _count(kind: str, names: Sequence[str], named: bool) -> str:
    """Return how many columns of a kind there are, in words."""
    first, _, rest = kind.partition(" ")
    plural = first + "s" * (len(names) > 1 and first != "true")
    shown = f" ({list_names(names)})" if named else ""
    return f"{len(names)} {plural}{' ' * bool(rest)}{rest}{shown}"


def describe_reading(reading: Reading | None) -> str:
    """Return how training read a column that was not plain numbers, as the end of a clause; nothing for others."""
    if isinstance(reading, Date):
        return f", where training had dates written as {reading}"
    return "" if reading is None or isinstance(reading, Flag) else f", where training had numbers with {reading}"
