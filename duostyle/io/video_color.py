"""How a video's numbers mean colours."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.video.reformatter import ColorRange, Colorspace

from duostyle.io.images import PictureError

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # ITU-T H.273
UNSPECIFIED = 2
KNOWN_MATRICES = (1, 4, 5, 6, 7, 9)  # of FFmpeg's swscale
SIMILAR = {10: 9}  # constant luminance of BT.2020 is shown by its usual matrix
MATRICES = {
    8: "YCgCo", 11: "SMPTE ST 2085", 12: "chromaticity-derived", 13: "chromaticity-derived",
    14: "ICtCp", 15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro",
}  # fmt: skip
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

    Raises PictureError, naming `path`, for HDR and for a matrix that FFmpeg does not convert.
    """
    transfer = int(raw.color_trc)
    if transfer in HDR_TRANSFERS:
        raise PictureError(
            f"{path}: HDR ({HDR_TRANSFERS[transfer]}) would come out in wrong colours; "
            "convert it to SDR first (ffmpeg's zscale and tonemap filters)"
        )
    matrix, span = int(raw.colorspace), int(raw.color_range)
    if matrix in (0, UNSPECIFIED) or (raw.format.is_rgb and matrix not in KNOWN_MATRICES):
        matrix = int(Colorspace.ITU709 if raw.height >= FULL_HEIGHT else Colorspace.ITU601)
    matrix = SIMILAR.get(matrix, matrix)
    if matrix not in KNOWN_MATRICES:
        raise PictureError(
            f"{path}: its colour matrix, {MATRICES.get(matrix, 'of number')} ({matrix}), is not "
            "supported; convert it to BT.709 first (ffmpeg's zscale filter, matrix=709)"
        )
    if span == int(ColorRange.UNSPECIFIED):
        span = int(ColorRange.MPEG)
    return Color(matrix, span, int(raw.color_primaries), transfer)
