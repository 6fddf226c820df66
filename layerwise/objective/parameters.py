"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class ParameterVector:
    """Parameters of a module seen as one flat float64 vector.

    Parameters
    ----------
    parameters : iterable of Parameter
        In the order of the vector, each flattened row by row.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.parameters = list(parameters)

    def read(self) -> Tensor:
        """Return the vector, of shape (n_parameters,)."""
        return parameters_to_vector(self.parameters).detach().double()

    def write(self, theta: Tensor) -> None:
        """Set the parameters to those of ``theta``, rounded to their own type."""
        vector_to_parameters(theta.to(self.parameters[0].dtype, copy=True), self.parameters)

    def bind(self, theta: Tensor) -> None:
        """Make the parameters views of ``theta``, in their own type: changes of it are changes of them."""
        vector_to_parameters(theta, self.parameters)

    def views(self, theta: Tensor) -> list[Tensor]:
        """Return the pieces of ``theta`` in the shapes of the parameters, without copying."""
        pieces = theta.split([parameter.numel() for parameter in self.parameters])
        return [piece.view_as(parameter) for piece, parameter in zip(pieces, self.parameters, strict=True)]
