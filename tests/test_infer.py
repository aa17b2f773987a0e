"""`duostyle paint` and the Python interface on pictures."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import duostyle
from duostyle import cli
from duostyle.cli import paint as paint_command
from duostyle.inference import (
    Renderer,
    Result,
    StylizeOptions,
    encode,
    open_painter,
    stylize,
    stylize_image,
)
from duostyle.inference.render import StylizeKeywords
from duostyle.io.images import PictureError, read_picture
from duostyle.io.pixels import pil_to_tensor, resize, tensor_to_pil
from duostyle.models import (
    StyleNetwork,
    describe,
    load_checkpoint,
    read_header,
    save_checkpoint,
    shipped_checkpoints,
)
from duostyle.models.checkpoint import SHIPPED
from tests.conftest import ROOT


@pytest.fixture
def paint(checkpoint: Path):
    """Run duostyle paint with the tiny checkpoint; returns the exit code."""
    return lambda *argv: paint_command.main([*map(str, argv), "--checkpoint", str(checkpoint)])


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def rounded(value: torch.Tensor) -> np.ndarray:
    """`(1, C, H, W)` in [0, 1] as the pixels of an RGB file."""
    return np.array(tensor_to_pil(value[0]).convert("RGB")).astype(int)


def test_one_photo(paint, network, astronaut: Path, tmp_path: Path, capsys) -> None:
    assert paint(astronaut, "-o", tmp_path / "out.png", "--precision", "fp32") == 0
    assert capsys.readouterr().err == f"wrote {tmp_path / 'out.png'}\n"
    expected = network(read_picture(astronaut).pixels[None], 0.0)
    assert abs(pixels(tmp_path / "out.png") - rounded(expected)).max() <= 1
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".part"]


def test_alphas_and_branches(paint, network, astronaut: Path, tmp_path: Path, capsys) -> None:
    argv = ("--alpha", "0.25,1", "--show-branches", "--size", "64", "--format", "png")
    assert paint(astronaut, "-o", tmp_path / "o", *argv, "--precision", "fp32") == 0
    content = read_picture(astronaut).pixels[None]
    small = resize(content, (64, 64))
    view = network.inspect(small, 0.25)  # branches belong to the first alpha
    expected = {
        "alpha0.25": view.stylized,
        "alpha1": network(small, 1.0),
        "foreground": view.foreground,
        "background": view.background,
        "mask": view.mask,
    }
    files = {name: tmp_path / "o" / f"astronaut-{name}.png" for name in expected}
    assert set(files.values()) == set((tmp_path / "o").iterdir())
    assert set(capsys.readouterr().err.splitlines()) == {f"wrote {f}" for f in files.values()}
    for name, value in expected.items():
        found = pixels(files[name])
        assert abs(found - rounded(resize(value, (512, 512)))).max() <= 1, name
    assert abs(pixels(files["alpha0.25"]) - pixels(files["alpha1"])).max() > 2


def test_keep_colors_has_the_luminance_of_the_result_and_the_chroma_of_the_photograph(
    paint, astronaut: Path, tmp_path: Path
) -> None:
    argv = (astronaut, "--precision", "fp32", "--size", "64")
    assert paint(*argv, "-o", tmp_path / "plain.png") == 0
    assert paint(*argv, "-o", tmp_path / "kept.png", "--keep-colors") == 0
    luminance = Image.open(tmp_path / "plain.png").convert("YCbCr").getchannel("Y")
    _, blue, red = Image.open(astronaut).convert("YCbCr").split()
    expected = Image.merge("YCbCr", (luminance, blue, red)).convert("RGB")
    apart = abs(pixels(tmp_path / "kept.png") - np.array(expected).astype(int))
    assert apart.max() <= 4  # YCbCr is rounded to 8 bits
    assert abs(pixels(tmp_path / "kept.png") - pixels(tmp_path / "plain.png")).mean() > 5


def test_a_folder_of_masks(paint, network, astronaut: Path, tmp_path: Path) -> None:
    for name, white in (("a", 255), ("b", 0)):
        for folder in ("in", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        with Image.open(astronaut) as image:
            image.resize((64, 48)).save(tmp_path / "in" / f"{name}.png")
        Image.new("L", (64, 48), white).save(tmp_path / "masks" / f"{name}.jpg")
    view = network.inspect(read_picture(tmp_path / "in" / "a.png").pixels[None], 0.0)
    argv = (tmp_path / "in", "--mask", tmp_path / "masks", "--precision", "fp32")
    for name, extra in (("out", ()), ("inverted", ("--invert-mask",))):
        assert paint(*argv, "-o", tmp_path / name, *extra) == 0
        found = [pixels(tmp_path / name / f"{letter}.png") for letter in "ab"]
        expected = [rounded(view.foreground), rounded(view.background)]
        if extra:
            expected.reverse()
        for one, other in zip(found, expected, strict=True):
            assert abs(one - other).max() <= 1
    assert abs(found[0] - found[1]).max() > 2
    (tmp_path / "masks" / "b.jpg").unlink()
    assert paint(*argv, "-o", tmp_path / "more") == 2
    assert [path.name for path in (tmp_path / "more").iterdir()] == ["a.png"]


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
        (
            ["{photo}", "--alpha", "0.5", "--alpha-keys", "0s=0, 1s=1"],
            "--alpha and --alpha-keys exclude each other",
        ),
        (["{photo}", "--format", "jpg"], "out.png: contradicts --format jpg"),
        (["{photo}", "-o", "{out}", "--format", "mp4"], "--format mp4: is a video format"),
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
        # It is found before the inputs are searched, and nothing is written.
        assert paint_command.main(["none.jpg", *argv[1:]]) == 2
        assert says in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


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
    gray = torch.rand(1, 1, 40, 40).expand(1, 3, 40, 40)
    kept = stylize(network, gray, keep_colors=True)["stylized"]
    plain = stylize(network, gray)["stylized"]
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
    colors = [view[name].mean(dim=(0, 2, 3)) for name in ("foreground", "background")]
    assert (colors[0] - colors[1]).abs().max() > 0.08
    blended = stylize(network, content, 1.0, branches=True)
    apart = (view["foreground"] - view["background"]).abs().mean()
    assert (blended["foreground"] - blended["background"]).abs().mean() < 0.7 * apart


def test_open_painter_says_what_it_cannot_do(checkpoint: Path, monkeypatch) -> None:
    monkeypatch.setattr("duostyle.inference.engine.fastest_backend", lambda precision: "torch")
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


def test_list_takes_no_arguments(capsys) -> None:
    for argument, code, says in (
        ("--bogus", 2, "duostyle list: error: unrecognized arguments: --bogus"),
        ("extra", 2, "duostyle list: error: unrecognized arguments: extra"),
        ("--help", 0, "usage: duostyle list"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(["list", argument])
        said = capsys.readouterr()
        assert end.value.code == code and says in said.out + said.err
        assert shipped_checkpoints()[0] not in said.out


def test_listing_into_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "duostyle", "list"]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert done.returncode == 141 and done.stderr == ""


def test_paths_may_be_strings(network: StyleNetwork, astronaut: Path, tmp_path: Path) -> None:
    with Image.open(astronaut) as image:
        small = image.resize((60, 44))
    path, mask = tmp_path / "a.png", tmp_path / "m.png"
    small.save(path)
    Image.linear_gradient("L").resize((60, 44)).save(mask)
    expected = np.array(duostyle.stylize_image(network, small, 0.5, Image.open(mask), swap=True))
    for form in (str, Path):
        painted = duostyle.stylize_image(network, form(path), 0.5, form(mask), swap=True)
        assert np.array_equal(np.array(painted), expected)
    options = duostyle.StylizeOptions(swap=True)
    painted = duostyle.stylize_image(network, str(path), 0.5, str(mask), options=options)
    assert np.array_equal(np.array(painted), expected)
    with pytest.raises(PictureError, match=r"gone\.png: no such file"):
        duostyle.stylize_image(network, str(tmp_path / "gone.png"))


def test_every_public_name_can_be_imported() -> None:
    for name in duostyle.__all__:
        assert getattr(duostyle, name) is not None and name in dir(duostyle)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = duostyle.nothing


def test_options_are_checked() -> None:
    fields = {field.name for field in dataclasses.fields(duostyle.StylizeOptions)}
    assert fields == set(StylizeKeywords.__annotations__)
    wrong_values = {"precision": "int4", "size": 0, "batch": 0, "steady": 1.0, "strokes": 3}
    for wrong in ({name: value} for name, value in wrong_values.items()):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            duostyle.StylizeOptions(**wrong)


def test_several_checkpoints_paint_under_their_names(
    network: StyleNetwork, checkpoint: Path, astronaut: Path, tmp_path: Path, capsys
) -> None:
    other = tmp_path / "runs" / "b-c" / "model.safetensors"  # as `duostyle train` names it
    other.parent.mkdir(parents=True)
    network.branch1.to_rgb.style.shift += 0.3
    save_checkpoint(other, network, read_header(checkpoint))
    out, names = tmp_path / "out", f"{checkpoint},{other},{checkpoint}"
    argv = [str(astronaut), "-o", str(out), "--size", "64", "--checkpoint"]
    assert paint_command.main([*argv, names]) == 0
    files = [out / "astronaut-tiny.jpg", out / "astronaut-b-c.jpg"]
    assert capsys.readouterr().err.splitlines() == [f"wrote {file}" for file in files]
    assert set(out.iterdir()) == set(files)
    assert abs(pixels(files[0]) - pixels(files[1])).mean() > 3
    # Results that exist are kept, and every checkpoint is checked before anything is painted.
    files[1].unlink()
    assert paint_command.main([*argv, names]) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [f"wrote {files[1]}"]
    other.write_bytes(other.read_bytes()[:-50])
    assert paint_command.main([*argv, names, "--force"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "model.safetensors: damaged checkpoint" in said[0]
    assert paint_command.main([*argv, names.replace("b-c", "gone")]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    twin = tmp_path / "twin" / "tiny.safetensors"
    twin.parent.mkdir()
    twin.write_bytes(checkpoint.read_bytes())
    assert paint_command.main([*argv, f"{checkpoint},{twin}", "-o", str(tmp_path / "p")]) == 2
    assert "two pairs would be written there" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_all_is_every_base_pair_that_ships(astronaut: Path, tmp_path: Path, monkeypatch) -> None:
    painted = []
    monkeypatch.setattr(paint_command, "_paint_files", lambda *args: painted.append(args[:2]) or 0)
    monkeypatch.setattr(paint_command, "load_pair", lambda name: None)
    assert paint_command.main([str(astronaut), "-o", str(tmp_path), "--checkpoint", "all"]) == 0
    assert [name for name, _ in painted] == [
        name for name in shipped_checkpoints() if not name.endswith("-small")
    ]
    for name, plan in painted:
        assert plan == {astronaut: {Result(0.0): tmp_path / f"astronaut-{name}.jpg"}}


def test_strength_and_strokes_of_the_command(paint, network, astronaut, tmp_path: Path) -> None:
    content = read_picture(astronaut).pixels[None]
    given = ("--strength", "0.8", "--background-strength", "0.5", "--strokes", "96")
    assert paint(astronaut, "-o", tmp_path / "o.png", *given, "--precision", "fp32") == 0
    options = StylizeOptions(strength=0.8, background_strength=0.5, strokes=96)
    expected = stylize(network, content, options=options)["stylized"]
    assert abs(pixels(tmp_path / "o.png") - rounded(expected)).max() <= 1
    assert paint(astronaut, "-o", tmp_path / "photo.png", "--strength", "0") == 0
    assert np.array_equal(pixels(tmp_path / "photo.png"), pixels(astronaut))
    for wrong in (("--strength", "1.1"), ("--foreground-strength", "x"), ("--strokes", "huge")):
        with pytest.raises(SystemExit) as stop:
            paint(astronaut, *wrong)
        assert stop.value.code == 2


def test_several_alphas_encode_a_picture_once(network: StyleNetwork) -> None:
    content, calls = torch.rand(1, 3, 40, 56), []
    network.stem.register_forward_hook(lambda *_: calls.append("stem"))
    network.mask_branch.register_forward_hook(lambda *_: calls.append("mask"))
    alphas = (0.0, 0.3, 1.0)
    picture = encode(network, content, size=32)
    found = [picture.stylize(alpha)["stylized"] for alpha in alphas]
    rendered = dict(Renderer(network, map(Result, alphas), StylizeOptions(size=32))(content))
    assert calls == ["mask", "stem"] * 2
    for alpha, stylized in zip(alphas, found, strict=True):
        wanted = stylize(network, content, alpha, size=32)["stylized"]
        assert torch.equal(stylized, wanted) and torch.equal(rendered[Result(alpha)], wanted)
