"""`duostyle doctor`: one line each, nothing downloaded, failures are told."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from duostyle.cli import doctor
from tests.conftest import ROOT


class Clock:
    """Half a second passes between two readings."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


@pytest.fixture
def quick(monkeypatch) -> list[str]:
    """No real work; the devices that were measured."""
    used: list[str] = []

    def work(device: str):
        return lambda: used.append(device)

    monkeypatch.setattr(doctor, "training_step", lambda _, device: work(device))
    monkeypatch.setattr(doctor, "stylization", work)
    return used


def test_ten_lines_and_the_second_of_two_runs_counts(quick, monkeypatch, capsys) -> None:
    monkeypatch.setattr(doctor, "devices", lambda: ["cpu"])
    assert doctor.main([], Clock()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    names = ["versions", "CPU", "CUDA", "MPS", "precisions", "backends", "cache", "VGG16",
             "missing", "speed on cpu"]  # fmt: skip
    for line, name in zip(lines, names, strict=True):
        assert line.startswith(name)
    assert lines[-1] == (
        "speed on cpu: a training step of the recipe (2 crops of 176 px) 0.50 s, "
        "a picture of 640x360 0.50 s"
    )
    assert quick == ["cpu"] * 4
    assert f"torch {torch.__version__.partition('+')[0]}" in lines[0]
    assert doctor.main(["--quick"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9


def test_a_device_that_fails_is_one_line_and_the_exit_code(quick, monkeypatch, capsys) -> None:
    def fail(device: str):
        if device == "cuda":
            raise RuntimeError("no kernel image\nsecond line")
        return lambda: None

    monkeypatch.setattr(doctor, "training_step", lambda _, device: fail(device))
    monkeypatch.setattr(doctor, "devices", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(doctor, "precisions", lambda: "precisions: none")
    assert doctor.main([], Clock()) == 1
    *_, good, bad = capsys.readouterr().out.splitlines()
    assert good.startswith("speed on cpu: a training step") and bad == (
        "speed on cuda: FAILED (no kernel image); use --device cpu, and please report it"
    )


def test_what_is_missing_comes_with_the_command(monkeypatch) -> None:
    absent = {"openvino", "cv2"}
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in absent else object())
    assert doctor.missing() == (
        "missing: openvino (fastest painting on CPUs), cv2 (cameras); "
        "pip install 'duostyle[openvino,camera]'"
    )
    assert "openvino" not in doctor.backends().partition(";")[0]
    absent.clear()
    assert doctor.missing() == "missing: nothing"


def test_the_cache_and_the_weights_are_found_where_they_are(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUOSTYLE_CACHE", str(tmp_path / "not" / "made"))
    assert f"cache: {tmp_path / 'not' / 'made'} ($DUOSTYLE_CACHE), 0 MB, " in doctor.cache()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert doctor.vgg().startswith("VGG16 for training: not here yet; ")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / doctor.VGG_FILES[0]).touch()
    assert doctor.vgg() == f"VGG16 for training: in {tmp_path / 'checkpoints'}"


def test_the_measured_work_is_real() -> None:
    terms = doctor.training_step(doctor.pair_recipe(), "cpu")()
    assert {"style", "blend", "content", "palette", "tv"} == terms.keys()
    assert all(math.isfinite(value.item()) for value in terms.values())
    painted = next(iter(doctor.stylization("cpu")().values()))
    assert painted.shape == (1, 3, *doctor.PICTURE)


def test_it_is_a_command() -> None:
    command = [sys.executable, "-m", "duostyle", "doctor", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("versions: duostyle "), done.stderr
