"""What a photograph's EXIF says of the photograph, and not of its file."""

import struct

from PIL import Image

# Description, make, model, resolution, software, date, artist, copyright, and the blocks for the
# exposure and the place.
DESCRIPTIVE = (0x10E, 0x10F, 0x110, 0x11A, 0x11B, 0x128, 0x131, 0x132, 0x13B, 0x8298)
BLOCKS = (0x8769, 0x8825)
MOST_EXIF = 65_000  # bytes; JPEG holds no more


def describe(exif: Image.Exif) -> bytes | None:
    """What EXIF says of the photograph; nothing where it is damaged or too long."""
    kept = Image.Exif()
    for tag in DESCRIPTIVE:
        if tag in exif:
            kept[tag] = exif[tag]
    for block in BLOCKS:
        if values := exif.get_ifd(block):
            kept.get_ifd(block).update(values)
    try:
        raw = kept.tobytes() if len(kept) or any(map(kept.get_ifd, BLOCKS)) else None
    except (TypeError, ValueError, OverflowError, struct.error):
        return None
    return raw if raw and len(raw) <= MOST_EXIF else None
