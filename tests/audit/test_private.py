"""`_private/`: the artifacts that verification needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hf_invwnn.audit.private import private_hashes, save_private_artifacts


def test_artifacts_saved_again_replace_the_earlier_ones_and_the_salt_stays(tmp_path: Path) -> None:
    save_private_artifacts(tmp_path, per_example={"row": [1, 2]})
    salt, first = (tmp_path / "_private" / "salt").read_text(), private_hashes(tmp_path)
    save_private_artifacts(tmp_path, per_example={"row": [3]})
    second = private_hashes(tmp_path)
    assert first.keys() == second.keys() and first["per_example.parquet"] != second["per_example.parquet"]
    assert (tmp_path / "_private" / "salt").read_text() == salt, "else earlier reports could not be traced back"
    assert len(bytes.fromhex(salt)) == 32


def test_hashes_that_are_not_an_object_are_refused(tmp_path: Path) -> None:
    assert private_hashes(tmp_path) == {}
    save_private_artifacts(tmp_path)
    (tmp_path / "_private" / "hashes.json").write_text(json.dumps([]))
    with pytest.raises(ValueError, match="must hold a JSON object"):
        private_hashes(tmp_path)
