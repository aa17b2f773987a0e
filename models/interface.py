"""What the network and its callers agree on: inputs, their ranges, and results."""

from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

SMALLEST_SIDE = 16  # pixels

EncodedT = TypeVar("EncodedT")


class Inspection(NamedTuple):
    """The stylized picture, both branch images and the mask: the content's size, in [0, 1]."""

    stylized: Tensor  # (B, 3, H, W), the blended picture I
    foreground: Tensor  # (B, 3, H, W), the whole picture in the foreground's style, I1
    background: Tensor  # (B, 3, H, W), the whole picture in the background's style, I2
    mask: Tensor  # (B, 1, H, W), 1 = foreground


class Painter(Protocol[EncodedT]):
    """A `StyleNetwork`, or a runtime that executes its graph; arguments as for `StyleNetwork`.

    `encode` a picture once, then `decode` for each alpha.
    """

    at_once: int  # frames of a file to paint in one batch

    @property
    def device(self) -> torch.device: ...

    def encode(self, content: Tensor, mask: Tensor | None = None) -> EncodedT: ...

    def decode(self, encoded: EncodedT, alpha: Tensor | float, swap: bool = False) -> Tensor: ...

    def decode_all(
        self, encoded: EncodedT, alpha: Tensor | float, swap: bool = False
    ) -> Inspection: ...


def check_content(content: Tensor, mask: Tensor | None = None) -> None:
    """Raise ValueError unless content and mask have the shapes and types that networks take."""
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


def check_alpha(alpha: Tensor | float, batch: int = 1) -> None:
    """Raise ValueError unless alpha is in [0, 1]: a number, or one for each picture of a batch."""
    if isinstance(alpha, Tensor) and not (
        alpha.dim() == 0 or (alpha.dim() == 1 and alpha.shape[0] in (1, batch))
    ):
        raise ValueError(f"alpha must be a number or (B,), not {tuple(alpha.shape)}")
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return  # values are unknown while a graph is traced
    values = torch.as_tensor(alpha)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"alpha must lie in [0, 1], not {alpha}")


def other_style_weight(alpha: Tensor) -> Tensor:
    """Return the weight alpha / (1 + alpha) of the other style in each region's mixture.

    It minimizes `|G - G1|^2 + alpha * |G - G2|^2` over Gram matrices G: 0 for each region in its
    own style, 1/2 for an even mixture everywhere.
    """
    return alpha / (1 + alpha)


def _describe(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}".replace("torch.", "")
