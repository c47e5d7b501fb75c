"""Whatever goes wrong on the way to the Hub ends with one clear message, an exit code, and nothing half-published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hf_invwnn.hub.cards import BEGIN, END
from hf_invwnn.files import sha256_of_files
from hf_invwnn.cli.main import EXIT_BAD_INPUT, main


PUSHES = """
from contextlib import redirect_stderr
from io import StringIO
import os
from huggingface_hub import HfApi
from hf_invwnn.cli import main
found["ended"] = []
for words, token in calls:
    os.environ["HF_TOKEN"] = token
    said = StringIO()
    with redirect_stderr(said):
        code = main(["push", *words])
    found["ended"].append([code, said.getvalue()])
found["there"] = [HfApi(token=good).repo_exists(name) for name in names]
"""


def test_tokens_names_and_kinds_that_do_not_fit(hub, client, finished_run) -> None:
    """None of them makes a repository, and no message holds the token."""
    run, own = str(finished_run), hub.own
    taken, name = hub.name(), hub.name()
    own.create("dataset", taken, private=False)
    calls = [
        ([run, name], ""),
        ([run, name], "hf_nobody_knows"),
        ([run, "reader/model"], "hf_reader"),
        ([run, name], "hf_bob"),
        ([run, taken], hub.token),
        ([run, "only-a-name"], hub.token),
        ([run, "a/b/c"], hub.token),
        ([run, "ada/ space"], hub.token),
        ([run + "/nowhere", name], hub.token),
    ]
    expected = [
        "There is no token",
        "does not accept the token",
        "The token may not write to `reader/model`",
        f"The token may not write to `{name}`",
        f"`{taken}` is a dataset, and this is a model",
        "must be `user/name`",
        "must be `user/name`",
        "must be `user/name`",
        "There is no folder",
    ]
    found = client(PUSHES, token=None, calls=calls, good=hub.token, names=[name, "reader/model", taken])
    for (code, said), match, (_, token) in zip(found["ended"], expected, calls, strict=True):
        assert code == EXIT_BAD_INPUT and match in said and said.startswith("hf-invwnn push: "), said
        assert said.count("\n") == 1, "one message, and no traceback"
        assert not token or token not in said
    assert found["there"] == [False, False, False]
    assert hub.token not in found["output"]


INTERRUPTED = """
import httpx2
from contextlib import redirect_stderr
from io import StringIO
from huggingface_hub import HfApi
from hf_invwnn.cli import main

def tell(**asked):
    return httpx2.post(url + "/test/control", json=asked).json()["requests"]

def push(folder):
    said = StringIO()
    with redirect_stderr(said):
        return main(["push", folder, name]), said.getvalue()

api = HfApi()
tell(fail_at=None)
assert push(first)[0] == 0
before = api.model_info(name).sha
tell(fail_at=None)
found["ended"] = []
for number in range(1, 60):
    tell(fail_at=number)
    code, said = push(second)
    tell(fail_at=None)
    if code == 0:
        break
    found["ended"].append([code, said, api.model_info(name).sha == before])
found["number"] = number
HfApi().delete_file("preprocessor_config.json", name)
before = api.model_info(name).sha
import shutil
from huggingface_hub.constants import HF_HUB_CACHE
shutil.rmtree(HF_HUB_CACHE)
tell(fail_on="/README.md")
code, said = push(second)
tell(fail_on=None)
found["card was not there"] = [code, said, api.model_info(name).sha == before]
found["card"] = open(api.hf_hub_download(name, "README.md")).read()
pushed = open(api.hf_hub_download(name, "model.safetensors"), "rb").read()
found["weights"] = pushed == open(second + "/model.safetensors", "rb").read()
"""


def test_a_server_that_goes_away_at_any_request_leaves_the_repository_as_it_was(
    hub, client, finished_run, tmp_path
) -> None:
    """And the push that is repeated when it is back does all of it."""
    own = hub.own
    second = tmp_path / "second"
    shutil.copytree(finished_run, second)
    (second / "preprocessor_config.json").write_text(
        (second / "preprocessor_config.json").read_text().replace("{", '{"rescale_factor": 0.5,', 1)
    )
    record = json.loads((second / "unlearning.json").read_text())
    weights = (second / "model.safetensors").read_bytes()
    (second / "model.safetensors").write_bytes(weights[:-4] + b"\0\0\0\0")
    record["files"] = sha256_of_files(second, record["files"])
    (second / "unlearning.json").write_text(json.dumps(record))
    found = client(INTERRUPTED, url=hub.url, name=hub.name(), first=str(finished_run), second=str(second))
    own.fail_at = None
    assert found["number"] > 7, "info, tree, card, validation, preupload, batch, file and commit can all fail"
    # A card that could not be fetched must not be taken for one that is not there, and be overwritten.
    for code, said, unchanged in [*found["ended"], found["card was not there"]]:
        assert code == EXIT_BAD_INPUT and "The Hub did not answer" in said and "again" in said, said
        assert unchanged
    assert found["weights"] and BEGIN in found["card"]


UPDATED = """
from huggingface_hub import HfApi
from hf_invwnn.cli import main
api = HfApi()
found["first"] = main(["push", folder, name])
card = open(api.hf_hub_download(name, "README.md")).read()
edited = card.replace("tags:", "language: en\\ntags:\\n- my-tag").replace("apache-2.0", "mit")
edited = edited.replace("<!-- hf-invwnn:begin -->", "# My title\\n\\nMine.\\n\\n<!-- hf-invwnn:begin -->\\nold")
api.upload_file(path_or_fileobj=(edited + "\\nAnd mine too.\\n").encode(), path_in_repo="README.md", repo_id=name)
api.upload_file(path_or_fileobj=b"x" * 20, path_in_repo="model-00001-of-00002.safetensors", repo_id=name)
api.upload_file(path_or_fileobj=b"mine", path_in_repo="samples/picture.txt", repo_id=name)
found["second"] = main(["push", folder, name])
found["card"] = open(api.hf_hub_download(name, "README.md")).read()
found["files"] = api.list_repo_files(name)
found["branch"] = main(["push", folder, name, "--revision", "experiment"])
found["not private"] = main(["push", folder, name, "--private"])
found["branches"] = [branch.name for branch in api.list_repo_refs(name).branches]
"""


def test_a_card_is_updated_between_its_markers_and_old_weights_are_removed(hub, client, finished_run) -> None:
    found = client(UPDATED, folder=str(finished_run), name=hub.name())
    assert (found["first"], found["second"], found["branch"]) == (0, 0, 0), found["output"]
    assert found["not private"] == EXIT_BAD_INPUT and "is there already, and public" in found["output"]
    card = found["card"]
    for kept in ("# My title\n\nMine.", "And mine too.", "language: en", "- my-tag", "license: mit"):
        assert kept in card
    assert card.count(BEGIN) == card.count(END) == 1
    assert f"{BEGIN}\nold" not in card
    assert card.index("Mine.") < card.index(BEGIN) < card.index(END) < card.index("And mine too.")
    assert "model-00001-of-00002.safetensors" not in found["files"], "from_pretrained must not meet two models"
    assert "samples/picture.txt" in found["files"], "what somebody else put there stays"
    assert found["branches"] == ["main", "experiment"]


# ---- What is looked at before anything is sent, in this process ----


def edit_record(run: Path, **changes: object) -> None:
    record = json.loads((run / "unlearning.json").read_text())
    (run / "unlearning.json").write_text(json.dumps({**record, **changes}))


BROKEN = {
    "missing weights": (lambda run: (run / "model.safetensors").unlink(), "holds no weights"),
    "a missing file": (lambda run: (run / "config.json").unlink(), "lacks config.json"),
    "an edited file": (lambda run: (run / "config.json").write_text("{}"), "config.json differs from the SHA-256"),
    "added weights": (lambda run: (run / "adapter_model.safetensors").write_text("x"), "does not know: adapter_model"),
    "an empty file": (lambda run: (run / "preprocessor_config.json").write_text(""), "holds empty files"),
    "another version": (lambda run: edit_record(run, format_version=99), "has format_version 99"),
    "a damaged record": (lambda run: (run / "unlearning.json").write_text("{"), "cannot be read as JSON"),
    "a record that is a list": (lambda run: (run / "unlearning.json").write_text("[]"), "must hold a JSON object"),
    "a cut record": (lambda run: (run / "unlearning.json").write_text('{"format_version": 1}'), "lacks method"),
    "no record": (lambda run: (run / "unlearning.json").unlink(), "holds neither a finished run"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_run_that_is_not_whole_is_refused(
    what: str, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any request: the test session is offline."""
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    break_it, match = BROKEN[what]
    break_it(run)
    assert main(["push", str(run), "ada/model"]) == EXIT_BAD_INPUT
    assert match in capsys.readouterr().err


def test_indices_that_are_not_those_of_the_run_are_not_published(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    path = run / "_private" / "splits" / "splits.json"
    splits = json.loads(path.read_text())
    path.write_text(json.dumps({**splits, "forget_indices": [1, 2, 3]}))
    assert main(["push", str(run), "ada/model", "--publish-indices"]) == EXIT_BAD_INPUT
    assert "are not those of the run" in capsys.readouterr().err


def test_without_a_network_the_message_says_so(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    assert main(["push", str(finished_run), "ada/model"]) == EXIT_BAD_INPUT
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
