"""What `infer.py` is made of: pictures and videos through a network."""

from .alpha import Alpha, AlphaCurve, parse_alphas, parse_keys
from .mattes import Matte
from .painters import open_painter
from .pictures import NotFinite, paint_picture, stylize, stylize_image
from .video import VideoReport, paint_video, stylize_video

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
