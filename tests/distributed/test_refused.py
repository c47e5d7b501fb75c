"""Distributed settings that trajectories do not support are refused, with a setting that works."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hf_invwnn.trainer.checks import check_distribution


pytestmark = [pytest.mark.slow, pytest.mark.distributed]


def stub(mixed_precision: str = "no", **plugins: Any) -> Any:
    """A stand-in for `Accelerator`, with the attributes that the check reads."""
    return SimpleNamespace(mixed_precision=mixed_precision, state=SimpleNamespace(**plugins))


def deepspeed(stage: int = 2, **config: Any) -> SimpleNamespace:
    return SimpleNamespace(zero_stage=stage, deepspeed_config=config)


FSDP2 = SimpleNamespace(fsdp_version=2, state_dict_type="StateDictType.FULL_STATE_DICT")
SHARDED = SimpleNamespace(fsdp_version=2, state_dict_type="StateDictType.SHARDED_STATE_DICT")


@pytest.mark.parametrize(
    ("accelerator", "needs_whole_weights", "message"),
    [
        (stub(fsdp_plugin=SimpleNamespace(fsdp_version=1)), False, "set `fsdp_version: 2`"),
        (stub(fsdp_plugin=SHARDED), False, "SHARDED_STATE_DICT, .* set `fsdp_state.*: FULL_STATE_DICT`"),
        (stub(fsdp_plugin=FSDP2), True, "Method ranks or widens whole tensors .* use DDP"),
        (stub(deepspeed_plugin=deepspeed(3)), False, "`zero_stage` is 3, .* use 2, or FSDP2"),
        (stub("bf16", deepspeed_plugin=deepspeed()), False, "leave `bf16` and `fp16` out .* `torch_autocast`"),
        (stub(deepspeed_plugin=deepspeed(bf16={"enabled": True})), False, "`torch_autocast`"),
        (stub(deepspeed_plugin=deepspeed(fp16={"enabled": True})), False, "`torch_autocast`"),
    ],
    ids=[
        "fsdp-1",
        "sharded-state-dict",
        "method-with-whole-tensors-on-shards",
        "zero-3",
        "bf16",
        "bf16-of-deepspeed",
        "fp16-of-deepspeed",
    ],
)
def test_an_unsupported_setting_is_refused(accelerator: Any, needs_whole_weights: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_distribution(accelerator, "Method", needs_whole_weights)


@pytest.mark.parametrize(
    ("accepted", "refused", "needs_whole_weights"),
    [
        (stub("bf16"), stub("bf16", fsdp_plugin=FSDP2), True),
        (stub("bf16", fsdp_plugin=FSDP2), stub("bf16", fsdp_plugin=SHARDED), False),
        (
            stub(deepspeed_plugin=deepspeed(bf16={"enabled": False}, torch_autocast={"enabled": True})),
            stub(deepspeed_plugin=deepspeed(bf16={"enabled": True}, torch_autocast={"enabled": True})),
            True,
        ),
        (
            stub(deepspeed_plugin=deepspeed(bf16={"enabled": "auto"})),
            stub("bf16", deepspeed_plugin=deepspeed(bf16={"enabled": "auto"})),
            True,
        ),
    ],
    ids=["ddp", "fsdp-2", "zero-2-with-autocast", "zero-2-with-automatic-bf16"],
)
def test_a_supported_setting_is_told_from_its_unsupported_neighbour(
    accepted: Any, refused: Any, needs_whole_weights: bool
) -> None:
    def is_refused(accelerator: Any) -> bool:
        try:
            check_distribution(accelerator, "Method", needs_whole_weights)
        except ValueError:
            return True
        return False

    assert [is_refused(accelerator) for accelerator in (accepted, refused)] == [False, True]


def test_a_retry_after_an_out_of_memory_error_is_refused_on_shards() -> None:
    check_distribution(stub(), "Method", False, auto_find_batch_size=True)
    with pytest.raises(ValueError, match="`auto_find_batch_size` must stay False under FSDP"):
        check_distribution(stub(fsdp_plugin=FSDP2), "Method", False, auto_find_batch_size=True)
