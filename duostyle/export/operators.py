"""Operators that PyTorch's exporter traces slowly, as the ONNX operators that they become."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

SINCE = 18  # the opset of these operators' definitions


class DirectOperators(TorchFunctionMode):
    """Within it, ReLU6 and bilinear resizing are traced as one ONNX operator each.

    PyTorch traces both through many smaller operations, with symbolic sizes in each, and three
    times in an export: export, decomposition and type promotion.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        direct: dict[object, Callable[..., Any]] = {F.hardtanh: clip, F.interpolate: resize}
        return direct.get(func, func)(*args, **(kwargs or {}))


def clip(x: Tensor, min_val: float = -1.0, max_val: float = 1.0, **_: Any) -> Tensor:
    """Clamp to a range, as nn.ReLU6 does; arguments as for `F.hardtanh`."""
    bounds = torch.tensor(float(min_val)), torch.tensor(float(max_val))
    return torch.onnx.ops.symbolic(
        "Clip", (x, *bounds), dtype=x.dtype, shape=x.shape, version=SINCE
    )


def resize(
    x: Tensor,
    size: Sequence[int] | None = None,
    scale_factor: int | None = None,
    mode: str = "nearest",
    align_corners: bool | None = False,
    antialias: bool = False,
    **_: Any,
) -> Tensor:
    """Resize `(B, C, H, W)` bilinearly; arguments as for `F.interpolate`."""
    assert mode == "bilinear"
    scales = sizes = None
    if scale_factor is not None:
        shape = [*x.shape[:2], *(scale_factor * side for side in x.shape[2:])]
        scales = torch.tensor([1.0, 1.0, scale_factor, scale_factor])
    else:
        assert size is not None
        shape = [*x.shape[:2], *size]
        sizes = torch.stack([torch.scalar_tensor(side, dtype=torch.int64) for side in shape])
    grid = "align_corners" if align_corners else "half_pixel"
    attributes: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": grid}
    if antialias:
        attributes |= {"antialias": 1, "exclude_outside": 1}
    return torch.onnx.ops.symbolic(
        "Resize", (x, None, scales, sizes), attributes, dtype=x.dtype, shape=shape, version=SINCE
    )


def expand_batch(x: Tensor, batch: int) -> Tensor:
    """Repeat `(1, ...)` to `(batch, ...)`, and keep `(batch, ...)`, in a graph of any batch.

    PyTorch's own `expand` is left out of a graph if the example has the batch already.
    """
    shape = [batch, *x.shape[1:]]
    sizes = torch.stack([torch.scalar_tensor(side, dtype=torch.int64) for side in shape])
    return torch.onnx.ops.symbolic("Expand", (x, sizes), dtype=x.dtype, shape=shape, version=SINCE)
