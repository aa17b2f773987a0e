"""Blind comparison of two folders of results: sheets for a judge, and the count of the answers."""

import json
import random
import secrets
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from duostyle.evaluation.look import results
from duostyle.io.images import PictureError, list_pictures, read_picture, tensor_to_pil, whole_file
from duostyle.io.sheet import contact_sheet

HEIGHT = 520  # of a result on a sheet, pixels
KEY, ANSWERS = "key.json", "answers.json"
CHOICES = ("left", "right", "tie")


def make(
    photos: Path,
    folders: tuple[Path, Path],
    paintings: Sequence[Path],
    output: Path,
    seed: int | None = None,
) -> int:
    """Write a sheet for every photograph that both folders have a result of; returns how many.

    Above: the photograph and the paintings; below: both results, the first folder's on the left on
    half of the sheets, drawn by chance (`seed`: None for another draw each time) and kept in
    `key.json`, which the judge does not see. Raises PictureError where there is nothing to
    compare, or the folder holds sheets already.
    """
    if (output / KEY).exists():
        raise PictureError(f"{output / KEY}: exists; name another folder with -o")
    files = {path.stem: path for path in list_pictures(photos)}
    first, second = (results(folder, files) for folder in folders)
    shared = [stem for stem in files if stem in first and stem in second]
    if not shared:
        raise PictureError(f"{folders[0]}, {folders[1]}: no photograph has a result in both")
    sides = [CHOICES[number % 2] for number in range(len(shared))]
    random.Random(secrets.randbits(64) if seed is None else seed).shuffle(sides)
    key = {}
    named = zip(("style of people and things", "style of the rest"), paintings, strict=False)
    above = [(caption, _open(path)) for caption, path in named]
    for number, (stem, side) in enumerate(zip(shared, sides, strict=True)):
        pair = [_open(first[stem]), _open(second[stem])]
        if side == "right":
            pair.reverse()
        rows = [
            [("photograph", _open(files[stem])), *above],
            list(zip(CHOICES, pair, strict=False)),
        ]
        with whole_file(output / f"{number:02d}.png") as part:
            contact_sheet(rows, HEIGHT).save(part, format="PNG")
        key[f"{number:02d}"] = side
    with whole_file(output / KEY) as part:
        part.write_text(json.dumps(key, indent=1) + "\n")
    return len(shared)


def count(output: Path) -> dict[str, int]:
    """Count the answers in `answers.json`: how often the first folder, the second, or neither won.

    Raises ValueError where a file is missing or an answer is none of left, right and tie.
    """
    try:
        key, answers = (json.loads((output / name).read_text()) for name in (KEY, ANSWERS))
    except (OSError, ValueError) as error:
        raise ValueError(f"{output}: no key and answers ({error})") from error
    counts = {"first": 0, "second": 0, "tie": 0}
    for number, side in key.items():
        answer = answers.get(number)
        if answer not in CHOICES:
            raise ValueError(f"{output / ANSWERS}: {number} is {answer!r}; write one of {CHOICES}")
        counts["tie" if answer == "tie" else "first" if answer == side else "second"] += 1
    return counts


def _open(path: Path) -> Image.Image:
    return tensor_to_pil(read_picture(path).pixels)
