"""Weights of a GGUF file become a model that can be saved; adapters train, and nothing else."""

import torch
from transformers import AutoModelForCausalLM

from hf_invwnn.language_models import with_adapter
from hf_invwnn.language_models.loading import _plain, context_length


def test_a_model_that_counts_as_quantised_becomes_one_that_is_saved_and_answers_alike(model, tmp_path):
    ids = torch.arange(4, 12)[None]
    expected = model(ids).logits
    model.config.quantization_config = {"quant_method": "gguf"}
    plain = _plain(model)
    plain.save_pretrained(tmp_path)
    for loaded in (plain, AutoModelForCausalLM.from_pretrained(tmp_path)):
        assert torch.equal(loaded.eval()(ids).logits, expected)
    assert context_length(plain) == 64


def test_a_new_adapter_is_all_that_trains_and_changes_no_answer(model):
    ids = torch.arange(4, 12)[None]
    expected = model(ids).logits
    adapted = with_adapter(model, rank=2, seed=3)
    assert {name.split(".")[-3] for name, weight in adapted.named_parameters() if weight.requires_grad} == {
        "lora_A",
        "lora_B",
    }
    assert torch.allclose(adapted.eval()(ids).logits, expected)
