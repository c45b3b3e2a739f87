"""The settings of networks and searches: each is seen in the network that is made of it, and in what it computes."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from wires import COLOURS, WORDS, Seen, compose, watch, wired, without

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.images import read_image
from captioning.core.packing import Packing
from captioning.core.vocabulary import END, SPECIAL, START, Vocabulary
from captioning.decoders import Decoder
from captioning.decoders.transformer import sinusoids
from captioning.encoders import Encoder
from captioning.jobs.evaluate import evaluate
from captioning.runs.parts import make_decoder, make_encoder, make_search
from captioning.search import Beam, Consensus, ConstrainedBeam, DiverseBeam, Greedy, Memory, Neighbours, Sample, Search
from captioning.text.endings import BAD_ENDINGS

Line = Callable[..., list[str]]
Watched = Callable[[list[str]], Seen]

ATTENDING = ("show_attend_tell", "adaptive", "up_down", "attention_on_attention")
CELLESS = ("transformer",)
RECURRENT = ("neuraltalk", "show_tell", "lrcn", "mrnn", "visual_memory", "language_model")
RECURRENT += ("sequence_to_sequence", *ATTENDING)
RECURRENT += ("s2vt", "attend_states")
SMALL = ("decoder.embedding_size=6", "decoder.hidden_size=8", "decoder.depth=2")
OWN = {
    "mrnn": ("decoder.second_embedding_size=5", "decoder.multimodal_size=7"),
    "visual_memory": ("decoder.memory_size=5",),
    "show_attend_tell": ("decoder.attention_size=5",),
    "adaptive": ("decoder.attention_size=5",),
    "up_down": ("decoder.attention_size=5",),
    "s2vt": ("decoder.reads_from=grid",),
    "attend_states": ("decoder.attends=grid", "decoder.attention_size=5", "decoder.reader_size=4"),
    "transformer": ("decoder.heads=2", "decoder.feed_forward_size=5"),
}
VOCABULARY = Vocabulary([*SPECIAL, *WORDS])
SPEC = FeatureSpec(pooled=(12,), grid=(2, 2, 3))


def decoder(kind: str, *more: str, spec: FeatureSpec = SPEC) -> Decoder:
    """A decoder of a few numbers, in evaluation mode, with weights that are the same for the same shapes."""
    torch.manual_seed(0)
    small = without(SMALL, "decoder.hidden_size=") if kind in CELLESS else SMALL
    made = make_decoder(compose([*COLOURS, f"decoder={kind}", *small, *OWN.get(kind, ()), *more]), VOCABULARY, spec)
    return made.eval()


def features(images: int = 2) -> Features:
    numbers = torch.Generator().manual_seed(1)
    return Features(
        pooled=torch.randn(images, 12, generator=numbers), grid=torch.randn(images, 4, 3, generator=numbers)
    )


def captions(images: int = 2) -> tuple[Tensor, Packing]:
    numbers = torch.Generator().manual_seed(2)
    tokens = torch.randint(4, len(VOCABULARY), (images, 3, 6), generator=numbers)
    tokens[..., 0] = START
    packing = Packing.of(tokens)
    return packing.pack(tokens), packing


def hidden(made: Decoder, given: Features | None = None) -> Tensor:
    """What the word layer is given, from the same captions."""
    with torch.no_grad():
        return made.teacher_force(given or features(), *captions()).hidden


# --- decoders -------------------------------------------------------------------------------------------------------


@wired(
    "decoder=base decoder.embedding_size", "decoder=_recurrent decoder.hidden_size", "decoder=_recurrent decoder.depth"
)
@pytest.mark.parametrize("kind", RECURRENT)
def test_layers_are_of_their_sizes(kind: str) -> None:
    made = decoder(kind)
    assert tuple(made.embedding.weight.shape) == (len(VOCABULARY), 6)
    sizes = [layer.Whh.in_features for layer in made.recurrent.layers]
    assert sizes == [8, 8]


@wired("decoder=transformer decoder.depth", "decoder=transformer decoder.feed_forward_size")
@wired("decoder=transformer decoder.heads")
def test_a_transformer_s_layers_are_of_their_sizes() -> None:
    made = decoder("transformer", "decoder.heads=3")
    assert tuple(made.embedding.weight.shape) == (len(VOCABULARY), 6)
    assert [layer.W1.out_features for layer in made.layers] == [5, 5]
    assert [layer.attention.split(torch.zeros(4, 6)).shape for layer in made.layers] == [(3, 4, 2)] * 2


@wired("decoder=attention_on_attention decoder.heads", "decoder=attention_on_attention decoder.refining_layers")
def test_attention_on_attention_has_its_heads_and_its_refining_layers() -> None:
    made = decoder("attention_on_attention", "decoder.heads=4", "decoder.refining_layers=3")
    attentions = [made.attention, *(layer.attention for layer in made.refining)]
    assert [each.split(torch.zeros(5, 8)).shape for each in attentions] == [(4, 5, 2)] * 4
    with torch.no_grad():
        whole = hidden(made)
        for layer in made.refining:
            layer.norm.bias.add_(1)
            assert not torch.equal(hidden(made), whole)
            layer.norm.bias.sub_(1)


@wired("decoder=transformer decoder.layer_dropout")
def test_with_all_of_a_transformer_s_sublayers_dropped_the_words_alone_are_left() -> None:
    made = decoder("transformer", "decoder.layer_dropout=1")
    words, packing = captions()
    places = sinusoids(6, 6, words.device).repeat_interleave(packing.sizes[0], dim=0)
    with torch.no_grad():
        alone = made.norm(made.embedding(words) * 6**0.5 + places)
    torch.testing.assert_close(hidden(made.train()), alone)
    assert not torch.allclose(hidden(made.eval()), alone)


@wired("decoder=lrcn decoder.depth")
def test_lrcn_has_two_layers_or_as_many_as_are_set() -> None:
    assert len(decoder("lrcn", "decoder.depth=3").recurrent.layers) == 3


@wired("decoder=base decoder.embedding_dropout", "decoder=base decoder.output_dropout")
@pytest.mark.parametrize("kind", [*RECURRENT, *CELLESS])
def test_words_and_outputs_lose_their_share_in_training_alone(kind: str) -> None:
    made = decoder(kind, "decoder.embedding_dropout=0.25", "decoder.output_dropout=0.75")
    tokens = torch.randint(4, len(VOCABULARY), (400,))
    whole, dropped = made.embed(tokens), made.train().embed(tokens)
    assert 0.2 < (dropped == 0).float().mean() < 0.3
    torch.testing.assert_close(dropped[dropped != 0], whole[dropped != 0] / 0.75)
    outputs = torch.ones(400, made.word_layer.in_features)
    with torch.no_grad():
        made.word_layer.weight.copy_(
            torch.eye(*made.word_layer.weight.shape)
        )  # so that the logits are what it is given
        given = made.logits(outputs)[:, : outputs.shape[1]]
        assert 0.7 < (given == 0).float().mean() < 0.8
        torch.testing.assert_close(given[given != 0], torch.full_like(given[given != 0], 4))
        torch.testing.assert_close(made.eval().logits(outputs)[:, : outputs.shape[1]], outputs)


@wired("decoder=_recurrent decoder.layer_dropout")
@pytest.mark.parametrize("kind", RECURRENT)
def test_with_all_dropped_between_layers_the_upper_one_has_no_input(kind: str) -> None:
    made = decoder(kind, "decoder.layer_dropout=1", "decoder.expected=1" if kind == "show_attend_tell" else "cell=gru")
    dropped = hidden(made.train())
    nn.init.zeros_(made.recurrent.layers[1].Wxh.weight)
    torch.testing.assert_close(dropped, hidden(made.eval()))
    assert not torch.allclose(dropped, hidden(decoder(kind, "cell=gru")))


@wired("decoder=base decoder.tied")
@pytest.mark.parametrize("kind", RECURRENT)
def test_a_tied_word_layer_has_the_embedding_s_weights(kind: str) -> None:
    equal = ("decoder.embedding_size=8", *(["decoder.multimodal_size=8"] if kind == "mrnn" else []))
    tied, free = (decoder(kind, *equal, f"decoder.tied={choice}") for choice in ("true", "false"))
    assert tied.word_layer.weight is tied.embedding.weight
    assert free.word_layer.weight is not free.embedding.weight


@wired("decoder=neuraltalk decoder.image", "decoder=show_tell decoder.image", "decoder=lrcn decoder.image")
@wired(
    "decoder=mrnn decoder.image", "decoder=visual_memory decoder.image", "decoder=sequence_to_sequence decoder.image"
)
@pytest.mark.parametrize("kind", ["neuraltalk", "show_tell", "lrcn", "mrnn", "visual_memory", "sequence_to_sequence"])
def test_a_decoder_looks_at_the_part_that_is_named(kind: str) -> None:
    given = features()
    other = {
        "pooled": Features(pooled=given["pooled"] + 1, grid=given["grid"]),
        "grid": Features(pooled=given["pooled"], grid=given["grid"] + 1),
    }
    for part in ("pooled", "grid"):
        made = decoder(kind, f"decoder.image={part}")
        assert tuple(made.reads) == (part,)
        changed = {name: not torch.equal(hidden(made), hidden(made, each)) for name, each in other.items()}
        assert changed == {"pooled": part == "pooled", "grid": part == "grid"}


@wired("decoder=show_tell decoder.image_norm")
def test_the_embedded_photograph_is_normalised() -> None:
    given = features()
    larger = given.map(lambda part: 9 * part)
    embedded = {}
    for norm in ("null", "batch", "layer"):
        made = decoder("show_tell", f"decoder.image_norm={norm}").train()
        shifts = [made.image_norm(made.image_embedding(each["pooled"])) for each in (given, larger)]
        embedded[norm] = shifts[1].std(0 if norm == "batch" else 1, correction=0)
    assert (embedded["null"] > 1.5).any()
    for norm in ("batch", "layer"):
        torch.testing.assert_close(embedded[norm], torch.ones_like(embedded[norm]), atol=0.05, rtol=0)


@wired(*(f"decoder={kind} decoder.attends" for kind in (*ATTENDING, *CELLESS)))
@pytest.mark.parametrize("kind", [*ATTENDING, *CELLESS])
def test_attention_looks_at_the_part_that_is_named(kind: str) -> None:
    spec, given = FeatureSpec(objects=(5, 9), grid=(2, 2, 3)), torch.randn(2, 5, 9)
    made = decoder(kind, "decoder.attends=objects", spec=spec)
    assert tuple(made.reads) == ("objects",)
    found = [hidden(made, Features(objects=part, grid=torch.zeros(2, 4, 3))) for part in (given, given + 1)]
    assert not torch.equal(*found)


@wired("decoder=neuraltalk decoder.inject")
def test_the_image_enters_every_step_or_the_first() -> None:
    words, packing = captions()
    shown = {}
    for inject in ("every", "first"):
        made = decoder("neuraltalk", f"decoder.inject={inject}", "cell=rnn")
        nn.init.zeros_(made.recurrent.layers[0].Whh.weight)  # so that a step knows nothing of the one before
        nn.init.zeros_(made.recurrent.layers[1].Whh.weight)
        other = Features(pooled=features()["pooled"] + 1, grid=features()["grid"])
        moved = (hidden(made) - hidden(made, other)).abs().sum(-1) > 0
        shown[inject] = [bool(step.all()) for step in moved.split(packing.sizes)]
    assert shown == {"every": [True] * 6, "first": [True] + [False] * 5}
    assert len(words) == sum(packing.sizes)


@wired("decoder=lrcn decoder.factored")
def test_lrcn_s_image_enters_the_upper_layer_or_the_lower() -> None:
    for factored in (True, False):
        layers = decoder("lrcn", f"decoder.factored={factored}").recurrent.layers
        assert [layer.Wih is not None for layer in layers] == [not factored, factored]


@wired("decoder=mrnn decoder.second_embedding_size", "decoder=mrnn decoder.multimodal_size")
def test_mrnn_s_layers_are_of_their_sizes() -> None:
    made = decoder("mrnn")
    assert (made.second_embedding.out_features, made.Vw.in_features, made.recurrent.layers[0].Wxh.in_features) == (
        5,
    ) * 3
    assert (made.Vw.out_features, made.VI.out_features, made.word_layer.in_features) == (7, 7, 7)


@wired("decoder=visual_memory decoder.memory_size", "decoder=visual_memory decoder.reconstruction")
def test_the_visual_memory_has_its_size_and_its_share_of_the_loss() -> None:
    made = decoder("visual_memory")
    assert (made.memory.hidden_size, made.Wuv.in_features) == (5, 5)
    weighed = losses(decoder("visual_memory", "decoder.reconstruction=0.25"))["reconstruction"]
    assert weighed == pytest.approx(losses(made)["reconstruction"] / 4)


@wired("decoder=show_attend_tell decoder.attention_size", "decoder=show_attend_tell decoder.doubly_stochastic")
def test_soft_attention_has_its_size_and_its_penalty() -> None:
    made = decoder("show_attend_tell")
    assert {5} <= {size for name, each in made.attention.named_parameters() for size in each.shape if "weight" in name}
    weighed = losses(decoder("show_attend_tell", "decoder.doubly_stochastic=0.25"))["doubly_stochastic"]
    assert weighed == pytest.approx(losses(made)["doubly_stochastic"] / 4)


@wired("decoder=adaptive decoder.attention_size", "decoder=up_down decoder.attention_size")
@pytest.mark.parametrize("kind", ["adaptive", "up_down"])
def test_attention_has_its_size(kind: str) -> None:
    layers = [layer for name, layer in decoder(kind).attention.named_children() if name != "score"]
    assert [layer.out_features for layer in layers] == [5] * (3 if kind == "adaptive" else 2)


@wired("decoder=show_attend_tell decoder.attention", "decoder=show_attend_tell decoder.expected")
@wired("decoder=show_attend_tell decoder.reinforce", "decoder=show_attend_tell decoder.entropy")
def test_hard_attention_draws_regions_and_has_its_losses() -> None:
    hard = "decoder.attention=hard"
    assert losses(decoder("show_attend_tell")).keys() == {"doubly_stochastic"}
    plain = losses(decoder("show_attend_tell", hard, "decoder.reinforce=1", "decoder.entropy=1", "decoder.expected=1"))
    half = losses(
        decoder("show_attend_tell", hard, "decoder.reinforce=0.5", "decoder.entropy=0.25", "decoder.expected=1")
    )
    assert half["reinforce"] == pytest.approx(plain["reinforce"] / 2)
    assert half["entropy"] == pytest.approx(plain["entropy"] / 4)
    for expected, regions in ((0, 1), (1, 4)):
        made = decoder("show_attend_tell", hard, f"decoder.expected={expected}").train()
        glimpse = made.teacher_force(features(), *captions()).trace["glimpse"]
        assert ((glimpse > 0).sum(-1) == regions).all()
    state = decoder("show_attend_tell", hard, "decoder.expected=0.2").train().start(features(1000))
    assert state.image["expected"].float().mean() == pytest.approx(0.2, abs=0.05)


@wired("decoder=language_model decoder.one_hot")
def test_characters_are_unit_vectors_where_that_is_asked_for() -> None:
    one_hot = decoder("language_model", "decoder.one_hot=true").embedding.weight
    assert torch.equal(one_hot, torch.eye(len(VOCABULARY))) and not one_hot.requires_grad
    assert decoder("language_model").embedding.weight.requires_grad


@wired("cell=lstm_forget_bias cell.forget_bias")
def test_the_forget_gate_begins_with_its_bias() -> None:
    cell = decoder("neuraltalk", "cell=lstm_forget_bias", "cell.forget_bias=2.5").recurrent.layers[0]
    assert (cell.Wxh.bias + cell.Whh.bias)[8:16].tolist() == [2.5] * 8


def losses(made: Decoder) -> dict[str, float]:
    """The decoder's own, of the same captions."""
    words, packing = captions()
    with torch.no_grad():
        outputs = made.train().teacher_force(features(), words, packing)
        found = made.losses(outputs, features(), packing, torch.linspace(-3, -1, len(words)))
    return {name: float(each.total) for name, each in found.items()}


# --- encoders -------------------------------------------------------------------------------------------------------


def encoder(*line: str) -> Encoder:
    """An encoder without numbers, made in no time."""
    with torch.device("meta"):
        return make_encoder(compose(line))


@wired(*(f"encoder=resnet{layers} encoder.name" for layers in (18, 34, 50, 101, 152)))
@wired(*(f"encoder=vgg{layers}{norm} encoder.name" for layers in (11, 16, 19) for norm in ("", "_bn")))
@wired("encoder=_resnet encoder.name", "encoder=_vgg encoder.name")
@pytest.mark.parametrize(
    "kind",
    [*(f"resnet{n}" for n in (18, 34, 50, 101, 152)), "vgg11", "vgg16_bn", "vgg19", "vgg11_bn", "vgg16", "vgg19_bn"],
)
def test_an_encoder_has_as_many_layers_as_its_name_says(kind: str) -> None:
    name = encoder(f"encoder={kind}", "encoder.weights=null", "encoder.image_size=64")
    modules = [(path, each) for path, each in name.backbone.named_modules() if "downsample" not in path]
    weighed = [each for _, each in modules if isinstance(each, nn.Conv2d | nn.Linear)]
    normed = any(isinstance(each, nn.BatchNorm2d) for _, each in modules)
    number = int("".join(filter(str.isdigit, kind)))
    assert len(weighed) == number - 1  # the classifier is cut away
    assert normed == (kind.startswith("resnet") or kind.endswith("_bn"))
    family = "resnet" if kind.startswith("resnet") else "vgg"
    other = encoder(f"encoder=_{family}", f"encoder.name={kind}", "encoder.weights=null", "encoder.image_size=64")
    assert other.state_dict().keys() == name.state_dict().keys()


@wired("encoder=timm encoder.name")
def test_timm_s_encoder_is_the_one_that_is_named() -> None:
    made = encoder("encoder=timm", "encoder.name=resnet10t", "encoder.weights=null", "encoder.image_size=32")
    assert made.identity["name"] == "resnet10t"


FAMILIES = {
    "_resnet": ("encoder=resnet18", "layer3"),
    "_vgg": ("encoder=vgg11", "fc6"),
    **{f"efficientnet_lite{n}": (f"encoder=efficientnet_lite{n}", "stage6") for n in range(3)},
    "timm": ("encoder=timm", "layer3.0"),
}
TIMM = "encoder.name=resnet10t"


@wired(*(f"encoder={family} encoder.{name}" for family in FAMILIES for name in ("image_size", "fit", "finetune_from")))
@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_s_input_and_what_is_tuned(family: str, tmp_path: Path) -> None:
    chosen, stage = FAMILIES[family]
    line = [chosen, "encoder.weights=null", "encoder.image_size=[32,48]", *([TIMM] if family == "timm" else [])]
    frozen, tuned = encoder(*line), encoder(*line, "encoder.fit=crop", f"encoder.finetune_from={stage}")
    wide = Image.new("RGB", (200, 40))
    wide.paste((255, 255, 255), (0, 0, 40, 40))  # white at the left end, which a crop does not see
    wide.save(tmp_path / "wide.png")
    pictures = [made.transform.read(tmp_path / "wide.png") for made in (frozen, tuned)]
    assert [tuple(picture.shape) for picture in pictures] == [(3, 32, 48)] * 2
    assert [bool(picture.max() > 200) for picture in pictures] == [True, False]
    assert read_image(tmp_path / "wide.png").size == (200, 40)
    assert not frozen.trainable
    names = {name for name, each in tuned.backbone.named_parameters() if each.requires_grad}
    before = stage.replace("fc6", "classifier.0")
    assert any(name.startswith(before) for name in names)
    assert len(names) < len(list(tuned.backbone.parameters()))
    assert not any(name.startswith(("conv1", "features", "stem", "layer1")) for name in names)


@wired("encoder=_resnet encoder.last_stage", *(f"encoder=efficientnet_lite{n} encoder.last_stage" for n in range(3)))
def test_an_encoder_is_cut_after_its_last_stage() -> None:
    for line, grid in (
        (("encoder=resnet18", "encoder.last_stage=layer3"), (14, 14, 256)),
        (("encoder=efficientnet_lite0", "encoder.last_stage=stage5"), (14, 14, 672)),
        (("encoder=efficientnet_lite1", "encoder.last_stage=stage5"), (15, 15, 672)),
        (("encoder=efficientnet_lite2", "encoder.last_stage=stage5"), (17, 17, 720)),
    ):
        assert tuple(encoder(*line, "encoder.weights=null").spec["grid"]) == grid


STAGED = {"_resnet": "resnet18", **{f"efficientnet_lite{n}": f"efficientnet_lite{n}" for n in range(3)}}


@wired(*(f"encoder={family} encoder.more_stages" for family in STAGED))
@pytest.mark.parametrize("family", STAGED)
def test_an_encoder_has_the_maps_of_the_stages_that_are_named(family: str) -> None:
    stage = "layer3" if family == "_resnet" else "stage5"
    line = (f"encoder={STAGED[family]}", "encoder.weights=null", "encoder.image_size=64")
    assert list(encoder(*line, f"encoder.more_stages=[{stage}]").spec) == ["pooled", "grid", stage]
    assert list(encoder(*line).spec) == ["pooled", "grid"]


@wired("encoder=several encoder.joined")
def test_parts_of_several_encoders_lie_side_by_side_if_asked_for() -> None:
    where = "encoder.encoders.second"
    sizes = ("encoder.encoders.first.image_size=64", f"{where}.image_size=64")
    none = ("encoder.encoders.first.weights=null", f"{where}.weights=null")
    line = ("encoder=several", f"encoder@{where}=resnet18", *sizes, *none)
    assert {"pooled": (1280 + 512,), "grid": (2, 2, 1280 + 512)}.items() <= dict(encoder(*line).spec).items()
    assert not {"pooled", "grid"} & set(encoder(*line, "encoder.joined=false").spec)


@wired(*(f"encoder={family} encoder.weights" for family in FAMILIES))
@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_has_the_weights_of_the_file(family: str, tmp_path: Path) -> None:
    """A file of something else is refused by its name, so it was read; tests/encoders reads right ones."""
    chosen, _ = FAMILIES[family]
    torch.save({"stranger": torch.zeros(1)}, tmp_path / "weights.pth")
    line = [chosen, f"encoder.weights={tmp_path / 'weights.pth'}", *([TIMM] if family == "timm" else [])]
    with pytest.raises(Exception, match=r"weights\.pth.*(not this network's|not EfficientNet)"):
        encoder(*line, "encoder.image_size=32")


# --- search ---------------------------------------------------------------------------------------------------------


def opinionated() -> Decoder:
    """A decoder whose captions are of different lengths and scores."""
    made = decoder("neuraltalk")
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
        made.word_layer.bias[END] += 0.5
    return made


SEARCHES: list[tuple[str, Mapping[str, Any], Callable[[], Search]]] = [
    ("beam", {"size": 3}, lambda: Beam(size=3)),
    ("beam", {"max_length": 4, "length_penalty": 1.5}, lambda: Beam(max_length=4, length_penalty=1.5)),
    ("beam", {"length_penalty": 1.5}, lambda: Beam(length_penalty=1.5)),
    ("beam", {"block_ngrams": 1, "length_penalty": 1.5}, lambda: Beam(block_ngrams=1, length_penalty=1.5)),
    ("beam", {"n_best": 3}, lambda: Beam(n_best=3)),
    ("beam_8", {}, lambda: Beam(size=8, length_penalty=0.6)),
    ("beam_8", {"size": 2, "length_penalty": 1.5}, lambda: Beam(size=2, length_penalty=1.5)),
    ("greedy", {"max_length": 3}, lambda: Greedy(3)),
    ("sample", {"max_length": 3, "seed": 7}, lambda: Sample(max_length=3, seed=7)),
    ("sample", {"temperature": 9, "seed": 7}, lambda: Sample(temperature=9, seed=7)),
    ("sample", {"top_k": 2, "temperature": 9, "seed": 7}, lambda: Sample(top_k=2, temperature=9, seed=7)),
    ("sample", {"top_p": 0.4, "temperature": 9, "seed": 7}, lambda: Sample(top_p=0.4, temperature=9, seed=7)),
    ("sample", {"samples": 4, "seed": 7}, lambda: Sample(samples=4, seed=7)),
    *(
        ("diverse_beam", settings, partial(DiverseBeam, **settings))
        for settings in (
            *({"size": 3}, {"groups": 2, "n_best": 2}, {"diversity": 5, "n_best": 6}),
            *({"max_length": 4}, {"length_penalty": 1.5}, {"block_ngrams": 1, "length_penalty": 1.5}),
        )
    ),
    *(
        ("constrained_beam", settings, partial(ConstrainedBeam, **settings))
        for settings in (
            *({"must_say": ["of"]}, {"size": 2, "n_best": 2}, {"max_length": 4, "length_penalty": 1.5}),
            {"block_ngrams": 1, "length_penalty": 1.5},
        )
    ),
    *(
        ("consensus", settings, partial(Consensus, **settings))
        for settings in (
            *({"size": 3}, {"temperature": 0.01}, {"n_best": 2}, {"max_length": 4}, {"length_penalty": 1.5}),
            {"block_ngrams": 1, "length_penalty": 1.5},
        )
    ),
]


def settings_of(kind: type[Search]) -> list[str]:
    """The names of a search's settings."""
    return [name for name in signature(kind).parameters if name != "remove_bad_endings"]


@wired(*(f"search=beam search.{name}" for name in ("size", "max_length", "length_penalty", "block_ngrams", "n_best")))
@wired("search=beam_8 search.size", "search=beam_8 search.length_penalty", "search=greedy search.max_length")
@wired(*(f"search=sample search.{name}" for name in ("max_length", "temperature", "top_k", "top_p", "samples", "seed")))
@wired(*(f"search=diverse_beam search.{name}" for name in settings_of(DiverseBeam)))
@wired(*(f"search=constrained_beam search.{name}" for name in settings_of(ConstrainedBeam)))
@wired(*(f"search=consensus search.{name}" for name in settings_of(Consensus)))
def test_a_search_finds_what_one_of_these_settings_finds() -> None:
    """Each setting by itself: with one taken away, other captions are found."""
    made, given = opinionated(), features(16)
    endings = Vocabulary([*SPECIAL, *BAD_ENDINGS[: len(WORDS)]])  # after any of its words a caption must not end
    for kind, settings, by_hand in SEARCHES:
        line = [f"search={kind}", *(f"search.{name}={value}" for name, value in settings.items())]
        torch.manual_seed(1)
        found = make_search(compose(line)).for_vocabulary(endings)(made, given).tokens
        torch.manual_seed(1)
        assert torch.equal(found, by_hand().for_vocabulary(endings)(made, given).tokens), line
        for name in settings:
            torch.manual_seed(1)
            rest = [each for each in line if not each.startswith(f"search.{name}=")]
            other = make_search(compose(rest)).for_vocabulary(endings)(made, given).tokens
            assert found.shape != other.shape or not torch.equal(found, other), (line, name)


@wired(*(f"search=neighbours search.{name}" for name in settings_of(Neighbours)))
def test_captions_are_ranked_by_those_of_a_memory(tmp_path: Path) -> None:
    """Each setting by itself, as above; without a memory nothing is found."""
    made, given = opinionated(), features(16)
    endings = Vocabulary([*SPECIAL, *BAD_ENDINGS[: len(WORDS)]])
    numbers, path = torch.Generator().manual_seed(3), tmp_path / "memory.pt"
    said = [[" ".join(BAD_ENDINGS[n] for n in torch.randint(len(WORDS), (5,), generator=numbers))] for _ in range(30)]
    Memory(torch.randn(30, 12, generator=numbers).half(), said, "pooled", "encoder").write(path)
    every = {"length_penalty": 1.5, "n_best": 5}  # in these not empty captions, and in the order of five, all tell
    for settings in (
        *({"size": 7}, {"nearest": 1}, {"share": 0.2}, {"sharpness": 9}, {"temperature": 0.01}),
        *({"n_best": 2}, {"max_length": 4}, {"length_penalty": 0.0}, {"block_ngrams": 1}),
    ):
        settings = {**every, **settings}
        line = ["search=neighbours", *(f"search.{name}={value}" for name, value in settings.items())]
        with pytest.raises(CaptioningError, match=r"search\.memory: search=neighbours needs the file"):
            make_search(compose(line)).for_vocabulary(endings)
        line.append(f"search.memory={path}")
        found = make_search(compose(line)).for_vocabulary(endings)(made, given).tokens
        by_hand = Neighbours(path, **settings).for_vocabulary(endings)
        assert torch.equal(found, by_hand(made, given).tokens), line
        for name in settings:
            rest = [each for each in line if not each.startswith(f"search.{name}=")]
            other = make_search(compose(rest)).for_vocabulary(endings)(made, given).tokens
            assert found.shape != other.shape or not torch.equal(found, other), (line, name)


ANY = ("greedy", "sample", "beam", "diverse_beam", "constrained_beam", "consensus", "neighbours")


@wired(*(f"search={kind} search.remove_bad_endings" for kind in ANY))
def test_no_search_ends_a_caption_in_a_function_word_if_so_set(tmp_path: Path) -> None:
    made, given = opinionated(), features(64)
    endings = Vocabulary([*SPECIAL, *BAD_ENDINGS[: len(WORDS)]])
    said = Memory(given["pooled"].half(), [["of the"]] * 64, "pooled", "encoder")
    said.write(tmp_path / "memory.pt")
    for kind in ANY:
        more = ["search.length_penalty=1.5"] if "beam" in kind else []  # longer captions than the empty one
        more += [f"search.memory={tmp_path / 'memory.pt'}"] if kind == "neighbours" else []
        ended = []
        for line in ([], ["search.remove_bad_endings=true"]):
            torch.manual_seed(1)
            search = make_search(compose([f"search={kind}", *more, *line])).for_vocabulary(endings)
            tokens = search(made, given).tokens
            ended.append(int((tokens[..., 1:] == END).sum()))
        assert ended[0] > 0 and ended[1] == 0, kind


def test_validation_and_the_test_split_are_searched_as_is_set(captioner: Line, tmp_path: Path) -> None:
    line = without(captioner(), "search", "test", "decoder.hidden_size")
    beam = ("search=beam", "search.size=4", "search.length_penalty=3", "search.max_length=7", "test=true")
    seen = watch([*line, *beam, "decoder.hidden_size=12", "trainer.max_epochs=2", "optimizer.lr=0.2"], tmp_path)
    made, words = seen.module.decoder.eval(), seen.module.vocabulary

    def said(search: Search, batches: Iterable[Any]) -> list[str]:
        features = [batch.features.to(dtype=torch.float) for batch in batches]
        return [words.decode(row) for each in features for row in search(made, each).tokens[:, 0].tolist()]

    validated = [caption for _, caption in sorted(seen.captions[-1].items())]
    assert validated == said(Beam(size=4, length_penalty=3, max_length=7), seen.validated[-2:])
    assert validated != said(Beam(size=4, length_penalty=0, max_length=7), seen.validated[-2:])
    assert validated != said(Beam(size=4, length_penalty=3, max_length=4), seen.validated[-2:])
    tested = json.loads((tmp_path / "captions_test.json").read_text())
    again = evaluate(tmp_path, "test", line[-2:], device="cpu", trust=["wires"])
    assert json.loads((tmp_path / "captions_test.json").read_text()) == tested
    assert again.scores == pytest.approx(json.loads((tmp_path / "scores_test.json").read_text())["scores"])
    seen.module.load_state_dict(seen.checkpoint("best")["state_dict"])
    batches = seen.trainer.datamodule.loader("test")
    assert [each["caption"] for each in tested] == said(Beam(size=4, length_penalty=3, max_length=7), batches)
