"""Keep my colours: luminance from the painting, chroma from the photograph."""

import torch
from torch import Tensor

from duostyle.constants import BT601_LUMA

# ITU-R BT.601, full range: rows are Y, Cb, Cr.
TO_YCBCR = (
    BT601_LUMA,
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


def keep_chroma(painted: Tensor, photo: Tensor) -> Tensor:
    """`(B, 3, H, W)` RGB in [0, 1] each: the painting's luminance under the photo's colours."""
    matrix = torch.tensor(TO_YCBCR, dtype=painted.dtype, device=painted.device)
    luminance = torch.einsum("c,bchw->bhw", matrix[0], painted)[:, None]
    chroma = torch.einsum("kc,bchw->bkhw", matrix[1:], photo.to(painted))
    back = torch.linalg.inv(matrix)
    return torch.einsum("ck,bkhw->bchw", back, torch.cat([luminance, chroma], dim=1)).clamp(0, 1)
