"""Paint photographs by the reference solver: the honest baseline, minutes a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from tqdm import tqdm

from duostyle.data.masks import VOC_CLASSES, foreground_mask, load_segmenter, segment
from duostyle.evaluation.subject import Subject
from duostyle.io.images import (
    PictureError,
    long_side,
    read_mask,
    read_picture,
    resize,
    tensor_to_pil,
    whole_file,
)
from duostyle.losses import Objective, ObjectiveWeights
from duostyle.losses.solver import Solution, reference_weights, solve

REFERENCE_SIZE = 512  # short side of the paintings in the optimisation method, pixels
SMALLEST = 32  # pixels; VGG's deeper layers pad what is smaller by more than it has


class MaskSource:
    """Foreground masks: a given matte, or what DeepLab says."""

    def __init__(self, matte: Path | None, segmenter: str, classes: Sequence[int]) -> None:
        """`segmenter`: as of `data.masks.load_segmenter`; `classes`: VOC's, that are foreground.

        Raises OSError or ValueError where the segmenter is needed and cannot be had.
        """
        self.matte, self.classes = matte, classes
        self.segmenter = None if matte else load_segmenter(segmenter)

    def __call__(self, photo: Tensor) -> Tensor:
        """Mask `(1, 1, H, W)`, 1 = foreground, of a photograph `(1, 3, H, W)` in [0, 1].

        Raises PictureError where the matte cannot be read.
        """
        if self.segmenter:
            return foreground_mask(segment(photo, self.segmenter), self.classes)
        return read_mask(self.matte, tuple(photo.shape[-2:]))


class Setting(NamedTuple):
    """What is minimised: the pair's own objective, or the optimisation method's."""

    styles: tuple[Tensor, Tensor]
    classes: Sequence[int]
    weights: Callable[[int, int], ObjectiveWeights]  # by height and width, pixels


def setting(subject: Subject, name: str) -> Setting:
    """`network`: the pair's; `reference`: the method's (people, paintings at 512 px)."""
    if name == "network":
        return Setting(subject.styles(), subject.classes, lambda *_: subject.weights())
    person = VOC_CLASSES.index("person")
    return Setting(subject.styles(REFERENCE_SIZE), (person,), reference_weights)


def paint(
    subject: Subject,
    chosen: Setting,
    source: MaskSource,
    photo: Path,
    alpha: float,
    size: int,
    closures: int,
) -> Solution:
    """Solve one photograph, its long side at `size` pixels at most.

    Raises PictureError where a file cannot be read, ValueError where alpha is off.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies between 0 and 1, not {alpha}")
    pixels = read_picture(photo).pixels[None]
    height, width = pixels.shape[-2:]
    if size < max(height, width):
        pixels = resize(pixels, long_side((height, width), size))
    if min(pixels.shape[-2:]) < SMALLEST:
        raise PictureError(
            f"{photo}: a side under {SMALLEST} pixels; give a larger --size or photo"
        )
    mask = source(pixels).to(subject.device)
    weights = chosen.weights(*pixels.shape[-2:])
    objective = Objective(subject.vgg, chosen.styles, weights)
    with tqdm(total=closures, desc=photo.name, unit="closure", disable=None) as bar:

        def report(value: float) -> None:
            bar.set_postfix_str(f"objective {value:.3f}", refresh=False)
            bar.update()

        content = pixels.to(subject.device)
        return solve(objective, content, mask, alpha, (closures,), report)[0]


def files(photos: Sequence[Path], folder: Path, force: bool) -> dict[Path, list[Path]]:
    """The three pictures that each photograph becomes: blended, foreground, background.

    Raises PictureError where two photographs would meet in one file, or one exists and `force` is
    not given.
    """
    planned = {
        photo: [folder / f"{photo.stem}{name}.png" for name in ("", "-foreground", "-background")]
        for photo in photos
    }
    taken: set[Path] = set()
    for photo, paths in planned.items():
        for path in paths:
            if path in taken:
                raise PictureError(f"{photo}: another photograph becomes {path} too; rename one")
            if path.exists() and not force:
                raise PictureError(f"{path}: exists; --force overwrites, -o names another place")
        taken |= set(paths)
    return planned


def write(solution: Solution, paths: Sequence[Path]) -> None:
    """Write the blended picture and both branch images, each whole or not at all.

    By the pair's own objective, which judges a branch image where it is shown, the rest of it stays
    the photograph.
    """
    pictures = (solution.stylized, solution.foreground, solution.background)
    for path, pixels in zip(paths, pictures, strict=True):
        with whole_file(path) as part:
            tensor_to_pil(pixels[0]).save(part, format="PNG")
