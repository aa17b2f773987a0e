"""Optional dependencies."""

from types import ModuleType


def opencv() -> ModuleType:
    """Import OpenCV. Raises ValueError if it is not installed."""
    try:
        import cv2
    except ImportError:
        raise ValueError("this question needs OpenCV: pip install -e '.[evaluate]'") from None
    return cv2
