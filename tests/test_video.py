"""Videos from file to file: everything but the stylized pixels is kept."""

import os
import signal
import struct
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from duostyle.cli import paint as paint_command
from duostyle.inference import (
    AlphaCurve,
    Encoding,
    MaskSource,
    Output,
    Result,
    StylizeOptions,
    parse_alphas,
    parse_keys,
    stylize_image,
    stylize_video,
    stylize_video_to_files,
)
from duostyle.inference.video import painted_frame
from duostyle.io import video as video_files
from duostyle.io.images import PictureError
from duostyle.io.video import Frame, VideoReader
from duostyle.io.video_writer import is_numbered
from duostyle.models import StyleNetwork
from duostyle.progress import progress
from tests.conftest import ROOT

PAINT = [sys.executable, "-m", "duostyle", "paint"]
NTSC = Fraction(30000, 1001)


def shown(number: int, width: int, height: int) -> np.ndarray:
    """A frame with a red part on the left that grows with the number."""
    pixels = np.full((height, width, 3), 60, np.uint8)
    pixels[:, : 4 + (3 * number) % (width - 8)] = (200, 40, 40)
    return pixels


def make(
    path: Path,
    size: tuple[int, int] = (64, 48),
    frames: int = 12,
    rate: Fraction = NTSC,
    times: list[int] | None = None,  # milliseconds
    sound: str = "",
    color: tuple[int, int] = (1, 1),
    transfer: int = 1,
    gop: int = 12,
) -> Path:
    """An H.264 clip; `color`: matrix and range as H.273 counts them."""
    width, height = size
    options = {"movflags": "+faststart"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=options) as file:
        video = file.add_stream("libx264", rate=rate, options={"crf": "12", "g": str(gop)})
        video.width, video.height = size
        video.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        video.metadata["handler_name"] = "made here"
        file.metadata["title"] = "a clip"
        context = video.codec_context
        context.colorspace, context.color_range = color
        context.color_primaries, context.color_trc = 1, transfer
        context.sample_aspect_ratio = Fraction(4, 3)
        if times:
            context.time_base = Fraction(1, 1000)
        audio = file.add_stream(sound, rate=48000, layout="mono") if sound else None
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(shown(number, width, height), format="rgb24")
            picture = picture.reformat(
                format=video.pix_fmt,
                src_color_range=2,
                dst_colorspace=color[0],
                dst_color_range=color[1],
            )
            picture.pts = times[number] if times else number
            file.mux(video.encode(picture))
        if audio:
            count = int(48000 * frames / rate)
            wave = 0.3 * np.sin(np.arange(count) * 2 * np.pi * 440 / 48000)
            if audio.format.name == "s16":
                wave = (wave * 32767).astype(np.int16)
            wave = wave.astype(np.int16 if audio.format.name == "s16" else np.float32)
            tone = av.AudioFrame.from_ndarray(wave[None], format=audio.format.name, layout="mono")
            tone.rate, tone.pts = 48000, 0
            file.mux(audio.encode(tone))
            file.mux(audio.encode(None))
        file.mux(video.encode(None))
    return path


def read(path: Path) -> list[Frame]:
    with VideoReader(path) as reader:
        return [item for item in reader if isinstance(item, Frame)]


def stamps(path: Path) -> list[float]:
    """Times of all frames in seconds, read by PyAV alone."""
    with av.open(str(path)) as file:
        return [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


@pytest.fixture
def paint(network: StyleNetwork, tmp_path: Path):
    """Paint a clip into out.mp4, or another name; returns the file and the report."""

    def run(source: Path, name: str = "out.mp4", **options):
        return tmp_path / name, stylize_video(network, source, tmp_path / name, **options)

    return run


def test_sound_rate_time_stamps_and_metadata_are_kept(paint, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", sound="aac")
    out, report = paint(source)
    assert report.frames == 12 and not report.damaged and not report.notes
    with av.open(str(out)) as file, av.open(str(source)) as before:
        video = file.streams.video[0]
        assert video.average_rate == NTSC and video.frames == 12
        assert (video.width, video.height, video.pix_fmt) == (64, 48, "yuv420p")
        assert video.codec_context.name == "h264"
        assert video.sample_aspect_ratio == Fraction(4, 3)
        assert file.metadata["title"] == "a clip"
        assert file.duration == pytest.approx(before.duration, abs=2000)
    assert stamps(out) == pytest.approx(stamps(source), abs=1e-6)
    assert sound_packets(out) == sound_packets(source)


def test_the_frames_are_painted_as_pictures_are(paint, network, tmp_path: Path) -> None:
    for branch in (network.branch1, network.branch2):  # saturated noise is lost in 4:2:0
        branch.to_rgb.style.scale.mul_(0.2)
    source = make(tmp_path / "in.mp4", frames=3)
    out, _ = paint(source, alpha=0.5, steady=0.0, encoding=Encoding(crf=1))
    for before, after in zip(read(source), read(out), strict=True):
        painted = stylize_image(network, Image.fromarray(before.pixels), alpha=0.5)
        apart = np.abs(np.asarray(painted).astype(int) - after.pixels)
        assert apart.mean() < 4  # chroma at half the size


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotation_is_applied(paint, tmp_path: Path, angle: int) -> None:
    plain = make(tmp_path / "plain.mp4", size=(64, 32))
    data = bytearray(plain.read_bytes())
    at = data.index(b"tkhd") + 44  # the matrix of the first track
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[angle]
    one = 1 << 16
    matrix = (cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    upright = np.rot90(read(plain)[5].pixels, -angle // 90)  # clockwise, as players do
    assert np.array_equal(read(turned)[5].pixels, upright)
    out, _ = paint(turned)
    with av.open(str(out)) as file:
        frame = next(file.decode(video=0))
        assert (frame.height, frame.width) == upright.shape[:2] and frame.rotation == 0
        aspect = Fraction(3, 4) if angle % 180 else Fraction(4, 3)
        assert file.streams.video[0].sample_aspect_ratio == aspect


def test_variable_rate(paint, tmp_path: Path) -> None:
    times = [0, 40, 55, 160, 400, 433, 466, 900, 905, 950]
    source = make(tmp_path / "in.mkv", frames=10, times=times)
    assert stamps(source) == pytest.approx([t / 1000 for t in times], abs=1e-3)
    out, _ = paint(source)
    assert stamps(out) == pytest.approx([t / 1000 for t in times], abs=1e-3)


def test_a_rate_that_the_container_rounds_is_found_again(paint, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=30)  # Matroska counts milliseconds
    out, _ = paint(source)
    with av.open(str(out)) as file:
        assert file.streams.video[0].average_rate == NTSC
    assert stamps(out) == pytest.approx([float(n / NTSC) for n in range(30)], abs=1e-6)


@pytest.mark.parametrize("size", [(63, 47), (64, 47)])
def test_odd_sizes(paint, tmp_path: Path, size: tuple[int, int]) -> None:
    out, report = paint(make(tmp_path / "in.mp4", size=size))
    assert read(out)[0].pixels.shape == (size[1], size[0], 3)
    assert "odd size" in report.notes[0]


@pytest.mark.parametrize("color", [(1, 1), (1, 2), (6, 1), (6, 2)])
def test_color_matrix_and_range_are_kept(tmp_path: Path, color: tuple[int, int]) -> None:
    """Without a network, the colors that are written are those that were read."""
    source = make(tmp_path / "in.mp4", color=color)
    frame = read(source)[6].pixels
    assert np.abs(frame[8, 8].astype(int) - (200, 40, 40)).max() <= 4
    assert np.abs(frame[8, -4].astype(int) - 60).max() <= 2
    with torch.no_grad():
        out = tmp_path / "out.mp4"
        stylize_video(Unpainted(), source, out)
    after = read(out)[6].pixels
    assert np.abs(after.astype(int) - frame)[8, (8, -4)].max() <= 4
    with av.open(str(out)) as file:
        context = file.streams.video[0].codec_context
        assert (int(context.colorspace), int(context.color_range)) == color


class Unpainted(torch.nn.Module):
    """Stands for a network: returns the content."""

    default_batch_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.device = self.weight.device

    def forward(self, content, alpha, mask=None, swap=False):
        return content * self.weight

    def encode(self, content, mask=None):
        return content, mask

    def change_mask(self, encoded, change):
        return encoded  # without a mask

    def decode(self, encoded, alpha, swap=False):
        content, mask = encoded
        return self(content, alpha, mask, swap)


class AlphaPainter(Unpainted):
    """Stands for a network: paints red by alpha and by the mask in blue; green is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, content, alpha, mask=None, swap=False):
        self.batches.append(len(content))
        height, width = content.shape[-2:]
        red = torch.as_tensor(alpha).expand(len(content)).view(-1, 1, 1, 1)
        blue = content[:, 2:] if mask is None else mask
        return torch.cat([red.expand(-1, 1, height, width), content[:, 1:2], blue], dim=1)


class BlackThenWhite(Unpainted):
    """Stands for a network: paints its first frame black and the others white."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, content, alpha, mask=None, swap=False):
        first, self.count = self.count == 0, self.count + 1
        return torch.full_like(content, 0.0 if first else 1.0)


@pytest.fixture
def command(checkpoint: Path, monkeypatch):
    """Run duostyle paint with a stand-in for the network; returns the exit code."""

    def run(painter: torch.nn.Module, *argv: object) -> int:
        monkeypatch.setattr(paint_command, "open_painter", lambda *_: (painter, "fp32"))
        return paint_command.main([*map(str, argv), "--checkpoint", str(checkpoint)])

    return run


def numbered(folder: Path) -> np.ndarray:
    """Pictures of a folder in order, `(N, H, W, 3)`."""
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())])


@pytest.mark.parametrize("batch", [1, 5])
def test_each_frame_of_a_batch_has_its_place_and_its_alpha(
    command, tmp_path: Path, batch: int
) -> None:
    source, painter = make(tmp_path / "in.mp4", frames=11, rate=Fraction(10)), AlphaPainter()
    argv = ("-o", tmp_path / "out" / "%02d.png", "--alpha", "0:1", "--steady", "0")
    assert command(painter, source, *argv, "--batch", batch) == 0
    assert painter.batches == ([5, 5, 1] if batch == 5 else [1] * 11)
    out = numbered(tmp_path / "out")
    alphas = np.linspace(0, 1, 12)[:11]  # frame n starts at n / 10 of 1.1 seconds
    assert np.array_equal(out[..., 0].max(axis=(1, 2)), np.round(255 * alphas))
    assert np.array_equal(out[..., 0].min(axis=(1, 2)), np.round(255 * alphas))
    assert np.array_equal(out[..., 1:], np.stack([f.pixels for f in read(source)])[..., 1:])


def test_batches_paint_the_same_frames(command, network, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=7)
    for batch in (1, 3):
        argv = ("-o", tmp_path / str(batch) / "%d.png", "--alpha", "0:1", "--batch", batch)
        assert command(network, source, *argv) == 0
    one, three = (numbered(tmp_path / str(batch)).astype(int) for batch in (1, 3))
    assert len(one) == 7 and np.abs(one - three).max() <= 1


def test_steady_averages_still_frames_by_its_strength(command, tmp_path: Path, monkeypatch) -> None:
    still = np.full((48, 64, 3), 100, np.uint8)
    monkeypatch.setitem(globals(), "shown", lambda *_: still)
    source = make(tmp_path / "in.mp4", frames=4)
    for strength, expected in ((0.75, [0, 0.25, 1 - 0.75**2, 1 - 0.75**3]), (0, [0, 1, 1, 1])):
        out = tmp_path / str(strength)
        assert command(BlackThenWhite(), source, "-o", out / "%d.png", "--steady", strength) == 0
        frames = numbered(out).astype(float)
        assert frames.mean(axis=(1, 2, 3)) == pytest.approx(255 * np.array(expected), abs=0.51)
        assert frames.std(axis=(1, 2, 3)).max() < 0.01


def test_crf_and_preset_reach_the_encoder(command, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", size=(160, 120))
    settings = {"fine": ("10", "slow"), "coarse": ("45", "slow"), "fast": ("10", "ultrafast")}
    files = {}
    for name, (crf, preset) in settings.items():
        argv = ("-o", tmp_path / f"{name}.mp4", "--crf", crf, "--preset", preset)
        assert command(Unpainted(), source, *argv) == 0
        files[name] = (tmp_path / f"{name}.mp4").read_bytes()  # x264 writes its settings into it
        assert f"crf={crf}.0".encode() in files[name]
    assert len(files["coarse"]) < len(files["fine"]) < len(files["fast"])
    assert b"cabac=0" in files["fast"] and b"cabac=1" in files["fine"]


def test_one_mask_for_all_frames(command, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=4)
    half = Image.new("L", (64, 48))
    half.paste(255, (0, 0, 32, 48))
    half.save(tmp_path / "mask.png")
    for name, extra, left in (("a", (), 255), ("b", ("--invert-mask",), 0)):
        argv = ("-o", tmp_path / name / "%d.png", "--mask", tmp_path / "mask.png", *extra)
        assert command(AlphaPainter(), source, *argv) == 0
        blue = numbered(tmp_path / name)[..., 2]
        assert len(blue) == 4
        assert (blue[..., :32] == left).all() and (blue[..., 32:] == 255 - left).all()


def test_paths_of_videos_may_be_strings(network: StyleNetwork, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=3)
    Image.new("L", (64, 48), 255).save(tmp_path / "mask.png")
    out, mask = str(tmp_path / "a" / "%d.png"), str(tmp_path / "mask.png")
    assert stylize_video(network, str(source), out, mask=mask).frames == 3
    stylize_video(network, source, tmp_path / "b" / "%d.png", mask=MaskSource(Path(mask)))
    assert np.array_equal(numbered(tmp_path / "a"), numbered(tmp_path / "b"))
    with pytest.raises(PictureError, match=r"x\.avi: unknown suffix; write a video as \.mp4"):
        stylize_video(network, str(source), str(tmp_path / "x.avi"))


def test_hdr_is_refused_in_one_line(paint, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"in\.mp4: HDR \(PQ\) .* convert it"):
        paint(make(tmp_path / "in.mp4", transfer=16))


def test_truncated_in_the_middle(paint, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", frames=48, gop=6)
    source = tmp_path / "in.mp4"
    data = whole.read_bytes()
    source.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2])
    out, report = paint(source)
    assert 10 < report.frames < 48 and "ends in the middle" in report.notes[0]
    assert len(read(out)) == report.frames
    assert stamps(out) == pytest.approx(stamps(whole)[: report.frames], abs=1e-6)


def test_a_damaged_frame_is_replaced_by_the_last_good_one(paint, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", frames=30, gop=1)
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as file:
        packets = [(p.pos, p.size) for p in file.demux(video=0) if p.size]
    at, size = packets[10]
    data[at : at + size] = bytes(size)
    source = tmp_path / "in.mp4"
    source.write_bytes(data)
    frames, good = read(source), read(whole)
    assert len(frames) == 30 and [f.pts for f in frames] == [f.pts for f in good]
    assert np.array_equal(frames[10].pixels, good[9].pixels)
    assert np.array_equal(frames[11].pixels, good[11].pixels)
    out, report = paint(source)
    assert report.damaged == 1 and stamps(out) == pytest.approx(stamps(whole), abs=1e-6)


def test_no_video_stream_and_no_video_at_all(paint, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mp4"), "w") as file:
        audio = file.add_stream("aac", rate=48000, layout="mono")
        tone = av.AudioFrame.from_ndarray(
            np.zeros((1, 4800), np.float32), format="fltp", layout="mono"
        )
        tone.rate = 48000
        file.mux(audio.encode(tone))
        file.mux(audio.encode(None))
    with pytest.raises(PictureError, match=r"in\.mp4: has no video stream"):
        paint(tmp_path / "in.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(PictureError, match=r"text\.mp4: not a readable video"):
        paint(tmp_path / "text.mp4")
    with pytest.raises(PictureError, match=r"gone\.mp4: no such file"):
        paint(tmp_path / "gone.mp4")


def test_sound_that_the_container_does_not_support_is_transcoded(paint, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", sound="aac", frames=24)
    out, report = paint(source, "out.webm")
    assert any("encoded as" in note for note in report.notes)
    with av.open(str(out)) as file:
        assert file.streams.video[0].codec_context.name == "vp9"
        heard = sum(frame.samples / frame.rate for frame in file.decode(audio=0))
    assert heard == pytest.approx(24 / NTSC, abs=0.05)


TWO_LINES = ((100, b"Hyv\xc3\xa4"), (600, b"two\nlines"))


def with_subtitles(
    source: Path, out: Path, codec: str, lines: tuple[tuple[int, bytes], ...] = TWO_LINES
) -> Path:
    """Add subtitles to a clip; `lines`: start in milliseconds and text, each 300 ms long."""
    with av.open(str(source)) as before, av.open(str(out), "w") as file:
        video = file.add_stream_from_template(before.streams.video[0])
        text = file.add_mux_stream(codec)
        text.metadata["language"] = "fin"
        for packet in before.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                file.mux(packet)
        for start, words in lines:
            data = len(words).to_bytes(2, "big") + words if codec == "mov_text" else words
            packet = av.Packet(data)
            packet.time_base, packet.stream = Fraction(1, 1000), text
            packet.pts = packet.dts = start
            packet.duration = 300
            file.mux(packet)
    return out


@pytest.mark.parametrize(
    ("codec", "before", "after", "kept"),
    [
        ("mov_text", "mp4", "mp4", "mov_text"),
        ("subrip", "mkv", "mkv", "subrip"),
        ("subrip", "mkv", "mp4", "mov_text"),
        ("mov_text", "mp4", "mkv", "subrip"),
        ("subrip", "mkv", "webm", "webvtt"),
    ],
)
def test_subtitles(paint, tmp_path: Path, codec: str, before: str, after: str, kept: str) -> None:
    plain = make(tmp_path / "plain.mp4", frames=30)
    source = with_subtitles(plain, tmp_path / f"in.{before}", codec)
    out, report = paint(source, f"out.{after}")
    with av.open(str(out)) as file:
        text = file.streams.subtitles[0]
        assert text.codec_context.codec.canonical_name == kept
        assert text.metadata["language"] == "fin"
        found = [
            (round(float(p.pts * p.time_base), 3), bytes(p)[2 * (kept == "mov_text") :])
            for p in file.demux(text)
            if p.size > 2
        ]
    assert found == [(0.1, b"Hyv\xc3\xa4"), (0.6, b"two\nlines")]
    assert any("subtitles are written as" in n for n in report.notes) == (codec != kept)


def test_sound_that_lasts_longer_than_the_picture_is_kept(paint, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mkv", frames=40, sound="aac")
    with av.open(str(whole)) as before, av.open(str(tmp_path / "in.mkv"), "w") as file:
        copies = {stream: file.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux():
            late = (
                packet.stream.type == "video" and packet.pts and packet.time_base * packet.pts > 0.4
            )
            if packet.dts is not None and not late:
                packet.stream = copies[packet.stream]
                file.mux(packet)
    out, report = paint(tmp_path / "in.mkv", "out.mkv")
    assert report.frames < 20 and sound_packets(out) == sound_packets(whole)


@pytest.mark.parametrize("start", [0.0, 2.0])
def test_sound_that_ends_before_the_part_does(tmp_path: Path, monkeypatch, start: float) -> None:
    whole = make(tmp_path / "whole.mp4", frames=120, rate=Fraction(20), sound="aac", gop=10)
    with av.open(str(whole)) as before, av.open(str(tmp_path / "in.mp4"), "w") as file:
        copies = {stream: file.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux():
            late = packet.stream.type == "audio" and (packet.pts or 0) * packet.time_base >= 1
            if packet.dts is not None and not late:
                packet.stream = copies[packet.stream]
                file.mux(packet)
    demux, seen = video_files._packets, []

    def counted(*streams):
        for packet in demux(*streams):
            seen.append(packet.stream.type)
            yield packet

    monkeypatch.setattr(video_files, "_packets", counted)
    with VideoReader(tmp_path / "in.mp4", start, 2.0) as reader:
        items = list(reader)
    sound = [item for item in items if not isinstance(item, Frame)]
    assert len(items) - len(sound) == 40 and not reader.cut_short and not reader.damaged
    seconds = sum(float(packet.duration * packet.time_base) for packet in sound)
    assert seconds == pytest.approx(1 - min(start, 1), abs=0.06)
    assert seen.count("video") < 70  # of 120: it stops when the part has been read


def test_two_results_each_have_the_sound_of_their_part(network, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=60, rate=Fraction(20), sound="aac", gop=8)
    outputs = {Result(alpha): tmp_path / f"{alpha:g}.mp4" for alpha in (0.0, 1.0)}
    stylize_video_to_files(network, source, outputs, start=1.0, duration=1.0)
    first, second = map(sound_packets, outputs.values())
    assert first == second and len(first) > 40
    for path in outputs.values():
        with av.open(str(path)) as file:
            assert sum(f.samples / f.rate for f in file.decode(audio=0)) == pytest.approx(
                1, abs=0.06
            )


@pytest.mark.parametrize("suffix", [".avi", ".ts", ".mkv", ".mov"])
@pytest.mark.parametrize("start", [0.0, 1.3, 2.5])
def test_any_container_is_read_from_anywhere(tmp_path: Path, suffix: str, start: float) -> None:
    source = make(tmp_path / f"in{suffix}", frames=80, rate=Fraction(20), gop=50)
    with VideoReader(source, start, 0.5) as reader:
        part = [item for item in reader if isinstance(item, Frame)]
    times = [float(frame.pts * reader.time_base) for frame in part]
    assert times == pytest.approx([n / 20 for n in range(10)], abs=2e-3)
    first = round(start * 20)
    for number, frame in enumerate(part, first):
        width = int((frame.pixels[8, :, 0] > 130).sum())
        assert width == pytest.approx(4 + (3 * number) % 56, abs=1)


def test_sound_that_lies_behind_the_pictures_is_found(paint, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", frames=60, rate=Fraction(20), sound="aac")
    with av.open(str(whole)) as before, av.open(str(tmp_path / "in.mkv"), "w") as file:
        copies = {stream: file.add_stream_from_template(stream) for stream in before.streams}
        for kind in ("video", "audio"):
            before.seek(0)
            for packet in before.demux(**{kind: 0}):
                if packet.dts is not None:
                    packet.stream = copies[packet.stream]
                    file.mux_one(packet)
    out, _ = paint(tmp_path / "in.mkv", "out.mp4", duration=1.0)
    with av.open(str(out)) as file:
        assert sum(f.samples / f.rate for f in file.decode(audio=0)) == pytest.approx(1, abs=0.06)


def test_chapters_of_a_part(paint, tmp_path: Path) -> None:
    plain = make(tmp_path / "plain.mp4", frames=60, rate=Fraction(20))
    with av.open(str(plain)) as before, av.open(str(tmp_path / "in.mkv"), "w") as file:
        video = file.add_stream_from_template(before.streams.video[0])
        ms = Fraction(1, 1000)
        chapters = ((0, 1000, "one"), (1000, 2000, "two"), (2000, 3000, "three"))
        file.set_chapters(
            [
                {"id": i, "start": a, "end": b, "time_base": ms, "metadata": {"title": title}}
                for i, (a, b, title) in enumerate(chapters, 1)
            ]
        )
        for packet in before.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                file.mux(packet)
    out, _ = paint(tmp_path / "in.mkv", "out.mkv", start=0.5, duration=1.0)
    with av.open(str(out)) as file:
        found = [
            (
                float(c["start"] * c["time_base"]),
                float(c["end"] * c["time_base"]),
                c["metadata"]["title"],
            )
            for c in file.chapters()
        ]
    assert found == [(0.0, 0.5, "one"), (0.5, 1.0, "two")]


def test_a_damaged_last_frame_and_damaged_sound(paint, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", frames=30, gop=1, sound="aac")
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as file:
        last = [p for p in file.demux(video=0) if p.size][-1]
        data[last.pos : last.pos + last.size] = bytes(last.size)
    with av.open(str(whole)) as file:
        heard = [p for p in file.demux(audio=0) if p.size][10]
        data[heard.pos : heard.pos + heard.size] = b"\xff" * heard.size
    source = tmp_path / "in.mp4"
    source.write_bytes(data)
    out, report = paint(source, "out.webm")  # its sound has to be decoded
    assert report.frames == 30 and report.damaged == 1 and len(read(out)) == 30


def test_a_mask_video_of_another_rate_is_refused(paint, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", rate=Fraction(25))
    same = make(tmp_path / "same.mp4", rate=Fraction(25))
    other = make(tmp_path / "other.mp4", rate=Fraction(30))
    assert paint(source, mask=MaskSource(same))[1].frames == 12
    with pytest.raises(PictureError, match=r"other\.mp4: 30\.00 frames/s, but in\.mp4 has 25\.00"):
        paint(source, mask=MaskSource(other))


def test_a_sweep_over_an_unknown_length_says_so(paint, tmp_path: Path, monkeypatch) -> None:
    source = make(tmp_path / "in.mp4")
    sweep = AlphaCurve((0.0, 1.0), (0.0, 1.0), relative=True)
    assert not paint(source, alpha=sweep)[1].notes
    monkeypatch.setattr(VideoReader, "_length", lambda reader: float("inf"))
    assert "does not state its length" in paint(source, alpha=sweep)[1].notes[0]
    assert not paint(source, alpha=sweep, duration=0.2)[1].notes


def test_options_that_clash_and_files_that_exist(checkpoint: Path, tmp_path: Path, capsys) -> None:
    source = make(tmp_path / "in.mp4", frames=3)
    argv = [str(source), "--checkpoint", str(checkpoint), "-o", str(tmp_path / "f" / "%d.png")]
    assert paint_command.main(argv) == 0 and len(list((tmp_path / "f").iterdir())) == 3
    capsys.readouterr()
    camera = ["--checkpoint", str(checkpoint), "--camera", "0"]
    for clash, says in (
        (argv, "exists; --force overwrites"),
        ([*camera, "--mask", "m.png"], "--camera takes no --mask"),
        ([*camera, "--alpha-keys", "0=1"], "--camera takes one alpha"),
        ([*camera, "--start", "1"], "--camera takes no --start"),
        ([*camera, "--duration", "1"], "--camera takes no --duration"),
        ([*camera, "--batch", "2"], "--camera takes no --batch"),
        ([*camera, "--format", "mp4"], "--camera takes no --format"),
    ):
        assert paint_command.main(clash) == 2
        said = capsys.readouterr().err
        assert says in said and said.count("\n") == 1
    with pytest.raises(SystemExit):
        paint_command.main([*argv, "--duration", "0"])
    assert "a duration of 0 seconds has no frames" in capsys.readouterr().err


def test_ordinary_names_are_not_numbered() -> None:
    assert is_numbered(Path("frames/%05d.png")) and is_numbered(Path("50% done/a%d.jpg"))
    for name in ("my%20dog.mp4", "%d_%d.png", "plain.png"):
        assert not is_numbered(Path(name))


@pytest.mark.parametrize(
    "encoding",
    [{"codec": "aac"}, {"codec": "nothing"}, {"crf": -5}, {"preset": "foo"}, {"codec": "subrip"}],
)
def test_an_encoder_that_cannot_be_is_one_line(paint, tmp_path: Path, encoding: dict) -> None:
    source = make(tmp_path / "in.mp4", frames=3)
    with pytest.raises(PictureError, match=r"--codec .*: not possible in a .mp4 here") as found:
        paint(source, encoding=Encoding(**encoding))
    assert "\n" not in str(found.value) and not list(tmp_path.glob("*out*"))


def test_a_part_beyond_the_end(paint, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"lasts 0\.40 s, --start lies beyond"):
        paint(make(tmp_path / "in.mp4"), start=3.0)


def test_a_part_of_a_clip(paint, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=60, rate=Fraction(20), sound="aac", gop=8)
    out, report = paint(source, start=1.0, duration=0.5)
    assert report.frames == 10
    assert stamps(out) == pytest.approx([n / 20 for n in range(10)], abs=1e-3)
    for after, before in zip(read(out), read(source)[20:30], strict=True):
        assert after.pixels.shape == before.pixels.shape
    with VideoReader(source, 1.0, 0.5) as reader:
        part = [item for item in reader if isinstance(item, Frame)]
    for one, other in zip(part, read(source)[20:30], strict=True):
        assert np.array_equal(one.pixels, other.pixels)
    with av.open(str(out)) as file:
        heard = sum(frame.samples / frame.rate for frame in file.decode(audio=0))
    assert heard == pytest.approx(0.5, abs=0.06)


def test_gif_and_numbered_pictures(paint, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=6, sound="aac")
    gif, report = paint(source, "out.gif")
    assert "a GIF has no sound" in report.notes
    paint(source, "frames/%03d.png")
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == [f"{n:03d}.png" for n in range(6)]
    with Image.open(gif) as image:
        assert image.n_frames == 6 and image.size == (64, 48)
        first = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(first - np.asarray(Image.open(files[0]))).mean() < 4


@pytest.mark.parametrize("pattern", ["f%03d.png", "f%d.png"])
def test_numbered_pictures_of_a_longer_video_are_removed(
    paint, tmp_path: Path, pattern: str
) -> None:
    folder = tmp_path / "frames"
    paint(make(tmp_path / "long.mp4", frames=6), f"frames/{pattern}")
    others = ["f05.png", "f0004.png", "f004.jpg", "g004.png", "f004.png.bak", "f-4.png", "f.png"]
    others += ["f00\u0664.png", "ff004.png"]
    for name in others:
        (folder / name).touch()
    (folder / (pattern % 9)).mkdir()  # no picture
    _, report = paint(make(tmp_path / "short.mp4", frames=4), f"frames/{pattern}")
    left = {path.name for path in folder.iterdir()} - {*others, pattern % 9}
    assert left == {pattern % number for number in range(4)}
    assert set(others) <= {path.name for path in folder.iterdir()}
    assert report.notes == ["2 pictures of an earlier, longer video were removed"]


def test_alpha_over_time(network: StyleNetwork, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=11, rate=Fraction(10))
    names = {"moving": AlphaCurve((0.0, 1.0), (0.0, 1.0), True), "0": 0.0, "1": 1.0}
    outputs = {Result(alpha): tmp_path / name / "%02d.png" for name, alpha in names.items()}
    stylize_video_to_files(network, source, outputs, options=StylizeOptions(steady=0.0))

    def at(name: str, number: int) -> np.ndarray:
        return np.asarray(Image.open(tmp_path / name / f"{number:02d}.png")).astype(int)

    assert np.array_equal(at("moving", 0), at("0", 0))
    near, far = (np.abs(at("moving", 10) - at(name, 10)).mean() for name in ("1", "0"))
    assert near < 0.2 * far


def test_curves_and_keys_by_hand() -> None:
    keys = parse_keys("0s=0, 2s=1, 5s=0.4")
    assert [keys.at(t, 99) for t in (0, 1, 2, 3.5, 5, 60)] == pytest.approx(
        [0, 0.5, 1, 0.7, 0.4, 0.4]
    )
    number, sweep = parse_alphas("0.25,1:0.5")
    assert number == 0.25 and f"{sweep:g}" == "1to0.5"
    assert [sweep.at(t, 8.0) for t in (0, 4, 8)] == pytest.approx([1, 0.75, 0.5])
    assert sweep.at(5.0, float("inf")) == 1  # of unknown length
    for text in ("2", "0:1:0", "a", "0.5:2", ""):
        with pytest.raises(ValueError, match=r"not a number|must lie in \[0, 1\]|A:B"):
            parse_alphas(text)
    for text in ("1s", "2s=0, 1s=1", "0s=2", "x=1"):
        with pytest.raises(ValueError, match=r"SECONDS=ALPHA|increase|must lie in \[0, 1\]"):
            parse_keys(text)


def test_masks_for_a_video(network: StyleNetwork, paint, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=5)
    folder = tmp_path / "masks"
    folder.mkdir()
    for number in range(5):
        Image.new("L", (64, 48), 255 if number < 3 else 0).save(folder / f"{number}.png")
    results = {Result(0.0, output): tmp_path / output / "%d.png" for output in Output}
    stylize_video_to_files(network, source, results, MaskSource(folder))
    found = [np.asarray(Image.open(tmp_path / "mask" / f"{n}.png")).mean() for n in range(5)]
    assert found == pytest.approx([255, 255, 255, 0, 0])
    stylized, first, second, _ = (numbered(tmp_path / output).astype(int) for output in Output)
    assert np.abs(stylized[:3] - first[:3]).max() <= 1
    assert np.abs(stylized[3:] - second[3:]).max() <= 1
    assert np.abs(stylized[3:] - first[3:]).max() > 2
    stylize_video_to_files(network, source, results, MaskSource(folder, invert=True))
    assert np.asarray(Image.open(tmp_path / "mask" / "0.png")).mean() == 0
    for number in range(5, 12):  # 10 comes after 9, and not after 1
        Image.new("L", (64, 48), 255 * (number == 10)).save(folder / f"{number}.png")
    longer = make(tmp_path / "longer.mp4", frames=12, rate=Fraction(20))
    for begin, first in ((0.0, 0), (0.31, 7)):
        results = {Result(0.0, Output.MASK): tmp_path / f"from{first}" / "%d.png"}
        stylize_video_to_files(network, longer, results, MaskSource(folder), start=begin)
        files = [tmp_path / f"from{first}" / f"{n}.png" for n in range(12 - first)]
        found = [np.asarray(Image.open(file)).mean() for file in files]
        assert found == pytest.approx([255 * (n < 3 or n == 10) for n in range(first, 12)])
    for number in range(4, 12):
        (folder / f"{number}.png").unlink()
    _, report = paint(source, mask=MaskSource(folder))
    assert report.frames == 5 and "masks ends before the video does" in report.notes[0]
    with pytest.raises(PictureError, match="masks: has no mask from --start on"):
        paint(longer, mask=MaskSource(folder), start=0.4)


def test_command_line(checkpoint: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "in").mkdir()
    make(tmp_path / "in" / "a.mp4", frames=3)
    make(tmp_path / "in" / "b.mkv", frames=3, sound="aac")
    (tmp_path / "in" / "broken.mp4").write_text("no")
    argv = ["--checkpoint", str(checkpoint), "-o", str(tmp_path / "out")]
    assert paint_command.main([str(tmp_path / "in"), *argv, "--alpha", "0,0:1"]) == 2
    said = capsys.readouterr().err
    assert "broken.mp4: not a readable video" in said and "a.mp4: 3 frames" in said
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{n}-alpha{a}.mp4" for n in "ab" for a in ("0", "0to1")}
    wrote = {line for line in said.splitlines() if line.startswith("wrote ")}
    assert wrote == {f"wrote {tmp_path / 'out' / name}" for name in names}
    one = [str(tmp_path / "in" / "a.mp4"), *argv[:2], "-o", str(tmp_path / "x.mp4")]
    assert paint_command.main([*one, "--codec", "nothing"]) == 2
    assert "--codec nothing: " in capsys.readouterr().err
    assert paint_command.main([*one[:3], "-o", str(tmp_path / "x.jpg")]) == 2
    assert "unknown suffix; write a video as .mp4" in capsys.readouterr().err
    assert (
        paint_command.main([str(ROOT / "assets/photos/astronaut.jpg"), *argv, "--alpha", "0:1"])
        == 2
    )
    assert "over a video only" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_playable_file(checkpoint: Path, tmp_path: Path, number: int) -> None:
    source = make(tmp_path / "in.mp4", size=(320, 240), frames=600, sound="aac")
    out = tmp_path / "out.mp4"
    argv = [*PAINT, str(source), "-o", str(out)]
    argv += ["--checkpoint", str(checkpoint), "--backend", "torch", "--preset", "ultrafast"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    while not any(part.stat().st_size > 20_000 for part in tmp_path.glob(".out.mp4.*.part")):
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number and "stopped; painted so far" in said
    assert 0 < len(read(out)) < 600
    assert not list(tmp_path.glob(".out.mp4.*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_graph_is_made_is_answered_at_once(
    checkpoint: Path, tmp_path: Path, number: int
) -> None:
    source = make(tmp_path / "in.mp4", frames=3)
    argv = [*PAINT, str(source), "-o", str(tmp_path / "o/x.mp4")]
    argv += ["--checkpoint", str(checkpoint), "--backend", "onnx"]
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        argv,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"DUOSTYLE_CACHE": str(cache)},
    )
    for line in process.stderr:
        if "exporting the ONNX graph" in line:
            break
    os.kill(process.pid, number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert said == f"stopped; {source} is not finished\n"
    assert not [path for path in (*(tmp_path / "o").iterdir(), *cache.rglob("*.part"))]


@pytest.mark.parametrize("command", ["paint", "export"])
def test_ctrl_c_during_start_up_is_one_line(tmp_path: Path, command: str) -> None:
    code = (
        "import os, runpy, signal, sys, threading\n"
        f"sys.argv = ['duostyle', '{command}', 'none.jpg']\n"
        "import importlib.abc\n"
        "class Stop(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stop())\n"
        f"runpy.run_module('duostyle', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130 and done.stderr == f"duostyle {command}: stopped\n"


def test_a_folder_that_was_interrupted_goes_on(
    checkpoint: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(paint_command, "open_painter", lambda *_: (Unpainted(), "fp32"))
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        make(folder / name, frames=4)
    Image.new("RGB", (32, 32)).save(folder / "c.png")
    argv = [str(folder), "-o", str(out), "--checkpoint", str(checkpoint), "--alpha", "0,1"]
    whole = paint_command.stylize_video_to_files

    def interrupted(network, source, *rest, **options):
        report = whole(network, source, *rest, **options)
        report.stopped = signal.SIGINT if source.name == "b.mp4" else 0
        return report

    monkeypatch.setattr(paint_command, "stylize_video_to_files", interrupted)
    assert paint_command.main(argv) == 130
    assert "painted so far: " in capsys.readouterr().err
    names = {path.name for path in out.iterdir()}
    first = {f"a-alpha{n}.mp4" for n in (0, 1)}
    assert names == first | {f"b-alpha{n}-unfinished.mp4" for n in (0, 1)}
    before = {name: (out / name).stat().st_mtime_ns for name in first}
    (out / "c-alpha1.png").write_bytes(b"mine")
    monkeypatch.setattr(paint_command, "stylize_video_to_files", whole)
    assert paint_command.main(argv) == 0
    assert "3 of 6 results exist and are skipped; --force repaints" in capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == {
        f"{stem}-alpha{n}.{kind}"
        for stem, kind in (("a", "mp4"), ("b", "mp4"), ("c", "png"))
        for n in (0, 1)
    }
    assert before == {name: (out / name).stat().st_mtime_ns for name in first}
    assert (out / "c-alpha1.png").read_bytes() == b"mine"
    assert paint_command.main(argv) == 0 and "6 of 6 results exist" in capsys.readouterr().err
    assert paint_command.main([*argv, "--force"]) == 0
    assert (out / "c-alpha1.png").read_bytes() != b"mine"


def test_time_left_is_counted_from_the_first_frame(monkeypatch, capsys) -> None:
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    bar = progress(name="in.mp4", unit="frame", total=100, initial=1, announce=False)
    for seconds, frames in ((1005.0, 10), (1011.0, 12)):
        now[0] = seconds
        bar.update(frames)
    assert capsys.readouterr().err == "in.mp4: 23/100 frames,  2.00frame/s, 00:38 left\n"
    bar.close()


def test_the_output_size_is_independent_of_the_painted_size(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=4)
    for long, wanted in ((33, (32, 24)), (101, (100, 76)), (None, (64, 48))):
        painter = AlphaPainter()
        sizes: list[torch.Size] = []
        painter.register_forward_hook(lambda _, args, __, seen=sizes: seen.append(args[0].shape))
        output = tmp_path / f"{long}.mp4"
        stylize_video(painter, source, output, 0.5, output_size=long, size=40, steady=0.0)
        with VideoReader(output) as video:
            frames = [item for item in video if isinstance(item, Frame)]
        assert (video.width, video.height) == wanted and len(frames) == 4
        assert abs(frames[0].pixels[..., 0].mean() - 127) <= 3  # red by alpha
        assert {tuple(size) for size in sizes} == {(1, 3, 30, 40)}
    with pytest.raises(ValueError, match="output_size is 16 pixels or more"):
        stylize_video(AlphaPainter(), source, tmp_path / "o.mp4", output_size=15)


def test_frames_of_strength_0_are_the_photographs(network: StyleNetwork, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=4)
    stylize_video(network, source, tmp_path / "%02d.png", strength=0.0)
    with VideoReader(source) as video:
        frames = [item.pixels for item in video if isinstance(item, Frame)]
    for number, pixels in enumerate(frames):
        with Image.open(tmp_path / f"{number:02d}.png") as image:
            assert np.array_equal(np.array(image), pixels)


def test_the_transparency_has_the_size_of_the_painted_frame() -> None:
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 15:] = 255
    pixels = np.zeros((40, 60, 3), np.uint8)
    frame = painted_frame(Frame(np.zeros((20, 30, 3), np.uint8), 7, 1, alpha), pixels)
    assert frame.pixels is pixels and frame.pts == 7
    assert frame.alpha.shape == (40, 60)
    assert (frame.alpha[:, :26] == 0).all() and (frame.alpha[:, 34:] == 255).all()
