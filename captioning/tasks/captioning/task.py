"""The task of captioning."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import torch

from captioning.core.build import build, without_foreign
from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.core.vocabulary import Vocabulary
from captioning.data import CaptionedPhotos
from captioning.data.captions import build_vocabulary
from captioning.metrics import Cider, References, Scorer, installed_metrics, measures_of
from captioning.metrics.constant import constant, say_constant
from captioning.metrics.diversity import SHARES, shares
from captioning.metrics.signature import signature
from captioning.predict.captioner import Averaged, Captioner
from captioning.runs.checkpoint import SIGNATURE, Checkpoint, contents_of
from captioning.runs.parts import make_decoder, make_search
from captioning.runs.settings import tokenizer_of
from captioning.search import Search
from captioning.search.search import say_empty
from captioning.speed import make_convolutions_fast, make_fast
from captioning.tasks.captioning.evaluation import caption_split, details_of, play_pointing, write_captions
from captioning.tasks.captioning.module import CaptioningModule
from captioning.tasks.inputs import inputs_of_photographs
from captioning.tasks.photographs import initial_encoder, make_data, read_photos
from captioning.tasks.task import Evaluation, Prepared, Task, with_hint
from captioning.text.registry import Tokenizer, find_scoring_tokenizer, find_tokenizer, say_blanks, told
from captioning.training.objectives import Objective
from captioning.training.settings import training_settings

log = logging.getLogger(__name__)

SMALL = 100  # photographs whose captions show how a language is written


class CaptioningTask(Task):
    """Captioning: from a photograph, or a clip, to a sentence."""

    weighted = True
    takes_word_vectors = True

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the vocabulary and of training captions (``data.tokenizer``).

        Raises:
            CaptioningError: there is no tokenizer of this name.
        """
        return find_tokenizer(tokenizer_of(self.config))

    @cached_property
    def scoring_tokenizer(self) -> Tokenizer:
        """The tokenizer of scores, which has coco-caption's brackets and faults where ``tokenizer`` has not."""
        return find_scoring_tokenizer(tokenizer_of(self.config))

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The measures of the metrics, the negative log-likelihood of a word, and the shares of an evaluation."""
        nll = Measure("nll", higher_is_better=False)  # under teacher forcing
        return {**measures_of(self.metrics), nll.name: nll, **{share.name: share for share in SHARES}}

    def read_source(self) -> CaptionedPhotos:
        """Captioned photographs."""
        try:
            return read_photos(self.config)
        except CaptioningError as error:
            raise with_hint(error, "task=captioning captions images; a text (data=text) needs task=language") from error

    def inputs(self, source: CaptionedPhotos) -> dict[str, str]:
        """Digests of photographs, captions and splits, and of files named in settings."""
        return inputs_of_photographs(self.config, source)

    def has(self, source: CaptionedPhotos, split: str) -> bool:
        """True if a split has photographs."""
        return bool(source.splits.get(split))

    def prepare(
        self, source: CaptionedPhotos, folder: Path, device: torch.device, initial: Checkpoint | None = None
    ) -> Prepared:
        """An untrained captioner and its data; the features of a frozen encoder are stored here."""
        config = self.config
        vocabulary = self._vocabulary(source, initial)
        encoder, search = initial_encoder(config, initial), make_search(config)
        search.require_encoder(encoder.fingerprint)
        decoder = make_decoder(config, vocabulary, encoder.spec)
        encoder.keep(decoder.reads)
        if encoder.trainable:
            make_convolutions_fast(encoder)
        if config["word_vectors"]:
            found = decoder.load_vectors(config["word_vectors"], vocabulary.words)
            log.info("%s: vectors of %d of the %d words.", config["word_vectors"], found, len(vocabulary))
        objective = make_fast(build(without_foreign(config["objective"]), Objective))
        objective.tokenizer = self.tokenizer
        objective.begin(vocabulary, [photo.captions for photo in source["train"]])
        self._tell_constant([photo.captions for photo in source["val"]])
        module = CaptioningModule(
            encoder,
            decoder,
            vocabulary,
            search,
            objective,
            score=self.scorer(source, "val"),
            encoder_lr=config["encoder_lr"],
            **training_settings(config),
        )
        data = make_data(config, source, vocabulary, encoder, decoder.reads, device)
        size = f"{len(source['train'])} photographs, {len(vocabulary)} words"
        size += "".join(f", {key} {name}" for key, name in told(tokenizer_of(config)).items())
        signature = {SIGNATURE: objective.signature} if objective.signature else {}
        return Prepared(module, data, {**contents_of(vocabulary), **signature}, size)

    def _vocabulary(self, source: CaptionedPhotos, initial: Checkpoint | None) -> Vocabulary:
        """The vocabulary of the training split, or of the checkpoint with the initial weights.

        Raises:
            CaptioningError: no word is left, or the words of the checkpoint are those of another tokenizer.
        """
        tokenizer = self.tokenizer
        some = [caption for photo in source["train"][:SMALL] for caption in photo.captions]
        if said := say_blanks(tokenizer, some):
            log.warning("%s", said)
        if initial is None:
            return build_vocabulary(source["train"], self.config["data"]["minimum_count"], tokenizer)
        words, before = initial.words, tokenizer_of(initial.config)
        if find_tokenizer(before) is not tokenizer:
            raise CaptioningError(
                f"{initial.path}: its words are those of data.tokenizer={before}, and here data.tokenizer="
                f"{tokenizer_of(self.config)}. Set data.tokenizer={before}, or begin without init_from."
            )
        return words

    def _tell_constant(self, references: Sequence[Sequence[str]]) -> None:
        """Say if the monitored score of a small validation split is the same of right and of empty captions."""
        name, count = self.config["monitor"], len(references)
        metrics = [metric for metric in self.metrics if name in measures_of([metric])]
        found = constant(metrics, References(references, self.scoring_tokenizer))
        if name not in found:
            return
        best = found[name]
        log.warning(
            "val/%s is %g whatever is said of the %s, so that the validation loss chooses the checkpoint, and patience "
            "has no effect. Take more validation photographs, or set monitor=nll.",
            *(name, best, "one validation photograph" if count == 1 else f"{count} validation photographs"),
        )

    def scorer(self, source: CaptionedPhotos, split: str) -> Callable[[Sequence[str]], Mapping[str, float]]:
        """A scorer of one caption per photograph of a split, in the split's order; references are counted once."""
        references = References([photo.captions for photo in source[split]], self.scoring_tokenizer)
        scorer = Scorer(self.metrics, references)
        return lambda captions: scorer.score(captions).corpus()

    def evaluate(
        self,
        checkpoint: Path,
        split: str,
        *,
        out: Path,
        device: str,
        source: CaptionedPhotos | None = None,
        trust: Collection[str] = (),
        search: Search | None = None,
    ) -> Evaluation:
        """Caption a split and score the captions, with the shares of ``captioning.metrics.diversity``.

        Writes ``captions_SPLIT.json`` (COCO's results format), ``references_SPLIT.json`` (COCO's annotations format,
        for ``captioning score``) and ``captions_SPLIT.png``, a contact sheet.
        """
        return self._evaluate(Captioner.load(checkpoint, device, trust), split, out, source, search)

    def evaluate_ensemble(
        self,
        checkpoints: Sequence[Path],
        split: str,
        *,
        average: str,
        out: Path,
        device: str,
        source: CaptionedPhotos | None = None,
        trust: Collection[str] = (),
        search: Search | None = None,
        weights: Sequence[float] | None = None,
    ) -> Evaluation:
        """The same for several captioners as one, see ``Captioner.combine``; equal encoders share stored features."""
        together = Captioner.load(checkpoints, device, trust, cast(Averaged, average), weights)
        return self._evaluate(together, split, out, source, search)

    def _evaluate(
        self, captioner: Captioner, split: str, out: Path, source: CaptionedPhotos | None, search: Search | None
    ) -> Evaluation:
        photos = self.source_of(split, source)
        members = photos[split]
        torch.manual_seed(self.config["seed"])  # the seed of a random search without its own seed
        search = search or make_search(self.config)
        captions = list(caption_split(captioner, self.config, photos, split, search))
        texts = [caption.text for caption in captions]
        training = [caption for photo in photos.splits.get("train", ()) for caption in photo.captions]
        references = References([photo.captions for photo in members], self.scoring_tokenizer)
        installed = installed_metrics(self.tokenizer, beside=self.metrics)
        scores = Scorer([*self.metrics, *installed], references).score(texts).corpus()
        scores |= shares(texts, training or None, self.tokenizer)
        pointing = play_pointing(members, captions, captioner.encoder.transform)
        write_captions(out, split, members, texts)
        tokenizer = told(tokenizer_of(self.config))
        details = {**details_of(search, pointing, len(members)), **tokenizer}
        fixed_frequencies = any(isinstance(each, Cider) and each.frequencies is not None for each in self.metrics)
        details["score_signature"] = signature(
            references, tokenizer_of(self.config), of=len(members), frequencies=fixed_frequencies
        )
        if empty := sum(not text for text in texts):
            log.warning("%s", say_empty(empty, len(texts)))
        fixed = constant(self.metrics, references)
        if fixed:
            details["constant"] = list(fixed)
        lines = [f"{key}: {name} (these scores do not compare with coco-caption's)" for key, name in tokenizer.items()]
        lines += filter(None, [say_constant(fixed, len(members))])
        return Evaluation(
            scores, details, [*lines, *([str(pointing)] if pointing else [])], measures=measures_of(installed)
        )
