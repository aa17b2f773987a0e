"""Multi-style semantic style transfer in a single forward pass.

from duostyle import load, stylize_image

stylize_image(load(), "photo.jpg", alpha=0.5).save("painted.png")
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

# A wheel holds the subpackages `models`, `losses` and `data` here. A checkout keeps them at its
# top level, and then they are found there.
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
        Matte,
        NotFinite,
        open_painter,
        stylize,
        stylize_image,
        stylize_video,
    )
    from duostyle.io.images import PictureError
    from duostyle.models import CheckpointError, shipped_checkpoints
    from duostyle.models import load_pair as load

_HOMES = {
    "AlphaCurve": "duostyle.inference",
    "CheckpointError": "duostyle.models",
    "Matte": "duostyle.inference",
    "NotFinite": "duostyle.inference",
    "PictureError": "duostyle.io.images",
    "load": "duostyle.models",
    "open_painter": "duostyle.inference",
    "shipped_checkpoints": "duostyle.models",
    "stylize": "duostyle.inference",
    "stylize_image": "duostyle.inference",
    "stylize_video": "duostyle.inference",
}

__all__ = [
    "AlphaCurve",
    "CheckpointError",
    "Matte",
    "NotFinite",
    "PictureError",
    "__version__",
    "load",
    "open_painter",
    "shipped_checkpoints",
    "stylize",
    "stylize_image",
    "stylize_video",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: PyTorch takes seconds to import."""
    if name not in _HOMES:
        raise AttributeError(f"module 'duostyle' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), "load_pair" if name == "load" else name)
    globals()[name] = value
    return value
