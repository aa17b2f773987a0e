"""Atomic writes: full disks, killed and concurrent writers, long names; printable names."""

import multiprocessing
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from duostyle.data.masks import make_labels
from duostyle.files import MAX_NAME, WriteError, atomic_writer, printable, write_atomically
from duostyle.io.images import Picture, PictureError, save_image, write_picture


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file of this process may grow beyond `room` bytes meanwhile."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_a_full_disk_leaves_the_old_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"mine")
    with full_disk(1000), pytest.raises(PictureError, match=rf"a\{suffix}: cannot be written"):
        write_picture(path, Picture(torch.rand(3, 64, 64)))
    assert path.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [path]


def test_labels_on_a_full_disk_leave_no_file(brightness_model: Path, tmp_path: Path) -> None:
    photo, label = tmp_path / "a.png", tmp_path / "labels" / "a.png"
    save_image(photo, Image.effect_noise((64, 64), 80).convert("RGB"))
    with full_disk(20), pytest.raises(PictureError, match=r"a\.png: cannot be written"):
        make_labels([(photo, label)], str(brightness_model))
    assert not list(label.parent.iterdir())


def test_the_temporary_file_of_a_killed_writer_is_reused(tmp_path: Path) -> None:
    def die(path: Path) -> None:
        with atomic_writer(path) as part:
            part.write_bytes(b"half")
            os._exit(0)

    path = tmp_path / "a.png"
    writer = multiprocessing.get_context("fork").Process(target=die, args=(path,))
    writer.start()
    writer.join()
    assert [p.suffix for p in tmp_path.iterdir()] == [".part"]
    write_atomically(path, b"whole")
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"whole"


def test_concurrent_writers_use_different_temporary_files(tmp_path: Path) -> None:
    path, begun, go_on = tmp_path / "a.txt", threading.Event(), threading.Event()

    def slowly() -> None:
        with atomic_writer(path) as part:
            part.write_bytes(b"first")
            begun.set()
            go_on.wait(10)

    thread = threading.Thread(target=slowly)
    thread.start()
    assert begun.wait(10)
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    go_on.set()
    thread.join()
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]


def test_names_of_maximal_length(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * (MAX_NAME // 2 - 2) + ".png")
    write_atomically(path, b"1")
    assert path.read_bytes() == b"1" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(WriteError, match="cannot be written"):
        write_atomically(tmp_path / ("a" * (MAX_NAME + 1)), b"1")


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "neighbor").touch()
    write_atomically(tmp_path / "a", b"1")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("neighbor", "a")}
    assert len(modes) == 1


def test_control_characters_are_printed_escaped() -> None:
    assert printable("a\nb\x1b[31m\u2028\udcff ä 猫") == r"a\nb\x1b[31m\u2028\udcff ä 猫"
