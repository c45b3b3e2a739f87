"""CLIPScore with tiny models of random weights, against the formula."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.metrics import Pairs, References, Scorer, UnavailableError
from captioning.metrics.clip_score import ClipScore

CAPTIONS = ["a red square", "a dog", ""]
REFERENCES = [["a square", "something red"], ["a green thing"], ["blue", "a blue wall", "the sky"]]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    for number, colour in enumerate([(250, 0, 0), (0, 250, 0), (0, 0, 250)]):
        Image.new("RGB", (20, 16), colour).save(tmp_path / f"{number}.png")
    return [tmp_path / f"{number}.png" for number in range(3)]


class Tiny(torch.nn.Module):
    """Embeddings of five numbers."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.image, self.text = (torch.randn(size, 5, generator=generator) for size in (3, 50))

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean((2, 3)) @ self.image

    def encode_text(self, text: torch.Tensor) -> torch.Tensor:
        return self.text[text].sum(1)


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.resize((4, 4)), dtype=np.float32)).permute(2, 0, 1) / 255


def tokens(texts: list[str]) -> torch.Tensor:
    assert all(text.startswith("A photo depicts ") for text in texts)
    return torch.tensor([[sum(map(ord, text[16:])) % 49 + 1, len(text) % 50] for text in texts])


def by_hand(model: torch.nn.Module, photos: list[Path], preprocess, tokenizer) -> list[list[float]]:
    """The equations of the paper, one caption at a time."""
    values = []
    for photo, caption, references in zip(photos, CAPTIONS, REFERENCES, strict=True):
        with torch.no_grad():
            v = model.encode_image(preprocess(Image.open(photo).convert("RGB"))[None])[0].double()
            c, *r = (model.encode_text(tokenizer([f"A photo depicts {t}"]))[0].double() for t in (caption, *references))
        cosine = torch.nn.CosineSimilarity(dim=0)
        clip = 2.5 * max(float(cosine(c, v)), 0)
        best = max(*(float(cosine(c, each)) for each in r), 0)
        values.append([clip, 2 * clip * best / (clip + best) if clip + best else 0.0])
    return values


def test_the_formula_with_a_made_up_model(photos: list[Path]) -> None:
    model = Tiny()
    metric = ClipScore(photos, model, pixels, tokens, batch_size=2)
    scores = Scorer([metric], REFERENCES).score(CAPTIONS)
    expected = np.array(by_hand(model, photos, pixels, tokens))
    assert expected.max() > 0.1
    np.testing.assert_allclose(np.stack([*scores.images().values()], axis=1), expected, atol=1e-5)
    means = dict(zip(["CLIPScore", "RefCLIPScore"], expected.mean(0), strict=True))
    assert scores.corpus() == pytest.approx(means, abs=1e-5)
    opened = ClipScore([Image.open(photo) for photo in photos], model, pixels, tokens)
    np.testing.assert_allclose(opened.statistics(_pairs()), expected, atol=1e-5)
    with pytest.raises(CaptioningError, match="CLIPScore has 2 photographs, and there are captions of 3"):
        Scorer([ClipScore(photos[:2], model, pixels, tokens)], REFERENCES).score(CAPTIONS)


def _pairs() -> Pairs:
    return Pairs(References(REFERENCES), CAPTIONS)


def test_a_model_of_open_clip(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    vision = open_clip.CLIPVisionCfg(layers=1, width=32, head_width=16, patch_size=8, image_size=16)
    text = open_clip.CLIPTextCfg(width=32, heads=2, layers=1)
    model = open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text)
    preprocess = open_clip.image_transform(16, is_train=False)
    made = {}

    def create(name: str, **settings: object) -> tuple[object, ...]:
        made.update({"name": name, **settings})
        return model, None, preprocess

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    metric = ClipScore.load(photos)
    assert made == {"name": "ViT-B-32-quickgelu", "pretrained": "openai", "device": "cpu"} and not model.training
    expected = by_hand(model, photos, preprocess, open_clip.get_tokenizer("ViT-B-32"))
    np.testing.assert_allclose(metric.statistics(_pairs()), expected, atol=1e-5)


def test_what_is_missing_is_a_sentence(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    open_clip = pytest.importorskip("open_clip")

    def fail(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", fail)
    with pytest.raises(UnavailableError, match=r"can't be loaded \(no network\)"):
        ClipScore.load(photos)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UnavailableError, match=r"captioning\[clip\]"):
        ClipScore.load(photos)
