"""A run that is killed, wherever that happens, ends with the weights of the run that was not."""

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


KILLS = 25


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_killed_at_25_moments_ends_as_if_it_had_not_been(tmp_path: Path, world: int) -> None:
    """
    SIGKILL at calls drawn from all that the run makes: while recording, in a rewind, and most of all while saving. Of
    two processes one dies and the other must end by itself, for its peer is gone. A run that reaches its end is
    compared, bit by bit, and begun anew, until 25 have died.
    """
    run(workers.train_until_killed, (tmp_path / "whole", world, 0, 0), world, tmp_path / "whole")
    expected = [load_file(tmp_path / "whole" / f"weights_{rank}.safetensors") for rank in range(world)]
    calls = [int((tmp_path / "whole" / f"calls_{rank}.txt").read_text()) for rank in range(world)]
    drawn = random.Random(world)
    kills, resumed, finished = 0, 0, 0
    folder = tmp_path / "0"
    while kills < KILLS or finished == 0:
        victim = drawn.randrange(world)
        # Once enough have died, one more goes to its end.
        event = drawn.randrange(1, calls[victim] // 2) if kills < KILLS else 0
        resumed += any((folder / "run").glob("checkpoint-*"))
        codes = wait(start(workers.train_until_killed, (folder, world, event, victim), world, folder), 60)
        if codes[victim] == -signal.SIGKILL:
            kills += 1
            assert None not in codes, "the other process must not wait for the dead one for ever"
            for checkpoint in (folder / "run").glob("checkpoint-*"):
                check_checkpoint(checkpoint, 0, world)
            continue
        assert codes == [0] * world, (folder / "process_0.txt").read_text()[-3000:]
        finished += 1
        for rank in range(world):
            found = load_file(folder / f"weights_{rank}.safetensors")
            assert all(torch.equal(found[name], value) for name, value in expected[rank].items())
        folder = tmp_path / str(finished)
    assert kills == KILLS
    assert resumed > KILLS / 2, "most of the kills must have come after a checkpoint"
