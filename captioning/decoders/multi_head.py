"""Multi-head attention (Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762, section 3.2).

Dimensions: Q queries, K keys (regions, or words so far), h heads, E numbers of a query, d = E / h numbers of a head.
"""

from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.decoders.attention import masked_softmax


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention ``softmax(q Kᵀ / √d) V``, in each of h heads.

    A head is a slice of the queries', keys' and values' numbers. The class has no weights: the matrices before and
    after the attention belong to the decoder. Keys and values are split into heads by the caller (``split``), who can
    so do it once for all queries.
    """

    def __init__(self, size: int, heads: int) -> None:
        """Take the number of heads.

        Args:
            size: E, the numbers of a query.
            heads: h.

        Raises:
            CaptioningError: there is no head, or the heads can't share the numbers evenly.
        """
        super().__init__()
        if heads < 1 or size % heads:
            raise CaptioningError(f"decoder.heads={heads}: take a number of heads that divides {size}.")
        self.heads = heads

    def split(self, x: Tensor) -> Tensor:
        """``(…, K, E)`` to ``(…, h, K, d)``."""
        return x.view(*x.shape[:-1], self.heads, -1).transpose(-3, -2)

    def join(self, x: Tensor) -> Tensor:
        """The inverse of ``split``: ``(…, h, Q, d)`` to ``(…, Q, E)``."""
        return x.transpose(-3, -2).flatten(-2)

    def weights(self, query: Tensor, keys: Tensor, there: Tensor | None = None) -> Tensor:
        """The weights of each head, see ``forward``: ``(…, h, Q, K)``, 0 for a missing key."""
        e = self.split(query) @ keys.transpose(-2, -1) * keys.shape[-1] ** -0.5
        return masked_softmax(e, None if there is None else there.unsqueeze(-3))

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, there: Tensor | None = None) -> Tensor:
        """The sums of the values by the weights.

        Args:
            query: ``(…, Q, E)``.
            keys: ``(…, h, K, d)``.
            values: ``(…, h, K, d)``.
            there: ``(…, Q, K)`` or ``(…, 1, K)``, True for the keys that a query may attend to; None for all.

        Returns:
            ``(…, Q, E)``, zero for a query without any key.
        """
        return self.join(self.weights(query, keys, there) @ values)
