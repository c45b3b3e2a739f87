"""A captioner without cells: a small transformer (Vaswani et al. 2017, arXiv 1706.03762) that reads the photograph.

captioning train decoder=base decoder._target_=transformer.Transformer +decoder.layers=2
"""

import torch
from torch import Tensor, nn

from captioning import Decoder, Features, FeatureSpec
from captioning.core.state import State


class Transformer(Decoder):
    """Masked self-attention over the words so far, attention over the regions of the grid."""

    reads = ("grid",)

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        *,
        layers: int = 1,
        heads: int = 2,
        longest: int = 60,
        **common,
    ) -> None:
        """Take the sizes; ``longest`` is the most words of a caption, ``<start>`` included."""
        super().__init__(vocabulary_size, features, **common)
        E = self.embedding_size
        self.regions = nn.Linear(features.size("grid"), E)
        self.places = nn.Embedding(longest, E)
        layer = nn.TransformerDecoderLayer(E, heads, 4 * E, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerDecoder(layer, layers)

    def start(self, features: Features) -> State:
        """The regions once per photograph, and no word yet."""
        words = torch.zeros(features.images, 1, 0, dtype=torch.long, device=features.device)
        return State({"regions": self.regions(features["grid"])}, {"words": words})

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: ``(B, S)`` to ``(B, S, E)``."""
        words = torch.cat([state.sequence["words"], tokens.unsqueeze(-1)], dim=-1)  # (B, S, T)
        B, S, T = words.shape
        x = self.embed(words) + self.places.weight[:T]
        regions = state.image["regions"].unsqueeze(1).expand(-1, S, -1, -1)  # (B, S, L, E)
        mask = nn.Transformer.generate_square_subsequent_mask(T, device=tokens.device)
        seen = self.layers(x.flatten(0, 1), regions.flatten(0, 1), tgt_mask=mask)
        return seen[:, -1].view(B, S, -1), State(state.image, {"words": words})
