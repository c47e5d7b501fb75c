"""A run that is killed at any moment and resumed ends with the weights of an uninterrupted run, bit for bit."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
import torch
import workers
from processes import run, start, wait
from safetensors.torch import load_file

from hf_invwnn.trainer.checkpoint_files import check_checkpoint


pytestmark = [pytest.mark.slow, pytest.mark.distributed]

KILLS = 25


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_killed_at_25_moments_ends_with_the_weights_of_an_uninterrupted_run(tmp_path: Path, world: int) -> None:
    """
    SIGKILL arrives at a function call drawn at random from all calls of the run: while it records, rewinds, and most
    often while it saves. With two processes one is killed, and the other must exit by itself. When a run reaches its
    end, its weights are compared bit by bit and a new run starts, until 25 have been killed.
    """
    run(workers.train_until_killed, (tmp_path / "whole", world, 0, 0), world, tmp_path / "whole")
    expected = [load_file(tmp_path / "whole" / f"weights_{rank}.safetensors") for rank in range(world)]
    calls = [int((tmp_path / "whole" / f"calls_{rank}.txt").read_text()) for rank in range(world)]
    generator = random.Random(world)
    kills, resumed, finished = 0, 0, 0
    folder = tmp_path / "0"
    while kills < KILLS or finished == 0:
        victim = generator.randrange(world)
        # After 25 kills one more run goes to its end.
        event = generator.randrange(1, calls[victim] // 2) if kills < KILLS else 0
        resumed += any((folder / "run").glob("checkpoint-*"))
        codes = wait(start(workers.train_until_killed, (folder, world, event, victim), world, folder), 60)
        if codes[victim] == -signal.SIGKILL:
            kills += 1
            assert None not in codes, "the other process waited for the killed one"
            for checkpoint in (folder / "run").glob("checkpoint-*"):
                check_checkpoint(checkpoint, 0, world)
            continue
        assert codes == [0] * world, (folder / "process_0.txt").read_text()[-3000:]
        finished += 1
        for rank in range(world):
            weights = load_file(folder / f"weights_{rank}.safetensors")
            assert all(torch.equal(weights[name], value) for name, value in expected[rank].items())
        folder = tmp_path / str(finished)
    assert kills == KILLS
    assert resumed > KILLS / 2, "too few kills came after a checkpoint"
