"""Videos through a network: decoding, painting and encoding overlap, in constant memory."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from data.frames_out import Writer, open_writer
from data.images import PictureError
from data.pipeline import Ahead, Behind
from data.video import Frame, VideoReader
from data.video_out import Encoding
from models import Steadier, StyleNetwork

from .alpha import Alpha, alpha_at
from .mattes import Matte, mask_frames
from .pictures import stylize
from .progress import Progress

Item = Frame | av.Packet
STEADY = 0.9  # by default
BRANCHES = {"foreground", "background", "mask"}


@dataclass
class VideoReport:
    """What became of a video."""

    frames: int = 0
    seconds: float = 0.0
    damaged: int = 0
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)  # seconds by stage


def stylize_video(
    network: StyleNetwork,
    source: Path,
    output: Path,
    alpha: Alpha = 0.0,
    mask: Matte | None = None,
    **options: object,
) -> VideoReport:
    """Stylize a video file into another: `.mp4`, `.mkv`, `.gif`, `frames/%05d.png`, ...

    `alpha`: a number in [0, 1] or an `AlphaCurve`; `options`: `start`, `duration` (seconds),
    `encoding`, `batch` (frames at once), `steady` (share of the frame before in what is still, 0 to
    below 1), and those of `stylize`.
    Raises PictureError where a file cannot be read or written, ValueError where an option is off.
    """
    return paint_video(network, source, {"stylized": (output, alpha)}, mask, **options)


def paint_video(
    network: StyleNetwork,
    source: Path,
    results: Mapping[str, tuple[Path, Alpha]],
    mask: Matte | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    encoding: Encoding | None = None,
    batch: int = 1,
    steady: float = STEADY,
    **options: object,
) -> VideoReport:
    """Stylize a video into several at once; `results`: file and alpha by name.

    The names `foreground`, `background` and `mask` stand for the branch images and the mask.
    The rest as of `stylize_video`. After Ctrl-C the files hold what was done until then.
    """
    report = VideoReport()
    began = time.perf_counter()
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(source, start, duration))
        mattes = mask_frames(mask, reader) if mask else None
        writers = [
            open_writer(path, reader, encoding or Encoding(), stack) for path, _ in results.values()
        ]
        painter = _Painter(network, results, reader, mattes, steady, options)
        _run(reader, painter, writers, batch, report)
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


def _run(
    reader: VideoReader,
    painter: "_Painter",
    writers: Sequence[Writer],
    batch: int,
    report: VideoReport,
) -> None:
    """Everything from the reader through the painter to the writers, or until Ctrl-C."""
    behind = Behind(lambda work: _write(writers, work))
    ahead = Ahead(reader)
    progress = Progress(reader.path.name, reader.frame_count)
    try:
        for items in _batches(ahead, batch):
            frames = [item for item in items if isinstance(item, Frame)]
            behind.put((items, painter(frames)))
            report.frames += len(frames)
            progress.update(len(frames))
    except KeyboardInterrupt:
        report.interrupted = True
    finally:
        progress.close()
        ahead.close()
        behind.close()
    report.busy = {"decode": ahead.busy, "paint": painter.busy, "encode": behind.busy}


class _Painter:
    """Frames to painted frames, one list for every result."""

    def __init__(
        self,
        network: StyleNetwork,
        results: Mapping[str, tuple[Path, Alpha]],
        reader: VideoReader,
        mattes: Iterator[Tensor] | None,
        steady: float,
        options: Mapping[str, object],
    ) -> None:
        self.network, self.results, self.reader = network, results, reader
        self.mattes, self.options = mattes, options
        self.steadiers = {name: Steadier(steady) for name in results}
        self.device = next(network.parameters()).device
        self.busy = 0.0  # seconds

    def __call__(self, frames: Sequence[Frame]) -> list[list[np.ndarray]]:
        if not frames:
            return [[] for _ in self.results]
        began = time.perf_counter()
        content = to_tensor([frame.pixels for frame in frames], self.device)
        mask = None
        if self.mattes:
            mask = torch.cat([next(self.mattes) for _ in frames])
        views: dict[str, Tensor] = {}  # of the first alpha, branch images and mask among them
        painted = []
        for name, (_, alpha) in self.results.items():
            if not (name in BRANCHES and views):
                alphas = self._alphas(frames, alpha)
                branches = not views and bool(BRANCHES & self.results.keys())
                options = {"branches": branches, **self.options}
                found = stylize(self.network, content, alphas, mask, **options)
                shown = content if mask is None else torch.cat([content, mask.to(content)], dim=1)
                found = self._steadied(self.steadiers[name], shown, alphas, found)
                views = views or found
            painted.append(to_arrays(views[name] if name in BRANCHES else found["stylized"]))
        self.busy += time.perf_counter() - began
        return painted

    def _steadied(
        self, steadier: Steadier, content: Tensor, alphas: Tensor, found: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Frames in their order, each mixed with the one before where nothing moves."""
        rows = []
        for number, alpha in enumerate(alphas.tolist()):
            one = slice(number, number + 1)
            rows.append(steadier(content[one], alpha, {n: v[one] for n, v in found.items()}))
        return {name: torch.cat([row[name] for row in rows]) for name in found}

    def _alphas(self, frames: Sequence[Frame], alpha: Alpha) -> Tensor:
        reader = self.reader
        length = reader.end - reader.start
        times = [float(frame.pts * reader.time_base) for frame in frames]
        return torch.tensor([alpha_at(alpha, time, length) for time in times])


def to_tensor(frames: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Frames `(H, W, 3)` uint8 as `(B, 3, H, W)` float32 in [0, 1]."""
    pixels = torch.from_numpy(np.stack(frames)).to(device)
    return pixels.permute(0, 3, 1, 2).float().div(255)


def to_arrays(pictures: Tensor) -> list[np.ndarray]:
    """`(B, 3 or 1, H, W)` in [0, 1] as frames `(H, W, 3)` uint8."""
    pixels = (pictures.expand(-1, 3, -1, -1).clamp(0, 1) * 255).round().to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


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
