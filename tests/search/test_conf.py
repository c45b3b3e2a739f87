"""conf/search: each file makes its search, and names every setting with the default of the code."""

import inspect
from pathlib import Path

import pytest
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf" / "search"


@pytest.mark.parametrize("name", ["greedy", "sample", "beam"])
def test_configuration_is_the_signature(name):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    search = instantiate(config)
    assert type(search).__name__.lower() == name
    parameters = inspect.signature(get_class(config.pop("_target_"))).parameters
    assert OmegaConf.to_container(config) == {name: parameter.default for name, parameter in parameters.items()}
