"""Total variation."""

from torch import Tensor


def total_variation(picture: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, down plus across, `(B, C, H, W)` to `(B,)`."""
    down = (picture[..., 1:, :] - picture[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    across = (picture[..., :, 1:] - picture[..., :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + across
