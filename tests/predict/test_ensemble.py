"""Ensembles: against a mean computed by hand, and against the captioners that they are made of."""

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.images import ImageTransform
from captioning.core.state import State
from captioning.core.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary
from captioning.encoders.several import Several
from captioning.predict.captioner import Caption, Captioner
from captioning.predict.ensemble import AVERAGES, Average, Ensemble, Member
from captioning.runs.checkpoint import own_part
from captioning.search import Beam, Greedy, Sample, Search

Make = Callable[..., Captioner]
ATTENDS = ("decoder=show_attend_tell", "decoder.attention_size=8")
SAID = ("a", "b", "c")


class Table(nn.Module):
    """A decoder whose next word depends on the photograph and on all words so far, through a row of a table."""

    reads = ("pooled",)

    def __init__(self, seed: int, words: tuple[str, ...] = SAID) -> None:
        super().__init__()
        self.vocabulary = Vocabulary([*SPECIAL, *words])
        generator = torch.Generator().manual_seed(seed)
        by_name = {word: torch.randn(97, generator=generator) * 2 for word in (*SPECIAL, *SAID)}
        self.table = nn.Parameter(torch.stack([by_name[word] for word in self.vocabulary.words], dim=1))
        self.marks = [ord(word[-1]) for word in self.vocabulary.words]  # of words, whatever their numbers

    def start(self, features: Features) -> State:
        return State({"image": features["pooled"][:, 0].long()}, {"number": features["pooled"].long()})

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        marks = torch.tensor(self.marks)[tokens]
        number = (state.sequence["number"] * 31 + marks * 17 + state.image["image"].unsqueeze(1)) % 97
        return self.table[number], State(state.image, {"number": number})

    def log_probs(self, image: int, words: tuple[str, ...]) -> dict[str, float]:
        """Of the next word, by name, in plain numbers."""
        number = image
        for word in ("<start>", *words):
            number = (number * 31 + ord(word[-1]) * 17 + image) % 97
        row = self.table[number].double().log_softmax(-1).tolist()
        return dict(zip(self.vocabulary.words, row, strict=True))


def ensemble(decoders: list[Table], average: Average) -> Ensemble:
    spec = FeatureSpec(pooled=(1,))
    return Ensemble([Member(each, each.vocabulary, spec, ImageTransform()) for each in decoders], average)


def photographs(*numbers: int) -> Features:
    return Features(pooled=torch.tensor(numbers, dtype=torch.float32).unsqueeze(1))


def mean_by_hand(decoders: list[Table], average: Average, image: int, words: tuple[str, ...]) -> dict[str, float]:
    """The definition, word by word in Python's floats."""
    each = [decoder.log_probs(image, words) for decoder in decoders]
    if average == "probabilities":
        return {word: math.log(sum(math.exp(row[word]) for row in each) / len(each)) for word in each[0]}
    mean = {word: sum(row[word] for row in each) / len(each) for word in each[0]}
    total = math.log(sum(map(math.exp, mean.values())))
    return {word: value - total for word, value in mean.items()}


@pytest.mark.parametrize("average", AVERAGES)
def test_greedy_and_beams_search_the_mean(average: Average) -> None:
    """Against brute force over all captions of three words; the third member numbers them otherwise."""
    decoders = [Table(1), Table(2), Table(3, ("c", "a", "b"))]
    model, length, images = ensemble(decoders, average), 4, (3, 4, 5)
    greedy = Greedy(length)(model, photographs(*images))
    beam = Beam(size=4**length, max_length=length, n_best=5)(model, photographs(*images))
    for b, image in enumerate(images):
        said: tuple[str, ...] = ()
        score = 0.0
        while len(said) < length and (not said or said[-1] != "<end>"):
            options = {w: p for w, p in mean_by_hand(decoders, average, image, said).items() if w in ("<end>", *SAID)}
            best = max(options, key=lambda word: options[word])
            said, score = (*said, best), score + options[best]
        assert names(greedy.tokens[b, 0]) == said
        assert float(greedy.scores[b, 0]) == pytest.approx(score, abs=1e-5)
        ranked = []
        for count in range(length):
            for words in itertools.product(SAID, repeat=count):
                caption = (*words, "<end>")
                scores = [mean_by_hand(decoders, average, image, caption[:t])[caption[t]] for t in range(len(caption))]
                ranked.append((sum(scores), caption))
        ranked.sort(reverse=True)
        assert [names(row) for row in beam.tokens[b]] == [caption for _, caption in ranked[:5]]
        assert beam.scores[b].tolist() == pytest.approx([score for score, _ in ranked[:5]], abs=1e-4)


def names(tokens: Tensor) -> tuple[str, ...]:
    words = [*SPECIAL, *SAID]
    return tuple(words[token] for token in tokens.tolist() if token != PAD)


def test_the_two_means_differ_and_each_sums_to_one() -> None:
    decoders = [Table(1), Table(2)]
    found = []
    for average in AVERAGES:
        model = ensemble(decoders, average)
        log_probs, _ = model.step(torch.full((2, 1), START), model.start(photographs(3, 4)))
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 1))
        found.append(log_probs)
    assert not torch.allclose(*found, atol=1e-2)


@pytest.mark.parametrize("average", AVERAGES)
def test_weights_are_those_of_the_mean(average: Average) -> None:
    """Late fusion, α·p + (1 − α)·q, by its definition."""
    tables, weights = [Table(1), Table(2), Table(3)], [3.0, 1.0, 0.0]
    spec = FeatureSpec(pooled=(1,))
    model = Ensemble([Member(each, each.vocabulary, spec, ImageTransform()) for each in tables], average, weights)
    found, _ = model.step(torch.tensor([[START]]), model.start(photographs(3)))
    rows = [each.log_probs(3, ()) for each in tables[:2]]
    for word in SAID:
        if average == "probabilities":
            expected = math.log(0.75 * math.exp(rows[0][word]) + 0.25 * math.exp(rows[1][word]))
            assert found[0, 0, tables[0].vocabulary.numbers[word]].item() == pytest.approx(expected, abs=1e-5)
    twice = [tables[0]] * 3 + [tables[1]]
    same, _ = ensemble(twice, average).step(torch.tensor([[START]]), ensemble(twice, average).start(photographs(3)))
    torch.testing.assert_close(found, same)
    for wrong in ([1.0, 1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]):
        with pytest.raises(CaptioningError, match="are not one for each of 3 captioners"):
            Ensemble([Member(each, each.vocabulary, spec, ImageTransform()) for each in tables], average, wrong)


@pytest.mark.parametrize("average", AVERAGES)
def test_a_state_is_reordered_and_selected_like_a_decoders_own(average: Average) -> None:
    model = ensemble([Table(1), Table(2, ("b", "c", "a"))], average)
    state = model.start(photographs(3, 4, 5))
    _, state = model.step(torch.full((3, 1), START), state)
    state = state.reorder(torch.zeros(3, 2, dtype=torch.long))
    _, state = model.step(torch.tensor([[4, 5], [6, 4], [5, 6]]), state)
    state = state.select(torch.tensor([2, 0])).reorder(torch.tensor([[1, 1, 0], [0, 1, 0]]))
    log_probs, _ = model.step(torch.tensor([[4, 5, 6], [6, 5, 4]]), state)
    for row, image, before, last in ((0, 5, "ccb", "abc"), (1, 3, "aba", "cba")):
        for slot, words in enumerate(zip(before, last, strict=True)):
            expected = mean_by_hand([Table(1), Table(2, ("b", "c", "a"))], average, image, words)
            assert log_probs[row, slot].tolist() == pytest.approx([expected[w] for w in (*SPECIAL, *SAID)], abs=1e-5)


class Regions(Table):
    """Reads regions, and leaves attention to the first of them, or none."""

    reads = ("grid",)

    def __init__(self, seed: int, attends: bool) -> None:
        super().__init__(seed)
        self.attends = attends

    def start(self, features: Features) -> State:
        return super().start(Features(pooled=features["grid"][:, 0]))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        logits, state = super().step(tokens, state)
        if not self.attends:
            return logits, state
        weights = torch.tensor([1.0, 0, 0, 0]).expand(*tokens.shape, 4)
        return logits, State(state.image, {**state.sequence, "attention": weights})


def test_what_is_read_first_is_what_attention_lies_over() -> None:
    """So that maps are given its layout, and not that of as many regions that another member reads."""
    blind, attends = Regions(1, attends=False), Regions(2, attends=True)
    line, square = FeatureSpec(grid=(1, 4, 1)), FeatureSpec(grid=(2, 2, 1))
    members = [
        Member(blind, blind.vocabulary, line, ImageTransform(), "0_"),
        Member(attends, attends.vocabulary, square, ImageTransform(), "1_"),
    ]
    model = Ensemble(members)
    assert model.reads == ("1_grid", "0_grid")
    features = Features(**{"0_grid": torch.ones(2, 4, 1), "1_grid": torch.ones(2, 4, 1)})
    _, state = model.step(torch.full((2, 1), START), model.start(features))
    assert state.sequence["attention"].tolist() == [[[1, 0, 0, 0]]] * 2


def noise(count: int, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)) for _ in range(count)]


def same(one: Caption, other: Caption) -> None:
    assert one.text == other.text
    assert one.score == pytest.approx(other.score, abs=1e-4)
    assert (one.attention is None) == (other.attention is None)
    if one.attention is not None and other.attention is not None:
        np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize(
    "search", [Greedy(6), Beam(4, 6, n_best=3), Sample(6, samples=3, seed=1)], ids=["greedy", "beam", "sample"]
)
def test_of_one_and_of_two_copies(make: Make, search: Search, copies: int, average: Average) -> None:
    captioner = make(*ATTENDS)
    copied = Captioner.combine([captioner, *(make(*ATTENDS) for _ in range(copies - 1))], average)
    assert isinstance(copied.decoder, Ensemble)
    n = 1 if isinstance(search, Greedy) else 3
    found = copied.caption(noise(3), copy.deepcopy(search), attention=True, n=n)
    for ours, theirs in zip(found, captioner.caption(noise(3), search, attention=True, n=n), strict=True):
        assert len(ours) == len(theirs) == n
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)


def test_equal_encoders_run_once_and_members_without_attention_do_not_count(make: Make) -> None:
    attends, plain, blind = make(*ATTENDS, seed=1), make("decoder=neuraltalk", seed=2), make("decoder=language_model")
    together = Captioner.combine([plain, attends, blind])
    runs = []
    for captioner in (plain, attends, blind):
        captioner.encoder.register_forward_hook(lambda *_: runs.append(1))
    captions = list(together.caption(noise(2), Beam(3, 5), attention=True))
    assert len(runs) == 1
    assert together.encoder is plain.encoder
    features = attends.encoder(torch.stack([attends.encoder.transform(image) for image in noise(2)]))
    state = attends.decoder.start(features)
    assert captions[0].attention is not None
    words = together.vocabulary.encode(captions[0].text.split())  # START first
    for word, weights in zip(words, captions[0].attention, strict=False):
        _, state = attends.decoder.step(torch.tensor([[word], [START]]), state)
        np.testing.assert_allclose(weights.reshape(-1), state.sequence["attention"][0, 0].detach(), atol=1e-5)
    alone = Captioner.combine([plain, blind])
    with pytest.raises(CaptioningError, match="ensemble has no attention to show"):
        next(alone.caption(noise(1), attention=True))


def test_different_encoders_see_the_photograph_each_in_its_own_way(make: Make) -> None:
    coarse, fine = make(*ATTENDS, "encoder.image_size=[16,24]"), make(*ATTENDS, "encoder.image_size=32", seed=1)
    blind = make("decoder=neuraltalk", "encoder.image_size=48", "encoder.fit=crop", seed=2)
    together = Captioner.combine([coarse, fine, blind])
    assert isinstance(together.encoder, Several)
    (image,) = noise(1)
    features = together.encoder(together.encoder.transform(image).unsqueeze(0))
    for number, captioner in enumerate((coarse, fine, blind)):
        own = captioner.encoder(captioner.encoder.transform(image).unsqueeze(0))
        for part, values in own.items():
            torch.testing.assert_close(features[f"{number}_{part}"], values)
            assert together.encoder.spec[f"{number}_{part}"] == captioner.encoder.spec[part]
    fused = together.encoder.fused()(together.encoder.transform(image).unsqueeze(0))
    for part, values in features.items():
        torch.testing.assert_close(fused[part], values, rtol=1e-3, atol=1e-3)

    # the finest map is the mean, and each of the coarser one's regions gives its weight to those that it covers
    assert (coarse.encoder.spec.layout("grid"), fine.encoder.spec.layout("grid")) == ((4, 6), (8, 8))
    (caption,) = together.caption(image, Greedy(5), attention=True)
    assert caption.attention is not None and caption.attention.shape[1:] == (8, 8)
    np.testing.assert_allclose(caption.attention.sum((1, 2)), 1, rtol=1e-5)
    maps = []
    for captioner in (coarse, fine):
        own = captioner.encoder(captioner.encoder.transform(image).unsqueeze(0))
        _, state = captioner.decoder.step(torch.tensor([[START]]), captioner.decoder.start(own))
        weights = state.sequence["attention"].detach().numpy().reshape(captioner.encoder.spec.layout("grid"))
        repeated = np.repeat(np.repeat(weights, 8, axis=0), 24 // weights.shape[1], axis=1)  # of one size: 24 columns
        rows = repeated.reshape(8, weights.shape[0], 24).sum(1) / 8
        maps.append(rows.reshape(8, 8, 3).sum(2) / (24 // weights.shape[1]))
    np.testing.assert_allclose(caption.attention[0], np.mean(maps, axis=0), atol=1e-6)


def test_the_encoder_of_an_ensemble_is_told_apart_by_all_that_it_depends_on(make: Make) -> None:
    one, other = make("encoder.image_size=32"), make("encoder.image_size=48")
    joint, again = (Captioner.combine([make("encoder.image_size=32"), make("encoder.image_size=48")]) for _ in range(2))
    assert joint.encoder.fingerprint() == again.encoder.fingerprint() != one.encoder.fingerprint()
    assert joint.encoder.transform.to_dict() == again.encoder.transform.to_dict()
    swapped = Captioner.combine([other, one])
    assert swapped.encoder.transform.to_dict() != joint.encoder.transform.to_dict()
    assert set(joint.decoder.reads) <= set(joint.encoder.spec)


def test_maps_of_different_parts_of_a_photograph_are_not_averaged(make: Make) -> None:
    squashed, cropped = make(*ATTENDS), make(*ATTENDS, "encoder.fit=crop", seed=1)
    together = Captioner.combine([squashed, cropped])
    (caption,) = together.caption(noise(1), Greedy(3))
    assert caption.text
    with pytest.raises(CaptioningError, match="attend to different parts of a photograph"):
        next(together.caption(noise(1), Greedy(3), attention=True))


def test_another_order_of_the_words_is_mapped(make: Make) -> None:
    captioner, other = make("decoder=show_tell"), make("decoder=show_tell")
    words = [*SPECIAL, *reversed(captioner.vocabulary.words[len(SPECIAL) :])]
    order = [captioner.vocabulary.numbers[word] for word in words]
    with torch.no_grad():
        other.decoder.embedding.weight.copy_(other.decoder.embedding.weight[order].clone())
        other.decoder.word_layer.weight.copy_(other.decoder.word_layer.weight[order].clone())
        other.decoder.word_layer.bias.copy_(other.decoder.word_layer.bias[order].clone())
    other.vocabulary = Vocabulary(words)
    for first, second in ((captioner, other), (other, captioner)):
        together = Captioner.combine([first, second])
        for ours, theirs in zip(together.caption(noise(3), Beam(3)), captioner.caption(noise(3), Beam(3)), strict=True):
            same(ours, theirs)


def saved(captioner: Captioner, path: Path) -> Path:
    modules = nn.ModuleDict({"encoder": captioner.encoder, "decoder": captioner.decoder})
    own = own_part(captioner.config, {"vocabulary": captioner.vocabulary.words})
    torch.save({"state_dict": modules.state_dict(), "captioning": own}, path)
    return path


def test_several_checkpoints(make: Make, tmp_path: Path) -> None:
    captioners = [make(*ATTENDS), make("decoder=neuraltalk", "encoder.image_size=48", "search.max_length=3", seed=1)]
    paths = [saved(each, tmp_path / f"{number}.ckpt") for number, each in enumerate(captioners)]
    assert not isinstance(Captioner.load(paths[:1], "cpu").decoder, Ensemble)
    found: dict[str, list[Caption]] = {}
    for average in AVERAGES:
        loaded, combined = Captioner.load(paths, "cpu", average=average), Captioner.combine(captioners, average)
        found[average] = list(loaded.caption(noise(4), attention=True))
        for ours, theirs in zip(found[average], combined.caption(noise(4), attention=True), strict=True):
            same(ours, theirs)
    assert all(len(caption.text.split()) <= 6 for caption in found["probabilities"])
    assert any(len(caption.text.split()) > 3 for caption in found["probabilities"])  # the first one's search
    scores = [[caption.score for caption in captions] for captions in found.values()]
    assert not np.allclose(*scores, atol=1e-3)


def test_what_makes_no_ensemble_is_a_sentence(make: Make, tmp_path: Path) -> None:
    paths = [
        saved(make(), tmp_path / "a.ckpt"),
        saved(make(words=("a", "red", "cat", *(f"dog{n}" for n in range(6)))), tmp_path / "b.ckpt"),
    ]
    said = (
        r"b\.ckpt: its vocabulary holds other words than that of .*a\.ckpt \(ball, box, grass, on, star, … only in .*"
    )
    with pytest.raises(CaptioningError, match=said + r"a\.ckpt; cat, dog0, dog1, dog2, dog3, … only in .*b\.ckpt\)"):
        Captioner.load(paths, "cpu")
    with pytest.raises(CaptioningError, match="one captioner or more"):
        Captioner.load([], "cpu")
    with pytest.raises(CaptioningError, match="average=median: take one of probabilities, log-probabilities"):
        Captioner.combine([make()], "median")  # type: ignore[arg-type]


def test_special_words_are_never_said_by_an_ensemble(make: Make) -> None:
    together = Captioner.combine([make(), make(seed=1)])
    features = together.encoder(torch.stack([together.encoder.transform(image) for image in noise(2)]))
    found = Beam(4, 6, n_best=4)(together.decoder, features)
    assert ((found.tokens > UNK) | (found.tokens == END) | (found.tokens == PAD)).all()
