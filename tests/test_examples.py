"""The gallery: every program runs without a warning and draws at least one picture."""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

PROGRAMS = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_gallery(program, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.close("all")
    try:
        runpy.run_path(str(program))
        figures = [plt.figure(number) for number in plt.get_fignums()]
        assert figures
        for figure in figures:
            figure.canvas.draw()
            picture = np.asarray(figure.canvas.buffer_rgba())[..., :3]
            assert picture.std() > 0, "an empty picture"
            assert figure.axes[0].get_title() or figure.axes[0].get_ylabel(), "a picture without words"
    finally:
        plt.close("all")
