"""Input files by name, folder and pattern, and the output files of each of them."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from duostyle.files import MAX_NAME
from duostyle.inference.render import BRANCHES, Alpha, Output, Result
from duostyle.io.images import (
    PICTURE_SUFFIXES,
    WRITABLE,
    PictureError,
    check_regular,
    list_pictures,
)
from duostyle.io.video import VIDEO_SUFFIXES
from duostyle.io.video_writer import NUMBER, WRITABLE_VIDEO, is_numbered, unknown_suffix

Outputs = dict[Result, Path]
Plan = dict[Path, Outputs]  # the output files of each input file
READABLE = PICTURE_SUFFIXES | VIDEO_SUFFIXES
SAME_FORMAT = {".jpeg": ".jpg", ".tiff": ".tif"}


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_inputs(arguments: Sequence[str]) -> dict[Path, Path]:
    """Find pictures and videos by name, folder and pattern.

    Returns each with its relative path: below the folder that was named, else the file's name.
    Raises PictureError if an argument matches nothing.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = {file: file.relative_to(path) for file in list_pictures(path, READABLE)}
            if not inside:
                raise PictureError(f"{path}: no pictures or videos in this folder")
            found |= inside
        elif path.exists():
            check_regular(path)
            found[path] = Path(path.name)
        else:
            matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]
            matches = [m for m in matches if m.suffix.lower() in READABLE]
            if not matches:
                raise PictureError(f"{argument}: no such file")
            found |= {match: Path(match.name) for match in matches}
    return found


def list_results(alphas: Sequence[Alpha], branches: bool) -> list[Result]:
    """The results of each file: one per alpha, and the branch outputs at the first alpha."""
    results = [Result(alpha) for alpha in alphas]
    return results + [Result(alphas[0], output) for output in BRANCHES if branches]


def plan_outputs(
    inputs: Mapping[Path, Path],
    output: Path | None,
    results: Sequence[Result],
    suffix: str | None = None,
    force: bool = False,
    pair: str | None = None,
) -> Plan:
    """Choose the output files of every input file.

    `inputs`: as of `find_inputs`; `output`: a file if there is one result, else a folder (default:
    `outputs`); `suffix`: without its dot, for the inputs of its kind (picture or video) only; None:
    the picture's own, or MP4; `pair`: one of several pairs that paint the inputs, which is added to
    the names.
    Raises PictureError if two results, or a result and an input, would be the same file, if
    `suffix` contradicts `output` or suits no input, and if the result of a single input exists and
    `force` is not given (for several inputs, see `missing_outputs`).
    """
    single = len(inputs) == 1 and len(results) == 1 and pair is None
    is_file = output is not None and output.suffix != "" and not output.is_dir()
    if output and is_file and not single and output.suffix.lower() in WRITABLE | WRITABLE_VIDEO:
        raise PictureError(f"{output}: is one file for several results; name a folder with -o")
    if output and is_file and single:
        own = output.suffix.lower()
        if suffix and SAME_FORMAT.get(own, own) != SAME_FORMAT.get(f".{suffix}", f".{suffix}"):
            raise PictureError(f"{output}: contradicts --format {suffix}; leave out one of them")
        plan = {path: {results[0]: output} for path in inputs}
    else:
        if suffix:
            _check_format(suffix, inputs)
        folder = output or Path("outputs")
        if folder.is_file():
            raise PictureError(f"{folder}: is a file; several results need a folder with -o")
        plan = {
            path: {
                result: _name(folder / relative, result, results, suffix, pair)
                for result in results
            }
            for path, relative in inputs.items()
        }
    _check(plan, force or pair is not None)
    return plan


def missing_outputs(plan: Plan) -> Plan:
    """The part of a plan whose files do not exist yet, to continue an interrupted call."""
    missing = {
        path: {result: output for result, output in outputs.items() if not output.exists()}
        for path, outputs in plan.items()
    }
    return {path: outputs for path, outputs in missing.items() if outputs}


def unfinished_path(path: Path) -> Path:
    """The name of an interrupted video; its own name stays free for the next call."""
    return path.with_name(f"{path.stem}-unfinished{path.suffix}")


def _name(
    path: Path, result: Result, results: Sequence[Result], kind: str | None, pair: str | None
) -> Path:
    own, writable = path.suffix.lower(), WRITABLE
    default = own if own in WRITABLE else ".png"
    if is_video(path):
        default, writable = ".mp4", WRITABLE_VIDEO
    suffix = f".{kind}" if kind and f".{kind}" in writable else default
    label = f"-{pair}" if pair else ""
    if len(results) > 1:
        stylized = result.output == Output.STYLIZED
        label += f"-alpha{result.alpha:g}" if stylized else f"-{result.output}"
    stem, tail = path.stem, f"{label}{suffix}"
    while len(os.fsencode(stem + tail)) > MAX_NAME:  # the input's name may have that length
        stem = stem[:-1]
    return path.with_name(stem + tail)


def check_distinct(plans: Iterable[Plan]) -> None:
    """Raise PictureError if two plans, of several pairs, would write the same file."""
    taken: set[Path] = set()
    for plan in plans:
        files = {file for outputs in plan.values() for file in outputs.values()}
        if both := taken & files:
            raise PictureError(f"{min(both)}: two pairs would be written there; rename one of them")
        taken |= files


def _check_format(kind: str, inputs: Iterable[Path]) -> None:
    """Raise PictureError if no input is a picture or a video, as the format is."""
    for_videos = f".{kind}" in WRITABLE_VIDEO
    if not any(is_video(path) == for_videos for path in inputs):
        raise PictureError(
            f"--format {kind}: is a video format; pictures are written as jpg, png, webp or tif"
            if for_videos
            else f"--format {kind}: is a picture format; for a picture of each frame: "
            f"-o FOLDER/%05d.{kind}"
        )


def _check(plan: Plan, force: bool) -> None:
    taken: dict[Path, tuple[Path, Result]] = {}
    inputs = {path.resolve() for path in plan}
    for path, outputs in plan.items():
        for result, output in outputs.items():
            _check_suffix(path, output)
            if output.resolve() in inputs:
                raise PictureError(f"{output}: is an input file; name another output")
            other, other_result = taken.setdefault(output, (path, result))
            if other != path:
                raise PictureError(f"{output}: both {other} and {path} would be written there")
            if other_result != result:
                raise PictureError(f"{output}: two alphas of {path} would be written there")
            exists = output.exists()
            if is_video(path) and is_numbered(output):
                pattern = NUMBER.sub("*", glob.escape(output.name))
                exists = any(output.parent.glob(pattern))
            if exists and not force and len(plan) == 1:
                raise PictureError(f"{output}: exists; --force overwrites, -o names another place")


def _check_suffix(path: Path, output: Path) -> None:
    suffix = output.suffix.lower()
    if not is_video(path) and suffix not in WRITABLE:
        raise PictureError(f"{output}: unknown suffix; write .jpg, .png, .webp or .tif")
    if is_video(path) and suffix not in WRITABLE_VIDEO and not is_numbered(output):
        raise PictureError(unknown_suffix(output))


def find_mask(mask: Path, relative: Path) -> Path:
    """The mask of a picture: `mask` itself, or in a folder the one of the same relative name.

    Raises PictureError if the folder holds none.
    """
    if not mask.is_dir():
        return mask
    for path in sorted((mask / relative.parent).glob(f"{glob.escape(relative.stem)}.*")):
        if path.stem == relative.stem and path.suffix.lower() in PICTURE_SUFFIXES:
            return path
    raise PictureError(f"{mask / relative.with_suffix('')}.*: no mask for {relative}")
