"""Videos through a network: decoding, stylizing and encoding overlap, in constant memory."""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar, Unpack

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from duostyle.inference.masks import MaskSource, video_masks
from duostyle.inference.render import (
    DEFAULTS,
    Alpha,
    AlphaCurve,
    Output,
    Painter,
    Renderer,
    Result,
    StylizeKeywords,
    StylizeOptions,
)
from duostyle.io.images import PictureError
from duostyle.io.pixels import frames_to_tensor, long_side, tensor_to_frames
from duostyle.io.video import Frame, VideoFormat, VideoReader
from duostyle.io.video_writer import Encoding, FrameWriter, open_writer
from duostyle.models import SMALLEST_SIDE
from duostyle.progress import progress
from duostyle.signals import StopSignal

Item: TypeAlias = Frame | av.Packet
T = TypeVar("T")
POLL_SECONDS = 0.1  # between checks of whether the other thread has stopped


@dataclass
class VideoReport:
    """What was done to a video."""

    frames: int = 0
    seconds: float = 0.0
    damaged: int = 0  # frames that were replaced by the last good one
    stopped: int = 0  # number of the signal that ended it early
    notes: list[str] = field(default_factory=list)  # what the user should know, one line each
    busy: dict[str, float] = field(default_factory=dict)  # seconds by stage; stages overlap


def stylize_video(
    network: Painter,
    source: str | Path,
    output: str | Path,
    alpha: Alpha = 0.0,
    mask: MaskSource | str | Path | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    encoding: Encoding | None = None,
    output_size: int | None = None,
    options: StylizeOptions = DEFAULTS,
    **keywords: Unpack[StylizeKeywords],
) -> VideoReport:
    """Stylize a video file into another: `.mp4`, `.mkv`, `.gif`, `frames/%05d.png` and others.

    `alpha`: a number in [0, 1] or an `AlphaCurve`; `mask`: see `MaskSource`; `start`, `duration`:
    the part to stylize, in seconds; `encoding`: codec and quality; `output_size`: long side of the
    written video in pixels, 16 or more (both sides are rounded to even numbers); None: the source's
    size; `options`, or its fields as keywords: see `StylizeOptions`.
    Raises PictureError if a file cannot be read or written, ValueError for a wrong alpha or option,
    NotFinite if a result is not finite.
    """
    source_mask = MaskSource(Path(mask)) if isinstance(mask, str | Path) else mask
    return stylize_video_to_files(
        network,
        Path(source),
        {Result(alpha): Path(output)},
        source_mask,
        start=start,
        duration=duration,
        encoding=encoding,
        output_size=output_size,
        options=replace(options, **keywords),
    )


def stylize_video_to_files(
    network: Painter,
    source: Path,
    outputs: Mapping[Result, Path],
    mask: MaskSource | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    encoding: Encoding | None = None,
    output_size: int | None = None,
    options: StylizeOptions = DEFAULTS,
) -> VideoReport:
    """Stylize a video into one or several files at once; arguments as of `stylize_video`.

    After Ctrl-C or SIGTERM the files hold what was done until then. Before the first frame is
    stylized, these signals raise Stopped, a KeyboardInterrupt, at once.
    """
    if output_size is not None and output_size < SMALLEST_SIDE:
        raise ValueError(f"output_size is {SMALLEST_SIDE} pixels or more, not {output_size}")
    report = VideoReport()
    began = time.perf_counter()
    try:
        with StopSignal(begun=False) as stop, ExitStack() as stack:
            reader = stack.enter_context(VideoReader(source, start, duration))
            masks = video_masks(mask, reader, report.notes) if mask else None
            format = _output_format(reader.format, output_size)
            writers = [
                open_writer(
                    path,
                    format,
                    encoding or Encoding(),
                    stack,
                    reader,
                    reader.has_alpha and result.output != Output.MASK,
                )
                for result, path in outputs.items()
            ]
            report.notes += _length_notes(reader, [result.alpha for result in outputs])
            renderer = _FrameRenderer(network, outputs, options, reader, format, masks)
            _run(
                reader, renderer, writers, options.batch or network.default_batch_size, report, stop
            )
            if not report.frames:
                raise PictureError(f"{source}: stopped before the first frame; nothing is written")
            for writer in writers:
                writer.close()
                report.notes += [note for note in writer.notes if note not in report.notes]
            report.damaged = reader.damaged
            if reader.cut_short:
                report.notes.append("the file ends in the middle: stylized up to there")
    except av.FFmpegError as error:
        raise PictureError(f"{source}: {error.strerror or error}") from error
    report.seconds = time.perf_counter() - began
    return report


def _output_format(format: VideoFormat, long: int | None) -> VideoFormat:
    """Scale a format so that its long side has `long` pixels, both sides even; None keeps it."""
    if long is None:
        return format
    sides = long_side((format.height, format.width), long)
    height, width = (max(2 * round(side / 2), 2) for side in sides)
    return replace(format, width=width, height=height)


def _length_notes(reader: VideoReader, alphas: Sequence[Alpha]) -> list[str]:
    """A note if an alpha follows the length of a video whose length is unknown."""
    relative = any(isinstance(alpha, AlphaCurve) and alpha.relative for alpha in alphas)
    if relative and reader.end == math.inf:
        return ["does not state its length, so alpha stays: use --alpha-keys or --duration"]
    return []


class _FrameRenderer:
    """Frames to stylized frames, one list for each result."""

    def __init__(
        self,
        network: Painter,
        results: Iterable[Result],
        options: StylizeOptions,
        reader: VideoReader,
        format: VideoFormat,
        masks: Iterator[Tensor] | None,
    ) -> None:
        self.results, self.reader, self.masks = list(results), reader, masks
        self.device = network.device
        size = (format.height, format.width)
        self.render = Renderer(network, self.results, options, temporal=True, output_size=size)
        self.busy = 0.0  # seconds

    def __call__(self, frames: Sequence[Frame]) -> list[list[np.ndarray]]:
        if not frames:
            return [[] for _ in self.results]
        began = time.perf_counter()
        content = frames_to_tensor([frame.pixels for frame in frames], self.device)
        mask = torch.cat([next(self.masks) for _ in frames]) if self.masks else None
        times = [float(frame.pts * self.reader.time_base) for frame in frames]
        length = self.reader.end - self.reader.start
        stylized = {
            result: tensor_to_frames(pixels)
            for result, pixels in self.render(content, mask, times, length)
        }
        self.busy += time.perf_counter() - began
        return [stylized[result] for result in self.results]


def _run(
    reader: VideoReader,
    renderer: _FrameRenderer,
    writers: Sequence[FrameWriter],
    batch: int,
    report: VideoReport,
    stop: StopSignal,
) -> None:
    """Read, stylize and write until the video ends or a signal comes."""
    background = BackgroundWriter[tuple[list[Item], list[list[np.ndarray]]]](
        lambda work: _write(writers, *work)
    )
    prefetcher = Prefetcher[Item](reader)
    bar: tqdm[object] | None = None  # starts with the first frame, after any setup
    try:
        for items in _batches(prefetcher, batch):
            frames = [item for item in items if isinstance(item, Frame)]
            background.put((items, renderer(frames)))
            stop.begun |= bool(frames)
            report.frames += len(frames)
            if bar is None:
                bar = progress(
                    name=reader.path.name,
                    unit="frame",
                    total=reader.frame_count,
                    initial=len(frames),
                    announce=False,
                )
            else:
                bar.update(len(frames))
            if stop.number:
                break
    finally:
        if bar is not None:
            bar.close()
        prefetcher.close()
        background.close()
    report.stopped = stop.number
    report.busy = {"decode": prefetcher.busy, "stylize": renderer.busy, "encode": background.busy}


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Group items in order; a group ends with its `size`-th frame."""
    group: list[Item] = []
    frames = 0
    for item in items:
        group.append(item)
        frames += isinstance(item, Frame)
        if frames == size:
            yield group
            group, frames = [], 0
    if group:
        yield group


def _write(
    writers: Sequence[FrameWriter],
    items: Sequence[Item],
    stylized: Sequence[Sequence[np.ndarray]],
) -> None:
    """Write frames and packets in the order of the source; `stylized`: by writer and frame."""
    for writer, pictures in zip(writers, stylized, strict=True):
        remaining = iter(pictures)
        for item in items:
            if isinstance(item, Frame):
                writer.write_frame(painted_frame(item, next(remaining)))
            else:
                writer.write_packet(item)


def painted_frame(frame: Frame, pixels: np.ndarray) -> Frame:
    """Replace a frame's pixels; its transparency is resized to theirs."""
    alpha, (height, width) = frame.alpha, pixels.shape[:2]
    if alpha is not None and alpha.shape != (height, width):
        alpha = np.array(Image.fromarray(alpha).resize((width, height)))
    return frame._replace(pixels=pixels, alpha=alpha)


class _End:
    """The last item of a queue, with the error that ended the work, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Prefetcher(Generic[T]):
    """Iterates over items in a background thread, up to `depth` items ahead of the consumer."""

    def __init__(self, items: Iterable[T], depth: int = 8) -> None:
        self.busy = 0.0  # seconds spent in the iterator
        self._items = iter(items)
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """Yield every item in order; raises what the iterator raised."""
        while not isinstance(item := self._queue.get(), _End):
            yield item
        if item.error:
            raise item.error

    def close(self) -> None:
        """Stop the thread; items that were not consumed are lost."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                began = time.perf_counter()
                item = next(self._items, _END)
                self.busy += time.perf_counter() - began
                if isinstance(item, _End):
                    break
                self._put(item)
            self._put(_END)
        except BaseException as error:  # raised again in the consumer's thread
            self._put(_End(error))

    def _put(self, item: T | _End) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue


class BackgroundWriter(Generic[T]):
    """Calls `write` on items in a background thread, up to `depth` items behind the producer."""

    def __init__(self, write: Callable[[T], None], depth: int = 8) -> None:
        self.busy = 0.0  # seconds spent in `write`
        self._write = write
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Queue an item; raises what writing an earlier one raised."""
        self._put(item)

    def close(self) -> None:
        """Wait until every item is written; raises what writing raised."""
        self._put(_END)
        self._thread.join()
        if self._error:
            raise self._error

    def _put(self, item: T | _End) -> None:
        while True:
            if self._error:
                raise self._error
            try:
                return self._queue.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue

    def _run(self) -> None:
        while not isinstance(item := self._queue.get(), _End):
            began = time.perf_counter()
            try:
                self._write(item)
            except BaseException as error:  # raised again in the producer's thread
                self._error = error
                return
            self.busy += time.perf_counter() - began


_END = _End()
