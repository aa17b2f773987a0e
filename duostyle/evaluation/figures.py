"""The pictures that explain a pair: the naive method and total variation, the blend, samples."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.data.photos import Entry
from duostyle.evaluation.boundary import paste
from duostyle.evaluation.subject import Subject, read_labelled
from duostyle.io.images import read_picture, tensor_to_pil
from duostyle.io.sheet import Cell
from duostyle.models import StyleNetwork

NAMES = ("naive", "blend", "samples")
BLEND = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SAMPLE = (0.0, 0.5, 1.0)


def sheets(
    subject: Subject, without_tv: StyleNetwork | None, entries: Sequence[Entry]
) -> Iterator[tuple[str, list[list[Cell]]]]:
    """Every figure's name and its rows of pictures; the first photograph serves the first two.

    Raises PictureError where a file cannot be read.
    """
    network, device = subject.network, subject.device
    photo, mask, _ = (x.to(device) for x in read_labelled(entries[0], subject.classes))
    yield NAMES[0], comparison(network, without_tv, photo, mask)
    yield NAMES[1], blend(network, photo)
    photos = (read_picture(entry.photo).pixels[None].to(device) for entry in entries)
    yield NAMES[2], list(samples(network, subject.style_files, photos))


@torch.inference_mode()
def comparison(
    network: StyleNetwork, without_tv: StyleNetwork | None, photo: Tensor, mask: Tensor
) -> list[list[Cell]]:
    """The naive method, ours trained without the TV term (where there is one), ours; at alpha 0.

    `photo`: `(1, 3, H, W)`; `mask`: `(1, 1, H, W)`, binary, given to all of them. The second row
    shows a detail of each, twice as large.
    """
    view = network.inspect(photo, 0.0, mask)
    pictures = {"naive: cut and pasted": paste(view.foreground, view.background, mask)}
    if without_tv:
        pictures["ours without the TV term"] = without_tv(photo, 0.0, mask)
    pictures["ours"] = view.stylized
    top, left, height, width = detail(mask)
    window = (..., slice(top, top + height), slice(left, left + width))
    return [
        [(name, tensor_to_pil(p[0])) for name, p in pictures.items()],
        [(f"{name}, detail", tensor_to_pil(p[0][window])) for name, p in pictures.items()],
    ]


def detail(mask: Tensor) -> tuple[int, int, int, int]:
    """The half-size window with most of the mask's border: top, left, height, width, pixels."""
    height, width = mask.shape[-2] // 2, mask.shape[-1] // 2
    down = F.pad(mask.diff(dim=-2).abs(), (0, 0, 0, 1))
    across = F.pad(mask.diff(dim=-1).abs(), (0, 1))
    step = max(min(height, width) // 8, 1)
    inside = F.avg_pool2d(down + across, (height, width), step)[0, 0]
    row, column = divmod(int(inside.argmax()), inside.shape[1])
    return row * step, column * step, height, width


@torch.inference_mode()
def blend(network: StyleNetwork, photo: Tensor) -> list[list[Cell]]:
    """Both branch images above, alpha from 0 to 1 below; `photo`: `(1, 3, H, W)` in [0, 1]."""
    view = network.inspect(photo, 0.0)
    above = [
        ("photograph", tensor_to_pil(photo[0])),
        ("branch 1, alpha 0", tensor_to_pil(view.foreground[0])),
        ("branch 2, alpha 0", tensor_to_pil(view.background[0])),
        ("learned mask", tensor_to_pil(view.mask[0])),
    ]
    strip = [(f"alpha {a:g}", tensor_to_pil(network(photo, a)[0])) for a in BLEND]
    half = len(BLEND) // 2
    return [above, strip[:half], strip[half:]]


@torch.inference_mode()
def samples(
    network: StyleNetwork, styles: Sequence[Path], photos: Iterable[Tensor]
) -> Iterator[list[Cell]]:
    """The paintings, then a row a photograph `(1, 3, H, W)`: itself, mask, alpha 0, 0.5 and 1."""
    names = ("style 1, foreground", "style 2, background")
    yield [
        (name, tensor_to_pil(read_picture(path).pixels))
        for name, path in zip(names, styles, strict=True)
    ]
    for photo in photos:
        view = network.inspect(photo, SAMPLE[0])
        mask = tensor_to_pil(view.mask[0])
        cells = [("photograph", tensor_to_pil(photo[0])), ("learned mask", mask)]
        for alpha in SAMPLE:
            painted = network(photo, alpha) if alpha else view.stylized
            cells.append((f"alpha {alpha:g}", tensor_to_pil(painted[0])))
        yield cells
