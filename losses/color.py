"""Light and chroma of pixels (ITU-R BT.601), for the terms that tell them apart."""

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue


def luminance(picture: Tensor) -> Tensor:
    """`(B, 3, H, W)` RGB in [0, 1] to `(B, 1, H, W)`, float32."""
    weights = torch.tensor(LUMINANCE, device=picture.device).view(1, 3, 1, 1)
    return (picture.float() * weights).sum(dim=1, keepdim=True)


def chroma(picture: Tensor) -> Tensor:
    """A one, and four times Cb and Cr, `(B, 3, H, W)`, float32.

    Its Gram matrix holds their means and second moments, of like size: which colours there are,
    however light or dark.
    """
    light = luminance(picture)
    cb, cr = 0.564 * (picture[:, 2:] - light), 0.713 * (picture[:, :1] - light)
    return torch.cat([torch.ones_like(light), 4 * cb, 4 * cr], dim=1)
