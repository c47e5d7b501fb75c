"""Distance, barrier and probes of models whose values can be computed by hand."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Examples, build_model, copied, differing
from torch import nn

from hf_invwnn.evaluation import barrier, features_of, probes, weight_distance


def test_the_distance_is_that_of_all_parameters_as_one_vector() -> None:
    before, after = build_model("resnet", seed=0), build_model("resnet", seed=1)
    first, second = (nn.utils.parameters_to_vector(model.parameters()).detach().double() for model in (before, after))
    found = weight_distance(before, after)
    assert found["distance"] == pytest.approx(float((first - second).norm()))
    assert found["relative"] == pytest.approx(float((first - second).norm() / first.norm()))
    assert weight_distance(before, copy.deepcopy(before)) == {"distance": 0.0, "relative": 0.0}


def test_a_barrier_is_the_highest_point_above_the_middle_of_the_ends() -> None:
    """A model of one weight, with a hill between -1 and 1 and none between 0 and 1."""
    models = [nn.Linear(1, 1, bias=False) for _ in range(2)]

    def loss(model: Any) -> float:
        return 5 - 4 * float(model.weight) ** 2 + float(model.weight)

    with torch.no_grad():
        for model, weight in zip(models, (-1.0, 1.0), strict=True):
            model.weight.fill_(weight)
    kept = [copied(model) for model in models]
    # The points are -0.8, -0.6 .. 0.8, and the highest of them is 0.2.
    assert barrier(*models, loss, points=9) == pytest.approx(5 - 4 * 0.04 + 0.2 - 1)
    assert all(differing(copied(model), weights) == [] for model, weights in zip(models, kept, strict=True))
    with torch.no_grad():
        models[0].weight.fill_(1.0)
    assert barrier(*models, loss) == pytest.approx(0.0, abs=1e-6)


def test_running_statistics_are_mixed_too(digits: Examples) -> None:
    """Half way between a model and itself with other statistics lies the model with the mean of both."""
    before = build_model("resnet").eval()
    after = copy.deepcopy(before)
    expected = copy.deepcopy(before)
    for name, value in after.named_buffers():
        if name.endswith("running_mean"):
            value += 2
            dict(expected.named_buffers())[name] += 1
    inputs = digits.part(0, 8).columns["pixel_values"]

    def answer(model: Any) -> float:
        return float(model(pixel_values=inputs).logits.square().sum())

    found = barrier(before, after, answer, points=1)
    assert found == pytest.approx(answer(expected) - (answer(before) + answer(after)) / 2, rel=1e-4)


def test_features_are_the_inputs_of_the_last_layer(digits: Examples) -> None:
    model: Any = build_model("vit")
    features, labels = features_of(model, digits.part(0, 10), batch_size=4)
    logits = model.eval()(pixel_values=digits.part(0, 10).columns["pixel_values"]).logits
    again = torch.tensor(features) @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(again, logits)
    assert labels.tolist() == digits.part(0, 10).columns["labels"].tolist()
    assert not model.classifier._forward_pre_hooks


def test_probes_read_what_the_last_layer_no_longer_says() -> None:
    """Features that separate the classes give their labels away; those that hold nothing do not."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    clear = np.eye(3)[labels] * 4 + generator.normal(0, 0.3, (300, 3))
    empty = generator.normal(0, 1, (300, 3))
    known, asked = slice(0, 200), slice(200, 300)
    found = probes((clear[known], labels[known]), (clear[asked], labels[asked]))
    assert found == {"nearest_mean": 100.0, "linear": 100.0}
    found = probes((empty[known], labels[known]), (empty[asked], labels[asked]))
    assert max(found.values()) < 50
    means = np.stack([empty[known][labels[known] == name].mean(axis=0) for name in range(3)])
    nearest = [min(range(3), key=lambda name: math.dist(row, means[name])) for row in empty[asked]]
    assert found["nearest_mean"] == pytest.approx(100 * np.mean(np.array(nearest) == labels[asked]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weight_distance(build_model("vit"), build_model("resnet")), "`after` must have the parameters"),
        (lambda: barrier(nn.Linear(1, 1), nn.Linear(1, 1), lambda _: 0.0, points=0), "`points` must be positive"),
        (lambda: features_of(nn.Flatten(), []), "`model`: Flatten has no linear layer"),
        (lambda: probes((np.zeros((2, 1)), np.zeros(2)), (np.zeros((2, 1)), np.zeros(2))), "two classes or more"),
    ],
)
def test_bad_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
