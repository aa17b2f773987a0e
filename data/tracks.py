"""What accompanies a video: sound and subtitles, copied where the new file allows."""

from collections.abc import Iterable
from typing import Protocol

import av

SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
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
    """Takes a stream's packets."""

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
    if name in container.supported_codecs:
        copy = container.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        return Copy(container, copy), ""
    if codec and stream.type == "audio":
        encoder = container.default_audio_codec
        said = f"{name} cannot be in {kind}: its sound is encoded as {encoder}"
        return Sound(container, stream, encoder), said
    if name in TEXTS and kind in SUBTITLES:
        said = f"{name} cannot be in {kind}: subtitles are written as {SUBTITLES[kind]}"
        return Text(container, stream, name, SUBTITLES[kind]), said
    return None, f"{stream.type} stream {stream.index} ({name}) cannot be in {kind}: left out"


class Copy:
    """A stream's packets as they are."""

    def __init__(self, container: av.container.OutputContainer, stream: av.stream.Stream) -> None:
        self.container, self.stream = container, stream

    def take(self, packet: av.Packet, shift: int) -> None:
        copy = av.Packet(bytes(packet))  # others may write the packet into files of their own
        copy.time_base, copy.duration = packet.time_base, packet.duration
        copy.is_keyframe = packet.is_keyframe
        copy.pts = packet.pts - shift
        copy.dts = copy.pts if packet.dts is None else packet.dts - shift
        for data in packet.iter_sidedata():
            copy.set_sidedata(data)
        copy.stream = self.stream
        self.container.mux(copy)

    def finish(self) -> None:
        """Nothing is held back."""


class Sound:
    """A sound stream decoded and encoded anew."""

    def __init__(
        self, container: av.container.OutputContainer, source: av.AudioStream, encoder: str
    ) -> None:
        self.container = container
        allowed = av.Codec(encoder, "w").audio_rates or [source.rate]
        rate = source.rate if source.rate in allowed else max(allowed)
        self.stream = container.add_stream(encoder, rate=rate, layout=source.layout)
        self.stream.metadata.update(source.metadata)
        context = self.stream.codec_context
        self.resampler = av.AudioResampler(context.format, context.layout, context.rate)

    def take(self, packet: av.Packet, shift: int) -> None:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            return  # a damaged packet is a moment of silence
        for frame in frames:
            frame.pts = None if frame.pts is None else frame.pts - shift
            self._encode(self.resampler.resample(frame))

    def finish(self) -> None:
        self._encode([*self.resampler.resample(None), None])

    def _encode(self, frames: Iterable[av.AudioFrame | None]) -> None:
        for frame in frames:
            self.container.mux(self.stream.encode(frame))


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
    """Subtitles in another file's form; their words and times stay."""

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
        self.stream.codec_context.subtitle_header = ASS_HEADER
        self.stream.codec_context.time_base = source.time_base

    def take(self, packet: av.Packet, shift: int) -> None:
        words = self.words(bytes(packet))
        if not words:
            return  # timed text says silence too
        data = len(words).to_bytes(2, "big") + words if self.wanted == "mov_text" else words
        again = av.Packet(data)
        again.time_base, again.duration = packet.time_base, packet.duration
        again.pts = again.dts = packet.pts - shift
        again.stream = self.stream
        self.container.mux(again)

    def finish(self) -> None:
        """Nothing is held back."""
