"""Which device and precision `auto` means."""

import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str, number: int = 0) -> str:
    """`auto`, cpu, cuda or mps as a device to use; CUDA devices by number.

    Raises ValueError where the named one is unknown or absent.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in present.items() if there)
    if not present.get(name, False):
        raise ValueError(f"--device {name}: not available here; use --device cpu")
    return f"cuda:{number}" if name == "cuda" else name


def pick_precision(name: str, device: str) -> str:
    """What `auto` means on a kind of device: fp16 on CUDA, fp32 elsewhere."""
    return name if name != "auto" else "fp16" if device == "cuda" else "fp32"
