"""Checkpoints, settings, states and graphs that are damaged or made up."""

import json
import struct
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from duostyle.cli import paint as infer
from duostyle.cli import train
from duostyle.inference import engine
from duostyle.inference.engine import GraphEngine, find_intact
from duostyle.models import CheckpointError, NetworkConfig, load_checkpoint, read_header
from duostyle.models.config import SIZES
from duostyle.training import TrainConfig
from duostyle.training.settings import CONFIG_FILE
from duostyle.training.state import STATE_FILE, restore_network
from tests.conftest import TINY
from tests.test_fuzz import tiny_state


def with_header(path: Path, text: str) -> None:
    """Replace a checkpoint's own header by a text."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"]["duostyle"] = text
    made = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(made)) + made + raw[8 + length :])


NETWORKS = (
    {"mask_gain": "3"}, {"mask_gain": float("nan")}, {"mask_gain": 0}, {"mask_bias": 1e400},
    {"margin": 1.5}, {"margin": 5}, {"margin": -4}, {"mask_size": 1e30}, {"mask_size": 1_000_000},
    {"mask_size": 16}, {"mask_stride": 24}, {"branch_blocks": 1_000_000}, {"width": True},
    {"width": None}, {"width": 10**400}, {"width": 8}, {"styles": 3}, {"styles": 0},
    {"branch_blocks": 2}, {"unknown": 1},
)  # fmt: skip


@pytest.mark.parametrize("changes", NETWORKS, ids=lambda value: str(value)[:40])
def test_sizes_are_checked_before_anything_is_built(
    changes: dict[str, object], checkpoint: Path, astronaut: Path, tmp_path: Path, capsys
) -> None:
    header = read_header(checkpoint)
    with_header(checkpoint, json.dumps({**header, "network": header["network"] | changes}))
    began = time.monotonic()
    argv = [str(astronaut), "-o", str(tmp_path / "o.png"), "--checkpoint", str(checkpoint)]
    assert infer.main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith(
        f"duostyle paint: {checkpoint}: damaged checkpoint"
    )
    assert "astronaut" not in lines[0] and time.monotonic() - began < 10


@pytest.mark.parametrize("text", ["[]", "5", "null", '"x"', "{}", "{", "[" * 100_000])
def test_headers_that_are_no_objects(text: str, checkpoint: Path) -> None:
    with_header(checkpoint, text)
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors: damaged checkpoint") as error:
        load_checkpoint(checkpoint)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("styles", [5, [1], [{"name": 3}], {"a": 1}])
def test_styles_that_are_no_list(styles: object, checkpoint: Path) -> None:
    with_header(checkpoint, json.dumps({**read_header(checkpoint), "styles": styles}))
    with pytest.raises(CheckpointError, match="list of styles"):
        read_header(checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_loaded(value: float, checkpoint: Path) -> None:
    header, state = read_header(checkpoint), load_file(checkpoint)
    state["branch1.to_rgb.conv.bias"][1] = value
    save_file(state, checkpoint, metadata={"duostyle": json.dumps(header)})
    with pytest.raises(CheckpointError, match=r"branch1\.to_rgb\.conv\.bias is not finite"):
        load_checkpoint(checkpoint)


def test_sizes_that_ship_lie_within_the_limits() -> None:
    for config in (*SIZES.values(), TINY):
        assert NetworkConfig.read(asdict(config)) == config


SETTINGS = {
    '{"size": "huge"}': "--size must be one of small, base, not 'huge'",
    '{"mask_stride": 8}': "--mask-stride must be one of 16, 32, not 8",
    '{"steps": true}': "steps must be int, not True",
    '{"steps": 1e3}': "steps must be int",
    '{"seed": 1000000000000000000000}': "--seed must be at most",
    '{"learning_rate": NaN}': "--learning-rate must be a finite number",
    '{"tv_weight": 1e999}': "--tv-weight must be a finite number",
    '{"ema": 2}': "--ema must be at most 1",
    '{"photo_size": 1000000}': "--photo-size must be at most",
    '{"stepz": 3}': "no setting 'stepz'",
    '{"head_weights": "x.onnx"}': "no setting 'head_weights' any more; start from a checkpoint",
    '{"mask_size": 16}': "--mask-size must be at least 33",
    '{"style_weight": -1}': "--style-weight must be above 0",
    '{"steps": null}': "steps must be int, not None",
    '{"photos": "a\\u0000b"}': "--photos",
    "[" * 100_000: "nested too deeply",
    "[]": "no object",
}


@pytest.mark.parametrize("text", SETTINGS, ids=lambda text: text[:30])
def test_settings_from_files_are_checked_as_flags_are(text: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    assert train.main(["--settings", str(file), "--output", str(tmp_path / "r")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and SETTINGS[text] in lines[0]
    assert lines[0].startswith(f"duostyle train: {file}: no settings")
    (tmp_path / "run").mkdir()
    file.rename(tmp_path / "run" / CONFIG_FILE)
    assert train.main(["--resume", str(tmp_path / "run")]) == 2
    assert CONFIG_FILE in capsys.readouterr().err


def test_settings_that_clash_name_their_file(tmp_path: Path, capsys) -> None:
    file = tmp_path / "mine.json"
    config = TrainConfig(foreground_style="a.jpg", background_style="b.jpg", context=3)
    file.write_text(json.dumps(asdict(config)))
    assert train.main(["--settings", str(file), "--dry-run"]) == 2
    assert f"--context must be a multiple of 4 (settings: {file})" in (capsys.readouterr().err)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the state of the tiny network after a step."""
    state = tiny_state()
    state.network(torch.rand(1, 3, 16, 16), 0.5, torch.ones(1, 1, 16, 16)).mean().backward()
    for optimizer in state.optimizers:
        optimizer.step()
    state.step, state.pictures = 3, 12
    state.save(tmp_path)
    return tmp_path


def test_state_comes_back(run: Path) -> None:
    assert restore_network(run).config == TINY
    state = tiny_state()
    state.load(run)
    assert (state.step, state.pictures, state.earlier) == (3, 12, None)
    assert state.average.n_averaged == 4


def rewrite(run: Path, progress: object = None, **tensors: torch.Tensor | None) -> None:
    from safetensors import safe_open

    path = run / STATE_FILE
    with safe_open(path, framework="pt") as file:
        known = json.loads(file.metadata()["progress"])
    changed = progress(known) if callable(progress) else known
    state = load_file(path) | tensors
    kept = {name: value for name, value in state.items() if value is not None}
    save_file(kept, path, metadata={"progress": json.dumps(changed)})


WITHOUT = [
    lambda known, name=name: {k: v for k, v in known.items() if k != name}
    for name in ("step", "pictures", "scaler", "network", "earlier")
]
PROGRESS = [
    *WITHOUT,
    lambda known: known | {"step": "3"},
    lambda known: known | {"step": -1},
    lambda known: known | {"pictures": 10**30},
    lambda known: known | {"network": asdict(replace(TINY, width=8))},
    lambda known: known | {"network": {"width": 10**9}},
    lambda _: [],
]


@pytest.mark.parametrize("change", PROGRESS)
def test_states_with_missing_or_made_up_parts_are_named(run: Path, change) -> None:
    rewrite(run, change)
    with pytest.raises(ValueError, match=r"state\.safetensors: (damaged|of another)") as error:
        restore_network(run)
    assert "\n" not in str(error.value)


def test_states_with_damaged_tensors_are_named(run: Path) -> None:
    whole = (run / STATE_FILE).read_bytes()
    average = "average.branch1.to_rgb.conv.bias"
    moment = "optimizer.exp_avg.branch1.to_rgb.conv.bias"
    damages = (
        {average: None},
        {average: torch.zeros(9)},
        {average: torch.full((3,), torch.nan)},
        {moment: None},
        {moment: torch.zeros(9)},
        {"network.branch1.to_rgb.conv.bias": None},
    )
    for damage in damages:
        (run / STATE_FILE).write_bytes(whole)
        rewrite(run, **damage)
        with pytest.raises(ValueError, match=r"state\.safetensors: ") as error:
            tiny_state().load(run)
        assert "\n" not in str(error.value), damage


@pytest.fixture
def graphs(tmp_path: Path, network, monkeypatch):
    """An engine whose graphs are texts, and how often one was made."""
    made: list[Path] = []

    def export(network: object, path: Path, signature: object, size: object) -> None:
        made.append(path)
        path.write_bytes(b"a graph")

    monkeypatch.setattr(engine, "export_graph", export)
    folder = tmp_path / "cache" / "graphs"
    load = {"onnx": lambda _: lambda graph: lambda arrays: [*arrays[:1], arrays[0][:, :1]]}
    monkeypatch.setattr(engine, "RUNNERS", load)
    content = torch.rand(1, 3, 16, 16)

    def paint() -> None:
        painter = GraphEngine(network, "onnx", "fp32", folder)
        assert torch.equal(painter.decode(painter.encode(content), 0.0), content)

    return folder, made, paint


def test_a_damaged_graph_is_made_again_once(graphs) -> None:
    folder, made, paint = graphs
    paint()
    paint()
    assert len(made) == 1
    (kept,) = folder.iterdir()
    kept.write_bytes(b"a grape")
    paint()
    paint()
    assert len(made) == 2
    assert [path.read_bytes() for path in folder.iterdir()] == [b"a graph"]
    name = kept.name.split(".")[0]
    (folder / f"{name}.0123456789abcdef.onnx").write_bytes(b"foreign")
    assert find_intact(folder, name) == next(folder.iterdir())


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(graphs, capsys) -> None:
    folder, made, paint = graphs
    folder.parent.mkdir()
    folder.write_text("no folder")
    paint()
    paint()
    assert len(made) == 2 and folder.read_text() == "no folder"
    assert "cannot be written" in capsys.readouterr().err
