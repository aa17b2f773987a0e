"""Painted frames out: a video with the source's sound, subtitles, chapters and metadata."""

import errno
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange

from duostyle.io.images import PictureError
from duostyle.io.streams import Track, open_track
from duostyle.io.video import Frame, VideoReader

CONTAINERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm",
}  # fmt: skip
CODECS = {"webm": "libvpx-vp9"}  # where H.264 is not allowed
# What keeps an alpha channel; an MP4 cannot.
ALPHA_CODECS = {"webm": "libvpx-vp9", "matroska": "libvpx-vp9", "mov": "prores_ks"}
EVEN_ONLY = ("libx264", "libx265")  # in 4:2:0
OPTIONS = {"libvpx-vp9": {"auto-alt-ref": "0"}, "libvpx": {"auto-alt-ref": "0"}}  # with alpha
# What may go wrong with sound and subtitles: that never costs the picture.
TRACK_ERRORS = (av.FFmpegError, ValueError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Encoding:
    """How a video is encoded; None: what suits the container."""

    codec: str | None = None  # an encoder of FFmpeg's
    crf: int | None = None  # quality of H.264, H.265, VP9, AV1: less is better
    preset: str | None = None  # of x264 and x265: ultrafast to veryslow

    def options(self) -> dict[str, str]:
        """As FFmpeg takes them."""
        given = {"crf": self.crf, "preset": self.preset}
        return {name: str(value) for name, value in given.items() if value is not None}


class VideoWriter:
    """A video file with the frames' time stamps, and the source's other streams and metadata."""

    def __init__(
        self,
        path: Path,
        kind: str,
        source: VideoReader,
        encoding: Encoding,
        alpha: bool = False,
    ) -> None:
        """`kind`: container, as FFmpeg names it; H.264 where it allows that and no other is named;
        `alpha`: keep the frames' alpha channel where the container has one.

        Raises PictureError where the encoder is unknown or cannot go into the container.
        """
        self.source, self.notes = source, []
        codec = encoding.codec or CODECS.get(kind, "libx264")
        if alpha and not encoding.codec:
            codec = ALPHA_CODECS.get(kind, codec)
        fast = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
        self.container = av.open(str(path), "w", format=kind, options=fast)
        try:
            self._add_video(codec, encoding.options(), alpha)
        except (av.FFmpegError, ValueError, TypeError, AttributeError) as error:
            given = " ".join(f"--{name} {value}" for name, value in encoding.options().items())
            raise PictureError(
                f"--codec {codec} {given}".rstrip()
                + f": not possible in a .{kind} here ({error}); "
                "try other ones"
            ) from error
        self.routes: dict[int, Track] = {}
        for stream in source.others:
            try:
                route, note = open_track(self.container, stream)
            except TRACK_ERRORS as error:
                route, note = None, _left_out(stream, error)
            if route:
                self.routes[stream.index] = route
            if note:
                self.notes.append(note)
        if source.container:
            self.container.metadata.update(source.container.metadata)
            self.container.set_chapters(list(source.chapters()))

    def _add_video(self, codec: str, options: dict[str, str], alpha: bool) -> None:
        source = self.source
        odd = source.width % 2 or source.height % 2
        formats = [f.name for f in av.Codec(codec, "w").video_formats or ()]
        self.pixel_format = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
        self.alpha = False
        if alpha and (kinds := [name for name in formats if _keeps_alpha(name)]):
            self.alpha, self.pixel_format = True, kinds[0]
            options = OPTIONS.get(codec, {}) | options
        elif alpha:
            self.notes.append(
                "transparent places are white: "
                f"{codec} keeps none; write .webm, .mov, .gif or %05d.png for them"
            )
        self.opaque = alpha and not self.alpha
        if odd and codec in EVEN_ONLY:
            self.pixel_format = "yuv444p"
            self.notes.append("odd size: written in 4:4:4, which not every browser plays")
        stream = self.container.add_stream(codec, rate=source.rate, options=options)
        stream.width, stream.height = source.width, source.height
        stream.pix_fmt = self.pixel_format
        context = stream.codec_context
        context.time_base = stream.time_base = source.time_base
        context.sample_aspect_ratio = source.pixel_aspect
        color = source.color
        context.colorspace, context.color_range = color.matrix, color.range
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        if source.container:
            tags = source.stream.metadata.items()
            stream.metadata.update({k: v for k, v in tags if k.lower() != "alpha_mode"})
        if self.alpha:
            stream.metadata["alpha_mode"] = "1"  # of Matroska and WebM
        context.open()
        self.stream = stream

    def frame(self, frame: Frame) -> None:
        """Encode one picture."""
        pixels, kind = frame.pixels, "rgb24"
        if frame.alpha is not None and self.alpha:
            pixels, kind = np.dstack([pixels, frame.alpha]), "rgba"
        elif frame.alpha is not None and self.opaque:
            pixels = on_white(pixels, frame.alpha)
        picture = av.VideoFrame.from_ndarray(pixels, format=kind)
        color = self.source.color
        picture = picture.reformat(
            format=self.pixel_format,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=color.matrix,
            dst_color_range=color.range,
        )
        picture.pts, picture.duration = frame.pts, frame.duration
        picture.time_base = self.source.time_base
        self.container.mux(self.stream.encode(picture))

    def packet(self, packet: av.Packet) -> None:
        """Pass on a packet of another stream."""
        route = self.routes.get(packet.stream.index)
        if route:
            shift = round(self.source.shift / packet.time_base)
            try:
                route.take(packet, shift)
            except TRACK_ERRORS as error:
                self._give_up(packet.stream, error)

    def close(self) -> None:
        """Finish the file."""
        self.container.mux(self.stream.encode(None))
        for stream in self.source.others:
            try:
                if stream.index in self.routes:
                    self.routes[stream.index].finish()
            except TRACK_ERRORS as error:
                self._give_up(stream, error)
        self.container.close()

    def _give_up(self, stream: av.stream.Stream, error: Exception) -> None:
        """Go on without a stream that cannot be written any further.

        Raises the error where no more of the picture can be written either.
        """
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise error
        del self.routes[stream.index]
        self.notes.append(_left_out(stream, error))


def _left_out(stream: av.stream.Stream, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"{stream.type} stream {stream.index} cannot be kept: left out ({reason})"


def _keeps_alpha(pixel_format: str) -> bool:
    kind = av.VideoFormat(pixel_format)
    return not kind.has_palette and any(part.is_alpha for part in kind.components)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Frames `(H, W, 3)` uint8 over white, by `alpha` `(H, W)` uint8."""
    share = alpha[..., None].astype(np.float32) / 255
    return (255 + share * (pixels.astype(np.float32) - 255)).round().astype(np.uint8)
