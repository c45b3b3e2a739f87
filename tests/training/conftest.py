"""Settings that tests of training share."""

from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def tiny_clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """A function from an experiment's name and further settings to a tiny run of it on drawn clips."""
    folder = tmp_path_factory.mktemp("tiny clips")

    def settings(experiment: str, *more: str) -> list[str]:
        return [
            *(f"experiment={experiment}", "data.count=24", f"data.root={folder / 'clips'}"),
            *(f"data.features_root={folder / 'features'}", "data.workers=0", "data.batch_size=4", "encoder.frames=4"),
            *("encoder.part=pooled", "encoder@encoder.encoders.picture=resnet18"),
            *("encoder.encoders.picture.weights=null", "encoder.encoders.picture.last_stage=layer1"),
            *("encoder.encoders.picture.image_size=16", "trainer.check_val_every_n_epoch=1", "logger=csv"),
            *("trainer.log_every_n_steps=1", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu"),
            *("report=false", "test=false", *more),
        ]

    return settings


FINE_TUNED = (  # the encoder's head is behind the grid: no gradient reaches it, and no rank may wait for one
    "encoder=timm",
    "encoder.name=mobilenetv3_small_050",
    "encoder.weights=null",
    "encoder.finetune_from=blocks.5",
    "encoder_lr=0.01",
)


@pytest.fixture
def tiny_fine_tuned(tiny: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """A function from further settings to those of a tiny run that trains its encoder."""

    def settings(*more: str) -> list[str]:
        found = tiny("decoder=show_attend_tell", *FINE_TUNED, *more)
        return [each for each in found if not each.startswith("encoder.last_stage")]  # timm's has none

    return settings


CAPTIONED = ("moving_scenes_attention", "data.minimum_count=1", "decoder.hidden_size=8", "decoder.embedding_size=8")
CAPTIONED += (
    "decoder.attention_size=4",
    "decoder.output_dropout=0",
    "search.size=1",
    "search.max_length=5",
    "monitor=nll",
)
LABELLED = ("moving_scenes_labels", "task.hidden_size=8", "task.dropout=0")


@pytest.fixture(params=[CAPTIONED, LABELLED], ids=["captions", "labels"])
def tiny_run_on_clips(request: pytest.FixtureRequest, tiny_clips: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """A function from further settings to a tiny run on clips: that writes captions, that labels frames."""
    return lambda *more: tiny_clips(*request.param, *more)
