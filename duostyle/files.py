"""Files: atomic writes, digests, printable names, and where bundled and cached files lie.

It imports nothing else of the package, because every other part writes files.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed and needs no lock
    fcntl = None  # type: ignore[assignment]

# Holds `assets` and `checkpoints`: the checkout, or the installed package.
ROOT = Path(__file__).resolve().parent
if not (ROOT / "checkpoints").is_dir():
    ROOT = ROOT.parent

MAX_NAME = 255  # bytes of a file name, on every common file system
MAX_WRITERS = 100  # processes that may write the same file at once
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: controls, surrogates, breaks


class WriteError(OSError):
    """A file cannot be written; one line that names it."""


def printable(text: str) -> str:
    """Escape control characters, lone surrogates and line breaks, as `repr` does."""
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in UNPRINTABLE else char for char in text
    )


def sha256(path: Path) -> str:
    """Return the hex digest of a file. Raises OSError if it cannot be read."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def atomic_writer(path: Path) -> Iterator[Path]:
    """Write a file atomically: the block writes a temporary file, which then replaces `path`.

    The temporary file lies beside `path`, and is on the disk before it is renamed. If the block
    raises, `path` is left as it was. A temporary file that a killed process has left is reused by
    the next process that writes `path`. Raises WriteError if the place is not writable or the block
    raises OSError; other exceptions of the block pass through.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part, handle = _reserve(path)
    except OSError as error:
        raise _write_error(path, error) from error
    done = False
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        if fcntl is None:  # Windows does not rename an open file
            handle = _close(handle)
        part.replace(path)
        done = True
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        if fcntl is None:
            handle = _close(handle)
        if not done:
            part.unlink(missing_ok=True)
        _close(handle)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write bytes to a file atomically. Raises WriteError."""
    with atomic_writer(path) as part, part.open("wb") as file:
        file.write(data)


def _reserve(path: Path) -> tuple[Path, int]:
    """Open and lock the first temporary name that no living process holds.

    Returns the empty file and its descriptor.
    """
    name = path.name
    if len(os.fsencode(f".{name}.{MAX_WRITERS}.part")) > MAX_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    for number in range(MAX_WRITERS):
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
        if _lock(handle) and _is_same_file(part, handle):
            os.ftruncate(handle, 0)
            return part, handle
        os.close(handle)
    raise OSError(f"{MAX_WRITERS} processes write it already")


def _lock(handle: int) -> bool:
    """Whether no other process holds the file; true on a file system without locks."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_same_file(part: Path, handle: int) -> bool:
    """Whether a name still belongs to the file that a descriptor has open."""
    try:
        return os.path.samestat(os.fstat(handle), part.stat())
    except OSError:
        return False


def _close(handle: int) -> int:
    """Close a descriptor once; returns -1."""
    if handle >= 0:
        os.close(handle)
    return -1


def _write_error(path: Path, error: OSError) -> WriteError:
    return WriteError(f"{path}: cannot be written ({error.strerror or error})")


def cache_folder() -> Path:
    """Return $DUOSTYLE_CACHE, or ~/.cache/duostyle."""
    return Path(os.environ.get("DUOSTYLE_CACHE", Path.home() / ".cache" / "duostyle"))
