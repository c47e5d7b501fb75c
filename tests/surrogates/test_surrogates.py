"""Surrogates: what they do to a batch, that they are drawn from the generator alone, and what is refused."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from helpers import Examples, build_model

from hf_invwnn.surrogates import (
    SURROGATES,
    AdversarialImages,
    EditedTokens,
    MixedEmbeddings,
    MixedImages,
    NoisyImages,
    ShiftedImages,
    UnlabelledExamples,
    find_surrogates,
)
from hf_invwnn.surrogates.images import shifted


def no_answer(inputs: Any) -> torch.Tensor:
    raise AssertionError("these surrogates need no model")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, 3, 8, 6, generator=generator(7)) + 5  # no pixel is 0


def moved_by_hand(image: torch.Tensor, down: int, right: int, mirrored: bool) -> torch.Tensor:
    """An image shifted by whole pixels, pixel by pixel."""
    height, width = image.shape[1:]
    result = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            source = (row - down, column - right)
            if 0 <= source[0] < height and 0 <= source[1] < width:
                result[:, row, column] = image[:, source[0], source[1]]
    return result.flip(-1) if mirrored else result


def test_every_image_is_shifted_and_mirrored_by_its_own_draw(images: torch.Tensor) -> None:
    """Each is one of the images that can be made by hand, and all draws occur."""
    kept = images.clone()
    moved = shifted(images, generator(), 0.25, True)
    assert torch.equal(images, kept) and moved.shape == images.shape
    found = set()
    for before, after in zip(images, moved, strict=True):
        fits = [
            (down, right, mirrored)
            for down in range(-2, 3)
            for right in range(-1, 2)
            for mirrored in (False, True)
            if torch.equal(moved_by_hand(before, down, right, mirrored), after)
        ]
        assert len(fits) == 1
        found.add(fits[0])
    assert len(found) > 2
    many = shifted(images[:1].expand(2000, -1, -1, -1), generator(), 0.25, True)
    assert len(torch.unique(many.flatten(1), dim=0)) == 5 * 3 * 2
    assert torch.equal(shifted(images, generator(), 0.0, False), images)


def test_a_mix_is_one_of_two_moved_images(images: torch.Tensor) -> None:
    """Of constant images, which a shift by 0 leaves: each mix lies between two of the constants."""
    constants = torch.tensor([0.0, 1.0, 10.0, 100.0])
    flat = constants.view(4, 1, 1, 1).expand(4, 1, 4, 4)
    mixed = MixedImages(least=0.3, shift=0.0)({"pixel_values": flat}, generator(1), no_answer)["pixel_values"]
    assert torch.equal(mixed.amin(dim=(1, 2, 3)), mixed.amax(dim=(1, 2, 3)))
    for row, value in enumerate(mixed[:, 0, 0, 0]):
        shares = [(value - other) / (constants[row] - other) for other in constants if other != constants[row]]
        assert value == constants[row] or any(0.3 - 1e-5 <= share <= 0.7 + 1e-5 for share in shares)


def test_noise_is_in_units_of_the_batch(images: torch.Tensor) -> None:
    many = images.repeat(200, 1, 1, 1)
    noise = NoisyImages(0.5)({"pixel_values": many}, generator(), no_answer)["pixel_values"] - many
    assert float(noise.std() / many.std()) == pytest.approx(0.5, rel=0.02)


def test_an_adversarial_image_is_nearer_to_another_class(digits: Examples) -> None:
    """The model of the answers keeps its weights and gradients."""
    model = build_model("vit")
    inputs = {"pixel_values": digits.part(0, 64).columns["pixel_values"]}
    make = AdversarialImages(step=0.05, shift=0.0, mirror=False)
    near = make(inputs, generator(), lambda batch: model(**batch).logits)["pixel_values"]
    away = (near - inputs["pixel_values"]).abs()
    assert not near.requires_grad and float(away.max()) == pytest.approx(
        0.05 * float(inputs["pixel_values"].std()), rel=1e-3
    )
    towards = torch.randint(10, (64,), generator=advanced(generator()))
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(model(pixel_values=pixels).logits, towards)
            for pixels in (inputs["pixel_values"], near)
        ]
    assert losses[1] < losses[0]


def advanced(drawn: torch.Generator) -> torch.Generator:
    """A generator after the draws of 64 shifts by 0 pixels."""
    for _ in range(2):
        torch.randint(1, (64, 1), generator=drawn)
    return drawn


def test_edited_texts_keep_length_padding_and_their_first_token(texts: Examples) -> None:
    ids = texts.part(0, 32).columns["input_ids"].clone()
    mask = torch.ones_like(ids)
    ids[:, 10:], mask[:, 10:] = 0, 0
    near = EditedTokens(0.5)({"input_ids": ids, "attention_mask": mask}, generator(), no_answer)
    changed = near["input_ids"] != ids
    assert not changed[:, 10:].any() and not changed[:, 0].any() and not (near["input_ids"][:, :10] == 0).any()
    assert 0.05 < float(changed[:, 1:10].float().mean()) < 0.5
    assert torch.equal(near["attention_mask"], mask)


def test_unlabelled_examples_are_drawn_from_their_data_set(digits: Examples) -> None:
    own = digits.part(100, 110)
    near = UnlabelledExamples(own)(
        {"pixel_values": digits.part(0, 40).columns["pixel_values"]}, generator(), no_answer
    )
    assert set(near) == {"pixel_values"} and len(near["pixel_values"]) == 40
    pool = own.columns["pixel_values"]
    assert all(any(torch.equal(image, other) for other in pool) for image in near["pixel_values"])
    assert len(torch.unique(near["pixel_values"].flatten(1), dim=0)) > 5
    assert not UnlabelledExamples(own).forget_only


class Original:
    """A model whose weights are those of the original and of the rewound model."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def original(self) -> nullcontext[None]:
        return nullcontext()

    rewound = original


def test_embeddings_are_mixed_place_by_place_and_padding_leaves_the_text_itself(texts: Examples) -> None:
    model: Any = build_model("bert")
    ids = texts.part(0, 6).columns["input_ids"].clone()
    mask = torch.ones_like(ids)
    mask[3:, 9:] = 0
    mixed = MixedEmbeddings(0.3)
    mixed.prepare(Original(model))
    table = model.get_input_embeddings().weight.detach().clone()
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()  # the mixes are of the original's
    near = mixed({"input_ids": ids, "attention_mask": mask}, generator(), no_answer)
    assert near.keys() == {"inputs_embeds", "attention_mask"} and near["attention_mask"] is mask
    others = set()
    for row, found in enumerate(near["inputs_embeds"]):
        own = table[ids[row]]
        fits = []
        for other in range(6):
            between = table[ids[other]] - own
            inside = (mask[other] == 1) & (between.abs().amax(dim=1) > 1e-6)
            share = ((found - own)[inside] / between[inside]).flatten()
            outside = torch.allclose(found[~inside], own[~inside])
            if other != row and outside and float(share.std()) < 1e-3 and 0.3 <= float(share.mean()) <= 0.7:
                fits.append(other)
        itself = torch.allclose(found, own, atol=1e-6)
        assert len(fits) == 1 or itself, row
        others.update(fits)
    assert len(others) >= 3


@pytest.mark.parametrize("name", SURROGATES)
def test_the_same_generator_draws_the_same_surrogates(name: str, digits: Examples, texts: Examples) -> None:
    """And another seed others; the generator of torch is not used."""
    of_texts = name in ("edited", "mixed_embeddings")
    model = build_model("bert" if of_texts else "vit")
    data = texts if of_texts else digits
    inputs = {key: value for key, value in data.part(0, 16).columns.items() if key != "labels"}
    keys = {"edited": "input_ids", "mixed_embeddings": "inputs_embeds"}

    def draw(seed: int) -> torch.Tensor:
        surrogates: Any = find_surrogates(name, inputs)
        if hasattr(surrogates, "prepare"):
            surrogates.prepare(Original(model))
        near = surrogates(inputs, generator(seed), lambda batch: model(**batch).logits)
        return near[keys.get(name, "pixel_values")]

    state = torch.get_rng_state()
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShiftedImages(1.0), "`shift` is a share of the side and must lie in [0, 1), got 1.0"),
        (lambda: MixedImages(0.6), "`least` is the smallest share of an image and must lie in [0, 0.5], got 0.6"),
        (lambda: NoisyImages(float("nan")), "`scale` must be positive and finite, got nan"),
        (lambda: AdversarialImages(0.0), "`step` must be positive and finite, got 0.0"),
        (lambda: MixedEmbeddings(-0.1), "`least` is the smallest share of a text and must lie in [0, 0.5], got -0.1"),
        (lambda: EditedTokens(0.0), "`share` must lie in (0, 1], got 0.0"),
        (lambda: UnlabelledExamples([]), "`dataset` of the surrogates is empty"),
        (lambda: find_surrogates("mixd", {"pixel_values": 0}), "`surrogates` must be one of shifted, mixed"),
        (lambda: find_surrogates(None, {"waveform": 0}), "`surrogates` must be given for a model that takes waveform"),
    ],
)
def test_what_cannot_work_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
    with pytest.raises(TypeError, match="`surrogates` must be a name or callable"):
        find_surrogates(3, {})  # type: ignore[arg-type]


def test_defaults_suit_the_inputs() -> None:
    assert isinstance(find_surrogates(None, {"pixel_values": 0}), ShiftedImages)
    assert isinstance(find_surrogates(None, {"input_ids": 0, "attention_mask": 0}), EditedTokens)
