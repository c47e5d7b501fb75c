"""Every method of the registry has a card in `docs/methods`, with fixed headings and code that makes its unlearner."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from hf_invwnn.image_classification import ImageTensors, digit_images, load_classifier
from hf_invwnn.methods import METHODS


CARDS = Path(__file__).parents[2] / "docs" / "methods"
HEADINGS = ["How to use", "Suggested settings", "What it costs", "Source"]


def card(name: str) -> str:
    return (CARDS / f"{name}.md").read_text()


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the code of the cards takes: a tiny model and a few digits."""
    folder = str(tmp_path_factory.mktemp("model"))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(image_size=8, patch_size=4, num_labels=10, **sizes)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(folder)
    train, test = digit_images()
    model, processor = load_classifier(folder)
    model.set_attn_implementation("eager")
    images = {
        "forget": train.select(range(16)),
        "retain": train.select(range(16, 48)),
        "unseen": test.select(range(16)),
    }
    data = {name: ImageTensors.from_dataset(rows, processor) for name, rows in images.items()}
    return {"model": model, "anchor": copy.deepcopy(model), "processor": processor, **data}


def test_every_method_has_a_card_and_every_card_a_method() -> None:
    assert {path.stem for path in CARDS.glob("*.md")} - {"index"} == METHODS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_a_card_has_the_headings_and_is_linked(name: str) -> None:
    assert re.findall(r"^## (.*)$", card(name), flags=re.MULTILINE) == HEADINGS
    assert card(name).splitlines()[0] not in ("", "# ") and f"({name}.md)" in card("index")
    sections = re.split(r"^## .*$", card(name), flags=re.MULTILINE)[1:]
    assert all(section.strip() for section in sections)


@pytest.mark.parametrize("name", METHODS)
def test_links_of_a_card_exist(name: str) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", card(name))]
    assert [link for link in links if not link.startswith("http") and not (CARDS / link).exists()] == []


@pytest.mark.parametrize("name", METHODS)
def test_the_code_of_a_card_makes_its_unlearner(
    name: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", card(name), flags=re.DOTALL))
    made = {**names, "model": copy.deepcopy(names["model"])}
    exec(compile(code, f"{name}.md", "exec"), made)
    assert type(made["unlearner"]) is METHODS[name]
