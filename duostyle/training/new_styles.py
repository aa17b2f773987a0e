"""Start a painting that a checkpoint does not know from the most similar style that it knows.

Photographs are stylized in every known style, the mean and standard deviation of each color channel
are matched to the painting's before the sigmoid, and the style with the smallest distance of Gram
matrices is taken.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from duostyle.files import ROOT
from duostyle.io.images import read_picture, read_style
from duostyle.io.pixels import resize, short_side
from duostyle.losses import Objective
from duostyle.models import ConditionalNorm, StyleNetwork, load_checkpoint
from duostyle.progress import progress
from duostyle.training.initialization import known_rows, style_groups
from duostyle.training.settings import TrainConfig

PHOTOS = ("astronaut.jpg", "chelsea.jpg")  # in assets/photos
SIDE = 256  # of their centers, pixels
EPS = 0.02  # colors are clamped to [EPS, 1 - EPS] before the logit
MAX_CONTRAST = 2.0  # by which a channel's standard deviation is changed at most


@torch.no_grad()
def start_new_styles(network: StyleNetwork, config: TrainConfig, objective: Objective) -> list[int]:
    """Give the styles that --init does not know norm parameters to start from.

    Returns their numbers. Raises CheckpointError if --init cannot be loaded.
    """
    if config.init is None:
        return []
    rows = known_rows(config)
    new = [number for number, known in enumerate(rows) if not known]
    if not new:
        return []
    device, groups = network.device, style_groups(config)
    source, photos = load_checkpoint(config.init, device), photographs().to(device)
    for number in progress(new, name="new paintings", unit="painting"):
        images = [read_style(file, config.style_size) for file in groups[number]]
        target = mean_colors([torch.logit(image, eps=EPS) for image in images])
        found: list[tuple[float, int, Tensor, Tensor]] = []
        for row in range(source.config.styles):
            logits = painted_logits(source, photos, row, background=number == 1)
            factor, offset = color_change(mean_colors(logits.split(1)), target)
            changed = torch.sigmoid(logits * factor.to(device) + offset.to(device))
            distance = objective.style_distance(changed, number).mean().item()
            found.append((distance, row, factor, offset))
        _, row, factor, offset = min(found, key=lambda entry: entry[0])
        copy_row(network, number, source, row)
        change_colors(network, number, factor, offset)
    return new


def painted_logits(source: StyleNetwork, photos: Tensor, row: int, background: bool) -> Tensor:
    """Return photographs `(B, 3, H, W)` painted whole in one style, before the sigmoid.

    `background`: by the branch of the background.
    """
    mask = torch.full_like(photos[:, :1], 0.0 if background else 1.0)
    styles = torch.full((len(photos), 2), row, device=photos.device)
    painted = source.decode(source.encode(photos, mask, styles=styles), 0.0)
    return torch.logit(painted.float(), eps=EPS)


def mean_colors(logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, `(1, 3, 1, 1)`, means over pictures."""
    means = torch.stack([x.mean(dim=(0, 2, 3)) for x in logits]).mean(dim=0)
    deviations = torch.stack([x.std(dim=(0, 2, 3)) for x in logits]).mean(dim=0)
    return means.view(1, 3, 1, 1).cpu(), deviations.view(1, 3, 1, 1).cpu()


def color_change(
    found: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return factor and offset that map logits with statistics `found` to statistics `target`."""
    factor = (target[1] / found[1].clamp_min(1e-3)).clamp(1 / MAX_CONTRAST, MAX_CONTRAST)
    return factor, target[0] - factor * found[0]


def change_colors(network: StyleNetwork, number: int, factor: Tensor, offset: Tensor) -> None:
    """Change a style's colors before the sigmoid, in both branches; from `color_change`."""
    factor, offset = factor[0].to(network.device), offset[0].to(network.device)
    for branch in (network.branch1, network.branch2):
        norm = branch.to_rgb.style
        norm.scale[number] = factor * norm.scale[number]
        norm.shift[number] = factor * norm.shift[number] + offset


def copy_row(network: StyleNetwork, number: int, source: StyleNetwork, row: int) -> None:
    """Copy a style's norm parameters from another network."""
    for own, other in zip(network.modules(), source.modules(), strict=True):
        if isinstance(own, ConditionalNorm) and isinstance(other, ConditionalNorm):
            own.scale[number], own.shift[number] = other.scale[row], other.shift[row]


def photographs() -> Tensor:
    """Return the centers of the photographs that are painted, `(B, 3, SIDE, SIDE)`."""
    centers = []
    for name in PHOTOS:
        pixels = read_picture(ROOT / "assets" / "photos" / name).pixels[None]
        height, width = short_side((pixels.shape[-2], pixels.shape[-1]), SIDE)
        top, left = (height - SIDE) // 2, (width - SIDE) // 2
        reduced = resize(pixels, (height, width)).clamp(0, 1)
        centers.append(reduced[..., top : top + SIDE, left : left + SIDE])
    return torch.cat(centers)
