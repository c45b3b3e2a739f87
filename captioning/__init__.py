"""Image captioning with recurrent networks.

A caption travels one way through the house, and so do the imports::

    jobs -> training -> search -> decoders -> cells
      |        |
      +--> data, encoders, metrics, analysis

What several rooms speak of (features, states, vocabulary, images, files) lies below them all, in ``core``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioning.predict.captioner import Caption, Captioner

__version__ = "0.1.0"
__all__ = ["Caption", "Captioner"]


def __getattr__(name: str) -> Any:
    """``from captioning import Captioner`` without importing torch before it is needed."""
    if name in __all__:
        from captioning.predict import captioner

        return getattr(captioner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
