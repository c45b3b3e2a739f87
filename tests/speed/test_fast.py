"""A fast model is the plain one, for every decoder and every cell of conf/: values, gradients, states."""

import copy
import io
import pickle
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.cells import GRU, LSTM, Cell
from captioning.core.build import build, maker
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import Decoder, RecurrentDecoder, ShowAttendTell
from captioning.decoders.multi_head import MultiHeadAttention
from captioning.search import Beam
from captioning.speed import attention, linear, make_fast
from captioning.speed.dropout import FastDropout
from captioning.speed.linear import FastLinear
from captioning.speed.recurrence import FastCell

CONF = Path(__file__).resolve().parents[2] / "conf"
SPEC = FeatureSpec(["frames"], pooled=(6,), grid=(2, 3, 7), frames=(4, 5))
B, S, T, V, H = 3, 2, 6, 17, 8
SETTINGS = {
    "lrcn": ["factored=false", "factored=true"],
    "neuraltalk": ["inject=first", "inject=every"],
    "show_attend_tell": ["attention=soft", "attention=hard"],
    "attention_on_attention": ["refining_layers=1"],
    "language_model": ["one_hot=false", "one_hot=true"],
}
DECODERS = [
    (path.stem, setting)
    for path in sorted((CONF / "decoder").glob("*.yaml"))
    if path.stem not in ("base", "_recurrent")
    for setting in SETTINGS.get(path.stem, ["tied=true"])
]
CELLS = sorted(path.stem for path in (CONF / "cell").glob("*.yaml"))
CELLESS = ("transformer",)
LECTURES = ("rnn", "lstm", "gru")
TAKES_ALL = (("lrcn", "factored=true"), ("neuraltalk", "inject=every"), ("show_attend_tell", "attention=soft"))
RAGGED, EVEN = [[3, 6], [1, 0], [4, 2]], [[5, 5]] * B
# every decoder with the cells of the lecture, and three decoders with all cells
every = pytest.mark.parametrize(
    ("name", "setting", "cell"),
    [
        pytest.param(*decoder, cell, id="-".join([*decoder, cell]))
        for decoder in DECODERS
        for cell in CELLS
        if (cell == "lstm" if decoder[0] in CELLESS else cell in LECTURES or decoder in TAKES_ALL)
    ],
)
# what takes no notice of the cell: every decoder with an LSTM, and every cell with one decoder
most = pytest.mark.parametrize(
    ("name", "setting", "cell"),
    [
        pytest.param(*decoder, cell, id="-".join([*decoder, cell]))
        for decoder in DECODERS
        for cell in CELLS
        if cell == "lstm" or decoder == DECODERS[-1]
    ],
)
Results = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _onednn_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products as small as those of these tests go to oneDNN too."""
    monkeypatch.setattr(linear, "WORTH_IT", 1)
    monkeypatch.setattr(linear, "NARROW", 1)


@cache
def configured(path: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base=None):
        config: DictConfig = compose(path, overrides=list(overrides))
        return config


def pair(name: str, setting: str, cell: str) -> tuple[Decoder, Decoder]:
    """A plain decoder of two layers, made small, and a fast one of the same weights."""
    config = configured(f"decoder/{name}", f"decoder.{setting}", "decoder.depth=2")["decoder"]
    sizes = {key: H for key in config if key.endswith("_size")}
    kind = {} if name in CELLESS else {"cell": maker(configured(f"cell/{cell}")["cell"], Cell)}
    torch.manual_seed(0)
    plain = build({**config, **sizes}, Decoder, vocabulary_size=V, features=SPEC, **kind)
    return plain, make_fast(copy.deepcopy(plain))


def made_up() -> Features:
    generator = torch.Generator().manual_seed(1)
    return Features(
        {"frames": torch.tensor([4, 1, 3])},
        pooled=torch.randn(B, 6, generator=generator, requires_grad=True),
        grid=torch.randn(B, 6, 7, generator=generator, requires_grad=True),
        frames=torch.randn(B, 4, 5, generator=generator, requires_grad=True),
    )


def captions(lengths: list[list[int]]) -> Tensor:
    tokens = torch.randint(4, V, (B, S, T), generator=torch.Generator().manual_seed(2))
    return tokens * (torch.arange(T) < torch.tensor(lengths).unsqueeze(-1))


def trained(decoder: Decoder, lengths: list[list[int]], way: str, half: bool = False) -> Results:
    """All that a training step computes: outputs, traces, losses, states and gradients."""
    features, packing = made_up(), Packing.of(captions(lengths))
    words = packing.pack(captions(lengths))
    torch.manual_seed(3)  # of hard attention's draws
    found: Results = {}
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        if way == "from a state":
            _, state = decoder.advance(torch.full((B, 1), 4), decoder.start(features))
            outputs, after = decoder.teacher_force_from(state, words, packing)
            found |= {f"state {name}": part for name, part in after.sequence.items()}
        else:
            outputs = getattr(decoder, way)(features, words, packing)
        log_p = decoder.logits(outputs.hidden).log_softmax(-1).gather(1, words.unsqueeze(1)).squeeze(1)
        losses = decoder.losses(outputs, features, packing, log_p)
    total = sum((each.mean for each in losses.values()), -log_p.float().mean())
    total = total + sum(part.float().square().mean() for part in found.values())
    decoder.zero_grad()
    total.backward()
    found |= {"hidden": outputs.hidden, "loss": total, **{f"trace {key}": part for key, part in outputs.trace.items()}}
    found |= {key: parameter.grad for key, parameter in decoder.named_parameters() if parameter.grad is not None}
    found |= {f"features {key}": part.grad for key, part in features.items() if part.grad is not None}
    return found


@every
def test_a_fast_decoder_is_the_plain_one(name: str, setting: str, cell: str) -> None:
    plain, fast = pair(name, setting, cell)
    for way in ("teacher_force", "teacher_force_by_steps", "from a state"):
        for lengths in (RAGGED, EVEN):
            found, expected = trained(fast.train(), lengths, way), trained(plain.train(), lengths, way)
            assert len(found) > 6
            torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-4)


@every
def test_in_half_precision_it_is_within_its_rounding(name: str, setting: str, cell: str) -> None:
    plain, fast = pair(name, setting, cell)
    if "attention=hard" in setting:  # one draw more or less is another sentence
        plain, fast = plain.eval(), fast.eval()
    found, expected = trained(fast, RAGGED, "teacher_force", half=True), trained(plain, RAGGED, "teacher_force", True)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.05, check_dtype=False)


@most
def test_search_and_evaluation_are_those_of_the_plain_one(name: str, setting: str, cell: str) -> None:
    plain, fast = (decoder.eval() for decoder in pair(name, setting, cell))
    tokens, search = captions(RAGGED), Beam(size=3, max_length=4)
    with torch.no_grad():
        torch.testing.assert_close(fast(made_up(), tokens), plain(made_up(), tokens), atol=2e-6, rtol=1e-4)
    ours, expected = search(fast, made_up(), attention=True), search(plain, made_up(), attention=True)
    torch.testing.assert_close(ours.scores, expected.scores, atol=1e-5, rtol=1e-4)
    assert (ours.attention is None) == (expected.attention is None)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("sizes", [[4, 4, 4], [4, 2, 1]], ids=["even", "ragged"])
def test_a_fast_cell_is_the_plain_one(cell: str, image: bool, sizes: list[int]) -> None:
    torch.manual_seed(0)
    plain = maker(configured(f"cell/{cell}")["cell"], Cell)(input_size=5, hidden_size=H, image_size=3)
    found = []
    for each in (plain, make_fast(copy.deepcopy(plain))):
        torch.manual_seed(1)
        x, v = torch.randn(sum(sizes), 5, requires_grad=True), torch.randn(sizes[0], 3, requires_grad=True)
        state = torch.randn(sizes[0], each.memories * H, requires_grad=True)
        hidden, last = each.run(x, sizes, state, each.image(v) if image else None)
        step = each(each.input(x[:4]), state)
        (hidden.square().sum() + last.pow(3).sum() + step.sum()).backward()
        parts = [hidden, last, step, x.grad, state.grad, v.grad if image else None]
        found.append(
            [*filter(lambda part: part is not None, parts), *(p.grad for p in each.parameters() if p.grad is not None)]
        )
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("half", [False, True], ids=["single", "half"])
@pytest.mark.parametrize("lengths", [None, [6, 1, 4], [6, 0, 4]], ids=["all", "some", "none"])
def test_fused_attention_is_the_plain_one(
    lengths: list[int] | None, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fused function, which is for a GPU, on the CPU; also over an image without any region."""
    fused: list[bool] = []
    plain, fast = pair("transformer", "tied=true", "lstm")
    for part in fast.modules():
        if isinstance(part, MultiHeadAttention):
            part.register_forward_hook(lambda *_: fused.append(True))
    ours = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *args: (fused.append(False), ours(*args))[1])
    monkeypatch.setattr(attention, "FUSED", ("cpu",))
    there = {} if lengths is None else {"grid": torch.tensor(lengths)}
    tokens, packing = captions(RAGGED), Packing.of(captions(RAGGED))
    found = []
    for decoder in (fast, plain):
        features = Features(there, **{name: part.detach() for name, part in made_up().items()})
        decoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            first, state = decoder.teacher_force_from(decoder.start(features), packing.pack(tokens), packing)
            second, _ = decoder.teacher_force_from(state, packing.pack(tokens), packing)  # with words before
            step, _ = decoder.step(torch.full((B, S), 5), state)
        (first.hidden.float().square().mean() + second.hidden.float().pow(3).mean() + step.float().mean()).backward()
        found.append([first.hidden, second.hidden, step, *(p.grad for p in decoder.parameters() if p.grad is not None)])
    assert fused == [False, True] * 12  # of two layers' two attentions, three times
    tolerance = {"atol": 0.05, "rtol": 0.05} if half else {"atol": 2e-6, "rtol": 1e-4}
    torch.testing.assert_close(*found, **tolerance)


# what stays as it is


@most
def test_parameters_keep_names_and_identity_and_classes_their_names(name: str, setting: str, cell: str) -> None:
    plain, _ = pair(name, setting, cell)
    parameters, names = (
        dict(plain.named_parameters(remove_duplicate=False)),
        [type(p).__name__ for p in plain.modules()],
    )
    keys, shown = list(plain.state_dict()), repr(plain)
    kinds = [type(part) for part in plain.modules()]
    fast = make_fast(plain)
    assert fast is plain
    again = dict(fast.named_parameters(remove_duplicate=False))
    assert again.keys() == parameters.keys() and all(again[key] is parameters[key] for key in again)
    assert [type(part).__name__ for part in fast.modules()] == names
    assert list(fast.state_dict()) == keys and repr(fast) == shown
    assert all(isinstance(part, kind) for part, kind in zip(fast.modules(), kinds, strict=True))
    assert all(type(part) is not kind for part, kind in zip(fast.modules(), kinds, strict=True) if kind in CHANGED)
    kinds = [type(part) for part in fast.modules()]
    assert [type(part) for part in make_fast(fast).modules()] == kinds


CHANGED = {nn.Linear, nn.Dropout, LSTM, GRU, ShowAttendTell}


@most
def test_copies_are_as_fast_and_stand_alone(name: str, setting: str, cell: str) -> None:
    _, fast = pair(name, setting, cell)
    fast.eval()
    saved = io.BytesIO()
    part = "layers" if name in CELLESS else "recurrent"  # all but the partial function that makes the cells
    layers = fast.get_submodule(part)
    torch.save(layers, saved)
    saved.seek(0)
    copies = {"copied": copy.deepcopy(fast).get_submodule(part), "saved": torch.load(saved, weights_only=False)}
    with torch.no_grad():
        before = {key: parameter.clone() for key, parameter in layers.named_parameters()}
        for parameter in fast.parameters():
            parameter.add_(1)
    for made in copies.values():
        assert [type(part) for part in made.modules()] == [type(part) for part in layers.modules()]
        assert all(torch.equal(parameter, before[key]) for key, parameter in made.named_parameters())
    again = copy.deepcopy(fast)
    torch.testing.assert_close(again(made_up(), captions(EVEN)), fast(made_up(), captions(EVEN)))


def test_tied_weights_stay_tied_in_a_copy() -> None:
    decoder, _ = pair("neuraltalk", "tied=true", "lstm")
    for made in (make_fast(decoder), copy.deepcopy(make_fast(decoder))):
        assert made.word_layer.weight is made.embedding.weight


# modules from outside


class Mine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 7))
        self.attention = nn.MultiheadAttention(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x)
        return made


class Scaled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 3 * super().forward(input)


class Squaring(Cell):
    """Calls its ``Whh`` twice a step."""

    gates = 1

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        return (terms + self.Whh(self.Whh(state).tanh())).tanh()


class BentLSTM(LSTM):
    """No LSTM that oneDNN has."""

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        return super().forward(terms, state) * 0.9


def test_a_module_of_a_user_profits_and_its_own_kinds_of_layers_are_left_alone() -> None:
    mine = Mine().eval()
    x = torch.randn(4, 5)
    expected = mine(x)
    assert make_fast(mine) is mine and type(mine) is Mine
    assert isinstance(mine.layers[0], FastLinear) and isinstance(mine.layers[2], FastDropout)
    assert type(mine.attention.out_proj).__name__ == "NonDynamicallyQuantizableLinear"
    torch.testing.assert_close(mine(x), expected)
    for alone in (nn.Sequential(nn.ReLU(), nn.Embedding(3, 4)), Scaled(3, 4)):
        kinds = [type(part) for part in alone.modules()]
        assert [type(part) for part in make_fast(alone).modules()] == kinds


@pytest.mark.parametrize("kind", [Squaring, BentLSTM])
@pytest.mark.parametrize("sizes", [[4, 4, 4], [4, 2, 1]], ids=["even", "ragged"])
def test_a_cell_of_a_user_profits_and_is_right(kind: type[Cell], sizes: list[int]) -> None:
    torch.manual_seed(0)
    plain = kind(5, H)
    found = []
    for each in (plain, make_fast(copy.deepcopy(plain))):
        torch.manual_seed(1)
        hidden, last = each.run(torch.randn(sum(sizes), 5), sizes, torch.randn(4, each.memories * H))
        (hidden.square().sum() + last.sum()).backward()
        found.append([hidden, last, *(p.grad for p in each.parameters())])
    assert isinstance(each, FastCell) and type(each).__name__ == kind.__name__
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)


# what the fast forms are there for


def test_the_fast_forms_are_those_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would compare the plain forms with themselves fails here."""
    calls: list[str] = []
    for module, name in ((attention, "masked_softmax"), (linear, "_onednn_is_faster")):
        ours = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, ours=ours, name=name: (calls.append(name), ours(*args))[1])
    plain, fast = pair("show_attend_tell", "attention=soft", "gru")
    trained(plain, RAGGED, "teacher_force")
    assert calls == []
    trained(fast, RAGGED, "teacher_force")
    assert set(calls) == {"masked_softmax", "_onednn_is_faster"}
    assert isinstance(fast, RecurrentDecoder) and "Fast" in repr(type(fast).__mro__)


def test_pickles_of_whole_decoders() -> None:
    _, fast = pair("mrnn", "tied=true", "lstm")
    fast.cell = LSTM
    copied = pickle.loads(pickle.dumps(fast))
    assert type(copied) is type(fast)
    torch.testing.assert_close(copied(made_up(), captions(EVEN)), fast(made_up(), captions(EVEN)))
