"""The mask branch of one network in another one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from duostyle.models import StyleNetwork, load_checkpoint, read_header, save_checkpoint
from duostyle.training import copy_mask
from tests.conftest import TINY


def test_the_result_paints_as_the_one_and_masks_as_the_other(tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    files = [tmp_path / name for name in ("paints.safetensors", "masks.safetensors")]
    configs = TINY, replace(TINY, edge_width=3, mask_size=129, scale=1.0)
    for file, config in zip(files, configs, strict=True):
        save_checkpoint(file, StyleNetwork(config), {"styles": [{"name": file.stem}]})
    output = tmp_path / "both.safetensors"
    argv = [str(files[0]), "--mask-from", str(files[1]), "--output", str(output)]
    assert copy_mask.main(argv) == 0
    assert capsys.readouterr().out.startswith(f"wrote {output}: ")
    both, paints, masks = (load_checkpoint(file) for file in (output, *files))
    content, mask = torch.rand(1, 3, 64, 72), torch.rand(1, 1, 64, 72)
    for network in (both, paints, masks):
        network.train()  # without the margin, and at full size
    assert torch.equal(both(content, 0.3, mask), paints(content, 0.3, mask))
    assert torch.equal(both.mask_logits(content), masks.mask_logits(content))
    assert both.config == replace(TINY, edge_width=3, mask_size=129, scale=1.0)
    assert read_header(output)["styles"] == [{"name": "paints"}]
    assert read_header(output)["mask"] == "of masks"


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_is_named_and_nothing_written(missing: int, tmp_path: Path, capsys) -> None:
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for number, file in enumerate(files):
        if number != missing:
            save_checkpoint(file, StyleNetwork(TINY), {})
    output = tmp_path / "out.safetensors"
    argv = [str(files[0]), "--mask-from", str(files[1]), "--output", str(output)]
    assert copy_mask.main(argv) == 2
    assert str(files[missing]) in capsys.readouterr().err and not output.exists()
