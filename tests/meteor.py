"""METEOR beside the Java original, value by value: people's captions, a model's, and nasty texts.

By hand, in some minutes; needs Java, ``captioning[java]`` and, for all parts but the last, the folder of real data::

    python tests/meteor.py
    python tests/meteor.py --only nasty --seed 1

Both are given the same captions. Each part's row has the number of captions, how many of them differ by more than
``TOLERANCE``, the largest difference, that of the corpus's value, and the seconds of both. Captions that differ are
listed, and make the exit status 1.
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from pycocoevalcap.meteor.meteor import Meteor as Original

from captioning.coco_caption import Meteor, PTBTokenizer

CAPTIONS = Path(__file__).resolve().parents[2] / "shared" / "coco_mini" / "captions_val2017.json"
TOLERANCE = 1e-6
NASTY = 17_100
WORSE = (
    "u.s. u.s e.g. st. mr. vs. no. fig. etc. 1,000 5'6 5's 's '' ` .. ... .... - -- --- a-b -a o'neil o'clock t-shirt "
    "1/2 ½ é É ß ﬁ İ ı 日本 한국 😀 :) :-( $5 € & &amp; # , ; ! ? % ( ) [ ] { } <b> -lrb- -rrb- | || * _ a_b a@b.com "
    "http://x.org/a 5 10 k5 is Is IS a A the dog dogs dog's dogs' DOG running ran runner mice mouse sat seated sitting"
)
BLANKS = (" ", " ", " ", "  ", "\xa0", "\u3000", "\t")

Images = list[tuple[str, list[str]]]  # a caption and its references, each as tokens joined by blanks


def people() -> list[list[str]]:
    """The tokens of val2017's captions, by image."""
    captions = defaultdict(list)
    for each in json.loads(CAPTIONS.read_text(encoding="utf-8"))["annotations"]:
        captions[each["image_id"]].append(each)
    return [*PTBTokenizer().tokenize(captions).values()]


def first_against_the_rest(draw: random.Random) -> Images:
    """Each image's first caption against its others."""
    return [(first, rest) for first, *rest in people()]


def first_against_each(draw: random.Random) -> Images:
    """Each image's first caption against each of its others alone."""
    return [(first, [other]) for first, *rest in people() for other in rest]


def model(draw: random.Random) -> Images:
    """What a model of three words says, which repeats itself and stops early, against five references."""
    captions, following = people(), defaultdict(list)
    for caption in (caption for image in captions for caption in image):
        words = ["", "", *caption.split(), ""]
        for place in range(len(words) - 2):
            following[words[place], words[place + 1]].append(words[place + 2])

    def sentence() -> str:
        words = ["", ""]
        while len(words) < 22 and (word := draw.choice(following[words[-2], words[-1]])):
            words.append(word)
        return " ".join(words[2:])

    return [(sentence(), image[:5]) for image in captions]


def nasty(draw: random.Random) -> Images:
    """Texts of odd words, words of any characters, and blanks of all kinds, against texts that share words."""
    worse = WORSE.split()
    # Line separators are left out: the original reads a line for each caption.
    characters = [chr(code) for code in range(33, 0x2FFF) if chr(code).isprintable()] + ["😀", "日", "本"]

    def word() -> str:
        if draw.random() < 0.8:
            return draw.choice(worse)
        some = "".join(map(chr, range(33, 127))) if draw.random() < 0.7 else characters
        return "".join(draw.choices(some, k=draw.randint(1, 6)))

    def pair() -> tuple[str, list[str]]:
        words = [word() for _ in range(draw.randint(0, 15))]
        others = [draw.choice(words) if words and draw.random() < 0.6 else word() for _ in range(draw.randint(1, 15))]
        return draw.choice(BLANKS).join(words), [draw.choice(BLANKS).join(others)]

    return [pair() for _ in range(NASTY)]


PARTS: dict[str, Callable[[random.Random], Images]] = {
    "rest": first_against_the_rest,
    "each": first_against_each,
    "model": model,
    "nasty": nasty,
}


def compare(name: str, images: Images) -> int:
    """Print a part's row and the captions that differ; their number, with 1 more if the corpus's value differs."""
    given = {number: references for number, (_, references) in enumerate(images)}
    said = {number: [caption] for number, (caption, _) in enumerate(images)}
    seconds, values = [], []
    scorers: Sequence[Callable[[], Original | Meteor]] = (Original, Meteor)
    for scorer in scorers:
        begin = time.perf_counter()
        values.append(scorer().compute_score(given, said))
        seconds.append(time.perf_counter() - begin)
    (of_corpus, of_each), (corpus, each) = values
    differences = [abs(ours - theirs) for ours, theirs in zip(each, of_each, strict=True)]
    wrong = [number for number, difference in enumerate(differences) if not difference <= TOLERANCE]
    print(
        f"{name}: {len(images)} captions, {len(wrong)} differ, by {max(differences):.1e} at most; corpus {corpus:.6f}, "
        f"by {abs(corpus - of_corpus):.1e}; the original {seconds[0]:.1f} s, ours {seconds[1]:.1f} s",
        flush=True,
    )
    for number in wrong:
        print(f"  {images[number]!a}: the original {of_each[number]}, ours {each[number]}")
    return len(wrong) + (not abs(corpus - of_corpus) <= TOLERANCE)


def main(argv: list[str] | None = None) -> int:
    """Compare the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one part (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the model's captions and of the nasty texts")
    args = parser.parse_args(argv)
    names = [args.only] if args.only else [*PARTS]
    return int(sum(compare(name, PARTS[name](random.Random(args.seed))) for name in names) > 0)


if __name__ == "__main__":
    sys.exit(main())
