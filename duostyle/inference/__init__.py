"""What `duostyle paint` is made of: pictures and videos through a network."""

from duostyle.inference.alpha import Alpha, AlphaCurve, parse_alphas, parse_keys
from duostyle.inference.backends import open_painter
from duostyle.inference.image import NotFinite, paint_picture, stylize, stylize_image
from duostyle.inference.masks import Matte
from duostyle.inference.video import VideoReport, paint_video, stylize_video

__all__ = [
    "Alpha",
    "AlphaCurve",
    "Matte",
    "NotFinite",
    "VideoReport",
    "open_painter",
    "paint_picture",
    "paint_video",
    "parse_alphas",
    "parse_keys",
    "stylize",
    "stylize_image",
    "stylize_video",
]
