"""Recovery in two processes: the weights of one process, and the same bits after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import workers
from processes import run
from safetensors.torch import load_file
from test_processes import SGD, final_weights, same, train
from test_resumed_processes import ADAM, assert_near

from hf_invwnn.trainer.checkpoint_files import load_state


pytestmark = [pytest.mark.slow, pytest.mark.distributed]

RECOVERY: dict[str, Any] = {"recovery_steps": 8, "recovery_learning_rate": 0.1, "num_rewinds": 1}


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """Surrogates are drawn for the batches of both together, and images are mixed across them."""
    (single,) = train(tmp_path / "one", 1, **RECOVERY)
    first, second = train(tmp_path / "two", 2, **RECOVERY)
    (rewound,) = train(tmp_path / "rewound", 1, **{**RECOVERY, "recovery_steps": 0})
    assert same(first, second)
    assert_near(first, single, rewound)


def test_two_processes_with_shards_equal_one(tmp_path: Path) -> None:
    """With `fully_shard` the weights that answer are exchanged shard by shard."""
    (single,) = train(tmp_path / "one", 1, **RECOVERY)
    first, second = train(tmp_path / "two", 2, shard=True, **RECOVERY)
    assert same(first, second)
    assert_near(first, single, None)


def test_a_pipeline_with_its_own_samples_in_two_processes_equals_one(tmp_path: Path) -> None:
    for world in (1, 2):
        run(workers.train_diffusion, (tmp_path / str(world), world, 6), world, tmp_path / str(world))
    (single,), (first, second) = (final_weights(tmp_path / str(world), world) for world in (1, 2))
    assert same(first, second)
    assert_near(first, single, None)


@pytest.mark.parametrize("options", [{}, {"adapter": True}], ids=["whole", "adapter"])
def test_two_processes_go_on_within_a_recovery_bit_for_bit(options: dict[str, Any], tmp_path: Path) -> None:
    settings = {**ADAM, **RECOVERY, "recovery_learning_rate": 1e-3, **options}
    whole = train(tmp_path / "whole", 2, "bert", **settings)
    end_within_recovery(tmp_path, settings)
    arguments = (tmp_path / "part", 2, "bert", {**SGD, **settings}, True)
    run(workers.train_and_save, arguments, 2, tmp_path / "part")
    for weights, expected in zip(final_weights(tmp_path / "part", 2), whole, strict=True):
        assert same(weights, expected)


def end_within_recovery(folder: Path, settings: dict[str, Any]) -> None:
    """Ends a run after four of its eight steps of recovery, and looks at what each process has saved."""
    steps = 12 + 4
    train(folder / "part", 2, "bert", **{**settings, "save_strategy": "steps", "save_steps": steps, "stop_at": steps})
    checkpoint = folder / "part" / "run" / f"checkpoint-{steps}"
    state = load_state(checkpoint)
    assert state["run"]["recovering"]
    for rank in range(2):
        kept = load_file(checkpoint / f"unlearning_state_{rank}.safetensors")
        assert {name.partition(".")[0] for name in kept} >= {"original", "rewound", "last_good", "current"}
    assert state["step"] - state["run"]["phase_began"] == 4
