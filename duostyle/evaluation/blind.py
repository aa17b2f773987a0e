"""Blind comparison of two folders of results: sheets for a judge, and the count of the answers."""

import argparse
import json
import random
import secrets
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from duostyle.evaluation.look import find_results
from duostyle.evaluation.options import Results
from duostyle.files import atomic_writer
from duostyle.io.images import PictureError, list_pictures, read_picture
from duostyle.io.pixels import tensor_to_pil
from duostyle.io.sheet import contact_sheet
from duostyle.progress import progress

NAME = "blind"
HELP = "sheets for a blind comparison of two folders of results"
HEIGHT = 520  # of a result on a sheet, pixels
KEY, ANSWERS = "key.json", "answers.json"
CHOICES = ("left", "right", "tie")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="three folders: photographs, first results, second results",
    )
    parser.add_argument(
        "--paintings",
        nargs="*",
        type=Path,
        default=[],
        metavar="FILE",
        help="style images shown on every sheet: foreground, background",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("outputs/blind"),
        help=f"folder of the sheets and {KEY} (default: outputs/blind)",
    )
    parser.add_argument(
        "--score",
        action="store_true",
        help=f'count {ANSWERS} in --output: {{"00": "left", ...}}',
    )


def run(args: argparse.Namespace) -> Results:
    """Write the sheets, or print and return the count of the answers."""
    if args.score:
        counts = count_answers(args.output)
        print(", ".join(f"{name} {number}" for name, number in counts.items()))
        return {"counts": counts}
    if len(args.folders) != 3:
        raise ValueError("name three folders: photographs, first results, second results")
    photos, first, second = args.folders
    written = write_sheets(photos, (first, second), args.paintings, args.output)
    print(f"{written} sheets in {args.output}; the judge writes {args.output / ANSWERS}")
    return {"sheets": written}


def write_sheets(
    photos: Path,
    folders: tuple[Path, Path],
    paintings: Sequence[Path],
    output: Path,
    seed: int | None = None,
) -> int:
    """Write a sheet for every photograph with a result in both folders; returns their number.

    The upper row shows the photograph and the style images, the lower row both results. The first
    folder's result is on the left of half of the sheets, at random (`seed`: None for a new order);
    `key.json` keeps the order and is not shown to the judge. Raises PictureError if there is
    nothing to compare, or the output folder already contains a key.
    """
    if (output / KEY).exists():
        raise PictureError(f"{output / KEY}: exists; name another folder with -o")
    files = {path.stem: path for path in list_pictures(photos)}
    first, second = (find_results(folder, files) for folder in folders)
    shared = [stem for stem in files if stem in first and stem in second]
    if not shared:
        raise PictureError(f"{folders[0]}, {folders[1]}: no photograph has a result in both")
    sides = [CHOICES[number % 2] for number in range(len(shared))]
    random.Random(secrets.randbits(64) if seed is None else seed).shuffle(sides)
    key = {}
    captions = ("style of the foreground", "style of the background")
    styles = [(caption, _open(path)) for caption, path in zip(captions, paintings, strict=False)]
    for number, stem in enumerate(progress(shared, name=NAME, unit="sheet")):
        results = [_open(first[stem]), _open(second[stem])]
        if sides[number] == "right":
            results.reverse()
        rows = [
            [("photograph", _open(files[stem])), *styles],
            list(zip(CHOICES, results, strict=False)),
        ]
        with atomic_writer(output / f"{number:02d}.png") as part:
            contact_sheet(rows, HEIGHT).save(part, format="PNG")
        key[f"{number:02d}"] = sides[number]
    with atomic_writer(output / KEY) as part:
        part.write_text(json.dumps(key, indent=1) + "\n")
    return len(shared)


def count_answers(output: Path) -> dict[str, int]:
    """Count how often `answers.json` prefers the first folder, the second, or neither.

    Raises ValueError if a file is missing or an answer is not left, right or tie.
    """
    try:
        key, answers = (json.loads((output / name).read_text()) for name in (KEY, ANSWERS))
    except (OSError, ValueError) as error:
        raise ValueError(f"{output}: {KEY} and {ANSWERS} cannot be read ({error})") from error
    counts = {"first": 0, "second": 0, "tie": 0}
    for number, side in key.items():
        answer = answers.get(number)
        if answer not in CHOICES:
            raise ValueError(f"{output / ANSWERS}: {number} is {answer!r}; write one of {CHOICES}")
        counts["tie" if answer == "tie" else "first" if answer == side else "second"] += 1
    return counts


def _open(path: Path) -> Image.Image:
    return tensor_to_pil(read_picture(path).pixels)
