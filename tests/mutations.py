"""Ways to damage files, each a function of a random generator: the same seed gives the same damage."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
import zlib

SIZES = [
    0,
    1,
    2,
    3,
    7,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    10**6,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**40,
]
INTEGERS = [*SIZES, -1, -128, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30]
TOKENS = [
    *(
        '"',
        "'",
        ",",
        ";",
        "\t",
        "|",
        "\n",
        "\r",
        "\r\n",
        "\0",
        " ",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        "=",
        "#",
        "\\",
        "-",
    ),
    *(
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e999",
        "1e-999",
        "0x10",
        "1_000",
        "null",
        "None",
        "true",
        "false",
        "",
        "\ufeff",
        "é",
    ),
    *(
        "\U0001f600",
        "\u202e",
        "\x1b[31m",
        '""',
        "[[x]]",
        "[x]",
        "<f8",
        "|O",
        "(1,)",
        "(0,)",
        "9" * 5000,
        "(" * 300,
        "[" * 3000,
    ),
    *("shape", "descr", "fortran_order", "True", "False", "1979-05-27T07:32:00Z", "x.y", "__class__", "=1+1", "$HOME"),
]
VALUES = [
    *(
        None,
        True,
        False,
        "",
        "x",
        "nan",
        [],
        {},
        [[]],
        {"": 0},
        0.5,
        -0.5,
        1e308,
        "\x1b[31m",
        "../x",
        "lbfgs",
        [1, 2],
        ["x"],
    ),
    *({"float": "nan"}, {"float": "inf"}, {"tensor": "estimator"}, {"strings": [], "kind": "O"}, {"dict": {}}),
]


def mutate_bytes(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Apply one to six changes that know nothing of the format."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        _CHANGES[rng.randrange(len(_CHANGES))](rng, data, others)
    return bytes(data)


def _place(rng: random.Random, data: bytearray) -> int:
    """Return a place; headers are what matters most."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 160)
    return rng.randrange(end) if end else 0


def _flip(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    if data:
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _set_byte(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    if data:
        data[_place(rng, data)] = rng.choice((0, 1, 9, 10, 32, 34, 44, 127, 128, 255, rng.randrange(256)))


def _integer(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    size = rng.choice((1, 2, 4, 4, 8))
    value = rng.choice(INTEGERS) % 2 ** (8 * size)
    place = _place(rng, data)
    data[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _cut(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    del data[_place(rng, data) :]


def _remove(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    place = _place(rng, data)
    del data[place : place + rng.choice((1, 2, 4, 16, 64))]


def _repeat(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    place = _place(rng, data)
    data[place:place] = data[place : place + rng.choice((1, 4, 32, 200))] * rng.choice((1, 2, 10))


def _splice(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    other = rng.choice(others)
    start = rng.randrange(len(other)) if other else 0
    place = _place(rng, data)
    data[place : place + rng.choice((0, 8, 64))] = other[start : start + rng.choice((1, 8, 64))]


def _insert(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    place = _place(rng, data)
    data[place:place] = rng.randbytes(rng.choice((1, 2, 8, 64)))


_CHANGES = (_flip, _flip, _set_byte, _set_byte, _integer, _integer, _cut, _remove, _repeat, _splice, _insert)


def mutate_text(rng: random.Random, text: str) -> str:
    """Swap, replace, repeat and leave out tokens."""
    tokens = re.findall(r"\w+|\s+|.", text, re.DOTALL)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place, kind = rng.randrange(len(tokens)), rng.randrange(6)
        if kind == 0:
            tokens[place] = rng.choice(TOKENS)
        elif kind == 1:
            tokens[place] = str(rng.choice(INTEGERS))
        elif kind == 2:
            other = rng.randrange(len(tokens))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        elif kind == 3:
            tokens[place] *= rng.choice((2, 3, 50))
        elif kind == 4:
            tokens[place] = ""
        else:
            tokens.insert(place, rng.choice(TOKENS))
    return "".join(tokens)


def mutate_tree(rng: random.Random, tree: object) -> object:
    """Replace, leave out, move and rename parts of what JSON holds; the tree changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = [(tree, None)]
        collect(tree, places)
        parent, key = places[rng.randrange(1, len(places))] if len(places) > 1 else places[0]
        if key is None:
            return rng.choice(VALUES)
        kind = rng.randrange(6)
        if kind == 0:
            del parent[key]
        elif kind == 1:
            other, name = places[rng.randrange(1, len(places))]
            parent[key] = json.loads(json.dumps(other[name])) if name is not None and _has(other, name) else None
        elif kind == 2 and isinstance(parent, dict):
            parent[rng.choice((*list(parent), "x", "layer_", "predict", "__class__", "memory"))] = parent.pop(key)
        elif kind == 3:
            parent[key] = rng.choice(INTEGERS)
        elif kind == 4 and isinstance(parent[key], (int, float)):
            parent[key] = parent[key] * rng.choice((-1, 0, 2, 1000)) + rng.choice((0, 1, -1))
        else:
            parent[key] = json.loads(json.dumps(rng.choice(VALUES)))
    return tree


def collect(tree: object, places: list) -> None:
    """Add (parent, key) of every part of a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        places.append((tree, key))
        collect(value, places)


def _has(parent: dict | list, key: object) -> bool:
    return key in parent if isinstance(parent, dict) else isinstance(key, int) and key < len(parent)


def mutate_npy(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Change the text of a header and keep its length right, or any bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, content, others)
    start = 8 + (2 if content[6] == 1 else 4)
    length = int.from_bytes(content[8:start], "little")
    header = mutate_text(rng, content[start : start + length].decode("latin1")).encode("utf-8", "replace")
    size = struct.pack("<H" if content[6] == 1 else "<I", len(header) % 65536)
    return content[:8] + size + header + content[start + length :]


def mutate_npz(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Change an array, or a ZIP file."""
    if rng.random() < 0.5:
        return mutate_bytes(rng, content, others)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    members[name] = mutate_npy(rng, members[name], list(members.values()))
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return result.getvalue()


def mutate_gzip(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Change what is compressed, or the compressed bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(rng, content, others)
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    plain = mutate_bytes(rng, zlib.decompress(content, 31), [zlib.decompress(other, 31) for other in others])
    return packer.compress(plain) + packer.flush()


def mutate_lines(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Change tokens of text, or any bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, content, others)
    return mutate_text(rng, content.decode()).encode("utf-8", "surrogatepass")


def mutate_safetensors(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Change the header and keep its length right, or any bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, content, others)
    length = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + length]
    header = json.dumps(mutate_tree(rng, json.loads(text))) if rng.random() < 0.7 else mutate_text(rng, text.decode())
    changed = header.encode("utf-8", "replace")
    return len(changed).to_bytes(8, "little") + changed + content[8 + length :]
