"""Solver iterations needed to reach the objective of one forward pass (Johnson et al. 2016)."""

import argparse
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

from duostyle.data.photos import Entry, find_labels
from duostyle.evaluation.options import (
    Results,
    add_iterations,
    add_labeled_photos,
    add_pair,
    add_size,
)
from duostyle.evaluation.pair import (
    EvaluatedPair,
    Terms,
    mean_terms,
    objective_terms,
    read_scaled,
    select_photos,
)
from duostyle.files import atomic_writer, sha256
from duostyle.losses.solver import SOLVER_VERSION, Solution, solve, white_noise
from duostyle.models import PRECISIONS
from duostyle.progress import progress

NAME = "objective"
HELP = "solver iterations needed to reach the objective of one forward pass"
ALPHAS = (0.0, 0.5, 1.0)
# Iterations after which the solver's objective is recorded.
CHECKPOINTS = (0, 5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 300)
LEAST = 1e-12  # for logarithms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add_pair(parser)
    add_labeled_photos(parser, count=20)
    add_size(parser, "short", 256)
    add_iterations(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("outputs/solver"),
        help="folder that keeps the solver's results (default: outputs/solver)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of network, VGG and solver; bf16 is faster on a CPU that supports it (default: fp32)",
    )
    parser.add_argument(
        "--start",
        choices=("photo", "noise"),
        default="photo",
        help="initial image of the solver; noise as in Johnson et al. (default: photo)",
    )


def run(args: argparse.Namespace) -> Results:
    """Compare the network with the solver, print the table and return all figures."""
    entries, pair = find_labels(args.photos, args.labels), EvaluatedPair.from_arguments(args)
    found = measure(
        pair,
        entries,
        args.count,
        args.size,
        args.iterations,
        args.cache,
        args.precision,
        args.start,
    )
    summaries = [summarize([c for c in found if c.alpha == alpha]) for alpha in ALPHAS]
    print(table(summaries))
    return {
        "summaries": [asdict(summary) for summary in summaries],
        "comparisons": [asdict(comparison) for comparison in found],
    }


@dataclass(frozen=True)
class Comparison:
    """The weighted terms of one photograph at one alpha."""

    photo: str
    alpha: float
    network: Terms
    solver: dict[int, Terms]  # by iterations

    def iterations_needed(self) -> float:
        """Iterations after which the solver reaches the network's objective."""
        totals = {count: sum(terms.values()) for count, terms in self.solver.items()}
        return iterations_needed(totals, sum(self.network.values()))


def iterations_needed(totals: Mapping[int, float], target: float) -> float:
    """Interpolate the iterations at which the falling `totals` reach `target`.

    `totals`: the objective by iterations; it is taken to fall exponentially in between. Returns
    the first key if `target` is worse than the start, the last key if it is never reached.
    """
    counts = sorted(totals)
    if target >= totals[counts[0]]:
        return float(counts[0])
    for before, after in pairwise(counts):
        if totals[after] <= target:
            start, end, reached = (
                math.log(max(x, LEAST)) for x in (totals[before], totals[after], target)
            )
            share = (start - reached) / (start - end) if start > end else 1.0
            return before + share * (after - before)
    return float(counts[-1])


@dataclass(frozen=True)
class Summary:
    """One alpha, averaged over the photographs."""

    alpha: float
    network: Terms
    solver: dict[int, Terms]  # by iterations
    iterations_mean: float  # needed to reach the network's objective
    iterations_median: float


def summarize(comparisons: Sequence[Comparison]) -> Summary:
    """Average the comparisons of one alpha."""
    needed = [comparison.iterations_needed() for comparison in comparisons]
    counts = comparisons[0].solver
    return Summary(
        comparisons[0].alpha,
        mean_terms([c.network for c in comparisons]),
        {count: mean_terms([c.solver[count] for c in comparisons]) for count in counts},
        fmean(needed),
        median(needed),
    )


def measure(
    pair: EvaluatedPair,
    entries: Sequence[Entry],
    count: int,
    size: int,
    iterations: int,
    cache: Path,
    precision: str = "fp32",
    start: str = "photo",
) -> list[Comparison]:
    """Compare on the first `count` photographs with 10 to 70 % foreground, at every alpha.

    Network and solver get the label's mask. `size`: short side, pixels; `iterations`: of the
    solver; `cache`: folder for the solver's results, reused for other networks of the same
    styles; `precision`: fp32 or bf16 (Gram matrices are always float32); `start`: the solver's
    initial image, photo or noise. Raises PictureError if a file cannot be read, ValueError if no
    photograph is suitable or a file of the cache is damaged.
    """
    objective = pair.objective()
    counts = (*[c for c in CHECKPOINTS if c < iterations], iterations)
    chosen, dtype = select_photos(entries, pair.classes, count), PRECISIONS[precision]
    found: list[Comparison] = []
    total = len(chosen) * len(ALPHAS) * iterations
    with progress(name=NAME, unit="iteration", total=total) as bar:

        def report(value: float) -> None:
            bar.update()

        for entry in chosen:
            photo, mask = read_scaled(pair, entry, size)
            initial = white_noise(photo) if start == "noise" else photo
            for alpha in ALPHAS:
                run = partial(solve, objective, photo, mask, alpha, counts, report, initial)
                file = cache / f"{_hash(pair, entry, size, alpha, counts, precision, start)}.json"
                with torch.autocast(pair.device_type, dtype, enabled=dtype != torch.float32):
                    network = objective_terms(pair, objective, photo, mask, alpha)
                    solver = _cached(file, run)
                found.append(Comparison(entry.photo.name, alpha, network, solver))
                bar.update(len(found) * iterations - bar.n)
    return found


def _cached(file: Path, compute: Callable[[], Sequence[Solution]]) -> dict[int, Terms]:
    """Read a result from the cache, or compute and keep it."""
    if file.exists():
        try:
            return {int(count): terms for count, terms in json.loads(file.read_text()).items()}
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{file}: damaged ({error}); delete it") from error
    result = {solution.closures: solution.terms for solution in compute()}
    with atomic_writer(file) as part:
        part.write_text(json.dumps(result) + "\n")
    return result


def _hash(pair: EvaluatedPair, entry: Entry, *settings: object) -> str:
    """Hash everything that determines the solver's result."""
    files = [sha256(path) for path in (entry.photo, entry.label, *pair.style_files)]
    styles = [pair.style_size, pair.classes, pair.vgg.fingerprint()]
    text = json.dumps([files, styles, settings, SOLVER_VERSION, asdict(pair.weights())])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def table(summaries: Sequence[Summary]) -> str:
    """Format the figures for a terminal."""
    shown = [c for c in (0, 25, 50, 100, 200, 300) if c in summaries[0].solver]
    lines = ["Mean objective of the network, and of the solver after N iterations;"]
    lines.append("solver iterations needed to reach the network's objective, mean (median):")
    lines.append("alpha  network" + "".join(f"{count:9d}" for count in shown) + "  needed")
    for s in summaries:
        totals = "".join(f"{sum(s.solver[count].values()):9.2f}" for count in shown)
        needed = f"{s.iterations_mean:8.1f} ({s.iterations_median:.1f})"
        lines.append(f"{s.alpha:5.2f}  {sum(s.network.values()):7.2f}{totals}{needed}")
    last = max(summaries[0].solver)
    lines.append(f"Each term: network, solver after {last} iterations:")
    for s in summaries:
        pairs = [
            f"{name} {value:.2f} {s.solver[last][name]:.2f}" for name, value in s.network.items()
        ]
        lines.append(f"{s.alpha:5.2f}  " + "  ".join(pairs))
    return "\n".join(lines)
