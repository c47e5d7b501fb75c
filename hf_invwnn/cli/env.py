"""`hf-invwnn env`: versions, devices and memory, as text for a bug report."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from .. import __version__
from .parser import parse_command


PACKAGES = (
    *("torch", "transformers", "accelerate", "datasets", "peft", "diffusers"),
    *("safetensors", "huggingface_hub"),
)
# Variables that change a run. None of them holds a token, an account or a path; no other variable is read.
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ENABLE_MPS_FALLBACK"),
    *("ACCELERATE_USE_CPU", "ACCELERATE_MIXED_PRECISION", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET", "HF_DATASETS_OFFLINE"),
)
# Numbers, words and `name:value` lists; anything else could be a path or an address by mistake.
_PLAIN = re.compile(r"[\w.,:=\[\]-]{0,80}")


def main(words: Sequence[str], summary: str) -> int:
    parse_command("env", words, [], summary)
    for name, value in environment().items():
        print(f"- {name}: {value}")
    return 0


def environment() -> dict[str, str]:
    """Name -> value of everything that `hf-invwnn env` prints."""
    return {"hf_invwnn": __version__, **_versions(), **_devices(), **_memory(), **_variables()}


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _devices() -> dict[str, str]:
    import torch

    devices = {"CPU": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads for torch"}
    if torch.cuda.is_available():
        devices["CUDA"] = str(torch.version.cuda or torch.version.hip)
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            devices[f"GPU {index}"] = f"{torch.cuda.get_device_name(index)}, {_gib(free)} free of {_gib(total)}"
    else:
        devices["CUDA"] = "not available"
    if torch.backends.mps.is_available():
        devices["MPS"] = f"{platform.machine()}, {_gib(torch.mps.recommended_max_memory())} recommended at most"
    else:
        devices["MPS"] = "not available"
    return devices


def _memory() -> dict[str, str]:
    import psutil

    memory = psutil.virtual_memory()
    return {"memory": f"{_gib(memory.available)} free of {_gib(memory.total)}"}


def _variables() -> dict[str, str]:
    values = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return {name: value if _PLAIN.fullmatch(value) else "set, not shown" for name, value in values.items()}


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


__all__ = ["environment", "main"]
