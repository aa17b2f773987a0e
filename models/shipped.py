"""The shipped pairs, and the paintings that they were trained on."""

import json
from dataclasses import dataclass

from duostyle.files import ROOT

SHIPPED = ROOT / "checkpoints"
LIST = "pairs.json"  # in SHIPPED; lists the pairs in order
SMALL = "-small"  # suffix of a pair's smaller network


@dataclass(frozen=True)
class Artwork:
    """A painting's caption."""

    title: str
    artist: str
    year: str

    def __str__(self) -> str:
        return f"{self.title} ({self.artist}, {self.year})"


def shipped_checkpoints() -> list[str]:
    """Return the names of the shipped pairs; the first is the default.

    The foundations, which pairs are trained from, are not included.
    """
    names = (name for pair in _paintings() for name in (pair, pair + SMALL))
    return [name for name in names if (SHIPPED / f"{name}.safetensors").exists()]


def describe(name: str) -> tuple[Artwork, Artwork]:
    """Return the foreground's and the background's painting of a shipped pair.

    Raises KeyError for a name that is not in `shipped_checkpoints`.
    """
    first, second = _paintings()[_pair(name)]
    return Artwork(**first), Artwork(**second)


def _pair(name: str) -> str:
    return name.removesuffix(SMALL)


def _paintings() -> dict[str, list[dict[str, str]]]:
    pairs: dict[str, list[dict[str, str]]] = json.loads((SHIPPED / LIST).read_text("utf-8"))
    return pairs
