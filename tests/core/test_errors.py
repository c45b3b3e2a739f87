"""The error's message is the sentence alone, wherever it was raised."""

import pickle
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from captioning.core.errors import CaptioningError

SENTENCE = "a.jpg: cut short.\nFetch it again: CaptioningErrors end."


class Failing(Dataset[int]):
    """Fails in whichever process reads it."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> int:
        try:
            return len(Path("/nowhere/at/all").read_bytes())
        except OSError as error:
            raise CaptioningError(SENTENCE) from error


@pytest.mark.parametrize("workers", [0, 1])
def test_a_worker_process_s_error_is_its_sentence(workers: int) -> None:
    with pytest.raises(CaptioningError) as caught:
        next(iter(DataLoader(Failing(), num_workers=workers)))
    assert str(caught.value) == SENTENCE


def test_the_message_survives_a_pickle() -> None:
    assert str(pickle.loads(pickle.dumps(CaptioningError(SENTENCE)))) == SENTENCE
