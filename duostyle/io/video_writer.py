"""Stylized frames: written as a video with the source's sound, as a GIF, or as pictures."""

import errno
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.reformatter import ColorRange
from PIL import Image

from duostyle import files
from duostyle.io.decoding import pull_all
from duostyle.io.images import OPAQUE_ONLY, WRITABLE, Picture, PictureError, write_picture
from duostyle.io.pixels import frames_to_tensor
from duostyle.io.streams import StreamWriter, open_stream
from duostyle.io.video import Frame, VideoFormat, VideoReader

CONTAINERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm",
}  # fmt: skip
WRITABLE_VIDEO = {*CONTAINERS, ".gif"}
CODECS = {"webm": "libvpx-vp9"}  # where H.264 is not allowed
# Codecs with an alpha channel; MP4 has none.
ALPHA_CODECS = {"webm": "libvpx-vp9", "matroska": "libvpx-vp9", "mov": "prores_ks"}
ALPHA_OPTIONS = {"libvpx-vp9": {"auto-alt-ref": "0"}, "libvpx": {"auto-alt-ref": "0"}}
EVEN_ONLY = ("libx264", "libx265")  # in 4:2:0
# Errors of sound and subtitles: the stream is left out, and the video is written all the same.
STREAM_ERRORS = (av.FFmpegError, ValueError, TypeError, AttributeError, RuntimeError)
NUMBER = re.compile(r"%0?\d*d")
MIN_GIF_DELAY = 2  # hundredths of a second between the frames of a GIF


@dataclass(frozen=True)
class Encoding:
    """How a video is encoded; None: the default of the container or the encoder."""

    codec: str | None = None  # an encoder of FFmpeg
    crf: int | None = None  # quality of H.264, H.265, VP9, AV1; lower is better
    preset: str | None = None  # of x264 and x265: ultrafast to veryslow

    def options(self) -> dict[str, str]:
        """Return the options for FFmpeg's encoder."""
        options = {"crf": self.crf, "preset": self.preset}
        return {name: str(value) for name, value in options.items() if value is not None}


class FrameWriter(Protocol):
    """Takes frames and packets in the order of the source."""

    notes: list[str]  # what could not be kept, one line each

    def write_frame(self, frame: Frame) -> None: ...
    def write_packet(self, packet: av.Packet) -> None: ...
    def close(self) -> None: ...


class NumberedWriter:
    """Writes a numbered picture for each frame: `frames/%05d.png`."""

    def __init__(self, path: Path, alpha: bool = False) -> None:
        """`alpha`: keep the frames' alpha channel; in JPEG they are composited over white."""
        self.path, self.alpha, self.count = path, alpha, 0
        self.notes: list[str] = []
        if alpha and path.suffix.lower() in OPAQUE_ONLY:
            self.notes.append(
                "transparent places are white: JPEG has no alpha channel; write %05d.png"
            )

    def write_frame(self, frame: Frame) -> None:
        """Write one picture."""
        path = self.path.with_name(self._name(self.count))
        transparency = None
        if self.alpha and frame.alpha is not None:
            transparency = Image.fromarray(frame.alpha)
        write_picture(path, Picture(frames_to_tensor([frame.pixels])[0], transparency))
        self.count += 1

    def write_packet(self, packet: av.Packet) -> None:
        """Ignore sound and subtitles."""

    def close(self) -> None:
        """Remove the pictures of an earlier, longer video that are numbered beyond the last one."""
        before, after = NUMBER.split(self.path.name)
        removed = 0
        for path in self.path.parent.iterdir() if self.count else ():
            digits = path.name.removeprefix(before).removesuffix(after)
            if not (digits.isascii() and digits.isdecimal()) or int(digits) < self.count:
                continue
            if path.name == self._name(int(digits)) and path.is_file():
                path.unlink()
                removed += 1
        if removed:
            self.notes.append(f"{removed} pictures of an earlier, longer video were removed")

    def _name(self, number: int) -> str:
        return NUMBER.sub(lambda found: found.group() % number, self.path.name)


class GifWriter:
    """Writes an animated GIF with a palette for each frame, so that memory stays constant.

    Browsers slow down GIFs of more than 50 frames per second: frames beyond that rate are dropped.
    """

    def __init__(
        self, path: Path, format: VideoFormat, source: VideoReader | None, alpha: bool = False
    ) -> None:
        """Arguments as of `open_writer`."""
        self.format, self.alpha = format, alpha
        self.notes: list[str] = []
        self.last: int | None = None  # time of the last frame in hundredths of a second
        if source and any(stream.type == "audio" for stream in source.others):
            self.notes.append("a GIF has no sound")
        self.container = av.open(str(path), "w", format="gif")
        self.stream = self.container.add_stream("gif", rate=format.rate)
        self.stream.width, self.stream.height = format.width, format.height
        self.stream.pix_fmt = "pal8"
        self.stream.codec_context.time_base = format.time_base
        self.graph = av.filter.Graph()
        buffer = self.graph.add_buffer(
            width=format.width, height=format.height,
            format=av.VideoFormat("rgba" if alpha else "rgb24"),
            time_base=format.time_base,
        )  # fmt: skip
        split = self.graph.add("split")
        palette = self.graph.add("palettegen", "stats_mode=single")
        use = self.graph.add("paletteuse", "new=1")
        sink = self.graph.add("buffersink")
        buffer.link_to(split)
        split.link_to(use)
        split.link_to(palette, output_idx=1)
        palette.link_to(use, input_idx=1)
        use.link_to(sink)
        self.graph.configure()

    def write_frame(self, frame: Frame) -> None:
        """Encode one frame, unless it comes too soon after the last one."""
        time = round(100 * frame.pts * self.format.time_base)
        if self.last is not None and time < self.last + MIN_GIF_DELAY:
            return
        self.last = time
        pixels, layout = frame.pixels, "rgb24"
        if self.alpha and frame.alpha is not None:
            pixels, layout = np.dstack([pixels, frame.alpha]), "rgba"
        picture = av.VideoFrame.from_ndarray(pixels, format=layout)
        picture.pts, picture.time_base = frame.pts, self.format.time_base
        self.graph.push(picture)
        self._drain()

    def write_packet(self, packet: av.Packet) -> None:
        """Ignore sound and subtitles."""

    def close(self) -> None:
        """Finish the file."""
        self.graph.push(None)
        self._drain()
        self.container.mux(self.stream.encode(None))
        self.container.close()

    def _drain(self) -> None:
        for frame in pull_all(self.graph):
            self.container.mux(self.stream.encode(frame))


class VideoWriter:
    """Writes a video file with the source's timestamps, other streams, chapters and metadata."""

    def __init__(
        self,
        path: Path,
        kind: str,
        format: VideoFormat,
        encoding: Encoding,
        source: VideoReader | None,
        alpha: bool = False,
    ) -> None:
        """Open `path` for writing.

        `kind`: container as FFmpeg names it; other arguments as of `open_writer`. The codec is
        H.264 by default, if the container supports it.
        Raises PictureError if the encoder is unknown or not possible in the container.
        """
        self.format, self.source = format, source
        self.notes: list[str] = []
        codec = encoding.codec or CODECS.get(kind, "libx264")
        if alpha and not encoding.codec:
            codec = ALPHA_CODECS.get(kind, codec)
        options = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
        self.container = av.open(str(path), "w", format=kind, options=options)
        try:
            self._add_video(codec, encoding.options(), alpha)
        except (av.FFmpegError, ValueError, TypeError, AttributeError) as error:
            given = " ".join(f"--{name} {value}" for name, value in encoding.options().items())
            raise PictureError(
                f"--codec {codec} {given}".rstrip()
                + f": not possible in a .{kind} here ({error}); "
                "try other ones"
            ) from error
        self.streams: dict[int, StreamWriter] = {}  # by index in the source
        for stream in source.others if source else ():
            try:
                writer, note = open_stream(self.container, stream)
            except STREAM_ERRORS as error:
                writer, note = None, _left_out(stream, error)
            if writer:
                self.streams[stream.index] = writer
            if note:
                self.notes.append(note)
        if source:
            self.container.metadata.update(source.container.metadata)
            self.container.set_chapters(list(source.chapters()))

    def _add_video(self, codec: str, options: dict[str, str], alpha: bool) -> None:
        format = self.format
        odd = format.width % 2 or format.height % 2
        formats = [f.name for f in av.Codec(codec, "w").video_formats or ()]
        self.pixel_format = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
        self.alpha = False
        if alpha and (with_alpha := [name for name in formats if _has_alpha(name)]):
            self.alpha, self.pixel_format = True, with_alpha[0]
            options = ALPHA_OPTIONS.get(codec, {}) | options
        elif alpha:
            self.notes.append(
                "transparent places are white: "
                f"{codec} has no alpha channel; write .webm, .mov, .gif or %05d.png to keep it"
            )
        self.opaque = alpha and not self.alpha
        if odd and codec in EVEN_ONLY:
            self.pixel_format = "yuv444p"
            self.notes.append("odd size: written in 4:4:4, which not every browser plays")
        stream = self.container.add_stream(codec, rate=format.rate, options=options)
        stream.width, stream.height = format.width, format.height
        stream.pix_fmt = self.pixel_format
        context = stream.codec_context
        context.time_base = stream.time_base = format.time_base
        context.sample_aspect_ratio = format.pixel_aspect
        color = format.color
        context.colorspace, context.color_range = color.matrix, color.range
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        if self.source:
            tags = self.source.stream.metadata.items()
            stream.metadata.update({k: v for k, v in tags if k.lower() != "alpha_mode"})
        if self.alpha:
            stream.metadata["alpha_mode"] = "1"  # a tag of Matroska and WebM
        context.open()
        self.stream = stream

    def write_frame(self, frame: Frame) -> None:
        """Encode one frame."""
        pixels, layout = frame.pixels, "rgb24"
        if frame.alpha is not None and self.alpha:
            pixels, layout = np.dstack([pixels, frame.alpha]), "rgba"
        elif frame.alpha is not None and self.opaque:
            pixels = _on_white(pixels, frame.alpha)
        picture = av.VideoFrame.from_ndarray(pixels, format=layout)
        color = self.format.color
        picture = picture.reformat(
            format=self.pixel_format,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=color.matrix,
            dst_color_range=color.range,
        )
        picture.pts, picture.duration = frame.pts, frame.duration
        picture.time_base = self.format.time_base
        self.container.mux(self.stream.encode(picture))

    def write_packet(self, packet: av.Packet) -> None:
        """Copy or convert a packet of another stream of the source."""
        writer = self.streams.get(packet.stream.index)
        if writer and self.source:
            shift = round(self.source.shift / packet.time_base)
            try:
                writer.write(packet, shift)
            except STREAM_ERRORS as error:
                self._drop_stream(packet.stream, error)

    def close(self) -> None:
        """Finish the file."""
        self.container.mux(self.stream.encode(None))
        for stream in self.source.others if self.source else ():
            try:
                if stream.index in self.streams:
                    self.streams[stream.index].finish()
            except STREAM_ERRORS as error:
                self._drop_stream(stream, error)
        self.container.close()

    def _drop_stream(self, stream: av.stream.Stream, error: Exception) -> None:
        """Continue without a stream that cannot be written.

        Raises the error if it is one of the disk, which concerns the video too.
        """
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise error
        del self.streams[stream.index]
        self.notes.append(_left_out(stream, error))


def _left_out(stream: av.stream.Stream, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"{stream.type} stream {stream.index} cannot be kept: left out ({reason})"


def _has_alpha(pixel_format: str) -> bool:
    kind = av.VideoFormat(pixel_format)
    return not kind.has_palette and any(part.is_alpha for part in kind.components)


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Composite `(H, W, 3)` uint8 over white by `alpha` `(H, W)` uint8."""
    share = alpha[..., None].astype(np.float32) / 255
    return (255 + share * (pixels.astype(np.float32) - 255)).round().astype(np.uint8)


def is_numbered(path: Path) -> bool:
    """Whether a name stands for numbered pictures, for example `%05d.png`."""
    return path.suffix.lower() in WRITABLE and len(NUMBER.findall(path.name)) == 1


def unknown_suffix(path: Path) -> str:
    """The error message for a file that no writer is known for."""
    return f"{path}: unknown suffix; write a video as .mp4, .mov, .mkv, .webm, .gif or %05d.png"


@contextmanager
def _open_file(path: Path) -> Iterator[Path]:
    """As `files.atomic_writer`, but raise PictureError if the file cannot be written."""
    try:
        with files.atomic_writer(path) as part:
            yield part
    except files.WriteError as error:
        raise PictureError(str(error)) from error


def open_writer(
    path: Path,
    format: VideoFormat,
    encoding: Encoding,
    stack: ExitStack,
    source: VideoReader | None = None,
    alpha: bool = False,
) -> FrameWriter:
    """Open a writer by the suffix of `path`; the file replaces `path` when `stack` is closed.

    `source`: video whose other streams, chapters and metadata are written too; `alpha`: keep the
    frames' alpha channel if the file format has one.
    Raises PictureError if the file cannot be written.
    """
    suffix = path.suffix.lower()
    if is_numbered(path):
        return NumberedWriter(path, alpha)
    if suffix not in WRITABLE_VIDEO:
        raise PictureError(unknown_suffix(path))
    part = stack.enter_context(_open_file(path))
    if suffix == ".gif":
        return GifWriter(part, format, source, alpha)
    return VideoWriter(part, CONTAINERS[suffix], format, encoding, source, alpha)
