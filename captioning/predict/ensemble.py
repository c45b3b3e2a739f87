"""Ensembles: several decoders as one conditional language model, which any search can call.

The mean of probabilities is fairseq's: a word that is certain for one member stays likely. The mean of
log-probabilities is a geometric mean, a product of experts (Hinton 2002, Neural Computation 14, 8): a word that is
impossible for one member stays impossible.

Dimensions: B images, S sequences of an image, L regions, V vocabulary.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.images import ImageTransform
from captioning.core.state import State
from captioning.core.terminal import printable
from captioning.core.vocabulary import START, Vocabulary
from captioning.predict.maps import attended_part, comparable, resampling

Average = Literal["probabilities", "log-probabilities"]
AVERAGES: tuple[Average, ...] = ("probabilities", "log-probabilities")


@dataclass(frozen=True)
class Member:
    """One decoder of an ensemble.

    Attributes:
        decoder: a conditional language model with ``reads``, the names of the parts of the features that the decoder
            needs.
        vocabulary: the decoder's vocabulary.
        spec: the shapes of its encoder's features.
        transform: the transform of its encoder.
        prefix: the prefix of its encoder's parts in the ensemble's features (``"1_"``).
        name: the member's name in an error's message.
    """

    decoder: Any
    vocabulary: Vocabulary
    spec: FeatureSpec
    transform: ImageTransform
    prefix: str = ""
    name: str = "a captioner"


class Ensemble(nn.Module):
    """The mean of several decoders: ``start`` and ``step`` of each, over parts of one ``State``.

    The part ``hidden`` of member 1 is called ``1.hidden``. ``"attention"`` is the mean of the weights of the members
    with attention: coarser maps are resampled to the layout of the finest map, each region's weight spread evenly over
    the region's area. Without such members, or if the maps do not cover the same part of an image, the state has no
    ``"attention"``.

    Attributes:
        reads: the parts of the features that the members need; first the part that the attention weights belong to.
        average: the quantity that is averaged.
        seen: the transform whose part of an image the attention maps cover; None without attention.
    """

    def __init__(
        self, members: Sequence[Member], average: Average = "probabilities", weights: Sequence[float] | None = None
    ) -> None:
        """Take the members, and put their decoders in evaluation mode.

        Args:
            members: one or more members. Their vocabularies hold the same words, in any order; the ensemble's word
                numbers are the first member's.
            average: ``"probabilities"``: ``step`` returns the log of the mean of the members' probabilities;
                ``"log-probabilities"``: the mean of their log-probabilities, normalised over the vocabulary.
            weights: the weight of each member in the mean, not negative, with any positive sum: the late fusion α·p_rgb
                + (1 − α)·p_flow of Venugopalan et al. 2015; None for equal weights.

        Raises:
            CaptioningError: there is no member, vocabularies differ in their words, ``average`` is neither, or the
                weights are not one of 0 or more for each member.
        """
        super().__init__()
        if not members:
            raise CaptioningError("An ensemble needs one captioner or more.")
        if average not in AVERAGES:
            raise CaptioningError(f"average={average}: take one of {', '.join(AVERAGES)}.")
        self.average = average
        self.log_shares = _log_shares(weights, len(members))
        first = members[0]
        maps = {number: part for number, member in enumerate(members) if (part := _probe(member)) is not None}
        finest = max(maps, key=lambda number: members[number].spec.regions(maps[number]), default=None)
        if finest is not None and not all(
            comparable(_place(members[finest], maps[finest]), _place(members[number], part))
            for number, part in maps.items()
        ):
            finest = None
        self.members = nn.ModuleList(
            _Member(
                member,
                _numbers(first, member),
                None if finest is None or number not in maps else (maps[number], members[finest], maps[finest]),
            )
            for number, member in enumerate(members)
        )
        reads = [member.prefix + part for member in members for part in member.decoder.reads]
        shown = [] if finest is None else [members[finest].prefix + maps[finest]]
        self.reads = tuple(dict.fromkeys([*shown, *reads]))
        self.seen = None if finest is None else members[finest].transform
        self.eval()

    def start(self, features: Features) -> State:
        """The members' states before START, with one sequence per image (S = 1)."""
        return _joined([member.start(features) for member in self._all()])

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The log-probabilities ``(B, S, V)`` of the next word after ``tokens (B, S)``, float32, and the next state."""
        total: Tensor | None = None
        states: list[State] = []
        maps: list[Tensor] = []
        for number, member in enumerate(self._all()):
            log_probs, own = member.step(tokens, _of_member(state, number))
            states.append(own)
            if (weights := member.weights(own)) is not None:
                maps.append(weights)
            share = self.log_shares[number]
            if self.average == "probabilities":
                weighted = log_probs + share
                total = weighted if total is None else torch.logaddexp(total, weighted)
            elif share > -math.inf:
                weighted = math.exp(share) * log_probs
                total = weighted if total is None else total + weighted
        assert total is not None
        total = total if self.average == "probabilities" else total.log_softmax(-1)
        joined = _joined(states)
        if maps:
            joined.sequence["attention"] = torch.stack(maps).mean(0)
        return total, joined

    def _all(self) -> "list[_Member]":
        return [member for member in self.members if isinstance(member, _Member)]


class _Member(nn.Module):
    """A member whose words, features and attention maps are converted to the ensemble's."""

    words: Tensor | None
    resampled: Tensor | None

    def __init__(self, member: Member, words: Tensor | None, maps: tuple[str, Member, str] | None) -> None:
        """Take the member.

        Args:
            member: the member.
            words: ``(V,)``, the member's numbers of the ensemble's words; None for equal numbers.
            maps: the part that the member attends to, and the member and part of the finest maps; None without
                attention.
        """
        super().__init__()
        self.decoder, self.prefix, self.attends = member.decoder, member.prefix, maps is not None
        matrix = None
        if maps is not None:
            part, finest, finest_part = maps
            matrix = resampling(member.spec.layout(part), finest.spec.layout(finest_part))
        device = _device(member.decoder)
        self.register_buffer("words", None if words is None else words.to(device), persistent=False)
        self.register_buffer("resampled", None if matrix is None else matrix.to(device), persistent=False)

    def start(self, features: Features) -> State:
        """The state before START."""
        length = len(self.prefix)
        parts = {name[length:]: part for name, part in features.items() if name.startswith(self.prefix)}
        lengths = {name[length:]: part for name, part in features.lengths.items() if name.startswith(self.prefix)}
        own = Features(lengths, **parts) if parts else Features.none(features.images, features.device)
        state: State = self.decoder.start(own)
        return state

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The log-probabilities of the ensemble's words, and the next state."""
        logits, state = self.decoder.step(tokens if self.words is None else self.words[tokens], state)
        log_probs = logits.log_softmax(-1, dtype=torch.float32)
        return log_probs if self.words is None else log_probs.index_select(-1, self.words), state

    def weights(self, state: State) -> Tensor | None:
        """``(B, S, L)``, the member's attention weights in the ensemble's layout, float32; None without attention."""
        if not self.attends:
            return None
        weights = state.sequence["attention"].float()
        return weights if self.resampled is None else weights @ self.resampled


def _log_shares(weights: Sequence[float] | None, members: int) -> list[float]:
    """The logarithms of the members' shares in the mean, whose sum is 1."""
    weights = [1.0] * members if weights is None else list(weights)
    if len(weights) != members or not all(0 <= each < math.inf for each in weights) or not sum(weights) > 0:
        given = " ".join(f"{each:g}" for each in weights)
        raise CaptioningError(
            f"The weights {given} are not one for each of {members} captioners, of 0 or more and one above 0."
        )
    return [math.log(each / sum(weights)) if each else -math.inf for each in weights]


def _device(decoder: Any) -> torch.device:
    """The device of a decoder; the CPU for a decoder without weights."""
    return next((part.device for part in decoder.parameters()), torch.device("cpu"))


@torch.no_grad()
def _probe(member: Member) -> str | None:
    """The part of the features that a decoder attends to; None if its state has no attention."""
    decoder, device = member.decoder.eval(), _device(member.decoder)
    parts = {part: torch.zeros(1, *member.spec.stored(part), device=device) for part in decoder.reads}
    lengths = {part: torch.tensor([member.spec.regions(part)]) for part in decoder.reads if part in member.spec.varying}
    features = Features(lengths, **parts).to(device) if parts else Features.none(1, device)
    _, state = decoder.step(torch.tensor([[START]], device=device), decoder.start(features))
    weights: Tensor | None = state.sequence.get("attention")
    return None if weights is None else attended_part(decoder.reads, features, weights.shape[-1])


def _place(member: Member, part: str) -> tuple[str, FeatureSpec, str, ImageTransform]:
    return member.prefix, member.spec, part, member.transform


def _numbers(first: Member, member: Member) -> Tensor | None:
    """A member's numbers ``(V,)`` of the first member's words; None for equal numbers.

    Raises:
        CaptioningError: the words differ; the message names some of them.
    """
    if first.vocabulary.words == member.vocabulary.words:
        return None
    ours, theirs = set(first.vocabulary.words), set(member.vocabulary.words)
    if ours != theirs:
        odds = (ours - theirs, first.name), (theirs - ours, member.name)
        only = "; ".join(f"{_some(odd)} only in {name}" for odd, name in odds if odd)
        raise CaptioningError(
            f"{member.name}: its vocabulary holds other words than that of {first.name} ({only}). Make an ensemble of "
            "captioners that were trained on the same captions with the same data.minimum_count."
        )
    return torch.tensor([member.vocabulary.numbers[word] for word in first.vocabulary.words])


def _some(words: Collection[str]) -> str:
    """The first five words, for an error's message."""
    return ", ".join(printable(word) for word in sorted(words)[:5]) + ", …" * (len(words) > 5)


def _joined(states: Sequence[State]) -> State:
    """The members' states as one."""
    return State(
        {f"{number}.{name}": part for number, state in enumerate(states) for name, part in state.image.items()},
        {f"{number}.{name}": part for number, state in enumerate(states) for name, part in state.sequence.items()},
    )


def _of_member(state: State, number: int) -> State:
    """One member's state."""
    prefix = f"{number}."
    return State(
        {name.removeprefix(prefix): part for name, part in state.image.items() if name.startswith(prefix)},
        {name.removeprefix(prefix): part for name, part in state.sequence.items() if name.startswith(prefix)},
    )
