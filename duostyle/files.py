"""Files written whole or not at all, and their names made fit to print.

A module of its own beside the packages: `data`, `models`, `losses` and `training` all write files,
and none of them imports another.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed: that is lock enough
    fcntl = None

# Holds `assets` and `checkpoints`: the checkout, or the installed package.
ROOT = Path(__file__).resolve().parent
if not (ROOT / "checkpoints").is_dir():
    ROOT = ROOT.parent

MOST_NAME = 255  # bytes of a file name, on every common file system
MOST_WRITERS = 100  # processes that may write the same file at once
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: controls, surrogates, breaks


class WriteError(OSError):
    """A file that cannot be written, in one line that names it."""


def printable(text: str) -> str:
    """Escape control characters, lone surrogates and line breaks, as `repr` does."""
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in UNPRINTABLE else char for char in text
    )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well.

    The data is on the disk before the name changes. A temporary file that a killed process has
    left is taken over by the next one that writes `path`. Raises WriteError where the place does
    not allow it or the block raises OSError; other errors of the block pass through.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part, handle = _reserve(path)
    except OSError as error:
        raise _refused(path, error) from error
    done = False
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        if fcntl is None:  # an open file cannot be renamed there
            handle = _close(handle)
        part.replace(path)
        done = True
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if fcntl is None:
            handle = _close(handle)
        if not done:
            part.unlink(missing_ok=True)
        _close(handle)


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file from memory, whole or not at all. Raises WriteError."""
    with whole_file(path) as part, part.open("wb") as file:
        file.write(data)


def _reserve(path: Path) -> tuple[Path, int]:
    """The first temporary name that no living process holds, empty, and its locked descriptor."""
    name = path.name
    if len(os.fsencode(f".{name}.{MOST_WRITERS}.part")) > MOST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    for number in range(MOST_WRITERS):
        part = path.with_name(f".{name}.{number}.part")
        try:
            if fcntl is None:
                part.unlink(missing_ok=True)
            flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
            handle = os.open(part, flags, 0o666)
        except PermissionError:
            if number == 0 and not os.access(path.parent, os.W_OK):
                raise
            continue
        if _lock(handle) and _is_still(part, handle):
            os.ftruncate(handle, 0)
            return part, handle
        os.close(handle)
    raise OSError(f"{MOST_WRITERS} processes write it already")


def _lock(handle: int) -> bool:
    """Whether nobody else holds the file; a file system without locks counts as nobody."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_still(part: Path, handle: int) -> bool:
    """Whether a name still stands for the file that a descriptor has open."""
    try:
        return os.path.samestat(os.fstat(handle), part.stat())
    except OSError:
        return False


def _close(handle: int) -> int:
    """Close a descriptor once; returns -1."""
    if handle >= 0:
        os.close(handle)
    return -1


def _refused(path: Path, error: OSError) -> WriteError:
    return WriteError(f"{path}: cannot be written ({error.strerror or error})")
