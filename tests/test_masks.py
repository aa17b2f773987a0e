"""Labels: classes, index images, and DeepLab behind one interface."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from duostyle.data.masks import (
    VOC_CLASSES,
    foreground_classes,
    foreground_mask,
    load_segmenter,
    make_labels,
    read_labels,
    segment,
)
from duostyle.io.images import PictureError, read_picture
from tests.conftest import ROOT


def test_classes_by_name() -> None:
    assert foreground_classes(None) == foreground_classes("") == tuple(range(1, 21))
    assert foreground_classes("person, dog") == (15, 12)
    assert len(VOC_CLASSES) == 21 and VOC_CLASSES[15] == "person"
    for bad in ("zebra", "background"):
        with pytest.raises(ValueError, match=f"no class '{bad}'; known are aeroplane"):
            foreground_classes(bad)


def test_foreground_mask() -> None:
    labels = torch.tensor([[0, 15, 12, 255]], dtype=torch.uint8)
    assert foreground_mask(labels, (15,)).tolist() == [[0, 1, 0, 0]]
    assert foreground_mask(labels, range(1, 21)).tolist() == [[0, 1, 1, 0]]


def test_onnx_labels_are_made_once_and_read_back(brightness_model: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:, 30:] = 255
    Image.fromarray(pixels).save(photo)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    jobs = [(photo, tmp_path / "l" / "photo.png"), (tmp_path / "bad.png", tmp_path / "l/bad.png")]
    assert make_labels(jobs, str(brightness_model)) == 1
    labels = read_labels(tmp_path / "l" / "photo.png")
    assert labels.shape == (1, 40, 60)
    assert labels[0, :, :28].unique().tolist() == [0]
    assert labels[0, :, 32:].unique().tolist() == [15]
    assert make_labels(jobs[:1], "this name is not even looked at") == 0


def test_bad_labels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "label.png"
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(PictureError, match="8-bit index images, not RGB"):
        read_labels(path)
    Image.new("L", (8, 8), 77).save(path)
    with pytest.raises(PictureError, match="beyond PASCAL VOC's 21 classes"):
        read_labels(path)
    with pytest.raises(PictureError, match=r"none\.png: no such file"):
        read_labels(tmp_path / "none.png")
    path.write_bytes(b"no label")
    with pytest.raises(PictureError, match=r"label\.png: not a readable picture"):
        read_labels(path)


def test_unknown_segmenters_are_named(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"junk\.onnx: not a usable ONNX model"):
        load_segmenter(str(tmp_path / "junk.onnx"))
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such segmentation model"):
        load_segmenter(str(tmp_path / "none.onnx"))
    with pytest.raises(ValueError, match="no segmentation model 'unet'; known are deeplabv3"):
        load_segmenter("unet")


def test_torchvision_deeplab_is_run_with_its_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import segmentation

    def untrained(url: str, **options: object) -> dict[str, torch.Tensor]:
        assert "deeplabv3_mobilenet_v3_large" in url
        assert options["weights_only"] and options["check_hash"]  # nothing is unpickled
        torch.manual_seed(0)
        build = segmentation.deeplabv3_mobilenet_v3_large
        return build(weights=None, weights_backbone=None, aux_loss=True).state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", untrained)
    labels = segment(torch.rand(1, 3, 40, 64), load_segmenter("deeplabv3_mobilenet_v3_large"))
    assert labels.shape == (1, 1, 40, 64) and labels.dtype == torch.uint8
    assert labels.max() < 21


def test_deeplab_finds_the_astronaut_again(shared: Path, astronaut: Path) -> None:
    segmenter = load_segmenter(str(shared / "weights" / "deeplabv3_mobilenetv2_voc21.onnx"))
    found = segment(read_picture(astronaut).pixels[None], segmenter)[0] == 15
    bundled = read_labels(ROOT / "assets" / "labels" / "astronaut.png") == 15
    assert (found & bundled).sum() / (found | bundled).sum() > 0.97
