"""Which files are opened as pictures, and which are refused before they are decoded."""

import io
import os
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from duostyle.cli import paint as paint_command
from duostyle.data.masks import read_labels
from duostyle.inference import Result
from duostyle.inference.paths import find_inputs, plan_outputs
from duostyle.io.images import (
    PictureError,
    is_srgb,
    list_pictures,
    open_picture,
    read_mask,
    read_picture,
    read_style,
)
from duostyle.models import StyleNetwork
from tests.test_images import gradient

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n{} loop\n"


def declared(width: int, height: int) -> bytes:
    """A GIF that claims this size for a picture of a pixel."""
    encoded = io.BytesIO()
    Image.new("P", (1, 1)).save(encoded, "GIF")
    raw = encoded.getvalue()
    return raw[:6] + struct.pack("<HH", width, height) + raw[10:]


def float_type() -> bytes:
    """A TIFF whose strip offset is a float: Pillow raises TypeError."""
    encoded = io.BytesIO()
    gradient().save(encoded, "TIFF")
    raw = bytearray(encoded.getvalue())
    (at,) = struct.unpack("<I", raw[4:8])
    for number in range(struct.unpack("<H", raw[at : at + 2])[0]):
        entry = at + 2 + 12 * number
        if struct.unpack("<H", raw[entry : entry + 2])[0] == 273:
            raw[entry + 2 : entry + 12] = struct.pack("<HIf", 11, 1, 8.0)
    return bytes(raw)


MALFORMED = {
    "postscript": POSTSCRIPT,
    "metafile": b"\x01\x00\x00\x00" + bytes(36) + b" EMF" + bytes(80),
    "directdraw": b"DDS " + struct.pack("<I", 124) + bytes(64) + struct.pack("<I", 32) * 12,
    "sparse": declared(9000, 9000),
    "narrow": declared(16, 60000),
    "float type": float_type(),
    "tiff noise": b"II*\0\x08\0\0\0\x01\0\0\0",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize(
    "read",
    [read_picture, read_labels, lambda p: read_mask(p, (8, 8)), lambda p: read_style(p, 32)],
    ids=["picture", "label", "mask", "style"],
)
def test_malformed_files_are_one_line(kind: str, read, tmp_path: Path, capfd) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(MALFORMED[kind])
    began = time.monotonic()
    with pytest.raises(PictureError) as error:
        read(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    assert time.monotonic() - began < 5
    assert capfd.readouterr() == ("", "")  # neither Pillow's nor libtiff's words


def test_pictures_of_large_cameras_are_below_the_limits(tmp_path: Path) -> None:
    # 108 megapixels, as phones make them; too large a picture for a test to paint.
    image = Image.new("1", (12000, 9000))
    image.save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes() + bytes(1_000_000))
    with open_picture(tmp_path / "a.png") as opened:
        assert opened.size == (12000, 9000)
    (tmp_path / "b.gif").write_bytes(declared(65535, 65535))
    with pytest.raises(PictureError, match="too many pixels"):
        read_picture(tmp_path / "b.gif")


def test_pipes_folders_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(PictureError, match="is a pipe or a device"):
            read_picture(path)
        with pytest.raises(PictureError, match="is a pipe or a device"):
            find_inputs([str(path)])
    with pytest.raises(PictureError, match="is a folder"):
        read_picture(tmp_path)


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    gradient().save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "in")
    assert list_pictures(tmp_path / "in") == [tmp_path / "in" / "link" / "a.png"]


def profile_of_primaries(red: tuple[float, float]) -> bytes:
    """An sRGB profile whose red primary is elsewhere: as wide as Display P3, say."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(struct.unpack(">I", raw[128:132])[0]):
        entry = 132 + 12 * number
        name, at, _ = struct.unpack(">4sII", raw[entry : entry + 12])
        if name == b"rXYZ":
            raw[at + 8 : at + 20] = struct.pack(">iii", *(int(v * 65536) for v in (*red, 0.0)))
    return bytes(raw)


def test_wide_gamuts_are_read_as_srgb(tmp_path: Path) -> None:
    wide = profile_of_primaries((0.52, 0.24))
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert is_srgb(plain) and not is_srgb(wide)
    gradient().save(tmp_path / "wide.png", icc_profile=wide)
    source = ImageCms.ImageCmsProfile(io.BytesIO(wide))
    shown = ImageCms.profileToProfile(gradient(), source, ImageCms.createProfile("sRGB"))
    picture = read_picture(tmp_path / "wide.png")
    assert picture.icc_profile is None
    expected = np.asarray(shown, dtype=np.float32) / 255
    assert np.abs(picture.pixels.permute(1, 2, 0).numpy() - expected).max() < 1e-6
    gradient().save(tmp_path / "broken.png", icc_profile=b"no profile")
    assert read_picture(tmp_path / "broken.png").icc_profile is None


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    values[3, 3] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(PictureError, match=r"a\.tif: .*not finite"):
        read_picture(tmp_path / "a.tif")
    whole = np.linspace(-5, 2**31 - 1, 256).astype(np.int32).reshape(16, 16)
    Image.fromarray(whole).save(tmp_path / "b.tif")
    pixels = read_picture(tmp_path / "b.tif").pixels
    assert pixels.min() == 0 and pixels.max() == 1


def test_heic_names_what_it_needs(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert list_pictures(tmp_path) == [path]  # never passed over in silence
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(PictureError, match=r"phone\.heic: .*pip install 'duostyle\[heic\]'"):
        read_picture(path)


def test_heic_is_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra [heic]")
    heif.from_pillow(gradient(64, 48)).save(tmp_path / "a.heic", quality=90)
    pixels = read_picture(tmp_path / "a.heic").pixels
    assert pixels.shape == (3, 48, 64)


@pytest.fixture
def paint(checkpoint: Path):
    return lambda *argv: paint_command.main([*map(str, argv), "--checkpoint", str(checkpoint)])


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_further_pictures_are_noted(paint, name: str, tmp_path: Path, capsys) -> None:
    frames = [gradient(40, 32).rotate(90 * n) for n in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert paint(tmp_path / name, "-o", tmp_path / "o.png") == 0
    assert f"{name}: holds 3 pictures; only the first one is used" in capsys.readouterr().err


def test_a_percent_sign_is_no_pattern(paint, tmp_path: Path) -> None:
    gradient(40, 32).save(tmp_path / "my%20dog.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "my old dog.jpg").touch()  # what "my*og.jpg" would find
    assert paint(tmp_path / "my%20dog.jpg", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "my%20dog.jpg").stat().st_size


def test_names_of_maximal_length(paint, tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125 + ".png")
    gradient(40, 32).save(path)
    assert paint(path, "-o", tmp_path / "out", "--alpha", "0,1") == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    outputs = plan_outputs({path: Path(path.name)}, tmp_path / "o", [Result(0.5)])
    assert outputs[path][Result(0.5)].name == path.name


def test_control_characters_in_names(paint, tmp_path: Path, capsys) -> None:
    path = tmp_path / "a\nb\x1b[31m.jpg"
    path.write_bytes(b"no picture")
    assert paint(path, "-o", tmp_path / "o.png") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and r"a\nb\x1b[31m.jpg: not a readable" in lines[0]


def test_panoramas_are_painted_small(paint, tmp_path: Path) -> None:
    gradient(3000, 120).save(tmp_path / "a.jpg")
    assert paint(tmp_path / "a.jpg", "--size", "320", "-o", tmp_path / "o.png") == 0
    with Image.open(tmp_path / "o.png") as image:
        assert image.size == (3000, 120)


def test_a_result_that_is_not_finite_names_the_checkpoint(
    paint, tmp_path: Path, monkeypatch, capsys
) -> None:
    def overflow(self, encoded, *_):
        return torch.full((1, 3, *encoded.mask.shape[-2:]), torch.nan)

    monkeypatch.setattr(StyleNetwork, "decode", overflow)
    gradient(40, 32).save(tmp_path / "a.png")
    assert paint(tmp_path / "a.png", "-o", tmp_path / "o.png") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "tiny.safetensors: the result in" in lines[0]
    assert not (tmp_path / "o.png").exists()


def test_ghostscript_is_not_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: sys.exit("a process was started"))
    path = tmp_path / "a.jpg"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(PictureError):
        read_picture(path)
