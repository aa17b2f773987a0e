"""Training: resumes exactly, shares a batch exactly, stops with everything kept."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from duostyle.cli import train
from duostyle.models import (
    MARGIN,
    StyleNetwork,
    load_checkpoint,
    pick_training_precision,
    read_header,
    save_checkpoint,
)
from duostyle.training import TrainConfig, Trainer, data, initialization
from duostyle.training.settings import FORMER_NAMES, flag, load_settings
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random MobileNetV2 features under torchvision's keys."""
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "mobilenet.safetensors"
    state = mobilenet_v2(weights=None).features[:18].state_dict()
    save_file({f"features.{k}": v.contiguous() for k, v in state.items()}, path)
    return path


@pytest.fixture
def command(photo_folder, random_vgg, backbone_file, tmp_path):
    """The command line of a short run, with changes."""

    def build(output: str, **changes: object) -> list[str]:
        options: dict[str, object] = {
            "foreground_style": ROOT / "assets" / "styles" / "straw_hat.jpg",
            "background_style": ROOT / "assets" / "styles" / "cypresses.jpg",
            "photos": photo_folder[0],
            "labels": photo_folder[1],
            "vgg_weights": random_vgg,
            "backbone_weights": backbone_file,
            "output": tmp_path / output,
            "size": "small",
            "mask_size": 97,
            "photo_size": 64,
            "context": 8,
            "crop_size": 32,
            "late_crop_size": 32,
            "style_size": 64,
            "steps": 6,
            "batch": 4,
            "mask_every": 1,
            "temporal_weight": 0,
            "warmup": 2,
            "workers": 0,
            "log_steps": 2,
            "validation_count": 1,
            "preview_minutes": 0,
            "precision": "fp32",
            "device": "cpu",
        }
        options |= changes
        return [part for k, v in options.items() for part in (f"--{k.replace('_', '-')}", str(v))]

    return build


def run(argv: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "duostyle", "train", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        **options,
    )


PORT = str(20_000 + os.getpid() % 20_000)
PARALLEL = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
PARALLEL += ["--master-port", PORT, str(ROOT / "train.py")]


def parallel(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command line in two processes."""
    return subprocess.run([*PARALLEL, *argv], cwd=ROOT, capture_output=True, text=True)


def test_three_and_three_with_a_kill_between_is_six(command, tmp_path: Path) -> None:
    assert train.main(command("straight")) == 0
    # Slow the second run down by checkpointing after every step, and kill it on the way.
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "duostyle",
            "train",
            *command("broken", checkpoint_minutes=0, log_steps=1),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("step 3/"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    assert train.main(["--resume", str(tmp_path / "broken")]) == 0
    for name in ("state.safetensors", "model.safetensors"):
        one, two = (load_file(tmp_path / run / name) for run in ("straight", "broken"))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_sigterm_leaves_a_checkpoint_and_says_how_to_go_on(command, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "duostyle",
            "train",
            *command("stopped", steps=10_000, log_steps=1, workers=1),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stderr:
        if line.startswith("step 2/"):
            os.killpg(process.pid, signal.SIGTERM)  # the loader's workers get it too
            break
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert re.search(r"stopped at step \d+; continue with: duostyle train --resume", output)
    assert read_header(tmp_path / "stopped" / "model.safetensors")["pictures_seen"] >= 8


def test_two_processes_take_the_step_of_one(command, tmp_path: Path) -> None:
    options = {"steps": 1, "accumulate": 2, "warmup": 0}
    assert train.main(command("one", **options)) == 0
    done = parallel(command("two", **options))
    assert done.returncode == 0, done.stderr[-2000:]
    joint, parted = (load_file(tmp_path / r / "state.safetensors") for r in ("one", "two"))
    assert joint.keys() == parted.keys()
    averages = ("optimizer.exp_avg.", "optimizer.momentum.")  # Adam's and Muon's
    moments = [name for name in joint if name.startswith(averages)]
    assert {name.split(".")[1] for name in moments} == {"exp_avg", "momentum"}
    assert len(moments) > 50
    for name in moments:  # a share of the clipped gradient
        assert torch.allclose(joint[name], parted[name], atol=1e-5, rtol=1e-3), name
    # A first step does not hang on the gradient's size (Adam goes along its sign): the weights
    # agree wherever the gradient is more than rounding.
    weights = [name for name in joint if name.startswith("network.")]
    differs = [(joint[n] - parted[n]).abs() > 1e-5 for n in weights]
    share = sum(d.sum().item() for d in differs) / sum(d.numel() for d in differs)
    assert share < 0.01


def test_two_processes_stop_and_resume_as_one_run(command, tmp_path: Path) -> None:
    options = {"steps": 4, "accumulate": 2, "temporal_weight": 10}
    assert parallel(command("straight", **options)).returncode == 0
    argv = command("broken", checkpoint_minutes=0, log_steps=1, **options)
    process = subprocess.Popen(
        [*PARALLEL, *argv], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stopped = False
    for line in process.stderr:
        if line.startswith("step 2/") and not stopped:
            process.send_signal(signal.SIGTERM)  # torchrun passes it to both processes
            stopped = True
    output, _ = process.communicate(timeout=120)
    assert stopped and process.returncode != 0
    assert re.search(r"stopped at step [23]; continue with: duostyle train --resume", output)
    assert parallel(["--resume", str(tmp_path / "broken")]).returncode == 0
    for name in ("state.safetensors", "model.safetensors"):
        one, two = (load_file(tmp_path / run / name) for run in ("straight", "broken"))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name


def test_auto_precision_is_bf16_only_where_there_are_units_for_it(monkeypatch) -> None:
    for units, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda units=units: {"amx_bf16": units})
        assert pick_training_precision("auto", "cpu") == precision
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda units=units, **_: units)
        assert pick_training_precision("auto", "cuda") == precision
    assert pick_training_precision("auto", "mps") == "fp32"
    assert pick_training_precision("fp16", "cuda") == "fp16"


def test_the_checkpoint_says_where_it_comes_from(command, tmp_path: Path) -> None:
    assert train.main(command("run", steps=2, precision="bf16")) == 0
    header = read_header(tmp_path / "run" / "model.safetensors")
    assert header["pictures_seen"] == 8 and header["seed"] == 0
    assert header["training"]["style_weight"] is header["objective"]["style_weight"] is None
    assert [style["name"] for style in header["styles"]] == ["straw_hat", "cypresses"]
    assert header["training"] == json.loads((tmp_path / "run" / "config.json").read_text())
    assert any((tmp_path / "run").glob("events.out.tfevents.*"))
    assert sorted(p.name for p in (tmp_path / "run" / "pictures").iterdir()) == [
        "000001.png",
        "000002.png",
    ]


def test_tensorboard_holds_every_term_and_a_grid(command, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train.main(command("run", steps=2)) == 0
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    terms = {"style", "blend", "content", "palette", "tv", "mask", "total"}
    expected = {f"terms/{t}" for t in terms} | {"run/learning_rate", "run/pictures_per_second"}
    assert set(events.Tags()["scalars"]) == expected
    values = {t: events.Scalars(f"terms/{t}")[0].value for t in terms}
    total = values.pop("total")
    assert total == pytest.approx(sum(values.values()), rel=1e-4)
    assert events.Tags()["images"] == ["validation"]


def test_divergence_stops_and_keeps_the_last_checkpoint(command, tmp_path: Path, capsys) -> None:
    assert train.main(command("run", steps=2)) == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    argv = ["--resume", str(tmp_path / "run"), "--steps", "9", "--content-weight", "1e39"]
    assert train.main(argv) == 1
    message = capsys.readouterr().err
    assert "diverged at step 3: content not finite; the last checkpoint" in message
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_resume_with_another_batch_reaches_the_end(command, tmp_path: Path) -> None:
    assert train.main(command("run", steps=2)) == 0
    argv = ["--resume", str(tmp_path / "run"), "--steps", "4", "--batch", "1"]
    assert train.main(argv) == 0
    assert read_header(tmp_path / "run" / "model.safetensors")["pictures_seen"] == 2 * 4 + 2 * 1


def test_a_worker_that_finds_nothing_says_so_in_one_line(
    command, photo_folder, tmp_path: Path, capsys
) -> None:
    for path in photo_folder[0].iterdir():
        with Image.open(path) as image:
            small = image.resize((20, 20))
        small.save(path)
    assert train.main(command("run", workers=1, validation_count=0)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "duostyle train" in line]
    assert len(errors) == 1 and "photographs in a row cannot be used" in errors[0]


def test_dry_run_prints_and_does_nothing(command, tmp_path: Path, capsys) -> None:
    assert train.main([*command("run"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for field in fields(TrainConfig):
        assert f"{field.name} = " in printed
    assert "plan: 6 steps of 4 pictures (24 in all) on 1 x cpu" in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"photos": "./nope"}, "./nope"),
        ({"photos": "nope"}, "nope"),
        ({"photos": "assets/fotos"}, "assets/fotos"),  # the folder `assets` exists
        ({"foreground_style": "none.jpg"}, "none.jpg"),
        ({"styles": "none,assets/styles/irises.jpg"}, "none"),
    ],
)
def test_dry_run_names_missing_files(
    command, tmp_path: Path, capsys, monkeypatch, changes: dict[str, str], missing: str
) -> None:
    monkeypatch.chdir(ROOT)
    assert train.main([*command("run", **changes), "--dry-run"]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert re.fullmatch(f"duostyle train: {missing}: no such (file|folder) .*\n", printed.err)


def test_dry_run_does_not_need_the_photographs_of_the_hub(command) -> None:
    assert train.main([*command("run", photos="user/dataset"), "--dry-run"]) == 0


def test_fp16_is_refused_if_auto_picks_the_cpu(command, capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert train.main([*command("run", precision="fp16", device="auto"), "--dry-run"]) == 2
    message = "duostyle train: --precision fp16 needs a GPU; use bf16 or fp32\n"
    assert capsys.readouterr().err == message


def test_the_dataclass_is_the_only_source_of_defaults() -> None:
    config, *_ = train.parse_arguments(["--foreground-style", "a", "--background-style", "b"])
    assert config == TrainConfig(foreground_style="a", background_style="b")
    for field in fields(TrainConfig):
        assert field.metadata["help"]


def test_an_empty_text_stands_for_none_on_the_command_line(command) -> None:
    argv = command("run", foreground="", mask_size="", style_weight="")
    config, resume, dry_run, _ = train.parse_arguments([*argv, "--dry-run"])
    assert config.foreground is config.mask_size is config.style_weight is None
    assert not resume and dry_run


def test_settings_of_former_versions_are_read(tmp_path: Path) -> None:
    former = {"surroundings": 8, "steady_weight": 2.0, "imitation_weight": 3, "exchange_share": 0.5,
              "empty_share": 0.2, "mask_size": 0, "mask_stride": 0, "style_weight": 0.0, "init": "",
              "backbone_weights": "none", "head_weights": "", "mask_from": ""}  # fmt: skip
    file = tmp_path / "former.json"
    file.write_text(json.dumps(former))
    config = load_settings(file)
    for name in FORMER_NAMES:
        assert getattr(config, FORMER_NAMES[name]) == former[name]
    assert config.mask_size is config.mask_stride is config.style_weight is config.init is None
    assert config.backbone_weights == "random"
    file.write_text(json.dumps({"backbone_weights": ""}))
    assert load_settings(file).backbone_weights == "imagenet"


def test_every_bound_of_a_setting_is_checked() -> None:
    for field in fields(TrainConfig):
        bounds = field.metadata
        beyond = [(bounds[name] or 0) + step for name, step in (("min", -1), ("max", 1))
                  if bounds[name] is not None]  # fmt: skip
        beyond += [] if bounds["above"] is None else [bounds["above"]]
        beyond += [] if bounds["choices"] is None else ["none of them"]
        for value in beyond:
            with pytest.raises(ValueError, match=f"{flag(field.name)} must be"):
                replace(TrainConfig(), **{field.name: value}).check_values()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"foreground_style": ""}, "--foreground-style is missing"),
        ({"foreground_style": "none.jpg"}, "none.jpg: no such file"),
        ({"photos": "./nowhere"}, "./nowhere: no such folder of photographs"),
        ({"vgg_weights": "none.safetensors"}, "none.safetensors"),
        ({"backbone_weights": "none.safetensors"}, "none.safetensors"),
        ({"backbone_weights": str(ROOT / "LICENSE")}, "LICENSE: not MobileNetV2 features"),
        ({"foreground": "zebra"}, "no class 'zebra'"),
        ({"crop_size": 4096}, "--crop-size must be at most 48"),
        ({"init": "unknown"}, "unknown: no such checkpoint"),
        ({"context": 6}, "--context must be a multiple of 4"),
        ({"context": 20}, "--crop-size must be at most 24: --photo-size minus twice --context"),
        ({"alpha_low": 0.6, "alpha_high": 0.5}, "--alpha-low must be at most --alpha-high"),
        ({"device": "tpu"}, "--device tpu: not available here"),
        ({"precision": "fp16"}, "--precision fp16 needs a GPU"),
        ({"log_steps": 0}, "--log-steps must be at least 1"),
        ({"late_share": 2}, "--late-share must be at most 1"),
        ({"crop_zoom": 0.5}, "--crop-zoom must be at least 1"),
        ({"crop_zoom": "nan"}, "--crop-zoom must be a finite number"),
        ({"mask_weight": -1}, "--mask-weight must be at least 0"),
        ({"style_weight": "nan"}, "--style-weight must be a finite number"),
        ({"foreground_style_weight": "inf"}, "--foreground-style-weight must be a finite number"),
        ({"mask_weight": 0, "mask_steps": 2}, "--mask-steps needs --mask-weight above 0"),
    ],
)
def test_bad_settings_are_one_line(command, capsys, changes: dict[str, str], says: str) -> None:
    assert train.main(command("run", **changes)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0]


def test_a_run_is_not_overwritten(command, capsys, tmp_path: Path) -> None:
    assert train.main(command("run", steps=1)) == 0
    assert train.main(command("run", steps=1)) == 2
    assert "holds a run already; --resume" in capsys.readouterr().err
    assert train.main(["--resume", str(tmp_path / "nothing")]) == 2
    assert "no run to resume" in capsys.readouterr().err


def test_goes_on_from_a_checkpoint_and_remembers_it(
    command, checkpoint: Path, tmp_path: Path
) -> None:
    changes = {"init": checkpoint, "mask_size": 65, "mask_stride": 16, "foreground": "person"}
    changes["steps"] = 1
    assert train.main(command("second", **changes)) == 0
    header = read_header(tmp_path / "second" / "model.safetensors")
    first = read_header(checkpoint)
    assert header["earlier"]["styles"] == first["styles"]
    changed = {"mask_size": 65, "mask_stride": 16, "margin": MARGIN}
    assert header["network"] == first["network"] | changed
    # Resumed, it needs the first one no more, and takes up a new choice of classes.
    checkpoint.unlink()
    argv = ["--resume", str(tmp_path / "second"), "--steps", "2", "--foreground", "dog"]
    assert train.main(argv) == 0
    again = read_header(tmp_path / "second" / "model.safetensors")
    assert again["earlier"] == header["earlier"] and again["network"] == header["network"]
    network = load_checkpoint(tmp_path / "second" / "model.safetensors")
    assert network.mask_branch.head.wanted.nonzero().flatten().tolist() == [12]


def test_the_contrast_of_an_earlier_stage_stays_known(network: StyleNetwork, tmp_path) -> None:
    for made in ({"contrast": {"factor": 1.2, "offset": -0.4}}, {}):
        save_checkpoint(tmp_path / "pair.safetensors", network, made)
        earlier = initialization.provenance(TrainConfig(init=str(tmp_path / "pair.safetensors")))
        assert earlier is not None and earlier.get("contrast") == made.get("contrast")
        assert ("contrast" in earlier) == bool(made)


def test_losses_see_the_crop_without_its_context(command, monkeypatch) -> None:
    config, *_ = train.parse_arguments(command("run", context=8, crop_size=32))
    trainer = Trainer(config, "cpu")
    seen = {}

    def objective(content, inputs):
        seen.update(content=content, inputs=inputs)
        return {"nothing": inputs.stylized.sum() * 0}

    objective.mask_term = trainer.objective.mask_term
    trainer.objective = objective
    loader, _ = data.build_loader(config, data.prepare_data(config, "cpu"))
    batch = next(iter(loader))
    trainer._terms(batch)
    inside = (..., slice(8, 40), slice(8, 40))
    assert batch.crop.shape[-2:] == (48, 48)
    assert torch.equal(seen["content"], batch.crop[inside])
    assert torch.equal(seen["inputs"].mask, batch.crop_mask[inside])
    assert seen["inputs"].stylized.shape == seen["content"].shape


def test_temporal_consistency_counts_and_is_deterministic(command, tmp_path: Path, capsys) -> None:
    for name, weight in (("first", 100), ("second", 100), ("without", 0)):
        assert train.main(command(name, steps=2, temporal_weight=weight)) == 0
        assert ("temporal" in capsys.readouterr().err) == bool(weight)
    first, second, without = (
        load_checkpoint(tmp_path / name / "model.safetensors").branch1.to_rgb.conv.weight
        for name in ("first", "second", "without")
    )
    assert torch.equal(first, second) and not torch.equal(first, without)


def test_at_first_the_mask_branch_alone_learns(command, tmp_path: Path, capsys) -> None:
    begin = (
        initialization.build_network(train.parse_arguments(command("x"))[0])
        .half()
        .float()
        .state_dict()
    )
    argv = command("run", steps=2, mask_steps=2, log_steps=1, ema=0, warmup=0)
    assert train.main([*argv, "--train-backbone"]) == 0
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("step ")]
    assert len(lines) == 2 and all("mask" in x and "style" not in x for x in lines)
    after = load_checkpoint(tmp_path / "run" / "model.safetensors").state_dict()
    moved = {k.split(".")[0] for k, v in after.items() if not torch.equal(v, begin[k])}
    assert moved == {"mask_branch"}
    # What comes trained moves less, by Adam: a tenth of the rate for each of the steps.
    kernel = "mask_branch.backbone.4.conv.0.0.weight"
    assert 0 < (after[kernel] - begin[kernel]).abs().max() < 2 * 2e-3 * 0.1 + 1e-3


def test_without_weight_the_mask_branch_stays_as_it_is(command, tmp_path: Path, capsys) -> None:
    begin = (
        initialization.build_network(train.parse_arguments(command("x"))[0])
        .half()
        .float()
        .state_dict()
    )
    argv = command("run", steps=2, mask_weight=0, log_steps=1, ema=0, warmup=0)
    assert train.main([*argv, "--train-backbone"]) == 0
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("step ")]
    assert len(lines) == 2 and all("style" in x and "mask" not in x for x in lines)
    after = load_checkpoint(tmp_path / "run" / "model.safetensors").state_dict()
    moved = {k.split(".")[0] for k, v in after.items() if not torch.equal(v, begin[k])}
    assert "branch1" in moved and "mask_branch" not in moved


def test_distillation_comes_first_and_then_the_objective(command, tmp_path: Path, capsys) -> None:
    assert train.main(command("teacher", size="base", steps=1)) == 0
    teacher = tmp_path / "teacher" / "model.safetensors"
    options = {"steps": 2, "teacher": teacher, "teacher_share": 0.5, "log_steps": 1}
    capsys.readouterr()
    assert train.main(command("student", size="small", seed=5, **options)) == 0
    first, second = (x for x in capsys.readouterr().err.splitlines() if x.startswith("step "))
    assert "distillation" in first and "style" not in first
    assert "style" in second and "distillation" not in second
    # The student's mask branch began as the teacher's: what never learns is still the same.
    one, two = (load_checkpoint(tmp_path / n / "model.safetensors") for n in ("teacher", "student"))
    assert one.config.edge_width > two.config.edge_width
    stems = [network.mask_branch.backbone[0][0].weight for network in (one, two)]
    assert torch.equal(*stems)


def test_a_network_learns_temporal_consistency_from_itself(command, tmp_path: Path, capsys) -> None:
    assert train.main(command("teacher", steps=1)) == 0
    teacher = tmp_path / "teacher" / "model.safetensors"
    options = {"init": teacher, "teacher": teacher, "teacher_share": 1, "mask_weight": 0}
    for name, weight in (("steady", 100), ("alone", 0)):
        capsys.readouterr()
        argv = command(name, steps=2, log_steps=1, temporal_weight=weight, **options)
        assert train.main(argv) == 0
        lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("step ")]
        assert len(lines) == 2 and all("distillation" in x for x in lines)
        assert all(("temporal" in x) == bool(weight) and "style" not in x for x in lines)


def test_a_teacher_of_other_paintings_is_refused(command, tmp_path: Path, capsys) -> None:
    assert train.main(command("teacher", steps=1)) == 0
    teacher = tmp_path / "teacher" / "model.safetensors"
    swapped = command("student", steps=1, teacher=teacher)
    place = swapped.index("--background-style") + 1
    swapped[place] = swapped[swapped.index("--foreground-style") + 1]
    assert train.main(swapped) == 2
    assert "has other styles; name one of these styles" in capsys.readouterr().err


def test_a_teacher_whose_styles_have_no_digest_is_refused(
    command, network: StyleNetwork, tmp_path: Path, capsys
) -> None:
    teacher = tmp_path / "teacher.safetensors"
    save_checkpoint(teacher, network, {"styles": [{"name": "a"}, {"name": "b"}]})
    assert train.main(command("student", steps=1, teacher=teacher)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and f"{teacher}: has other styles" in lines[0]


def test_style_images_may_be_moved_during_a_run(command, tmp_path: Path) -> None:
    styles = [tmp_path / f"{name}.jpg" for name in ("straw_hat", "cypresses")]
    for style in styles:
        shutil.copy(ROOT / "assets" / "styles" / style.name, style)
    argv = command("run", foreground_style=styles[0], background_style=styles[1])
    config, *_ = train.parse_arguments(argv)
    trainer = Trainer(config, "cpu")
    expected = initialization.describe_styles(config)
    styles[0].unlink()
    Path(config.output).mkdir()
    trainer.save()
    assert (tmp_path / "run" / "state.safetensors").is_file()
    assert read_header(tmp_path / "run" / "model.safetensors")["styles"] == expected


def test_start_share_leaves_the_foreground_classes_alone(command, checkpoint: Path) -> None:
    argv = command("run", init=checkpoint, start_share=0.7, foreground="person")
    config, *_ = train.parse_arguments(argv)
    wanted = Trainer(config, "cpu").weights()["mask_branch.head.wanted"]
    assert wanted.tolist() == [float(number == 15) for number in range(21)]


def test_real_material_learns(shared: Path, command, tmp_path: Path) -> None:
    weights = shared / "weights"
    argv = command(
        "real",
        photos=shared / "photos" / "val",
        labels=shared / "labels" / "val",
        vgg_weights=weights / "vgg16_features.safetensors",
        backbone_weights=weights / "mobilenet_v2_voc_features.safetensors",
        photo_size=128,
        crop_size=64,
        late_crop_size=64,
        steps=36,
        warmup=4,
        log_steps=12,
        style_size=288,
        alpha_high=0,
        precision="auto",
    )
    done = run(argv, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("step ")]
    terms = [dict(re.findall(r"(\w+) (\d+\.\d+)", line.partition("|")[0])) for line in lines]
    assert len(terms) == 3
    for name, share in (("style", 0.9), ("mask", 0.85)):
        first, *_, last = (float(row[name]) for row in terms)
        assert last < share * first, f"{name} {first} to {last}"


def test_settings_from_a_file_are_the_defaults(tmp_path: Path, capsys) -> None:
    file = tmp_path / "pair.json"
    file.write_text(json.dumps({"foreground_style": "a.jpg", "background_style": "b.jpg",
                                "steps": 7, "batch": 3}))  # fmt: skip
    config, *_ = train.parse_arguments(["--settings", str(file), "--batch", "2"])
    assert (config.foreground_style, config.steps, config.batch) == ("a.jpg", 7, 2)
    assert config.learning_rate == TrainConfig().learning_rate
    for content in ("[1]", "{", '{"stepz": 3}', '{"steps": "many"}'):
        file.write_text(content)
        assert train.main(["--settings", str(file)]) == 2
        assert "pair.json: no settings" in capsys.readouterr().err
    assert train.main(["--settings", str(tmp_path / "none.json")]) == 2
    assert "none.json: no settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "file", sorted((ROOT / "duostyle" / "training" / "recipes").glob("*.json")), ids=str
)
def test_settings_of_shipped_pairs_can_be_trained_with(file: Path) -> None:
    config = load_settings(file)
    assert Path(config.output).name == file.stem
    if file.stem == "temporal":  # any network is its own teacher
        assert config.init is config.teacher is None
        assert config.teacher_share == 1 and config.temporal_weight > 0
    elif file.stem == "foundation":  # starts from the published network
        assert config.init is None and config.norms_only
    else:
        assert config.init.startswith("foundation") and config.norms_only
    styles = ROOT / "assets" / "styles"
    if config.styles is None:  # a recipe for any two paintings
        assert config.foreground_style is config.background_style is None
        names = {"foreground_style": "irises.jpg", "background_style": "chaupar.jpg"}
        config = replace(config, **{k: str(styles / name) for k, name in names.items()})
    config.check()
    assert all((ROOT / path).exists() for path in initialization.style_files(config))


def test_a_foundation_learns_all_its_styles_and_pairs_start_from_it(
    command, tmp_path: Path, capsys
) -> None:
    names = ("straw_hat", "cypresses", "irises")
    files = [ROOT / "assets" / "styles" / f"{name}.jpg" for name in names]
    argv = command("foundation", steps=3, styles=",".join(map(str, files)))
    assert train.main(argv) == 0
    path = tmp_path / "foundation" / "model.safetensors"
    foundation, header = load_checkpoint(path), read_header(path)
    assert [style["name"] for style in header["styles"]] == list(names)
    assert foundation.config.styles == 3 and foundation.branch1.to_rgb.style.scale.shape[0] == 3
    # A pair of a known painting, and of one that is new.
    changes = {"foreground_style": files[2], "init": path, "mask_weight": 0}
    new = ROOT / "assets" / "styles" / "chaupar.jpg"
    config, *_ = train.parse_arguments(command("pair", background_style=new, **changes))
    pair = initialization.build_network(config)
    tables = foundation.branch1.blocks[0].style1.scale
    assert torch.equal(pair.branch1.blocks[0].style1.scale[0], tables[2])
    torch.testing.assert_close(pair.branch1.blocks[0].style1.scale[1], tables.mean(dim=0))
    started = Trainer(config, "cpu").state.network
    rows = [torch.equal(started.branch1.blocks[0].style1.scale[1], row) for row in tables]
    assert sum(rows) == 1  # that of the most similar painting
    assert train.main(command("one", styles=files[0])) == 2
    assert "a foundation needs two style images or more" in capsys.readouterr().err


def test_first_the_norm_parameters_alone(command, tmp_path: Path) -> None:
    assert train.main(command("base", steps=1)) == 0
    init = tmp_path / "base" / "model.safetensors"
    argv = command("run", steps=2, norm_steps=2, init=init, mask_weight=0, ema=0, warmup=0)
    assert train.main(argv) == 0
    before, after = (load_checkpoint(p).state_dict() for p in (init, tmp_path / "run" / init.name))
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved and all(".style" in name for name in moved)


def test_norms_only_trains_the_same_norm_parameters_in_both_branches(
    command, tmp_path: Path
) -> None:
    assert train.main(command("base", steps=1)) == 0
    init, changes = tmp_path / "base" / "model.safetensors", {"mask_weight": 0, "ema": 0}
    argv = [*command("run", steps=2, init=init, warmup=0, **changes), "--norms-only"]
    assert train.main(argv) == 0
    assert train.main(["--resume", str(tmp_path / "run"), "--steps", "4"]) == 0
    before, after = (load_checkpoint(p).state_dict() for p in (init, tmp_path / "run" / init.name))
    moved = {
        name
        for name, value in after.items()
        if name.startswith("branch1") and not torch.equal(value, before[name])
    }
    norms = {n for n in after if n.startswith("branch1") and n.endswith(("scale", "shift"))}
    assert moved == norms
    for name, value in after.items():
        if name.startswith("branch1"):
            assert torch.equal(value, after[name.replace("branch1", "branch2")]), name
        elif not name.startswith("branch2"):
            assert torch.equal(value, before[name]), name
    argv = [*command("wrong", mask_weight=1), "--norms-only"]
    assert train.main(argv) == 2


def test_shared_branches_stay_the_same_while_all_weights_learn(command, tmp_path: Path) -> None:
    assert train.main(command("base", steps=1)) == 0
    init = tmp_path / "base" / "model.safetensors"
    argv = command("run", steps=2, init=init, mask_weight=0, ema=0, warmup=0)
    assert train.main([*argv, "--shared-branches"]) == 0
    before, after = (load_checkpoint(p).state_dict() for p in (init, tmp_path / "run" / init.name))
    for name in ("blocks.0.conv1.weight", "blocks.0.style1.scale", "to_rgb.conv.weight"):
        assert torch.equal(after[f"branch1.{name}"], after[f"branch2.{name}"])
        assert not torch.equal(after[f"branch1.{name}"], before[f"branch1.{name}"])
    assert not torch.equal(after["stem.weight"], before["stem.weight"])


def test_without_a_mask_weight_the_mask_branch_stays(command, tmp_path: Path) -> None:
    assert train.main(command("base", steps=1)) == 0
    init = tmp_path / "base" / "model.safetensors"
    assert train.main(command("run", steps=2, init=init, mask_weight=0, ema=0, warmup=0)) == 0
    before, after = (load_checkpoint(p).state_dict() for p in (init, tmp_path / "run" / init.name))
    moved = {k.split(".")[0] for k, value in after.items() if not torch.equal(value, before[k])}
    assert moved <= {"branch1", "branch2", "stem"}
    assert {"branch1", "branch2"} <= moved


def test_start_share_saves_between_the_start_and_the_trained_weights(command, tmp_path) -> None:
    assert train.main(command("start", steps=1)) == 0
    start = tmp_path / "start" / "model.safetensors"
    options = {
        "steps": 1,
        "init": start,
        "ema": 0,
        "warmup": 0,
        "learning_rate": 0.05,
        "final_rate": 1,
    }
    saved = []
    for share in (0, 0.25, 1):
        assert train.main(command(f"share{share}", start_share=share, **options)) == 0
        path = tmp_path / f"share{share}" / "model.safetensors"
        saved.append(load_checkpoint(path).state_dict()["branch1.blocks.0.conv1.weight"])
    trained, between, kept = saved
    assert torch.equal(kept, load_checkpoint(start).state_dict()["branch1.blocks.0.conv1.weight"])
    assert (trained - kept).abs().max() > 1e-4
    # The file holds float16.
    assert torch.allclose(between, torch.lerp(trained, kept, 0.25), atol=1e-3)
