"""The command forgets given texts and not others, and its adapter loads in plain PEFT."""

import json

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq

from hf_invwnn.cli.main import main
from hf_invwnn.language_models import evaluate_texts, load_language_model, read_texts, tokenize_texts, with_adapter


@pytest.fixture
def folder(tmp_path, model, tokenizer, texts):
    """A model that has learnt twelve of sixteen texts by heart, and files of those to forget, to keep and unseen."""
    rows = tokenize_texts(texts[:12], tokenizer)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        model(**DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)(list(rows))).loss.backward()
        optimizer.step()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    for name, part in {"forget": texts[:4], "kept": texts[4:12], "unseen": texts[12:]}.items():
        lines = [json.dumps({"prompt": text.prompt, "answer": text.answer}) for text in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return tmp_path


def command(folder, *words):
    sets = [part for name in ("forget", "kept", "unseen") for part in (f"--{name}", str(folder / f"{name}.jsonl"))]
    output = ["--output_dir", str(folder / "out"), "--use_cpu"]
    return main(["unlearn-text", "--model", str(folder / "model"), *sets, *output, *words])


@pytest.mark.slow
def test_the_adapter_of_a_run_loads_in_plain_peft_and_has_forgotten(folder, capsys):
    words = ("--learning_rate", "5e-3", "--merge", "--recovery_steps", "20")
    assert command(folder, *words) == 0, capsys.readouterr().err
    results = json.loads((folder / "out" / "texts.json").read_text())
    before, after = results["before"], results["after"]
    assert after["forget"]["loss"] > before["forget"]["loss"] + 0.1
    assert after["forget"]["loss"] - before["forget"]["loss"] > after["kept"]["loss"] - before["kept"]["loss"]
    plain = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder / "model"), folder / "out")
    merged, tokenizer = load_language_model(str(folder / "out" / "merged"))
    rows = tokenize_texts(read_texts(str(folder / "forget.jsonl")), tokenizer)
    for model in (plain, merged):
        report = evaluate_texts(model, rows, DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100))
        assert report.loss == pytest.approx(after["forget"]["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("surrogates", ["unseen", "continuations", "mixed_embeddings"])
def test_a_run_recovers_on_any_surrogates(folder, capsys, surrogates):
    words = ("--learning_rate", "5e-3", "--recovery_steps", "10", "--surrogates", surrogates)
    assert command(folder, *words) == 0, capsys.readouterr().err
    results = json.loads((folder / "out" / "texts.json").read_text())
    assert results["after"]["forget"]["loss"] > results["before"]["forget"]["loss"] + 0.1
    assert "recovery" in results["stopped"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("--method", "neg_grad_plus"),
        ("--method", "rmu"),
        ("--lora_rank", "0", "--recovery_steps", "0"),
        ("--gradient_checkpointing", "--recovery_steps", "0"),
    ],
)
def test_what_a_run_changes(folder, capsys, words):
    """The adapter or all weights, with texts to keep where a method trains on them."""
    assert command(folder, "--learning_rate", "5e-3", "--max_forget_steps", "28", *words) == 0, capsys.readouterr().err
    results = json.loads((folder / "out" / "texts.json").read_text())
    assert results["after"]["forget"]["loss"] != results["before"]["forget"]["loss"]
    assert (folder / "out" / "adapter_model.safetensors").exists() == ("--lora_rank" not in words)


@pytest.mark.slow
def test_a_given_adapter_goes_on(folder, model, tokenizer, capsys):
    adapted = with_adapter(model, rank=2)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    adapted.save_pretrained(folder / "adapter")
    collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)
    rows = tokenize_texts(read_texts(str(folder / "forget.jsonl")), tokenizer)
    words = ("--adapter", str(folder / "adapter"), "--recovery_steps", "0", "--max_forget_steps", "14")
    assert command(folder, *words) == 0, capsys.readouterr().err
    results = json.loads((folder / "out" / "texts.json").read_text())
    expected = evaluate_texts(adapted, rows, collate)
    assert results["before"]["forget"]["loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert json.loads((folder / "out" / "adapter_config.json").read_text())["r"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--prefix", "-1"), "`prefix` must be 0 or more tokens"),
        (("--method", "nothing"), "`method` must be one of"),
        (("--lora_rank", "-1"), "`lora_rank` must be 0"),
        (("--answer_column", "reply"), "`forget` must have the columns 'prompt' and 'reply'"),
        (("--unseen", "missing.jsonl"), "`unseen`: there is no file"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(folder, capsys, words, message):
    assert command(folder, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (folder / "out").exists()


def test_a_run_without_a_goal_is_refused(folder, capsys):
    words = ["--model", str(folder / "model"), "--forget", str(folder / "forget.jsonl"), "--output_dir", "out"]
    assert main(["unlearn-text", *words]) == 2
    assert "`unseen` is missing" in capsys.readouterr().err
    assert main(["unlearn-text", *words, "--surrogates", "unseen"]) == 2
    refused = capsys.readouterr().err
    assert "'unseen' stands for the texts of `unseen`, which are missing" in refused
    assert main(["unlearn-text", *words, "--method", "rmu", "--max_forget_steps", "1"]) == 2
    assert "`kept`: rmu trains on texts to keep" in capsys.readouterr().err


def test_an_adapter_of_another_model_and_a_strange_tokenizer_are_refused(folder, tokenizer):
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/other"}))
    with pytest.raises(ValueError, match="belongs to somebody/other, not to `model`"):
        load_language_model(str(folder / "model"), str(adapter))
    tokenizer.add_tokens(["further"])
    tokenizer.save_pretrained(folder / "model")
    with pytest.raises(ValueError, match="The tokenizer has 33 words, the model embeddings of 32"):
        load_language_model(str(folder / "model"))
