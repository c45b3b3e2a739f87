"""Broken and hostile inputs of every kind that the package reads, drawn by hypothesis from a fixed seed.

``make test`` takes a few of each kind (tests/test_fuzz.py); any number by hand::

    python tests/fuzz.py --seconds 3600

prints for each kind the inputs, those that were read, those refused by a sentence, and the failures: what is neither.
An input is a valid file with mutated bytes, or a valid JSON value in which some values are replaced.
"""

import argparse
import codecs
import csv
import gzip
import io
import itertools
import json
import logging
import random
import resource
import sys
import tarfile
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from captioning.bulk.journal import Journal
from captioning.bulk.sources import items_of, shards_of
from captioning.core.archives import verify_archive
from captioning.core.clips import FrameChoice, read_frames
from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES
from captioning.core.images import ImageTransform, read_image
from captioning.core.questions import AnswerSet, QuestionVocabulary
from captioning.core.sentences import SourceVocabulary
from captioning.core.texts import read_text
from captioning.core.vocabulary import SPECIAL, CharacterVocabulary, Vocabulary
from captioning.data import read_flickr8k, read_karpathy, read_own
from captioning.data.coco import load_captions
from captioning.data.coco_qa import read_coco_qa
from captioning.data.daquar import read_daquar
from captioning.data.download import fetch, unzip
from captioning.data.movie_reviews import read_movie_reviews
from captioning.data.msr_vtt import read_msr_vtt
from captioning.data.msvd import read_msvd
from captioning.data.own_questions import read_own_questions
from captioning.data.parallel import read_own_translation
from captioning.data.vqa import read_vqa
from captioning.decoders.embeddings import load_glove
from captioning.jobs import score
from captioning.jobs.config import compose
from captioning.jobs.serve import listen
from captioning.metrics.results import read_references, read_results, read_sets
from captioning.predict.answerer import Answerer
from captioning.predict.captioner import Captioner
from captioning.predict.pictures import read_picture
from captioning.predict.translator import Translator
from captioning.predict.writer import Writer
from captioning.runs import parts
from captioning.runs.checkpoint import contents_of, own_part, read_checkpoint
from captioning.runs.metrics_file import read_metrics
from captioning.runs.places import WEIGHTS
from captioning.text.reversible import join_words, split_words
from captioning.text.tokenizer import tokenize
from captioning.text.words import tokenize_words

SLOW = 10.0  # seconds that no small input may take
MEMORY = 3_000_000  # kB that reading small inputs may add to the process
SEED = 20
ODD = [None, True, -1, 0, 1e308, 10**30, "", " ", "a" * 3000, "é", "\u202e", "../x", [], {}, [[]], {"a": 1}, "1", "\0"]
INSERTED = [b"\xff", b"\xef\xbb\xbf", b'"', b"[" * 2000, b"9" * 5000, b"\r", b"\\ud800"]
PICTURES = ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm", "tga", "ico")


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Content with some bytes flipped, removed, doubled, zeroed or cut, or as it is."""
    data = bytearray(content)
    for _ in range(rng.randint(0, 4)):
        if not data:
            break
        place, size = rng.randrange(len(data)), min(rng.choice([1, 4, 64, 4096]), len(data))
        what = rng.randrange(7)
        if what == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[place : place + size] = rng.randbytes(size)
        elif what == 2:
            del data[place : place + size]
        elif what == 3:
            data[place:place] = data[place : place + size]
        elif what == 4:
            data[place : place + size] = bytes(len(data[place : place + size]))
        elif what == 5:
            del data[place:]
        else:
            data[place:place] = rng.choice(
                [b"\xff", b"\xef\xbb\xbf", b'"', b"[" * 2000, b"9" * 5000, b"\r", b"\\ud800"]
            )
    return bytes(data)


def replaced(value: Any, rng: random.Random) -> Any:
    """A JSON value in which one part, at any depth, is another value or missing."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(list(keys))
        copy = dict(value) if isinstance(value, dict) else list(value)
        if rng.random() < 0.2:
            del copy[key]
        else:
            copy[key] = replaced(value[key], rng)
        return copy
    return rng.choice(ODD)


def broken(value: Any, rng: random.Random) -> bytes:
    """A JSON file of a value that is replaced in part, or with mutated bytes."""
    return json.dumps(replaced(value, rng)).encode() if rng.random() < 0.6 else mutated(json.dumps(value).encode(), rng)


COCO = {
    "images": [{"id": number, "file_name": f"{number}.png"} for number in range(3)],
    "annotations": [{"id": number, "image_id": number % 3, "caption": f"a dog {number}"} for number in range(6)],
}
KARPATHY = {
    "dataset": "d",
    "images": [
        {
            "filename": f"{number}.png",
            "split": split,
            "cocoid": number,
            "sentences": [{"raw": "a dog", "tokens": ["a"]}],
        }
        for number, split in enumerate(["train", "val", "test"])
    ],
}
RESULTS = [{"image_id": number, "caption": f"a dog {number}"} for number in range(4)]
QUESTIONS = [
    {"image": f"{number % 3}.png", "question": f"what is {number}?", "answer": "dog", "kind": "object", "split": split}
    for number, split in enumerate(["train", "val", "test"] * 2)
]
VQA = {
    "questions": [{"question_id": number, "image_id": number // 2, "question": "is it?"} for number in range(6)],
    "annotations": [
        {"question_id": number, "answer_type": "yes/no", "answers": [{"answer": "yes"}] * 3} for number in range(6)
    ],
}
MSR_VTT = {
    "videos": [{"video_id": str(number), "split": split} for number, split in enumerate(["train", "validate", "test"])],
    "sentences": [{"video_id": str(number % 3), "caption": "a dog"} for number in range(6)],
}
ANSWERS = [
    {"question_id": number, "question": "what?", "kind": "object", "answer": "dog", "answers": ["dog", "cat"]}
    for number in range(4)
]


class Kinds:
    """The kinds of inputs: each a function that reads one, drawn with a random generator."""

    def __init__(self, folder: Path) -> None:
        """Write valid files; pictures lie beside all tables."""
        self.folder = folder
        for number in range(3):
            Image.new("RGB", (8, 8), (number, 9, 9)).save(folder / f"{number}.png")
        pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        self.pictures = {}
        for kind in PICTURES:
            written = io.BytesIO()
            Image.fromarray(pixels).save(written, kind)
            self.pictures[kind] = written.getvalue()
        self.good = (folder / "0.png").read_bytes()
        self.checkpoint = self._checkpoint()
        zipped = io.BytesIO()
        with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(3):
                archive.writestr(f"folder/{number}.png", self.pictures["png"])
        self.zip = zipped.getvalue()
        self.models = models()
        self.captioner = untrained([*TINY, "data.root=nowhere"])
        self.captioner.save_pretrained(folder / "published")
        self.published = {name: (folder / "published" / name).read_bytes() for name in ("config.json", WEIGHTS)}
        self.sources = sources(folder, self.pictures)
        self.clips = clips(folder)
        self.said = self.captioner(str(folder / "0.png"))
        self.address = serve(self.captioner)

    def _checkpoint(self) -> bytes:
        vocabulary = Vocabulary([*SPECIAL, "a", "dog"])
        config = compose(["data=own", "encoder=resnet18", "encoder.weights=null"])
        written = io.BytesIO()
        weights = {"decoder.embedding.weight": torch.randn(6, 8), "encoder.x": torch.randn(3000)}
        torch.save({"state_dict": weights, "captioning": own_part(config, contents_of(vocabulary))}, written)
        return written.getvalue()

    def picture(self, rng: random.Random) -> None:
        path = self._write(f"picture.{rng.choice(['jpg', 'png'])}", mutated(self.pictures[rng.choice(PICTURES)], rng))
        image = read_image(path)
        assert image.mode == "RGB" and image.width * image.height < 2**28
        assert read_image(self.folder / "0.png").size == (8, 8)  # the neighbour

    def table(self, rng: random.Random) -> None:
        rows = [[f"{number % 3}.png", f'a "dog" {number}', ["train", "val", "test"][number % 3]] for number in range(6)]
        if rng.random() < 0.5:
            text = io.StringIO()
            csv.writer(text).writerows([["image", "caption", "split"], *rows])
            path = self._write("own.csv", mutated(text.getvalue().encode(), rng))
        else:
            lines = [dict(zip(("image", "caption", "split"), row, strict=True)) for row in rows]
            line = rng.randrange(6)
            lines[line] = replaced(lines[line], rng)
            content = "\n".join(map(json.dumps, lines)).encode()
            path = self._write("own.jsonl", content if rng.random() < 0.5 else mutated(content, rng))
        found = read_own(path)
        assert sum(len(photo.captions) for photo in found) <= 12

    def flickr8k(self, rng: random.Random) -> None:
        (self.folder / "images").mkdir(exist_ok=True)
        for number in range(3):
            (self.folder / "images" / f"{number}.png").write_bytes(self.pictures["png"])
        files = {"Flickr8k.token.txt": "".join(f"{number % 3}.png#{number // 3}\ta dog\n" for number in range(6))}
        for number, split in enumerate(("train", "dev", "test")):
            files[f"Flickr_8k.{split}Images.txt"] = f"{number}.png\n"
        broken = rng.choice(list(files))
        for name, text in files.items():
            self._write(name, mutated(text.encode(), rng) if name == broken else text.encode())
        read_flickr8k(self.folder)

    def annotations(self, rng: random.Random) -> None:
        path = self._write("coco.json", broken(COCO, rng))
        with suppress(CaptioningError):
            load_captions(path)
        assert len(read_references(path)) >= 1

    def karpathy(self, rng: random.Random) -> None:
        content = json.dumps(replaced(KARPATHY, rng)).encode()
        good = rng.random() < 0.6
        read_karpathy(
            self._write("k.json", content if good else mutated(json.dumps(KARPATHY).encode(), rng)), self.folder
        )

    def results(self, rng: random.Random) -> None:
        whole = [
            {"image_id": number, "caption": rng.choice(["", "ä", "☃" * 9, "a\nb"])}
            for number in range(rng.randint(1, 9))
        ]
        assert len(read_results(self._write("whole.json", json.dumps(whole).encode()))) == len(whole)
        content = json.dumps(replaced(RESULTS, rng)).encode()
        read_results(
            self._write("r.json", content if rng.random() < 0.6 else mutated(json.dumps(RESULTS).encode(), rng))
        )

    def vectors(self, rng: random.Random) -> None:
        text = "2 3\n" * rng.randrange(2) + "dog 1 2 3\ncat 4 5 6\n"
        _, vectors = load_glove(self._write("v.txt", mutated(text.encode(), rng)), ["dog", "cat"], 3)
        assert vectors.shape[1] == 3

    def measurements(self, rng: random.Random) -> None:
        text = "step,epoch,train/loss,val/CIDEr\n0,0,9.5,\n1,0,8.5,0.25\n2,1,7.5,\n"
        read_metrics(self._write("metrics.csv", mutated(text.encode(), rng)))

    def checkpoints(self, rng: random.Random) -> None:
        path = self._write("x.ckpt", mutated(self.checkpoint, rng))
        found = read_checkpoint(path)
        verify_archive(path)
        whole = torch.load(io.BytesIO(self.checkpoint), weights_only=True)["state_dict"]
        assert all(torch.equal(found.weights[name], tensor) for name, tensor in whole.items()), "other weights, unseen"

    def archives(self, rng: random.Random) -> None:
        root = Path(tempfile.mkdtemp(dir=self.folder))
        path = self._write(f"{root.name}/a.zip", mutated(self.zip, rng))
        unzip(path, root, ("folder",))
        found = {file.read_bytes() for file in (root / "folder").iterdir()}
        assert found == {self.pictures["png"]}, "other content, unseen"

    def compressed(self, rng: random.Random) -> None:
        read_text(self._write("t.txt.gz", mutated(gzip.compress(b"a dog runs\n" * rng.randint(1, 999)), rng)))

    def questions(self, rng: random.Random) -> None:
        """Your own questions, as a table or as JSON lines."""
        if rng.random() < 0.5:
            text = io.StringIO()
            writer = csv.DictWriter(text, list(QUESTIONS[0]))
            writer.writeheader()
            writer.writerows(QUESTIONS)
            path = self._write("questions.csv", mutated(text.getvalue().encode(), rng))
        else:
            path = self._write("questions.jsonl", self._lines(QUESTIONS, rng))
        found = read_own_questions(path)
        assert sum(map(len, found.splits.values())) <= 12

    def vqa(self, rng: random.Random) -> None:
        chosen = rng.choice(list(VQA))
        for key, entries in VQA.items():
            name = f"v2_OpenEnded_mscoco_t_{key}.json" if key == "questions" else f"v2_mscoco_t_{key}.json"
            content = {key: entries}
            self._write(name, broken(content, rng) if key == chosen else json.dumps(content).encode())
        found = read_vqa(self.folder, splits={"train": "t"}, validation=1)
        assert sum(map(len, found.splits.values())) <= 12

    def questions_of_others(self, rng: random.Random) -> None:
        """COCO-QA and DAQUAR as released."""
        if rng.random() < 0.5:
            root = self.folder / "coco_qa"
            texts = {"questions": "what is it\n", "answers": "dog\n", "img_ids": "7\n", "types": "0\n"}
            chosen = rng.choice(list(texts))
            for split, count in (("train", 6), ("test", 2)):
                for name, line in texts.items():
                    lines = "".join(line.replace("7", str(number)) for number in range(count)).encode()
                    self._write(f"coco_qa/{split}/{name}.txt", mutated(lines, rng) if name == chosen else lines)
            read_coco_qa(root)
            return
        for split in ("train", "test"):
            lines = "".join(f"what is on the table in the image{number} ?\ncup, plate\n" for number in range(5))
            self._write(f"qa.894.raw.{split}.txt", mutated(lines.encode(), rng))
        read_daquar(self.folder)

    def sentences(self, rng: random.Random) -> None:
        """Parallel text in files or a table, and film reviews."""
        form = rng.randrange(3)
        if form == 0:
            chosen = rng.choice(("train.en", "train.de", "val.en", "val.de"))
            for name in ("train.en", "train.de", "val.en", "val.de"):
                lines = b"A dog runs.\nTwo cats sit.\n"
                self._write(f"parallel/{name}", mutated(lines, rng) if name == chosen else lines)
            read_own_translation(self.folder / "parallel", "en", "de")
        elif form == 1:
            rows = [{"source": "A dog.", "target": "Ein Hund.", "split": split} for split in ("train", "val", "test")]
            read_own_translation(self._write("parallel.jsonl", self._lines(rows, rng)))
        else:
            for name in ("rt-polarity.pos", "rt-polarity.neg"):
                self._write(name, mutated(b"a fine film\na dull film\n" * 5, rng))
            read_movie_reviews(self.folder, rng.choice(("latin-1", "utf-8")))

    def videos(self, rng: random.Random) -> None:
        """MSR-VTT's and MSVD's captions; the clips lie beside them."""
        for number in range(3):
            self._write(f"videos/{number}.mp4", b"a clip")
        if rng.random() < 0.5:
            self._write("videos/all.json", broken(MSR_VTT, rng))
            read_msr_vtt(self.folder / "videos", ["all.json"], self.folder / "videos")
            return
        files = {"youtube_mapping.txt": "".join(f"{number} vid{number}\n" for number in range(3))}
        for number, split in enumerate(("train", "val", "test")):
            files[f"sents_{split}_lc_nopunc.txt"] = f"vid{number}\ta dog runs\n" * 2
        chosen = rng.choice(list(files))
        for name, text in files.items():
            self._write(f"videos/{name}", mutated(text.encode(), rng) if name == chosen else text.encode())
        read_msvd(self.folder / "videos", self.folder / "videos")

    def scored(self, rng: random.Random) -> None:
        """Files of answers, of sets of captions, and results in an archive of zip."""
        form = rng.randrange(3)
        with redirect_stdout(io.StringIO()):
            if form == 0:
                good = self._write("good.json", json.dumps(ANSWERS).encode())
                other = self._write("answers.json", broken(ANSWERS, rng))
                score.main([*rng.sample([str(good), str(other)], 2), "--resamples", "5"])
            elif form == 1:
                sets = [{"image_id": number, "captions": ["a dog", "a cat"]} for number in range(4)]
                read_sets(self._write("sets.json", broken(sets, rng)))
            else:
                zipped = io.BytesIO()
                with zipfile.ZipFile(zipped, "w", rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])) as archive:
                    archive.writestr("results.json", json.dumps(RESULTS))
                found = read_results(self._write("results.zip", mutated(zipped.getvalue(), rng)))
                assert list(found) == [0, 1, 2, 3] and found[3] == "a dog 3", "other content, unseen"

    def many(self, rng: random.Random) -> None:
        """Sources of many pictures: tar files, Parquet files, lists; and the journal of what has been captioned."""
        name = rng.choice(list(self.sources))
        path = self._write(name, mutated(self.sources[name], rng))
        if name.endswith(".jsonl"):
            with Journal(path) as journal:
                assert 0 <= journal.count <= 5
            return
        read, transform = 0, ImageTransform((8, 8))
        for item in items_of(shards_of([str(path)])):
            with suppress(CaptioningError):
                read += read_picture(item.picture, 0, transform).shape == (3, 8, 8)
        assert read <= max(10, path.read_bytes().count(b"\n") + 1)  # a list may name a picture again

    def clip(self, rng: random.Random) -> None:
        """Videos and animated pictures."""
        name = rng.choice(list(self.clips))
        frames = read_frames(self._write(f"mutated.{name}", mutated(self.clips[name], rng)), FrameChoice(4))
        assert 1 <= len(frames) <= 4 and all(frame.mode == "RGB" for frame in frames)

    def published_captioners(self, rng: random.Random) -> None:
        """A published captioner with damaged weights or another configuration: as it was, or refused."""
        chosen = rng.choice(list(self.published))
        for name, content in self.published.items():
            if name != chosen:
                self._write(f"published/{name}", content)
            elif name == WEIGHTS:
                self._write(f"published/{name}", mutated(content, rng))
            else:
                self._write(f"published/{name}", broken(json.loads(content), rng))
        found = Captioner.load(self.folder / "published", "cpu")
        if chosen == WEIGHTS:
            own = self.captioner.decoder.state_dict()
            theirs = found.decoder.state_dict()
            assert all(torch.equal(own[name], theirs[name]) for name in own), "other weights, unseen"
        found(str(self.folder / "0.png"))

    def checkpoints_of_others(self, rng: random.Random) -> None:
        """Whole checkpoints of every task whose settings, words or weights are others."""
        load, weights, config, contents, use = rng.choice(self.models)
        part = {**own_part(config, contents), "config": replaced(config, rng) if rng.random() < 0.6 else config}
        if rng.random() < 0.5:
            part = {**part, "contents": replaced(contents, rng)}
        if rng.random() < 0.2:
            part = replaced(part, rng)
        content = {"state_dict": replaced(weights, rng) if rng.random() < 0.1 else weights, "captioning": part}
        written = io.BytesIO()
        torch.save(content, written)
        use(load(self._write("other.ckpt", written.getvalue()), "cpu"))

    def captions(self, rng: random.Random) -> None:
        units = ["a", "é", "😀", "'", '"', "<", "(", "-", ".", "1,", " ", "http://", "x@", "\u200d", "中", "n't ", "$"]
        text = "".join(rng.choices(units, k=rng.randint(1, 300))) if rng.random() < 0.7 else rng.choice(units) * 1500
        for tokens in (tokenize(text), tokenize_words(text), split_words(text)):
            assert all(token and not token.isspace() for token in tokens)
        assert split_words(join_words(split_words(text))) == split_words(text)

    def download(self, rng: random.Random) -> None:
        content = self.pictures["bmp"]
        with serving(content, rng) as url:
            path = Path(tempfile.mkdtemp(dir=self.folder)) / "file"
            fetch(url, path, len(content) if rng.random() < 0.8 else None, attempts=2, pause=0)
            assert path.stat().st_size < 100 * len(content)  # a server that names no length may send anything

    def neighbours(self, rng: random.Random) -> None:
        """A broken picture between two good ones."""
        good, path = self.folder / "0.png", self.folder / "between.jpg"
        path.write_bytes(mutated(self.pictures[rng.choice(PICTURES)], rng))
        failed: list[tuple[int, CaptioningError]] = []
        found = self.captioner.caption([good, path, good], unusable=lambda *place: failed.append(place))
        said = [caption.text for caption in found]
        assert [said[0], said[-1]] == self.said * 2 and len(said) + len(failed) == 3
        if failed:
            assert failed[0][0] == 1
            raise failed[0][1]

    def served(self, rng: random.Random) -> None:
        """A broken picture, or a broken request, for the page's server on this machine."""
        if not self.address:
            return
        content = mutated(self.pictures[rng.choice(PICTURES)], rng)
        queries = ["", "?beam=3", "?beam=-1", "?beam=x", "?captioner=other", "?x=%ff", "?beam=9&beam=9", "?seed=1e9"]
        query = rng.choice(queries)
        kinds = ["application/octet-stream"] * 4 + ["text/plain", "multipart/form-data; boundary=x"]
        for body, path, kind in ((content, f"/caption{query}", rng.choice(kinds)), (self.good, "/caption", kinds[0])):
            connection = HTTPConnection(*self.address, timeout=6 * SLOW)  # its own: an idle one is closed after seconds
            connection.request("POST", path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            told = json.loads(answer.read())
            assert answer.status in (200, 400, 404, 413, 415), answer.status
            assert ("caption" in told) != ("error" in told) and "Traceback" not in str(told)
            if body is not self.good and "error" in told:
                refused = CaptioningError(told["error"])
            elif body is self.good:
                assert told["caption"] == self.said[0], "the next picture's answer is another"
            connection.close()
        if "refused" in locals():
            raise refused

    def counts(self, rng: random.Random) -> None:
        """Odd but whole tables of every form: as many photographs and captions as the file has."""
        texts = ["a dog", "ä", "☃" * 9, "a, b; c | d", "it's", "\u2028x", "two\x85lines", "-", "=1+1", "null", "1"]
        numbers = [number for number in range(3) for _ in range(rng.randint(1, 4))]
        rows = [(number, rng.choice(texts)) for number in numbers]
        splits = ("train", "val", "test")
        form = rng.choice(("csv", "jsonl", "karpathy", "flickr8k"))
        if form == "csv":
            text, ends = io.StringIO(newline=""), rng.choice(("\n", "\r\n"))
            writer = csv.writer(text, delimiter=rng.choice(",;\t"), lineterminator=ends)
            writer.writerows([["Image", " caption", "SPLIT"], *((f"{n}.png", said, splits[n]) for n, said in rows)])
            found = read_own(self._write("whole.csv", codecs.BOM_UTF8 * rng.randrange(2) + text.getvalue().encode()))
        elif form == "jsonl":
            lines = [{"image": f"./{n}.png", "caption": said, "split": splits[n].title()} for n, said in rows]
            written = "\n".join(json.dumps(line, ensure_ascii=rng.random() < 0.5) for line in lines)
            found = read_own(self._write("whole.jsonl", written.encode()))
        elif form == "karpathy":
            images = [
                {"filename": f"{n}.png", "split": splits[n], "sentences": [{"raw": said} for m, said in rows if m == n]}
                for n in range(3)
            ]
            whole = json.dumps({"dataset": "d", "images": images}).encode()
            found = read_karpathy(self._write("whole.json", whole), self.folder)
        else:
            (self.folder / "images").mkdir(exist_ok=True)
            for number, split in enumerate(("train", "dev", "test")):
                self._write(f"images/{number}.png", self.pictures["png"])
                self._write(f"Flickr_8k.{split}Images.txt", f"{number}.png\r\n".encode())
            self._write(
                "Flickr8k.token.txt", "".join(f"{n}.png#{i}\t{said}\n" for i, (n, said) in enumerate(rows)).encode()
            )
            found = read_flickr8k(self.folder)
        assert {
            split: [text for photo in photos for text in photo.captions] for split, photos in found.splits.items()
        } == {split: [said.strip() for n, said in rows if n == number] for number, split in enumerate(splits)}

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def _lines(self, rows: Sequence[dict[str, Any]], rng: random.Random) -> bytes:
        """JSON lines, one of which is replaced in part, or whose bytes are mutated."""
        lines: list[Any] = list(rows)
        place = rng.randrange(len(lines))
        lines[place] = replaced(lines[place], rng)
        content = "\n".join(map(json.dumps, lines)).encode()
        return content if rng.random() < 0.5 else mutated(content, rng)


TINY = [
    *("data=own", "encoder=resnet18", "encoder.weights=null", "encoder.last_stage=layer1", "encoder.image_size=32"),
    *("decoder.embedding_size=8", "decoder.hidden_size=8", "search=greedy", "search.max_length=6"),
]


def untrained(line: list[str]) -> Captioner:
    """A captioner that says something else of each picture."""
    config, vocabulary = compose(line), Vocabulary([*SPECIAL, "a", "dog", "cat", "runs", "sits"])
    torch.manual_seed(0)
    encoder = parts.make_encoder(config)
    return Captioner(encoder, parts.make_decoder(config, vocabulary, encoder.spec), vocabulary, config)


Model = tuple[Callable[..., Any], dict[str, torch.Tensor], dict[str, Any], dict[str, Any], Callable[[Any], object]]


def models() -> list[Model]:
    """An untrained model of each task: how it is loaded, its weights, configuration and contents, and a use of it."""
    torch.manual_seed(0)
    words, made = ["a", "dog", "cat", "runs", "sits"], list[Model]()
    plain = untrained([*TINY, "data.root=nowhere"])
    picture = Image.new("RGB", (8, 8), "red")
    weights = torch.nn.ModuleDict({"encoder": plain.encoder, "decoder": plain.decoder}).state_dict()
    made.append((Captioner.load, weights, dict(plain.config), contents_of(plain.vocabulary), lambda one: one(picture)))

    of_answers = ("task=answering", "data=own_questions", "data.root=nowhere", "encoder=none", "answerer=lstm")
    config = compose([*of_answers, "answerer.embedding_size=8", "answerer.hidden_size=8"])
    asked, answers = QuestionVocabulary([*SPECIAL, *words]), AnswerSet(["one", "two"])
    model = parts.make_answerer(config, asked, answers, NO_FEATURES)
    contents: dict[str, Any] = {"questions": list(asked.words), "answers": answers.words}
    weights = torch.nn.ModuleDict({"answerer": model}).state_dict()
    made.append((Answerer.load, weights, config, contents, lambda one: one(None, "a dog?")))

    of_text = ("task=translation", "data=own_translation", "data.root=nowhere", "encoder=sentence")
    small = ("encoder.embedding_size=8", "encoder.hidden_size=8", "decoder.embedding_size=8", "decoder.hidden_size=8")
    config = compose([*of_text, *small, "decoder=show_attend_tell", "decoder.attention_size=8", "search=greedy"])
    sources, targets = SourceVocabulary([*SPECIAL, *words]), Vocabulary([*SPECIAL, *words])
    encoder = parts.make_sentence_encoder(config, sources)
    decoder = parts.make_decoder(config, targets, encoder.spec)
    contents = {"sources": list(sources.words), "targets": list(targets.words)}
    contents["segmenters"] = [{"lower": True, "subwords": None}] * 2
    weights = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder}).state_dict()
    made.append((Translator.load, weights, config, contents, lambda one: one("a dog runs")))

    config = compose(["experiment=char_rnn", "decoder.embedding_size=8", "decoder.hidden_size=8", "decoder.depth=1"])
    characters = CharacterVocabulary(list("\nadog"))
    language = parts.make_decoder(config, characters, NO_FEATURES)
    weights = torch.nn.ModuleDict({"decoder": language}).state_dict()
    made.append((Writer.load, weights, config, contents_of(characters), lambda one: one.write("a", 5)))
    return made


def sources(folder: Path, pictures: dict[str, bytes]) -> dict[str, bytes]:
    """Valid sources of many pictures, by the name of the file."""
    found = {"list.txt": "".join(f"{number}.png\n" for number in range(3)).encode()}
    for name, mode in (("many.tar", "w"), ("many.tar.gz", "w:gz")):
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode=mode) as tar:  # type: ignore[call-overload]
            for kind, content in list(pictures.items())[:3]:
                member = tarfile.TarInfo(f"{'long/' * 30}picture.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        found[name] = written.getvalue()
    with suppress(ImportError):
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table({"image": [pictures["png"], pictures["gif"], None], "number": [1, 2, 3]})
        parquet.write_table(table, folder / "many.parquet")
        found["many.parquet"] = (folder / "many.parquet").read_bytes()
    rows = [{"image": f"{number}.png", "caption": "a dog", "score": -1.5} for number in range(3)]
    found["journal.jsonl"] = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    return found


def clips(folder: Path) -> dict[str, bytes]:
    """Valid clips of five frames, by the ending of the file."""
    rng, found = np.random.default_rng(1), dict[str, bytes]()
    frames = [Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)) for _ in range(5)]
    for ending in ("gif", "png", "webp"):
        frames[0].save(folder / f"clip.{ending}", save_all=True, append_images=frames[1:])
        found[ending] = (folder / f"clip.{ending}").read_bytes()
    with suppress(ImportError):
        import av

        for ending, codec in (("mp4", "mpeg4"), ("mkv", "mpeg4"), ("avi", "mpeg4")):
            with av.open(str(folder / f"clip.{ending}"), "w") as container:
                stream = container.add_stream(codec, rate=10)
                stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
                for frame in frames:
                    container.mux(stream.encode(av.VideoFrame.from_image(frame)))
                container.mux(stream.encode())
            found[ending] = (folder / f"clip.{ending}").read_bytes()
    return found


def serve(captioner: Captioner) -> tuple[str, int] | None:
    """The host and port of the page's server, in a thread of this process; None without ``captioning[web]``."""
    try:
        import uvicorn

        from captioning.web.app import make_app
    except ImportError:
        return None
    listening = listen("127.0.0.1", 0)
    settings = uvicorn.Config(make_app({"one": captioner}), log_level="critical", access_log=False)
    server = uvicorn.Server(settings)
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return listening.getsockname()[:2]


KINDS = tuple(name for name, value in vars(Kinds).items() if callable(value) and not name.startswith("_"))


@contextmanager
def serving(content: bytes, rng: random.Random) -> Iterator[str]:
    """The address of a server of the content on this machine that does what servers do wrong."""
    lengths = [str(len(content)), "abc", "-5", "20", str(10**12), None]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(rng.choice([200, 200, 200, 206, 206, 416, 500, 404, 204]))
            if length := rng.choice(lengths):
                self.send_header("Content-Length", length)
            if rng.random() < 0.4:
                self.send_header(
                    "Content-Range", rng.choice(["bytes 0-9/10", "bytes x", f"bytes 0-/{len(content)}", ""])
                )
            self.end_headers()
            body = rng.choice([content, content[:999], b"<html>", content * 2, mutated(content, rng), b""])
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        threading.Thread(target=listener.serve_forever, args=(0.005,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/file"
        finally:
            listener.shutdown()


def attempt(kinds: Kinds, kind: str, number: int) -> str:
    """Try one input: "read", "refused", or raise whatever else happens."""
    began = time.process_time()
    try:
        getattr(kinds, kind)(random.Random(number))
        outcome = "read"
    except CaptioningError as error:
        assert len(str(error)) < 20_000 and str(error).strip()
        outcome = "refused"
    assert time.process_time() - began < SLOW, f"{time.process_time() - began:.0f} seconds"
    return outcome


def few(kinds: Kinds, kind: str, count: int) -> Counter[str]:
    """Try some inputs of a kind, drawn by hypothesis from a fixed seed; the first failure is raised."""
    counted: Counter[str] = Counter()

    @seed(SEED)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32 - 1))
    def one(number: int) -> None:
        counted[attempt(kinds, kind, number)] += 1

    one()
    return counted


def main(argv: list[str] | None = None) -> int:
    """Try inputs of every kind in turn, for a while, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kind", choices=KINDS, action="append")
    options = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    counted: dict[str, Counter[str]] = {kind: Counter() for kind in options.kind or KINDS}
    numbers = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        kinds, end = Kinds(Path(folder)), time.monotonic() + options.seconds
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with suppress(KeyboardInterrupt):  # which ends the tries, and not the counts
            for kind in itertools.cycle(counted):
                if time.monotonic() > end:
                    break
                number = numbers.randrange(2**32)
                try:
                    counted[kind][attempt(kinds, kind, number)] += 1
                except Exception:
                    counted[kind]["failures"] += 1
                    print(f"{kind} {number}:\n{traceback.format_exc()}", file=sys.stderr)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{'kind':14} {'inputs':>8} {'read':>8} {'refused':>8} {'failures':>8}")
    for kind, count in {**counted, "all": sum(counted.values(), Counter())}.items():
        print(f"{kind:14} {count.total():8} {count['read']:8} {count['refused']:8} {count['failures']:8}")
    print(f"memory: {grown / 1000:.0f} MB more at the most")
    return 1 if any(count["failures"] for count in counted.values()) or grown > MEMORY else 0


if __name__ == "__main__":
    sys.exit(main())
