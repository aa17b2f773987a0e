"""The stream of training samples: what it holds, that it can be taken up anywhere."""

from pathlib import Path

import datasets
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from duostyle.data.hub import fetch_hub_photos
from duostyle.data.photos import PhotoDataset, PositionSampler, Sampling, find_labels, sample_seeds
from duostyle.io.images import PictureError
from tests.test_files import full_disk


def make(folders: tuple[Path, Path], **changes) -> PhotoDataset:
    options = {
        "photo_size": 64,
        "photo_share": 0.5,
        "crop_size": 32,
        "late_crop_size": 48,
        "late_from": 100,
        "crop_zoom": 2.0,
        "empty_prob": 0.0,
        "swap_prob": 0.0,
        "alpha_low": 0.0,
        "alpha_high": 1.0,
        "alpha_ends": 0.25,
        "seed": 3,
    }
    return PhotoDataset(find_labels(*folders), (15,), Sampling(**(options | changes)))


def test_sample(photo_folder: tuple[Path, Path]) -> None:
    dataset = make(photo_folder)
    sample = dataset[0]
    assert sample.photo.shape == (3, 64, 64) and sample.photo_mask.shape == (1, 64, 64)
    assert sample.crop.shape == (3, 32, 32) and sample.crop_mask.shape == (1, 32, 32)
    assert dataset[100].crop.shape == (3, 48, 48)
    for tensor in sample[:-2]:
        assert type(tensor) is torch.Tensor
        assert tensor.min() >= 0 and tensor.max() <= 1
    assert set(sample.photo_mask.unique().tolist()) <= {0.0, 1.0}
    assert sample.skipped == ""


def test_a_photograph_can_be_shown_as_a_whole(tmp_path: Path) -> None:
    for kind in ("photos", "labels"):
        (tmp_path / kind).mkdir()
    ramp = torch.linspace(0, 255, 64).round().byte().expand(64, 64).numpy()
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "photos" / "a.png")
    Image.fromarray(ramp // 255 * 15).save(tmp_path / "labels" / "a.png")
    dataset = make((tmp_path / "photos", tmp_path / "labels"), photo_share=1)
    expected = torch.from_numpy(ramp / 255).float().expand(3, -1, -1)
    for position in range(10):
        photo = dataset[position].photo
        mirrored = photo[0, 0, 0] > photo[0, 0, -1]
        torch.testing.assert_close(photo, expected.flip(-1) if mirrored else expected)


def test_of_a_wide_photograph_the_largest_5_to_4_crop_is_shown(tmp_path: Path) -> None:
    for kind in ("photos", "labels"):
        (tmp_path / kind).mkdir()
    ramp = torch.arange(128, dtype=torch.uint8).expand(64, 128).numpy()
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "photos" / "a.png")
    Image.fromarray(ramp // 127 * 15).save(tmp_path / "labels" / "a.png")
    photo = make((tmp_path / "photos", tmp_path / "labels"), photo_share=1)[0].photo
    row = 255 * photo[0, 0].sort().values  # 80 of 128 columns, from 24 on, resized to 64
    inner = torch.arange(64)[1:-1]
    torch.testing.assert_close(row[1:-1], 24 + (inner + 0.5) * 1.25 - 0.5, atol=0.1, rtol=0)


def test_a_crop_need_not_be_enlarged(tmp_path: Path) -> None:
    for kind in ("photos", "labels"):
        (tmp_path / kind).mkdir()
    ramp = torch.arange(64).byte().expand(64, 64).numpy()
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "photos" / "a.png")
    Image.fromarray(ramp * 0).save(tmp_path / "labels" / "a.png")
    folders = (tmp_path / "photos", tmp_path / "labels")
    steps = {}  # of the ramp from pixel to pixel: 1 as photographed, less where it is enlarged
    for zoom in (1.0, 2.0):
        dataset = make(folders, photo_share=1, crop_zoom=zoom)
        crops = torch.stack([dataset[position].crop for position in range(20)])
        steps[zoom] = 255 * (crops[..., 24] - crops[..., 8]).abs().mean(dim=(1, 2)) / 16
    assert steps[1.0].min() > 0.99
    assert 0.49 < steps[2.0].min() < 0.99


def test_picture_and_label_move_together(tmp_path: Path) -> None:
    # A white square labeled person: after any crop and flip the mask is where it is white.
    for kind in ("photos", "labels"):
        (tmp_path / kind).mkdir()
    photo, label = Image.new("RGB", (96, 80)), Image.new("L", (96, 80))
    photo.paste((255, 255, 255), (20, 10, 60, 50))
    label.paste(15, (20, 10, 60, 50))
    photo.save(tmp_path / "photos" / "a.png")
    label.save(tmp_path / "labels" / "a.png")
    dataset = make((tmp_path / "photos", tmp_path / "labels"))
    for position in range(10):
        sample = dataset[position]
        for picture, mask in ((sample.photo, sample.photo_mask), (sample.crop, sample.crop_mask)):
            agree = ((picture.mean(dim=0) > 0.5) == (mask[0] > 0.5)).float().mean()
            assert agree > 0.9


def test_a_position_is_always_the_same_sample(photo_folder: tuple[Path, Path]) -> None:
    first, second = make(photo_folder), make(photo_folder)
    torch.manual_seed(99)
    for position in (0, 7, 123):
        one, two = first[position], second[position]
        assert all(torch.equal(a, b) for a, b in zip(one[:-1], two[:-1], strict=True))
    assert not torch.equal(first[0].photo, first[1].photo)
    assert not torch.equal(first[0].photo, make(photo_folder, seed=4)[0].photo)


def test_seeds_are_fixed_and_differ_by_seed_and_position() -> None:
    # Known numbers: they must not depend on the process, the platform or the Python version.
    assert sample_seeds(0, 0) == (2968811710, 3677149159)
    drawn = {sample_seeds(seed, position) for seed in range(5) for position in range(200)}
    assert len({number for pair in drawn for number in pair}) == 2000


def test_reading_leaves_the_random_state_alone(photo_folder: tuple[Path, Path]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make(photo_folder)[0]
    assert torch.equal(torch.rand(3), expected)


def test_alpha_has_its_ends(photo_folder: tuple[Path, Path]) -> None:
    dataset = make(photo_folder)
    alphas = torch.stack([dataset[n].alpha for n in range(200)])
    assert 0.15 < (alphas == 0).float().mean() < 0.35
    assert 0.15 < (alphas == 1).float().mean() < 0.35
    between = alphas[(alphas > 0) & (alphas < 1)]
    assert between.min() < 0.2 and between.max() > 0.8


def test_regions_are_swapped_for_stylization_alone(photo_folder: tuple[Path, Path]) -> None:
    plain, turned = make(photo_folder), make(photo_folder, swap_prob=1.0)
    for number in range(4):
        one, two = plain[number], turned[number]
        assert torch.equal(one.crop, two.crop) and torch.equal(one.photo_mask, two.photo_mask)
        assert torch.equal(one.crop_mask, 1 - two.crop_mask)
    some = make(photo_folder, swap_prob=0.5)
    same = [torch.equal(some[n].crop_mask, plain[n].crop_mask) for n in range(40)]
    assert 8 < sum(same) < 32


def test_alpha_keeps_to_its_range(photo_folder: tuple[Path, Path]) -> None:
    dataset = make(photo_folder, alpha_low=0.4, alpha_high=0.6)
    alphas = torch.stack([dataset[n].alpha for n in range(60)])
    assert alphas.min() == pytest.approx(0.4) and alphas.max() == pytest.approx(0.6)
    assert ((alphas > 0.41) & (alphas < 0.59)).any()
    alone = make(photo_folder, alpha_low=0.5, alpha_high=0.5)
    assert {alone[n].alpha.item() for n in range(20)} == {0.5}


def test_share_of_photographs_without_foreground(photo_folder: tuple[Path, Path]) -> None:
    assert len(make(photo_folder).full) == 5 and len(make(photo_folder).empty) == 1
    always = make(photo_folder, empty_prob=1.0)
    assert all(always[n].photo_mask.max() == 0 for n in range(10))


def test_corrupt_tiny_and_gray_photographs(photo_folder: tuple[Path, Path]) -> None:
    photos, labels = photo_folder
    (photos / "1.png").write_bytes(b"corrupt")
    Image.new("RGB", (20, 20)).save(photos / "2.png")
    Image.new("L", (90, 70), 128).save(photos / "3.png")  # gray is welcome
    (labels / "4.png").unlink()
    dataset = make(photo_folder)
    samples = [dataset[n] for n in range(40)]
    notes = {line for s in samples for line in s.skipped.splitlines()}
    assert any("1.png: not a readable picture" in note for note in notes)
    assert any("2.png: smaller than 64 pixels" in note for note in notes)
    assert len(notes) == 2
    assert any("4.png" in why for why in dataset.skipped.values())
    assert any(torch.allclose(s.photo, torch.tensor(128 / 255)) for s in samples)


def test_nothing_usable_ends_in_one_line(photo_folder: tuple[Path, Path]) -> None:
    dataset = make(photo_folder)
    for path in photo_folder[0].iterdir():
        path.write_bytes(b"corrupt")
    with pytest.raises(PictureError, match="in a row cannot be used"):
        dataset[0]


def test_positions_of_two_processes_make_the_joint_batch() -> None:
    joint = list(PositionSampler(8, 24, 8))
    parts = [list(PositionSampler(8, 24, 8, rank, 2)) for rank in range(2)]
    assert joint == list(range(8, 24))
    assert parts[0] == [8, 9, 10, 11, 16, 17, 18, 19]
    assert sorted(parts[0] + parts[1]) == joint
    assert len(PositionSampler(8, 24, 8, 1, 2)) == 8


def test_every_worker_gets_data(photo_folder: tuple[Path, Path]) -> None:
    dataset = make(photo_folder)
    sampler = PositionSampler(0, 12, 4)
    alone = list(DataLoader(dataset, 4, sampler=sampler))
    shared_out = list(DataLoader(dataset, 4, sampler=sampler, num_workers=2))
    assert len(alone) == len(shared_out) == 3
    for one, two in zip(alone, shared_out, strict=True):
        assert torch.equal(one.photo, two.photo) and torch.equal(one.alpha, two.alpha)


def test_photographs_from_a_dataset_of_the_hub_kind(tmp_path: Path) -> None:
    # A local parquet dataset with detection-like columns, read as the hub's would be.
    images = [Image.effect_noise((700, 600), 80).convert("RGB") for _ in range(3)]
    features = datasets.Features({"image_id": datasets.Value("int64"), "image": datasets.Image()})
    table = datasets.Dataset.from_dict({"image_id": [1, 2, 3], "image": images}, features=features)
    source = tmp_path / "coco"
    (source / "data").mkdir(parents=True)
    table.to_parquet(source / "data" / "train-00000-of-00001.parquet")
    folder = fetch_hub_photos(str(source), tmp_path / "kept", count=2, seed=0)
    kept = sorted(folder.glob("*.jpg"))
    assert len(kept) == 2
    with Image.open(kept[0]) as image:
        assert image.size == (597, 512)
    before = [path.stat().st_mtime_ns for path in kept]
    fetch_hub_photos("nobody/asks-the-hub-again", folder, count=2, seed=0)
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_a_hub_out_of_reach_is_one_line(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    says = r"a/b: cannot be read from the hub \(no route\); use --photos FOLDER"
    with pytest.raises(OSError, match=says):
        fetch_hub_photos("a/b", tmp_path / "x", 1, 0)


def test_labels_of_a_turned_photograph_are_noticed(tmp_path: Path) -> None:
    for kind in ("photos", "labels"):
        (tmp_path / kind).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.effect_noise((120, 80), 80).convert("RGB")
    noise.save(tmp_path / "photos" / "a.jpg", exif=exif)  # 80x120 to see
    Image.new("L", (120, 80), 15).save(tmp_path / "labels" / "a.png")  # made before it was turned
    with pytest.raises(PictureError, match=r"a\.png: not rotated like its photograph"):
        make((tmp_path / "photos", tmp_path / "labels"))[0]
    Image.new("L", (40, 60), 15).save(tmp_path / "labels" / "a.png")  # smaller, and upright
    assert make((tmp_path / "photos", tmp_path / "labels"))[0].photo_mask.min() == 1


def test_workers_can_be_spawned(photo_folder: tuple[Path, Path]) -> None:
    # As on Windows and macOS, where nothing is inherited.
    from duostyle.training.data import ignore_signals

    dataset = make(photo_folder)
    loader = DataLoader(
        dataset,
        4,
        sampler=PositionSampler(0, 4, 4),
        num_workers=1,
        multiprocessing_context="spawn",
        worker_init_fn=ignore_signals,
    )
    (batch,) = loader
    alone = next(iter(DataLoader(dataset, 4, sampler=PositionSampler(0, 4, 4))))
    assert torch.equal(batch.photo, alone.photo)


def test_workers_pass_over_interrupts_without_process_groups(monkeypatch) -> None:
    import signal

    from duostyle.training.data import ignore_signals

    heard = {}
    monkeypatch.delattr("os.setpgrp")
    monkeypatch.setattr(signal, "signal", lambda number, handler: heard.update({number: handler}))
    ignore_signals(0)
    assert heard == {signal.SIGINT: signal.SIG_IGN}


def test_a_full_disk_is_no_corrupt_photograph(tmp_path: Path, monkeypatch) -> None:
    from duostyle.data import hub

    raw = tmp_path / "a.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(raw)
    monkeypatch.setattr(hub, "_stream_images", lambda *_: iter([b"corrupt", raw.read_bytes()]))
    with full_disk(50), pytest.raises(PictureError, match=r"\.jpg: cannot be written"):
        fetch_hub_photos("a/b", tmp_path / "kept", 1, 0)
    assert not list((tmp_path / "kept").iterdir())
    assert fetch_hub_photos("a/b", tmp_path / "kept", 1, 0)
    assert len(list((tmp_path / "kept").glob("*.jpg"))) == 1
