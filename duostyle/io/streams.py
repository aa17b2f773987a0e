"""What accompanies a video: sound and subtitles, copied where the new file allows."""

import io
from collections.abc import Iterable
from fractions import Fraction
from typing import Protocol

import av

# What every browser plays; the rest is re-encoded where the file is meant for all of them.
EVERYWHERE = {"mp4": ("aac", "mp3", "opus", "flac")}
SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
# By number of channels: FFmpeg's default, where the file does not say, and others to choose from.
LAYOUTS = {
    1: ("mono",), 2: ("stereo",), 3: ("2.1", "3.0"), 4: ("4.0", "quad"), 5: ("5.0", "5.0(side)"),
    6: ("5.1", "5.1(side)"), 7: ("6.1",), 8: ("7.1",),
}  # fmt: skip
# What encoders and players have a number for, instead of the same channels under other names.
USUAL = {"quad(side)": "quad", "5.0(side)": "5.0", "5.1(side)": "5.1"}
# What FFmpeg's encoders of subtitles derive a stream's own header from.
ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, Underline, Alignment
Style: Default,Arial,16,&Hffffff,0,0,0,2

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


class Track(Protocol):
    """Takes a stream's packets, an empty one after the last."""

    def take(self, packet: av.Packet, shift: int) -> None:
        """`shift`: how much earlier than in the source, in the packet's time base."""

    def finish(self) -> None:
        """No more."""


def open_track(
    container: av.container.OutputContainer, stream: av.stream.Stream
) -> tuple[Track | None, str]:
    """Where a stream's packets go in a new file, and what has to be said of it.

    None where it cannot be in that file.
    """
    kind, codec = container.format.name, stream.codec_context and stream.codec_context.codec
    name = codec.canonical_name if codec else "unknown"
    left_out = f"{stream.type} stream {stream.index} ({name}) cannot be in {kind}: left out"
    sound = stream.type == "audio"
    if sound and codec and not stream.codec_context.layout.nb_channels:
        return None, f"audio stream {stream.index} ({name}) has no sound in it: left out"
    if (not sound or name in EVERYWHERE.get(kind, (name,))) and _may_copy(container, stream):
        copy = container.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        return Copy(container, copy), ""
    if codec and sound:
        encoder = container.default_audio_codec
        layout = _encodable_layout(encoder, stream)
        if not layout:
            return None, left_out
        known = name in EVERYWHERE.get(kind, (name,))
        why = f"{name} cannot be in {kind}" if known else f"not every browser plays {name}"
        said = f"{why}: its sound is encoded as {encoder}"
        if channels_of(layout) < stream.codec_context.layout.nb_channels:
            said += f" in {layout}"
        return Sound(container, stream, encoder, layout), said
    if name in TEXTS and kind in SUBTITLES:
        said = f"{name} cannot be in {kind}: subtitles are written as {SUBTITLES[kind]}"
        return Text(container, stream, name, SUBTITLES[kind]), said
    return None, left_out


def channels_of(layout: str) -> int:
    """Number of channels of a layout that FFmpeg knows by name."""
    return av.AudioLayout(layout).nb_channels


def _may_copy(container: av.container.OutputContainer, stream: av.stream.Stream) -> bool:
    """Whether a file of that kind begins with such a stream; tried, for lists promise more."""
    if not stream.codec_context:
        return False
    if stream.codec_context.codec.canonical_name not in container.supported_codecs:
        return False
    trial = av.open(io.BytesIO(), "w", format=container.format.name)
    try:
        trial.add_stream_from_template(stream)
        trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def known_layout(layout: av.AudioLayout) -> str:
    """A layout's name; where it only counts its channels, FFmpeg's default for so many."""
    count = layout.nb_channels
    if layout.name == f"{count} channels":
        return LAYOUTS.get(count, (layout.name,))[0]
    return layout.name


def _encoding_rate(encoder: str, source: av.AudioStream) -> int:
    allowed = av.Codec(encoder, "w").audio_rates or [source.rate]
    return source.rate if source.rate in allowed else max(allowed)


def _encodable_layout(encoder: str, source: av.AudioStream) -> str:
    """The first layout that an encoder takes: the source's, others of as many channels, stereo."""
    count = source.codec_context.layout.nb_channels
    own = known_layout(source.codec_context.layout)
    for layout in (USUAL.get(own, own), own, *LAYOUTS.get(count, ()), "stereo"):
        trial = av.CodecContext.create(encoder, "w")
        try:
            trial.rate, trial.layout = _encoding_rate(encoder, source), layout
            trial.format = (av.Codec(encoder, "w").audio_formats or [source.format])[0]
            trial.open()
        except (av.FFmpegError, ValueError):
            continue
        return layout
    return ""


class Copy:
    """A stream's packets as they are."""

    def __init__(self, container: av.container.OutputContainer, stream: av.stream.Stream) -> None:
        self.container, self.stream = container, stream
        self.last: int | None = None  # decoding time, in the packets' time base

    def take(self, packet: av.Packet, shift: int) -> None:
        if not packet.size:
            return
        copy = av.Packet(bytes(packet))  # others may write the packet into files of their own
        copy.time_base, copy.duration = packet.time_base, packet.duration
        copy.is_keyframe = packet.is_keyframe
        copy.pts = packet.pts - shift
        copy.dts = copy.pts if packet.dts is None else packet.dts - shift
        if self.last is not None and copy.dts <= self.last:  # joined files overlap by a packet
            copy.dts = self.last + max((packet.duration or 0) // 2, 1)
            copy.pts = max(copy.pts, copy.dts)
        self.last = copy.dts
        for data in packet.iter_sidedata():
            copy.set_sidedata(data)
        copy.stream = self.stream
        self.container.mux(copy)

    def finish(self) -> None:
        """Nothing is held back."""


class Sound:
    """A sound stream decoded and re-encoded, gaps filled with silence."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        source: av.AudioStream,
        encoder: str,
        layout: str,
    ) -> None:
        self.container = container
        rate = _encoding_rate(encoder, source)
        self.stream = container.add_stream(encoder, rate=rate, layout=layout)
        self.stream.metadata.update(source.metadata)
        self.stream.disposition = source.disposition
        self.graph: av.filter.Graph | None = None
        self.kind: tuple[str, str, int, Fraction] | None = None  # of what the graph takes

    def take(self, packet: av.Packet, shift: int) -> None:
        for frame in _decoded(packet, shift):
            kind = (frame.format.name, known_layout(frame.layout), frame.rate, frame.time_base)
            if kind != self.kind:
                self._drain(last=True)
                self.graph, self.kind = self._resampler(*kind), kind
            self.graph.push(frame)
            self._drain()

    def finish(self) -> None:
        self._drain(last=True)
        self.container.mux(self.stream.encode(None))

    def _resampler(
        self, sample_format: str, layout: str, rate: int, time_base: Fraction
    ) -> av.filter.Graph:
        """FFmpeg's `aresample`: from what is decoded to what is encoded, without gaps."""
        context = self.stream.codec_context
        if not context.is_open:
            context.open()
        graph = av.filter.Graph()
        begin = graph.add(
            "abuffer", sample_fmt=sample_format, channel_layout=layout, sample_rate=str(rate),
            time_base=str(time_base),
        )  # fmt: skip
        end = graph.add(
            "aformat", sample_fmts=context.format.name, channel_layouts=context.layout.name,
            sample_rates=str(context.rate),
        )  # fmt: skip
        graph.link_nodes(
            begin, graph.add("aresample", "async=1"), end, graph.add("abuffersink")
        ).configure()
        if context.frame_size:
            graph.set_audio_frame_size(context.frame_size)
        return graph

    def _drain(self, last: bool = False) -> None:
        if not self.graph:
            return
        if last:
            self.graph.push(None)
        while True:
            try:
                frame = self.graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            self.container.mux(self.stream.encode(frame))


def _decoded(packet: av.Packet, shift: int) -> Iterable[av.AudioFrame]:
    """A packet's frames, `shift` earlier; decoded once, however many files take them."""
    if packet.opaque is None:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            frames = []  # a damaged packet is a moment of silence
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts - shift
        packet.opaque = frames
    return packet.opaque


def _plain(data: bytes) -> bytes:
    return data


def _timed_text(data: bytes) -> bytes:
    return data[2 : 2 + int.from_bytes(data[:2], "big")]


def _ass_text(data: bytes) -> bytes:
    return data.split(b",", 8)[-1].replace(b"\\N", b"\n")


TEXTS = {
    "subrip": _plain, "webvtt": _plain, "text": _plain, "mov_text": _timed_text, "ass": _ass_text,
}  # fmt: skip


class Text:
    """Subtitles in another file's form; their words and starts stay.

    Timed text shows one line at a time: there a line ends where the next one starts.
    """

    def __init__(
        self,
        container: av.container.OutputContainer,
        source: av.stream.Stream,
        name: str,
        wanted: str,
    ) -> None:
        self.container, self.words, self.wanted = container, TEXTS[name], wanted
        self.stream = container.add_stream(wanted)
        self.stream.metadata.update(source.metadata)
        self.stream.disposition = source.disposition
        self.stream.codec_context.subtitle_header = ASS_HEADER
        self.stream.codec_context.time_base = source.time_base
        self.waiting: av.Packet | None = None  # until it is known when the next one starts

    def take(self, packet: av.Packet, shift: int) -> None:
        words = self.words(bytes(packet)) if packet.size else b""
        if not words:
            return  # timed text says silence too
        data = len(words).to_bytes(2, "big") + words if self.wanted == "mov_text" else words
        again = av.Packet(data)
        again.time_base, again.duration = packet.time_base, packet.duration
        again.pts = again.dts = packet.pts - shift
        again.stream = self.stream
        if self.wanted == "mov_text":
            again, self.waiting = self.waiting, again
            if again and self.waiting.pts < again.pts + again.duration:
                again.duration = max(self.waiting.pts - again.pts, 0)
        if again:
            self.container.mux(again)

    def finish(self) -> None:
        if self.waiting:
            self.container.mux(self.waiting)
