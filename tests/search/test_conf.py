"""conf/search: each file makes its search, and names every setting with the default of the code."""

import inspect
from pathlib import Path

import pytest
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf" / "search"


@pytest.mark.parametrize(
    "name", ["greedy", "sample", "beam", "diverse_beam", "constrained_beam", "consensus", "neighbours"]
)
def test_configuration_is_the_signature(name):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    search = instantiate(config)
    assert type(search).__name__.lower() == name.replace("_", "")
    parameters = inspect.signature(get_class(config.pop("_target_"))).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert OmegaConf.to_container(config) == defaults | ({"must_say": []} if "must_say" in defaults else {})
    assert str(search).rstrip("0256 ") == name.replace("_", " ")  # no setting differs from its default
