"""How a video's numbers mean colours."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.video.reformatter import ColorRange, Colorspace

from .images import PictureError

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # ITU-T H.273
UNSPECIFIED = 2
FULL_HEIGHT = 720  # pixels; untagged video from this height on is BT.709, below BT.601


@dataclass(frozen=True)
class Color:
    """Code points of ITU-T H.273."""

    matrix: int
    range: int
    primaries: int
    transfer: int


def read_color(raw: av.VideoFrame, path: Path) -> Color:
    """Colours as tagged; where they are not, what players assume.

    Raises PictureError, naming `path`, for HDR.
    """
    transfer = int(raw.color_trc)
    if transfer in HDR_TRANSFERS:
        raise PictureError(
            f"{path}: HDR ({HDR_TRANSFERS[transfer]}) would come out in wrong colours; "
            "convert it to SDR first (ffmpeg's zscale and tonemap filters)"
        )
    matrix, span = int(raw.colorspace), int(raw.color_range)
    if matrix in (0, UNSPECIFIED):
        matrix = int(Colorspace.ITU709 if raw.height >= FULL_HEIGHT else Colorspace.ITU601)
    if span == int(ColorRange.UNSPECIFIED):
        span = int(ColorRange.MPEG)
    return Color(matrix, span, int(raw.color_primaries), transfer)
