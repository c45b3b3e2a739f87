"""Neighbours: captions ranked by those of similar training photographs, written out in plain Python."""

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.vocabulary import END, PAD, SPECIAL, UNK, Vocabulary
from captioning.search import Beam, Memory, Neighbours
from captioning.search.consensus import similarities
from captioning.search.memory import Rarity

WORDS = ("a", "dog", "cat", "runs", "on", "grass")
VOCABULARY = Vocabulary([*SPECIAL, *WORDS])


def grams(words, n):
    return Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))


def counted(captions):
    """The n-grams' ``log N - log d``, by photograph."""
    photographs = Counter()
    for each in captions:
        photographs.update({gram for words in each for n in (1, 2, 3, 4) for gram in grams(words, n)})
    return lambda gram: math.log(len(captions)) - math.log(max(1, photographs[gram]))


def similarity(caption, other, weight):
    """CIDEr-D of a caption and one reference: Vedantam et al. 2015, equation 4, over 10."""
    cosines = 0.0
    for n in (1, 2, 3, 4):
        ours, theirs = (
            {gram: count * weight(gram) for gram, count in grams(words, n).items()} for words in (caption, other)
        )
        product = sum(min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in ours.items())
        norms = [math.sqrt(sum(value * value for value in each.values())) for each in (ours, theirs)]
        cosines += product / (norms[0] * norms[1]) if all(norms) else 0.0
    return cosines / 4 * math.exp(-((len(caption) - len(other)) ** 2) / 72)


def spoken(row):
    return [token for token in row.tolist() if token not in (PAD, END)]


def memory_of(seed, photographs=12, numbers=3, words=WORDS):
    """Random features, and one to three random captions of each photograph."""
    draw = torch.Generator().manual_seed(seed)

    def number(most):
        return int(torch.randint(most, (), generator=draw))

    captions = [
        [" ".join(words[number(len(words))] for _ in range(1 + number(7))) for _ in range(1 + number(3))]
        for _ in range(photographs)
    ]
    return Memory(torch.randn(photographs, numbers, generator=draw).half(), captions, "grid", "an encoder")


def seen(images, numbers=3, seed=0):
    """Features of which the decoder reads one part and the memory the other, in two regions."""
    grid = torch.randn(len(images), 2, numbers, generator=torch.Generator().manual_seed(seed))
    return Features(pooled=torch.tensor(images, dtype=torch.float32).unsqueeze(1), grid=grid)


@pytest.mark.parametrize("seed", range(3))
def test_rarity_and_similarity_are_those_of_cider_d(seed):
    memory = memory_of(seed)
    words, photos = memory.numbered(VOCABULARY)
    numbered = [[spoken(words[n]) for n in range(len(words)) if photos[n] == photo] for photo in range(12)]
    assert [[" ".join(map(str, each)) for each in captions] for captions in numbered] == [
        [" ".join(str(VOCABULARY.numbers[word]) for word in each.split()) for each in captions]
        for captions in memory.captions
    ]
    rarity, weight = Rarity(words, photos, 4), counted(numbered)
    some = torch.randint(4, 4 + len(WORDS) + 2, (9, 6), generator=torch.Generator().manual_seed(seed))  # two unknown
    for row, length in zip(some, (0, 1, 2, 3, 4, 5, 6, 6, 6), strict=True):
        row[length:] = PAD
    for n, found in enumerate(rarity.of(some), start=1):
        for row, values in zip(some.tolist(), found.tolist(), strict=True):
            expected = [weight(tuple(row[at : at + n])) for at in range(len(row) - n + 1)]
            there = [PAD not in row[at : at + n] for at in range(len(row) - n + 1)]
            for value, right, whole in zip(values, expected, there, strict=True):
                assert not whole or value == pytest.approx(right, abs=1e-5)
    rows = [spoken(row) for row in some]
    found = similarities(some, 4, rarity)
    assert found.shape == (4, 9)
    for i in range(4):
        for j in range(9):
            assert float(found[i, j]) == pytest.approx(similarity(rows[i], rows[j], weight), abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.lists(st.integers(0, 900), min_size=1, max_size=3),
    size=st.integers(1, 5),
    nearest=st.integers(1, 14),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    sharpness=st.sampled_from([0.05, 1.0]),
    max_length=st.integers(2, 7),
)
def test_the_ranking_is_its_definition(toy, seed, images, size, nearest, share, sharpness, max_length):
    decoder, features, memory = toy(len(WORDS) + 1, seed, end_bias=1.0), seen(images, seed=seed), memory_of(seed)
    beam = Beam(size, max_length, 0.6, n_best=size)(decoder, features)
    search = Neighbours(memory, size, nearest, share, sharpness, 0.7, max_length, n_best=size)
    found = search.for_vocabulary(VOCABULARY)(decoder, features)
    numbered = [[[VOCABULARY.numbers[w] for w in each.split()] for each in captions] for captions in memory.captions]
    weight, mean = counted(numbered), memory.features.float().mean(0)
    for b in range(len(images)):
        there = [n for n in range(size) if beam.scores[b, n] > -torch.inf]
        voters = [n for n in there if END in beam.tokens[b, n]] or there
        votes = [math.exp((float(beam.scores[b, n]) - float(beam.scores[b, voters[0]])) / 0.7) for n in voters]
        cosines = torch.cosine_similarity(features["grid"][b].mean(0) - mean, memory.features.float() - mean, dim=1)
        best = sorted(range(12), key=lambda photo: -float(cosines[photo]))[:nearest]
        shares = [math.exp(float(cosines[photo]) / sharpness) for photo in best]
        expected = {}
        for n in there:
            caption = spoken(beam.tokens[b, n])
            own = sum(
                vote * similarity(caption, spoken(beam.tokens[b, other]), weight)
                for vote, other in zip(votes, voters, strict=True)
            )
            theirs = sum(
                each * sum(similarity(caption, other, weight) for other in numbered[photo]) / len(numbered[photo])
                for each, photo in zip(shares, best, strict=True)
            )
            expected[n] = (1 - share) * own / sum(votes) + share * theirs / sum(shares)
        for n in range(len(there)):
            (place,) = [m for m in there if torch.equal(beam.tokens[b, m], found.tokens[b, n])]
            assert float(found.scores[b, n]) == pytest.approx(expected[place], abs=1e-4)
            assert (place in voters) == (n < len(voters))  # what was cut comes last
        ranked = found.scores[b, : len(voters)].tolist()
        assert ranked == sorted(ranked, reverse=True)


def test_the_memory_tells_which_caption_is_taken(toy):
    """Of the captions found, those whose words similar photographs have."""
    decoder, features = toy(len(WORDS) + 1, 3), seen(range(20))
    beam = Beam(6, 20, 0.6, n_best=6)(decoder, features)
    for word in WORDS:
        memory = Memory(torch.eye(3).half(), [[word], [word], ["stranger"]], "grid", "an encoder")
        search = Neighbours(memory, 6, nearest=3, share=1.0).for_vocabulary(VOCABULARY)
        for found, others in zip(search(decoder, features).tokens[:, 0], beam.tokens, strict=True):
            number = VOCABULARY.numbers[word]
            assert number in found or number not in others


def test_a_batch_is_each_photograph_alone(toy):
    decoder, features = toy(len(WORDS) + 1, 2), seen(range(12))
    search = Neighbours(memory_of(1), 5, n_best=2).for_vocabulary(VOCABULARY)
    together = search(decoder, features)
    for image in range(12):
        one = Features(**{name: features[name][image : image + 1] for name in features})
        alone = search(decoder, one)
        assert [spoken(row) for row in alone.tokens[0]] == [spoken(row) for row in together.tokens[image]]
        assert torch.allclose(alone.scores[0], together.scores[image], atol=1e-6)


def test_photographs_are_compared_in_parts(monkeypatch):
    memory, images = memory_of(0, photographs=30), torch.randn(4, 3)
    whole = memory.nearest(images, 7)
    monkeypatch.setattr("captioning.search.memory.AT_ONCE", 4)
    for found, right in zip(memory.nearest(images, 7), whole, strict=True):
        torch.testing.assert_close(found, right)
    assert memory.nearest(images, 99)[1].sort().values.tolist() == [list(range(30))] * 4


def test_a_memory_is_what_was_written(tmp_path: Path):
    memory = memory_of(0, words=("größe", "犬", "stranger"))
    memory.write(tmp_path / "memory.pt")
    found = Memory.read(tmp_path / "memory.pt")
    assert torch.equal(found.features, memory.features) and found.captions == memory.captions
    assert (found.part, found.encoder) == (memory.part, memory.encoder)
    words, _ = found.numbered(VOCABULARY)
    assert set(words.flatten().tolist()) == {UNK, PAD}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no such memory of training photographs"),
        (b"", "not a memory of training photographs that can be read"),
        (b"hello" * 99, "not a memory of training photographs that can be read"),
        ({"state_dict": {}}, "no memory of training photographs"),
        ({"features": torch.full((12, 3), torch.nan)}, "no memory"),
        ({"features": torch.ones(12)}, "no memory"),
        ({"features": torch.ones(11, 3)}, "no memory"),
        ({"captions": [["a"]] * 11 + [[]]}, "no memory"),
        ({"captions": [["a"]] * 11 + [[7]]}, "no memory"),
        ({"part": None}, "no memory"),
        ({"format": 2}, "no memory"),
    ],
    ids=str,
)
def test_a_file_that_is_no_memory_is_a_sentence(content, told: str, tmp_path: Path):
    path = tmp_path / "memory.pt"
    if isinstance(content, dict):
        torch.save({"format": 1, **vars(memory_of(0)), **content} if "state_dict" not in content else content, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CaptioningError, match=rf"memory\.pt: .*{told}"):
        Neighbours(path)


def test_a_cut_file_is_not_believed(tmp_path: Path):
    memory_of(0).write(tmp_path / "memory.pt")
    whole = (tmp_path / "memory.pt").read_bytes()
    (tmp_path / "memory.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CaptioningError, match="damaged or cut short"):
        Memory.read(tmp_path / "memory.pt")


def test_what_does_not_fit_is_a_sentence(toy):
    decoder, search = toy(len(WORDS) + 1), Neighbours(memory_of(0))
    with pytest.raises(CaptioningError, match=r"call search\.for_vocabulary"):
        search(decoder, seen([1]))
    search = search.for_vocabulary(VOCABULARY)
    with pytest.raises(CaptioningError, match=r"this memory has 3 numbers of 'grid' of a photograph, .* have 5"):
        search(decoder, seen([1], numbers=5))
    with pytest.raises(CaptioningError, match="no such part"):
        search(decoder, toy.photographs(1))
    with pytest.raises(CaptioningError, match="the features of another encoder"):
        search.require_encoder(lambda: "another encoder")
    search.require_encoder(lambda: "an encoder")
    for setting in ({"nearest": 0}, {"share": 1.5}, {"sharpness": 0}, {"temperature": 0}):
        with pytest.raises(CaptioningError, match=rf"search\.{next(iter(setting))}="):
            Neighbours(memory_of(0), **setting)


def test_in_words_it_names_no_path(tmp_path: Path):
    memory_of(0).write(tmp_path / "memory.pt")
    assert str(Neighbours(tmp_path / "memory.pt", share=0.5)) == "neighbours 20, share 0.5"
