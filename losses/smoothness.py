"""Total variation, and the tie that holds the blended picture to its branch images."""

from torch import Tensor


def total_variation(picture: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, down plus across, `(B, C, H, W)` to `(B,)`."""
    down = (picture[..., 1:, :] - picture[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    across = (picture[..., :, 1:] - picture[..., :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + across


def tie(stylized: Tensor, foreground: Tensor, background: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference between the blended picture and the merge of the branch images.

    Pictures `(B, 3, H, W)`, mask `(B, 1, H, W)`, all in [0, 1]; returns `(B,)`. The merge is the
    target: no gradient flows into the branch images, which have their own terms.
    """
    merged = (mask * foreground + (1 - mask) * background).detach()
    return (stylized - merged).abs().mean(dim=(1, 2, 3))
