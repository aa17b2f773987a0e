"""`duostyle train A.jpg B.jpg`: one command from two paintings to a pair, also offline."""

import hashlib
import json
import math
import re
import shutil
import signal
import socket
from dataclasses import fields
from itertools import chain
from pathlib import Path

import datasets
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from duostyle.cli import train
from duostyle.data import bundled
from duostyle.data.masks import read_labels
from duostyle.data.photos import Entry
from duostyle.io.images import read_picture, read_style
from duostyle.io.pixels import tensor_to_pil
from duostyle.losses import Objective, ObjectiveWeights, PerceptualNetwork
from duostyle.losses.objective import compute_grams
from duostyle.losses.terms import palette
from duostyle.models import (
    ConditionalNorm,
    StyleNetwork,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from duostyle.training import TrainConfig, Trainer, data, initialization, new_styles, preview
from duostyle.training.settings import flag, load_settings, sections
from tests.conftest import ROOT
from tests.test_train import backbone_file, command, parallel  # noqa: F401

STYLES = ROOT / "assets" / "styles"
FIRST, SECOND = str(STYLES / "straw_hat.jpg"), str(STYLES / "cypresses.jpg")
RECIPES = ROOT / "duostyle" / "training" / "recipes"


class Clock:
    """Six seconds for every step, and none between them.

    The trainer reads it when it is built and when the training begins, and then at the beginning
    and at the end of every step.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        return 6.0 * (self.calls // 2)


@pytest.fixture
def offline(monkeypatch, tmp_path: Path) -> None:
    """No network, and an empty cache."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("offline")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("DUOSTYLE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pair_command(random_vgg: Path, tmp_path: Path):
    """The command line of a short run for two paintings from the small foundation."""

    def build(output: str, *more: str) -> list[str]:
        run = ["--output", str(tmp_path / output), "--vgg-weights", str(random_vgg)]
        sizes = ["--photo-size", "112", "--crop-size", "64", "--late-crop-size", "64"]
        rest = ["--style-size", "64", "--workers", "0", "--device", "cpu", "--precision", "fp32"]
        pair = [FIRST, SECOND, "--size", "small", "--photos", "bundled"]
        return [*pair, *run, *sizes, *rest, "--log-steps", "1", *more]

    return build


# Arguments


@pytest.mark.parametrize(
    ("more", "recipe", "run"),
    [
        ([], "pair.json", "straw_hat-cypresses"),
        (["--size", "base"], "pair.json", "straw_hat-cypresses"),
        (["--size", "small"], "small.json", "straw_hat-cypresses-small"),
    ],
)
def test_two_paintings_take_the_recipe(more: list[str], recipe: str, run: str) -> None:
    config, resume, dry_run, source = train.parse_arguments([FIRST, *more, SECOND])
    expected = load_settings(RECIPES / recipe)
    different = {f.name for f in fields(TrainConfig)
                 if getattr(config, f.name) != getattr(expected, f.name)}  # fmt: skip
    assert different == {"foreground_style", "background_style", "output"}
    assert (config.foreground_style, config.background_style) == (FIRST, SECOND)
    assert config.init.startswith("foundation") and config.contrast
    assert Path(config.output) == Path("runs") / run
    assert not resume and not dry_run and source is None


def test_from_nothing_the_defaults_stay() -> None:
    config, *_ = train.parse_arguments([FIRST, SECOND, "--init", "none", "--output", "x"])
    expected = TrainConfig(foreground_style=FIRST, background_style=SECOND, output="x")
    assert config == expected and config.init is None and not config.contrast


def test_options_override_the_recipe_and_settings_replace_it(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"steps": 7, "minutes": 3, "foreground_style": "other.jpg"}))
    config, *_ = train.parse_arguments([FIRST, "--steps", "5", SECOND, "--init", "udnie"])
    assert (config.steps, config.init, config.start_share) == (5, "udnie", 0.7)
    config, *_ = train.parse_arguments([FIRST, SECOND, "--settings", str(file)])
    assert (config.foreground_style, config.minutes, config.init) == (FIRST, 3, None)
    config, *_ = train.parse_arguments([FIRST, SECOND, "--settings", str(file), "--steps", "9"])
    assert (config.steps, config.minutes) == (9, None)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([FIRST], "1 painting: name two"),
        ([FIRST, SECOND, FIRST], "3 paintings: name two"),
        ([FIRST, SECOND, "--resume", "runs/x"], "--resume runs/x: the run knows its paintings"),
        ([FIRST, SECOND, "--foreground-style", FIRST], "--foreground-style and two paintings"),
        ([FIRST, SECOND, "--styles", FIRST], "--styles and two paintings exclude each other"),
        ([FIRST, SECOND, "--steps", "3", "--minutes", "1"], "--minutes and --steps exclude"),
        ([FIRST, SECOND, "--minutes", "0"], "--minutes must be above 0"),
        ([FIRST, "none.jpg"], "none.jpg: no such file (style image)"),
        ([FIRST, SECOND, "--preview", "none.jpg"], "none.jpg: no such file (--preview)"),
        ([FIRST, SECOND, "--preview", str(ROOT / "LICENSE"), "--photos", "bundled"], "LICENSE"),
        ([FIRST, SECOND, "--init", "none", "--labels", "learned"], "--labels learned needs --init"),
        (["--styles", f"{FIRST},{SECOND}", "--contrast"], "--contrast is for a pair"),
    ],
)
def test_what_is_wrong_is_one_line(argv: list[str], says: str, tmp_path: Path, capsys) -> None:
    run = [] if "--resume" in argv else ["--output", str(tmp_path / "run")]
    assert train.main([*argv, *run]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and says in lines[0]


@pytest.mark.parametrize("argv", [["--steps", "many"], ["--nonsense"], ["--minutes"]])
def test_errors_of_the_parser_are_one_line(argv: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as end:
        train.main([FIRST, SECOND, *argv])
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1 and argv[0] in lines[0]
    assert lines[0].endswith("see duostyle train --help")


def test_help_begins_with_the_ten_options_and_lists_every_setting_once(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        train.main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    flags = re.findall(r"^  (--[a-z-]+|PAINTING)", text, re.MULTILINE)
    ten = ["PAINTING", "--output", "--size", "--minutes", "--steps", "--photos", "--preview",
           "--init", "--device", "--resume"]  # fmt: skip
    assert flags[:10] == ten
    assert sorted(flags[10:]) == sorted(
        {flag(f.name) for f in fields(TrainConfig)} - set(ten) | {"--settings", "--dry-run"}
    )
    assert list(chain(*sections().values())) == list(fields(TrainConfig))
    assert "(default: 40000; pair: 60)" in " ".join(text.split())


# The whole way


def test_one_command_makes_a_pair_offline(pair_command, offline, tmp_path: Path, capsys) -> None:
    photo = bundled.ASSETS / "photos" / "camera.jpg"
    assert train.main(pair_command("run", "--steps", "2", "--preview", str(photo))) == 0
    folder, printed = tmp_path / "run", capsys.readouterr().out
    assert f"preview: {folder / 'preview.jpg'}, every 1 min\n" in printed
    assert f"curves: tensorboard --logdir {folder}\n" in printed
    assert f"sheet: {folder / 'sheet.jpg'}\n" in printed
    model = folder / "model.safetensors"
    assert printed.endswith(f"next: duostyle paint {photo} --checkpoint {model}\n")
    assert len(printed.splitlines()) == 6 and "crop_zoom" not in printed
    assert json.loads((folder / "config.json").read_text())["crop_zoom"] == 1.3
    header = read_header(model)
    assert [style["name"] for style in header["styles"]] == ["straw_hat", "cypresses"]
    assert header["pictures_seen"] == 4 and set(header["contrast"]) == {"factor", "offset"}
    with Image.open(folder / "preview.jpg") as image:
        assert image.height == 300 + 30 + 2 * 12  # one row
    # The labels are the foundation's own masks.
    labels = sorted((tmp_path / "cache" / "labels").glob("*/*.png"))
    photos = sorted((tmp_path / "cache" / "photos" / "bundled").iterdir())
    assert [path.stem for path in labels] == [path.stem for path in photos]
    assert {int(v) for path in labels for v in read_labels(path).unique()} <= {0, 1}


def test_contrast_is_the_same_weights_with_scale_and_offset(
    pair_command, offline, tmp_path: Path
) -> None:
    short = ["--steps", "1", "--warmup", "0", "--preview-minutes", "0"]
    assert train.main(pair_command("with", *short)) == 0
    assert train.main(pair_command("without", *short, "--no-contrast")) == 0
    paths = [tmp_path / name / "model.safetensors" for name in ("with", "without")]
    found = read_header(paths[0])["contrast"]
    assert "contrast" not in read_header(paths[1])
    one, two = (load_checkpoint(path).state_dict() for path in paths)
    for name, value in one.items():
        expected = two[name]
        if name.endswith("to_rgb.style.scale"):
            expected = expected * found["factor"]
        if name.endswith("to_rgb.style.shift"):
            expected = expected + found["offset"]
        torch.testing.assert_close(value, expected, atol=2e-3, rtol=2e-3)
    assert not (tmp_path / "with" / "sheet.jpg").exists()


def test_a_hub_out_of_reach_names_both_ways(
    pair_command, offline, tmp_path: Path, monkeypatch, capsys
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto the host")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    argv = pair_command("run", "--steps", "1", "--photos", "user/photos")
    assert train.main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("duostyle train")] == [
        "duostyle train: user/photos: cannot be read from the hub (no route); use --photos FOLDER "
        "with photographs of your own, or --photos bundled"
    ]


# Minutes


def learning_rates(run: Path) -> list[float]:
    events = EventAccumulator(str(run)).Reload()
    return [event.value for event in events.Scalars("run/learning_rate")]


def seconds(run: Path) -> float:
    with safe_open(run / "state.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["progress"])["seconds"]


def minutes_command(command, output: str, **changes: object) -> list[str]:  # noqa: F811
    argv = command(output, log_steps=1, minutes=1, learning_rate=0.01, final_rate=0.1, **changes)
    place = argv.index("--steps")
    return argv[:place] + argv[place + 2 :]


def rate(share: float) -> float:
    """The learning rate after the warm-up at a share of the time."""
    return 0.01 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))


def test_minutes_end_in_time_at_the_final_rate(command, tmp_path: Path, capsys) -> None:  # noqa: F811
    assert train.main(minutes_command(command, "run"), Clock()) == 0
    run = tmp_path / "run"
    assert seconds(run) == 60
    assert read_header(run / "model.safetensors")["pictures_seen"] == 10 * 4
    expected = [0.005] + [rate(step / 10) for step in range(2, 11)]  # two steps of warm-up
    assert learning_rates(run) == pytest.approx(expected, rel=1e-5)
    assert expected[-1] == pytest.approx(0.001)
    printed = capsys.readouterr()
    assert "step 5, 0.5/1 min" in printed.err and "trained on 40 pictures in 1.0 min" in printed.out
    assert sorted(p.name for p in (run / "pictures").iterdir()) == ["000001.png", "000010.png"]


def test_minutes_stopped_early_leave_a_pair_and_resume_goes_on(
    command,  # noqa: F811
    tmp_path: Path,
    monkeypatch,
    capsys,
) -> None:
    calls = []

    def stop_after_four(stop, device: str) -> None:
        calls.append(device)
        stop.number = signal.SIGTERM if len(calls) == 4 else stop.number

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(train, "share_signal", stop_after_four)
        argv = [*minutes_command(command, "run"), "--contrast"]
        assert train.main(argv, Clock()) == 128 + signal.SIGTERM
    assert seconds(run) == 24 and "contrast" in read_header(run / "model.safetensors")
    assert "stopped at step 4; continue with: duostyle train --resume" in capsys.readouterr().out
    assert train.main(["--resume", str(run)], Clock()) == 0
    assert seconds(run) == 60 and "contrast" in read_header(run / "model.safetensors")
    assert learning_rates(run)[4:] == pytest.approx([rate(n / 10) for n in range(5, 11)], rel=1e-5)
    capsys.readouterr()
    assert train.main(["--resume", str(run)], Clock()) == 0
    assert "nothing was left to train; go on with --minutes 2" in capsys.readouterr().out
    assert train.main(["--resume", str(run), "--minutes", "1.5"], Clock()) == 0
    assert seconds(run) == 90
    assert learning_rates(run)[10:] == pytest.approx(
        [rate(n / 15) for n in range(11, 16)], rel=1e-5
    )
    assert read_header(run / "model.safetensors")["pictures_seen"] == 15 * 4


def test_late_crops_come_at_the_end_of_the_time(command, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    built, build_loader = [], data.build_loader

    def spy(config, entries, step, pictures, rank, world_size, late):
        built.append((step, late))
        return build_loader(config, entries, step, pictures, rank, world_size, late)

    monkeypatch.setattr(data, "build_loader", spy)
    assert train.main(minutes_command(command, "run", late_share=0.3), Clock()) == 0
    assert built == [(0, False), (7, True)]
    config, *_ = train.parse_arguments(
        minutes_command(command, "x", crop_size=32, late_crop_size=48)
    )
    entries = data.prepare_data(config, "cpu")
    for late, side in ((False, 32), (True, 48)):
        loader, _ = build_loader(config, entries, late=late)
        assert next(iter(loader)).crop.shape[-1] == side + 2 * config.context


def test_two_processes_go_by_one_clock(command, tmp_path: Path) -> None:  # noqa: F811
    argv = minutes_command(command, "run")
    argv[argv.index("--minutes") + 1] = "0.00001"  # less than one step, which is always taken
    done = parallel([*argv, "--accumulate", "1"])
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trained on 4 pictures in" in done.stdout
    assert read_header(tmp_path / "run" / "model.safetensors")["pictures_seen"] == 4


# Previews


def test_previews_come_every_minute_and_show_the_averaged_weights(
    command,  # noqa: F811
    tmp_path: Path,
    monkeypatch,
    capsys,
) -> None:
    photo = tmp_path / "mine and yours.png"
    Image.linear_gradient("L").resize((900, 450)).convert("RGB").save(photo)
    painted, paint = [], preview.Preview.paint

    def spy(self, network: StyleNetwork, seconds: float) -> None:
        paint(self, network, seconds)
        painted.append(seconds)
        with Image.open(self.path) as image:  # photograph and three alphas of a picture of 512x256
            assert image.format == "JPEG" and image.size[0] <= 1600
        row = preview._row(network, self.photos[0])
        assert [caption for caption, _ in row] == ["photograph", "alpha 0", "alpha 0.5", "alpha 1"]
        assert row[0][1].size == (512, 256)
        with torch.inference_mode():
            expected = network(self.photos[0], 1.0)[0]
        difference = torch.from_numpy(preview_pixels(row[3][1])) / 255 - expected
        assert difference.abs().max() <= 1 / 255

    monkeypatch.setattr(preview.Preview, "paint", spy)
    argv = minutes_command(command, "run", preview=photo, preview_minutes=0.25)
    assert train.main(argv, Clock()) == 0
    # Six seconds each step: after the first, then when 15 more have passed; the sheet is the last.
    assert painted == [6, 24, 42]
    printed = capsys.readouterr().out
    assert printed.count("preview: ") == 1
    assert f"next: duostyle paint '{photo}' --checkpoint" in printed
    assert not list((tmp_path / "run").glob(".*.part"))


def preview_pixels(image: Image.Image):
    import numpy as np

    return np.asarray(image).transpose(2, 0, 1).astype(np.float32)


def test_a_preview_that_cannot_be_written_ends_the_previews_only(
    command,  # noqa: F811
    tmp_path: Path,
    monkeypatch,
    capsys,
) -> None:
    def refuse(rows, path: Path) -> None:
        raise OSError(f"{path}: disk full")

    write = preview._write
    monkeypatch.setattr(
        preview, "_write", lambda rows, path: (refuse if len(rows) == 1 else write)(rows, path)
    )
    assert train.main(command("run", steps=2, preview_minutes=1e-6)) == 0
    errors = [x for x in capsys.readouterr().err.splitlines() if "disk full" in x]
    assert len(errors) == 1 and errors[0].endswith("preview.jpg: disk full; no more previews")
    assert (tmp_path / "run" / "sheet.jpg").is_file()


# Several images for a style


def test_targets_of_several_images_are_means(random_vgg: Path) -> None:
    vgg = PerceptualNetwork(random_vgg)
    images = [read_style(STYLES / f"{name}.jpg", 64) for name in ("irises", "udnie", "thangka")]
    objective = Objective(vgg, [images[:2], images[2]], ObjectiveWeights())
    single = Objective(vgg, images, ObjectiveWeights())
    for joint, alone in (
        (objective.style_targets, single.style_targets),
        (objective.fine_targets, single.fine_targets),
    ):
        for layer, grams in joint.grams.items():
            torch.testing.assert_close(grams[0], alone.grams[layer][:2].mean(dim=0))
            torch.testing.assert_close(grams[1], alone.grams[layer][2])
    torch.testing.assert_close(
        objective.palettes[:1], (palette(images[0]) + palette(images[1])) / 2
    )
    assert compute_grams(vgg(images[0], ["relu1_2"]))["relu1_2"].shape == (1, 64, 64)


def test_a_style_is_a_file_several_or_a_folder(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "van gogh"
    folder.mkdir()
    for name in ("irises", "cypresses"):
        shutil.copy(STYLES / f"{name}.jpg", folder)
    with_comma = tmp_path / "hat, straw.jpg"
    shutil.copy(FIRST, with_comma)
    config, *_ = train.parse_arguments([str(folder), str(with_comma)])
    assert config.output == "runs/van_gogh-hat,_straw"
    groups = [[folder / "cypresses.jpg", folder / "irises.jpg"], [with_comma]]
    assert initialization.style_groups(config) == groups
    first, second = initialization.describe_styles(config)
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in groups[0])
    assert first == {
        "name": "van gogh",
        "file": "cypresses.jpg,irises.jpg",
        "sha256": hashlib.sha256("".join(digests).encode()).hexdigest(),
    }
    assert second["sha256"] == hashlib.sha256(Path(FIRST).read_bytes()).hexdigest()
    listed = f"{STYLES / 'irises.jpg'},{SECOND}"
    config, *_ = train.parse_arguments([listed, FIRST, "--init", str(checkpoint)])
    assert config.output == "runs/irises+cypresses-straw_hat"
    assert initialization.describe_styles(config)[0]["sha256"] == first["sha256"]
    # Of its images, the checkpoint knows the second style: the group starts from it.
    network, source = initialization.build_network(config), load_checkpoint(checkpoint)
    for row, known in ((0, 1), (1, 0)):
        table = network.branch1.blocks[0].style1.scale[row]
        assert torch.equal(table, source.branch1.blocks[0].style1.scale[known])
    both, *_ = train.parse_arguments([f"{FIRST},{SECOND}", FIRST, "--init", str(checkpoint)])
    table = initialization.build_network(both).branch1.blocks[0].style1.scale[0]
    torch.testing.assert_close(table, source.branch1.blocks[0].style1.scale.mean(dim=0))
    new, *_ = train.parse_arguments([f"{STYLES / 'udnie.jpg'},{STYLES / 'irises.jpg'}", FIRST,
                                     "--init", str(checkpoint)])  # fmt: skip
    assert initialization.known_rows(new) == [[], [0]]
    assert initialization.known_rows(config) == [[1], [0]]
    assert initialization.known_rows(both) == [[0, 1], [0]]


def test_a_new_painting_starts_from_the_most_similar_style_in_its_colors(
    network: StyleNetwork, random_vgg: Path, tmp_path: Path
) -> None:
    # The checkpoint knows two styles; what it paints in the second one is the new painting.
    source = tmp_path / "source.safetensors"
    save_checkpoint(source, network, {"styles": [{"name": "a"}, {"name": "b"}]})
    network = load_checkpoint(source)
    photos = new_styles.photographs()
    with torch.inference_mode():
        logits = new_styles.painted_logits(network, photos, 1, background=False)
    painting = tmp_path / "new.png"
    tensor_to_pil(torch.sigmoid(1.3 * logits[0] + 0.2)).save(painting)  # in other colors
    argv = [str(painting), SECOND, "--init", str(source), "--vgg-weights", str(random_vgg)]
    config, *_ = train.parse_arguments([*argv, "--style-size", "256"])
    objective = initialization.build_objective(config, "cpu")
    started = initialization.build_network(config).eval()
    assert new_styles.start_new_styles(started, config, objective) == [0, 1]
    for name, module in started.named_modules():
        if isinstance(module, ConditionalNorm) and not name.endswith("to_rgb.style"):
            assert torch.equal(module.scale[0], network.get_submodule(name).scale[1]), name
    with torch.inference_mode():
        painted = new_styles.painted_logits(started, photos, 0, background=False)
        image = torch.logit(read_style(painting, 256), eps=new_styles.EPS)
    for found, expected in zip(
        new_styles.mean_colors(painted.split(1)), new_styles.mean_colors([image]), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=0.03, rtol=0.03)


def test_the_start_counts_less_if_a_painting_is_new(
    command,  # noqa: F811
    checkpoint: Path,
) -> None:
    shares = {"init": checkpoint, "start_share": 0.7, "new_share": 0.25}
    known, *_ = train.parse_arguments(command("known", **shares))
    assert Trainer(known, "cpu").start_share == 0.7
    new, *_ = train.parse_arguments(command("new", background_style=STYLES / "udnie.jpg", **shares))
    trainer = Trainer(new, "cpu")
    name = "branch1.blocks.0.conv1.weight"
    begin = trainer.initial[name].clone()
    with torch.no_grad():
        trainer.state.average.module.branch1.blocks[0].conv1.weight.add_(1)
    torch.testing.assert_close(trainer.weights()[name], begin + 0.75)


def test_color_change_by_hand() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 8, 8)
    found = new_styles.mean_colors([logits])
    target = (found[0] + 1, found[1] * 1.5)
    factor, offset = new_styles.color_change(found, target)
    mean, deviation = new_styles.mean_colors([factor * logits + offset])
    torch.testing.assert_close(mean, target[0])
    torch.testing.assert_close(deviation, target[1])
    factor, _ = new_styles.color_change(found, (found[0], 10 * found[1]))
    assert torch.equal(factor, torch.full((1, 3, 1, 1), 2.0))


def test_an_empty_folder_of_paintings_is_named(tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    assert train.main([str(tmp_path / "empty"), SECOND, "--output", str(tmp_path / "run")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and f"{tmp_path / 'empty'}: no style images" in lines[0]


# Photographs and labels


def test_bundled_photographs_with_and_without_scikit_image(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    package = tmp_path / "skimage"
    (package / "data").mkdir(parents=True)
    for name in bundled.SCIKIT_IMAGE:
        (package / "data" / name).write_bytes(name.encode())

    class Spec:
        origin = str(package / "__init__.py")

    own = {"astronaut", "camera", "chelsea", "cyclist"}
    monkeypatch.setattr(bundled, "find_spec", lambda name: Spec)
    folder = bundled.bundled_photos(tmp_path / "all")
    assert {p.stem for p in folder.iterdir()} == own | {"coffee", "motorcycle_left", "rocket"}
    assert {p.stem for p in bundled.LABELS.iterdir()} == {p.stem for p in folder.iterdir()}
    assert not capsys.readouterr().err
    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    folder = bundled.bundled_photos(tmp_path / "few")
    assert {p.stem for p in folder.iterdir()} == own
    assert capsys.readouterr().err == (
        "4 bundled photographs; 3 more with scikit-image: pip install 'duostyle[demo]'\n"
    )


def test_bundled_photographs_have_deeplabs_labels_unless_learned(offline, tmp_path: Path) -> None:
    config, *_ = train.parse_arguments([FIRST, SECOND, "--photos", "bundled", "--labels", ""])
    assert data.locate_data(config) == (tmp_path / "cache/photos/bundled", bundled.LABELS)
    entries = data.prepare_data(config, "cpu")  # makes none: it has no network
    assert all(entry.label.is_file() for entry in entries)
    learned, *_ = train.parse_arguments([FIRST, SECOND, "--photos", "bundled"])
    assert data.locate_data(learned)[1].parent == tmp_path / "cache" / "labels"
    person, *_ = train.parse_arguments(
        [FIRST, SECOND, "--photos", "bundled", "--foreground", "person"]
    )
    assert data.locate_data(person)[1] != data.locate_data(learned)[1]


def test_learned_labels_are_the_masks_of_the_checkpoint(checkpoint: Path, astronaut: Path) -> None:
    config, *_ = train.parse_arguments(
        [FIRST, SECOND, "--init", str(checkpoint), "--foreground", "dog,cat"]
    )
    pixels = read_picture(astronaut).pixels[None]
    labels = data.learned_labeler(config, "cpu")(pixels)
    network = load_checkpoint(checkpoint)
    network.mask_branch.head.set_foreground_classes((12, 8))
    with torch.inference_mode():
        mask = network.encode(pixels).mask
    # The picture has 512 pixels, and is labeled at 513.
    assert labels.shape == (1, 1, 512, 512) and labels.dtype == torch.uint8
    assert set(labels.unique().tolist()) <= {0, 12}
    agree = ((labels == 12) == (mask > 0.5)).float().mean()
    assert agree > 0.95


def test_learned_labels_are_made_for_photo_count_photographs_of_a_folder(
    photo_folder, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUOSTYLE_CACHE", str(tmp_path / "cache"))
    argv = [FIRST, SECOND, "--init", str(checkpoint), "--photos", str(photo_folder[0])]
    config, *_ = train.parse_arguments([*argv, "--photo-count", "3"])
    entries = data.prepare_data(config, "cpu")
    assert len({e.photo for e in entries}) == 3 and all(e.label.is_file() for e in entries)
    assert len(list((tmp_path / "cache" / "labels").rglob("*.png"))) == 3
    assert data.prepare_data(config, "cpu") == entries
    whole, *_ = train.parse_arguments(
        [*argv, "--photo-count", "3", "--labels", str(photo_folder[1])]
    )
    assert len(data.prepare_data(whole, "cpu")) == 6


def test_few_photographs_are_not_all_held_out(photo_folder) -> None:
    entries = [Entry(p, photo_folder[1] / p.name) for p in sorted(photo_folder[0].iterdir())]
    for count, held in ((6, 1), (5, 1), (2, 1), (1, 0)):
        rest, validation = data.hold_out(entries[:count], TrainConfig(photo_size=64))
        assert len(validation) == held and len(rest) == count - held
