"""Imports point down: a module may import only what stands below it in this list (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "layerwise"
HOUSE = [
    {"__main__"},
    {"cli"},
    {"reproduce"},
    {"comparison"},
    {"runs"},
    {"report", "export"},
    {"__init__"},
    {"_api"},
    {"displays", "inspection", "recipes", "persistence"},
    {"plotting"},
    {"estimators"},
    {"coder"},
    {"stacking"},
    {"selection"},
    {"stages"},
    {"watching"},
    {"checkpoint"},
    {"checkpoint_files"},
    {"trackers", "progress"},
    {"callbacks"},
    {"solvers"},
    {"starts"},
    {"objective"},
    {"modules"},
    {"penalties", "losses", "corruptions"},
    {"activations"},
    {"data", "interruption"},
    {"locks"},
    {"atomic"},
    {"strict_json"},
    {"distributed"},
    {"limits", "labels", "section", "urls"},
    {"errors"},
    {"products"},
]
FLOOR = {room: floor for floor, rooms in enumerate(HOUSE) for room in rooms}
# What a room must not know although it stands below it.
CLOSED = {
    "solvers": {"objective", "modules", "data", "penalties", "losses", "corruptions", "activations", "distributed"},
    "plotting": set(FLOOR) - {"labels"},
    "data": set(FLOOR) - {"data", "atomic", "distributed", "limits", "section", "urls", "errors"},
    "stacking": {"checkpoint", "atomic"},
    "selection": {"checkpoint", "atomic", "modules"},
    "stages": {"checkpoint", "atomic", "modules"},
    "watching": {"checkpoint", "atomic", "modules"},
}


def imports(path):
    """Names of the rooms of layerwise, and of the other packages, that a file imports."""
    rooms, others = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, *rest = name.split(".")
            if head != "layerwise":
                others.add(head)
            elif rest:
                rooms.add(rest[0] if rest[0] in FLOOR else "__init__")
            else:
                rooms.add("__init__")
    return rooms, others


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = room_of(path)
    rooms, others = imports(path)
    for other in rooms - {room}:
        assert FLOOR[other] > FLOOR[room], f"{path.name} imports {other}, which stands above or beside it"
    assert not rooms & (CLOSED.get(room, set()) - {room})
    if room in ("stacking", "stages", "watching"):
        assert "sklearn" not in others
    assert not others & {"pickle", "joblib", "cloudpickle", "dill"}


def test_every_file_has_a_place():
    assert {room_of(path) for path in FILES} == set(FLOOR)


def test_nothing_seeds_globally():
    for path in FILES:
        text = path.read_text()
        assert "torch.manual_seed" not in text
        assert "np.random.seed" not in text


def private_uses(path):
    """Names and lines of private attributes that a file takes of another object than self and cls."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) not in ("self", "cls"):
            name = node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("getattr", "hasattr", "setattr"):
            name = getattr(node.args[1], "value", "")
        else:
            continue
        if isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name != "_replace":
            yield f"{name} in line {node.lineno}"


@pytest.mark.parametrize(
    "path", [path for path in FILES if FLOOR[room_of(path)] < FLOOR["estimators"]], ids=lambda path: path.stem
)
def test_nobody_asks_for_private_attributes_of_estimators(path):
    assert not list(private_uses(path)), "ask its coder_, or a function of estimators/"


def test_private_attributes_are_found(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("a._b\nself._c\nhasattr(d, '_e')\nf._replace(g=1)\nh.__class__\n")
    assert list(private_uses(path)) == ["_b in line 1", "_e in line 3"]
