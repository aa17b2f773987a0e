"""What one network for every alpha costs against networks trained for one alpha each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tqdm import tqdm

from duostyle.data.photos import Entry
from duostyle.evaluation.objective import Terms, evaluate_network, mean_terms, prepare
from duostyle.evaluation.subject import Subject, choose


@dataclass(frozen=True)
class Cost:
    """The objective at one alpha, its weighted terms averaged over the photographs."""

    alpha: float
    conditioned: Terms
    fixed: Terms

    @property
    def ratio(self) -> float:
        """The conditioned network's objective over that of the one trained for this alpha."""
        return sum(self.conditioned.values()) / sum(self.fixed.values())


def measure(
    conditioned: Subject,
    fixed: Mapping[float, Subject],
    entries: Sequence[Entry],
    count: int,
    size: int,
) -> list[Cost]:
    """Compare at the alpha of every fixed network, by the conditioned one's objective.

    On the first `count` photographs with 10 to 70 % foreground at `size` pixels (short side),
    under the labels' mask. Raises PictureError where a file cannot be read, ValueError where no
    photograph serves.
    """
    objective = conditioned.objective()
    chosen = choose(entries, conditioned.classes, count)
    rows: dict[float, list[tuple[Terms, Terms]]] = {alpha: [] for alpha in sorted(fixed)}
    for entry in tqdm(chosen, desc="alpha", unit="photo", disable=None):
        photo, mask = prepare(conditioned, entry, size)
        for alpha, found in rows.items():
            both = [
                evaluate_network(subject, objective, photo, mask, alpha)
                for subject in (conditioned, fixed[alpha])
            ]
            found.append((both[0], both[1]))
    return [
        Cost(alpha, *[mean_terms(terms) for terms in zip(*found, strict=True)])
        for alpha, found in rows.items()
    ]


def table(costs: Sequence[Cost]) -> str:
    """The figures for a terminal."""
    lines = ["objective, mean over the photographs; cost of conditioning:"]
    lines.append("alpha  for every alpha  for this one   cost")
    for cost in costs:
        ours, theirs = (sum(terms.values()) for terms in (cost.conditioned, cost.fixed))
        lines.append(
            f"{cost.alpha:5.2f}  {ours:15.3f}  {theirs:12.3f}  {100 * (cost.ratio - 1):+5.1f} %"
        )
    return "\n".join(lines)


def figures(costs: Sequence[Cost]) -> dict[str, object]:
    """Every figure, for JSON."""
    return {"costs": [asdict(cost) | {"ratio": cost.ratio} for cost in costs]}
