"""Hydra's repository of configuration files, with each file read once."""

import copy
from typing import Any

from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigResult


class ReadOnce(ConfigRepository):
    """A repository that reads a file once, and not anew for each configuration."""

    def __init__(self, path: ConfigSearchPath) -> None:
        super().__init__(path)
        self.read: dict[tuple[str, ...], ConfigResult | None] = {}

    def __deepcopy__(self, _: dict[int, Any]) -> "ReadOnce":
        return copy.copy(self)  # with what is read; a copy gets sources of its own when it needs others

    def load_config(self, config_path: str) -> ConfigResult | None:
        place = config_path, *(source.path for source in self.sources)
        if place not in self.read:
            self.read[place] = super().load_config(config_path)
        return copy.deepcopy(self.read[place])  # Hydra changes what it loads
