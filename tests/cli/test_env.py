"""`hf-invwnn env` prints what a bug report needs, and nothing private."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hf_invwnn import __version__
from hf_invwnn.cli import env
from hf_invwnn.cli.main import EXIT_BAD_INPUT, main


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert main(["env"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(re.fullmatch(r"- ([^:]+): (.+)", line).groups() for line in lines)


def test_versions_devices_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    values = printed(capsys)
    assert values["hf_invwnn"] == __version__ and values["Python"] == platform.python_version()
    assert values["torch"] == torch.__version__
    assert {"platform", *env.PACKAGES, "CPU", "CUDA", "MPS"} <= values.keys()
    assert f"{torch.get_num_threads()} threads" in values["CPU"]
    assert re.fullmatch(r"\d+\.\d GiB free of \d+\.\d GiB", values["memory"])


def test_a_missing_package_is_not_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        if name == "peft":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(env, "version", version)
    values = printed(capsys)
    assert values["peft"] == "not installed" and values["diffusers"] == "1.0"


def test_gpus_are_listed_with_their_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_name=lambda index: f"card {index}",
        mem_get_info=lambda index: (2**30, 2**32),
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    values = printed(capsys)
    assert values["CUDA"] == "13.0" and values["GPU 1"] == "card 1, 1.0 GiB free of 4.0 GiB"


def test_no_token_and_no_path_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor those that stand by mistake in a variable that is printed."""
    secrets = {"HF_TOKEN": "hf_secret", "HUGGING_FACE_HUB_TOKEN": "hf_other", "WANDB_API_KEY": "key", "USER": "ada-l"}
    paths = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "https://ada:word@hub.example"}
    mistaken = {"CUDA_VISIBLE_DEVICES": str(tmp_path / "0"), "OMP_NUM_THREADS": "2"}
    for name, value in {**secrets, **paths, **mistaken}.items():
        monkeypatch.setenv(name, value)
    assert main(["env"]) == 0
    text = capsys.readouterr().out
    assert [value for value in (*secrets.values(), *paths.values(), str(Path.home())) if value in text] == []
    assert [name for name in (*secrets, *paths) if name in text] == []
    assert "- OMP_NUM_THREADS: 2\n" in text and "- CUDA_VISIBLE_DEVICES: set, not shown\n" in text


def test_no_printed_variable_is_private_by_its_name() -> None:
    private = re.compile("TOKEN(?!IZERS)|KEY|SECRET|PASS|HOME|PATH|DIR|URL")
    assert [name for name in env.VARIABLES if private.search(name)] == []


def test_it_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["env", "--all"])
    assert ended.value.code == EXIT_BAD_INPUT and "--all" in capsys.readouterr().err
