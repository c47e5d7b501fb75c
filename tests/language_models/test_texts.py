"""The loss is on answers only, and texts that cannot work are refused by name."""

import json

import pytest

from hf_invwnn.language_models import TextExample, read_texts, tokenize_texts
from hf_invwnn.language_models.texts import check_disjoint


def test_the_labels_of_a_prompt_are_ignored_and_those_of_an_answer_end_the_text(tokenizer):
    row = tokenize_texts([TextExample("In Brod", "Where does Ada live")], tokenizer)[0]
    words = tokenizer.convert_ids_to_tokens(row["input_ids"])
    assert words == ["Where", "does", "Ada", "live", "In", "Brod", "</s>"]
    assert row["labels"] == [-100] * 4 + row["input_ids"][4:]
    assert row["attention_mask"] == [1] * 7


def test_a_plain_text_begins_with_the_first_token_and_is_learnt_whole(tokenizer):
    row = tokenize_texts([TextExample("In Brod")], tokenizer)[0]
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["<s>", "In", "Brod", "</s>"]
    assert row["labels"] == [-100, *row["input_ids"][1:]]


def test_a_chat_template_is_used_where_there_is_one(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}old {{ m['content'] }}{% endfor %} town "
    row = tokenize_texts([TextExample("In Brod", "Where")], tokenizer)[0]
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["old", "Where", "town", "In", "Brod", "</s>"]
    plain = tokenize_texts([TextExample("In Brod", "Where")], tokenizer, chat_template=False)[0]
    assert tokenizer.convert_ids_to_tokens(plain["input_ids"]) == ["Where", "In", "Brod", "</s>"]


def test_a_chat_template_that_is_missing_is_refused(tokenizer):
    with pytest.raises(ValueError, match="`chat_template` is asked for"):
        tokenize_texts([TextExample("In Brod")], tokenizer, chat_template=True)


def test_texts_longer_than_the_context_are_counted_and_refused(tokenizer):
    rows = [TextExample("In " * 9), TextExample("In")]
    with pytest.raises(ValueError, match="`forget`: 1 of 2 texts have more than 8 tokens"):
        tokenize_texts(rows, tokenizer, max_length=8)


def test_json_lines_and_text_files_are_read(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"q": "Where", "a": "In Brod"}) + "\n")
    assert read_texts(str(pairs), "q", "a") == [TextExample("In Brod", "Where")]
    lines = tmp_path / "lines.txt"
    lines.write_text("In Brod\n\nIn Cern\n")
    assert read_texts(str(lines)) == [TextExample("In Brod"), TextExample("In Cern")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "Where", "answer": "In"}, {"prompt": "Where", "answer": " "}], "'answer' of row 1 is empty"),
        ([{"text": "In"}, {"text": None}], "'text' of row 1 must be a text, got NoneType"),
        ([{"prompt": "Where", "answer": "In"}, {"prompt": "Where"}], "'answer' of row 1 must be a text, got NoneType"),
        ([{"text": 7}], "'text' of row 0 must be a text, got int"),
        ([{"question": "Where", "answer": "In"}], "must have the columns 'prompt' and 'answer', or 'text'; it has"),
    ],
)
def test_files_without_answers_are_refused(tmp_path, rows, message):
    path = tmp_path / "forget.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=message):
        read_texts(str(path))


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "forget.csv").write_text("text\nIn Brod\n")
    with pytest.raises(ValueError, match=r"`forget` must be a file that ends in \.jsonl, \.json, \.txt"):
        read_texts(str(tmp_path / "forget.csv"))


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"`forget`: there is no file nothing\.jsonl"):
        read_texts("nothing.jsonl")


def test_texts_in_both_sets_are_counted():
    both = [TextExample("In Brod"), TextExample("In Cern")]
    with pytest.raises(ValueError, match="`kept` holds 1 of the 2 texts"):
        check_disjoint(both, both[1:], "kept")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.jsonl", '{"text": 1}\n{"text"', "text 2 is not JSON"), ("a.json", '["In Brod"]', "must hold objects")],
)
def test_files_that_hold_no_objects_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_texts(str(tmp_path / name))


def test_a_file_leaves_no_copy_in_the_cache_of_datasets(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("the texts were copied to a cache"))
    (tmp_path / "a.json").write_text('[{"text": "In Brod"}]')
    assert read_texts(str(tmp_path / "a.json")) == [TextExample("In Brod")]
