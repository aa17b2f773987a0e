"""A short memory of the learned mask: what is in doubt does not flip from frame to frame.

The mask of the last frame follows the motion, and is mixed into the learned mask of the new one:

    m(t) = (1 - w) * learned(t) + w * moved(m(t - 1)),   w = strength * match

Motion is estimated by the method of Lucas and Kanade 1981 in a pyramid of reduced gray frames.
`match` is 1 where the last frame, moved likewise, looks as the new one does, and 0 where it does
not: uncovered places, a failed estimate. After a cut it is 0 everywhere.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

GUIDE = 160  # pixels on the long side at which motion is estimated
LEVELS = 4  # of the pyramid, each half the size of the one before
WINDOW = 7  # pixels; side of the area whose motion is estimated as one
SMOOTHING = 5  # pixels; side of the area over which motion is averaged
NOISE = 1e-4  # squared gradient below which there is nothing to follow
# Mean gray difference around a place after the motion: match 1 up to the first, 0 from the second.
SAME, OTHER = 0.04, 0.12
CUT = 0.6  # mean match below which the frame is the first of another scene


STEADY_MASK = 0.75  # default strength


def check_steady_mask(strength: float) -> None:
    """Raise ValueError for a strength of the mask's memory outside of [0, 1)."""
    if not 0 <= strength < 1:
        raise ValueError(f"steady_mask must lie in [0, 1), not {strength}")


class MaskMemory:
    """Steadies the masks of consecutive frames."""

    def __init__(self, strength: float) -> None:
        """`strength`: weight of the last mask where it matches, 0 (off) to below 1.

        Raises ValueError for another strength.
        """
        check_steady_mask(strength)
        self.strength = strength
        self._gray: Tensor | None = None  # (1, 1, h, w)
        self._mask: Tensor | None = None  # (1, 1, H, W)

    def __call__(self, content: Tensor, masks: Tensor) -> Tensor:
        """Return the steadied masks of the next frames, in order.

        `content`: `(B, 3, H, W)` RGB in [0, 1]; `masks`: `(B, 1, H, W)` in [0, 1], learned from it.
        Another size than before starts again.
        """
        if not self.strength:
            return masks
        grays = _reduced(content.float().mean(dim=1, keepdim=True))
        pairs = zip(grays.split(1), masks.split(1), strict=True)
        return torch.cat([self._next(gray, mask) for gray, mask in pairs])

    def _next(self, gray: Tensor, mask: Tensor) -> Tensor:
        past, last = self._gray, self._mask
        if past is not None and last is not None and last.shape == mask.shape:
            flow = motion(past, gray)
            match = _match(sample(past, flow), gray)
            if match.mean() >= CUT:
                size = (mask.shape[-2], mask.shape[-1])
                weight = self.strength * _enlarged(match, size)
                mask = torch.lerp(mask, sample(last, resize_flow(flow, size)), weight)
        self._gray, self._mask = gray, mask
        return mask


def motion(past: Tensor, now: Tensor) -> Tensor:
    """Estimate where every pixel of `now` was in `past`, both gray, `(1, 1, h, w)` in [0, 1].

    Returns the displacement in pixels, x and y, `(1, 2, h, w)`.
    """
    pyramid = [(past, now)]
    while len(pyramid) < LEVELS and min(pyramid[-1][0].shape[-2:]) >= 2 * WINDOW:
        before, after = pyramid[-1]
        pyramid.append((_halved(before), _halved(after)))
    flow = torch.zeros_like(pyramid[-1][1]).repeat(1, 2, 1, 1)
    for before, after in reversed(pyramid):
        flow = resize_flow(flow, (after.shape[-2], after.shape[-1]))
        flow = _average(flow + _step(sample(before, flow), after), SMOOTHING)
    return flow


def sample(x: Tensor, flow: Tensor) -> Tensor:
    """Read `x`, `(1, C, h, w)`, at every pixel plus its displacement in pixels, `(1, 2, h, w)`."""
    height, width = x.shape[-2:]
    columns = torch.arange(width, device=x.device) + flow[:, 0]
    rows = torch.arange(height, device=x.device)[:, None] + flow[:, 1]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(x, grid.to(x), padding_mode="border", align_corners=False)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a displacement `(1, 2, h, w)` to (H, W), in pixels of the new size."""
    height, width = flow.shape[-2:]
    if size == (height, width):
        return flow
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
    return _enlarged(flow, size) * scale


def _step(before: Tensor, after: Tensor) -> Tensor:
    """Solve for the displacement that remains, at most 1 pixel along each axis."""
    mean = F.pad((before + after) / 2, (1, 1, 1, 1), mode="replicate")
    x = (mean[..., 1:-1, 2:] - mean[..., 1:-1, :-2]) / 2
    y = (mean[..., 2:, 1:-1] - mean[..., :-2, 1:-1]) / 2
    change = after - before
    products = torch.cat([x * x, y * y, x * y, x * change, y * change], dim=1)
    xx, yy, xy, xt, yt = _average(products, WINDOW).split(1, dim=1)
    xx, yy = xx + NOISE, yy + NOISE
    solved = torch.cat([yy * xt - xy * yt, xx * yt - xy * xt], dim=1) / (xx * yy - xy * xy)
    return solved.clamp(-1, 1)


def _match(moved: Tensor, now: Tensor) -> Tensor:
    error = _average((moved - now).abs(), SMOOTHING)
    return ((OTHER - error) / (OTHER - SAME)).clamp(0, 1)


def _average(x: Tensor, side: int) -> Tensor:
    """Average over squares of an odd side, within the picture."""
    for kernel in ((1, side), (side, 1)):  # along one axis after the other is faster
        padding = (kernel[0] // 2, kernel[1] // 2)
        x = F.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
    return x


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True)


def _reduced(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    scale = min(GUIDE / max(height, width), 1.0)
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    return F.adaptive_avg_pool2d(x, size)


def _enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
