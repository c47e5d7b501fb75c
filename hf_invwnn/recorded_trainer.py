"""A `Trainer` that writes down what its run was, and uploads only what may be seen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer

from .record import hash_files, make_record, write_record
from .sharing.allowed import model_files


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

    from .scenarios import UnlearningSplits


class RecordedTrainer(Trainer):
    """
    What unlearners add to `Trainer` about saving and sharing. After `train`, `save_model` writes `unlearning.json`
    beside the model, and pushes upload the files of an allow-list as one commit, with a card.
    """

    unlearning: Any
    predictor: Any = None
    hub_model_id: Any

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves as the Trainer does, and beside the model of a finished run its record."""
        push, self.args.push_to_hub = self.args.push_to_hub, False
        try:
            super().save_model(output_dir, _internal_call)
        finally:
            self.args.push_to_hub = push
        if _internal_call or self.unlearning.stop_reason is None:
            return
        if self.is_world_process_zero():
            self.save_record(output_dir)
        if push:
            self.push_to_hub(commit_message="Model save")

    def save_record(
        self,
        output_dir: str | os.PathLike | None = None,
        *,
        splits: UnlearningSplits | None = None,
        metrics: Mapping[str, Mapping[str, float] | None] | None = None,
        oracle_used: bool | None = None,
        base_model: str | None = None,
        datasets: Sequence[str] | None = None,
        license: str | None = None,
    ) -> dict[str, Any]:
        """
        Writes `unlearning.json` beside the saved model; what is not given here stays as an earlier call gave it.

        Args:
            output_dir (`str` or `os.PathLike`, *optional*): Where the model is; that of the arguments by default.
            splits ([`UnlearningSplits`], *optional*): Their counts, seed and hash are recorded, and no index.
            metrics (`dict`, *optional*): For `"before"`, `"after"` and `"oracle"` what [`judge_model`] gave. By
                default the first and the last point of the run.
            oracle_used (`bool`, *optional*): Whether a retrained model told where to stop. Known where no `target_ua`
                and no rule of your own was set.
            base_model (`str`, *optional*), datasets (`list[str]`, *optional*), license (`str`, *optional*): Hub ids
                and licence, for the card.

        Returns:
            `dict`: The record.

        Raises:
            ValueError: The run has not finished.
        """
        if self.unlearning.stop_reason is None:
            raise ValueError("There is nothing to record before `train` has finished.")
        given = {
            "splits": splits,
            "metrics": metrics,
            "oracle_used": oracle_used,
            "base_model": base_model,
            "datasets": list(datasets) if datasets else None,
            "license": license,
        }
        self._facts = {**self.__dict__.get("_facts", {}), **{k: v for k, v in given.items() if v is not None}}
        folder = str(output_dir or self.args.output_dir)
        record = self._record(folder, self._facts)
        write_record(record, folder)
        return record

    def _record(self, folder: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        history, rules = self.unlearning.history, self.unlearning.rules
        splits = facts.get("splits")
        sets = self.eval_dataset if isinstance(self.eval_dataset, dict) else {}
        counts = {name: len(dataset) for name, dataset in sets.items() if isinstance(dataset, Sized)}
        described = splits.summary() if splits is not None else {}
        safe = getattr(self.args, "target_ua", None) is None and all(
            type(rule).__module__.startswith("hf_invwnn.") for rule in rules
        )
        last = history[-1] if history else {}
        return make_record(
            method=method_title(self),
            arguments=self.args.to_dict(),
            forget={
                "count": described.get("counts", counts).get("forget"),
                **{key: described.get(key) for key in ("sha256", "scenario", "seed")},
            },
            counts={**counts, **described.get("counts", {})},
            predictor=describe_predictor(self.predictor),
            stopping={
                "rules": [str(rule) for rule in rules],
                "reason": self.unlearning.stop_reason,
                "oracle_used": facts.get("oracle_used", False if safe else None),
            },
            metrics=facts.get("metrics") or _watched(history),
            cost={
                "forget_steps": int(last.get("step", 0)),
                "rewinds": self.unlearning.rewinds,
                "seconds": float(last.get("seconds", 0.0)),
            },
            history=history,
            model={key: facts.get(key) for key in ("base_model", "datasets", "license")},
            files=hash_files(folder, model_files(folder)),
        )

    # ---- The Hub ----

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Finds out whether a push could be made, before any work is done; makes no repository."""
        from .sharing.pushing import check_repo_id, find_token, own_name

        if not self.is_world_process_zero():
            return
        found = find_token(token or self.args.hub_token)
        account = own_name(found)
        self.hub_model_id = self.args.hub_model_id or f"{account}/{Path(str(self.args.output_dir)).absolute().name}"
        check_repo_id(self.hub_model_id)
        self.push_in_progress = None

    def push_to_hub(  # type: ignore[override]
        self,
        commit_message: str | None = "End of unlearning",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | None:
        """
        Uploads the saved model of a finished run, its card and its record, as one commit; see [`push_folder`].

        Args:
            commit_message (`str`, *optional*), token (`str`, *optional*), revision (`str`, *optional*),
                private (`bool`, *optional*): As for [`~transformers.Trainer.push_to_hub`].
            blocking (`bool`, defaults to `True`): Nothing else is done.
            kwargs: `base_model`, `datasets`, `license` and the others of [`~RecordedTrainer.save_record`].

        Raises:
            ValueError: The run has not finished, or `blocking` is `False`.
            PushError: It could not be done.
        """
        from .sharing.pushing import push_folder

        if not blocking:
            raise ValueError("`blocking` must stay True: a push is one commit, and either done or not.")
        if self.unlearning.stop_reason is None:
            raise ValueError("Nothing is pushed before `train` has finished: the model still knows the forget set.")
        if self.hub_model_id is None:
            self.init_hf_repo(token=token)
        push, self.args.push_to_hub = self.args.push_to_hub, False
        try:
            self.save_model()
        finally:
            self.args.push_to_hub = push
        if not self.is_world_process_zero():
            return None
        self.save_record(**kwargs)
        return push_folder(
            str(self.args.output_dir),
            self.hub_model_id,
            private=private if private is not None else self.args.hub_private_repo,
            revision=revision or self.args.hub_revision,
            token=token or self.args.hub_token,
            commit_message=commit_message,
        )


def method_title(unlearner: Any) -> str:
    """What tables call a method; the name of the class for one of your own."""
    from .baselines import METHODS

    titles = {method.unlearner: method.title for method in METHODS.values()}
    return next((titles[kind] for kind in type(unlearner).__mro__ if kind in titles), type(unlearner).__name__)


def describe_predictor(predictor: Any) -> dict[str, Any] | None:
    """Name, configuration and SHA-256 of the weights (in the order of their names) of a predictor."""
    if predictor is None:
        return None
    config = getattr(predictor, "config", None)
    described: dict[str, Any] = {"name": type(predictor).__name__, "config": None, "sha256": None}
    if config is not None and hasattr(config, "to_diff_dict"):
        described["config"] = config.to_diff_dict()
    elif hasattr(predictor, "scale"):
        described["config"] = {"scale": predictor.scale}
    if hasattr(predictor, "state_dict"):
        digest = hashlib.sha256()
        for name, value in sorted(predictor.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        described["sha256"] = digest.hexdigest()
    return described


def _watched(history: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float] | None]:
    """The first and the last point of a run, as metrics."""
    unseen = "test" if history and "eval_test_accuracy" in history[0] else "held_out"
    named = {"TA": f"eval_{unseen}_accuracy", "RA": "eval_retain_accuracy"}

    def of(point: Mapping[str, float]) -> dict[str, float]:
        found = {"UA": point["ua"]} if "ua" in point else {}
        found |= {metric: 100 * point[key] for metric, key in named.items() if key in point}
        found |= {name: point[f"eval_{name}"] for name in ("forget_ratio", "kid") if f"eval_{name}" in point}
        return found | {name: value for name, value in point.items() if name.endswith("_loss")}

    return {"before": of(history[0]), "after": of(history[-1]), "oracle": None} if history else {}


__all__ = ["RecordedTrainer", "describe_predictor", "method_title"]
