"""Paint a folder of pictures in several processes or on several machines, with Ray Data.

    pip install "ray[data]"
    python examples/stylize_folder_ray.py photos painted --workers 2
    python examples/stylize_folder_ray.py /mnt/in /mnt/out --address auto --workers 64 --gpus 1

Every worker loads the network once. Pictures that exist in the output folder are left out, so that
a stopped run goes on where it was. With several machines, both folders lie on storage that all of
them mount, and Duostyle is installed on each.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUFFIX = ".png"


class PicturePainter:
    """Paints a picture from one file into another; an actor of Ray."""

    def __init__(self, checkpoint: str, alpha: float, device: str, threads: int) -> None:
        """Load the network."""
        import torch

        from duostyle import open_painter

        torch.set_num_threads(threads)
        self.network, self.precision = open_painter(checkpoint, device, backend="torch")
        self.alpha = alpha

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Paint one picture; return its row with an error, empty if there is none."""
        from duostyle import NotFinite, PictureError, stylize_image
        from duostyle.io.images import save_image

        try:
            painted = stylize_image(
                self.network, row["source"], self.alpha, precision=self.precision
            )
            save_image(Path(row["target"]), painted)
        except (PictureError, NotFinite, ValueError, OSError) as error:
            return row | {"error": str(error)}
        return row | {"error": ""}


def find_pictures(photos: Path, output: Path) -> list[dict[str, str]]:
    """Return source and target of every picture that is not painted yet.

    Raises PictureError if the folder holds no pictures.
    """
    from duostyle import PictureError
    from duostyle.io.images import list_pictures

    files = list_pictures(photos)
    if not files:
        raise PictureError(f"{photos}: no pictures in this folder")
    rows = []
    for file in files:
        target = output / file.relative_to(photos)
        target = target.with_name(target.name + SUFFIX)  # a.jpg and a.png have two results
        if not target.exists():
            rows.append({"source": str(file), "target": str(target)})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 1 if a picture failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of pictures, flat or nested")
    parser.add_argument("output", type=Path, help="folder of the results")
    parser.add_argument("--checkpoint", default="composition_vii-starry_night", help="name or file")
    parser.add_argument("--alpha", type=float, default=0.0, help="0 to 1 (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument(
        "--cores", type=int, default=1, help="CPU cores of each worker (default: %(default)s)"
    )
    parser.add_argument(
        "--gpus", type=float, default=0.0, help="GPUs of each worker (default: %(default)s)"
    )
    parser.add_argument(
        "--address", help="address of a Ray cluster: auto, or HOST:PORT (default: local)"
    )
    args = parser.parse_args(argv)
    try:
        import ray
    except ImportError:
        print("stylize_folder_ray: Ray is not installed; pip install 'ray[data]'", file=sys.stderr)
        return 2
    from duostyle import PictureError

    try:
        rows = find_pictures(args.photos.resolve(), args.output.resolve())
    except (PictureError, OSError) as error:
        print(f"stylize_folder_ray: {error}", file=sys.stderr)
        return 2
    if not rows:
        print("0 pictures painted: all of them are done")
        return 0
    if not ray.is_initialized():
        ray.init(args.address, log_to_driver=False)
    device = "cuda" if args.gpus else "cpu"
    painted = ray.data.from_items(rows, override_num_blocks=min(len(rows), 4 * args.workers)).map(
        PicturePainter,
        fn_constructor_args=(args.checkpoint, args.alpha, device, args.cores),
        concurrency=args.workers,
        num_cpus=args.cores,
        num_gpus=args.gpus,
    )
    failed = 0
    for row in painted.iter_rows():
        if row["error"]:
            failed += 1
            print(f"stylize_folder_ray: {row['error']}", file=sys.stderr)
    print(f"{len(rows) - failed} pictures painted into {args.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
