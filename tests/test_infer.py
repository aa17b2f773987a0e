"""The command line and the API on real files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from duostyle.cli import paint as paint_command
from duostyle.inference import open_painter, stylize, stylize_image
from duostyle.io.images import pil_to_tensor, tensor_to_pil
from duostyle.models import StyleNetwork, describe, load_checkpoint, shipped_checkpoints
from duostyle.models.shipped import SHIPPED


@pytest.fixture
def paint(checkpoint: Path):
    """Run infer.py with the tiny checkpoint; returns the exit code."""
    return lambda *argv: paint_command.main([*map(str, argv), "--checkpoint", str(checkpoint)])


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def test_one_photo(paint, astronaut: Path, tmp_path: Path) -> None:
    assert paint(astronaut, "-o", tmp_path / "out.png") == 0
    assert pixels(tmp_path / "out.png").shape == (512, 512, 3)
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".part"]


def test_alphas_and_branches(paint, astronaut: Path, tmp_path: Path) -> None:
    argv = ("--alpha", "0,1", "--show-branches", "--size", "64", "--format", "png")
    assert paint(astronaut, "-o", tmp_path / "o", *argv) == 0
    names = {path.name for path in (tmp_path / "o").iterdir()}
    results = ("alpha0", "alpha1", "foreground", "background", "mask")
    assert names == {f"astronaut-{result}.png" for result in results}
    first, last = (pixels(tmp_path / "o" / f"astronaut-alpha{a}.png") for a in (0, 1))
    assert first.shape == (512, 512, 3) and abs(first - last).mean() > 0.1


def test_mask_invert_and_swap(paint, astronaut: Path, tmp_path: Path) -> None:
    matte = tmp_path / "matte.png"
    half = Image.new("L", (512, 512))
    half.paste(255, (0, 0, 256, 512))
    half.save(matte)
    runs = {"plain": (), "inverted": ("--invert-mask",), "swapped": ("--swap",)}
    for name, extra in runs.items():
        argv = ("-o", tmp_path / f"{name}.png", "--mask", matte, *extra)
        assert paint(astronaut, *argv) == 0
    plain, inverted, swapped = (pixels(tmp_path / f"{name}.png") for name in runs)
    assert abs(plain - inverted).mean() > 1
    assert abs(inverted - swapped).max() <= 1


def test_sizes_down_to_16_and_odd_ones(paint, tmp_path: Path) -> None:
    for size in ((16, 16), (17, 31), (339, 33)):
        Image.effect_noise(size, 60).convert("RGB").save(tmp_path / "in.png")
        assert paint(tmp_path / "in.png", "-o", tmp_path / "out.png", "--force") == 0
        with Image.open(tmp_path / "out.png") as image:
            assert image.size == size


def test_a_folder_with_a_broken_file(paint, astronaut: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "c.jpg"):
        with Image.open(astronaut) as image:
            image.resize((64, 48)).save(folder / name)
    (folder / "b.jpg").write_bytes(b"broken")
    assert paint(folder, "-o", tmp_path / "out") == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.jpg", "c.jpg"}
    message = [line for line in capsys.readouterr().err.splitlines() if "duostyle paint" in line]
    assert len(message) == 1 and "b.jpg: not a readable picture" in message[0]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["none.jpg"], "none.jpg: no such file"),
        (["{photo}", "--mask", "none.png"], "none.png: no such file"),
        (["{photo}", "-o", "{out}/x.bmp"], "x.bmp: unknown suffix; write .jpg"),
        (["{tiny}"], "the smallest side taken is 16"),
    ],
)
def test_bad_input_is_one_line(
    paint, astronaut: Path, tmp_path: Path, capsys, argv: list[str], says: str
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "tiny.png")
    names = {"photo": astronaut, "out": tmp_path, "tiny": tmp_path / "tiny.png"}
    argv = [part.format(**names) for part in argv]
    argv += [] if "-o" in argv else ["-o", str(tmp_path / "out.png")]
    assert paint(*argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0]


def test_existing_output_is_kept(paint, astronaut: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.png"
    out.write_text("mine")
    assert paint(astronaut, "-o", out) == 2
    assert out.read_text() == "mine" and "--force" in capsys.readouterr().err


def test_wrong_checkpoint_is_one_line(astronaut: Path, tmp_path: Path, capsys) -> None:
    for name, says in ((str(astronaut), "damaged checkpoint"), ("unknown", "no such checkpoint")):
        argv = [str(astronaut), "-o", str(tmp_path / "o.png"), "--checkpoint", name]
        assert paint_command.main(argv) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and says in lines[0]


@pytest.mark.parametrize("alpha", ["2", "-0.1", "x", "0,", "nan"])
def test_alpha_out_of_range_is_refused(astronaut: Path, alpha: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        paint_command.main([str(astronaut), f"--alpha={alpha}"])
    assert stop.value.code == 2
    assert "--alpha" in capsys.readouterr().err


def test_api_with_pillow_images_of_every_mode(network: StyleNetwork, astronaut: Path) -> None:
    with Image.open(astronaut) as image:
        small = image.resize((60, 44))
    for mode in ("RGB", "L", "RGBA", "P", "CMYK"):
        painted = stylize_image(network, small.convert(mode), alpha=0.5)
        assert painted.mode == "RGB" and painted.size == (60, 44)
    mask = Image.new("L", (60, 44), 255)
    one = stylize_image(network, small, mask=mask)
    view = stylize(
        network, torch.from_numpy(np.array(small)).permute(2, 0, 1)[None] / 255, branches=True
    )
    expected = tensor_to_pil(view["foreground"][0])
    assert abs(np.array(one).astype(int) - np.array(expected)).max() <= 1


def test_keep_colors_keeps_chroma(network: StyleNetwork) -> None:
    grey = torch.rand(1, 1, 40, 40).expand(1, 3, 40, 40)
    kept = stylize(network, grey, keep_colors=True)["stylized"]
    plain = stylize(network, grey)["stylized"]
    assert (kept[:, 0] - kept[:, 2]).abs().max() < 1e-3
    assert (plain[:, 0] - plain[:, 2]).abs().max() > 1e-2


def test_bf16_is_close_to_fp32(network: StyleNetwork) -> None:
    content = torch.rand(1, 3, 64, 64)
    exact = stylize(network, content)["stylized"]
    rough = stylize(network, content, precision="bf16")["stylized"]
    assert rough.dtype == torch.float32
    assert (exact - rough).abs().mean() < 0.01
    with pytest.raises(ValueError, match="precision is one of"):
        stylize(network, content, precision="int4")


@pytest.mark.skipif(not shipped_checkpoints(), reason="no pair ships yet")
def test_shipped_pair_paints_the_astronaut_in_two_styles(astronaut: Path) -> None:
    network = load_checkpoint(shipped_checkpoints()[0])
    with Image.open(astronaut) as image:
        content = pil_to_tensor(image)[None]
    view = stylize(network, content, branches=True)
    # The person is found: the middle of the suit is foreground, the upper corners are not.
    assert view["mask"][..., 300:400, 150:250].mean() > 0.9
    assert view["mask"][..., :40, :40].mean() < 0.3
    colours = [view[name].mean(dim=(0, 2, 3)) for name in ("foreground", "background")]
    assert (colours[0] - colours[1]).abs().max() > 0.08
    blended = stylize(network, content, 1.0, branches=True)
    apart = (view["foreground"] - view["background"]).abs().mean()
    assert (blended["foreground"] - blended["background"]).abs().mean() < 0.7 * apart


def test_open_painter_says_what_it_cannot_do(checkpoint: Path, monkeypatch) -> None:
    monkeypatch.setattr("duostyle.inference.backends.fastest_backend", lambda precision: "torch")
    painter, precision = open_painter(checkpoint, "cpu", precision="fp32", moving=True)
    assert isinstance(painter, StyleNetwork) and precision == "fp32"
    with pytest.raises(ValueError, match="tensorrt: is none of torch, onnx, openvino"):
        open_painter(checkpoint, backend="tensorrt")
    with pytest.raises(ValueError, match="--compile is for --backend torch"):
        open_painter(checkpoint, "cpu", backend="onnx", compile=True)


def test_list_names_every_shipped_pair(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        paint_command.main(["--list"])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == shipped_checkpoints()
    first = shipped_checkpoints()[0]
    megabytes = (SHIPPED / f"{first}.safetensors").stat().st_size / 1e6
    assert f"{megabytes:.1f} MB" in lines[0] and describe(first)[0].title in lines[0]
    assert all((" small " in line) == line.split()[0].endswith("-small") for line in lines)
