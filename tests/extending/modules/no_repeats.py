"""A search: the likeliest word, but no word twice.

captioning train search._target_=no_repeats.NoRepeats search.max_length=20
"""

import torch

from captioning import Search
from captioning.core.vocabulary import END, PAD, START
from captioning.search import Captions


class NoRepeats(Search):
    """Greedy search in which what has been said is not said again."""

    def search(self, model, features, attention: bool) -> Captions:
        """Word after word, until all captions have ended."""
        B, device = features.images, features.device
        state, tokens = model.start(features), torch.full((B, 1), START, device=device)
        scores, said, ended = torch.zeros(B, 1, device=device), [], torch.zeros(B, 1, dtype=torch.bool, device=device)
        for _ in range(self.max_length):
            logits, state = model.step(tokens, state)
            log_probs = self.log_probabilities(logits, tokens)
            for before in said:
                log_probs.scatter_(-1, before.unsqueeze(-1), -torch.inf)
            best, tokens = log_probs.max(-1)
            tokens = tokens.masked_fill(ended, PAD)
            scores += best.masked_fill(ended, 0.0)
            ended = ended | (tokens == END)
            said.append(tokens)
            if ended.all():
                break
        return Captions(torch.stack(said, dim=-1), scores)
