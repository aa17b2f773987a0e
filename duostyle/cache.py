"""The folder of files that are downloaded or generated once."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $DUOSTYLE_CACHE, or ~/.cache/duostyle."""
    return Path(os.environ.get("DUOSTYLE_CACHE", Path.home() / ".cache" / "duostyle"))
