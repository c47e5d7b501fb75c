"""The code on the Markdown pages runs, their links and files exist, and their commands have the flags they use."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.cli import demo
from hf_invwnn.cli.main import COMMANDS, main
from hf_invwnn.image_classification import digit_images


ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
RESULTS = ["recipes/README.md", "recipes/recovery.md", "recipes/image_classification/starts/README.md"]


def text(page: str) -> str:
    return (ROOT / page).read_text()


def run_python(page: str) -> dict[str, Any]:
    """Runs all blocks of Python of a page, one after the other, and returns their names."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", text(page), flags=re.DOTALL))
    names: dict[str, Any] = {}
    exec(compile(code, page, "exec"), names)
    return names


@pytest.mark.slow
def test_the_commands_and_the_example_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo trains and recovers for less time than it does for users, which takes minutes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EPOCHS", 90)
    monkeypatch.setattr(demo, "RECOVERY_STEPS", 60)
    monkeypatch.setattr(InvWNNUnlearner, "default_recovery_steps", 60)
    main(["demo"])
    names = run_python("README.md")
    unlearner = names["unlearner"]
    assert unlearner.stop_reason.startswith(
        "stop_at_unseen_loss is met after recovery (stop_at_unseen_loss is met by round "
    )
    first, last = unlearner.history[0], unlearner.history[-1]
    assert last["eval_forget_loss"] == pytest.approx(unlearner.history[0]["eval_unseen_loss"], rel=0.01)
    assert last["eval_unseen_accuracy"] > first["eval_unseen_accuracy"]
    ViTForImageClassification.from_pretrained(tmp_path / "forgotten")
    assert len(re.findall(r"```python\n(.*?)```", text("README.md"), flags=re.DOTALL)[0].strip().splitlines()) <= 12


@pytest.fixture
def own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the model and the examples of the reader of a page."""
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
    return tmp_path


def test_the_examples_of_the_usage_run_on_a_model_of_ones_own(own_model: Path) -> None:
    names = run_python("docs/usage.md")
    ViTForImageClassification.from_pretrained(own_model / "forgotten")
    assert type(names["unlearner"]).__name__ == "SalUnUnlearner"


def test_the_examples_of_the_page_on_stopping_run(own_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InvWNNUnlearner, "default_recovery_steps", 4)
    names = run_python("docs/stopping.md")
    rules = [str(rule) for rule in names["unlearner"].unlearning.rules]
    assert len(rules) == 2 and names["unlearner"].stop_reason


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *RESULTS])
def test_every_link_and_every_file_of_a_command_exists(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", text(page)):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    for name in re.findall(r"(recipes/[\w/]+\.(?:py|yaml))", text(page)):
        assert (ROOT / name).exists(), name


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    assert [page for page in PAGES if page != "README.md" and f"({page})" not in text("README.md")] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_the_flags_that_are_shown(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text(page), flags=re.DOTALL))
    inline = "\n".join(re.findall(r"`(hf-invwnn [^`\n]*)`", text(page)))
    for line in re.findall(r"(?:^|&& )hf-invwnn (.*)$", f"{blocks}\n{inline}", flags=re.MULTILINE):
        command, *words = shlex.split(line, comments=True)
        if command == "COMMAND" or command.startswith("-"):
            continue
        assert command in COMMANDS, line
        with pytest.raises(SystemExit):
            main([command, "--help"])
        help_text = capsys.readouterr().out
        flags = [word for word in words if word.startswith("--")]
        assert [flag for flag in flags if not re.search(rf"(?<![\w-]){flag}(?![\w-])", help_text)] == [], line


def test_the_commands_of_the_readme_are_all_commands() -> None:
    assert set(re.findall(r"^\| `hf-invwnn ([\w-]+)", text("README.md"), flags=re.MULTILINE)) == COMMANDS.keys()


def test_the_site_lists_every_guide() -> None:
    nav = text("mkdocs.yml").partition("\nnav:\n")[2]
    assert [page for page in PAGES if page.startswith("docs/") and f" {page.removeprefix('docs/')}\n" not in nav] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(page: str) -> None:
    assert re.findall(r"\b[A-Z]+_OUTPUT\b|\bTODO\b|\bXX+\b", text(page)) == []


def test_the_three_mentions_of_the_version_agree() -> None:
    from hf_invwnn import __version__

    assert f"\nversion: {__version__}\n" in text("CITATION.cff")
    assert re.search(r"^## (\S+)", text("CHANGELOG.md"), flags=re.MULTILINE).group(1) == __version__


def test_the_tree_in_contributing_names_every_folder() -> None:
    """Once in the tree, and once in the contract of the layers, which is that of pyproject.toml."""
    folders = {path.parent.name for path in (ROOT / "hf_invwnn").glob("*/__init__.py")}
    blocks = re.findall(r"```\n(.*?)```", text("CONTRIBUTING.md"), flags=re.DOTALL)
    tree = next(block for block in blocks if block.startswith("hf_invwnn/"))
    assert set(re.findall(r"^  (\w+)/", tree, flags=re.MULTILINE)) == folders
    layers = next(block for block in blocks if block.startswith("cli\n")).splitlines()
    contract = re.search(r"^layers = \[\n(.*?)^\]", text("pyproject.toml"), flags=re.MULTILINE | re.DOTALL).group(1)
    assert re.findall(r'"([^"]+)"', contract) == layers
