"""What the README shows must run, and what it links to must be there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from hf_invwnn.image_classification import digit_images


ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_all_lines_of_python_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    monkeypatch.chdir(tmp_path)
    config = ViTConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    config.num_labels = 10
    ViTForImageClassification(config).save_pretrained("my-model")
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained("my-model")
    train, test = digit_images()
    train.select(range(16)).to_parquet("forget.parquet")
    test.select(range(16)).to_parquet("unseen.parquet")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    ViTForImageClassification.from_pretrained(tmp_path / "forgotten")
    unlearner: Any = names["unlearner"]
    assert type(unlearner).__name__ == "SalUnUnlearner"


def test_every_link_and_every_file_of_a_command_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    files = re.findall(r"(recipes/\S+\.(?:py|yaml))", README)
    assert links and files
    for name in [*links, *files]:
        assert (ROOT / name).exists(), name


def test_no_placeholder_is_left() -> None:
    assert re.findall(r"\b[A-Z]+_[A-Z_]+\b|\bTODO\b|\bXX+\b", README) == []
