"""The mean of the weights of several captioners."""

from collections.abc import Callable

import pytest
import torch
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.predict.captioner import Captioner
from captioning.search import Beam

Make = Callable[..., Captioner]
PICTURES = [Image.new("RGB", (40, 30), colour) for colour in ("red", "white", "blue")]


def test_every_weight_is_the_mean_and_the_captioners_stay_as_they_were(make: Make) -> None:
    three = [make("decoder=show_tell", seed=seed) for seed in range(3)]
    before = [{name: weight.clone() for name, weight in each.decoder.state_dict().items()} for each in three]
    together = Captioner.combine(three, "weights")
    assert type(together.decoder) is type(three[0].decoder)
    for name, weight in together.decoder.state_dict().items():
        assert torch.allclose(weight, sum(state[name] for state in before) / 3, atol=1e-6), name
    for each, state in zip(three, before, strict=True):
        assert all(torch.equal(weight, state[name]) for name, weight in each.decoder.state_dict().items())
    assert together.encoder.fingerprint() == three[0].encoder.fingerprint()  # so that stored features fit
    assert together(PICTURES) != three[0](PICTURES)


def test_copies_have_their_own_weights_as_the_mean(make: Make) -> None:
    same = [make("decoder=show_attend_tell", "decoder.attention_size=8") for _ in range(3)]
    together = Captioner.combine(same, "weights")
    found, alone = (list(each.caption(PICTURES, Beam(3, 6))) for each in (together, same[0]))
    assert [(each.text, each.score) for each in found] == [(each.text, each.score) for each in alone]
    assert Captioner.combine(same[:1], "weights")(PICTURES) == same[0](PICTURES)


def test_fine_tuned_encoders_are_averaged_too(make: Make) -> None:
    one, other = make("decoder=show_tell"), make("decoder=show_tell")
    with torch.no_grad():
        for parameter in other.encoder.parameters():
            parameter.add_(1.0)
    together = Captioner.combine([one, other], "weights")
    for mean, weight in zip(together.encoder.parameters(), one.encoder.parameters(), strict=True):
        torch.testing.assert_close(mean, weight + 0.5)
    counts = {name: value for name, value in together.encoder.state_dict().items() if not value.is_floating_point()}
    assert counts and all(torch.equal(value, one.encoder.state_dict()[name]) for name, value in counts.items())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"words": ("a", "red", "ball", "star")}, "its vocabulary has other words, or another order"),
        ({"overrides": ("decoder.hidden_size=16",)}, r"its settings differ \(decoder\.hidden_size\)"),
        ({"overrides": ("cell=gru",)}, r"its settings differ \(cell\._target_\)"),
    ],
)
def test_what_has_no_mean_is_a_sentence(make: Make, other: dict[str, tuple[str, ...]], said: str) -> None:
    overrides = other.pop("overrides", ())
    with pytest.raises(CaptioningError, match=rf"^second: its weights can't be averaged with those of first: {said}"):
        Captioner.combine([make(), make(*overrides, **other)], "weights", ["first", "second"])
    other_dropout = make("decoder.output_dropout=0.1", seed=1)
    assert Captioner.combine([make(), other_dropout], "weights")(PICTURES)
