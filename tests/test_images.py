"""Reading and writing pictures of every kind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from duostyle.files import atomic_writer
from duostyle.io.images import (
    Picture,
    PictureError,
    decode,
    read_mask,
    read_picture,
    read_style,
    write_picture,
)
from duostyle.io.pixels import keep_chroma, pil_to_tensor, tensor_to_pil


def gradient(width: int = 24, height: int = 16) -> Image.Image:
    x = np.linspace(0, 255, width, dtype=np.uint8)
    y = np.linspace(0, 255, height, dtype=np.uint8)
    blue = np.full((height, width), 90, dtype=np.uint8)
    planes = (np.tile(x, (height, 1)), np.tile(y[:, None], (1, width)), blue)
    return Image.fromarray(np.stack(planes, axis=-1))


def test_tensor_round_trip_is_exact() -> None:
    image = gradient()
    pixels = pil_to_tensor(image)
    assert pixels.shape == (3, 16, 24) and pixels.dtype == torch.float32
    assert pixels.max() == 1 and pixels.min() == 0
    assert np.array_equal(np.array(tensor_to_pil(pixels)), np.array(image))


MODES = {
    ".png": ("RGB", "L", "P", "RGBA", "LA", "1"),
    ".jpg": ("RGB", "L", "CMYK"),
    ".tif": ("RGB", "L", "P", "RGBA", "LA", "1", "CMYK"),
    ".webp": ("RGB", "RGBA"),
    ".gif": ("L", "P"),
}


@pytest.mark.parametrize(("suffix", "mode"), [(s, m) for s, modes in MODES.items() for m in modes])
def test_modes(suffix: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    gradient().convert(mode).save(path)
    picture = read_picture(path)
    assert picture.pixels.shape == (3, 16, 24)
    assert picture.pixels.min() >= 0 and picture.pixels.max() <= 1
    assert picture.pixels.max() > 0.5  # not silently black


def test_16_bit_gray_spans_the_whole_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    pixels = read_picture(tmp_path / "deep.png").pixels
    assert torch.allclose(pixels[0], torch.from_numpy(values / 65535).float(), atol=1 / 255)
    assert torch.equal(pixels[0], pixels[2])


def test_exif_orientation_is_applied_and_not_repeated(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate a quarter clockwise to see it upright
    exif[0x010F] = "Camera"
    gradient(24, 16).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    picture = read_picture(tmp_path / "turned.jpg")
    assert picture.pixels.shape == (3, 24, 16)
    write_picture(tmp_path / "out.jpg", picture)
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.size == (16, 24)
        assert 0x0112 not in image.getexif()
        assert image.getexif()[0x010F] == "Camera"


def test_profile_and_transparency_are_carried_over(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = gradient().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "a.png", icc_profile=profile)
    picture = read_picture(tmp_path / "a.png")
    write_picture(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as written:
        assert written.mode == "RGBA"
        assert written.info["icc_profile"] == profile
        assert np.array_equal(np.array(written), np.array(image))
    write_picture(tmp_path / "b.jpg", picture)  # no transparency there: onto white
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.mode == "RGB"
        assert min(written.getpixel((0, 0))) > 240


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0 broken"])
def test_damaged_files_are_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"bad\.jpg: not a readable picture"):
        read_picture(path)


def test_truncated_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=r"half\.png"):
        read_picture(path)
    with pytest.raises(PictureError, match="no such file"):
        read_picture(tmp_path / "none.png")


def test_unwritable_places_are_named(tmp_path: Path) -> None:
    picture = Picture(torch.rand(3, 16, 16))
    with pytest.raises(PictureError, match=r"x\.bmp: unknown suffix; write \.jpg"):
        write_picture(tmp_path / "x.bmp", picture)
    (tmp_path / "file").touch()
    with pytest.raises(PictureError, match="cannot be written"):
        write_picture(tmp_path / "file" / "x.png", picture)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_writer(path) as part:
        part.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_mask_from_gray_and_from_transparency(tmp_path: Path) -> None:
    half = Image.new("L", (8, 8), 0)
    half.paste(255, (0, 0, 4, 8))
    half.save(tmp_path / "gray.png")
    cut_out = Image.new("RGBA", (8, 8))
    cut_out.putalpha(half)
    cut_out.save(tmp_path / "cut.png")
    for name in ("gray.png", "cut.png"):
        mask = read_mask(tmp_path / name, (16, 16))
        assert mask.shape == (1, 1, 16, 16)
        assert mask[..., :6].min() > 0.99 and mask[..., 10:].max() < 0.01


def test_style_keeps_its_aspect(tmp_path: Path) -> None:
    gradient(300, 200).save(tmp_path / "style.png")
    assert read_style(tmp_path / "style.png", 100).shape == (1, 3, 100, 150)


def test_keep_chroma() -> None:
    gray = torch.full((1, 3, 2, 2), 0.5)
    photo = torch.rand(1, 3, 2, 2) * 0.2 + 0.4
    kept = keep_chroma(gray, photo)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert torch.allclose((kept * weights).sum(dim=1), torch.tensor(0.5), atol=1e-4)
    # Differences between channels are the photograph's: that is its chroma.
    assert torch.allclose(kept[:, 0] - kept[:, 1], photo[:, 0] - photo[:, 1], atol=1e-3)
    assert torch.allclose(keep_chroma(photo, photo), photo, atol=1e-4)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "1", "CMYK", "I;16", "F"])
def test_tiff_to_tiff_can_be_read_again(mode: str, tmp_path: Path) -> None:
    if mode in ("I;16", "F"):
        values = np.linspace(0, 1000, 256).reshape(16, 16)
        image = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = gradient(16, 16).convert(mode)
    image.save(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.tif"))
    with Image.open(tmp_path / "b.tif") as written:
        assert written.mode in ("RGB", "RGBA") and written.size == (16, 16)


def test_exif_of_exposure_and_place_is_carried_over(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8769)[0x829A] = 0.01  # exposure time
    exif.get_ifd(0x8825)[1] = "N"
    gradient().save(tmp_path / "a.jpg", exif=exif)
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.jpg"))
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[0x010F] == "Camera"
        assert float(image.getexif().get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)
        assert image.getexif().get_ifd(0x8825)[1] == "N"


def test_decoding_leaves_the_callers_image_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient(24, 16).save(tmp_path / "turned.jpg", exif=exif)
    with Image.open(tmp_path / "turned.jpg") as image:
        assert decode(image).pixels.shape == decode(image).pixels.shape == (3, 24, 16)


def test_cmyk_with_a_broken_profile_is_still_read(tmp_path: Path) -> None:
    gradient().convert("CMYK").save(tmp_path / "a.jpg", icc_profile=b"broken")
    assert read_picture(tmp_path / "a.jpg").pixels.shape == (3, 16, 24)


def test_opaque_rgba_mask_counts_by_its_white(tmp_path: Path) -> None:
    mask = Image.new("RGBA", (16, 16), (0, 0, 0, 255))
    mask.paste((255, 255, 255, 255), (0, 0, 8, 16))
    mask.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", (16, 16)).mean() == 0.5
