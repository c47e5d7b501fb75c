"""A push that fails ends with one message and an exit code, and leaves the repository unchanged."""

from __future__ import annotations

import json
import shutil

import pytest

from hf_invwnn.cli.main import EXIT_BAD_INPUT
from hf_invwnn.files import sha256_of_files
from hf_invwnn.hub.cards import BEGIN, END


pytestmark = pytest.mark.slow  # every test starts a client process

PUSHES = """
from contextlib import redirect_stderr
from io import StringIO
import os
from huggingface_hub import HfApi
from hf_invwnn.cli.main import main
results["ended"] = []
for words, token in calls:
    os.environ["HF_TOKEN"] = token
    errors = StringIO()
    with redirect_stderr(errors):
        code = main(["push", *words])
    results["ended"].append([code, errors.getvalue()])
results["exists"] = [HfApi(token=good).repo_exists(name) for name in names]
"""


def test_wrong_tokens_names_and_types_are_refused(hub, client, finished_run) -> None:
    """None of them creates a repository, and no message contains the token."""
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
    results = client(PUSHES, token=None, calls=calls, good=hub.token, names=[name, "reader/model", taken])
    for (code, message), match, (_, token) in zip(results["ended"], expected, calls, strict=True):
        assert code == EXIT_BAD_INPUT and match in message and message.startswith("hf-invwnn push: "), message
        assert message.count("\n") == 1, "one message, and no traceback"
        assert not token or token not in message
    assert results["exists"] == [False, False, False]
    assert hub.token not in results["output"]


INTERRUPTED = """
import json, urllib.request
from contextlib import redirect_stderr
from io import StringIO
from huggingface_hub import HfApi
from hf_invwnn.cli.main import main

def control(**settings):
    body = json.dumps(settings).encode()
    request = urllib.request.Request(url + "/test/control", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()

def push(folder):
    errors = StringIO()
    with redirect_stderr(errors):
        return main(["push", folder, name]), errors.getvalue()

api = HfApi()
control(fail_at=None)
assert push(first)[0] == 0
before = api.model_info(name).sha
control(fail_at=None)
results["ended"] = []
for number in range(1, 60):
    control(fail_at=number)
    code, message = push(second)
    control(fail_at=None)
    if code == 0:
        break
    results["ended"].append([code, message, api.model_info(name).sha == before])
results["number"] = number
HfApi().delete_file("preprocessor_config.json", name)
before = api.model_info(name).sha
import shutil

import pytest
from huggingface_hub.constants import HF_HUB_CACHE
shutil.rmtree(HF_HUB_CACHE)
control(fail_on="/README.md")
code, message = push(second)
control(fail_on=None)
results["card not in the cache"] = [code, message, api.model_info(name).sha == before]
results["card"] = open(api.hf_hub_download(name, "README.md")).read()
pushed = open(api.hf_hub_download(name, "model.safetensors"), "rb").read()
results["weights"] = pushed == open(second + "/model.safetensors", "rb").read()
"""


def test_a_server_that_fails_at_any_request_leaves_the_repository_unchanged(
    hub, client, finished_run, tmp_path
) -> None:
    """The push succeeds when it is repeated after the server is back."""
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
    results = client(INTERRUPTED, url=hub.url, name=hub.name(), first=str(finished_run), second=str(second))
    own.fail_at = None
    assert results["number"] > 7, "info, tree, card, validation, preupload, batch, file and commit can all fail"
    # A card that could not be downloaded must not be overwritten as if the repository had none.
    for code, message, unchanged in [*results["ended"], results["card not in the cache"]]:
        assert code == EXIT_BAD_INPUT and "again" in message, message
        assert unchanged
    unknown = [message for _, message, _ in results["ended"] if "it is not known whether it has landed" in message]
    assert len(unknown) == 1, "only of the commit itself, after which the server cannot be asked either"
    assert all("The Hub did not answer" in message for _, message, _ in results["ended"] if message not in unknown)
    assert results["weights"] and BEGIN in results["card"]


UPDATED = """
from huggingface_hub import HfApi
from hf_invwnn.cli.main import main
api = HfApi()
results["first"] = main(["push", folder, name])
card = open(api.hf_hub_download(name, "README.md")).read()
edited = card.replace("tags:", "language: en\\ntags:\\n- my-tag").replace("apache-2.0", "mit")
edited = edited.replace("<!-- hf-invwnn:begin -->", "# My title\\n\\nMine.\\n\\n<!-- hf-invwnn:begin -->\\nold")
api.upload_file(path_or_fileobj=(edited + "\\nAnd mine too.\\n").encode(), path_in_repo="README.md", repo_id=name)
api.upload_file(path_or_fileobj=b"x" * 20, path_in_repo="model-00001-of-00002.safetensors", repo_id=name)
api.upload_file(path_or_fileobj=b"mine", path_in_repo="samples/picture.txt", repo_id=name)
results["second"] = main(["push", folder, name])
results["card"] = open(api.hf_hub_download(name, "README.md")).read()
results["files"] = api.list_repo_files(name)
results["branch"] = main(["push", folder, name, "--revision", "experiment"])
results["not private"] = main(["push", folder, name, "--private"])
results["branches"] = [branch.name for branch in api.list_repo_refs(name).branches]
"""


def test_a_card_is_updated_between_its_markers_and_old_weights_are_removed(hub, client, finished_run) -> None:
    results = client(UPDATED, folder=str(finished_run), name=hub.name())
    assert (results["first"], results["second"], results["branch"]) == (0, 0, 0), results["output"]
    assert results["not private"] == EXIT_BAD_INPUT and "exists already and is public" in results["output"]
    card = results["card"]
    for text in ("# My title\n\nMine.", "And mine too.", "language: en", "- my-tag", "license: mit"):
        assert text in card
    assert card.count(BEGIN) == card.count(END) == 1
    assert f"{BEGIN}\nold" not in card
    assert card.index("Mine.") < card.index(BEGIN) < card.index(END) < card.index("And mine too.")
    assert "model-00001-of-00002.safetensors" not in results["files"], "from_pretrained must not find two models"
    assert "samples/picture.txt" in results["files"], "files of other people stay"
    assert results["branches"] == ["main", "experiment"]
