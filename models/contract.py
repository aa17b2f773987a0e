"""The network's contract with its callers: shapes and ranges."""

import torch
from torch import Tensor

SMALLEST_SIDE = 16  # pixels


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
    if mask is not None and mask.shape != (len(content), 1, *content.shape[-2:]):
        raise ValueError(f"mask must be (B, 1, H, W) of the content's size, not {_describe(mask)}")
    if isinstance(alpha, Tensor) and alpha.shape not in ((), (1,), (len(content),)):
        raise ValueError(f"alpha must be a number or (B,), not {tuple(alpha.shape)}")
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return  # values are not known while a graph is made
    values = torch.as_tensor(alpha)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"alpha must lie in [0, 1], not {alpha}")


def _describe(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}".replace("torch.", "")
