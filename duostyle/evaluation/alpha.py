"""One network for every alpha against networks trained for a single alpha each."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from duostyle.data.photos import Entry, find_labels
from duostyle.evaluation.options import Results, add_labeled_photos, add_pair, add_size
from duostyle.evaluation.pair import (
    EvaluatedPair,
    Terms,
    mean_terms,
    objective_terms,
    read_scaled,
    select_photos,
)
from duostyle.models import CheckpointError
from duostyle.progress import progress

NAME = "alpha"
HELP = "one network for every alpha against networks trained for a single alpha"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add_pair(parser)
    add_labeled_photos(parser, count=40)
    parser.add_argument(
        "--fixed",
        nargs="+",
        required=True,
        metavar="CHECKPOINT",
        help="networks of the same pair, trained with --alpha-low equal to --alpha-high",
    )
    add_size(parser, "short", 256)


def run(args: argparse.Namespace) -> Results:
    """Compare the networks, print the table and return all figures."""
    entries, pair = find_labels(args.photos, args.labels), EvaluatedPair.from_arguments(args)
    others = [
        EvaluatedPair.load(checkpoint, args.styles, args.vgg_weights, pair.device)
        for checkpoint in args.fixed
    ]
    costs = measure(pair, by_alpha(pair, others), entries, args.count, args.size)
    print(table(costs))
    return {"costs": [asdict(cost) | {"ratio": cost.ratio} for cost in costs]}


@dataclass(frozen=True)
class ConditioningCost:
    """The objective at one alpha, its weighted terms averaged over the photographs."""

    alpha: float
    conditioned: Terms
    fixed: Terms

    @property
    def ratio(self) -> float:
        """The conditioned network's objective divided by the fixed network's."""
        return sum(self.conditioned.values()) / sum(self.fixed.values())


def by_alpha(
    conditioned: EvaluatedPair, others: Sequence[EvaluatedPair]
) -> dict[float, EvaluatedPair]:
    """Key networks that were trained for a single alpha by that alpha.

    Raises CheckpointError if one was trained for a range, for other styles or with another
    objective, or if two were trained for the same alpha.
    """
    fixed: dict[float, EvaluatedPair] = {}
    for other in others:
        training = other.header["training"]
        low, high = training.get("alpha_low", 0.0), training.get("alpha_high", 1.0)
        if low != high:
            raise CheckpointError(
                f"{other.checkpoint}: trained for alpha {low:g} to {high:g}, not for a single one"
            )
        if low in fixed:
            raise CheckpointError(f"{other.checkpoint}: a second network for alpha {low:g}")
        if (other.weights(), other.style_hashes()) != (
            conditioned.weights(),
            conditioned.style_hashes(),
        ):
            raise CheckpointError(
                f"{other.checkpoint}: its styles or its objective are not those of --checkpoint"
            )
        fixed[low] = other
    return fixed


def measure(
    conditioned: EvaluatedPair,
    fixed: Mapping[float, EvaluatedPair],
    entries: Sequence[Entry],
    count: int,
    size: int,
) -> list[ConditioningCost]:
    """Compare at the alpha of every fixed network, by the conditioned pair's objective.

    Uses the first `count` photographs with 10 to 70 % foreground, their short side at `size`
    pixels, with the label as mask. Raises PictureError if a file cannot be read, ValueError if no
    photograph is suitable.
    """
    objective = conditioned.objective()
    chosen = select_photos(entries, conditioned.classes, count)
    rows: dict[float, list[tuple[Terms, Terms]]] = {alpha: [] for alpha in sorted(fixed)}
    for entry in progress(chosen, name=NAME, unit="photo"):
        photo, mask = read_scaled(conditioned, entry, size)
        for alpha, found in rows.items():
            ours, other = (
                objective_terms(pair, objective, photo, mask, alpha)
                for pair in (conditioned, fixed[alpha])
            )
            found.append((ours, other))
    return [
        ConditioningCost(
            alpha,
            mean_terms([ours for ours, _ in found]),
            mean_terms([other for _, other in found]),
        )
        for alpha, found in rows.items()
    ]


def table(costs: Sequence[ConditioningCost]) -> str:
    """Format the figures for a terminal."""
    lines = ["Mean objective of the network for every alpha and of the one for this alpha:"]
    lines.append("alpha  every alpha    this alpha   difference")
    for cost in costs:
        ours, theirs = (sum(terms.values()) for terms in (cost.conditioned, cost.fixed))
        lines.append(
            f"{cost.alpha:5.2f}  {ours:11.3f}  {theirs:12.3f}  {100 * (cost.ratio - 1):+9.1f} %"
        )
    return "\n".join(lines)
