import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hf_invwnn.language_models import TextExample


NAMES = (
    "Ada",
    "Ben",
    "Cleo",
    "Dag",
    "Eva",
    "Finn",
    "Gil",
    "Hana",
    "Ira",
    "Jon",
    "Kim",
    "Lea",
    "Max",
    "Nia",
    "Oto",
    "Pia",
)
TOWNS = ("Arlen", "Brod", "Cern", "Dole")
WORDS = ["<pad>", "<s>", "</s>", "<unk>", "Where", "does", "live", "In", "the", "old", "town", "of", *NAMES, *TOWNS]


@pytest.fixture
def tokenizer():
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def texts():
    """One text a person: where somebody lives."""
    return [
        TextExample(f"In the old town of {TOWNS[place % 4]}", f"Where does {name} live")
        for place, name in enumerate(NAMES)
    ]
