"""Photographs without a download: those that come with Duostyle and with scikit-image."""

import sys
from importlib.util import find_spec
from pathlib import Path

from duostyle.files import ROOT, write_atomically

ASSETS = ROOT / "assets"
LABELS = ASSETS / "labels"  # DeepLab's labels of all bundled photographs, same file stems
# Photographs within scikit-image's wheel, CC0; the others of LABELS lie in `assets/photos`.
SCIKIT_IMAGE = ("coffee.png", "motorcycle_left.png", "rocket.jpg")


def bundled_photos(folder: Path) -> Path:
    """Copy the bundled photographs into a folder; return the folder.

    Without scikit-image there are fewer, which is reported in one line. Raises OSError if the
    folder cannot be written.
    """
    files = sorted((ASSETS / "photos").glob("*.jpg"))
    found = find_spec("skimage")
    if found is not None and found.origin is not None:
        data = Path(found.origin).parent / "data"
        files += [data / name for name in SCIKIT_IMAGE if (data / name).is_file()]
    else:
        print(
            f"{len(files)} bundled photographs; {len(SCIKIT_IMAGE)} more with scikit-image: "
            "pip install 'duostyle[demo]'",
            file=sys.stderr,
        )
    for file in files:
        target = folder / file.name
        if not target.exists():
            write_atomically(target, file.read_bytes())
    return folder
