"""Download the photographs of a dataset on the Hugging Face hub into a folder."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

from duostyle.io.images import PictureError, open_picture, save_image, to_srgb
from duostyle.io.pixels import short_side
from duostyle.progress import progress

SHORT_SIDE = 512  # pixels; larger photographs are reduced


def fetch_hub_photos(name: str, folder: Path, count: int, seed: int) -> Path:
    """Download `count` photographs of a dataset into a folder; return the folder.

    A complete folder is not downloaded again. Files, not a stream, let a run resume exactly and
    DeepLab label each photograph once. `name`: a hub id, or anything that `datasets.load_dataset`
    takes; `seed`: of the selection. Raises OSError if the hub cannot be reached, PictureError if
    the folder cannot be written, ValueError if the dataset holds no images.
    """
    done = folder / ".complete"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    kept, bad = 0, 0
    bar = progress(name=f"photographs from {name}", unit="photo", total=count)
    try:
        for raw in _stream_images(name, seed):
            target = folder / f"{hashlib.sha1(raw).hexdigest()}.jpg"
            if not target.exists():
                try:
                    photo = _reduce(raw, target)
                except PictureError:
                    bad += 1
                    continue
                save_image(target, photo, quality=95)
            kept += 1
            bar.update()
            if kept == count:
                break
    finally:
        bar.close()
    if bad:
        print(f"{name}: {bad} corrupt photographs skipped", file=sys.stderr)
    done.touch()
    return folder


def _stream_images(name: str, seed: int) -> Iterator[bytes]:
    """Yield the encoded images of a dataset, shuffled."""
    import datasets

    try:
        split = datasets.load_dataset(name, split="train", streaming=True)
        columns = [c for c, f in (split.features or {}).items() if isinstance(f, datasets.Image)]
        if not columns:
            raise ValueError(f"{name}: this dataset holds no images")
        images = split.select_columns(columns[:1])
        images = images.cast_column(columns[0], datasets.Image(decode=False))
        for row in images.shuffle(seed=seed, buffer_size=1000):
            image = row[columns[0]]
            raw = image["bytes"]
            yield raw if raw is not None else Path(image["path"]).read_bytes()
    except ValueError:
        raise
    except Exception as error:  # the hub's clients raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
        raise OSError(
            f"{name}: cannot be read from the hub ({reason}); use --photos FOLDER with photographs "
            "of your own, or --photos bundled"
        ) from error


def _reduce(raw: bytes, name: Path) -> Image.Image:
    """Decode a photograph, apply its EXIF rotation, reduce its short side to SHORT_SIDE.

    `name`: for errors. Raises PictureError if it cannot be read.
    """
    with open_picture(name, raw) as image:
        rgb, _ = to_srgb(ImageOps.exif_transpose(image), image.info.get("icc_profile"))
    if min(rgb.size) > SHORT_SIDE:
        height, width = short_side((rgb.height, rgb.width), SHORT_SIDE)
        rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
    return rgb
