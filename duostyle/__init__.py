"""Multi-style semantic style transfer in a single forward pass.

    from duostyle import load, shipped_checkpoints, stylize_image

    network = load(shipped_checkpoints()[0])
    stylize_image(network, "photo.jpg", alpha=0.5).save("painted.png")

Errors: CheckpointError for a missing or damaged checkpoint, PictureError for a picture or video
that cannot be read or written, NotFinite for a result that is not finite, and ValueError for a
wrong argument. Paths may be `str` or `Path`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

# In a wheel, the subpackages `models`, `losses` and `data` lie in this folder. In a checkout they
# lie at the top level, which is added to the search path.
_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / "models" / "network.py").is_file() and (_CHECKOUT / "pyproject.toml").is_file():
    __path__.append(str(_CHECKOUT))

try:
    __version__ = version("duostyle")
except PackageNotFoundError:
    __version__ = "0+unknown"

if TYPE_CHECKING:
    from duostyle.inference import (
        AlphaCurve,
        Encoding,
        MaskSource,
        NotFinite,
        Output,
        StylizeOptions,
        VideoReport,
        encode,
        open_painter,
        stylize,
        stylize_image,
        stylize_video,
    )
    from duostyle.io.images import PictureError
    from duostyle.models import CheckpointError, shipped_checkpoints
    from duostyle.models import load_pair as load

_INFERENCE = "duostyle.inference"
# Where each public name is defined: module and name there.
_PUBLIC = {
    "AlphaCurve": (_INFERENCE, "AlphaCurve"),
    "CheckpointError": ("duostyle.models", "CheckpointError"),
    "Encoding": (_INFERENCE, "Encoding"),
    "MaskSource": (_INFERENCE, "MaskSource"),
    "NotFinite": (_INFERENCE, "NotFinite"),
    "Output": (_INFERENCE, "Output"),
    "PictureError": ("duostyle.io.images", "PictureError"),
    "StylizeOptions": (_INFERENCE, "StylizeOptions"),
    "VideoReport": (_INFERENCE, "VideoReport"),
    "encode": (_INFERENCE, "encode"),
    "load": ("duostyle.models", "load_pair"),
    "open_painter": (_INFERENCE, "open_painter"),
    "shipped_checkpoints": ("duostyle.models", "shipped_checkpoints"),
    "stylize": (_INFERENCE, "stylize"),
    "stylize_image": (_INFERENCE, "stylize_image"),
    "stylize_video": (_INFERENCE, "stylize_video"),
}

__all__ = [
    "AlphaCurve",
    "CheckpointError",
    "Encoding",
    "MaskSource",
    "NotFinite",
    "Output",
    "PictureError",
    "StylizeOptions",
    "VideoReport",
    "__version__",
    "encode",
    "load",
    "open_painter",
    "shipped_checkpoints",
    "stylize",
    "stylize_image",
    "stylize_video",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, because PyTorch takes seconds to import."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'duostyle' has no attribute '{name}'")
    module, original = _PUBLIC[name]
    value = globals()[name] = getattr(import_module(module), original)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
