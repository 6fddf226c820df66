"""What all displays have in common."""

from __future__ import annotations

import abc
from typing import Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure


class Display(abc.ABC):
    """Draws itself, and remembers where."""

    ax_: Axes
    figure_: Figure

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        self : display
            With ``ax_`` and ``figure_``, where it was drawn.
        """
        self.ax_ = self._draw(ax)
        figure = self.ax_.get_figure(root=True)
        assert figure is not None
        self.figure_ = figure
        return self

    @abc.abstractmethod
    def _draw(self, ax: Axes | None) -> Axes:
        """Draw on the axes, or on new ones, and return them."""
