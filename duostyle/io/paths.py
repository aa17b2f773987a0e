"""Which photographs are meant, and which files their paintings become."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from duostyle.files import MOST_NAME
from duostyle.io.frames_out import NUMBER, is_numbered
from duostyle.io.images import PICTURE_SUFFIXES, WRITABLE, PictureError, list_pictures
from duostyle.io.opening import check_regular
from duostyle.io.video import VIDEO_SUFFIXES
from duostyle.io.video_out import CONTAINERS

Outputs = dict[str, Path]  # file by result: "0.25" for an alpha, or the name of a branch image
BRANCHES = ("foreground", "background", "mask")
READABLE = PICTURE_SUFFIXES | VIDEO_SUFFIXES
WRITABLE_VIDEO = {*CONTAINERS, ".gif"}


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_photos(arguments: Sequence[str]) -> dict[Path, Path]:
    """Pictures and videos from files, folders and patterns, each with the path it is known by.

    Raises PictureError where an argument names nothing.
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


def plan_outputs(
    photos: dict[Path, Path],
    output: Path | None,
    alphas: Sequence[object],
    branches: bool,
    kind: str | None,
    force: bool,
) -> dict[Path, Outputs]:
    """The files that every photograph or video becomes.

    `output`: a file for a single result, else a folder; `kind`: suffix without its dot, None
    for the photograph's own, or MP4. Raises PictureError where two results or a photograph would
    meet in one file, or that of a single photograph exists and `force` is not given; of several,
    `still_missing` tells what is left to do.
    """
    results = [f"{alpha:g}" for alpha in alphas] + list(BRANCHES if branches else ())
    single = len(photos) == 1 and len(results) == 1
    names_file = output is not None and output.suffix != "" and not output.is_dir()
    if names_file and not single and output.suffix.lower() in WRITABLE | WRITABLE_VIDEO:
        raise PictureError(f"{output}: is one file for several results; name a folder with -o")
    if single and names_file:
        jobs = {photo: {results[0]: output} for photo in photos}
    else:
        folder = output or Path("outputs")
        if folder.is_file():
            raise PictureError(f"{folder}: is a file; several results need a folder with -o")
        jobs = {
            photo: {result: _name(folder / known, result, results, kind) for result in results}
            for photo, known in photos.items()
        }
    _check(jobs, force)
    return jobs


def still_missing(jobs: dict[Path, Outputs]) -> dict[Path, Outputs]:
    """The results that do not exist yet, so that a call that was interrupted goes on."""
    left = {
        photo: {result: path for result, path in outputs.items() if not path.exists()}
        for photo, outputs in jobs.items()
    }
    return {photo: outputs for photo, outputs in left.items() if outputs}


def unfinished(path: Path) -> Path:
    """Where a video of several is kept that was interrupted: its own name stays free."""
    return path.with_name(f"{path.stem}-unfinished{path.suffix}")


def _name(known: Path, result: str, results: Sequence[str], kind: str | None) -> Path:
    suffix = f".{kind}" if kind else known.suffix.lower()
    if is_video(known):
        suffix = suffix if kind else ".mp4"
    elif suffix not in WRITABLE:
        suffix = ".png"
    label = "" if len(results) == 1 else f"-{result}" if result in BRANCHES else f"-alpha{result}"
    stem, tail = known.stem, f"{label}{suffix}"
    while len(os.fsencode(stem + tail)) > MOST_NAME:  # the photograph's own name just fits
        stem = stem[:-1]
    return known.with_name(stem + tail)


def _check(jobs: dict[Path, Outputs], force: bool) -> None:
    taken: dict[Path, Path] = {}
    inputs = {photo.resolve() for photo in jobs}
    for photo, outputs in jobs.items():
        for path in outputs.values():
            _check_suffix(photo, path)
            if path.resolve() in inputs:
                raise PictureError(f"{path}: is a photograph to be painted; name another output")
            other = taken.setdefault(path, photo)
            if other != photo:
                raise PictureError(f"{path}: both {other} and {photo} would be written there")
            there = path.exists()
            if is_video(photo) and is_numbered(path):
                pattern = NUMBER.sub("*", glob.escape(path.name))
                there = any(path.parent.glob(pattern))
            if there and not force and len(jobs) == 1:
                raise PictureError(f"{path}: exists; --force overwrites, -o names another place")


def _check_suffix(photo: Path, path: Path) -> None:
    suffix = path.suffix.lower()
    if not is_video(photo) and suffix not in WRITABLE:
        raise PictureError(f"{path}: write .jpg, .png, .webp or .tif")
    if (
        is_video(photo)
        and suffix not in WRITABLE_VIDEO
        and not (is_numbered(path) and suffix in WRITABLE)
    ):
        raise PictureError(f"{path}: write a video as .mp4, .mov, .mkv, .webm, .gif or %05d.png")


def matte_of(mask: Path, known: Path) -> Path:
    """The mask file of a photograph: `mask` itself, or the one of its name in that folder.

    Raises PictureError where the folder holds none.
    """
    if not mask.is_dir():
        return mask
    for path in sorted((mask / known.parent).glob(f"{glob.escape(known.stem)}.*")):
        if path.stem == known.stem and path.suffix.lower() in PICTURE_SUFFIXES:
            return path
    raise PictureError(f"{mask / known.with_suffix('')}.*: no mask for {known}")
