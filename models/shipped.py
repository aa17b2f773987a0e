"""The pairs that come with the project, and the paintings that they were trained on."""

import json
from dataclasses import dataclass

from duostyle.files import ROOT

SHIPPED = ROOT / "checkpoints"
LIST = "pairs.json"  # beside the checkpoints; its order is the pairs' order
SMALL = "-small"  # ends the name of a pair's smaller network


@dataclass(frozen=True)
class Painting:
    """A painting as a caption names it."""

    title: str
    artist: str
    year: str

    def __str__(self) -> str:
        return f"{self.title} ({self.artist}, {self.year})"


def shipped_checkpoints() -> list[str]:
    """Return the bare names of the pairs that come with the project; the first is the default.

    The foundation, which pairs are trained from, is not one of them.
    """
    names = (name for pair in _paintings() for name in (pair, pair + SMALL))
    return [name for name in names if (SHIPPED / f"{name}.safetensors").exists()]


def describe(name: str) -> tuple[Painting, Painting]:
    """The foreground's and the background's painting of a shipped pair, either size.

    Raises KeyError for a name that `shipped_checkpoints` does not hold.
    """
    first, second = _paintings()[_pair(name)]
    return Painting(**first), Painting(**second)


def _pair(name: str) -> str:
    return name.removesuffix(SMALL)


def _paintings() -> dict[str, list[dict[str, str]]]:
    return json.loads((SHIPPED / LIST).read_text(encoding="utf-8"))
