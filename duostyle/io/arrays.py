"""Frames of videos and cameras, `(H, W, 3)` uint8 RGB, as pictures and back."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def to_tensor(frames: Sequence[np.ndarray], device: torch.device | str = "cpu") -> Tensor:
    """Frames `(H, W, 3)` uint8 as `(B, 3, H, W)` float32 in [0, 1]."""
    pixels = torch.from_numpy(np.stack(frames))
    if torch.device(device).type == "cuda":  # copied while the GPU still paints
        pixels = pixels.pin_memory()
    pixels = pixels.to(device, non_blocking=True)
    return pixels.permute(0, 3, 1, 2).float().div(255)


def to_arrays(pictures: Tensor) -> list[np.ndarray]:
    """`(B, 3 or 1, H, W)` in [0, 1] as frames `(H, W, 3)` uint8."""
    pixels = (pictures.expand(-1, 3, -1, -1).clamp(0, 1) * 255).round().to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
