"""Segmentation labels: made once by DeepLab-V3, stored as index PNGs, turned into masks."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from duostyle.constants import IMAGENET_MEAN, IMAGENET_STD
from duostyle.io.images import PictureError, open_picture, read_picture, save_image
from duostyle.io.pixels import long_side, resize
from duostyle.progress import progress

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
IGNORE = 255
DEEPLAB_SIDE = 513  # long side of DeepLab's input, as in its training, pixels

# (1, 3, H, W) in [0, 1] -> logits (1, 21, H, W)
Segmenter = Callable[[Tensor], Tensor]
# (1, 3, H, W) in [0, 1] -> VOC labels (1, 1, H, W), uint8
Labeler = Callable[[Tensor], Tensor]


def foreground_classes(names: str | None) -> tuple[int, ...]:
    """Return VOC class indices from names such as `person,dog`; None: all but background.

    Raises ValueError for an unknown name.
    """
    wanted = [name.strip() for name in (names or "").split(",") if name.strip()]
    unknown = [name for name in wanted if name not in VOC_CLASSES[1:]]
    if unknown:
        raise ValueError(f"no class '{unknown[0]}'; known are {', '.join(VOC_CLASSES[1:])}")
    return tuple(VOC_CLASSES.index(name) for name in wanted) or tuple(range(1, len(VOC_CLASSES)))


def foreground_mask(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return 1.0 where a label is one of `classes`, else 0.0, in the shape of `labels`."""
    return torch.isin(labels, torch.as_tensor(classes, dtype=labels.dtype)).float()


def read_labels(path: Path) -> Tensor:
    """Read an index PNG as `(1, H, W)` uint8. Raises PictureError if it is not one."""
    with open_picture(path) as image:
        if image.mode not in ("L", "P"):
            raise PictureError(f"{path}: labels must be 8-bit index images, not {image.mode}")
        labels = torch.from_numpy(np.array(image))[None]
    if ((labels >= len(VOC_CLASSES)) & (labels != IGNORE)).any():
        raise PictureError(f"{path}: holds indices beyond PASCAL VOC's 21 classes")
    return labels


def load_segmenter(name: str, device: str = "cpu") -> Segmenter:
    """Load DeepLab-V3 by torchvision's name, or an ONNX file.

    An ONNX file takes `image` (B, 3, H, W), RGB in [0, 1], and returns `logits` (B, 21, H, W).
    Raises FileNotFoundError or ValueError for an unusable file, OSError if torchvision's weights
    cannot be downloaded.
    """
    return _onnx_segmenter(Path(name)) if name.endswith(".onnx") else _hub_segmenter(name, device)


def _onnx_segmenter(path: Path) -> Segmenter:
    import onnxruntime

    if not path.exists():
        raise FileNotFoundError(f"{path}: no such segmentation model")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a usable ONNX model ({reason})") from error
    return lambda picture: torch.from_numpy(session.run(None, {"image": picture.numpy()})[0])


def _hub_segmenter(name: str, device: str) -> Segmenter:
    from torchvision.models import segmentation
    from torchvision.transforms.v2.functional import normalize

    builders = {
        "deeplabv3_resnet101": (
            segmentation.deeplabv3_resnet101,
            segmentation.DeepLabV3_ResNet101_Weights.DEFAULT,
        ),
        "deeplabv3_mobilenet_v3_large": (
            segmentation.deeplabv3_mobilenet_v3_large,
            segmentation.DeepLabV3_MobileNet_V3_Large_Weights.DEFAULT,
        ),
    }
    if name not in builders:
        raise ValueError(f"no segmentation model '{name}'; known are {', '.join(builders)}, *.onnx")
    try:
        build, weights = builders[name]
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise OSError(
            f"{name}: weights cannot be downloaded ({error}); "
            "use --labels learned (with --init), --labels FOLDER with existing labels, or "
            "--segmenter FILE.onnx"
        ) from error

    network = build(weights=None, weights_backbone=None, aux_loss=True)
    network.load_state_dict(state)
    network = network.eval().to(device)

    @torch.inference_mode()
    def segment(picture: Tensor) -> Tensor:
        x = normalize(picture, list(IMAGENET_MEAN), list(IMAGENET_STD))
        return network(x.to(device))["out"].cpu()

    return segment


def _deeplab(model: str, device: str) -> Labeler:
    segmenter = load_segmenter(model, device)
    return lambda picture: segment(picture, segmenter)


def segment(picture: Tensor, segmenter: Segmenter) -> Tensor:
    """Return the VOC labels of a picture `(1, 3, H, W)` in [0, 1], `(1, 1, H, W)` uint8.

    The picture is resized to DEEPLAB_SIDE first, small ones too.
    """
    height, width = picture.shape[-2:]
    resized = resize(picture, long_side((height, width), DEEPLAB_SIDE))
    logits = segmenter(resized.contiguous())
    logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return logits.argmax(dim=1, keepdim=True).to(torch.uint8)


def make_labels(
    files: Iterable[tuple[Path, Path]],
    model: str | Callable[[], Labeler],
    device: str = "cpu",
) -> int:
    """Make the missing labels of (photograph, label) files; return how many were made.

    `model`: as of `load_segmenter`, or a function that returns a labeler; it is called
    when the first label is missing. An unreadable photograph gets no label. Raises as
    `load_segmenter` does.
    """
    missing = [(photo, label) for photo, label in files if not label.exists()]
    labeler: Labeler | None = None
    made = 0
    for photo, label in progress(missing, name="labels", unit="photo", announce=bool(missing)):
        try:
            picture = read_picture(photo)
        except PictureError:
            continue
        if labeler is None:
            labeler = _deeplab(model, device) if isinstance(model, str) else model()
        labels = labeler(picture.pixels[None])
        save_image(label, Image.fromarray(labels[0, 0].numpy()))
        made += 1
    return made
