"""What watches a run."""

import copy
import io
import json

import pytest
from rich.console import Console

from layerwise.callbacks import History, Progress, Step, call_all


def step(iteration, status=None, stage="layer 0"):
    return Step(
        stage=stage,
        iteration=iteration,
        max_iter=40,
        value=12.5,
        parts={"reconstruction": 10.0, "decay": 2.5},
        mean_activation=0.107,
        target_activation=0.1,
        max_gradient=0.01,
        n_rows=100,
        n_evaluations=iteration + 2,
        seconds=1.5,
        status=status,
    )


RUN = [step(k) for k in range(1, 41)] + [step(40, "stopped: max_iter iterations were made"), step(1, stage="head")]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal):
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=terminal, width=160), every=20) as progress:
        for each in RUN:
            assert not progress(each)
    text = file.getvalue()
    assert "cost 12.5 = reconstruction 10 + decay 2.5, mean activation 0.107 (target 0.1)" in text
    assert ("\x1b[" in text) == terminal
    assert progress.reached == "in stage head at iteration 1 of 40, cost 12.5"
    if terminal:
        assert "40/40" in text
    else:
        assert [line.split("]")[0] for line in text.splitlines()] == [
            "layer 0 [1/40",
            "layer 0 [20/40",
            "layer 0 [40/40",
            "layer 0: stopped: max_iter iterations were made; 40 iterations, 42 evaluations, 1.5 s",
            "head [1/40",
        ]


def test_every_callback_is_called_and_any_may_stop():
    history = History()
    assert call_all([lambda step: True, history])(RUN[0])
    assert not call_all([history])(RUN[1])
    assert not call_all(None)(RUN[2])
    assert history.steps == RUN[:2]


def test_copies_of_an_estimator_share_their_watchers():
    history = History()
    assert copy.deepcopy([history]) == [history]


def test_step_is_json():
    assert json.loads(json.dumps(RUN[0].as_dict()))["parts"] == {"reconstruction": 10.0, "decay": 2.5}
