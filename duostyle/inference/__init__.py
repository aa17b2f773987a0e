"""Pictures, videos and cameras through a network."""

from duostyle.inference.alpha import Alpha, AlphaCurve, parse_alphas, parse_keys
from duostyle.inference.backends import open_painter
from duostyle.inference.image import paint_picture, stylize_image
from duostyle.inference.masks import MaskSource
from duostyle.inference.options import StylizeOptions
from duostyle.inference.render import (
    EncodedContent,
    NotFinite,
    Output,
    Renderer,
    Result,
    encode,
    stylize,
)
from duostyle.inference.video import VideoReport, paint_video, stylize_video
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
    "paint_picture",
    "paint_video",
    "parse_alphas",
    "parse_keys",
    "stylize",
    "stylize_image",
    "stylize_video",
]
