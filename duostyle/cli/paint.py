"""Stylize pictures, videos or a camera: `duostyle paint`."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from av import FFmpegError
from tqdm import tqdm

from duostyle.files import printable
from duostyle.inference import (
    AlphaCurve,
    Encoding,
    MaskSource,
    NotFinite,
    StylizeOptions,
    open_painter,
    parse_alphas,
    parse_keys,
    stylize_image_to_files,
    stylize_video_to_files,
)
from duostyle.inference.camera import (
    CameraReport,
    LiveControls,
    OpenCVCamera,
    OpenCVScreen,
    Recording,
    run_camera,
)
from duostyle.inference.engine import BACKENDS
from duostyle.inference.mask_memory import STEADY_MASK
from duostyle.inference.paths import (
    Outputs,
    Plan,
    check_distinct,
    find_inputs,
    find_mask,
    is_video,
    list_results,
    missing_outputs,
    plan_outputs,
    unfinished_path,
)
from duostyle.inference.render import Painter, parse_strokes
from duostyle.inference.temporal_filter import STEADY
from duostyle.io.images import WRITABLE, PictureError
from duostyle.io.video_writer import WRITABLE_VIDEO
from duostyle.models import (
    PRECISIONS,
    SMALL,
    CheckpointError,
    describe,
    keep_memory,
    load_pair,
    read_header,
    resolve,
    shipped_checkpoints,
)
from duostyle.progress import progress
from duostyle.signals import exit_code, restore_interrupt_handler

T = TypeVar("T")
# Errors of one file; the other files are stylized all the same.
FILE_ERRORS = (PictureError, ValueError, MemoryError, RuntimeError, OSError, FFmpegError)


class ListPairs(argparse.Action):
    """Print the shipped pairs, one per line, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        names = shipped_checkpoints()
        for name in names:
            size = "small" if name.endswith(SMALL) else "base"
            megabytes = resolve(name).stat().st_size / 1e6
            foreground, background = describe(name)
            width = max(map(len, names))
            print(
                f"{name:{width}}  {size:5}  {megabytes:.1f} MB  "
                f"foreground: {foreground}; background: {background}"
            )
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    pairs = shipped_checkpoints()
    p = argparse.ArgumentParser(
        prog="duostyle paint",
        description="Stylize the foreground of pictures and videos in one style and the background "
        "in another. Files are written to outputs/ unless -o names another place.",
    )
    add = p.add_argument
    add("photos", nargs="*", metavar="FILE", help="pictures, videos, folders or patterns")
    add("--list", action=ListPairs, nargs=0, help="list the shipped pairs and exit")
    add("-o", "--output", type=Path,
        help="output file for a single result, else a folder (default: outputs)")  # fmt: skip
    add("--checkpoint", default=pairs[0] if pairs else None,
        help=f"checkpoint file or shipped pair: {', '.join(pairs)} (default: the first); all, or a "
        "comma-separated list, paints with each, and adds its name to the file names")  # fmt: skip
    add("--alpha", type=_parsed(parse_alphas),
        help="how far the two styles are blended, 0 to 1; a comma-separated list gives one result "
        "each; A:B changes from A to B over a video (default: 0)")  # fmt: skip
    add("--mask", type=Path,
        help="mask instead of the learned one, white = foreground; for pictures a folder may hold "
        "a mask of the same name for each; for a video a picture, a video, or a folder with a "
        "picture for each frame")  # fmt: skip
    add("--invert-mask", action="store_true", help="black is the foreground of --mask")
    add("--swap", action="store_true", help="exchange the two styles")
    add("--strength", type=_share, default=1.0, metavar="S",
        help="how much is painted, 0 (the photograph) to 1 (default: 1)")  # fmt: skip
    add("--foreground-strength", type=_share, default=1.0, metavar="S",
        help="strength of the foreground, multiplied by --strength (default: 1)")  # fmt: skip
    add("--background-strength", type=_share, default=1.0, metavar="S",
        help="strength of the background, multiplied by --strength (default: 1)")  # fmt: skip
    add("--keep-colors", action="store_true",
        help="keep the colors of the photograph: only its luminance is stylized")  # fmt: skip
    add("--size", "--render-size", type=_pixels, metavar="N",
        help="stylize with the long side at N pixels, then enlarge: larger strokes")  # fmt: skip
    add("--strokes", type=_parsed(parse_strokes), metavar="SIZE",
        help="size of the strokes, whatever the size of the file: fine, medium, bold, or the long "
        "side in pixels at which it is painted; contours stay sharp")  # fmt: skip
    add("--show-branches", action="store_true",
        help="also write the whole picture in each style, and the mask")  # fmt: skip
    add("--format", choices=sorted(s[1:] for s in WRITABLE | WRITABLE_VIDEO),
        help="output format: a video format applies to videos only, a picture format to pictures "
        "only (default: that of the picture; mp4 for videos)")  # fmt: skip
    add("--force", action="store_true", help="overwrite existing files")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add("--precision", default="auto", choices=("auto", *PRECISIONS))
    add("--compile", action="store_true",
        help="compile with PyTorch: takes minutes, then faster on GPUs")  # fmt: skip
    add("--backend", default="auto", choices=("auto", *BACKENDS),
        help="runtime of the network (default: OpenVINO for videos and cameras on a CPU if it is "
        "installed, else PyTorch)")  # fmt: skip
    _add_video(p.add_argument_group("videos").add_argument)
    camera = p.add_argument_group("camera").add_argument
    camera("--camera", type=int, metavar="N",
           help="stylize camera N live (0 is the first); keys: left and right change alpha, up "
           "and down the strength, S swaps the styles, M shows the mask, R "
           "records, Q quits")  # fmt: skip
    return p


def _add_video(add: Callable[..., object]) -> None:
    add("--alpha-keys", type=_parsed(parse_keys), metavar="KEYS",
        help="keyframes of alpha, linear in between: '0s=0, 2s=1, 5s=0.3'")  # fmt: skip
    add("--start", type=_seconds, metavar="S", help="start of the part, in seconds (default: 0)")
    add("--duration", type=_duration, metavar="S",
        help="length of the part, in seconds (default: to the end)")  # fmt: skip
    add("--output-size", type=_pixels, metavar="N",
        help="long side of the written video in pixels (default: the video's own)")  # fmt: skip
    add("--codec", help="video encoder as FFmpeg names it (default: libx264; WebM: libvpx-vp9)")
    add("--crf", type=int,
        help="quality, lower is better (default: the encoder's, 23 for libx264)")  # fmt: skip
    add("--preset", help="x264 and x265: ultrafast to veryslow (default: medium)")
    add("--steady", type=_steady, default=STEADY, metavar="S",
        help="strength of the temporal filter: weight of earlier frames where nothing moves, "
        f"0 to 0.99 (default: {STEADY})")  # fmt: skip
    add("--steady-mask", type=_steady, default=STEADY_MASK, metavar="S",
        help="strength of the memory of the learned mask: weight of the last frame's mask, moved "
        f"along, 0 to 0.99; 0 is off (default: {STEADY_MASK})")  # fmt: skip
    add("--batch", type=_count, metavar="N", help="frames per forward pass (default: automatic)")


def _parsed(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Let argparse show the message of a ValueError."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds")
    return seconds


def _duration(text: str) -> float:
    seconds = _seconds(text)
    if not seconds:
        raise argparse.ArgumentTypeError("a duration of 0 seconds has no frames")
    return seconds


def _share(text: str, most: float = 1) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= most:
        raise argparse.ArgumentTypeError(f"'{text}' does not lie in 0 to {most:g}")
    return share


def _steady(text: str) -> float:
    return _share(text, 0.99)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 on")
    return int(text)


def _pixels(text: str) -> int:
    if not text.isdecimal() or int(text) < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size of 16 pixels or more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 2 if something could not be stylized."""
    try:
        restore_interrupt_handler()
        return run(argv)
    except KeyboardInterrupt as stop:
        print("duostyle paint: stopped", file=sys.stderr)
        return exit_code(stop)


def run(argv: Sequence[str] | None) -> int:
    """As `main`, but raises KeyboardInterrupt if it comes before the first file."""
    keep_memory()
    args = parser().parse_args(argv)
    try:
        _check(args)
        names = _pair_names(args.checkpoint)
        _check_pairs(names)  # fails before the inputs are searched
        if args.camera is not None and len(names) > 1:
            raise ValueError("--camera takes one --checkpoint")
        inputs = find_inputs(args.photos)
        plans = _plans(args, names, inputs)  # empty for a camera
        if inputs and not plans:
            return 0
        options = StylizeOptions(
            strength=args.strength,
            foreground_strength=args.foreground_strength,
            background_strength=args.background_strength,
            strokes=args.strokes,
            swap=args.swap,
            keep_colors=args.keep_colors,
            size=args.size,
            steady=args.steady,
            steady_mask=args.steady_mask,
            batch=args.batch,
        )
        report = None if inputs else _paint_camera(args, options)
    except (CheckpointError, *FILE_ERRORS) as error:
        print(f"duostyle paint: {printable(str(error))}", file=sys.stderr)
        return 2
    if report:
        speed = report.frames / max(report.seconds, 1e-6)
        print(f"{report.frames} frames, {speed:.1f} frames/s, {report.dropped} dropped")
        return 0
    codes = []
    for name, plan in plans.items():  # one network in memory at a time
        code = _paint_files(name, plan, inputs, args, options, len(inputs) * len(names) > 1)
        if code not in (0, 2):  # stopped
            return code
        codes.append(code)
    return max(codes)


def _pair_names(text: str) -> list[str]:
    """Split --checkpoint into names of pairs or files, each once.

    Raises CheckpointError if `all` is asked for and no pair ships.
    """
    if text == "all":
        names = [name for name in shipped_checkpoints() if not name.endswith(SMALL)]
        if not names:
            raise CheckpointError("no checkpoint ships here; name one with --checkpoint")
        return names
    if Path(text).is_file():  # its name may contain a comma
        return [text]
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _check_pairs(names: Sequence[str]) -> None:
    """Raise CheckpointError unless every checkpoint is usable."""
    for name in names:
        read_header(name)
    for name in names if len(names) > 1 else ():  # a single one is loaded before it paints
        load_pair(name)


def _label(checkpoint: str) -> str:
    """Return what names a checkpoint in a file name: `duostyle train` calls all of them model."""
    path = Path(checkpoint)
    stem = path.stem if path.is_file() else checkpoint
    return path.parent.name or stem if stem == "model" else stem


def _plans(
    args: argparse.Namespace, names: Sequence[str], inputs: dict[Path, Path]
) -> dict[str, Plan]:
    """Plan the output files by checkpoint, without those that are there already.

    Raises PictureError as `plan_outputs` and `check_distinct` do.
    """
    plans: dict[str, Plan] = {}
    results = list_results(args.alpha, args.show_branches)
    for name in names if inputs else ():
        label = _label(name) if len(names) > 1 else None
        plans[name] = plan_outputs(inputs, args.output, results, args.format, args.force, label)
    check_distinct(plans.values())
    if len(inputs) * len(names) > 1 and not args.force:
        plans = _without_existing(plans)
    return plans


def _open(
    name: str, args: argparse.Namespace, options: StylizeOptions, moving: bool
) -> tuple[Painter, StylizeOptions]:
    """Load a checkpoint; returns it and the options with its precision."""
    network, precision = open_painter(
        name, args.device, args.backend, args.precision, moving, args.compile
    )
    return network, replace(options, precision=precision)


def _paint_files(
    name: str,
    plan: Plan,
    inputs: dict[Path, Path],
    args: argparse.Namespace,
    options: StylizeOptions,
    several: bool,
) -> int:
    """Stylize every file of a plan with one checkpoint; returns the exit code."""
    try:
        network, options = _open(name, args, options, any(map(is_video, plan)))
    except (CheckpointError, *FILE_ERRORS) as error:
        _say(f"duostyle paint: {error}")
        return 2
    failed = False
    files: Iterable[tuple[Path, Outputs]] = plan.items()
    if len(plan) > 1 and not all(map(is_video, plan)):  # videos have a bar of their own
        files = progress(files, name="files", unit="file", announce=False)
    for file, outputs in files:
        try:
            if is_video(file):
                number = _paint_video(network, file, outputs, args, options, several)
                if number:
                    return 128 + number
            else:
                mask = None
                if args.mask:
                    mask = MaskSource(find_mask(args.mask, inputs[file]), args.invert_mask)
                for path in stylize_image_to_files(network, file, outputs, mask, options):
                    _say(f"wrote {path}")
        except KeyboardInterrupt as stop:
            _say(f"stopped; {file} is not finished")
            return exit_code(stop)
        except NotFinite as error:
            _say(f"duostyle paint: {name}: {error}")
            return 2
        except FILE_ERRORS as error:
            _say(f"duostyle paint: {_one_line(file, error)}")
            failed = True
    return 2 if failed else 0


def _say(text: str) -> None:
    """Print a line on stderr, above a progress bar."""
    tqdm.write(printable(text), file=sys.stderr)


def _without_existing(plans: dict[str, Plan]) -> dict[str, Plan]:
    """The results that do not exist yet; prints how many are skipped."""
    missing = {name: missing_outputs(plan) for name, plan in plans.items()}
    total, left = (
        sum(len(outputs) for plan in some.values() for outputs in plan.values())
        for some in (plans, missing)
    )
    if total > left:
        _say(f"{total - left} of {total} results exist and are skipped; --force repaints them")
    return {name: plan for name, plan in missing.items() if plan}


def _check(args: argparse.Namespace) -> None:
    """Check the options against each other, and merge --alpha-keys into --alpha.

    Raises ValueError if they conflict, CheckpointError if no pair ships and none is named.
    """
    if args.alpha_keys and args.alpha is not None:
        raise ValueError("--alpha and --alpha-keys exclude each other; leave out one of them")
    if args.alpha is None:
        args.alpha = [args.alpha_keys or 0.0]
    if bool(args.photos) == (args.camera is not None):
        raise ValueError("name pictures or videos, or a --camera")
    if args.invert_mask and not args.mask:
        raise ValueError("--invert-mask inverts --mask; without one use --swap")
    if args.camera is not None and (args.mask or args.show_branches):
        raise ValueError("--camera takes no --mask and no --show-branches; M shows the mask")
    if args.camera is not None:
        for name in ("start", "duration", "batch", "format", "output-size"):
            if getattr(args, name.replace("-", "_")) is not None:
                raise ValueError(f"--camera takes no --{name}")
    if args.camera is not None and (len(args.alpha) > 1 or isinstance(args.alpha[0], AlphaCurve)):
        raise ValueError("--camera takes one alpha; the arrow keys change it")
    if not args.checkpoint:
        raise CheckpointError("no checkpoint ships here; name one with --checkpoint")


def _paint_camera(args: argparse.Namespace, options: StylizeOptions) -> CameraReport:
    """Stylize a camera until the user quits.

    Raises CheckpointError for an unusable checkpoint, PictureError if there is no such camera,
    ValueError without OpenCV or a display.
    """
    network, options = _open(args.checkpoint, args, options, moving=True)
    encoding = Encoding(args.codec, args.crf, args.preset)
    recorded: list[Path] = []

    def record(width: int, height: int) -> Recording:
        path = _recording_path(args.output, args.force, recorded)
        recording = Recording(path, encoding, width, height)
        _say(f"recording: {path}")
        recorded.append(path)
        return recording

    camera = OpenCVCamera(args.camera)
    try:
        screen = OpenCVScreen("Duostyle")
        controls = LiveControls(args.alpha[0], args.strength, args.swap)
        report = run_camera(network, camera, screen, controls, record, options)
    finally:
        camera.close()
    for path in recorded:
        _say(f"wrote {path}")
    return report


def _recording_path(output: Path | None, force: bool, recorded: Sequence[Path]) -> Path:
    """The file of a recording that starts now.

    `output`: a file, a folder or None; `recorded`: earlier recordings of this command, which are
    never overwritten.
    """
    now = time.strftime("-%Y%m%d-%H%M%S")
    path = output or Path("outputs")
    if path.suffix.lower() not in WRITABLE_VIDEO:
        path = path / f"camera{now}.mp4"
    if path.exists() and not force and path not in recorded:
        path = path.with_stem(path.stem + now)
    stem, number = path.stem, 2
    while path in recorded or (path.exists() and not force):
        path, number = path.with_stem(f"{stem}-{number}"), number + 1
    return path


def _paint_video(
    network: Painter,
    file: Path,
    outputs: Outputs,
    args: argparse.Namespace,
    options: StylizeOptions,
    several: bool,
) -> int:
    """Stylize one video and print a report; returns the signal that ended it, or 0.

    `several`: if one of several videos is interrupted, its files are renamed (see
    `unfinished_path`), so that the next call paints it whole.
    """
    report = stylize_video_to_files(
        network,
        file,
        outputs,
        MaskSource(args.mask, args.invert_mask) if args.mask else None,
        start=args.start or 0.0,
        duration=args.duration,
        encoding=Encoding(args.codec, args.crf, args.preset),
        output_size=args.output_size,
        options=options,
    )
    for note in report.notes:
        _say(f"{file}: {note}")
    if report.damaged:
        _say(f"{file}: {report.damaged} damaged frames replaced")
    speed = report.frames / report.seconds
    _say(f"{file}: {report.frames} frames, {speed:.1f} frames/s")
    written = list(outputs.values())
    if several and report.stopped:
        written = [path.replace(unfinished_path(path)) for path in written]
    elif several:
        for path in written:
            unfinished_path(path).unlink(missing_ok=True)
    if report.stopped:
        _say(f"stopped; painted so far: {', '.join(map(str, written))}")
    else:
        for path in written:
            _say(f"wrote {path}")
    return report.stopped


def _one_line(file: Path, error: Exception) -> str:
    if isinstance(error, PictureError):
        return str(error)
    reason = str(error).splitlines()[0] if str(error) else "out of memory"
    advice = "; try a smaller --size" if "memory" in reason.lower() else ""
    return f"{file}: {reason}{advice}"
