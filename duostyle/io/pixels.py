"""Pixels as tensors: conversion from and to 8 bits, resizing, luminance and chroma."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from duostyle.constants import BT601_LUMA

# ITU-R BT.601, full range. Rows: Y, Cb, Cr; columns: R, G, B.
RGB_TO_YCBCR = (
    BT601_LUMA,
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


def from_uint8(pixels: Tensor) -> Tensor:
    """Convert 0..255 to float32 in [0, 1]."""
    return pixels.float().div(255)


def to_uint8(pixels: Tensor) -> Tensor:
    """Clamp floats to [0, 1] and round them to 0..255."""
    return (pixels.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)


def pil_to_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB image to `(3, H, W)` float32 in [0, 1], or an L image to `(1, H, W)`."""
    array = np.array(image)
    array = array[..., None] if array.ndim == 2 else array
    return from_uint8(torch.from_numpy(array).permute(2, 0, 1))


def tensor_to_pil(pixels: Tensor) -> Image.Image:
    """Convert `(3, H, W)` or `(1, H, W)` in [0, 1] to an 8-bit RGB or L image."""
    array = to_uint8(pixels).cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def frames_to_tensor(frames: Sequence[np.ndarray], device: torch.device | str = "cpu") -> Tensor:
    """Stack frames `(H, W, C)` uint8 to `(B, C, H, W)` float32 in [0, 1] on `device`."""
    pixels = torch.from_numpy(np.stack(frames))
    if torch.device(device).type == "cuda":  # pinned memory is copied while the GPU computes
        pixels = pixels.pin_memory()
    return from_uint8(pixels.to(device, non_blocking=True).permute(0, 3, 1, 2))


def tensor_to_frames(pixels: Tensor) -> list[np.ndarray]:
    """Convert `(B, 3 or 1, H, W)` in [0, 1] to frames `(H, W, 3)` uint8."""
    rounded = to_uint8(pixels.expand(-1, 3, -1, -1))
    return list(rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize `(B, C, H, W)` to `size` = (H, W): bilinear, antialiased; no-op at that size."""
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)


def short_side(size: tuple[int, int], short: int) -> tuple[int, int]:
    """Scale `size` so that its short side has `short` pixels."""
    return _scaled(size, short / min(size))


def long_side(size: tuple[int, int], long: int) -> tuple[int, int]:
    """Scale `size` so that its long side has `long` pixels."""
    return _scaled(size, long / max(size))


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def luma(rgb: Tensor) -> Tensor:
    """Compute the luma `(B, 1, H, W)` of `(B, 3, H, W)` RGB in [0, 1] (ITU-R BT.601)."""
    return torch.einsum("c,bchw->bhw", rgb.new_tensor(BT601_LUMA), rgb)[:, None]


def keep_chroma(stylized: Tensor, content: Tensor) -> Tensor:
    """Combine the luminance of `stylized` with the chroma of `content`.

    Both are `(B, 3, H, W)` RGB in [0, 1], and so is the result.
    """
    matrix = torch.tensor(RGB_TO_YCBCR, dtype=stylized.dtype, device=stylized.device)
    luminance = torch.einsum("c,bchw->bhw", matrix[0], stylized)[:, None]
    chroma = torch.einsum("kc,bchw->bkhw", matrix[1:], content.to(stylized))
    to_rgb = torch.linalg.inv(matrix)
    return torch.einsum("ck,bkhw->bchw", to_rgb, torch.cat([luminance, chroma], dim=1)).clamp(0, 1)
