"""Matrix products by the fastest exact kernel of this processor: torch's own (MKL), or oneDNN's.

MKL does not use all of an AMD processor: with AVX-512, oneDNN is up to twice as fast there in float32. Otherwise, and
for other types and devices, torch's own product is used. The choice depends on the processor and never on a timing, so
that the same seed gives the same bits. The environment variable ``LAYERWISE_PRODUCTS`` overrides it; it is read once.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = [
    "KERNELS",
    "PRECISIONS",
    "add_transposed_product",
    "apply_linear",
    "kernel",
    "linear",
    "precision",
    "transposed_product",
]

KERNELS = ("torch", "onednn")
PRECISIONS = ("highest", "high", "medium")
_VARIABLE = "LAYERWISE_PRODUCTS"
_PROCESSOR = Path("/proc/cpuinfo")


@functools.cache
def kernel() -> str:
    """Return the kernel of float32 products on this processor.

    Returns
    -------
    kernel : {"torch", "onednn"}
        "onednn" on AMD processors with AVX-512 under Linux, or if ``LAYERWISE_PRODUCTS`` chooses it, provided that
        oneDNN's operator exists and agrees with `torch.mm`; otherwise "torch".

    Raises
    ------
    ValueError
        If ``LAYERWISE_PRODUCTS`` names no kernel.

    Examples
    --------
    >>> kernel() in KERNELS
    True
    """
    chosen = os.environ.get(_VARIABLE) or _choose_by_processor()
    if chosen not in KERNELS:
        raise ValueError(
            f"the environment variable {_VARIABLE}={chosen!r} is not known; choose 'torch' or 'onednn', or unset it"
        )
    return chosen if chosen == "torch" or _is_exact() else "torch"


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Compute float32 products with this precision in a ``with`` block, if the processor is faster with it.

    Parameters
    ----------
    name : {"highest", "high", "medium"}
        As of `torch.set_float32_matmul_precision`. "highest" leaves torch's setting as it is: what somebody has chosen
        for the process holds.

    Examples
    --------
    >>> with precision("medium"):
    ...     torch.get_float32_matmul_precision()
    'medium'
    """
    if name == "highest":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def linear(a: Tensor, b: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Compute ``a b' + bias``, without autograd.

    Parameters
    ----------
    a : Tensor of shape (n_rows, n_inputs)
    b : Tensor of shape (n_outputs, n_inputs)
    bias : Tensor that broadcasts to (n_rows, n_outputs), or None, default=None
        One of shape (n_outputs,) is added by the product itself.
    out : Tensor of shape (n_rows, n_outputs) or None, default=None
        Memory for the result, where the kernel can write into it: what is returned is the result.

    Returns
    -------
    product : Tensor of shape (n_rows, n_outputs)

    Examples
    --------
    >>> linear(torch.ones(2, 3), torch.ones(1, 3), torch.ones(1)).tolist()
    [[4.0], [4.0]]
    """
    if not _takes_onednn(a, b, bias):
        return torch.mm(a, b.T, out=out) if bias is None else torch.addmm(bias, a, b.T, out=out)
    fused = bias is not None and bias.shape == b.shape[:1]
    product = _multiply_by_onednn(a, b, bias if fused else None)
    if bias is not None and not fused:
        product += bias
    return product


def transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """Compute ``a' b``, the gradient of a weight matrix, without autograd.

    Parameters
    ----------
    a : Tensor of shape (n_rows, n_outputs)
    b : Tensor of shape (n_rows, n_inputs)

    Returns
    -------
    product : Tensor of shape (n_outputs, n_inputs)
        May be a transposed view.

    Examples
    --------
    >>> transposed_product(torch.ones(4, 2), torch.ones(4, 3)).tolist()
    [[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]]
    """
    return _transpose_and_multiply(linear, a, b) if _takes_onednn(a.T, b.T) else torch.mm(a.T, b)


def add_transposed_product(total: Tensor, a: Tensor, b: Tensor, *, keep: float = 1, scale: float = 1) -> None:
    """Make ``total`` ``keep total + scale a' b``, in place and without autograd.

    Parameters
    ----------
    total : Tensor of shape (n_outputs, n_inputs)
        Of any type.
    a : Tensor of shape (n_rows, n_outputs)
    b : Tensor of shape (n_rows, n_inputs)
    keep : float, default=1
        If 0 and the types agree, the values of ``total`` are ignored, NaN too.
    scale : float, default=1

    Examples
    --------
    >>> total = torch.ones(1, 1)
    >>> add_transposed_product(total, torch.ones(4, 1), torch.ones(4, 1), keep=0.5)
    >>> total.item()
    4.5
    """
    if total.dtype == a.dtype and not _takes_onednn(a.T, b.T):
        total.addmm_(a.T, b, beta=keep, alpha=scale)
    elif total.dtype == a.dtype and keep == 0:
        torch.mul(transposed_product(a, b), scale, out=total)
    else:
        total.mul_(keep).add_(transposed_product(a, b), alpha=scale)


def apply_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear map as `torch.nn.functional.linear` does, differentiable by autograd.

    Parameters
    ----------
    x : Tensor of shape (..., n_inputs)
    weight : Tensor of shape (n_outputs, n_inputs)
    bias : Tensor of shape (n_outputs,) or None, default=None

    Returns
    -------
    y : Tensor of shape (..., n_outputs)
        ``x W' + b``. It comes from torch's own function unless oneDNN is the kernel and the tensors are plain float32
        on the CPU: not while compiling, tracing or exporting, nor under autocast or the transforms of `torch.func`.

    Examples
    --------
    >>> weight = torch.ones(1, 3, requires_grad=True)
    >>> apply_linear(torch.ones(2, 3), weight).sum().backward()
    >>> weight.grad.tolist()
    [[2.0, 2.0, 2.0]]
    """
    eager = not torch.compiler.is_compiling() and kernel() == "onednn" and _is_eager(x, weight, bias)
    if not eager or not _takes_onednn(x, weight, bias):
        return nn.functional.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)


class _Linear(torch.autograd.Function):
    """Written with `apply_linear` itself, so that its gradients have gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        by_x, by_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if by_weight else None, weight if by_x else None)
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor | None, ...]:
        (delta,), (x, weight) = deltas, ctx.saved_tensors
        return (
            None if weight is None else apply_linear(delta, weight.T),
            None if x is None else _transpose_and_multiply(apply_linear, delta, x),
            delta.sum(dim=0) if ctx.needs_input_grad[2] else None,
        )


def _transpose_and_multiply(multiply: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Compute ``a' b`` by a function that gives ``a b'``: oneDNN is faster with the narrow one first, both as views."""
    return multiply(a.T, b.T) if a.shape[1] <= b.shape[1] else multiply(b.T, a.T).T


def _takes_onednn(a: Tensor, b: Tensor, bias: Tensor | None = None) -> bool:
    """Return whether oneDNN computes a b' + bias; empty products and errors are left to torch."""
    return (
        kernel() == "onednn"
        and a.ndim == b.ndim == 2
        and a.shape[1] == b.shape[1]
        and a.numel() > 0 < b.numel()
        and all(
            t is None or (t.dtype is torch.float32 and t.is_cpu and t.layout is torch.strided) for t in (a, b, bias)
        )
    )


def _is_eager(*tensors: Tensor | None) -> bool:
    """Return whether these are plain tensors, and nothing traces or transforms what is computed from them."""
    try:
        return all(type(tensor) in (Tensor, nn.Parameter, type(None)) for tensor in tensors) and not (
            torch.jit.is_tracing()
            or torch.is_autocast_enabled("cpu")
            or torch._C._len_torch_dispatch_stack()
            or torch._C._are_functorch_transforms_active()
            or forward_ad._current_level >= 0
        )
    except AttributeError:  # the last three are private to torch
        return False


def _multiply_by_onednn(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.default(a, b, bias, "none", [], "")


def _is_exact() -> bool:
    """Return whether oneDNN's operator, which is private to torch, is there and computes what torch computes."""
    a = torch.linspace(-1, 1, 5 * 33, dtype=torch.float32, device="cpu").reshape(5, 33).sin()
    b = torch.linspace(-9, 9, 33 * 7, dtype=torch.float32, device="cpu").reshape(33, 7).cos().T  # a view
    bias = b[:, 0].clone()
    expected = torch.mm(a, b.T)
    try:
        found = _multiply_by_onednn(a, b), _multiply_by_onednn(a, b, bias) - bias
        return all(torch.allclose(product, expected, rtol=1e-5, atol=1e-5) for product in found)
    except Exception:  # whatever a private interface may raise that is not what it was
        return False


def _choose_by_processor() -> str:
    """Return "onednn" for AMD processors with AVX-512 under Linux, "torch" for all others."""
    try:
        lines = _PROCESSOR.read_text().splitlines()
    except OSError:
        return "torch"
    about = {name.strip(): value.split() for name, _, value in (line.partition(":") for line in lines)}
    is_amd, flags = about.get("vendor_id") == ["AuthenticAMD"], about.get("flags", [])
    return "onednn" if is_amd and "avx512f" in flags else "torch"
