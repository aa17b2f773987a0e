"""Where what is fetched and made once is kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$DUOSTYLE_CACHE, or ~/.cache/duostyle."""
    return Path(os.environ.get("DUOSTYLE_CACHE", Path.home() / ".cache" / "duostyle"))
