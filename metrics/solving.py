"""Paint photographs by the reference solver: the honest baseline, minutes a picture."""

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from data.images import (
    PictureError,
    long_side,
    read_mask,
    read_picture,
    resize,
    tensor_to_pil,
    whole_file,
)
from data.masks import foreground_mask, load_segmenter, segment
from losses import Objective
from losses.solver import Solution, reference_weights, solve

from .subject import Subject


class MaskSource:
    """Foreground masks: a given matte, or what DeepLab says."""

    def __init__(self, matte: Path | None, segmenter: str, subject: Subject) -> None:
        """`segmenter`: as of `data.masks.load_segmenter`, loaded when it is first needed."""
        self.matte, self.name, self.subject = matte, segmenter, subject
        self.segmenter = None if matte else load_segmenter(segmenter, subject.device)

    def __call__(self, photo: Tensor) -> Tensor:
        """Mask `(1, 1, H, W)`, 1 = foreground, of a photograph `(1, 3, H, W)` in [0, 1].

        Raises PictureError where the matte cannot be read.
        """
        if self.segmenter:
            labels = segment(photo, self.segmenter)
            return foreground_mask(labels, self.subject.classes)
        return read_mask(self.matte, tuple(photo.shape[-2:]))


def paint(
    subject: Subject,
    source: MaskSource,
    photo: Path,
    alpha: float,
    size: int,
    closures: int,
    setting: str,
) -> Solution:
    """Solve one photograph.

    `size`: long side in pixels, never enlarged; `setting`: `network` for the pair's own objective,
    `reference` for that of the optimisation method (the subject's VGG is then VGG19).
    Raises PictureError where a file cannot be read, ValueError where alpha is off.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies between 0 and 1, not {alpha}")
    pixels = read_picture(photo).pixels[None]
    height, width = pixels.shape[-2:]
    if min(height, width) < 16:
        raise PictureError(f"{photo}: smaller than 16 pixels; give a larger one")
    if size < max(height, width):
        pixels = resize(pixels, long_side((height, width), size))
    mask = source(pixels).to(subject.device)
    weights = subject.weights()
    if setting == "reference":
        weights = reference_weights(*pixels.shape[-2:])
    objective = Objective(subject.vgg, subject.styles(), weights)
    with tqdm(total=closures, desc=photo.name, unit="closure", disable=None) as bar:

        def report(value: float) -> None:
            bar.set_postfix_str(f"objective {value:.3f}", refresh=False)
            bar.update()

        content = pixels.to(subject.device)
        return solve(objective, content, mask, alpha, (closures,), report)[0]


def write(solution: Solution, stem: Path) -> list[Path]:
    """Write the blended picture and both branch images beside each other; returns the files."""
    names = {"": solution.stylized, "-foreground": solution.foreground}
    names |= {"-background": solution.background}
    paths = [stem.with_name(f"{stem.name}{name}.png") for name in names]
    for path, pixels in zip(paths, names.values(), strict=True):
        with whole_file(path) as part:
            tensor_to_pil(torch.clamp(pixels[0], 0, 1).cpu()).save(part, format="PNG")
    return paths
