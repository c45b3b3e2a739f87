"""timm, imported without the warning of its hub's progress bars in a notebook that has no ipywidgets."""

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    import timm
    from timm.models import efficientnet

__all__ = ["efficientnet", "timm"]
