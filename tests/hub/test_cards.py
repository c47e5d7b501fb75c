"""Cards are merged between two markers; text and metadata that somebody else wrote stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData

from hf_invwnn.hub.cards import BEGIN, END, make_card, merge_card


ROOT = Path(__file__).parents[2]


@pytest.fixture
def card() -> ModelCard:
    data = ModelCardData(license="apache-2.0", tags=["machine-unlearning", "hf-invwnn"])
    return make_card(ModelCard, data, "## The section\n\nNew text.\n")


def test_the_section_of_a_new_card_stands_between_the_markers(card: ModelCard) -> None:
    assert card.text.strip() == f"{BEGIN}\n## The section\n\nNew text.\n{END}"
    assert merge_card(None, card) == merge_card(" \n", card) == str(card)


def test_text_and_metadata_around_the_markers_stay(card: ModelCard) -> None:
    old = f"---\nlicense: mit\nlanguage: de\ntags: [mine]\n---\nAbove.\n{BEGIN}\nold\n{END}\nBelow.\n"
    new = ModelCard(merge_card(old, card))
    assert new.text.strip().startswith("Above.") and new.text.strip().endswith("Below.")
    assert "old" not in new.text and "New text." in new.text
    data = new.data.to_dict()
    assert (data["license"], data["language"]) == ("mit", "de")
    assert data["tags"] == ["mine", "machine-unlearning", "hf-invwnn"]
    assert merge_card(merge_card(old, card), card) == merge_card(old, card), "a second push changes nothing"


@pytest.mark.parametrize("metadata", ["license: unknown", "language: de"])
def test_an_unknown_licence_is_replaced(metadata: str, card: ModelCard) -> None:
    merged = ModelCard(merge_card(f"---\n{metadata}\n---\nText.\n", card))
    assert merged.data.to_dict()["license"] == "apache-2.0"


def test_a_card_without_markers_gets_the_section_at_its_end(card: ModelCard) -> None:
    new = merge_card("---\nlicense: mit\n---\n# Mine\n\nText.\n", card)
    assert new.index("Text.") < new.index(BEGIN) < new.index(END)


@pytest.mark.parametrize("text", [f"---\nlicense: mit\n---\n{BEGIN}", f"---\nlicense: mit\n---\n{END}\n{BEGIN}"])
def test_a_card_with_one_marker_is_refused(text: str, card: ModelCard) -> None:
    with pytest.raises(ValueError, match="only one of the markers"):
        merge_card(text, card)


@pytest.mark.parametrize("text", ["---\na: [\n---\n", "---\n- a\n---\n"])
def test_a_card_with_damaged_metadata_is_refused(text: str, card: ModelCard) -> None:
    with pytest.raises(ValueError, match="metadata"):
        merge_card(text, card)


@pytest.mark.parametrize("path", sorted((ROOT / "model_cards").glob("*.md")), ids=lambda path: path.stem)
def test_the_released_cards_are_valid(path: Path) -> None:
    card = ModelCard.load(path)
    assert card.data.to_dict()["license"] == "apache-2.0" and "machine-unlearning" in card.data.tags
