"""Ways to divide a model that a trajectory cannot follow are refused, with the setting that would do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hf_invwnn.trainer.checks import check_distribution


def accelerator(mixed_precision: str = "no", **plugins: Any) -> Any:
    """What accelerate says of a run, for the plugins are not to be had on every machine."""
    return SimpleNamespace(mixed_precision=mixed_precision, state=SimpleNamespace(**plugins))


def deepspeed(stage: int = 2, **config: Any) -> SimpleNamespace:
    return SimpleNamespace(zero_stage=stage, deepspeed_config=config)


FSDP2 = SimpleNamespace(fsdp_version=2, state_dict_type="StateDictType.FULL_STATE_DICT")
SHARDED = SimpleNamespace(fsdp_version=2, state_dict_type="StateDictType.SHARDED_STATE_DICT")


@pytest.mark.parametrize(
    ("of", "whole", "says"),
    [
        (accelerator(fsdp_plugin=SimpleNamespace(fsdp_version=1)), False, "set `fsdp_version: 2`"),
        (
            accelerator(fsdp_plugin=SHARDED),
            False,
            "SHARDED_STATE_DICT, .* set `fsdp_state.*: FULL_STATE_DICT`",
        ),
        (accelerator(fsdp_plugin=FSDP2), True, "Method ranks or widens whole tensors .* use DDP"),
        (accelerator(deepspeed_plugin=deepspeed(3)), False, "`zero_stage` is 3, .* use 2, or FSDP2"),
        (accelerator("bf16", deepspeed_plugin=deepspeed()), False, "leave `bf16` and `fp16` out .* `torch_autocast`"),
        (accelerator(deepspeed_plugin=deepspeed(bf16={"enabled": True})), False, "`torch_autocast`"),
        (accelerator(deepspeed_plugin=deepspeed(fp16={"enabled": True})), False, "`torch_autocast`"),
    ],
    ids=[
        "fsdp-1",
        "no-weights",
        "whole-tensors-on-shards",
        "zero-3",
        "bf16",
        "bf16-in-the-file",
        "fp16-in-the-file",
    ],
)
def test_what_cannot_be_followed(of: Any, whole: bool, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_distribution(of, "Method", whole)


@pytest.mark.parametrize(
    ("of", "whole"),
    [
        (accelerator("bf16"), True),
        (accelerator("bf16", fsdp_plugin=FSDP2), False),
        (accelerator(deepspeed_plugin=deepspeed(bf16={"enabled": False}, torch_autocast={"enabled": True})), True),
        (accelerator(deepspeed_plugin=deepspeed(bf16={"enabled": "auto"})), True),
    ],
    ids=["ddp", "fsdp-2", "zero-2-with-autocast", "zero-2-as-the-run-says"],
)
def test_what_can_be(of: Any, whole: bool) -> None:
    check_distribution(of, "Method", whole)
