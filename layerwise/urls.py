"""Addresses of databases: told apart from files, and never written with their password."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, unquote

# What a database is called in the address, and in words.
DATABASES = {"postgresql": "PostgreSQL", "postgres": "PostgreSQL", "sqlite": "SQLite", "duckdb": "DuckDB"}
# What stands for a password that is not written.
HIDDEN = "***"
_NAME = r"\$(?:\{([A-Z_][A-Z0-9_]*)\}|([A-Z_][A-Z0-9_]*))"
# An environment variable is a whole part of the address.
_VARIABLE = re.compile(rf"(?<=[:/@=]){_NAME}(?=[:/@?&]|$)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A password goes on to the last @ before the parameters: nobody has to write one as addresses ask for it. Where there
# is none before them, and no number of a port, to the last of all.
_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/+[^:/?@]*:)((?:(?![?&]\w+=).)*)(?=@)", re.DOTALL)
_ODD_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/+[^:/?@]*:)(?!\d*(?:[/?]|$))(.*)(?=@)", re.DOTALL)
_PARAMETER = re.compile(r"([?&]\w*(?:password|passwd|pwd|token|secret)=)([^&]*)", re.IGNORECASE)


def redact(text: str) -> str:
    """Return text with the passwords of all addresses in it hidden; what names an environment variable stays.

    Examples
    --------
    >>> redact("fit postgresql://ann:secret@host/shop?sslpassword=s3&connect_timeout=3")
    'fit postgresql://ann:***@host/shop?sslpassword=***&connect_timeout=3'
    >>> redact("postgresql://ann:$DB_PASSWORD@host:5432/shop")
    'postgresql://ann:$DB_PASSWORD@host:5432/shop'
    """
    return text if ":/" not in text else re.sub(r"\S+", lambda word: _redact_word(word[0]), text)


def _redact_word(text: str) -> str:
    for pattern in (_find_pattern(text), _PARAMETER):
        text = pattern.sub(lambda found: f"{found[1]}{found[2] if re.fullmatch(_NAME, found[2]) else HIDDEN}", text)
    return text


def _find_pattern(address: str) -> re.Pattern[str]:
    return _PASSWORD if _PASSWORD.search(address) else _ODD_PASSWORD


class Url(str):
    """The address of a database, which reads as it may be written: its password is in ``secret`` alone.

    In what `layerwise` does with paths it answers as one of a file would.

    Examples
    --------
    >>> url = Url("postgresql://ann:secret@host/shop")
    >>> url, url.stem, Url("sqlite:///data/shop.db").file
    ('postgresql://ann:***@host/shop', 'shop', PosixPath('data/shop.db'))
    """

    secret: str
    suffix = ""

    def __new__(cls, text: str) -> Url:
        """Hide the password."""
        url = super().__new__(cls, _redact_word(text))
        url.secret = getattr(text, "secret", text)
        return url

    @property
    def database(self) -> str:
        """What it is the address of, in words."""
        scheme = self.partition(":")[0].lower()
        if scheme not in DATABASES:
            known = ", ".join(f"{name}://" for name in DATABASES if name != "postgres")
            raise ValueError(f"{self} is no database that layerwise knows; known are {known}")
        return DATABASES[scheme]

    @property
    def file(self) -> Path | None:
        """The file that holds the database, if one does; four slashes are before a path from the root."""
        if self.database == "PostgreSQL":
            return None
        start, _, name = self.expanded.partition(":///")
        if "/" in start or not name:
            scheme = self.partition(":")[0]
            raise ValueError(f"{self} names no file; write {scheme}:///FILE, or {scheme}:////FOLDER/FILE from the root")
        return Path(unquote(name)).expanduser()

    @property
    def stem(self) -> str:
        """The name of the database."""
        return re.split("[?#]", self)[0].rpartition("/")[2].partition(".")[0]

    @property
    def expanded(self) -> str:
        """The address to connect to, with the values of environment variables, and without a hidden password."""
        found = _find_pattern(self.secret).search(self.secret)
        if found and re.search(r"[/?#@\s]|%(?![0-9A-Fa-f]{2})", found[2]):
            raise ValueError(
                f"{self} has a password with characters to be written otherwise: @ as %40, / as %2F, % as %25"
            )
        text = self.secret.replace(f":{HIDDEN}@", "@").replace(f"password={HIDDEN}", "")
        return _VARIABLE.sub(lambda found: quote(self._look_up(found[1] or found[2]), safe=""), text)

    def _look_up(self, name: str) -> str:
        if name not in os.environ:
            raise ValueError(f"{self} names the environment variable {name}, which is not set; set it")
        return os.environ[name]

    def is_dir(self) -> bool:
        """Whether it is a folder: never."""
        return False

    def scrub(self, text: str) -> str:
        """Return what others have said of the address without its password."""
        words = [self.secret, self.expanded]
        for address in list(words):
            found = [*_find_pattern(address).finditer(address), *_PARAMETER.finditer(address)]
            words += [part for match in found for part in (match[2], unquote(match[2]))]
        for word in sorted(filter(None, words), key=len, reverse=True):
            text = text.replace(word, str(self) if "://" in word else HIDDEN)
        return text


Place: TypeAlias = Path | Url


def is_url(where: object) -> bool:
    """Whether text is an address, not a path."""
    return isinstance(where, Url) or (isinstance(where, str) and _SCHEME.match(where) is not None)


def as_place(where: str | PathLike[str]) -> Place:
    """Return a path, or an address where it is one.

    Examples
    --------
    >>> as_place("table.csv"), as_place("sqlite:///shop.db")
    (PosixPath('table.csv'), 'sqlite:///shop.db')
    """
    if is_url(where):
        return Url(str(where) if not isinstance(where, Url) else where)
    path = Path(where)
    if is_collapsed(path):
        raise ValueError(f"{path.parts[0]}// is the address of a database, which a Path cannot hold; give it as text")
    return path


def is_collapsed(path: PathLike[str] | str) -> bool:
    """Whether a path was the address of a database, of which it has lost a slash."""
    head, mark, _ = str(path).partition(":/")
    return bool(mark) and head.lower() in DATABASES
