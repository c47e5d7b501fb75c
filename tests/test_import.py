"""`import hf_invwnn` and `hf-invwnn --help` are light, and the declared dependencies are those that are imported."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hf_invwnn"
HEAVY = ("torch", "transformers", "datasets", "diffusers", "evaluate", "h5py", "matplotlib", "sklearn", "torchvision")
# Distribution -> module, where the names differ.
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml"}

# Modules that must not be loaded after `--help` of a command. `HfArgumentParser` needs transformers, but not torch.
NEEDLESS = {
    "push": ["torch", "datasets", "diffusers", "evaluate", "h5py", "matplotlib", "sklearn"],
    "report": ["torch", "datasets", "diffusers", "evaluate", "h5py", "matplotlib", "sklearn"],
    "verify": ["torch", "datasets", "diffusers", "evaluate", "h5py", "matplotlib", "sklearn"],
    "env": ["torch", "datasets", "diffusers", "evaluate", "h5py", "matplotlib", "sklearn"],
    "convert-keras": ["diffusers", "evaluate", "h5py", "matplotlib", "sklearn"],
    "compare": ["diffusers", "evaluate", "h5py", "matplotlib", "sklearn"],
    "demo": ["diffusers", "evaluate", "h5py", "matplotlib", "sklearn"],
    "evaluate": ["diffusers", "evaluate", "h5py", "matplotlib", "sklearn"],
    "unlearn-diffusion": ["evaluate", "h5py", "matplotlib", "sklearn"],
    "unlearn-text": ["diffusers", "h5py"],
}
LIGHT = ("push", "report", "verify", "env")
if sys.version_info < (3, 11):  # the last transformers for 3.10 loads scikit-learn with its generation utilities
    NEEDLESS = {command: [name for name in names if name != "sklearn"] for command, names in NEEDLESS.items()}


def python(code: str, cwd: Path, *words: str) -> str:
    """The output of a new interpreter, outside the checkout and without a network."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


# ---- A light start ----


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, hf_invwnn; print([name for name in {HEAVY} if name in sys.modules])"
    assert python(code, tmp_path) == "[]"


HELP = """
import sys
from hf_invwnn.cli.main import main
try:
    main([*sys.argv[2:], "--help"])
except SystemExit as ended:
    assert ended.code == 0
print("loaded:", [name for name in sys.argv[1].split() if name in sys.modules])
"""


def test_the_list_of_commands_loads_nothing_heavy(tmp_path: Path) -> None:
    *_, loaded = python(HELP, tmp_path, " ".join(HEAVY)).splitlines()
    assert loaded == "loaded: []"


@pytest.mark.parametrize(
    "command",
    [
        *LIGHT,
        *(pytest.param(name, marks=pytest.mark.slow) for name in NEEDLESS if name not in LIGHT),
    ],
)
def test_a_command_loads_only_what_it_needs(command: str, tmp_path: Path) -> None:
    *_, loaded = python(HELP, tmp_path, " ".join(NEEDLESS[command]), command).splitlines()
    assert loaded == "loaded: []"


def test_every_command_is_checked() -> None:
    from hf_invwnn.cli.main import COMMANDS

    assert NEEDLESS.keys() == COMMANDS.keys()


# One interpreter for everything that needs torch and transformers, whose import takes seconds.
AFTER_THE_IMPORT = """
import json, sys
import hf_invwnn
from hf_invwnn import InvWNNModel
from transformers import AutoConfig, AutoModel
config = AutoConfig.for_model("invwnn", num_snapshots=5)
auto = [type(config).__name__, type(AutoModel.from_config(config)).__name__]
trainer_before = "transformers.trainer" in sys.modules
listed = set(dir(hf_invwnn))
missing = [name for name in hf_invwnn.__all__ if name not in listed or getattr(hf_invwnn, name, None) is None]
trainer = [trainer_before, "transformers.trainer" in sys.modules]
print(json.dumps(dict(auto=auto, missing=missing, trainer=trainer)))
"""


@pytest.fixture(scope="module")
def after_the_import(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return json.loads(python(AFTER_THE_IMPORT, tmp_path_factory.mktemp("elsewhere")))


@pytest.mark.slow
def test_every_public_name_loads_when_it_is_used(after_the_import: dict[str, Any]) -> None:
    """Also the Trainer, which the predictor does not need."""
    assert after_the_import["missing"] == []
    assert after_the_import["trainer"] == [False, True]


@pytest.mark.slow
def test_the_auto_classes_know_the_predictor_once_it_is_imported(after_the_import: dict[str, Any]) -> None:
    assert after_the_import["auto"] == ["InvWNNConfig", "InvWNNModel"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    import hf_invwnn

    with pytest.raises(AttributeError, match="'hf_invwnn' has no attribute 'Unlearner'"):
        _ = hf_invwnn.Unlearner


@pytest.mark.slow
def test_it_unlearns_without_torchvision_and_without_extras(tmp_path: Path) -> None:
    """There is no torchvision for the CPU build of torch, and `pip install hf-invwnn` installs no extra."""
    code = """
import sys
missing = ("torchvision", "diffusers", "torchmetrics", "peft", "h5py", "captum", "gradio", "trackio")
sys.modules |= dict.fromkeys(missing)
import torch
from transformers import ViTConfig, ViTForImageClassification
from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments
import hf_invwnn.audit, hf_invwnn.benchmark, hf_invwnn.cli.demo, hf_invwnn.evaluation, hf_invwnn.metrics
sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
model = ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=3, **sizes))
forget = [{"pixel_values": torch.randn(1, 8, 8), "labels": index % 3} for index in range(6)]
options = dict(num_rewinds=1, num_snapshots=2, recovery_steps=4, use_cpu=True, report_to="none", disable_tqdm=True)
args = UnlearningArguments("out", **options)
trainer = InvWNNUnlearner(model, args, forget, predictor=LinearPredictor())
trainer.train()
print("rounds:", trainer.run_state.rounds)
"""
    assert python(code, tmp_path).endswith("rounds: 1")


@pytest.mark.slow
def test_a_command_that_lacks_its_extra_names_it(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["diffusers"], sys.stderr = None, sys.stdout
from hf_invwnn.cli.main import main
print("exit code:", main(["unlearn-diffusion", "--help"]))
"""
    *_, message, code = python(code, tmp_path).splitlines()
    assert message.endswith("pip install 'hf-invwnn[diffusion]'.") and code == "exit code: 2"


# ---- Declared dependencies ----


def third_party(nodes: Iterable[ast.AST]) -> set[str]:
    """Top-level names of the third-party modules that import statements name."""
    modules: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules.add(node.module)
    return {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) - {"hf_invwnn"}


@cache
def imports_of_the_package() -> frozenset[str]:
    trees = (ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py"))
    return frozenset().union(*(third_party(ast.walk(tree)) for tree in trees))


def modules_of(requirements: list[str]) -> set[str]:
    """The modules of requirements such as `torch>=2.6`, without the package's own extras."""
    names = [re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements]
    return {MODULES.get(name, name.replace("-", "_")) for name in names if name != "hf-invwnn"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_everything_imported_is_declared(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    declared = modules_of([*project["dependencies"], *(name for extra in extras.values() for name in extra)])
    assert imports_of_the_package() - declared == set()


def test_every_dependency_is_imported(project: dict[str, Any]) -> None:
    assert modules_of(project["dependencies"]) - imports_of_the_package() == set()


def test_extras_are_imported_at_the_top_of_a_file_only_for_diffusion(project: dict[str, Any]) -> None:
    """Everywhere else inside a function, so that the package works without them."""
    extras = project["optional-dependencies"].values()
    optional = modules_of([name for extra in extras for name in extra]) - modules_of(project["dependencies"])
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if third_party(ast.parse(path.read_text()).body) & optional
    }
    assert users == {"diffusion"}


def test_the_test_extra_holds_every_extra_that_the_tests_need(project: dict[str, Any]) -> None:
    """All but DeepSpeed, whose tests are skipped where it is missing, and what builds the site."""
    extras = project["optional-dependencies"]
    held = next(name for name in extras["test"] if name.startswith("hf-invwnn["))
    assert set(re.findall(r"\w+", held.partition("[")[2])) == extras.keys() - {"test", "deepspeed", "docs"}


def test_every_dependency_is_pinned_in_the_constraints(project: dict[str, Any]) -> None:
    pins = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["test"], *extras["docs"]]
    names = {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements} - {"hf-invwnn"}
    assert names - pins == set()
