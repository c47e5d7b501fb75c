"""The definitions of NPO, SimNPO and RMU, computed independently: language models, adapters, classifiers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers import Examples, RaiseAt, build_model, copied, differing, unchanged
from scipy.special import log_softmax
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorForLanguageModeling,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from hf_invwnn import UnlearningArguments
from hf_invwnn.language_models import with_adapter
from hf_invwnn.methods import make_unlearner


FORGETTING = ("npo", "sim_npo", "rmu")
Make = Callable[..., Any]


def llama(layers: int = 4) -> nn.Module:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=40, max_position_embeddings=16, pad_token_id=0, **shape)).eval()


def texts(seed: int, count: int = 8) -> Examples:
    """Texts of 4 to 10 tokens, padded to 10, of which the first two are a prompt without labels."""
    draws = np.random.default_rng(seed)
    ids, lengths = torch.tensor(draws.integers(3, 40, (count, 10))), torch.tensor(draws.integers(4, 11, count))
    mask = torch.arange(10) < lengths[:, None]
    labelled = mask & (torch.arange(10) >= 2)
    return Examples(
        input_ids=torch.where(mask, ids, 0), attention_mask=mask.long(), labels=torch.where(labelled, ids, -100)
    )


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(name: str, model: nn.Module, forget: Any, retain: Any = None, **own: Any) -> Any:
        options = own.pop("options", {})
        defaults = {"num_rewinds": 2, "num_snapshots": 2, "save_strategy": "no", "per_device_train_batch_size": 8}
        quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "learning_rate": 1e-2}
        args = UnlearningArguments(str(tmp_path / "out"), **{**defaults, **quiet, **options})
        return make_unlearner(name, model, args, forget, retain, **own)

    return build


def moved(model: nn.Module) -> nn.Module:
    """The model after steps of its own, so that it differs from the original."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.3 * torch.randn_like(weight))
    return model


def log_likelihoods(model: nn.Module, batch: dict[str, torch.Tensor]) -> list[list[float]]:
    """For each text the log-probabilities of its labelled tokens, each from the logits before it."""
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logs, labels = log_softmax(logits.double().numpy(), axis=-1), batch["labels"].tolist()
    return [
        [logs[row, place - 1, label] for place, label in enumerate(labels[row]) if label != -100]
        for row in range(len(labels))
    ]


@pytest.mark.parametrize("adapter", [False, True], ids=["weights", "lora"])
def test_npo_compares_whole_texts_with_the_original_model(adapter: bool, make: Make) -> None:
    model, forget = with_adapter(llama(), rank=2, seed=0) if adapter else llama(), texts(0)
    original = copy.deepcopy(model)
    unlearner = make("npo", model, forget, beta=0.3)
    unlearner.prepare_run()
    at_the_start = unlearner.compute_loss(model.train(), dict(forget.columns))
    assert at_the_start.item() == pytest.approx(2 / 0.3 * np.log(2), rel=1e-5)
    now = copied(moved(model))
    loss = unlearner.compute_loss(model.train(), dict(forget.columns))
    before, after = (log_likelihoods(each.eval(), forget.columns) for each in (original, model))
    ratios = np.array([sum(new) - sum(old) for old, new in zip(before, after, strict=True)])
    assert np.ptp(ratios) > 0.5
    expected = np.mean([-2 / 0.3 * np.log(1 / (1 + np.exp(0.3 * ratio))) for ratio in ratios])
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert differing(copied(model), now) == [], "the original answers with a copy of what changes, and is put away"
    loss.backward()
    grown = [weight for weight in model.parameters() if weight.grad is not None and weight.grad.abs().max() > 0]
    assert grown and all(weight.requires_grad for weight in grown)


def test_sim_npo_compares_the_mean_token_with_a_margin(make: Make) -> None:
    model, forget = moved(llama()), texts(0)
    loss = make("sim_npo", model, forget, beta=1.5, gamma=0.4).compute_loss(model.train(), dict(forget.columns))
    means = [np.mean(each) for each in log_likelihoods(model.eval(), forget.columns)]
    expected = np.mean([-2 / 1.5 * np.log(1 / (1 + np.exp(1.5 * mean + 0.4))) for mean in means])
    assert loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["npo", "sim_npo"])
def test_a_class_is_one_label(name: str, make: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    original, batch = copy.deepcopy(memorised_vit), noisy.part(0, 8).columns
    unlearner = make(name, memorised_vit, noisy, beta=0.5)
    unlearner.prepare_run()
    with torch.no_grad():
        memorised_vit.classifier.weight.mul_(0.5)  # type: ignore[operator, union-attr]
    loss = unlearner.compute_loss(memorised_vit.train(), dict(batch))
    with torch.no_grad():
        logits = [each.eval()(batch["pixel_values"]).logits.double() for each in (original, memorised_vit)]
    old, new = (log_softmax(each, axis=-1)[np.arange(8), batch["labels"]] for each in logits)
    ratio = new - old if name == "npo" else new
    assert loss.item() == pytest.approx(np.mean(4 * np.log(1 + np.exp(0.5 * ratio))), rel=1e-4)


@pytest.mark.parametrize("adapter", [False, True], ids=["weights", "lora"])
def test_rmu_pushes_one_half_and_holds_the_other(adapter: bool, make: Make) -> None:
    model = with_adapter(llama(), rank=2, seed=0) if adapter else llama()
    original, forget, retain = copy.deepcopy(model).eval(), texts(0), texts(1)
    unlearner = make("rmu", model, forget, retain, coefficient=3.0, alpha=20.0, layer=2, options={"seed": 5})
    unlearner.prepare_run()
    moved(model)
    pair = {"forget": dict(forget.columns), "retain": dict(retain.columns)}
    loss = unlearner.compute_loss(model.train(), pair)

    def activations(model: nn.Module, batch: dict[str, torch.Tensor]) -> list[np.ndarray]:
        """Of every text those of its tokens, after two layers."""
        found: list[torch.Tensor] = []
        layers = [part for name, part in model.named_modules() if name.endswith("layers.1")]
        hook = layers[0].register_forward_hook(lambda module, args, output: found.append(output))
        with torch.no_grad():
            model.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        hook.remove()
        counts = batch["attention_mask"].sum(dim=1).tolist()
        return [row[:count].double().numpy() for row, count in zip(found[0], counts, strict=True)]

    direction = torch.rand(16, generator=torch.Generator().manual_seed(5)).double().numpy()
    target = 3 * direction / np.sqrt((direction**2).sum())
    pushed = np.mean([((row - target) ** 2).mean() for row in activations(model, pair["forget"])])
    pairs = zip(activations(model, pair["retain"]), activations(original, pair["retain"]), strict=True)
    held = np.mean([((now - before) ** 2).mean() for now, before in pairs])
    assert held > 1e-4
    assert loss.item() == pytest.approx(pushed + 20 * held, rel=1e-4)


def test_rmu_trains_what_its_layer_depends_on(make: Make) -> None:
    model = llama()
    before = copied(model)
    make("rmu", model, texts(0), texts(1), layer=2, options={"weight_decay": 0.1}).train()
    places = {name for name in before if ".layers.0." in name or ".layers.1." in name or "embed" in name}
    assert set(differing(copied(model), before)) == places
    assert all(weight.requires_grad for weight in model.parameters())
    default = make("rmu", llama(8), texts(0), texts(1))
    assert {name.split(".")[2] for name in default.tracked.parameters if "layers" in name} == {"0", "1"}


@pytest.mark.parametrize("architecture", ["resnet", "bert"])
def test_rmu_works_on_channels_and_on_classifiers_of_texts(
    architecture: str, make: Make, data_for: Callable[[str], Examples]
) -> None:
    model, data = build_model(architecture), data_for(architecture)
    unlearner = make("rmu", model, data.part(0, 8), data.part(8, 24), coefficient=30.0, alpha=1.0)
    unlearner.prepare_run()
    batch = {name: value for name, value in data.part(0, 8).columns.items() if name != "labels"}
    found = unlearner.activations(model.eval(), batch)
    layer = model(**batch, output_hidden_states=True).hidden_states[1]
    if architecture == "resnet":
        assert torch.equal(found[:, 3], layer[:, :, 3 // layer.shape[3], 3 % layer.shape[3]])
    else:
        assert torch.equal(found, layer)
    unlearner.train()
    after = unlearner.activations(model.eval(), batch)
    target = unlearner.target(found)
    assert (after - target).square().mean() < 0.99 * (found - target).square().mean()


@pytest.mark.parametrize("name", FORGETTING)
@pytest.mark.parametrize("adapter", [False, True], ids=["weights", "lora"])
def test_a_text_is_forgotten_and_a_resumed_run_ends_alike(name: str, adapter: bool, make: Make) -> None:
    """The copy of the original weights is in the checkpoint: resumed from others, it would be those."""
    options: dict[str, Any] = {"num_rewinds": 4, "save_strategy": "steps", "save_steps": 2}
    ends, losses = [], []
    for broken in (False, True):
        model, own = llama(), {"coefficient": 20.0, "alpha": 1.0} if name == "rmu" else {}
        model = with_adapter(model, rank=4, seed=0) if adapter else model
        start = copied(model)
        if broken:
            stopped = make(name, model, texts(0), texts(1), options=options, **own)
            stopped.add_callback(RaiseAt(3, SystemError("power cut")))
            stopped.callback_handler.callbacks.insert(0, stopped.callback_handler.callbacks.pop())
            with pytest.raises(SystemError, match="power cut"):
                stopped.train()
            model.load_state_dict(start)
        unlearner = make(name, model, texts(0), texts(1), options={**options, "save_strategy": "no"}, **own)
        unlearner.train(resume_from_checkpoint=broken)
        ends.append(copied(model))
        losses.append([point["eval_forget_loss"] for point in unlearner.history])
    assert differing(*ends) == [] and losses[0] == losses[1]
    assert losses[0][-1] > losses[0][0] or name == "rmu"  # nothing was learnt here that lost activations would cost


@pytest.mark.parametrize("name", FORGETTING)
def test_eight_batches_of_one_are_one_of_eight(name: str, make: Make) -> None:
    """Texts of different lengths weigh the same, whatever batch they are in."""
    ends = []
    for batch in (1, 8):
        model, own = llama(), {"coefficient": 20.0, "alpha": 1.0} if name == "rmu" else {}
        sizes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": 8 // batch}
        options: dict[str, Any] = {**sizes, "optim": "sgd", "num_rewinds": 2, "learning_rate": 0.1}
        make(name, model, texts(0), texts(1), options=options, **own).train()
        ends.append(copied(model))
    for weight, other in zip(*(end.values() for end in ends), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["npo", "sim_npo"])
def test_labels_of_a_text_may_come_from_the_collator(name: str, make: Make) -> None:
    class Padded:
        """What the collator of language models asks of a tokenizer."""

        pad_token_id, padding_side, mask_token = 0, "right", None

        def pad(self, examples: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
            return {"input_ids": torch.tensor([example["input_ids"] for example in examples])}

    rows = Dataset.from_dict({"input_ids": texts(0).columns["input_ids"].clamp(min=3).tolist()})
    unlearner = make(name, llama(), rows, data_collator=DataCollatorForLanguageModeling(Padded(), mlm=False))
    unlearner.train()
    assert unlearner.history[-1]["eval_forget_loss"] > unlearner.history[0]["eval_forget_loss"]


@pytest.mark.parametrize("name", ["npo", "sim_npo"])
def test_encoder_decoders_have_labels_in_place(name: str, make: Make) -> None:
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    model, data = T5ForConditionalGeneration(T5Config(vocab_size=40, dropout_rate=0.0, **shape)), texts(0)
    unlearner = make(name, model, data, beta=0.5)
    unlearner.prepare_run()
    loss = unlearner.compute_loss(model.train(), dict(data.columns))
    with torch.no_grad():
        logs = log_softmax(model(**data.columns).logits.double().numpy(), axis=-1)
    labels = data.columns["labels"].tolist()
    means = [np.mean([logs[row, at, one] for at, one in enumerate(labels[row]) if one != -100]) for row in range(8)]
    expected = 4 * np.log(2) if name == "npo" else np.mean(4 * np.log(1 + np.exp(0.5 * np.array(means))))
    assert loss.item() == pytest.approx(expected, rel=1e-4)


# ---- What cannot work ----


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("npo", {"beta": 0.0}),
        ("npo", {"beta": float("nan")}),
        ("sim_npo", {"beta": -1.0}),
        ("sim_npo", {"gamma": -0.1}),
        ("rmu", {"coefficient": 0.0}),
        ("rmu", {"alpha": -1.0}),
        ("rmu", {"layer": -1}),
        ("rmu", {"layer": 1.5}),
        ("rmu", {"layer": 5}),
    ],
)
def test_parameters_that_cannot_work_are_refused(name: str, own: dict[str, Any], make: Make) -> None:
    model = llama()
    with unchanged(model), pytest.raises(ValueError, match=f"^`{next(iter(own))}` must be "):
        make(name, model, texts(0), texts(1), **own)


@pytest.mark.parametrize("name", ["npo", "sim_npo"])
def test_a_head_without_classes_or_tokens_is_refused(name: str, make: Make) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=40, num_labels=5, problem_type="multi_label_classification", **shape)
    data = Examples(input_ids=texts(0).columns["input_ids"], labels=torch.ones(8, 5))
    message = r"works on classes of examples and classes of tokens and tokens of a vocabulary, .* are no classes"
    with pytest.raises(ValueError, match=message):
        make(name, BertForSequenceClassification(config), data)


def test_rmu_needs_hidden_states_that_tracked_weights_change(make: Make, digits: Examples) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build_model("vit")

        def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            return self.inner(pixel_values=pixel_values, labels=labels)

    with pytest.raises(ValueError, match=r"^`model` returns no hidden states, which RMU needs \(TypeError"):
        make("rmu", Own(), digits.part(0, 8), digits.part(8, 16))
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    with pytest.raises(ValueError, match=r"^`model` returns no hidden states, which RMU needs"):
        make("rmu", T5ForConditionalGeneration(T5Config(vocab_size=40, **shape)), texts(0), texts(1))
    for options, layer in (({"tracked_parameters": r"layers\.3"}, 2), ({"tracked_parameters": "lm_head"}, 4)):
        model = llama()
        with unchanged(model), pytest.raises(ValueError, match=r"^`layer` must lie after weights that are tracked"):
            make("rmu", model, texts(0), texts(1), layer=layer, options=options)
