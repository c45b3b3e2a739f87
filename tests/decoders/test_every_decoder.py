"""What holds for every decoder with every cell: a new file in conf/decoder or conf/cell is tested as it is."""

import io
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch.nn import functional as F

from captioning.cells import Cell
from captioning.core.build import build, maker
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State, gather
from captioning.core.vocabulary import END, PAD, START
from captioning.decoders import Decoder, Outputs
from captioning.search import Beam, DiverseBeam, Greedy, Sample

CONF = Path(__file__).resolve().parents[2] / "conf"
SPEC = FeatureSpec(pooled=(6,), grid=(2, 3, 7))
B, S, T, V = 3, 2, 6, 17

# settings that make another captioner of the same file
SETTINGS = {
    "lrcn": ["factored=false", "factored=true"],
    "neuraltalk": ["inject=first", "inject=every"],
    "show_tell": ["image_norm=null", "image_norm=batch", "image_norm=layer"],
    "show_attend_tell": ["attention=soft", "attention=hard"],
    "attention_on_attention": ["refining_layers=1"],
    "s2vt": ["reads_from=grid"],
    "attend_states": ["attends=grid"],
}
DECODERS = [
    (name, setting)
    for name in sorted(
        path.stem for path in (CONF / "decoder").glob("*.yaml") if path.stem not in ("base", "_recurrent")
    )
    for setting in SETTINGS.get(name, ["tied=false"])
]
BLIND = "language_model"  # it reads no photograph
CELLESS = ("transformer",)
CELLS = sorted(path.stem for path in (CONF / "cell").glob("*.yaml"))
LECTURES = ("rnn", "lstm", "gru")
# decoders that take every cell: one layer below the other, the image at every step, and attention
TAKES_ALL = (("lrcn", "factored=true"), ("neuraltalk", "inject=every"), ("show_attend_tell", "attention=soft"))


def with_cells(cells: tuple[str, ...], all_of: tuple[tuple[str, str], ...]) -> pytest.MarkDecorator:
    """Every decoder with some cells, and some decoders with all: a decoder knows a cell by its protocol alone.

    ``make test-fast`` has every decoder with an LSTM.
    """
    return pytest.mark.parametrize(
        ("name", "setting", "cell"),
        [
            pytest.param(
                *decoder, cell, id="-".join([*decoder, cell]), marks=() if cell == "lstm" else pytest.mark.slow
            )
            for decoder in DECODERS
            for cell in CELLS
            if (cell == "lstm" if decoder[0] in CELLESS else cell in cells or decoder in all_of)
        ],
    )


every = with_cells(LECTURES, TAKES_ALL)
most = with_cells(("lstm",), (("neuraltalk", "inject=every"),))  # for what trains a decoder first


@cache
def configured(path: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base=None):
        config: DictConfig = compose(path, overrides=list(overrides))
        return config


def make(name: str, *settings: str, cell: str = "lstm", size: int = 8) -> Decoder:
    """The decoder of conf/decoder/{name}.yaml, made small."""
    config = configured(f"decoder/{name}", *(f"decoder.{setting}" for setting in settings))["decoder"]
    sizes = {key: size for key in config if key.endswith("_size")}
    kind = {} if name in CELLESS else {"cell": maker(configured(f"cell/{cell}")["cell"], Cell)}
    return build({**config, **sizes}, Decoder, vocabulary_size=V, features=SPEC, **kind).eval()


def made_up(images: int) -> Features:
    generator = torch.Generator().manual_seed(1)
    return Features(
        pooled=torch.randn(images, SPEC.size("pooled"), generator=generator),
        grid=torch.randn(images, SPEC.regions("grid"), SPEC.size("grid"), generator=generator),
    )


def captions(lengths: list[list[int]]) -> torch.Tensor:
    """``(B, S, T)`` of the given lengths, START first."""
    tokens = torch.randint(4, V, (len(lengths), len(lengths[0]), T), generator=torch.Generator().manual_seed(2))
    tokens[:, :, 0] = START
    return tokens.masked_fill(torch.arange(T) >= torch.tensor(lengths).unsqueeze(-1), PAD)


RAGGED = [[3, 6], [1, 0], [4, 2]]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def gradients(decoder: Decoder, hidden: torch.Tensor, trace: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    decoder.zero_grad()
    loss = decoder.logits(hidden).square().sum() + sum(values.square().sum() for values in trace.values())
    loss.backward()
    return {key: weight.grad.clone() for key, weight in decoder.named_parameters() if weight.grad is not None}


@every
@pytest.mark.parametrize("more", [["depth=1"], ["depth=2", "tied=true"]], ids=["one layer", "two, tied"])
def test_teacher_forcing_is_the_loop_of_steps_and_so_are_its_gradients(
    name: str, setting: str, cell: str, more: list[str]
) -> None:
    decoder, features = make(name, setting, *more, cell=cell), made_up(B)
    packing = Packing.of(captions(RAGGED))
    words = packing.pack(captions(RAGGED))
    fast = decoder.teacher_force(features, words, packing)
    slow = decoder.teacher_force_by_steps(features, words, packing)
    torch.testing.assert_close(fast.hidden, slow.hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fast.trace, slow.trace, atol=1e-5, rtol=1e-5)
    assert sorted(fast.trace) == sorted(decoder.traced)
    ours, expected = gradients(decoder, fast.hidden, fast.trace), gradients(decoder, slow.hidden, slow.trace)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    assert all(gradient.abs().sum() > 0 for gradient in ours.values())


@every
def test_forward_is_what_search_sees(name: str, setting: str, cell: str) -> None:
    decoder, tokens = make(name, setting, cell=cell), captions([[T, T]] * B)
    logits = decoder(made_up(B), tokens)
    state = decoder.start(made_up(B)).reorder(torch.zeros(B, 2, dtype=torch.long))
    for t in range(T):
        step, state = decoder.step(tokens[:, :, t], state)
        torch.testing.assert_close(step, logits[:, :, t], atol=1e-5, rtol=1e-5)


def advance_all(decoder: Decoder, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
    for words in tokens.unbind(-1):
        logits, state = decoder.step(words, state)
    return logits, state


@every
def test_the_state_survives_reordering(name: str, setting: str, cell: str) -> None:
    decoder, tokens = make(name, setting, cell=cell), captions([[T] * 3] * B)
    parents = torch.tensor([[2, 0], [1, 1], [0, 2]])
    start = decoder.start(made_up(B))
    _, state = advance_all(decoder, tokens[:, :, :3], start.reorder(torch.zeros(B, 3, dtype=torch.long)))
    logits, _ = advance_all(decoder, gather(tokens, parents)[:, :, 3:], state.reorder(parents))
    expected, _ = advance_all(decoder, gather(tokens, parents), start.reorder(torch.zeros_like(parents)))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@every
def test_chunk_after_chunk_is_the_whole_and_so_are_its_gradients(name: str, setting: str, cell: str) -> None:
    """Also where captions have one state each, end at different times, or have no word at all."""
    decoder, tokens = make(name, setting, "depth=2", cell=cell), captions(RAGGED)
    first, second = tokens[:, :, :2], tokens[:, :, 2:]
    packings = [Packing.of(part) for part in (tokens, first, second)]
    whole = decoder.teacher_force(made_up(B), packings[0].pack(tokens), packings[0])

    def in_chunks(teacher_force: Callable[..., tuple[Outputs, State]]) -> tuple[torch.Tensor, State]:
        state, hidden = decoder.start(made_up(B)), []
        for part, packing in zip((first, second), packings[1:], strict=True):
            outputs, state = teacher_force(state, packing.pack(part), packing)
            hidden.append(packing.unpack(outputs.hidden))
        return torch.cat(hidden, dim=2), state

    hidden, last = in_chunks(decoder.teacher_force_from)
    torch.testing.assert_close(hidden, packings[0].unpack(whole.hidden), atol=1e-5, rtol=1e-5)
    ours, expected = gradients(decoder, packings[0].pack(hidden), {}), gradients(decoder, whole.hidden, {})
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    if name in CELLESS:  # a state that grows goes on by steps where all sequences are as long: see test_transformer.py
        return
    by_steps, last_by_steps = in_chunks(partial(Decoder.teacher_force_from, decoder))
    torch.testing.assert_close(by_steps, hidden, atol=1e-5, rtol=1e-5)
    for key, part in last.sequence.items():
        torch.testing.assert_close(part, last_by_steps.sequence[key], atol=1e-5, rtol=1e-5)
    words = torch.full((B, S), 5)
    torch.testing.assert_close(decoder.step(words, last)[0], decoder.step(words, last_by_steps)[0])


@pytest.mark.parametrize("dropout", ["embedding_dropout", "layer_dropout", "output_dropout"])
@pytest.mark.parametrize(("name", "setting"), [decoder for decoder in DECODERS if "attention=hard" not in decoder])
def test_dropout_is_felt_in_training_alone(name: str, setting: str, dropout: str) -> None:
    features, packing = made_up(B), Packing.of(captions(RAGGED))
    words = packing.pack(captions(RAGGED))

    def same(decoder: Decoder, way: str) -> bool:
        once, again = (decoder.logits(getattr(decoder, way)(features, words, packing).hidden) for _ in range(2))
        return torch.equal(once, again)

    without = make(name, setting, "depth=2").train()
    decoder = make(name, setting, "depth=2", f"{dropout}=0.5")
    for way in ("teacher_force", "teacher_force_by_steps"):
        assert same(without, way)
        assert same(decoder.eval(), way)
        assert not same(decoder.train(), way)


@every
def test_scheduled_sampling_feeds_what_the_model_says(name: str, setting: str, cell: str) -> None:
    decoder, features = make(name, setting, cell=cell), made_up(B)
    with torch.no_grad():
        decoder.word_layer.bias[7] = 1e4  # it always says word 7
    packing, tokens = Packing.of(captions(RAGGED)), captions(RAGGED)
    said = torch.where((tokens == PAD) | (tokens == START), tokens, 7)
    ours = decoder.teacher_force_by_steps(features, packing.pack(tokens), packing, own_words=1.0)
    expected = decoder.teacher_force(features, packing.pack(said), packing)
    torch.testing.assert_close(ours.hidden, expected.hidden, atol=1e-5, rtol=1e-5)


@every
def test_bfloat16_agrees_within_its_rounding(name: str, setting: str, cell: str) -> None:
    decoder, tokens = make(name, setting, cell=cell), captions(RAGGED)
    expected = decoder(made_up(B), tokens)
    with torch.autocast("cpu", torch.bfloat16):
        logits = decoder(made_up(B), tokens)
    torch.testing.assert_close(logits.float(), expected, atol=0.03, rtol=0.03)


EIGHT = captions([[3], [4], [5], [6], [4], [6], [5], [3]])


@cache
def overfitted(name: str, setting: str, cell: str) -> Decoder:
    """Trained on eight pictures, one caption each."""
    torch.manual_seed(0)
    decoder, features = make(name, setting, cell=cell, size=32).train(), made_up(8)
    packing = Packing.of(EIGHT)
    words = packing.pack(EIGHT)
    targets = packing.pack(F.pad(EIGHT, (0, 1))[:, :, 1:])
    targets[targets == PAD] = END
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    for _ in range(150):
        outputs = decoder.teacher_force(features, words, packing)
        log_p = decoder.logits(outputs.hidden).log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        loss = -log_p.mean() + sum(each.mean for each in decoder.losses(outputs, features, packing, log_p).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if log_p.exp().min() > 0.9:
            break
    return decoder.eval()


@most
def test_reaches_the_captions_of_eight_pictures(name: str, setting: str, cell: str) -> None:
    if name == BLIND:
        pytest.skip("it cannot tell eight photographs apart")
    said = Greedy(max_length=T)(overfitted(name, setting, cell), made_up(8)).tokens[:, 0]
    assert [row[row > END].tolist() for row in said] == [row[row > END].tolist() for row in EIGHT[:, 0]]


@most
@pytest.mark.parametrize("search", [Greedy(max_length=T), Beam(size=3, max_length=T)], ids=["greedy", "beam"])
def test_a_caption_is_the_same_alone_and_in_a_batch(name: str, setting: str, cell: str, search: Greedy | Beam) -> None:
    decoder, features = overfitted(name, setting, cell), made_up(8)
    together = search(decoder, features)
    for image in range(8):
        alone = search(decoder, features.select(torch.tensor([image])))
        words = together.tokens[image, 0]
        assert words[words != PAD].tolist() == alone.tokens[0, 0].tolist()
        torch.testing.assert_close(together.scores[image, :1], alone.scores[0, :1], atol=1e-4, rtol=1e-4)


@most
def test_beam_1_is_greedy(name: str, setting: str, cell: str) -> None:
    decoder, features = overfitted(name, setting, cell), made_up(8)
    greedy, beam = Greedy(max_length=T)(decoder, features), Beam(size=1, max_length=T)(decoder, features)
    assert greedy.tokens.tolist() == beam.tokens.tolist()
    torch.testing.assert_close(greedy.scores, beam.scores, atol=1e-5, rtol=1e-5)


@most
def test_saving_and_loading_change_nothing(name: str, setting: str, cell: str) -> None:
    trained = overfitted(name, setting, cell)
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    loaded = make(name, setting, cell=cell, size=32)
    assert not torch.equal(loaded(made_up(8), EIGHT), trained(made_up(8), EIGHT))
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(loaded(made_up(8), EIGHT), trained(made_up(8), EIGHT))


@pytest.mark.parametrize(("name", "setting"), [decoder for decoder in DECODERS if decoder[0] != BLIND])
def test_it_trains_and_searches_without_double_precision(name: str, setting: str, no_doubles: type[Any]) -> None:
    decoder, features = make(name, setting), made_up(B)
    packing = Packing.of(captions(RAGGED))
    with no_doubles():
        found = decoder.teacher_force(features, packing.pack(captions(RAGGED)), packing)
        gradients(decoder, found.hidden, found.trace)
        with torch.no_grad():
            for search in (Greedy(4), Beam(2, 4, 0.5), DiverseBeam(4, 2, max_length=4), Sample(4, top_k=5, top_p=0.9)):
                search(decoder, features)


def test_a_double_is_seen(no_doubles: type[Any]) -> None:
    with no_doubles(), pytest.raises(AssertionError, match="a double"):
        torch.ones(2).double()
