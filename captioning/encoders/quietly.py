"""timm, imported without the warning of its hub's progress bars in a notebook that has no ipywidgets."""

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    import timm
    from timm.models.efficientnet import tf_efficientnet_lite0

__all__ = ["tf_efficientnet_lite0", "timm"]
