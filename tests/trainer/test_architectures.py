"""Every kind of Hugging Face classifier works unchanged, and parameters of unusual shape or use are rewound once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import ARCHITECTURES, Examples, build_model, build_predictor, copied, differing
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.predictor import parameter_kind
from hf_invwnn.trajectory.tracking import non_finite


Make = Callable[..., InvWNNUnlearner]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_rewind_of_every_architecture(
    make_unlearner: Make, data_for: Callable[[str], Examples], architecture: str
) -> None:
    """Fine-tuned, recorded, rewound by a network and measured; every parameter that can learn has moved."""
    model = build_model(architecture)
    data = data_for(architecture)
    before = copied(model)
    trainer = make_unlearner(
        model,
        data.part(0, 32),
        eval_dataset=data.part(900, 1000),
        num_rewinds=1,
        predictor=build_predictor(trajectory_scale="weight"),
    )
    trainer.train()
    assert trainer.run_state.rounds == 1
    assert trainer.stop_reason == "all 1 rounds are done"
    assert non_finite(model.state_dict().items()) == []
    assert set(differing(copied(model), before)) == {name for name, _ in model.named_parameters()}
    for point in trainer.history:
        assert 0 <= point["ua"] <= 100
        assert {"eval_forget_loss", "eval_unseen_loss", "eval_unseen_accuracy"} <= point.keys()


def test_the_architectures_have_every_kind_of_parameter_and_shapes_beyond_the_usual() -> None:
    """What the test above covers: 1-D to 4-D parameters, 3-D ones that are no kernels, depthwise convolutions."""
    shapes = {
        architecture: {name: tuple(value.shape) for name, value in build_model(architecture).named_parameters()}
        for architecture in ARCHITECTURES
    }
    kinds = {name: {parameter_kind(shape) for shape in values.values()} for name, values in shapes.items()}
    assert kinds["bert"] == {"linear", "bias"}
    assert all(kinds[name] == {"conv", "linear", "bias"} for name in ("vit", "convnext", "pvt_v2", "resnet"))
    assert any(len(shape) == 3 for shape in shapes["vit"].values())
    assert any(len(shape) == 4 and shape[1] == 1 for shape in shapes["convnext"].values())


def test_token_ids_are_passed_on_as_they_are(make_unlearner: Make, bert: nn.Module, texts: Examples) -> None:
    """Nothing may treat the input of a model as pixels: the embedding gets integers and both inputs arrive."""
    seen: list[tuple[torch.dtype, torch.Size]] = []
    bert.bert.embeddings.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((kwargs["input_ids"].dtype, kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    make_unlearner(bert, texts.part(0, 16), num_rewinds=1).train()
    assert {dtype for dtype, _ in seen} == {torch.int64}
    assert {shape[1] for _, shape in seen} == {16}


def test_tied_weights_are_moved_once(make_unlearner: Make, texts: Examples) -> None:
    """A masked language model whose decoder is its embedding: tied before, tied after, and rewound as one."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForMaskedLM(BertConfig(vocab_size=20, max_position_embeddings=16, tie_word_embeddings=True, **sizes))
    embedding, decoder = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert embedding is decoder
    ids = texts.columns["input_ids"][:16]
    masked = torch.where(torch.arange(16) % 4 == 0, 18, ids)
    labels = torch.where(torch.arange(16) % 4 == 0, ids, -100)
    forget = Examples(input_ids=masked, attention_mask=torch.ones_like(ids), labels=labels)
    start = embedding.detach().clone()
    ends: list[torch.Tensor] = []

    class Recorded:
        """The task vector, noting what it is shown of the tied weight."""

        num_snapshots = None

        def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
            residual = -(trajectory[-1] - trajectory[0])
            if trajectory[0].numel() == start.numel():
                ends.append((trajectory[0] + residual).view_as(start))
            return residual

    make_unlearner(model, forget, num_rewinds=1, residual_scale=1.0, predictor=Recorded()).train()
    found = model.get_input_embeddings().weight
    assert found is model.get_output_embeddings().weight
    assert len(ends) == 1, "the tied weight must be rewound once"
    assert torch.equal(found, ends[0])
    assert not torch.equal(found, start)
