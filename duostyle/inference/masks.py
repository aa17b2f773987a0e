"""Masks for the frames of a video."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from duostyle.io.arrays import to_tensor
from duostyle.io.images import PictureError, in_order, list_pictures, read_mask, resize
from duostyle.io.video import VIDEO_SUFFIXES, Frame, VideoReader

SAME_RATE = 0.01  # share by which a mask's rate may differ


class Matte(NamedTuple):
    """A mask for a video: another video, or a folder of pictures, one a frame."""

    path: Path
    invert: bool = False


def mask_frames(matte: Matte, reader: VideoReader, notes: list[str]) -> Iterator[Tensor]:
    """Masks `(1, 1, H, W)` in [0, 1] for a video's frames in order, without end.

    Where the masks end before the video does, the last one is repeated, and `notes` says so.
    Raises PictureError where there is no such mask.
    """
    size, mask = (reader.height, reader.width), None
    for mask in _mask_pictures(matte.path, reader, size):
        yield 1 - mask if matte.invert else mask
    if mask is None:
        raise PictureError(f"{matte.path}: has no mask from --start on")
    notes.append(f"{matte.path} ends before the video does: its last mask is repeated")
    while True:
        yield 1 - mask if matte.invert else mask


def _mask_pictures(path: Path, reader: VideoReader, size: tuple[int, int]) -> Iterator[Tensor]:
    if path.is_dir():
        files = in_order(list_pictures(path))
        if not files:
            raise PictureError(f"{path}: no pictures in this folder")
        # The first frame that is painted is the first one at the start or after it.
        for file in files[math.ceil(reader.start * reader.rate - 1e-3) :]:
            yield read_mask(file, size)
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        with VideoReader(path, reader.start) as video:
            if abs(video.rate / reader.rate - 1) > SAME_RATE:
                raise PictureError(
                    f"{path}: {float(video.rate):.2f} frames/s, but {reader.path.name} has "
                    f"{float(reader.rate):.2f}; give a mask of the same rate"
                )
            cut_out = False
            for item in video:
                if isinstance(item, Frame):
                    # As in pictures: transparent places, or else dark ones, are background.
                    cut_out |= item.alpha is not None and bool((item.alpha < 255).any())
                    shown = item.alpha[..., None] if cut_out else item.pixels
                    yield resize(to_tensor([shown]).mean(dim=1, keepdim=True), size)
    else:
        mask = read_mask(path, size)  # one for all
        while True:
            yield mask
