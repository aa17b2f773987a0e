"""Videos through a network: decoding, painting and encoding overlap, in constant memory."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from duostyle.inference.alpha import Alpha, AlphaCurve
from duostyle.inference.frames import FramePainter
from duostyle.inference.masks import Matte, mask_frames
from duostyle.inference.progress import Progress
from duostyle.io.frames_out import Writer, open_writer
from duostyle.io.images import PictureError
from duostyle.io.pipeline import Ahead, Behind
from duostyle.io.video import Frame, VideoReader
from duostyle.io.video_out import Encoding
from duostyle.models import Painter
from duostyle.signals import StopSignal

Item = Frame | av.Packet
STEADY = 0.9  # by default


@dataclass
class VideoReport:
    """What became of a video."""

    frames: int = 0
    seconds: float = 0.0
    damaged: int = 0
    stopped: int = 0  # number of the signal that ended it early
    notes: list[str] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)  # seconds by stage


def stylize_video(
    network: Painter,
    source: Path,
    output: Path,
    alpha: Alpha = 0.0,
    mask: Matte | None = None,
    **options: object,
) -> VideoReport:
    """Stylize a video file into another: `.mp4`, `.mkv`, `.gif`, `frames/%05d.png`, ...

    `alpha`: a number in [0, 1] or an `AlphaCurve`; `options`: `start`, `duration` (seconds),
    `encoding`, `batch` (frames at once, None: what is fast), `steady` (share of the frame before in
    what is still, 0 to below 1), and those of `stylize`.
    Raises PictureError where a file cannot be read or written, ValueError where an option is off.
    """
    return paint_video(network, source, {"stylized": (output, alpha)}, mask, **options)


def paint_video(
    network: Painter,
    source: Path,
    results: Mapping[str, tuple[Path, Alpha]],
    mask: Matte | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    encoding: Encoding | None = None,
    batch: int | None = None,
    steady: float = STEADY,
    **options: object,
) -> VideoReport:
    """Stylize a video into several at once; `results`: file and alpha by name.

    The names `foreground`, `background` and `mask` stand for the branch images and the mask.
    The rest as of `stylize_video`. After Ctrl-C or SIGTERM the files hold what was done until then;
    before the first frame is painted they raise Stopped, a KeyboardInterrupt, at once.
    """
    report = VideoReport()
    began = time.perf_counter()
    with StopSignal(begun=False) as stop, ExitStack() as stack:
        reader = stack.enter_context(VideoReader(source, start, duration))
        mattes = mask_frames(mask, reader, report.notes) if mask else None
        writers = [
            open_writer(
                path, reader, encoding or Encoding(), stack, reader.has_alpha and name != "mask"
            )
            for name, (path, _) in results.items()
        ]
        report.notes += unswept(reader, [alpha for _, alpha in results.values()])
        painter = FramePainter(network, results, reader, mattes, steady, options)
        _run(reader, painter, writers, batch or network.at_once, report, stop)
        if not report.frames:
            raise PictureError(f"{source}: stopped before the first frame; nothing is written")
        for writer in writers:
            writer.close()
            report.notes += [note for note in writer.notes if note not in report.notes]
        report.damaged = reader.damaged
        if reader.cut_short:
            report.notes.append("the file ends in the middle: painted up to there")
    report.seconds = time.perf_counter() - began
    return report


def unswept(reader: VideoReader, alphas: Sequence[Alpha]) -> list[str]:
    """A word on curves over the whole of a video that does not say how long it is."""
    relative = any(isinstance(alpha, AlphaCurve) and alpha.relative for alpha in alphas)
    if relative and reader.end == math.inf:
        return ["does not say its length, so alpha stays: use --alpha-keys or --duration"]
    return []


def _run(
    reader: VideoReader,
    painter: FramePainter,
    writers: Sequence[Writer],
    batch: int,
    report: VideoReport,
    stop: StopSignal,
) -> None:
    """Everything from the reader through the painter to the writers, or until a signal."""
    behind = Behind(lambda work: _write(writers, work))
    ahead = Ahead(reader)
    progress = Progress(reader.path.name, reader.frame_count)
    try:
        for items in _batches(ahead, batch):
            frames = [item for item in items if isinstance(item, Frame)]
            behind.put((items, painter(frames)))
            stop.begun |= bool(frames)
            report.frames += len(frames)
            progress.update(len(frames))
            if stop.number:
                break
    finally:
        progress.close()
        ahead.close()
        behind.close()
    report.stopped = stop.number
    report.busy = {"decode": ahead.busy, "paint": painter.busy, "encode": behind.busy}


def _batches(items: Ahead[Item], size: int) -> Iterator[list[Item]]:
    """Items in order, cut after every `size` frames."""
    waiting: list[Item] = []
    frames = 0
    for item in items:
        waiting.append(item)
        frames += isinstance(item, Frame)
        if frames == size:
            yield waiting
            waiting, frames = [], 0
    if waiting:
        yield waiting


def _write(writers: Sequence[Writer], work: tuple[list[Item], list[list[np.ndarray]]]) -> None:
    items, painted = work
    for writer, pictures in zip(writers, painted, strict=True):
        following = iter(pictures)
        for item in items:
            if isinstance(item, Frame):
                writer.frame(item._replace(pixels=next(following)))
            else:
                writer.packet(item)
