"""Pictures, videos and cameras through a network."""

from duostyle.inference.engine import open_painter
from duostyle.inference.image import stylize_image, stylize_image_to_files
from duostyle.inference.masks import MaskSource
from duostyle.inference.render import (
    Alpha,
    AlphaCurve,
    EncodedContent,
    NotFinite,
    Output,
    Renderer,
    Result,
    StylizeOptions,
    encode,
    parse_alphas,
    parse_keys,
    stylize,
)
from duostyle.inference.video import VideoReport, stylize_video, stylize_video_to_files
from duostyle.io.video_writer import Encoding

__all__ = [
    "Alpha",
    "AlphaCurve",
    "EncodedContent",
    "Encoding",
    "MaskSource",
    "NotFinite",
    "Output",
    "Renderer",
    "Result",
    "StylizeOptions",
    "VideoReport",
    "encode",
    "open_painter",
    "parse_alphas",
    "parse_keys",
    "stylize",
    "stylize_image",
    "stylize_image_to_files",
    "stylize_video",
    "stylize_video_to_files",
]
