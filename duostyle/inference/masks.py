"""Masks for pictures and for the frames of a video."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from duostyle.io.images import PictureError, list_pictures, natural_order, read_mask
from duostyle.io.pixels import frames_to_tensor, resize
from duostyle.io.video import VIDEO_SUFFIXES, Frame, VideoReader

MAX_RATE_DIFFERENCE = 0.01  # relative, between a mask video and its video


class MaskSource(NamedTuple):
    """Where masks are read from; white, or opaque pixels of a cut-out, are foreground.

    For a video: a mask video of the same frame rate, a folder with a picture for each frame, or one
    picture for all frames. For a picture: a picture.
    """

    path: Path
    invert: bool = False  # black is foreground


def open_mask(source: MaskSource, size: tuple[int, int]) -> Tensor:
    """Read the mask of a picture as `(1, 1, H, W)` in [0, 1] of `size` = (H, W).

    Raises PictureError if the file cannot be read.
    """
    mask = read_mask(source.path, size)
    return 1 - mask if source.invert else mask


def video_masks(source: MaskSource, reader: VideoReader, notes: list[str]) -> Iterator[Tensor]:
    """Yield masks `(1, 1, H, W)` in [0, 1] for the frames of a video, without end.

    If there are fewer masks than frames, the last one is repeated, and `notes` says so.
    Raises PictureError if there is no mask, or one cannot be read.
    """
    size = (reader.height, reader.width)
    mask: Tensor | None = None
    for mask in _read_masks(source.path, reader, size):
        yield 1 - mask if source.invert else mask
    if mask is None:
        raise PictureError(f"{source.path}: has no mask from --start on")
    notes.append(f"{source.path} ends before the video does: its last mask is repeated")
    while True:
        yield 1 - mask if source.invert else mask


def _read_masks(path: Path, reader: VideoReader, size: tuple[int, int]) -> Iterator[Tensor]:
    if path.is_dir():
        files = natural_order(list_pictures(path))
        if not files:
            raise PictureError(f"{path}: no pictures in this folder")
        # The first frame of the part is the first one at its start or after it.
        for file in files[math.ceil(reader.start * reader.rate - 1e-3) :]:
            yield read_mask(file, size)
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        with VideoReader(path, reader.start) as video:
            if abs(video.rate / reader.rate - 1) > MAX_RATE_DIFFERENCE:
                raise PictureError(
                    f"{path}: {float(video.rate):.2f} frames/s, but {reader.path.name} has "
                    f"{float(reader.rate):.2f}; give a mask of the same rate"
                )
            transparent = False  # as in pictures: the alpha channel is the mask if it is used
            for item in video:
                if isinstance(item, Frame):
                    pixels = item.pixels
                    if item.alpha is not None:
                        transparent |= bool((item.alpha < 255).any())
                        pixels = item.alpha[..., None] if transparent else pixels
                    yield resize(frames_to_tensor([pixels]).mean(dim=1, keepdim=True), size)
    else:
        mask = read_mask(path, size)
        while True:
            yield mask
