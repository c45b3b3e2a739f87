"""Image captioning with recurrent networks.

A caption travels one way through the house, and so do the imports::

    jobs -> training -> search -> decoders -> cells
      |        |
      +--> data, encoders, metrics, analysis

What several rooms speak of (features, states, vocabulary, images, files) lies below them all, in ``core``.
"""

__version__ = "0.1.0"
