"""Painted frames out: whatever a name asks for, a GIF and numbered pictures among it."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from PIL import Image

from duostyle.io.arrays import to_tensor
from duostyle.io.images import OPAQUE_ONLY, WRITABLE, Picture, whole_file, write_picture
from duostyle.io.video import Frame, VideoReader
from duostyle.io.video_out import CONTAINERS, Encoding, VideoWriter

NUMBER = re.compile(r"%0?\d*d")
LEAST_DELAY = 2  # hundredths of a second between the frames of a GIF


class Writer(Protocol):
    """Takes frames and packets in the file's order."""

    notes: list[str]  # what could not be kept, one line each

    def frame(self, frame: Frame) -> None: ...
    def packet(self, packet: av.Packet) -> None: ...
    def close(self) -> None: ...


class FrameWriter:
    """A numbered picture for every frame: `frames/%05d.png`."""

    def __init__(self, path: Path, alpha: bool = False) -> None:
        """`alpha`: keep the frames' alpha channel; JPEG shows white there."""
        self.path, self.alpha, self.count, self.notes = path, alpha, 0, []
        if alpha and path.suffix.lower() in OPAQUE_ONLY:
            self.notes.append("transparent places are white: JPEG keeps none; write %05d.png")

    def frame(self, frame: Frame) -> None:
        """Write one picture."""
        path = self.path.with_name(
            NUMBER.sub(lambda found: found.group() % self.count, self.path.name)
        )
        kept = self.alpha and frame.alpha is not None
        transparency = Image.fromarray(frame.alpha) if kept else None
        write_picture(path, Picture(to_tensor([frame.pixels])[0], transparency))
        self.count += 1

    def packet(self, packet: av.Packet) -> None:
        """Sound and subtitles have no place here."""

    def close(self) -> None:
        """Every picture is whole already."""


class GifWriter:
    """An animated GIF, a palette a frame, so that memory does not grow with the length.

    Browsers slow down what is faster than 50 frames a second: frames that come sooner are dropped.
    """

    def __init__(self, path: Path, source: VideoReader, alpha: bool = False) -> None:
        self.source, self.alpha, self.notes = source, alpha, []
        self.last: int | None = None  # time of the last frame, in GIF's hundredths of a second
        if any(stream.type == "audio" for stream in source.others):
            self.notes.append("a GIF has no sound")
        self.container = av.open(str(path), "w", format="gif")
        self.stream = self.container.add_stream("gif", rate=source.rate)
        self.stream.width, self.stream.height = source.width, source.height
        self.stream.pix_fmt = "pal8"
        self.stream.codec_context.time_base = source.time_base
        self.graph = av.filter.Graph()
        begin = self.graph.add_buffer(
            width=source.width, height=source.height,
            format=av.VideoFormat("rgba" if alpha else "rgb24"),
            time_base=source.time_base,
        )  # fmt: skip
        split = self.graph.add("split")
        palette = self.graph.add("palettegen", "stats_mode=single")
        use = self.graph.add("paletteuse", "new=1")
        end = self.graph.add("buffersink")
        begin.link_to(split)
        split.link_to(use)
        split.link_to(palette, output_idx=1)
        palette.link_to(use, input_idx=1)
        use.link_to(end)
        self.graph.configure()

    def frame(self, frame: Frame) -> None:
        """Encode one picture, unless it comes too soon after the last one."""
        time = round(100 * frame.pts * self.source.time_base)
        if self.last is not None and time < self.last + LEAST_DELAY:
            return
        self.last = time
        pixels, kind = frame.pixels, "rgb24"
        if self.alpha and frame.alpha is not None:
            pixels, kind = np.dstack([pixels, frame.alpha]), "rgba"
        picture = av.VideoFrame.from_ndarray(pixels, format=kind)
        picture.pts, picture.time_base = frame.pts, self.source.time_base
        self.graph.push(picture)
        self._drain()

    def packet(self, packet: av.Packet) -> None:
        """Sound and subtitles have no place here."""

    def close(self) -> None:
        """Finish the file."""
        self.graph.push(None)
        self._drain()
        self.container.mux(self.stream.encode(None))
        self.container.close()

    def _drain(self) -> None:
        while True:
            try:
                self.container.mux(self.stream.encode(self.graph.pull()))
            except (av.BlockingIOError, av.EOFError):
                return


def is_numbered(path: Path) -> bool:
    """Whether a name stands for a row of pictures, `%05d.png` say."""
    return path.suffix.lower() in WRITABLE and len(NUMBER.findall(path.name)) == 1


def open_writer(
    path: Path, source: VideoReader, encoding: Encoding, stack: ExitStack, alpha: bool = False
) -> Writer:
    """What a name's suffix asks for; the file takes its place when `stack` ends well.

    `alpha`: keep the frames' alpha channel where the format has one.
    Raises PictureError where it cannot be written.
    """
    if is_numbered(path):
        return FrameWriter(path, alpha)
    part = stack.enter_context(whole_file(path))
    if path.suffix.lower() == ".gif":
        return GifWriter(part, source, alpha)
    return VideoWriter(part, CONTAINERS[path.suffix.lower()], source, encoding, alpha)
