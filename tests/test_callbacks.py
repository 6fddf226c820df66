"""What watches a run: steps, callbacks, metrics on disk, the display."""

import copy
import io
import json
import math
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sklearn.base import clone

from layerwise import LBFGS, Adam, Autoencoder, EarlyStopping, StackedAutoencoder
from layerwise.callbacks import History, MetricsFile, Pace, Step, call_all
from layerwise.data import load_mnist_small
from layerwise.progress import Progress, _fill

END = "stopped: max_iter iterations were made"


def step(iteration, status=None, stage="layer 0", **others):
    """A step of a stage of 40 iterations that take two seconds each, on 100 rows."""
    attributes = {
        "max_iter": 40,
        "value": 12.5,
        "parts": {"reconstruction": 10.0, "decay": 2.5},
        "mean_activation": 0.107,
        "target_activation": 0.1,
        "max_gradient": 0.01,
        "n_rows": 100,
        "n_evaluations": iteration,
        "seconds": 2.0 * iteration,
        "n_rows_seen": 100 * iteration,
    }
    return Step(stage=stage, iteration=iteration, status=status, **attributes | others)


RUN = [*(step(k) for k in range(1, 41)), step(40, END), step(1, stage="head")]


@pytest.fixture(scope="module")
def images():
    return load_mnist_small().X_train


def show(steps, *, width=160, **options):
    """Return what a display writes, and the display."""
    file = io.StringIO()
    with Progress(Console(file=file, width=width, **options), every=20) as progress:
        for each in steps:
            assert not progress(each)
    return file.getvalue(), progress


def screen(written, width):
    """Return the lines that a terminal of this width shows after all that was written to it."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", written):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token == "\x1b[1A":
            row -= 1
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token[0] not in "\x1b\r":
            lines[row] += token
            assert len(lines[row]) <= width
    return [line.rstrip() for line in lines if line]


def test_what_is_printed_beside_the_display_is_not_broken(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    command = "layerwise encode 'a folder with blanks/and one with none' a_file_whose_name_is_longer_than_the_line.csv"
    with Progress() as progress:
        print(command, file=sys.stderr)
        progress(step(1))
    assert command in terminal.getvalue()


def test_plain_lines():
    text, progress = show(RUN)
    assert text.splitlines() == [
        "layer 0 [1/40] cost 12.5 = reconstruction 10 + decay 2.5, mean activation 0.107 (target 0.1)",
        "layer 0 [20/40] cost 12.5 = reconstruction 10 + decay 2.5, mean activation 0.107 (target 0.1), 50 rows/s, "
        "time left 40.0 s",
        "layer 0 [40/40] cost 12.5 = reconstruction 10 + decay 2.5, mean activation 0.107 (target 0.1), 50 rows/s, "
        "time left 0.0 s",
        f"layer 0: {END}; 40 iterations, 40 evaluations, cost 12.5, 1:20",
        "head [1/40] cost 12.5 = reconstruction 10 + decay 2.5, mean activation 0.107 (target 0.1)",
    ]
    assert progress.reached == "in stage head at iteration 1 of 40, cost 12.5"


def shown_iterations(seconds_each):
    run = [step(k, seconds=seconds_each * k) for k in range(1, 41)]
    return [int(number) for number in re.findall(r"\[(\d+)/40\]", show(run)[0])]


def test_plain_lines_come_neither_too_often_nor_too_rarely():
    assert shown_iterations(0.01) == [1]
    assert shown_iterations(0.06) == [1, 40]
    assert shown_iterations(1) == [1, 20, 40]
    assert shown_iterations(30) == [1, *range(3, 20, 2), 20, *range(22, 40, 2), 40]


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("no_color", [False, True])
def test_live_display(width, no_color):
    written, _ = show(RUN, width=width, force_terminal=True, no_color=no_color)
    lines = screen(written, width)
    first = lines.index(next(line for line in lines if line.startswith("head ")))
    assert " ".join(lines[:first]) == f"layer 0: {END}; 40 iterations, 40 evaluations, cost 12.5, 1:20"
    assert re.fullmatch(r"head [━╺╸ ]+  1/40 0:00:0\d", lines[first])
    assert " ".join(lines[first + 1 :]) == (
        "cost 12.5 = reconstruction 10 + decay 2.5, mean activation 0.107 (target 0.1)"
    )
    if width == 40:
        assert lines[first + 1 :] == [
            "cost 12.5 = reconstruction 10 +",
            "decay 2.5,",
            "mean activation 0.107 (target 0.1)",
        ]
    colours = re.search(r"\x1b\[[39]\dm", written)
    assert (colours is None) == no_color


def test_lines_of_finished_stages_break_between_phrases():
    written, _ = show([step(40, END, seconds=0.5)], width=50, force_terminal=True)
    assert screen(written, 50) == [
        f"layer 0: {END};",
        "40 iterations, 40 evaluations, cost 12.5, 0.5 s",
    ]


def test_live_display_leaves_only_the_lines_of_finished_stages():
    written, _ = show(RUN[:-1], width=80, force_terminal=True)
    assert screen(written, 80) == [f"layer 0: {END}; 40 iterations, 40 evaluations,", "cost 12.5, 1:20"]
    assert written.endswith("\x1b[?25h")  # the cursor is back


def test_live_display_of_a_stage_begun_anew():
    written, _ = show([*RUN[:30], *RUN[:2]], width=160, force_terminal=True)
    lines = screen(written, 160)
    assert len(lines) == 2
    assert "  2/40 " in lines[0]


def test_no_live_display_where_only_colours_are_forced(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress() as progress:
        progress(RUN[0])
    assert capsys.readouterr().err.startswith("layer 0 [1/40] cost 12.5")


def test_no_live_display_on_a_dumb_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[2K" not in show(RUN, force_terminal=True)[0]


def test_progress_says_what_it_cannot_do():
    with pytest.raises(ValueError, match="every=0 must be at least 1"):
        Progress(every=0)


@given(st.text("abc ,;+", max_size=60), st.integers(1, 60))
def test_filling_lines_keeps_the_words(text, width):
    filled = _fill(text, width)
    assert filled.split() == text.split()
    for line in filled.splitlines()[:-1]:
        assert line.endswith((",", ";", "+"))


@given(st.integers(1, 10**6), st.floats(1e-3, 1e3), st.integers(1, 60))
def test_pace_of_steady_steps(n_rows, seconds, n_steps):
    pace = Pace()
    for k in range(1, n_steps + 1):
        pace.follow(step(k, max_iter=100, n_rows_seen=k * n_rows, seconds=k * seconds))
    assert pace.rows_per_second == pytest.approx(n_rows / seconds)
    assert pace.seconds_left == (None if n_steps == 1 else pytest.approx((100 - n_steps) * seconds))


def test_pace_is_that_of_recent_steps():
    pace = Pace()
    assert pace.rows_per_second is pace.seconds_left is None
    for k in range(1, 31):
        pace.follow(step(k, seconds=float(k) if k <= 5 else 10.0 * (k - 5) + 5))
    assert pace.seconds_left == pytest.approx(100)
    pace.follow(step(31, seconds=300.0, n_rows=400, n_rows_seen=7000))  # a larger sample
    assert pace.seconds_left == pytest.approx(9 * 45)
    assert pace.rows_per_second == pytest.approx(4000 / 45)
    pace.follow(step(1, seconds=0.5))  # a stage of the same name in another fit
    assert pace.rows_per_second == 200


def test_pace_is_unknown_without_time_or_rows():
    pace = Pace()
    pace.follow(step(1, n_rows_seen=0))
    assert pace.rows_per_second is None
    pace.follow(step(0, END, stage="head"))
    assert pace.seconds_left is None
    steps = [step(1, n_rows_seen=0), step(20, n_rows_seen=0)]
    assert show(steps)[0].endswith(", - rows/s, time left 40.0 s\n")


def test_a_slow_first_step_tells_no_pace():
    pace = Pace()
    for k in range(1, 4):
        pace.follow(step(k, max_iter=100, seconds=60.0 + k / 10))
        assert pace.seconds_left == (None if k == 1 else pytest.approx((100 - k) / 10))
    pace.follow(step(1, stage="head", max_iter=100, seconds=5.0))  # each stage has a first step
    assert pace.seconds_left is None


def test_rows_seen_are_counted(images):
    history = History()
    Autoencoder(5, solver=LBFGS(max_iter=30), callbacks=[history], random_state=0).fit(images[:5000])
    *steps, _ = history.steps
    on_sample = [each for each in steps if each.n_rows == 1000]
    on_all = [each for each in steps if each.n_rows == 5000]
    assert len(on_sample) == 15
    assert len(on_all) == 15
    for each in on_sample:
        assert each.n_rows_seen == 1000 * each.n_evaluations
    for each in on_all:
        evaluations = each.n_evaluations - on_sample[-1].n_evaluations
        assert each.n_rows_seen == on_sample[-1].n_rows_seen + 5000 * evaluations

    history = History()
    stack = StackedAutoencoder([5], finetune="reconstruction", solver=Adam(max_iter=3, batch_size=64), random_state=0)
    stack.set_params(layers=[Autoencoder(5, solver=Adam(max_iter=2))], callbacks=[history]).fit(images[:300])
    seen = [(each.stage, each.iteration, each.n_rows_seen) for each in history.steps if each.status is None]
    assert seen == [
        ("layer 0", 1, 300),
        ("layer 0", 2, 600),
        ("finetune", 1, 300),
        ("finetune", 2, 600),
        ("finetune", 3, 900),
    ]


def test_every_callback_is_called_and_any_may_stop():
    history = History()
    assert call_all([lambda step: True, history])(RUN[0])
    assert not call_all([history])(RUN[1])
    assert not call_all(None)(RUN[2])
    assert history.steps == RUN[:2]


def test_copies_of_an_estimator_share_their_watchers(tmp_path):
    watchers = [History(), Progress(), MetricsFile(tmp_path / "metrics.jsonl")]
    assert copy.deepcopy(watchers) == watchers
    assert clone(Autoencoder(5, callbacks=watchers)).callbacks == watchers


def test_step_is_json():
    assert json.loads(json.dumps(RUN[0].as_dict()))["parts"] == {"reconstruction": 10.0, "decay": 2.5}


def strict(line):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(line, parse_constant=refuse)


@given(st.floats(), st.floats(), st.floats() | st.none())
def test_what_is_not_finite_is_null(value, part, validation_loss):
    each = step(1, value=value, parts={"reconstruction": part}, validation_loss=validation_loss)
    read = strict(json.dumps(each.as_dict()))
    for number, kept in [
        (value, read["value"]),
        (part, read["parts"]["reconstruction"]),
        (validation_loss, read["validation_loss"]),
    ]:
        assert kept == (number if number is not None and math.isfinite(number) else None)


def test_metrics_file(tmp_path, images):
    path, history = tmp_path / "metrics.jsonl", History()
    with MetricsFile(path) as metrics:

        def count(step):
            assert len(path.read_text().splitlines()) == len(history.steps)  # written as it happens

        layer = Autoencoder(5, solver=Adam(max_iter=3), early_stopping=EarlyStopping(0.2))
        stack = StackedAutoencoder([layer, 4], callbacks=[metrics, history, count], random_state=0)
        clone(stack).set_params(layer1__solver=LBFGS(max_iter=2)).fit(images[:200])
    with metrics:
        metrics(step(1, value=math.nan))
    lines = [strict(line) for line in path.read_text().splitlines()]
    assert lines[:-1] == [each.as_dict() for each in history.steps]
    assert lines[-1]["value"] is None


def test_metrics_file_is_closed_after_an_exception(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(str(path))

    def train():
        with metrics:
            metrics(RUN[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    with pytest.raises(ValueError, match="MetricsFile is not open; train inside `with MetricsFile"):
        metrics(RUN[1])
    assert len(path.read_text().splitlines()) == 1


def test_metrics_file_says_what_it_cannot_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path='.*nowhere.*' lies in a folder that does not exist"):
        MetricsFile(tmp_path / "nowhere" / "metrics.jsonl").__enter__()
    with pytest.raises(IsADirectoryError):
        MetricsFile(tmp_path).__enter__()
