"""Unusual recordings: all frames are kept, whatever the sound and the timestamps are."""

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from duostyle.cli import paint as paint_command
from duostyle.inference import (
    MaskSource,
    Result,
    StylizeOptions,
    VideoReport,
    stylize_video,
    stylize_video_to_files,
)
from duostyle.inference.paths import is_video
from duostyle.io.decoding import Orientation
from duostyle.io.images import PictureError
from duostyle.io.streams import StreamCopier
from duostyle.io.video import Frame, VideoReader
from tests.conftest import SHARED
from tests.test_video import Unpainted, read, shown, sound_packets, stamps, with_subtitles

RATE = Fraction(25)
SIZE = (48, 32)
CASES = SHARED / "cases"


@pytest.fixture
def copy(tmp_path: Path) -> Callable[..., tuple[Path, VideoReport]]:
    """Run a video through everything but a network; returns the file and the report."""

    def run(source: Path, name: str = "out.mp4", **options: object) -> tuple[Path, VideoReport]:
        out = tmp_path / name
        return out, stylize_video(Unpainted(), source, out, steady=0.0, **options)

    return run


def film(
    path: Path,
    codec: str = "libx264",
    frames: int = 12,
    rate: Fraction = RATE,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    sound: str = "",
    layout: str = "stereo",
    cover: bool = False,
    container: dict[str, str] | None = None,
    alpha: bool = False,
) -> Path:
    """A clip of `shown`; `alpha`: its right half is transparent; `cover`: a picture before it."""
    with av.open(str(path), "w", options=container or {}) as file:
        if cover:
            picture = file.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        video = file.add_stream(codec, rate=rate, options=options or {})
        video.width, video.height, video.pix_fmt = *SIZE, pixel_format
        audio = file.add_stream(sound, rate=48000, layout=layout) if sound else None
        if audio:
            audio.bit_rate = 128_000
        if cover:
            file.mux(picture.encode(av.VideoFrame(64, 64, "yuvj420p")))
            file.mux(picture.encode(None))
        for number in range(frames):
            pixels = shown(number, *SIZE)
            if alpha:
                opacity = np.full(SIZE[::-1], 255, np.uint8)
                opacity[:, SIZE[0] // 2 :] = 0
                pixels = np.dstack([pixels, opacity])
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba" if alpha else "rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = number, 1 / rate
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio:
            file.mux(encoded_tone(audio, frames / rate, layout))
    return path


def encoded_tone(audio: av.AudioStream, seconds: Fraction, layout: str) -> list[av.Packet]:
    channels = av.AudioLayout(layout).nb_channels
    wave = 0.3 * np.sin(np.arange(round(48000 * seconds)) * 2 * np.pi * 440 / 48000)
    planes = np.repeat(wave[None].astype(np.float32), channels, axis=0)
    tone = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
    tone.rate, tone.pts = 48000, 0
    context = audio.codec_context
    if not context.is_open:
        context.open()
    resampler = av.AudioResampler(
        context.format, context.layout, context.rate, context.frame_size or None
    )
    frames = [*resampler.resample(tone), *resampler.resample(None), None]
    return [packet for frame in frames for packet in audio.encode(frame)]


def heard(path: Path) -> float:
    """Seconds of sound."""
    with av.open(str(path)) as file:
        return sum(frame.samples / frame.rate for frame in file.decode(audio=0))


def widths(frames: list[Frame]) -> list[int]:
    return [int((frame.pixels[8, :, 0] > 130).sum()) for frame in frames]


@pytest.mark.parametrize(
    ("codec", "b_frames"),
    [("mpeg4", 2), ("mpeg4", 0), ("libx264", 2), ("libx264", 0), ("mpeg2video", 2)],
)
def test_every_frame_of_an_avi(tmp_path: Path, codec: str, b_frames: int) -> None:
    source = film(tmp_path / "in.avi", codec, 20, options={"bf": str(b_frames), "b": "2M"})
    with VideoReader(source) as reader:
        frames = [item for item in reader if isinstance(item, Frame)]
        assert not reader.damaged and not reader.cut_short
    assert [float(f.pts * reader.time_base) for f in frames] == [n / 25 for n in range(20)]
    for number, width in enumerate(widths(frames)):
        assert width == pytest.approx(4 + (3 * number) % 40, abs=2)


@pytest.mark.parametrize(
    ("codec", "suffix", "after"),
    [
        ("pcm_s16le", "avi", "mp4"),
        ("pcm_s16le", "avi", "mkv"),
        ("pcm_s16le", "avi", "mov"),
        ("pcm_s16le", "avi", "webm"),
        ("pcm_u8", "avi", "mp4"),
        ("pcm_mulaw", "avi", "mp4"),
        ("adpcm_ms", "avi", "mp4"),
        ("wmav2", "wmv", "mp4"),
    ],
)
def test_sound_that_does_not_say_its_layout(
    copy, tmp_path: Path, codec: str, suffix: str, after: str
) -> None:
    video = "mpeg4" if suffix == "wmv" else "libx264"
    source = film(tmp_path / f"in.{suffix}", video, sound=codec)
    out, report = copy(source, f"out.{after}")
    assert report.frames == 12 and len(read(out)) == 12
    assert heard(out) == pytest.approx(12 / 25, abs=0.1)
    with av.open(str(out)) as file:
        assert file.streams.audio[0].codec_context.layout.nb_channels == 2


@pytest.mark.parametrize("layout", ["5.1(side)", "4.0", "2.1"])
@pytest.mark.parametrize("after", ["webm", "mp4"])
def test_layouts_that_the_encoder_refuses(copy, tmp_path: Path, layout: str, after: str) -> None:
    source = film(tmp_path / "in.mkv", sound="ac3", layout=layout)
    out, report = copy(source, f"out.{after}")
    assert any("encoded as" in note for note in report.notes)
    assert heard(out) == pytest.approx(12 / 25, abs=0.1)


@pytest.mark.parametrize("codec", ["ac3", "eac3", "alac"])
def test_an_mp4_has_sound_that_browsers_play(copy, tmp_path: Path, codec: str) -> None:
    source = film(tmp_path / "in.mkv", sound=codec)
    for name, kept in (("out.mp4", "aac"), ("out.mkv", codec)):
        out, report = copy(source, name)
        with av.open(str(out)) as file:
            assert file.streams.audio[0].codec_context.name == kept
        assert bool(report.notes) == (kept == "aac")


def test_an_audio_stream_without_packets_is_left_out(copy, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.ts"), "w") as file:
        video = file.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        file.add_stream("aac", rate=48000, layout="stereo")
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(shown(number, *SIZE)).reformat(format="yuv420p")
            frame.pts = number
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    out, report = copy(tmp_path / "in.ts")
    assert report.frames == 12 and len(read(out)) == 12
    assert report.notes == ["audio stream 1 (aac) has no sound in it: left out"]


def test_a_stream_that_fails_is_left_out(copy, tmp_path: Path, monkeypatch) -> None:
    source = film(tmp_path / "in.mp4", sound="aac")

    def fail(*_: object) -> None:
        raise av.error.InvalidDataError(1094995529, "Invalid data")

    monkeypatch.setattr(StreamCopier, "write", fail)
    out, report = copy(source)
    assert report.frames == 12 and len(read(out)) == 12
    assert report.notes == ["audio stream 1 cannot be kept: left out (Invalid data)"]


def test_sound_of_two_results_is_decoded_once(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mkv", sound="ac3")
    outputs = {Result(alpha): tmp_path / f"{alpha:g}.mp4" for alpha in (0.0, 1.0)}
    stylize_video_to_files(Unpainted(), source, outputs, options=StylizeOptions(steady=0.0))
    first, second = map(sound_packets, outputs.values())
    assert first == second and len(first) > 20


@pytest.mark.parametrize("sound", ["", "aac"])
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0.0, 0.8), (3600.0, 0.8), (0.44, 0.76)],  # again; a jump; an overlap of a frame
)
def test_joined_recordings(copy, tmp_path: Path, sound: str, offset: float, length: float) -> None:
    parts = [
        film(tmp_path / f"{n}.ts", frames=10, sound=sound, container={"output_ts_offset": str(at)})
        for n, at in enumerate((0.0, offset))
    ]
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    out, report = copy(source)
    assert report.frames == 20 and not report.damaged and not report.notes
    times = stamps(out)
    assert len(times) == 20 and max(np.diff(times)) <= 0.09 and min(np.diff(times)) > 0
    assert times[-1] - times[0] == pytest.approx(length - 0.04, abs=0.05)
    if sound:
        assert heard(out) == pytest.approx(0.8, abs=0.1)
    with VideoReader(source, 0.6) as reader:  # beyond what the time stamps say
        late = [item for item in reader if isinstance(item, Frame)]
    assert 3 <= len(late) <= 6


def test_a_stream_that_begins_in_the_middle_is_no_end(copy, tmp_path: Path) -> None:
    parts = [film(tmp_path / f"{n}.ts", frames=10, sound=s) for n, s in enumerate(("", "aac"))]
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    out, report = copy(source)
    assert report.frames == 20 and len(read(out)) == 20


MATRICES = {  # a, b, c, d of the display matrix
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (0, -1, 1, 0): lambda p: np.rot90(p),
    (0, -1, -1, 0): lambda p: np.rot90(p.swapaxes(0, 1), 2),
}


@pytest.mark.parametrize("matrix", MATRICES)
def test_all_eight_orientations(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    plain = film(tmp_path / "plain.mp4", frames=3)
    data = bytearray(plain.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "in.mp4").write_bytes(data)
    before, after = read(plain)[2].pixels, read(tmp_path / "in.mp4")[2].pixels
    assert np.array_equal(after, MATRICES[matrix](before))


def test_an_orientation_is_laid_out_in_memory() -> None:
    turned = Orientation(True, True, False).apply(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    assert turned.shape == (4, 2, 3) and turned.flags.c_contiguous


def test_the_video_is_selected_and_not_its_cover(copy, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", cover=True)
    out, report = copy(source)
    assert report.frames == 12 and read(out)[0].pixels.shape == (32, 48, 3)
    with av.open(str(tmp_path / "song.mp4"), "w") as file:
        picture = file.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
        picture.disposition = Disposition.attached_pic
        audio = file.add_stream("aac", rate=48000, layout="mono")
        file.mux(picture.encode(av.VideoFrame(64, 64, "yuvj420p")))
        file.mux(picture.encode(None))
        file.mux(encoded_tone(audio, Fraction(1, 2), "mono"))
    with pytest.raises(PictureError, match=r"song\.mp4: is audio with a cover picture"):
        copy(tmp_path / "song.mp4")


def test_a_gif_is_not_faster_than_browsers_show_it(copy, tmp_path: Path) -> None:
    out, report = copy(film(tmp_path / "in.mp4", frames=30, rate=Fraction(60)), "out.gif")
    assert report.frames == 30
    with Image.open(out) as image:
        delays = []
        for number in range(image.n_frames):
            image.seek(number)
            delays.append(image.info["duration"])
    assert min(delays) >= 20 and sum(delays) == pytest.approx(500, abs=20)


def test_a_mask_video_that_ends_early(copy, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", frames=12)
    mask = film(tmp_path / "mask.mp4", frames=11)
    _, report = copy(source, mask=MaskSource(mask))
    assert report.frames == 12 and len(report.notes) == 1
    assert "mask.mp4 ends before the video does: its last mask is repeated" in report.notes[0]


class MaskRecorder(Unpainted):
    """Keeps the masks that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[np.ndarray] = []

    def forward(self, content, alpha, mask=None, swap=False):
        self.masks.append(mask[0, 0].numpy())
        return super().forward(content, alpha)


def test_a_mask_in_the_alpha_channel(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", frames=3)
    mask = film(tmp_path / "mask.mov", "qtrle", 3, pixel_format="argb", alpha=True)
    network = MaskRecorder()
    stylize_video(network, source, tmp_path / "out.mp4", mask=MaskSource(mask), steady=0.0)
    masks = np.stack(network.masks)
    assert len(masks) == 3 and masks[:, :, :24].min() == 1 and masks[:, :, 24:].max() == 0


@pytest.mark.parametrize("name", ["out.webm", "out.mov", "out.mkv", "out/%d.png", "out.gif"])
def test_alpha_is_kept_where_the_format_has_one(copy, tmp_path: Path, name: str) -> None:
    source = film(tmp_path / "in.mov", "qtrle", 3, pixel_format="argb", alpha=True)
    out, report = copy(source, name)
    assert not report.notes
    if out.suffix in (".gif", ".png"):
        with Image.open(out if out.suffix == ".gif" else out.with_name("1.png")) as image:
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
    else:
        alpha = read(out)[1].alpha
    assert alpha[:, :20].min() > 250 and alpha[:, 28:].max() < 5


def test_formats_without_alpha_are_noted(copy, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mov", "qtrle", 3, pixel_format="argb", alpha=True)
    for name in ("out.mp4", "out/%d.jpg"):
        out, report = copy(source, name)
        assert len(report.notes) == 1 and "transparent places are white" in report.notes[0]
    with Image.open(out.with_name("1.jpg")) as image:
        assert np.asarray(image)[:, 32:].min() > 245
    assert read(tmp_path / "out.mp4")[1].pixels[:, 32:].min() > 245


def test_interlaced_video_is_deinterlaced(copy, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mpg"), "w") as file:
        video = file.add_stream("mpeg2video", rate=RATE, options={"flags": "+ildct+ilme"})
        video.width, video.height, video.pix_fmt, video.bit_rate = *SIZE, "yuv420p", 4_000_000
        for number in range(8):  # the fields are two moments
            pixels = shown(2 * number, *SIZE)
            pixels[1::2] = shown(2 * number + 1, *SIZE)[1::2]
            frame = av.VideoFrame.from_ndarray(pixels).reformat(format="yuv420p")
            frame.pts = number
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    with av.open(str(tmp_path / "in.mpg")) as file:
        raw = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with VideoReader(tmp_path / "in.mpg") as reader:
        whole = [item for item in reader if isinstance(item, Frame)]
    assert len(whole) == len(raw) == 8 and not reader.damaged

    def comb(pixels: np.ndarray) -> float:
        return float(np.abs(np.diff(pixels.astype(int), axis=0)).mean())

    assert comb(whole[4].pixels) < 0.7 * comb(raw[4])


def test_an_unsupported_matrix_is_named(copy, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mp4"), "w") as file:
        video = file.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        video.codec_context.colorspace = 8
        file.mux(video.encode(av.VideoFrame(*SIZE, "yuv420p")))
        file.mux(video.encode(None))
    with pytest.raises(PictureError, match=r"in\.mp4: its color matrix, YCgCo \(8\), is not"):
        copy(tmp_path / "in.mp4")


def test_subtitles_that_overlap_keep_their_starts(copy, tmp_path: Path) -> None:
    plain = film(tmp_path / "plain.mp4", frames=25)
    source = with_subtitles(
        plain, tmp_path / "in.mkv", "subrip", ((200, b"one"), (300, b"two"), (450, b"three"))
    )
    for name, header in (("out.mp4", 2), ("out.webm", 0)):
        out, _ = copy(source, name)
        with av.open(str(out)) as file:
            found = [
                (round(float(p.pts * p.time_base), 3), bytes(p)[header:])
                for p in file.demux(subtitles=0)
                if p.size > 2
            ]
        assert found == [(0.2, b"one"), (0.3, b"two"), (0.45, b"three")]


@pytest.mark.parametrize(
    ("suffix", "codec", "kind"),
    [
        ("asf", "mpeg4", "asf"), ("f4v", "libx264", "mp4"), ("3g2", "libx264", "mp4"),
        ("divx", "mpeg4", "avi"), ("qt", "libx264", "mov"), ("m2v", "mpeg2video", "mpeg2video"),
        ("y4m", "wrapped_avframe", "yuv4mpegpipe"), ("ogm", "mpeg4", "ogg"),
    ],
)  # fmt: skip
def test_video_suffixes(tmp_path: Path, suffix: str, codec: str, kind: str) -> None:
    path = tmp_path / f"in.{suffix}"
    assert is_video(path) and is_video(path.with_suffix(".dv"))
    if kind == "ogg":  # FFmpeg writes no MPEG-4 there
        return
    made = io.BytesIO()
    with av.open(made, "w", format=kind) as file:
        video = file.add_stream(codec, rate=RATE)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(shown(number, *SIZE)).reformat(format="yuv420p")
            frame.pts = number
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    path.write_bytes(made.getvalue())
    assert len(read(path)) == 6


REFUSED = {"matrix_ycgco.mp4": "YCgCo"}
FRAMES = {
    "joined.ts": 100, "joined_silent.ts": 100, "jump.ts": 100, "xvid_bf2.avi": 100,
    "h264_bf0.avi": 100, "cover_first.mp4": 10, "sixty.mp4": 60, "clip25.mp4": 25,
    "pcm.avi": 25, "wma_stereo.wmv": 25, "u8_stereo.avi": 25, "empty_aac.ts": 25,
    "interlaced.mpg": 25,
}  # fmt: skip
SOUNDLESS = ("orient_", "xvid", "h264_bf0", "joined_silent", "cover", "sixty", "clip25", "mask_",
             "ass_", "matrix_", "alpha_", "interlaced")  # fmt: skip
FILES = sorted(path for path in CASES.rglob("*") if is_video(path)) if CASES.is_dir() else []


@pytest.mark.skipif(not FILES, reason="needs ../shared/cases (odd recordings), not here")
@pytest.mark.parametrize("suffix", ["mp4", "webm"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_shared_cases(
    path: Path, suffix: str, checkpoint: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(paint_command, "open_painter", lambda *_: (Unpainted(), "fp32"))
    out = tmp_path / "out" / f"out.{suffix}"
    argv = [str(path), "-o", str(out), "--checkpoint", str(checkpoint), "--steady", "0"]
    code = paint_command.main(argv)
    said = capsys.readouterr().err
    if path.name in REFUSED:
        assert code == 2 and said.count("\n") == 1 and REFUSED[path.name] in said
        assert not out.exists() and not list(tmp_path.glob("out/.*"))
        return
    assert code == 0 and "damaged" not in said and "Traceback" not in said
    times = stamps(out)
    assert len(times) == FRAMES.get(path.name, len(times)) and (np.diff(times) > 0).all()
    with av.open(str(out)) as file:
        assert bool(file.streams.audio) == (not path.name.startswith(SOUNDLESS))
        assert file.duration / av.time_base < 4.1
