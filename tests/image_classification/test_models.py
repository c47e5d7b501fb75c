"""Models of experiments, new and saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import ClassLabel, Dataset
from transformers import ViTImageProcessorPil

from hf_invwnn.image_classification import ModelArguments, load_classifier, make_model, number_of_classes


SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
NEW = ModelArguments("vit", {"image_size": 8, "patch_size": 4, **SIZES}, image_size=8)


def test_a_new_model_has_the_classes_and_the_image_size_of_the_experiment() -> None:
    processor, model = make_model(NEW, num_labels=3)
    assert model.config.num_labels == 3 and model.config.hidden_size == 16
    assert (processor.size["height"], processor.size["width"]) == (8, 8)


def test_a_saved_classifier_is_loaded_in_float32_with_its_processor(tmp_path: Path) -> None:
    processor, model = make_model(NEW, num_labels=3)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, loaded_processor = load_classifier(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert all(torch.equal(value, model.state_dict()[name].float()) for name, value in loaded.state_dict().items())
    assert isinstance(loaded_processor, ViTImageProcessorPil) and loaded_processor.size == processor.size


def test_pretrained_weights_get_a_new_head(tmp_path: Path) -> None:
    processor, model = make_model(NEW, num_labels=3)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    _, larger = make_model(ModelArguments(str(tmp_path)), num_labels=5)
    assert larger.config.num_labels == 5 and larger.classifier.weight.shape == (5, 16)
    name = "vit.embeddings.position_embeddings"
    assert torch.equal(larger.state_dict()[name], model.state_dict()[name])


def test_damaged_and_pickled_weights_are_refused(tmp_path: Path) -> None:
    processor, model = make_model(NEW, num_labels=3)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"the weights in .* are damaged"):
        load_classifier(tmp_path)
    weights.unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_classifier(tmp_path)


def test_the_number_of_classes_is_that_of_the_class_label_or_of_the_largest_id() -> None:
    plain = Dataset.from_dict({"label": [0, 4, 2]})
    assert number_of_classes(plain, "label") == 5
    assert number_of_classes(plain.cast_column("label", ClassLabel(num_classes=10)), "label") == 10
