"""timm, imported without the warning of its hub's progress bars in a notebook that has no ipywidgets."""

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    import timm

__all__ = ["timm"]
