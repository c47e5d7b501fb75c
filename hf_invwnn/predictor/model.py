"""InvWNN as a Hugging Face model: three networks, one for each kind of parameter, behind `from_pretrained`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from .base import check_trajectory
from .config import PARAMETER_KINDS, InvWNNConfig
from .network import InvWNNNetwork, variance_scaling_
from .prediction import ACCELERATOR_BLOCK_SIZE, PredictionCache


@dataclass
class InvWNNOutput(ModelOutput):
    """
    What [`InvWNNModel.forward`] returns.

    Args:
        loss (`torch.Tensor`, *optional*): Eq. 7 and its penalties, a scalar; only where `labels` were given.
        residual (`torch.Tensor` of shape `(N,)`): `theta^{t-U} - theta^t`.
        past (`torch.Tensor` of shape `(N,)`): `theta^{t-U}`.
    """

    loss: torch.Tensor | None = None
    residual: torch.Tensor | None = None
    past: torch.Tensor | None = None


def tensor_unit(trajectory: torch.Tensor) -> torch.Tensor:
    """Root mean square displacement, oldest to newest snapshot, of the weights of a trajectory `(K, N)`: a scalar."""
    return (trajectory[-1].float() - trajectory[0].float()).square().mean().sqrt()


class InvWNNModel(PreTrainedModel):
    r"""
    Predicts what a weight was U epochs ago from its last K values, elementwise (Jang, Kim and Youn, "Learning to
    Rewind via Iterative Prediction of Past Weights for Practical Unlearning", AAAI 2025):

        theta^{t-U} = theta^t + InvWNN(W, dW),   W = [theta^t .. theta^{t+K-1}]

    Trajectories are always passed oldest snapshot first; the residual belongs to the oldest one.
    """

    config_class = InvWNNConfig
    base_model_prefix = ""
    main_input_name = "trajectory"

    # Most trajectories predicted at once on a CPU: enough for two cores to share.
    block_size = 16384

    def __init__(self, config: InvWNNConfig) -> None:
        super().__init__(config)
        self.networks = nn.ModuleDict({kind: InvWNNNetwork(config) for kind in PARAMETER_KINDS})
        self._prediction_cache = PredictionCache()
        self.post_init()

    @property
    def num_snapshots(self) -> int:
        return self.config.num_snapshots

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            variance_scaling_(module.weight, self.config.initializer_scale)
            nn.init.zeros_(module.bias)

    def forward(
        self,
        trajectory: torch.Tensor,
        kind: str,
        labels: torch.Tensor | None = None,
        unit: torch.Tensor | None = None,
        return_dict: bool | None = None,
    ) -> InvWNNOutput:
        r"""
        Predicts the past of N weights of one kind, with gradients.

        Args:
            trajectory (`torch.Tensor` of shape `(N, K)`): The last K values of each weight, oldest first.
            kind (`str`): `"conv"`, `"linear"` or `"bias"`.
            labels (`torch.Tensor` of shape `(N,)`, *optional*): The true `theta^{t-U}`.
            unit (`torch.Tensor` of shape `(N,)` or `()`, *optional*): With `trajectory_scale="tensor"`, the root mean
                square displacement of each weight's tensor; that of the given weights by default.

        Returns:
            [`InvWNNOutput`], with a loss if there are labels:
            `mean |past - labels| + kernel_penalty * sum |kernels| + bias_penalty * sum |biases|` (eq. 7).

        Raises:
            ValueError: The kind is unknown or the trajectory has another number of snapshots.
        """
        if trajectory.ndim != 2:
            raise ValueError(f"`trajectory` must have the shape (N, K), got {tuple(trajectory.shape)}.")
        check_trajectory(trajectory.T, kind, self.num_snapshots)
        oldest = trajectory[:, 0]
        network_input, scale = self._network_input(trajectory, unit)
        residual = self.networks[kind](network_input)
        if scale is not None:
            residual = residual * scale
        past = oldest + residual
        loss = None
        if labels is not None:
            if labels.shape != past.shape:
                raise ValueError(f"`labels` must have the shape {tuple(past.shape)}, got {tuple(labels.shape)}.")
            loss = (past - labels).abs().mean() + self.penalty(kind)
        return InvWNNOutput(loss=loss, residual=residual, past=past)

    def _network_input(
        self, trajectory: torch.Tensor, unit: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the network takes of `(N, K)`, and the scale of its residual (`None` for 1)."""
        network_input, scale = self._normalized(trajectory, unit)
        return network_input.flip(-1) if self.config.newest_first else network_input, scale

    def _normalized(
        self, trajectory: torch.Tensor, unit: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.config.trajectory_scale == "none":
            return trajectory, None
        displacement = trajectory - trajectory[:, :1]
        if self.config.trajectory_scale == "weight":
            scale = displacement.abs().amax(dim=-1)
        else:
            scale = tensor_unit(trajectory.T) if unit is None else unit
        # What stood still has scale 0, which makes its residual 0 whatever the network says.
        return displacement / scale.clamp_min(torch.finfo(scale.dtype).tiny).unsqueeze(-1), scale

    def penalty(self, kind: str) -> torch.Tensor:
        """The L1 penalties of eq. 7 for the network of one kind."""
        kernels = torch.zeros((), device=self.device)
        biases = torch.zeros((), device=self.device)
        for name, parameter in self.networks[kind].named_parameters():
            if name.endswith("bias"):
                biases = biases + parameter.abs().sum()
            else:
                kernels = kernels + parameter.abs().sum()
        return self.config.kernel_penalty * kernels + self.config.bias_penalty * biases

    @torch.no_grad()
    def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        r"""
        Residual of a whole parameter, in blocks of `block_size` weights.

        In float32 it is computed with factored matrices where these are exact enough: when a kind is first predicted,
        and again when its weights have changed, its network is factored and compared with the exact one on
        trajectories that it was not fitted on. The factored network counts if its root mean square error is at most
        1e-5 of the root mean square residual; in practice it is below 1e-6, near the rounding of the exact network.
        With `trajectory_scale="none"` the comparison covers weights up to 1 that move by up to 0.1 from one snapshot
        to the next. Every other weight, and every other dtype, is predicted by the exact network. Which network
        predicts a weight depends on the model and on the weight's own trajectory alone.

        Args:
            trajectory (`torch.Tensor` of shape `(K, *shape)`): K snapshots, oldest first, any float dtype and device.
            kind (`str`): `"conv"`, `"linear"` or `"bias"`.

        Returns:
            `torch.Tensor` of shape `(*shape)`: `theta^{t-U} - theta^t`, in the predictor's dtype.

        Raises:
            ValueError: The kind is unknown or the trajectory has another number of snapshots.
        """
        check_trajectory(trajectory, kind, self.num_snapshots)
        flat = trajectory.reshape(self.num_snapshots, -1)
        unit = tensor_unit(flat).to(self.device, self.dtype) if self.config.trajectory_scale == "tensor" else None
        block_size = self.block_size if self.device.type == "cpu" else ACCELERATOR_BLOCK_SIZE
        trained: Any = self.networks[kind]
        config: Any = self.config
        with self._prediction_cache.lock:
            network = self._prediction_cache.network(kind, trained, config)
            residual = network(flat, block_size, unit)
        return residual.reshape(trajectory.shape[1:])

    def predict_past(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        r"""
        `theta^{t-U}` of a whole parameter: `(K, *shape) -> (*shape)`, in the dtype of the trajectory.

        Takes and raises what [`~InvWNNModel.predict_residual`] does.
        """
        residual = self.predict_residual(trajectory, kind)
        return (trajectory[0].to(residual.dtype) + residual).to(trajectory.dtype)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """
        Loads a predictor from a folder or the Hub, whole or not at all: safetensors only.

        Takes what `PreTrainedModel.from_pretrained` takes.

        Raises:
            ValueError: The weights file is truncated, or a weight is missing, unexpected, misshapen or not finite; the
                message names it.
            OSError: There is no `model.safetensors` (pickled weights are never read).
        """
        if kwargs.get("use_safetensors", True) is not True:
            raise ValueError("`use_safetensors` must stay True: a predictor is never read from pickled weights.")
        kwargs["use_safetensors"] = True
        with_loading_info = kwargs.pop("output_loading_info", False)
        kwargs["ignore_mismatched_sizes"] = True  # so that the message below names every one of them
        try:
            loaded: Any = super().from_pretrained(
                pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
            )
        except SafetensorError as error:
            raise ValueError(
                f"The weights of the predictor `{pretrained_model_name_or_path}` are damaged ({error}). "
                "Save or download them again."
            ) from error
        model, info = loaded
        model._refuse_incomplete(info, str(pretrained_model_name_or_path))
        return (model, info) if with_loading_info else model

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        license: str | None = None,
        trained_on: str | None = None,
        skill: str | None = None,
        **save_kwargs: Any,
    ) -> str:
        """
        Uploads the predictor with a card, as one commit; see [`~hf_invwnn.hub.push`].

        Args:
            repo_id (`str`): `user/name`; made if there is none.
            commit_message (`str`, *optional*), private (`bool`, *optional*), token (`str`, *optional*),
                revision (`str`, *optional*): As for [`~hf_invwnn.hub.push`].
            license (`str`, *optional*): For the card.
            trained_on (`str`, *optional*), skill (`str`, *optional*): Markdown for the card: what it was trained on,
                and a table of how well it predicts.
            save_kwargs: Arguments of `save_pretrained`, such as `max_shard_size`.

        Returns:
            `str`: Address of the commit.

        Raises:
            PushError: It could not be done; nothing of it is visible.
        """
        from ..hub.push import push
        from .card import predictor_contents

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, **save_kwargs)
            for name, text in (("trained_on.md", trained_on), ("skill.md", skill)):
                if text is not None:
                    Path(folder, name).write_text(text, encoding="utf-8")
            commit = push(
                predictor_contents(folder, repo_id, license),
                repo_id,
                private=private,
                revision=revision,
                token=token if isinstance(token, str) else None,
                commit_message=commit_message,
            )
        return str(commit.commit_url)

    def _refuse_incomplete(self, info: dict[str, Any], source: str) -> None:
        problems = {
            "missing": sorted(info["missing_keys"]),
            "unexpected": sorted(info["unexpected_keys"]),
            "misshapen": sorted(str(key[0]) for key in info["mismatched_keys"]),
            "not finite": [name for name, value in self.named_parameters() if not value.isfinite().all()],
        }
        message = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems.items() if names)
        if message:
            raise ValueError(f"`{source}` does not hold the weights its config.json asks for. {message}.")


AutoConfig.register("invwnn", InvWNNConfig, exist_ok=True)
AutoModel.register(InvWNNConfig, InvWNNModel, exist_ok=True)

__all__ = ["InvWNNModel", "InvWNNOutput", "tensor_unit"]
