"""The accelerate configurations are valid and name their command; `two_cpus.yaml` starts two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file


pytestmark = [pytest.mark.slow, pytest.mark.distributed]

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "recipes" / "accelerate_configs").glob("*.yaml"))
SCRIPT = """
import gc, os, sys
from pathlib import Path

sys.path[:0] = {paths!r}
import workers

from accelerate import PartialState

workers.train_and_save(int(os.environ["RANK"]), Path({output!r}), 2, "vit", {{}})
# Nothing may refer to the group any more: only then does this join its gloo threads. One of them may still be freeing
# the tensors of the last collective; if it asks for the GIL while the interpreter exits, the process aborts.
gc.collect()
PartialState().destroy_process_group()
"""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_is_valid_and_names_its_command(path: Path) -> None:
    assert load_config_from_file(str(path)).num_processes >= 1
    assert f"# accelerate launch --config_file recipes/accelerate_configs/{path.name} " in path.read_text()


def test_there_are_five_configurations() -> None:
    assert {path.stem for path in CONFIGS} == {"two_cpus", "one_gpu", "multi_gpu", "fsdp2", "zero2"}


def test_two_cpus_unlearns_in_two_processes(tmp_path: Path) -> None:
    """Started by `accelerate launch`, with the command in the comment of the configuration."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(paths=[str(ROOT / "tests"), str(Path(__file__).parent)], output=str(tmp_path)))
    config = ROOT / "recipes" / "accelerate_configs" / "two_cpus.yaml"
    result = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), str(script)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for rank in range(2):
        assert (tmp_path / f"reason_{rank}.txt").read_text() == "all 2 rounds are done\nreplicated\n"
