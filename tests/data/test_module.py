"""The data module: the same batches from workers as without, and stored features as good as live ones."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from captioning.core.errors import CaptioningError
from captioning.data import CaptionedPhotos
from captioning.data.batches import Batch
from captioning.data.captions import build_vocabulary
from captioning.data.module import CaptionData
from captioning.jobs.config import compose
from captioning.runs import parts
from captioning.tasks import photographs
from captioning.text.tokenizer import tokenize

Overrides = Callable[..., list[str]]


@pytest.fixture
def made(tiny: Overrides) -> Iterator[Callable[..., tuple[CaptionData, torch.nn.Module]]]:
    def make(*overrides: str) -> tuple[CaptionData, torch.nn.Module]:
        torch.manual_seed(0)  # the encoder has random weights
        config = compose(tiny("data.batch_size=3", *overrides))
        photos = photographs.read_photos(config)
        encoder = parts.make_encoder(config)
        vocabulary = build_vocabulary(photos["train"], 1)
        reads, device = ("pooled", "grid"), torch.device("cpu")
        return photographs.make_data(config, photos, vocabulary, encoder, reads, device), encoder

    yield make


def test_stored_features_are_those_of_the_live_encoder(made) -> None:
    stored, encoder = made()
    live, _ = made("encoder.finetune_from=layer1")
    for split in ("train", "val", "test"):
        for ours, theirs in zip(stored.loader(split), live.loader(split), strict=True):
            assert ours.images is None and theirs.features is None
            assert ours.photos.tolist() == theirs.photos.tolist()
            assert torch.equal(ours.targets, theirs.targets)
            with torch.no_grad():
                features = encoder(theirs.images)
            for part in ("pooled", "grid"):
                left, right = ours.features[part], features[part]
                assert left.shape == right.shape
                assert torch.allclose(left.float(), right, rtol=1e-3, atol=1e-3)
            assert not torch.allclose(features["pooled"][0], features["pooled"][-1], atol=1e-2) or features.images == 1


def test_workers_change_nothing(made) -> None:
    def held(batch: Batch) -> list[list[float]]:
        return [
            batch.photos.tolist(),
            batch.words.tolist(),
            batch.targets.tolist(),
            batch.features["pooled"][:, 0].tolist(),
        ]

    alone, several = ([held(batch) for batch in made(f"data.workers={n}")[0].train_dataloader()] for n in (0, 2))
    assert alone == several
    assert sorted(place for batch in alone for place in batch[0]) == list(range(10))


def test_training_is_shuffled_and_draws_captions_while_validation_has_all_in_order(made) -> None:
    data, _ = made("data.captions_per_photo=1")
    training, validation = list(data.train_dataloader()), list(data.val_dataloader())
    assert [batch.photos.tolist() for batch in training] != [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert {batch.packing.shape[1] for batch in training} == {1}
    assert [batch.photos.tolist() for batch in validation] == [[0, 1, 2]]
    assert validation[0].packing.shape[1] == 2
    assert len(data.test_dataloader()) == 1


def test_an_empty_split_is_a_sentence(tmp_path: Path, made) -> None:
    data, _ = made()
    data.photos = CaptionedPhotos("mine", {"train": data.photos["train"], "val": []})
    with pytest.raises(CaptioningError, match=r"mine: the split 'val' is empty.*train \(10\)"):
        data.val_dataloader()


def test_captions_that_are_cut_are_counted_and_said_once(made, caplog: pytest.LogCaptureFixture) -> None:
    data, _ = made("data.max_words=2", "search.max_length=3")
    words = [len(tokenize(caption)) for photo in data.photos["train"] for caption in photo.captions]
    cut, longer = (sum(count > limit for count in words) for limit in (2, 3))
    assert cut > longer > 0
    for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader):
        list(loader())
    first, second = (record.getMessage() for record in caplog.records if "training captions" in record.getMessage())
    assert (
        first == f"{cut} of {len(words)} training captions have more than 2 words and are cut there (data.max_words)."
    )
    assert second.startswith(f"{longer} of {len(words)} training captions have more than 3 words, where")
    assert f"they have {sum(words) / len(words):.0f} words on average" in second
    caplog.clear()
    list(made("data.max_words=30", "search.max_length=20")[0].train_dataloader())
    assert "training captions have" not in caplog.text


def test_what_workers_take_can_be_pickled(made) -> None:
    """Windows and macOS spawn worker processes."""
    for data, _ in (made(), made("encoder.finetune_from=layer1")):
        loader = data.loader("train", shuffle=True)
        dataset = pickle.loads(pickle.dumps(loader.dataset))
        draw = next(iter(loader.sampler))
        assert torch.equal(dataset[draw].targets, loader.dataset[draw].targets)
        pickle.dumps((loader.worker_init_fn, loader.collate_fn))
