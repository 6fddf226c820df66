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
    {"stages"},
    {"checkpoint"},
    {"checkpoint_files"},
    {"trackers", "progress"},
    {"callbacks"},
    {"solvers"},
    {"objective"},
    {"modules"},
    {"penalties", "losses", "corruptions"},
    {"activations"},
    {"data", "interruption"},
    {"atomic"},
    {"strict_json"},
    {"distributed"},
    {"limits"},
    {"errors"},
]
FLOOR = {room: floor for floor, rooms in enumerate(HOUSE) for room in rooms}
# What a room must not know although it stands below it.
CLOSED = {
    "solvers": {"objective", "modules", "data", "penalties", "losses", "corruptions", "activations", "distributed"},
    "plotting": set(FLOOR),
    "data": set(FLOOR) - {"data", "atomic", "distributed", "limits", "errors"},
    "stacking": {"checkpoint", "atomic"},
    "stages": {"checkpoint", "atomic", "modules"},
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
    if room in ("stacking", "stages"):
        assert "sklearn" not in others
    assert not others & {"pickle", "joblib", "cloudpickle", "dill"}


def test_every_file_has_a_place():
    assert {room_of(path) for path in FILES} == set(FLOOR)


def test_nothing_seeds_globally():
    for path in FILES:
        text = path.read_text()
        assert "torch.manual_seed" not in text
        assert "np.random.seed" not in text
