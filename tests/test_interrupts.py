"""Ctrl-C and kills during start-up, labeling and training: no lost files, no traceback."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from duostyle.cli import export, train
from duostyle.cli import paint as paint_command
from duostyle.signals import INTERRUPTED
from tests.conftest import ROOT
from tests.test_train import backbone_file, command  # noqa: F401

PROGRAMS = {"infer": "paint", "train": "train", "export": "export", "evaluate": "evaluate"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_while_a_program_is_imported(program: str) -> None:
    code = (
        "import runpy, sys, threading, time, signal, os\n"
        "def stop():\n"
        "    while 'torch' not in sys.modules: time.sleep(0.001)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
        f"sys.argv = ['{program}.py', '--help']\n"
        f"runpy.run_path('{program}.py', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == INTERRUPTED, done.stderr
    assert done.stderr.splitlines() == [f"duostyle {PROGRAMS[program]}: stopped"]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_before_the_first_step(command, monkeypatch, capsys) -> None:  # noqa: F811
    for part in ("data.prepare_data", "initialization.build_network"):
        with monkeypatch.context() as patch:
            patch.setattr(f"duostyle.training.{part}", interrupt)
            assert train.main(command("run")) == INTERRUPTED
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("stopped before the first step")


def test_ctrl_c_while_a_checkpoint_is_loaded_or_exported(
    checkpoint: Path, astronaut: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(paint_command, "open_painter", interrupt)
    argv = ["-o", str(tmp_path / "o.png"), "--checkpoint", str(checkpoint)]
    assert paint_command.main([str(astronaut), *argv]) == INTERRUPTED
    monkeypatch.setattr(export, "export_graph", interrupt)
    assert export.main([str(checkpoint), "-o", str(tmp_path / "o.onnx")]) == INTERRUPTED
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["duostyle paint: stopped", "duostyle export: stopped"]
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]


def test_kills_while_labels_are_made_leave_whole_labels(
    brightness_model: Path, tmp_path: Path
) -> None:
    photos, labels = tmp_path / "photos", tmp_path / "labels"
    photos.mkdir()
    for number in range(12):
        Image.effect_noise((40, 40), 80).convert("RGB").save(photos / f"{number}.png")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from duostyle.data.masks import make_labels\n"
        "from duostyle.data.photos import find_labels\n"
        "entries = find_labels(*map(Path, sys.argv[1:3]))\n"
        "make_labels([(e.photo, e.label) for e in entries], sys.argv[3])\n"
    )
    argv = [sys.executable, "-c", code, str(photos), str(labels), str(brightness_model)]
    for wanted in (2, 5):
        process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(labels.glob("[0-9]*.png"))) < wanted:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(argv, cwd=ROOT, capture_output=True).returncode == 0
    assert sorted(path.name for path in labels.iterdir()) == sorted(f"{n}.png" for n in range(12))
    for path in labels.iterdir():
        with Image.open(path) as image:
            image.load()


def test_interrupts_are_heard_as_usual_once_a_program_runs() -> None:
    from duostyle.signals import exit_quietly_on_interrupt, restore_interrupt_handler

    before = signal.getsignal(signal.SIGINT)
    try:
        exit_quietly_on_interrupt("program")
        restore_interrupt_handler()
        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, before)
