"""The example of the page on language models runs, and so do the recipes, on a tiny model."""

import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(monkeypatch):
    """Runs a recipe of the folder by its name and its words."""
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "language_modeling"))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        module = import_module(name)
        kinds = [kind for key, kind in vars(module).items() if key.endswith("Arguments") and kind.__module__ == name]
        return module.main(*module.HfArgumentParser(kinds).parse_args_into_dataclasses())

    return run


def files(folder):
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in folder.glob("*.jsonl")}


def test_people_come_from_the_seed_and_are_in_one_set_only(recipe, tmp_path):
    words = ("--people", 4, "--forget", 1, "--unseen", 2)
    for name, seed in {"one": 0, "again": 0, "other": 1}.items():
        recipe("people", *words, "--seed", seed, "--output_dir", tmp_path / name)
    one = files(tmp_path / "one")
    assert one == files(tmp_path / "again") != files(tmp_path / "other")
    assert {name: len(rows) for name, rows in one.items()} == {"forget": 20, "kept": 60, "learnt": 80, "unseen": 40}
    assert one["learnt"] == one["forget"] + one["kept"]
    questions = [row["prompt"] for row in one["learnt"] + one["unseen"]]
    assert len(set(questions)) == len(questions)
    with pytest.raises(ValueError, match="`forget` must lie between 0 and `people`"):
        recipe("people", "--people", 2, "--forget", 2, "--output_dir", tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_model_learns_texts_and_is_measured(recipe, tmp_path, model, tokenizer, texts, capsys):
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    for name, part in {"forget": texts[:4], "kept": texts[4:12], "unseen": texts[12:]}.items():
        rows = [{"prompt": text.prompt, "paraphrase": text.prompt, "answer": text.answer} for text in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ("--model", tmp_path / "model", "--texts", tmp_path / "forget.jsonl", "--report_to", "none", "--use_cpu")
    for name, epochs in {"before": 0.01, "after": 60}.items():
        recipe("learn", *words, "--output_dir", tmp_path / name, "--num_train_epochs", epochs, "--learning_rate", 0.02)
    adapters = ("--adapters", tmp_path / "before", tmp_path / "after")
    recipe(
        "measure", "--model", tmp_path / "model", "--people", tmp_path, *adapters, "--output", tmp_path / "found.json"
    )
    assert "| after |" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    # An adapter of a model that was never trained cannot change its embeddings, and learns little.
    assert found["after"]["forget"]["loss"] < found["before"]["forget"]["loss"] - 0.2
    for figures in found.values():
        low, high = figures["forget"]["intervals"]["loss"]
        assert low <= figures["forget"]["loss"] <= high
        assert len(figures["kept"]["answers"]) == 8


@pytest.mark.slow
def test_the_example_of_the_page(tmp_path, model, tokenizer, texts, monkeypatch):
    model.save_pretrained(tmp_path / "my-model")
    tokenizer.save_pretrained(tmp_path / "my-model")
    for name, part in {"forget": texts[:4], "unseen": texts[12:]}.items():
        rows = [{"prompt": text.prompt, "answer": text.answer} for text in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "language_models.md").read_text()
    names = {}
    exec(
        compile("\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)), "language_models.md", "exec"),
        names,
    )
    assert names["unlearner"].stop_reason
