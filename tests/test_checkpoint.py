"""Checkpoints: what is saved comes back, what is foreign or broken is named."""

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from duostyle.models import (
    CheckpointError,
    StyleNetwork,
    describe,
    git_revision,
    load_checkpoint,
    load_pair,
    read_header,
    save_checkpoint,
    shipped_checkpoints,
)
from duostyle.models import checkpoint as checkpoints
from duostyle.models.checkpoint import SHIPPED
from tests.conftest import ROOT, TINY


def test_round_trip(network: StyleNetwork, checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    assert loaded.config == TINY and not loaded.training
    content = torch.rand(1, 3, 40, 40)
    assert torch.allclose(loaded(content, 0.5), network(content, 0.5), atol=0.02)
    # Bit for bit what float16 keeps.
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())
    header = read_header(checkpoint)
    assert header["format_version"] == 9
    assert header["network"]["width"] == TINY.width
    assert [style["name"] for style in header["styles"]] == ["straw_hat", "cypresses"]


def test_from_pretrained_loads_what_save_pretrained_wrote(checkpoint: Path, tmp_path: Path) -> None:
    network, folder = load_checkpoint(checkpoint), tmp_path / "repository"
    network.save_pretrained(folder)
    loaded = StyleNetwork.from_pretrained(folder)
    content = torch.rand(1, 3, 40, 40)
    assert torch.equal(loaded(content, 0.5), network(content, 0.5)) and not loaded.training
    # One format: the file is a checkpoint, whatever the mixin adds.
    file = folder / "model.safetensors"
    assert file.read_bytes() == checkpoint.read_bytes()
    (folder / "config.json").write_text('{"width": 99}')
    assert StyleNetwork.from_pretrained(str(folder)).config == TINY
    assert read_header(file) == read_header(checkpoint)
    file.unlink()
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        StyleNetwork.from_pretrained(folder)


def test_missing_file_names_the_shipped_pairs() -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such checkpoint .*shipped: "):
        load_checkpoint("nowhere")


def test_truncated_file(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors: damaged checkpoint"):
        load_checkpoint(checkpoint)


def test_not_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"something else altogether")
    with pytest.raises(CheckpointError, match=r"x\.safetensors: damaged"):
        load_checkpoint(path)


def test_foreign_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a Duostyle checkpoint"):
        load_checkpoint(path)


def test_newer_format_and_missing_weight(checkpoint: Path) -> None:
    state, header = load_file(checkpoint), read_header(checkpoint)
    newer = {"duostyle": json.dumps({**header, "format_version": 99})}
    save_file(state, checkpoint, metadata=newer)
    with pytest.raises(CheckpointError, match="format 99, this version reads 9; update Duostyle"):
        load_checkpoint(checkpoint)
    older = {"duostyle": json.dumps({**header, "format_version": 1})}
    save_file(state, checkpoint, metadata=older)
    with pytest.raises(CheckpointError, match="format 1, this version reads 9; train it again"):
        load_checkpoint(checkpoint)
    state.pop("branch1.to_rgb.conv.weight")
    save_file(state, checkpoint, metadata={"duostyle": json.dumps(header)})
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(checkpoint)


def test_infinite_weights_are_not_saved(network: StyleNetwork, tmp_path: Path) -> None:
    network.branch1.to_rgb.conv.bias.data[0] = 1e6  # beyond float16
    with pytest.raises(ValueError, match=r"branch1\.to_rgb\.conv\.bias is not finite in float16"):
        save_checkpoint(tmp_path / "x.safetensors", network, {})
    assert not list(tmp_path.iterdir())


def test_git_revision_is_that_of_a_checkout_only(tmp_path: Path, monkeypatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    # Installed in an environment inside another project's repository.
    installed = tmp_path / "environment" / "duostyle"
    installed.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(checkpoints, "ROOT", installed)
    assert git_revision() == ""
    monkeypatch.setattr(checkpoints, "ROOT", tmp_path)
    assert git_revision() == commit.strip() and len(commit.strip()) == 40


@pytest.mark.parametrize("name", shipped_checkpoints() or ["none"])
def test_shipped_pair(name: str) -> None:
    if name == "none":
        pytest.skip("no pair ships yet")
    path = SHIPPED / f"{name}.safetensors"
    assert path.stat().st_size <= 8 * 2**20
    header = read_header(name)
    for style, painting in zip(header["styles"], describe(name), strict=True):
        image = ROOT / "assets" / "styles" / style["file"]
        assert hashlib.sha256(image.read_bytes()).hexdigest() == style["sha256"]
        assert painting.title and painting.artist and painting.year
    run, digests = header, {style["sha256"] for style in header["styles"]}
    while run and len(run["styles"]) == 2:  # this run and those that it started from
        run = run.get("earlier")
    assert run and digests <= {style["sha256"] for style in run["styles"]}  # the foundation
    assert load_checkpoint(name)(torch.rand(1, 3, 64, 64), 0.5).shape == (1, 3, 64, 64)


def test_the_first_pair_is_the_default_and_small_ones_follow_theirs() -> None:
    names = shipped_checkpoints()
    assert len(names) >= 2 and names[1] == f"{names[0]}-small"
    assert not any(name.startswith("foundation") for name in names)
    for number, name in enumerate(names):
        if name.endswith("-small"):
            assert names[number - 1] == name.removesuffix("-small")


def test_a_foundation_is_not_painted_with(tmp_path: Path) -> None:
    network = StyleNetwork(replace(TINY, styles=3))
    path = tmp_path / "foundation.safetensors"
    save_checkpoint(path, network, {"styles": []})
    assert load_checkpoint(path).config.styles == 3
    with pytest.raises(CheckpointError, match=f"{path}: a foundation of 3 paintings"):
        load_pair(path)
