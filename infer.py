"""Stylize pictures in one forward pass: `stylize_image`, then the command line."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from data.color import keep_chroma
from data.images import (
    WRITABLE,
    Picture,
    PictureError,
    decode,
    long_side,
    matte,
    read_mask,
    read_picture,
    resize,
    tensor_to_pil,
    write_picture,
)
from data.jobs import Outputs, find_photos, matte_of, plan_outputs
from models import (
    PRECISIONS,
    CheckpointError,
    StyleNetwork,
    load_checkpoint,
    pick_device,
    pick_precision,
    shipped_checkpoints,
)


@torch.inference_mode()
def stylize(
    network: StyleNetwork,
    content: Tensor,
    alpha: Tensor | float = 0.0,
    mask: Tensor | None = None,
    *,
    swap: bool = False,
    keep_colors: bool = False,
    size: int | None = None,
    branches: bool = False,
    precision: str = "fp32",
) -> dict[str, Tensor]:
    """Stylize tensors; every result has the content's size, `(B, C, H, W)` in [0, 1].

    `content`: `(B, 3, H, W)` RGB in [0, 1]; `alpha`: a number or `(B,)` in [0, 1]; `mask`:
    `(B, 1, H, W)` in [0, 1], 1 = foreground, instead of the learned one; `swap`: exchange the two
    styles; `keep_colors`: luminance from the painting, chroma from the photograph; `size`: paint
    with the long side at this many pixels (larger strokes), then enlarge again; `branches`:
    return `foreground`, `background` and `mask` beside `stylized`; `precision`: fp32, bf16, fp16.
    Raises ValueError where a shape, alpha or precision is off.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision}")
    if content.dim() != 4 or not content.is_floating_point():
        raise ValueError(f"content must be float (B, 3, H, W), not {tuple(content.shape)}")
    device, content = next(network.parameters()).device, content.float()
    whole = tuple(content.shape[-2:])
    shown = resize(content, long_side(whole, size) if size else whole).to(device)
    shown = shown.contiguous(memory_format=torch.channels_last)
    if mask is not None:
        mask = resize(mask, tuple(shown.shape[-2:])).to(device)
    lower = PRECISIONS[precision]
    with torch.autocast(device.type, lower, enabled=lower != torch.float32):
        if branches:
            results = network.inspect(shown, alpha, mask, swap)._asdict()
        else:
            results = {"stylized": network(shown, alpha, mask, swap)}
    results = {k: resize(v.float(), whole).to(content.device) for k, v in results.items()}
    if keep_colors:
        painted = results.keys() - {"mask"}
        results |= {k: keep_chroma(results[k], content) for k in painted}
    return results


def stylize_image(
    network: StyleNetwork,
    image: Image.Image,
    alpha: float = 0.0,
    mask: Image.Image | None = None,
    **options: object,
) -> Image.Image:
    """Stylize a Pillow image of any mode; options as of `stylize`.

    `mask`: white = foreground, or a cut-out whose transparent places are background.
    Returns an upright RGB image of the same size.
    """
    content = decode(image).pixels[None]
    region = None if mask is None else matte(decode(mask), tuple(content.shape[-2:]))
    return tensor_to_pil(stylize(network, content, alpha, region, **options)["stylized"][0])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = shipped_checkpoints()
    p = argparse.ArgumentParser(
        prog="infer.py", description="Paint the foreground in one style, the rest in another."
    )
    add = p.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="pictures, folders of them, or patterns")
    add("-o", "--output", type=Path, help="file for one result, else a folder (default: outputs)")
    add(
        "--checkpoint",
        default=known[0] if known else None,
        help=f"a file, or a shipped pair: {', '.join(known)} (default: the first)",
    )
    add(
        "--alpha",
        type=_alphas,
        default=[0.0],
        help="melting of the styles, 0 to 1; several with commas (default: 0)",
    )
    add("--mask", type=Path, help="matte, white = foreground (a folder: one a photo, same name)")
    add("--invert-mask", action="store_true", help="black is the foreground of --mask")
    add("--swap", action="store_true", help="exchange the two styles")
    add("--keep-colors", action="store_true", help="luminance painted, colours of the photo")
    add("--size", type=_size, help="paint with the long side at N pixels, then enlarge again")
    add("--show-branches", action="store_true", help="write both branch images and the mask too")
    add("--format", choices=sorted(s[1:] for s in WRITABLE), help="format (default: as the photo)")
    add("--force", action="store_true", help="overwrite what exists")
    add("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    add("--precision", default="auto", choices=("auto", *PRECISIONS))
    return p


def _alphas(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number or list of numbers") from None
    if not all(0 <= value <= 1 for value in values):
        raise argparse.ArgumentTypeError(f"alpha lies between 0 and 1, not {text}")
    return values


def _size(text: str) -> int:
    if not text.isdigit() or int(text) < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is no size of 16 pixels or more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 where something could not be painted)."""
    args = parser().parse_args(argv)
    try:
        photos = find_photos(args.photos)
        jobs = plan_outputs(
            photos, args.output, args.alpha, args.show_branches, args.format, args.force
        )
        if args.invert_mask and not args.mask:
            raise ValueError("--invert-mask inverts --mask; without one use --swap")
        if not args.checkpoint:
            raise CheckpointError("no checkpoint ships here; name one with --checkpoint")
        device = pick_device(args.device)
        network = load_checkpoint(args.checkpoint, device)
    except (PictureError, CheckpointError, ValueError) as error:
        print(f"infer.py: {error}", file=sys.stderr)
        return 2
    failed = 0
    bar = tqdm(jobs.items(), unit="picture", disable=True if len(jobs) == 1 else None)
    for photo, outputs in bar:
        try:
            paint(network, photo, outputs, photos[photo], args)
        except (PictureError, ValueError, MemoryError, RuntimeError) as error:
            bar.clear()
            print(f"infer.py: {_one_line(photo, error)}", file=sys.stderr)
            failed += 1
    return 2 if failed else 0


def paint(
    network: StyleNetwork, photo: Path, outputs: Outputs, known: Path, args: argparse.Namespace
) -> None:
    """Paint one photograph into its files. Raises PictureError where one of them is unusable."""
    picture = read_picture(photo)
    content = picture.pixels[None]
    size = tuple(content.shape[-2:])
    mask = None
    if args.mask:
        mask = read_mask(matte_of(args.mask, known), size)
        mask = 1 - mask if args.invert_mask else mask
    device = next(network.parameters()).device.type
    for number, alpha in enumerate(args.alpha):
        results = stylize(
            network,
            content,
            alpha,
            mask,
            swap=args.swap,
            keep_colors=args.keep_colors,
            size=args.size,
            # The branch images and the mask belong to the first alpha.
            branches=args.show_branches and number == 0,
            precision=pick_precision(args.precision, device),
        )
        results[f"{alpha:g}"] = results.pop("stylized")
        for name, pixels in results.items():
            kept = picture if name != "mask" else Picture(pixels[0])
            write_picture(outputs[name], replace(kept, pixels=pixels[0]))


def _one_line(photo: Path, error: Exception) -> str:
    if isinstance(error, PictureError):
        return str(error)
    reason = str(error).splitlines()[0] if str(error) else "out of memory"
    advice = "; try a smaller --size" if "memory" in reason.lower() else ""
    return f"{photo}: {reason}{advice}"


if __name__ == "__main__":
    sys.exit(main())
