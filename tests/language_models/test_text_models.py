"""Weights of a GGUF file become a model that can be saved; adapters train, and nothing else."""

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_invwnn.language_models import load_language_model, with_adapter
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


def write_gguf(path, model, words):
    """A tiny Llama as llama.cpp stores one; its queries and keys are permuted there."""
    writer, config = gguf.GGUFWriter(path, "llama"), model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
    names |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
    names |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for key, weight in model.state_dict().items():
        name, value = key.removesuffix(".weight"), weight.float()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-1])
        if heads:
            value = value.reshape(heads, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
        if name in whole:
            stored = whole[name]
        else:
            _, _, block, part = name.split(".", 3)
            stored = f"blk.{block}.{names[part]}"
        writer.add_tensor(f"{stored}.weight", value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_a_model_that_answers_alike_and_is_saved(model, tokenizer, tmp_path):
    words = [word for word, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    words[-5:] = ["a", "b", "ab"]  # what the one merge needs; transformers adds a word of its own
    write_gguf(tmp_path / "tiny.gguf", model, words)
    loaded, _ = load_language_model(str(tmp_path / "tiny.gguf"))
    ids = torch.arange(4, 12)[None]
    assert torch.allclose(loaded(ids).logits, model(ids).logits, atol=1e-5)
    loaded.save_pretrained(tmp_path / "saved")
    assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()(ids).logits, loaded(ids).logits)


def test_a_missing_gguf_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"`model`: there is no file nothing\.gguf"):
        load_language_model("nothing.gguf")


def test_quantised_weights_are_refused_without_an_adapter(model, tokenizer, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(type(model), "is_quantized", True, raising=False)
    with pytest.raises(ValueError, match=r"`model`: the weights of .* are quantised"):
        load_language_model(str(tmp_path))
