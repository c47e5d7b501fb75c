"""A classifier is evaluated in evaluation mode, in the order of the data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import Examples, build_model

from hf_invwnn.image_classification import evaluate_model, predict
from hf_invwnn.metrics import unlearning_metrics


def test_logits_do_not_depend_on_dropout_or_the_batch_size(digits: Examples) -> None:
    """And the mode of the model is restored."""
    model = build_model("vit", hidden_dropout_prob=0.5).train()
    examples = digits.part(0, 50)
    logits, labels = predict(model, examples, batch_size=16)
    assert model.training
    model.eval()
    with torch.no_grad():
        expected = model(pixel_values=examples.columns["pixel_values"]).logits
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert labels.tolist() == examples.columns["labels"].tolist()
    predict(model, examples)
    assert not model.training


def test_the_metrics_are_those_of_the_logits(digits: Examples) -> None:
    model = build_model("vit")
    sets = {"forget": digits.part(0, 40), "retain": digits.part(40, 120), "test": digits.part(120, 180)}
    logits, labels = ({name: predict(model, data)[i] for name, data in sets.items()} for i in range(2))
    assert evaluate_model(model, sets, seed=3) == unlearning_metrics(logits, labels, seed=3)
    with pytest.raises(ValueError, match=r"lacks \['test'\]"):
        evaluate_model(model, {"forget": sets["forget"], "retain": sets["retain"]})
