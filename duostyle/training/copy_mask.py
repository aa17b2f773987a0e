"""Write a network with the mask branch and scale of another one: a `small` pair from a `base` pair.

    python -m duostyle.training.copy_mask runs/A-B/model.safetensors --mask-from foundation-small \\
        --output A-B-small.safetensors
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from duostyle.models import StyleNetwork, load_checkpoint, save_checkpoint
from duostyle.training.command import run_command
from duostyle.training.initialization import copy_mask_branch


def copy_mask(checkpoint: str, mask_from: str, output: Path) -> None:
    """Write `checkpoint` with the mask branch and the scale of `mask_from`; names or files.

    Raises CheckpointError for unusable checkpoints, OSError if the file cannot be written.
    """
    source, other = load_checkpoint(checkpoint), load_checkpoint(mask_from)
    sizes = ("mask_size", "mask_stride", "mask_gain", "mask_bias", "edge_width", "scale")
    config = replace(source.config, **{name: getattr(other.config, name) for name in sizes})
    network = StyleNetwork(config)
    painter = {k: v for k, v in source.state_dict().items() if not k.startswith("mask_branch.")}
    network.load_state_dict(painter, strict=False)
    copy_mask_branch(network, other)
    save_checkpoint(output, network, source.header | {"mask": f"of {Path(mask_from).stem}"})
    print(f"wrote {output}: {checkpoint} with the mask branch and scale of {mask_from}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m duostyle.training.copy_mask", description=__doc__.splitlines()[0]
    )
    parser.add_argument("checkpoint", help="network to copy, name or file")
    parser.add_argument("--mask-from", required=True, metavar="CHECKPOINT", help="name or file")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")
    args = parser.parse_args(argv)
    return run_command("copy_mask", lambda: copy_mask(args.checkpoint, args.mask_from, args.output))


if __name__ == "__main__":
    sys.exit(main())
