"""The network's contract with its callers: shapes and ranges."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

SMALLEST_SIDE = 16  # pixels


class Inspection(NamedTuple):
    """What `StyleNetwork.inspect` returns, all at the picture's size and in [0, 1]."""

    stylized: Tensor  # (B, 3, H, W), the blended picture I
    foreground: Tensor  # (B, 3, H, W), the whole picture in style 1, I1
    background: Tensor  # (B, 3, H, W), the whole picture in style 2, I2
    mask: Tensor  # (B, 1, H, W), 1 = foreground


class Painter(Protocol):
    """What paints: a `StyleNetwork`, or an engine that runs its graph. Arguments are as there."""

    at_once: int  # frames of a file that are best painted together

    @property
    def device(self) -> torch.device: ...

    def __call__(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
        swap: bool = False,
    ) -> Tensor: ...

    def paint(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
        swap: bool = False,
    ) -> tuple[Tensor, Tensor]: ...

    def inspect(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
        swap: bool = False,
    ) -> Inspection: ...


def check_inputs(content: Tensor, alpha: Tensor | float, mask: Tensor | None) -> None:
    """Raise ValueError, in one line, for arguments that `StyleNetwork` does not take."""
    if content.dim() != 4 or content.shape[1] != 3 or not content.is_floating_point():
        raise ValueError(
            f"content must be a float tensor (B, 3, H, W) in [0, 1], not {_describe(content)}"
        )
    if min(content.shape[-2:]) < SMALLEST_SIDE:
        raise ValueError(
            f"content is {content.shape[-1]}x{content.shape[-2]} pixels; "
            f"the smallest side taken is {SMALLEST_SIDE}"
        )
    if mask is not None and mask.shape != (content.shape[0], 1, *content.shape[-2:]):
        raise ValueError(f"mask must be (B, 1, H, W) of the content's size, not {_describe(mask)}")
    if isinstance(alpha, Tensor) and not (
        alpha.dim() == 0 or (alpha.dim() == 1 and alpha.shape[0] in (1, content.shape[0]))
    ):
        raise ValueError(f"alpha must be a number or (B,), not {tuple(alpha.shape)}")
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return  # values are not known while a graph is made
    check_alpha(alpha)


def check_alpha(alpha: Tensor | float) -> None:
    """Raise ValueError if alpha, or one of several, does not lie in [0, 1]."""
    values = torch.as_tensor(alpha)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"alpha must lie in [0, 1], not {alpha}")


def _describe(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}".replace("torch.", "")
