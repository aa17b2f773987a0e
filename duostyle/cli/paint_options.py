"""The command line of duostyle paint."""

import argparse
from collections.abc import Callable
from pathlib import Path

from duostyle.inference.alpha import Alpha, AlphaCurve, parse_alphas, parse_keys
from duostyle.inference.engine import BACKENDS
from duostyle.inference.video import STEADY
from duostyle.io.images import WRITABLE
from duostyle.io.paths import WRITABLE_VIDEO
from duostyle.models import PRECISIONS, SMALL, describe, resolve, shipped_checkpoints


class ListPairs(argparse.Action):
    """Name the shipped pairs, a line each, and end."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print, and exit with 0."""
        names = shipped_checkpoints()
        for name in names:
            size = "small" if name.endswith(SMALL) else "base"
            megabytes = resolve(name).stat().st_size / 1e6
            people, rest = describe(name)
            width = max(map(len, names))
            print(f"{name:{width}}  {size:5}  {megabytes:.1f} MB  {people}; the rest: {rest}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = shipped_checkpoints()
    p = argparse.ArgumentParser(
        prog="duostyle paint", description="Paint the foreground in one style, the rest in another."
    )
    add = p.add_argument
    add("photos", nargs="*", metavar="FILE", help="pictures, videos, folders of them, patterns")
    add("--list", action=ListPairs, nargs=0, help="name the shipped pairs and end")
    add("-o", "--output", type=Path, help="file for one result, else a folder (default: outputs)")
    add(
        "--checkpoint",
        default=known[0] if known else None,
        help=f"a file, or a shipped pair: {', '.join(known)} (default: the first)",
    )
    add(
        "--alpha",
        type=_alphas,
        default=[0.0],
        help="melting of the styles, 0 to 1; several with commas; A:B over a video (default: 0)",
    )
    add("--mask", type=Path, help="matte, white = foreground (a folder: one a photo, same name; "
        "for a video a video, or a folder with one a frame)")  # fmt: skip
    add("--invert-mask", action="store_true", help="black is the foreground of --mask")
    add("--swap", action="store_true", help="exchange the two styles")
    add("--keep-colors", action="store_true", help="luminance painted, colours of the photo")
    add("--size", "--render-size", type=_size, metavar="N",
        help="paint with the long side at N pixels, then enlarge again")  # fmt: skip
    add("--show-branches", action="store_true", help="write both branch images and the mask too")
    add("--format", choices=sorted(s[1:] for s in WRITABLE | WRITABLE_VIDEO),
        help="format (default: as the photo; mp4)")  # fmt: skip
    add("--force", action="store_true", help="overwrite what exists")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add("--precision", default="auto", choices=("auto", *PRECISIONS))
    add("--compile", action="store_true", help="compile by PyTorch: minutes, then faster on GPUs")
    add("--backend", default="auto", choices=("auto", *BACKENDS),
        help="what runs the network (default: on a CPU OpenVINO for videos and cameras if it is "
        "installed, else PyTorch)")  # fmt: skip
    _add_video(p.add_argument_group("videos").add_argument)
    camera = p.add_argument_group("camera").add_argument
    camera("--camera", type=int, metavar="N", help="paint this camera live (0: the first): left "
           "and right turn alpha, S swaps, M shows the mask, R records, Q ends")  # fmt: skip
    camera("--virtual-camera", action="store_true", help="feed video calls too")
    return p


def _add_video(add: Callable[..., object]) -> None:
    add("--alpha-keys", type=_keys, metavar="KEYS",
        help="alpha at times, straight lines between: '0s=0, 2s=1, 5s=0.3'")  # fmt: skip
    add("--start", type=_seconds, default=0.0, metavar="S", help="begin here, seconds")
    add(
        "--duration",
        type=_some_seconds,
        metavar="S",
        help="paint so much, seconds (default: all)",
    )
    add("--codec", help="encoder, as FFmpeg names it (default: libx264; WebM: libvpx-vp9)")
    add("--crf", type=int, help="quality, less is better (default: the encoder's, 23 for H.264)")
    add("--preset", help="x264's and x265's: ultrafast to veryslow (default: medium)")
    add("--steady", type=_share, default=STEADY, metavar="S",
        help=f"share of the last frame in what is still, 0..0.99 (default: {STEADY})")  # fmt: skip
    add("--batch", type=_count, metavar="N", help="frames painted at once (default: what is fast)")


def _alphas(text: str) -> list[Alpha]:
    try:
        return parse_alphas(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _keys(text: str) -> AlphaCurve:
    try:
        return parse_keys(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds")
    return seconds


def _some_seconds(text: str) -> float:
    seconds = _seconds(text)
    if not seconds:
        raise argparse.ArgumentTypeError("0 seconds are nothing to paint")
    return seconds


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 0.99:
        raise argparse.ArgumentTypeError(f"'{text}' does not lie in 0 to 0.99")
    return share


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 1 or more")
    return int(text)


def _size(text: str) -> int:
    if not text.isdigit() or int(text) < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is no size of 16 pixels or more")
    return int(text)
