"""How many closures of the reference solver one forward pass is worth (Johnson et al. 2016)."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor
from tqdm import tqdm

from duostyle.data.photos import Entry
from duostyle.evaluation.subject import Subject, choose, read_labelled
from duostyle.io.images import resize, sha256, short_side, whole_file
from duostyle.losses import Objective, ObjectiveInput
from duostyle.losses.solver import SOLVER_VERSION, solve, white_noise
from duostyle.models import PRECISIONS

ALPHAS = (0.0, 0.5, 1.0)
MARKS = (0, 5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 300)  # closures looked at

Terms = dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """The weighted terms of one photograph at one alpha: the network's, and the solver's."""

    photo: str
    alpha: float
    network: Terms
    solver: dict[int, Terms]  # by closures

    def worth(self) -> float:
        """Closures after which the solver reaches the network's objective."""
        totals = {mark: sum(terms.values()) for mark, terms in self.solver.items()}
        return closures_worth(totals, sum(self.network.values()))


def closures_worth(totals: Mapping[int, float], reached: float) -> float:
    """Closures at which falling `totals` (by closures) pass `reached`.

    Between two marks the objective is taken to fall exponentially. Worse than the start is 0;
    better than the last mark is the last mark.
    """
    marks = sorted(totals)
    if reached >= totals[marks[0]]:
        return float(marks[0])
    for before, after in pairwise(marks):
        if totals[after] <= reached:
            fall = math.log(totals[before] / totals[after])
            share = math.log(totals[before] / reached) / fall if fall else 1.0
            return before + share * (after - before)
    return float(marks[-1])


@dataclass(frozen=True)
class Summary:
    """One alpha, over the photographs."""

    alpha: float
    network: Terms  # mean, by term
    solver: dict[int, Terms]
    worth_mean: float
    worth_median: float


def summarize(comparisons: Sequence[Comparison]) -> Summary:
    """Means over the photographs of one alpha."""
    worths = [comparison.worth() for comparison in comparisons]
    marks = comparisons[0].solver
    return Summary(
        comparisons[0].alpha,
        mean_terms([c.network for c in comparisons]),
        {mark: mean_terms([c.solver[mark] for c in comparisons]) for mark in marks},
        fmean(worths),
        median(worths),
    )


def mean_terms(rows: Sequence[Terms]) -> Terms:
    """The mean of every term."""
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def measure(
    subject: Subject,
    entries: Sequence[Entry],
    count: int,
    size: int,
    closures: int,
    cache: Path,
    precision: str = "fp32",
    start: str = "photo",
) -> list[Comparison]:
    """Compare on the first `count` photographs with 10 to 70 % foreground, at every alpha.

    `size`: short side, pixels; `closures`: the solver's most; `cache`: folder that keeps what the
    solver reached, so that another network for the same paintings need not wait for it again;
    `precision`: fp32 or bf16, of networks and solver (Gram matrices are float32 always); `start`:
    of the solver, photo or noise (Johnson et al. count closures from noise).
    Both get the labels' mask. Raises PictureError where a file cannot be read, ValueError where
    no photograph serves.
    """
    objective = subject.objective()
    marks = (*[mark for mark in MARKS if mark < closures], closures)
    chosen, lower = choose(entries, subject.classes, count), PRECISIONS[precision]
    found = []
    bar = tqdm(total=len(chosen) * len(ALPHAS) * closures, unit="closure", disable=None)
    for entry in chosen:
        photo, mask = prepare(subject, entry, size)
        first = white_noise(photo) if start == "noise" else photo
        for alpha in ALPHAS:
            file = cache / f"{_key(subject, entry, size, alpha, marks, precision, start)}.json"
            with torch.autocast(subject.kind, lower, enabled=lower != torch.float32):
                painted = evaluate_network(subject, objective, photo, mask, alpha)
                run = partial(_solve, objective, photo, mask, alpha, marks, first, bar)
                solved = _remembered(file, run)
            found.append(Comparison(entry.photo.name, alpha, painted, solved))
            bar.n = len(found) * closures
            bar.refresh()
    bar.close()
    return found


@torch.no_grad()
def evaluate_network(
    subject: Subject, objective: Objective, photo: Tensor, mask: Tensor, alpha: float
) -> Terms:
    """The weighted terms of what the network makes of a photograph under a given mask."""
    view = subject.network.inspect(photo, alpha, mask)
    share = torch.full((1,), alpha, device=photo.device)
    painting = ObjectiveInput(view.stylized, share, mask, view.foreground, view.background)
    return {name: value.item() for name, value in objective(photo, painting).items()}


def prepare(subject: Subject, entry: Entry, size: int) -> tuple[Tensor, Tensor]:
    """A photograph with its short side at `size` pixels, and its binary mask by the label."""
    photo, mask, _ = read_labelled(entry, subject.classes)
    shape = short_side(tuple(photo.shape[-2:]), size)
    mask = (resize(mask, shape) > 0.5).float()
    return resize(photo, shape).to(subject.device), mask.to(subject.device)


def _solve(
    objective: Objective,
    photo: Tensor,
    mask: Tensor,
    alpha: float,
    marks: Sequence[int],
    start: Tensor,
    bar: tqdm,
) -> dict[int, Terms]:
    """What the solver reaches, by closures."""
    solutions = solve(objective, photo, mask, alpha, marks, lambda _: bar.update() and None, start)
    return {solution.closures: solution.terms for solution in solutions}


def _remembered(file: Path, solved: Callable[[], dict[int, Terms]]) -> dict[int, Terms]:
    """What the solver reached in an earlier run, or now."""
    if file.exists():
        try:
            return {int(mark): terms for mark, terms in json.loads(file.read_text()).items()}
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{file}: damaged ({error}); delete it") from error
    reached = solved()
    with whole_file(file) as part:
        part.write_text(json.dumps(reached) + "\n")
    return reached


def _key(subject: Subject, entry: Entry, *settings: object) -> str:
    """Everything that the solver's figures hang on."""
    files = [sha256(path) for path in (entry.photo, entry.label, *subject.style_files)]
    pair = [subject.style_size, subject.classes, subject.vgg.fingerprint()]
    text = json.dumps([files, pair, settings, SOLVER_VERSION, asdict(subject.weights())])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def table(summaries: Sequence[Summary]) -> str:
    """The figures for a terminal."""
    shown = [m for m in (0, 25, 50, 100, 200, 300) if m in summaries[0].solver]
    lines = ["objective, mean over the photographs; the solver's after so many closures:"]
    lines.append("alpha  network" + "".join(f"{mark:9d}" for mark in shown) + "   worth (median)")
    for s in summaries:
        totals = "".join(f"{sum(s.solver[mark].values()):9.2f}" for mark in shown)
        worth = f"{s.worth_mean:8.1f} ({s.worth_median:.1f})"
        lines.append(f"{s.alpha:5.2f}  {sum(s.network.values()):7.2f}{totals}{worth}")
    last = max(summaries[0].solver)
    lines.append(f"term by term, network and solver after {last}:")
    for s in summaries:
        pairs = [
            f"{name} {value:.2f} {s.solver[last][name]:.2f}" for name, value in s.network.items()
        ]
        lines.append(f"{s.alpha:5.2f}  " + "  ".join(pairs))
    return "\n".join(lines)
