"""
Uniform: gradient descent until the model predicts every class of a forget example with the same probability.

    pip install ./recipes/third_party_method

registers the method under the name "uniform", by the entry point in its pyproject.toml:
`hf_invwnn.methods.make_unlearner("uniform", ...)`, and `uniform:` in the `methods` of a comparison.
"""

from typing import Any

import torch

from hf_invwnn.methods.base import GradientUnlearner, logits_of


class UniformUnlearner(GradientUnlearner):
    r"""Minimises `-1/C sum_c log p_c(x)` over D_f, which is `KL(uniform || p(x))` up to a constant. Forget-only."""

    title = "Uniform"

    def unlearning_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        return -logits_of(model, inputs).log_softmax(dim=-1).mean()
