"""Units that mean something: what is recorded, what is found in it, and what is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from captioning.analysis.candidates import (
    Candidate,
    Part,
    as_table,
    correlations,
    entropy,
    find_candidates,
    maxima_by_chance,
    mutual_information,
)
from captioning.analysis.recording import Recording, Unit, record
from captioning.analysis.text_features import caption_features, text_features
from captioning.analysis.units import Watched
from captioning.cells import GRU, LSTM, RNN, Cell
from captioning.core.features import NO_FEATURES, Features
from captioning.decoders import LanguageModel
from captioning.report.coloured_text import (
    MARGIN,
    SIZE,
    WIDTH,
    coloured_html,
    colours,
    draw_text,
    lay_out,
    write_html,
)
from captioning.report.gates import draw_saturation
from captioning.report.units import write_units

V, H, T = 11, 6, 40
SENTENCES = ["He said, at last, no.\n", '"Why?" asked she; ', '"it is (and only then) late," ', "and he left.\n\n"]
TEXT = "".join(np.random.default_rng(0).choice(SENTENCES, 240))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model(cell: type[Cell] = LSTM, depth: int = 2) -> LanguageModel:
    return LanguageModel(V, NO_FEATURES, cell, embedding_size=5, hidden_size=H, depth=depth, layer_dropout=0.5).eval()


def noise(M: int, U: int) -> NDArray[np.float32]:
    """Units that change slowly, as those of a network do."""
    steps = np.random.default_rng(0).standard_normal((M, U))
    kept = np.empty((M, U), np.float32)
    value = np.zeros(U)
    for t in range(M):
        value = 0.9 * value + steps[t]
        kept[t] = np.tanh(value / 2)
    return kept


# what is recorded


@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_what_is_recorded_is_the_state_that_whole_texts_are_read_with(cell: type[Cell]) -> None:
    """The loop of training knows nothing of steps: it gives the same hidden states."""
    decoder, tokens = model(cell), torch.randint(0, V, (3, T))
    found = record(decoder, decoder.start(Features.none(3)), tokens)
    x = decoder.embed(tokens.T.flatten())
    for layer in range(2):
        cells = decoder.recurrent.layer(layer)
        h, last = cells.run(x, [3] * T, cells.initial(3, like=x))
        part = [number for number, unit in enumerate(found.units) if unit.layer == f"recurrent.layers.{layer}"]
        values = torch.from_numpy(found.values[:, part]).view(3, T, -1)
        torch.testing.assert_close(values[..., :H], h.view(T, 3, H).transpose(0, 1).detach())
        if cell is LSTM:
            torch.testing.assert_close(values[:, -1, H:], last[:, H:].tanh().detach())
        x = h
    assert [str(unit) for unit in found.units[:2]] == ["recurrent.layers.0.h[0]", "recurrent.layers.0.h[1]"]
    np.testing.assert_array_equal(found.of(Unit("recurrent.layers.1", "h", 2)), values[..., 2].flatten())


def test_sequences_of_different_lengths_are_recorded_as_if_each_were_alone() -> None:
    decoder, tokens, lengths = model(), torch.randint(0, V, (3, T)), [T, 7, 1]
    together = record(decoder, decoder.start(Features.none(3)), tokens, lengths)
    assert together.lengths == (T, 7, 1) and len(together.values) == T + 8 and together.middle == T
    alone = [record(decoder, decoder.start(Features.none(1)), tokens[n, :length]) for n, length in enumerate(lengths)]
    np.testing.assert_allclose(together.values, np.concatenate([one.values for one in alone]), atol=1e-6)
    for name, gate in together.gates["recurrent.layers.1"].items():
        counts = sum(
            one.gates["recurrent.layers.1"][name].left * length for one, length in zip(alone, lengths, strict=True)
        )
        np.testing.assert_allclose(gate.left, counts / sum(lengths), atol=1e-6)


def test_gates_that_are_held_open_or_closed_are_saturated() -> None:
    decoder = model(depth=1)
    bias = decoder.recurrent.layer(0).Wxh.bias
    with torch.no_grad():
        bias[:H] = 50.0  # i
        bias[H : 2 * H] = -50.0  # f
        bias[3 * H : 3 * H + 1] = 50.0  # one unit of o
    (gates,) = record(decoder, decoder.start(Features.none(1)), torch.randint(0, V, (1, T))).gates.values()
    assert (gates["i"].right == 1).all() and (gates["i"].left == 0).all()
    assert (gates["f"].left == 1).all() and (gates["f"].right == 0).all()
    assert gates["o"].right[0] == 1 and (gates["o"].right[1:] < 1).all()
    assert not record(model(RNN), model(RNN).start(Features.none(1)), [1]).gates


def test_a_recording_leaves_no_hook_behind() -> None:
    decoder = model()
    record(decoder, decoder.start(Features.none(1)), [1, 2, 3])
    assert not any(module._forward_hooks for module in decoder.modules())


# features


def test_the_features_of_a_text() -> None:
    text = '  a "b c"\n\nit\'s "open\n\nx (y[z] w) // no\nhttp://x # yes\nKING:\nme'
    features = text_features(text)

    def where(name: str) -> str:
        return "".join(character for character, value in zip(text, features[name], strict=True) if value)

    assert where("inside quotes") == '"b c"open\n'
    assert where("inside brackets") == "(y[z] w"
    assert max(features["inside brackets"]) == 2
    assert where("inside a comment") == "// no# yes"
    assert where("heading") == "KING:"
    assert list(features["position in line"][:11]) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0]
    assert list(features["indentation"][:5]) == [1, 2, 2, 2, 2]
    assert list(features["position in word"][text.index("it") :][:5]) == [1, 2, 3, 4, 0]
    assert set(text_features("one line")) == {"position in line", "position in word", "word boundary"}


def test_curled_quotation_marks_do_not_toggle() -> None:
    features = text_features("a ““b” c” “d")
    assert "".join(str(int(value)) for value in features["inside quotes"]) == "001110000011"


def test_the_features_of_captions() -> None:
    features = caption_features([["<start>", "a", "dog", "runs"], ["<start>", "it", "sits"]])
    assert list(features["words so far"]) == [0, 1, 2, 3, 0, 1, 2]
    assert list(features["noun"]) == [0, 0, 1, 0, 0, 0, 0]
    assert list(features["after a noun"]) == [0, 0, 1, 1, 0, 0, 0]
    assert list(features["about to end"]) == [0, 0, 0, 1, 0, 0, 1]


# what is found


def halves(values: NDArray[np.float32], feature: NDArray[np.float32]) -> list[Candidate]:
    M = len(feature) // 2
    units = [Unit("layer", "h", number) for number in range(values.shape[1])]
    return find_candidates(
        units, Part(values[:M], {"f": feature[:M]}, (M,)), Part(values[M:], {"f": feature[M:]}, (M,))
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_unit_is_found_and_holds_on_other_text(sign: int) -> None:
    feature = text_features(TEXT)["inside quotes"]
    values = noise(len(feature), 150)
    values[:, 97] = sign * (0.8 * feature - 0.4) + 0.5 * values[:, 97]
    (found,) = halves(values, feature)
    assert found.unit.number == 97 and found.convincing
    assert np.sign(found.found) == np.sign(found.held_out) == sign
    assert 0 < found.information < found.entropy <= 1
    assert "not beyond chance" not in as_table([found])


def test_in_noise_nothing_is_found_beyond_chance() -> None:
    """With 150 units the best of them correlates well above what one unit does, and no better than by chance."""
    feature = text_features(TEXT)["inside quotes"]
    M = len(feature) // 2
    values, beyond = noise(len(feature), 150), 0
    for seed in range(8):
        (found,) = halves(np.roll(values, 211 * seed, axis=0), feature)
        beyond += abs(found.found) > found.chance
        assert not found.convincing
        assert abs(found.found) > 2 * np.median(np.abs(correlations(values[:M], feature[:M])))
    assert beyond <= 1


def test_a_unit_that_turns_its_sign_is_not_convincing() -> None:
    feature = text_features(TEXT)["inside quotes"]
    values = noise(len(feature), 20)
    M = len(feature) // 2
    values[:M, 3], values[M:, 3] = feature[:M], -feature[M:]
    (found,) = halves(values, feature)
    assert found.unit.number == 3 and found.found > 0.9 and found.held_out < -0.9 and not found.convincing


def test_correlations_are_numpy_s_and_chance_is_rolls() -> None:
    values = noise(300, 70)
    values[:, 5] = 0.25  # does not vary
    feature = np.random.default_rng(1).random(300).astype(np.float32)
    with np.errstate(invalid="ignore"):
        oracle = [np.nan_to_num(np.corrcoef(values[:, u], feature)[0, 1]) for u in range(70)]
    np.testing.assert_allclose(correlations(values, feature), oracle, atol=1e-5)
    rolled = [np.abs(correlations(values, np.roll(feature, shift))).max() for shift in range(30, 271)]
    chance = maxima_by_chance(values, feature, (300,))
    assert np.abs(chance[:, None] - np.array(rolled)).min(1).max() < 1e-5


def test_captions_of_one_length_are_shifted_one_by_one() -> None:
    """Shifted all together by their length they would be what they were, and nothing would be beyond chance."""
    feature = np.tile(np.arange(8, dtype=np.float32), 60)
    values = noise(480, 40)
    values[:, 7] = feature / 8
    units = [Unit("layer", "h", number) for number in range(40)]
    half = Part(values[:240], {"words so far": feature[:240]}, (8,) * 30)
    (found,) = find_candidates(units, half, Part(values[240:], {"words so far": feature[240:]}, (8,) * 30))
    assert found.unit.number == 7 and found.chance < 0.5 and found.convincing


def test_mutual_information() -> None:
    rng = np.random.default_rng(0)
    coin = rng.integers(0, 2, 4000).astype(np.float32)
    assert entropy(coin) == pytest.approx(1, abs=1e-3)
    assert mutual_information(coin, coin) == pytest.approx(1, abs=1e-3)
    assert mutual_information(rng.random(4000).astype(np.float32), coin) < 0.003
    noisy = np.where(rng.random(4000) < 0.11, 1 - coin, coin).astype(np.float32)  # a channel of half a bit
    assert mutual_information(noisy, coin) == pytest.approx(0.5, abs=0.05)
    u_shaped = np.linspace(-1, 1, 4000, dtype=np.float32)
    assert abs(np.corrcoef(u_shaped, u_shaped**2)[0, 1]) < 0.01 and mutual_information(u_shaped, u_shaped**2) > 1


# what is drawn


def test_colours_are_blue_below_grey_at_and_red_above_zero() -> None:
    low, none, high = colours(np.array([-0.2, 0, 0.1], np.float32)).astype(int)
    assert low[2] > low[0] + 100 and high[0] > high[2] + 30 and np.ptp(none) < 10
    assert (colours(np.array([0.2, 0], np.float32))[0] == colours(np.array([0.9, 0], np.float32))[0]).all()


def test_html_shows_the_text_as_it_is(tmp_path: Path) -> None:
    pieces = ["<", "&", "b", "\n", "”", "{", "}"]
    values = np.linspace(-1, 1, len(pieces), dtype=np.float32)
    page = coloured_html(pieces, values)
    assert (
        page.count("<span") == len(pieces) and "&lt;</span>" in page and "&amp;</span>" in page and "↵</span>\n" in page
    )
    write_html("<script>", [("a < b", values)], pieces, tmp_path / "page.html")
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>" not in written and "a &lt; b" in written and page in written
    assert "http" not in written and "src=" not in written
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        coloured_html(pieces, values[:-1])


def test_a_drawn_text_has_its_colours_in_their_places(tmp_path: Path) -> None:
    pieces, values = ["ab ", "c\n", "d"], np.array([-1, 0.5, 1], np.float32)
    draw_text("title", pieces, values, tmp_path / "text.png")
    pixels = np.asarray(Image.open(tmp_path / "text.png").convert("RGB"))
    row = round(1.4 * SIZE)
    top = MARGIN + 2 * row
    expected = colours(values)
    width = next(x for x in range(MARGIN, 400) if (pixels[top, x] != expected[0]).any()) - MARGIN
    assert (pixels[top, MARGIN] == expected[0]).all() and width % 3 == 0
    assert (pixels[top, MARGIN + width] == expected[1]).all()
    assert (pixels[top + row, MARGIN] == expected[2]).all()
    assert (pixels[top, MARGIN + width // 3 * 4] == 255).all()  # after the line's end there is paper
    assert (pixels < 100).all(-1).any()  # and there are letters


def test_long_lines_go_on_below() -> None:
    places, rows = lay_out(["x"] * (WIDTH + 1) + ["\n", "y"])
    assert places[WIDTH - 1] == (0, WIDTH - 1) and places[WIDTH] == (1, 0) and places[-1] == (2, 0) and rows == 3


def test_what_was_watched_is_written_whole(tmp_path: Path) -> None:
    features = text_features(TEXT)
    values = noise(len(TEXT), 12)
    values[:, 4] = features["inside quotes"]
    units = tuple(Unit("layer", "c", number) for number in range(12))
    watched = Watched(list(TEXT), features, Recording(values, units, (len(TEXT),), {}))
    candidates = watched.candidates()
    assert candidates[0].feature == "inside quotes" and candidates[0].unit == units[4]
    write_units(watched, candidates, tmp_path, drawn=200)
    table = json.loads((tmp_path / "cells.json").read_text())
    assert table["candidates"][0]["unit"] == "layer.c[4]" and table["candidates"][0]["convincing"] is True
    assert (tmp_path / "inside_quotes.png").stat().st_size > 1000 and not (tmp_path / "gates.png").exists()
    assert (tmp_path / "cells.html").read_text().count("<h2>") == len(candidates)


def test_saturated_gates_are_drawn(tmp_path: Path) -> None:
    decoder = model(GRU)
    draw_saturation(record(decoder, decoder.start(Features.none(1)), [1, 2, 3]).gates, tmp_path / "gates.png")
    assert np.asarray(Image.open(tmp_path / "gates.png").convert("L")).std() > 5
