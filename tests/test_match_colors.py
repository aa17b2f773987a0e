"""Colors of a network's styles, matched to its paintings."""

from pathlib import Path

import torch

from duostyle.files import sha256
from duostyle.io.images import read_style
from duostyle.models import StyleNetwork, load_checkpoint, save_checkpoint
from duostyle.training import match_colors, new_styles
from tests.conftest import ROOT, TINY

STYLES = ROOT / "assets" / "styles"


def test_painted_pictures_get_the_paintings_colors(tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    names = ("delaunay.jpg", "great_wave.jpg")
    described = [{"name": n, "file": n, "sha256": sha256(STYLES / n)} for n in names]
    source, output = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    network = StyleNetwork(TINY)
    with torch.no_grad():
        for branch in (network.branch1, network.branch2):
            branch.to_rgb.style.scale *= 1.2
    save_checkpoint(source, network, {"styles": described})
    argv = [str(source), "--styles", str(STYLES), "--output", str(output)]
    assert match_colors.main(argv) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {output}: 2 styles"
    matched, photos = load_checkpoint(output), new_styles.photographs()
    for row, name in enumerate(names):
        image = torch.logit(read_style(STYLES / name, 288), eps=new_styles.EPS)
        wanted = new_styles.mean_colors([image])
        painted = new_styles.painted_logits(matched, photos, row, background=False)
        found = new_styles.mean_colors(painted.split(1))
        torch.testing.assert_close(found[0], wanted[0], atol=0.05, rtol=0)


def test_a_missing_painting_is_named(tmp_path: Path, capsys) -> None:
    source = tmp_path / "in.safetensors"
    described = [{"name": "mine", "sha256": "0"}, {"name": "other", "sha256": "1"}]
    save_checkpoint(source, StyleNetwork(TINY), {"styles": described})
    output = tmp_path / "out.safetensors"
    argv = [str(source), "--styles", str(STYLES), "--output", str(output)]
    assert match_colors.main(argv) == 2
    assert "lacks the painting mine" in capsys.readouterr().err and not output.exists()
