"""Audio and subtitle streams of a video: copied, or converted if the new container needs it."""

import io
from collections.abc import Iterable
from fractions import Fraction
from typing import Protocol

import av

# Audio codecs that every browser plays in a container; others are re-encoded.
WEB_AUDIO = {"mp4": ("aac", "mp3", "opus", "flac")}
# The codec that subtitles are converted to, by container.
SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
# By number of channels: FFmpeg's default, for files that do not name a layout, then alternatives.
LAYOUTS = {
    1: ("mono",), 2: ("stereo",), 3: ("2.1", "3.0"), 4: ("4.0", "quad"), 5: ("5.0", "5.0(side)"),
    6: ("5.1", "5.1(side)"), 7: ("6.1",), 8: ("7.1",),
}  # fmt: skip
# Layouts that encoders and players support, for the same channels under other names.
EQUIVALENT_LAYOUTS = {"quad(side)": "quad", "5.0(side)": "5.0", "5.1(side)": "5.1"}
# FFmpeg's subtitle encoders derive a stream's header from it.
ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, Underline, Alignment
Style: Default,Arial,16,&Hffffff,0,0,0,2

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


class StreamWriter(Protocol):
    """Writes the packets of one stream into a container."""

    def write(self, packet: av.Packet, shift: int) -> None:
        """Write a packet (an empty one after the last), `shift` ticks of its time base earlier."""

    def finish(self) -> None:
        """Write what is buffered."""


def open_stream(
    container: av.container.OutputContainer, stream: av.stream.Stream
) -> tuple[StreamWriter | None, str]:
    """Add a stream like `stream` to a container; returns its writer and a note for the user.

    The writer is None if the container cannot hold the stream. The note is empty for a plain copy.
    """
    kind, codec = container.format.name, stream.codec_context and stream.codec_context.codec
    name = codec.canonical_name if codec else "unknown"
    left_out = f"{stream.type} stream {stream.index} ({name}) cannot be in {kind}: left out"
    is_audio = stream.type == "audio"
    if is_audio and codec and not stream.codec_context.layout.nb_channels:
        return None, f"audio stream {stream.index} ({name}) has no sound in it: left out"
    if (not is_audio or name in WEB_AUDIO.get(kind, (name,))) and _can_copy(container, stream):
        copy = container.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        return StreamCopier(container, copy), ""
    if codec and is_audio:
        encoder = container.default_audio_codec
        layout = _encodable_layout(encoder, stream)
        if not layout:
            return None, left_out
        playable = name in WEB_AUDIO.get(kind, (name,))
        reason = f"{name} cannot be in {kind}" if playable else f"not every browser plays {name}"
        note = f"{reason}: its sound is encoded as {encoder}"
        if channels_of(layout) < stream.codec_context.layout.nb_channels:
            note += f" in {layout}"
        return AudioTranscoder(container, stream, encoder, layout), note
    if name in TEXT_OF_CODEC and kind in SUBTITLES:
        note = f"{name} cannot be in {kind}: subtitles are written as {SUBTITLES[kind]}"
        return SubtitleConverter(container, stream, name, SUBTITLES[kind]), note
    return None, left_out


def channels_of(layout: str) -> int:
    """Number of channels of a layout that FFmpeg knows by name."""
    return av.AudioLayout(layout).nb_channels


def _can_copy(container: av.container.OutputContainer, stream: av.stream.Stream) -> bool:
    """Whether a container of that kind takes such a stream.

    A trial header is written too: `supported_codecs` lists codecs that the container refuses.
    """
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
    """A layout's name; FFmpeg's default for its number of channels if it has none."""
    count = layout.nb_channels
    if layout.name == f"{count} channels":
        return LAYOUTS.get(count, (layout.name,))[0]
    return layout.name


def _encoding_rate(encoder: str, source: av.AudioStream) -> int:
    allowed = av.Codec(encoder, "w").audio_rates or [source.rate]
    return source.rate if source.rate in allowed else max(allowed)


def _encodable_layout(encoder: str, source: av.AudioStream) -> str:
    """The first layout that an encoder accepts: the source's, a similar one, or stereo."""
    count = source.codec_context.layout.nb_channels
    own = known_layout(source.codec_context.layout)
    for layout in (EQUIVALENT_LAYOUTS.get(own, own), own, *LAYOUTS.get(count, ()), "stereo"):
        trial = av.CodecContext.create(encoder, "w")
        try:
            trial.rate, trial.layout = _encoding_rate(encoder, source), layout
            trial.format = (av.Codec(encoder, "w").audio_formats or [source.format])[0]
            trial.open()
        except (av.FFmpegError, ValueError):
            continue
        return layout
    return ""


class StreamCopier:
    """Copies the packets of a stream."""

    def __init__(self, container: av.container.OutputContainer, stream: av.stream.Stream) -> None:
        self.container, self.stream = container, stream
        self.last: int | None = None  # decoding time, in the packets' time base

    def write(self, packet: av.Packet, shift: int) -> None:
        if not packet.size:
            return
        copy = av.Packet(bytes(packet))  # the packet may be written into several files
        copy.time_base, copy.duration = packet.time_base, packet.duration
        copy.is_keyframe = packet.is_keyframe
        copy.pts = packet.pts - shift
        copy.dts = copy.pts if packet.dts is None else packet.dts - shift
        # Joined recordings may overlap by a packet.
        if self.last is not None and copy.dts <= self.last:
            copy.dts = self.last + max((packet.duration or 0) // 2, 1)
            copy.pts = max(copy.pts, copy.dts)
        self.last = copy.dts
        for data in packet.iter_sidedata():
            copy.set_sidedata(data)
        copy.stream = self.stream
        self.container.mux(copy)

    def finish(self) -> None:
        """Nothing is buffered."""


class AudioTranscoder:
    """Decodes and encodes an audio stream; gaps become silence."""

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
        self.input: tuple[str, str, int, Fraction] | None = None  # what the graph is set up for

    def write(self, packet: av.Packet, shift: int) -> None:
        for frame in _decoded(packet, shift):
            given = (frame.format.name, known_layout(frame.layout), frame.rate, frame.time_base)
            if self.graph is None or given != self.input:
                self._drain(last=True)
                self.graph, self.input = self._resampler(*given), given
            self.graph.push(frame)
            self._drain()

    def finish(self) -> None:
        self._drain(last=True)
        self.container.mux(self.stream.encode(None))

    def _resampler(
        self, sample_format: str, layout: str, rate: int, time_base: Fraction
    ) -> av.filter.Graph:
        """FFmpeg's `aresample` from the decoded to the encoded format, which fills gaps."""
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
    """A packet's frames, `shift` ticks earlier; decoded once even if several files take them."""
    if packet.opaque is None:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            frames = []  # a damaged packet becomes silence
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts - shift
        packet.opaque = frames
    return packet.opaque


def _plain_text(data: bytes) -> bytes:
    return data


def _timed_text(data: bytes) -> bytes:
    return data[2 : 2 + int.from_bytes(data[:2], "big")]


def _ass_text(data: bytes) -> bytes:
    return data.split(b",", 8)[-1].replace(b"\\N", b"\n")


TEXT_OF_CODEC = {
    "subrip": _plain_text, "webvtt": _plain_text, "text": _plain_text, "mov_text": _timed_text,
    "ass": _ass_text,
}  # fmt: skip


class SubtitleConverter:
    """Converts text subtitles to another codec; text and start times are kept.

    Timed text (MP4) shows one line at a time: a line ends where the next one starts.
    """

    def __init__(
        self,
        container: av.container.OutputContainer,
        source: av.stream.Stream,
        source_codec: str,
        codec: str,
    ) -> None:
        self.container, self.text, self.codec = container, TEXT_OF_CODEC[source_codec], codec
        self.stream = container.add_stream(codec)
        self.stream.metadata.update(source.metadata)
        self.stream.disposition = source.disposition
        self.stream.codec_context.subtitle_header = ASS_HEADER
        self.stream.codec_context.time_base = source.time_base
        self.delayed: av.Packet | None = None  # until the start of the next one is known

    def write(self, packet: av.Packet, shift: int) -> None:
        text = self.text(bytes(packet)) if packet.size else b""
        if not text:
            return  # timed text has empty packets for pauses
        data = len(text).to_bytes(2, "big") + text if self.codec == "mov_text" else text
        converted = av.Packet(data)
        converted.time_base, converted.duration = packet.time_base, packet.duration
        converted.pts = converted.dts = packet.pts - shift
        converted.stream = self.stream
        if self.codec != "mov_text":
            self.container.mux(converted)
            return
        if self.delayed:
            end = self.delayed.pts + self.delayed.duration
            if converted.pts < end:
                self.delayed.duration = max(converted.pts - self.delayed.pts, 0)
            self.container.mux(self.delayed)
        self.delayed = converted

    def finish(self) -> None:
        if self.delayed:
            self.container.mux(self.delayed)
