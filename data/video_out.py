"""Painted frames out: a video with the source's sound, subtitles, chapters and metadata."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.video.reformatter import ColorRange

from .images import PictureError
from .tracks import Track, open_track
from .video import Frame, VideoReader

CONTAINERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm",
}  # fmt: skip
CODECS = {"webm": "libvpx-vp9"}  # where H.264 is not allowed
EVEN_ONLY = ("libx264", "libx265")  # in 4:2:0


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
    ) -> None:
        """`kind`: container, as FFmpeg names it; H.264 where it allows that and no other is named.

        Raises PictureError where the encoder is unknown or cannot go into the container.
        """
        self.source, self.notes = source, []
        codec = encoding.codec or CODECS.get(kind, "libx264")
        fast = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
        self.container = av.open(str(path), "w", format=kind, options=fast)
        try:
            self._add_video(codec, encoding.options())
        except (av.FFmpegError, ValueError, TypeError, AttributeError) as error:
            given = " ".join(f"--{name} {value}" for name, value in encoding.options().items())
            raise PictureError(
                f"--codec {codec} {given}".rstrip()
                + f": not possible in a .{kind} here ({error}); "
                "try other ones"
            ) from error
        self.routes: dict[int, Track] = {}
        for stream in source.others:
            route, note = open_track(self.container, stream)
            if route:
                self.routes[stream.index] = route
            if note:
                self.notes.append(note)
        if source.container:
            self.container.metadata.update(source.container.metadata)
            self.container.set_chapters(list(source.chapters()))

    def _add_video(self, codec: str, options: dict[str, str]) -> None:
        source = self.source
        odd = source.width % 2 or source.height % 2
        formats = [f.name for f in av.Codec(codec, "w").video_formats or ()]
        self.pixel_format = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
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
            stream.metadata.update(source.stream.metadata)
        context.open()
        self.stream = stream

    def frame(self, frame: Frame) -> None:
        """Encode one picture."""
        picture = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
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
            route.take(packet, shift)

    def close(self) -> None:
        """Finish the file."""
        self.container.mux(self.stream.encode(None))
        for route in self.routes.values():
            route.finish()
        self.container.close()
