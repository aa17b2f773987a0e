"""Which device and precision `auto` means, and a process made ready for large tensors."""

import ctypes
import sys

import torch

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def keep_memory() -> None:
    """Let the C library keep what large tensors free, for the next ones; glibc only.

    Handed back to the system it comes again page by page: a pass of `small` takes 38 ms in OpenVINO
    with it and 38 to 56 ms without (640x360, two cores), training is 5 % faster.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most that it takes
            mallopt(M_TRIM_THRESHOLD, 1 << 30)


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
    """What `auto` means on a kind of device: fp16 on CUDA, bf16 on CPUs that have it, else fp32."""
    if name != "auto":
        return name
    return "fp16" if device == "cuda" else "bf16" if device == "cpu" and _has_bf16() else "fp32"


def _has_bf16() -> bool:
    """Whether the CPU multiplies bf16 by itself.

    Without such units AVX-512 takes it too, at half the speed of fp32 (measured: 43 multiply-adds a
    nanosecond and core, fp32 83); with them at twice (209 and 90 on two cores).
    """
    known = torch.cpu.get_capabilities()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def pick_training_precision(name: str, device: str) -> str:
    """What `auto` means for training: bf16 where there are units for it, fp32 elsewhere."""
    if name != "auto":
        return name
    return "bf16" if device == "cuda" or (device == "cpu" and _has_bf16()) else "fp32"
