"""Language models from folders, Hub ids and GGUF files, with and without adapters."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn


def load_language_model(
    name: str, adapter: str | None = None, dtype: torch.dtype = torch.float32, **kwargs: Any
) -> tuple[Any, Any]:
    """
    A causal language model and its tokenizer.

    Args:
        name (`str`): A folder, a Hub id, or a GGUF file, whose weights are dequantised.
        adapter (`str`, *optional*): Folder or Hub id of a PEFT adapter of this model, which stays trainable.
        dtype (`torch.dtype`, defaults to `torch.float32`): Type of the weights.
        kwargs: Arguments of `from_pretrained`.

    Returns:
        `tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]`: The tokenizer pads with its end-of-text token if
            it has no other.

    Raises:
        ValueError: The base of the adapter is another model, the weights are quantised, or the tokenizer has more
            words than the model.
        FileNotFoundError: A GGUF file does not exist.
        ImportError: A package that the file needs is not installed; the message names it.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if adapter is not None:
        check_base(name, adapter)
    path = Path(name)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise FileNotFoundError(f"`model`: there is no file {name}.")
        where, kwargs = str(path.parent), {**kwargs, "gguf_file": path.name}
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=path.name)
        model = _plain(AutoModelForCausalLM.from_pretrained(where, dtype=dtype, **kwargs))
    else:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **kwargs)
        if getattr(model, "is_quantized", False) and adapter is None:
            raise ValueError(f"`model`: the weights of {name} are quantised; dequantise them, or give an `adapter`.")
    model.name_or_path = name
    check_tokenizer(model, tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    return model.eval(), tokenizer


def with_adapter(model: Any, rank: int = 8, seed: int = 0) -> Any:
    """
    A model with a new LoRA adapter on all of its linear layers, the only weights that train.

    Args:
        model (`PreTrainedModel`): The model; changed in place.
        rank (`int`, defaults to 8): Rank of the adapter.
        seed (`int`, defaults to 0): Seed of its first matrices.

    Raises:
        ValueError: `rank` is not positive.
    """
    if rank < 1:
        raise ValueError(f"`lora_rank` must be positive, got {rank}; 8 is usual.")
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def context_length(model: nn.Module) -> int | None:
    """The longest sequence that a model takes, in tokens; `None` if its configuration does not say."""
    config: Any = getattr(model, "config", None)
    return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)


def check_tokenizer(model: Any, tokenizer: Any) -> None:
    """
    Raises:
        ValueError: The tokenizer has more words than the model has embeddings.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} words, the model embeddings of {rows}: it is the tokenizer of "
            "another model, or the embeddings were not resized."
        )


def check_base(model: str, adapter: str) -> None:
    """
    Raises:
        ValueError: A local adapter says that it belongs to another model.
    """
    path = Path(adapter) / "adapter_config.json"
    if not Path(adapter).is_dir():
        return
    if not path.is_file():
        raise ValueError(f"`adapter`: {adapter} has no adapter_config.json; pass the folder of a PEFT adapter.")
    base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if base and base != model and Path(base).name != Path(model).name:
        raise ValueError(f"`adapter`: {adapter} belongs to {base}, not to `model` {model}.")


def _plain(quantised: Any) -> Any:
    """The same weights in a model that can be saved; one that was read from GGUF counts as quantised."""
    config = copy.deepcopy(quantised.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(quantised)(config)
    model.load_state_dict(quantised.state_dict())
    model.tie_weights()
    model.generation_config = quantised.generation_config
    return model


__all__ = ["check_base", "check_tokenizer", "context_length", "load_language_model", "with_adapter"]
