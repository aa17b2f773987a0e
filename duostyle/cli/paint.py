"""Stylize in one forward pass: `stylize_image`, `stylize_video`, and the command line."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from av import FFmpegError
from tqdm import tqdm

from duostyle.cli.paint_options import parser
from duostyle.files import printable
from duostyle.inference import (
    AlphaCurve,
    Matte,
    NotFinite,
    open_painter,
    paint_picture,
    paint_video,
    stylize,
    stylize_image,
    stylize_video,
)
from duostyle.inference.camera import Live, run_camera
from duostyle.inference.devices import OpenCVCamera, OpenCVScreen, Recording, virtual_camera
from duostyle.io.images import PictureError
from duostyle.io.paths import (
    WRITABLE_VIDEO,
    Outputs,
    find_photos,
    is_video,
    plan_outputs,
    still_missing,
    unfinished,
)
from duostyle.io.video_out import Encoding
from duostyle.models import CheckpointError, Painter, keep_memory
from duostyle.signals import INTERRUPTED, Stopped, hear_interrupts

__all__ = [
    "AlphaCurve",
    "Encoding",
    "Matte",
    "open_painter",
    "stylize",
    "stylize_image",
    "stylize_video",
]

UNPAINTABLE = (PictureError, ValueError, MemoryError, RuntimeError, OSError, FFmpegError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 where something could not be painted)."""
    try:
        hear_interrupts()
        return run(argv)
    except KeyboardInterrupt as stop:
        print("duostyle paint: stopped", file=sys.stderr)
        return _exit_code(stop)


def run(argv: Sequence[str] | None) -> int:
    """As of `main`; raises KeyboardInterrupt where nothing has been begun."""
    keep_memory()
    args = parser().parse_args(argv)
    try:
        check(args)
        files = find_photos(args.photos)
        jobs = plan_outputs(
            files, args.output, args.alpha, args.show_branches, args.format, args.force
        )
        if len(files) > 1 and not args.force:
            jobs = _left_to_do(jobs)
            if not jobs:
                return 0
        moving = args.camera is not None or any(map(is_video, jobs))
        network, args.precision = open_painter(
            args.checkpoint, args.device, args.backend, args.precision, moving, args.compile
        )
        if args.camera is not None:
            return paint_live(network, args)
    except (CheckpointError, *UNPAINTABLE) as error:
        print(f"duostyle paint: {printable(str(error))}", file=sys.stderr)
        return 2
    failed = 0
    few = len(jobs) == 1 or all(map(is_video, jobs))
    bar = tqdm(jobs.items(), unit="file", disable=True if few else None)
    for file, outputs in bar:
        try:
            if not is_video(file):
                paint_picture(network, file, outputs, files[file], args)
            elif number := paint_clip(network, file, outputs, args, several=len(files) > 1):
                return 128 + number
        except KeyboardInterrupt as stop:
            bar.clear()
            print(f"stopped; {printable(str(file))} is not finished", file=sys.stderr)
            return _exit_code(stop)
        except NotFinite as error:
            bar.clear()
            print(f"duostyle paint: {printable(f'{args.checkpoint}: {error}')}", file=sys.stderr)
            return 2
        except UNPAINTABLE as error:
            bar.clear()
            print(f"duostyle paint: {printable(_one_line(file, error))}", file=sys.stderr)
            failed += 1
    return 2 if failed else 0


def _exit_code(stop: KeyboardInterrupt) -> int:
    return 128 + stop.number if isinstance(stop, Stopped) else INTERRUPTED


def _left_to_do(jobs: dict[Path, Outputs]) -> dict[Path, Outputs]:
    """The results that do not exist yet; says how many do."""
    left = still_missing(jobs)
    every, missing = (sum(map(len, some.values())) for some in (jobs, left))
    if every > missing:
        said = f"{every - missing} of {every} results exist and are skipped; --force repaints them"
        print(said, file=sys.stderr)
    return left


def check(args: argparse.Namespace) -> None:
    """Settle what the options say together.

    Raises ValueError where they clash, CheckpointError without a checkpoint.
    """
    if args.alpha_keys:
        args.alpha = [args.alpha_keys]
    if bool(args.photos) == (args.camera is not None):
        raise ValueError("name pictures or videos, or a --camera")
    if args.invert_mask and not args.mask:
        raise ValueError("--invert-mask inverts --mask; without one use --swap")
    if args.camera is None and args.virtual_camera:
        raise ValueError("--virtual-camera shows what --camera N sees; name one")
    if args.camera is not None and (args.mask or args.show_branches):
        raise ValueError("--camera takes no --mask and no --show-branches; M shows the mask")
    if args.camera is not None and (len(args.alpha) > 1 or isinstance(args.alpha[0], AlphaCurve)):
        raise ValueError("--camera takes one alpha; the arrow keys turn it")
    if not args.checkpoint:
        raise CheckpointError("no checkpoint ships here; name one with --checkpoint")


def paint_live(network: Painter, args: argparse.Namespace) -> int:
    """Paint a camera until the user ends; returns the exit code.

    Raises PictureError without that camera, ValueError where something cannot be done here.
    """
    camera, screen = OpenCVCamera(args.camera), OpenCVScreen("Duostyle")
    encoding = Encoding(args.codec, args.crf, args.preset)

    def record(width: int, height: int) -> Recording:
        path = args.output or Path("outputs") / time.strftime("camera-%Y%m%d-%H%M%S.mp4")
        if path.suffix.lower() not in WRITABLE_VIDEO:
            path = path / time.strftime("camera-%Y%m%d-%H%M%S.mp4")
        if path.exists() and not args.force:
            path = path.with_stem(path.stem + time.strftime("-%Y%m%d-%H%M%S"))
        print(f"recording: {path}", file=sys.stderr)
        return Recording(path, encoding, width, height)

    send = virtual_camera(*camera.size, 30) if args.virtual_camera else None
    options = {
        "keep_colors": args.keep_colors,
        "size": args.size,
        "precision": args.precision,
    }
    live = Live(alpha=args.alpha[0], swap=args.swap)
    try:
        done = run_camera(network, camera, screen, live, record, args.steady, send, **options)
    finally:
        camera.close()
    speed = done["frames"] / max(done["seconds"], 1e-6)
    print(f"{done['frames']} frames, {speed:.1f} frames/s, {done['dropped']} dropped")
    return 0


def paint_clip(
    network: Painter,
    file: Path,
    outputs: Outputs,
    args: argparse.Namespace,
    several: bool = False,
) -> int:
    """Paint one video into its files, and say how it went; returns a signal that ended it, or 0.

    `several`: what was interrupted of several videos gets another name (see `unfinished`), so that
    the next call paints it whole.
    Raises PictureError where one of them is unusable.
    """
    names = [f"{alpha:g}" for alpha in args.alpha]
    alphas = dict(zip(names, args.alpha, strict=True))
    report = paint_video(
        network,
        file,
        {name: (path, alphas.get(name, args.alpha[0])) for name, path in outputs.items()},
        Matte(args.mask, args.invert_mask) if args.mask else None,
        start=args.start,
        duration=args.duration,
        encoding=Encoding(args.codec, args.crf, args.preset),
        batch=args.batch,
        steady=args.steady,
        swap=args.swap,
        keep_colors=args.keep_colors,
        size=args.size,
        precision=args.precision,
    )
    for note in report.notes:
        print(f"{file}: {note}", file=sys.stderr)
    if report.damaged:
        print(f"{file}: {report.damaged} damaged frames replaced", file=sys.stderr)
    speed = report.frames / report.seconds
    print(f"{file}: {report.frames} frames, {speed:.1f} frames/s", file=sys.stderr)
    kept = list(outputs.values())
    if several and report.stopped:
        kept = [path.replace(unfinished(path)) for path in kept]
    elif several:
        for path in kept:
            unfinished(path).unlink(missing_ok=True)
    if report.stopped:
        print(f"stopped; painted so far: {', '.join(map(str, kept))}", file=sys.stderr)
    return report.stopped


def _one_line(photo: Path, error: Exception) -> str:
    if isinstance(error, PictureError):
        return str(error)
    reason = str(error).splitlines()[0] if str(error) else "out of memory"
    advice = "; try a smaller --size" if "memory" in reason.lower() else ""
    return f"{photo}: {reason}{advice}"
