"""
Attempts to find out who was forgotten, from everything that a push publishes. The attacker has the public data, this
package and the published models, and fails; with the private folder the same attempts succeed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from finished_runs import FORGET
from helpers import Examples, build_unlearner

from hf_invwnn import UnlearningArguments
from hf_invwnn.audit.examples import BANDS, LEAST_SHARED, shared, shown_examples
from hf_invwnn.audit.private import commitment, make_private_folder, open_commitment, save_private_artifacts
from hf_invwnn.audit.public import ARGUMENTS, LEAST_EXAMPLES, SetNames, rounded
from hf_invwnn.audit.publish import run_contents
from hf_invwnn.audit.record import make_record, publishable, write_record
from hf_invwnn.audit.report import gather_report, render_report, write_report
from hf_invwnn.hub.paths import config_without_paths, hub_id, metadata_without_paths, without_paths
from hf_invwnn.scenarios import label_noise, random_subset


RECORD: dict[str, Any] = {
    "outcome": "reached", "method": "InvWNN", "arguments": {}, "forget": {"count": 50}, "counts": {"forget": 50},
    "stopping": {"rules": [], "reason": "", "retrained_used": None}, "metrics": {}, "cost": {}, "files": {},
}  # fmt: skip


def published(run: Path) -> str:
    """Everything that a push uploads except the weights, and the report that a holder may hand out."""
    contents = run_contents(run, "ada/forgotten")
    texts = [content if isinstance(content, bytes) else content.read_bytes() for content in contents.files.values()]
    report = gather_report(run)
    return "\n".join(
        [str(contents.card), json.dumps(report), render_report(report), *(t.decode(errors="replace") for t in texts)]
    )


# ---- Drawing the same examples ----


@pytest.mark.parametrize("scenario", [random_subset, label_noise])
def test_no_published_number_draws_the_forget_set(scenario: Any, tmp_path: Path, marked_splits: Any) -> None:
    """With the seed the scenario draws the same examples; any whole number that is published could be the seed."""
    seed = 271828
    splits = scenario(marked_splits.train, marked_splits.test, seed=seed)
    make_private_folder(tmp_path)
    record = make_record(
        **{
            **RECORD,
            "arguments": UnlearningArguments(str(tmp_path), seed=seed, data_seed=seed).to_dict(),
            "forget": {
                "count": len(splits.forget), "scenario": splits.scenario, "committed_to": "indices",
                "commitment": commitment(tmp_path, splits.forget_indices),
            },
        }
    )  # fmt: skip
    write_record(record, tmp_path)
    text = json.dumps(publishable(record)) + json.dumps(splits.summary())
    numbers = {int(number) for number in re.findall(r"(?<![\w.])\d{1,9}(?![\w.])", text)}
    assert len(numbers) > 5
    drawn = {
        number: scenario(marked_splits.train, marked_splits.test, seed=number).forget_indices for number in numbers
    }
    assert splits.forget_indices not in drawn.values()
    assert str(seed) in (tmp_path / "_private" / "record.json").read_text(), "the holder has it"


# ---- Trying hashes ----


def test_the_commitment_cannot_be_found_by_trying_sets(tmp_path: Path) -> None:
    """All sets of one and two examples of 120, plain and under every published value as the salt."""
    make_private_folder(tmp_path)
    for forget in ((17,), (3, 90)):
        value = commitment(tmp_path, forget)
        tried = [*itertools.combinations(range(120), 1), *itertools.combinations(range(120), 2)]
        salts = [b"", value.encode(), bytes.fromhex(value), b"hf-invwnn", b"\0" * 32]
        for candidate in tried:
            plain = b"".join(index.to_bytes(8, "little") for index in candidate)
            assert hashlib.sha256(plain).hexdigest() != value
            assert all(open_commitment(salt, candidate) != value for salt in salts)
        salt = bytes.fromhex((tmp_path / "_private" / "salt").read_text())
        assert [candidate for candidate in tried if open_commitment(salt, candidate) == value] == [forget]


def test_two_runs_of_the_same_forget_set_commit_to_different_values(tmp_path: Path) -> None:
    values = set()
    for name in ("a", "b"):
        make_private_folder(tmp_path / name)
        values.add(commitment(tmp_path / name, FORGET))
        assert commitment(tmp_path / name, FORGET) in values, "kept when the run is saved again"
    assert len(values) == 2


# ---- Matching figures ----


@pytest.fixture
def overheard(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A run with 200 of 2,000 examples forgotten, and the confidences of both models on all of them, as anyone has."""
    generator = np.random.default_rng(0)
    members = np.sort(generator.permutation(2000)[:200])
    confidences = np.stack([generator.beta(8, 1, 2000), generator.beta(3, 1, 2000)], axis=1)
    confidences[members, 1] = generator.beta(1, 2, 200)
    per_example = {"row": members.tolist(), "label": [0] * 200}
    for column, name in enumerate(("original", "unlearned")):
        values = confidences[members, column]
        per_example |= {
            f"{name}_prediction": [0] * 200, f"{name}_confidence": values.tolist(),
            f"{name}_loss": (-np.log(values)).tolist(),
        }  # fmt: skip
    save_private_artifacts(tmp_path, per_example=per_example)
    write_record(make_record(**{**RECORD, "forget": {"count": 200}, "counts": {"forget": 200}}), tmp_path)
    return tmp_path, members, confidences


def test_no_example_of_a_report_can_be_matched_with_one_of_the_data(
    overheard: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    """
    For every row of the report the attacker lists the candidates with the same bands. At full precision each row has
    exactly one; in bands each has at least `LEAST_SHARED` of the forget set alone, so a guess is right in at most one
    of `LEAST_SHARED` cases.
    """
    run, members, confidences = overheard
    whole = shown_examples(run, gather_report(run), show_ids=True)
    assert whole is not None
    exact = [np.flatnonzero(confidences[:, 1] == row["unlearned"]["confidence"]) for row in whole["rows"]]
    assert all(len(candidates) == 1 for candidates in exact), "full precision identifies every example"

    report = write_report(run, run.parent / "page.html")
    rows = report["examples"]["rows"]
    assert 100 < len(rows) <= 200
    bands = np.digitize(confidences, BANDS[:-1], right=True)
    names = np.array(["0 to 0.25", "0.25 to 0.5", "0.5 to 0.75", "0.75 to 1"])[bands]
    chance = []
    for row in rows:
        candidates = np.flatnonzero((names[:, 0] == row["original"]) & (names[:, 1] == row["unlearned"]))
        assert len(np.intersect1d(candidates, members)) >= LEAST_SHARED
        chance.append(1 / len(candidates))
    assert max(chance) <= 1 / LEAST_SHARED
    text = (run.parent / "page.html").read_text() + (run.parent / "page.json").read_text()
    assert not set(re.findall(r"0\.\d{3,}", text)) & {f"{value:.3f}" for value in confidences[members].flatten()}
    assert "label" not in rows[0]


def test_bands_that_few_examples_share_are_not_shown() -> None:
    bands = np.array([[0, 0]] * LEAST_SHARED + [[1, 0]] * (LEAST_SHARED - 1))
    assert shared(bands).tolist() == [True] * LEAST_SHARED + [False] * (LEAST_SHARED - 1)


@pytest.mark.parametrize("count", [1, 2, LEAST_EXAMPLES - 1])
def test_no_figure_of_a_small_forget_set_is_published(count: int, tmp_path: Path) -> None:
    """The loss of one example, to three digits, and UA tell which of many it is."""
    history = [{"round": 0, "fraction": 1, "step": 0, "ua": 0.0, "eval_forget_loss": 0.123, "eval_unseen_loss": 2.0}]
    metrics = {"unlearned": {"UA": 100.0, "MIA": 1.0, "loss_auc": 0.5, "loss_auc_low": 0.4, "TA": 88.0, "RA": 99.0}}
    record = make_record(
        **{**RECORD, "forget": {"count": count}, "counts": {"forget": count}, "history": history, "metrics": metrics}
    )
    public = publishable(record)
    assert public["metrics"]["unlearned"] == {"TA": 88.0, "RA": 99.0}
    assert public["history"] == [{"round": 0, "fraction": 1, "step": 0, "eval_unseen_loss": 2.0}]
    write_record(record, tmp_path)
    page = render_report(gather_report(tmp_path))
    assert f"fewer than {LEAST_EXAMPLES} examples" in page and "0.123" not in page
    assert publishable({**record, "forget": {"count": LEAST_EXAMPLES}})["metrics"]["unlearned"]["UA"] == 100.0


def test_figures_have_no_more_digits_than_a_reader_needs() -> None:
    history = [{"round": 1, "fraction": 1.0, "step": 1, "ua": 50.0, "eval_forget_loss": 1.23456789}]
    public = publishable(
        make_record(**{**RECORD, "history": history, "metrics": {"unlearned": {"loss_auc": 0.1234567}}})
    )
    assert public["history"][0]["eval_forget_loss"] == 1.23
    assert public["metrics"]["unlearned"]["loss_auc"] == 0.1235
    assert [rounded(value) for value in (0.000123456, 12.3456, 1234.5, 0.0)] == [0.000123, 12.3, 1230.0, 0.0]


# ---- Texts ----


CANARY = "canary-alice-4711"


def strings_of_arguments() -> list[str]:
    """Every field of the arguments that takes a string."""
    return [
        item.name for item in dataclasses.fields(UnlearningArguments)
        if "str" in str(item.type) or item.name in ("report_to", "optim_args", "label_names", "lr_scheduler_kwargs")
    ]  # fmt: skip


def test_no_text_of_the_user_is_published(tmp_path: Path) -> None:
    """A canary in every field that takes a string, in names of sets, rules, reasons, scenarios, titles and paths."""
    names = strings_of_arguments()
    assert len(names) > 30
    arguments = dict.fromkeys(names, f"/home/{CANARY}/data") | {"tracked_parameters": f"{CANARY}.*"}
    arguments |= {"optim": f"{CANARY}!", "utility_metric": f"eval_{CANARY}_accuracy", "env": {"HF_TOKEN": CANARY}}
    arguments |= {"deepspeed": {"path": CANARY}, "learning_rate": 0.1}
    point = {
        "round": 1,
        "fraction": 1.0,
        f"eval_{CANARY}_loss": 1.0,
        f"{CANARY}_ratio": 2.0,
        f"eval_{CANARY}_kid": 1.0,
    }
    record = make_record(
        outcome="reached",
        method=f"<b>{CANARY}</b>",
        arguments=arguments,
        changes=[{"step": 1, "argument": name, "from": CANARY, "to": CANARY} for name in (CANARY, "utility_metric")],
        forget={"count": 50, "scenario": CANARY, "commitment": CANARY, "committed_to": CANARY},
        counts={"forget": 50, CANARY: 7},
        predictor={"name": CANARY, "config": {CANARY: CANARY}, "sha256": CANARY},
        stopping={
            "rules": [f"min_utility = 0.3 of eval_{CANARY}_accuracy"],
            "reason": f"{CANARY} at /home/{CANARY}/x",
        },
        metrics={"unlearned": {CANARY: 1.0, "UA": 50.0}},
        cost={CANARY: 1},
        history=[point],
        model={"base_model": f"/models/{CANARY}", "datasets": [f"~/{CANARY}"], "license": f"<{CANARY}>"},
        files={f"../{CANARY}": "0" * 64, "config.json": CANARY},
    )
    public = json.dumps(publishable(record))
    assert CANARY not in public
    assert '"set_1": 7' in public and "eval_set_1_loss" in public and "0.3 of eval_set_1_accuracy" in public
    assert '"learning_rate": 0.1' in public
    write_record(record, tmp_path)
    report = gather_report(tmp_path)
    assert CANARY not in json.dumps(report) and CANARY not in render_report(report)


def test_the_arguments_on_record_are_arguments_and_no_seeds() -> None:
    fields = {item.name for item in dataclasses.fields(UnlearningArguments)}
    assert set(ARGUMENTS) <= fields
    assert not [name for name in ARGUMENTS if "seed" in name or name.startswith("hub_") or "dir" in name]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "/home/ada/x.csv",
            "~/ada/x",
            "./outputs/ada",
            "../ada",
            "C:\\Users\\ada\\x",
            "\\\\server\\ada",
            "file:///ada",
        ),
        *("file:/home/ada", "C:/Users/ada", "see `/data/ada/x.csv`, row 3", "(/data/ada)", "base_model: /data/ada"),
    ],
)
def test_paths_are_taken_out_of_texts(text: str) -> None:
    assert "ada" not in without_paths(text)


@pytest.mark.parametrize(
    "text",
    [
        "5.50 / 5.52",
        "and/or",
        "https://huggingface.co/ada/model",
        "ada/model",
        "target_ua = 50 is met by round 3",
        "1/2",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert without_paths(text) == text


def test_paths_are_taken_out_of_configurations_at_any_depth(tmp_path: Path) -> None:
    config = {
        "base_model_name_or_path": "/secret/base", "source": "/secret/the base",
        "auto": {"list": ["/secret/x", {"_name_or_path": "C:\\secret"}]},
        "vocab_file": str(tmp_path), "hidden_size": 3, "task_type": "CAUSAL_LM", "name_or_path": "ada/model",
    }  # fmt: skip
    filtered = config_without_paths(config, "ada/base")
    assert "secret" not in json.dumps(filtered) and str(tmp_path) not in json.dumps(filtered)
    assert filtered["base_model_name_or_path"] == "ada/base" and filtered["name_or_path"] == "ada/model"
    assert (filtered["hidden_size"], filtered["task_type"]) == (3, "CAUSAL_LM")
    assert metadata_without_paths({"base_model": "/secret", "tags": ["base_model:adapter:/secret", "lora"]}) == {
        "tags": ["lora"]
    }
    assert not hub_id("/secret") and not hub_id("a/../b") and hub_id("ada/model") and hub_id("gpt2")


def test_an_adapter_is_pushed_without_the_path_of_its_base_model(tmp_path: Path) -> None:
    """In its configuration, its card, and the card that PEFT writes beside it; for an adapter of any name."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16, "bos_token_id": 1, "eos_token_id": 2}
    GPT2LMHeadModel(GPT2Config(vocab_size=20, **shape)).save_pretrained(tmp_path / "customer")
    ids = torch.randint(3, 20, (16, 8))
    for name in ("default", "forget"):
        base = GPT2LMHeadModel.from_pretrained(tmp_path / "customer")
        lora = LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
        model = get_peft_model(base, lora, adapter_name=name)
        data = Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)
        unlearner = build_unlearner(model, data, output_dir=tmp_path / name, num_rewinds=1)
        unlearner.train()
        unlearner.save_model()
        folder = "" if name == "default" else f"{name}/"
        for given, expected in (({}, None), ({"base_model": "ada/gpt2"}, "ada/gpt2")):
            contents = run_contents(tmp_path / name, "ada/forgotten", model=given)
            assert {f"{folder}adapter_config.json", f"{folder}adapter_model.safetensors"} <= set(contents.files)
            config = json.loads(bytes(contents.files[f"{folder}adapter_config.json"]))
            assert config["base_model_name_or_path"] == expected
            record = json.loads(bytes(contents.files["unlearning.json"]))
            digest = hashlib.sha256(bytes(contents.files[f"{folder}adapter_config.json"])).hexdigest()
            assert record["files"][f"{folder}adapter_config.json"] == digest, "a downloader can verify it"
            data_of_card = contents.card.data.to_dict()
            assert (data_of_card["library_name"], data_of_card["pipeline_tag"]) == ("peft", "text-generation")
            assert data_of_card.get("base_model") == expected
            from hf_invwnn.hub.cards import merge_card

            card = tmp_path / name / "README.md"
            text = merge_card(card.read_text() if card.is_file() else None, contents.card)
            everything = text + "".join(
                content.decode() for content in contents.files.values() if isinstance(content, bytes)
            )
            assert str(tmp_path) not in everything and "customer" not in everything
        assert str(tmp_path) in (tmp_path / name / folder / "adapter_config.json").read_text(), "the user's file stays"


# ---- Size ----


@pytest.mark.slow
def test_the_report_of_a_large_forget_set_is_bounded(tmp_path: Path) -> None:
    """It had 173 MB at 400,000 examples."""
    count = 400_000
    generator = np.random.default_rng(0)
    columns: dict[str, Any] = {"row": np.arange(count), "label": generator.integers(0, 10, count)}
    for name in ("original", "unlearned", "retrained"):
        confidence = generator.random(count)
        columns |= {f"{name}_prediction": columns["label"], f"{name}_confidence": confidence}
        columns[f"{name}_loss"] = -np.log(confidence)
    make_private_folder(tmp_path)
    Dataset.from_dict(columns).to_parquet(tmp_path / "_private" / "per_example.parquet")
    write_record(make_record(**{**RECORD, "forget": {"count": count}, "counts": {"forget": count}}), tmp_path)
    for show_ids in (False, True):
        report = write_report(tmp_path, tmp_path / "page.html", show_ids=show_ids)
        assert (tmp_path / "page.json").stat().st_size < 2_000_000
        assert (tmp_path / "page.html").stat().st_size < 2_000_000
        assert sum(report["examples"]["bands"]["unlearned"]) == count
        assert len(report["examples"]["rows"]) == 1000
    worst = np.sort(columns["unlearned_confidence"])[::-1][:1000]
    shown = [row["unlearned"]["confidence"] for row in report["examples"]["rows"]]
    np.testing.assert_array_equal(shown, worst)


def test_a_report_replaces_only_reports(finished_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_report(finished_run, page)
    write_report(finished_run, page)  # again
    (tmp_path / "thesis.html").write_text("<html>mine</html>")
    (tmp_path / "other.json").write_text("{}")
    for name in ("thesis.html", "other.html"):
        with pytest.raises(ValueError, match="exists and is not a report"):
            write_report(finished_run, tmp_path / name)
    assert (tmp_path / "thesis.html").read_text() == "<html>mine</html>"
    assert not (tmp_path / "other.html").exists()


def test_names_of_sets_are_numbered_in_the_order_of_their_use() -> None:
    names = SetNames(["forget", "alice", "unseen", "bob_jr", "alice"])
    assert [names(name) for name in ("forget", "alice", "bob_jr")] == ["forget", "set_1", "set_2"]
    assert names.in_text("`eval_bob_jr_loss` of alice became nan") == "`eval_set_2_loss` of set_1 became nan"
