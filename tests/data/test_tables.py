"""Tables as people, spreadsheets and Kaggle write them."""

import logging
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.data import read_flickr8k, read_karpathy, read_own
from captioning.data.tables import read_csv

ROWS = [(f"{n}.jpg", f"a picture of {n}", split) for n, split in enumerate(["train"] * 8 + ["val", "test"])]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, _, _ in ROWS:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def table(header: str, rows: list[tuple[str, ...]] = ROWS, delimiter: str = ",", end: str = "\n") -> str:
    return end.join([header, *(delimiter.join(row) for row in rows), ""])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", table("image,caption,split")),
        ("a.csv", table("\ufeffImage , CAPTION, Split ")),
        ("a.csv", table("image;caption;split", delimiter=";", end="\r\n")),
        ("a.tsv", table("image\tcaption\tsplit", delimiter="\t")),
        ("a.txt", table("file_name,comment,Set")),
        ("a.csv", table("image_name| comment| split", delimiter="| ")),
        ("a.csv", "\n" + table("image,caption,split") + ",,\n , ,\n\n"),
        ("a.csv", table("image,caption,split", [(name, text, f" {split.upper()} ") for name, text, split in ROWS])),
    ],
    ids=range(8),
)
def test_one_table_in_many_forms(photos: Path, name: str, text: str) -> None:
    (photos / name).write_text(text, encoding="utf-8", newline="")
    found = read_own(photos)
    assert [(photo.id, photo.captions[0], split) for split, all in found.splits.items() for photo in all] == ROWS


def test_what_is_not_used_is_said(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photos / "a.csv").write_text(table("image,caption,split,Author", [(*row, "me") for row in ROWS]))
    with caplog.at_level(logging.INFO):
        read_own(photos)
    assert "a.csv: not used of it: the columns 'author'." in caplog.text
    (photos / "a.csv").write_text(table("image,caption,Split,split", [(*row, "x") for row in ROWS]))
    with pytest.raises(CaptioningError, match=r"a\.csv: several columns are the split"):
        read_own(photos)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (['a.jpg,"open', "b.jpg,x", "c.jpg,y"], 2),
        (["a.jpg,x", 'b.jpg,"open', *["c.jpg,y"] * 50], 3),
        (["a.jpg,x", 'b.jpg,"open', "c.jpg,y", 'd.jpg,"closed"', "e.jpg,x"], 3),
        (["a.jpg,x", 'b.jpg,"swallows', 'c.jpg,y"', "d.jpg,x"], 3),
        (["a.jpg,x", 'b.jpg,"x" y'], 3),
    ],
)
def test_a_quote_that_is_not_closed_is_named_where_it_begins(tmp_path: Path, rows: list[str], line: int) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["image,caption", *rows]) + "\n")
    with pytest.raises(CaptioningError, match=rf"^{path}, line {line}: "):
        list(read_csv(path, ("image", "caption")))


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(st.lists(st.tuples(words, words), min_size=1))
def test_what_csv_writes_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    import csv

    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    expected = [row for row in rows if any(each.strip() for each in row)]
    assert [(row["image"], row["caption"]) for _, row in read_csv(path, ("image", "caption"))] == expected


@pytest.mark.parametrize("suffix", [".jpg", ".avif", ".jfif", ".HEIC", ""])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("closed", [5, 8])
def test_rows_within_a_quote_are_found_by_the_names_of_images(
    tmp_path: Path, suffix: str, last: bool, closed: int
) -> None:
    rows = [(f"{n}{suffix}", f"a picture of {n}") for n in range(10)]
    rows = [(caption, name) if last else (name, caption) for name, caption in rows]
    lines = [",".join(row) for row in rows]
    lines[4] = f'"{lines[4]}' if last else lines[4].replace(",", ',"')
    lines[closed] = lines[closed].replace(",", '",') if last else f'{lines[closed]}"'
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["caption,image" if last else "image,caption", *lines]), "utf-8")
    message = rf"line 6: a quote that begins here goes on over further rows, up to line {closed + 2}\. Close it"
    with pytest.raises(CaptioningError, match=message):
        list(read_csv(path, ("image", "caption")))


def test_a_caption_of_several_lines_is_no_row(tmp_path: Path) -> None:
    text = 'image,caption,split\n1.jpg,"a dog,\nrunning, happily\nin 2 parks",train\n2.jpg,"a cat\ne.g, two",train\n'
    (tmp_path / "a.csv").write_text(text, "utf-8")
    captions = [row["caption"] for _, row in read_csv(tmp_path / "a.csv", ("image", "caption"))]
    assert captions == ["a dog,\nrunning, happily\nin 2 parks", "a cat\ne.g, two"]


def test_kaggles_flickr8k(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "Images").mkdir()
    for name, _, _ in ROWS:
        Image.new("RGB", (4, 4)).save(tmp_path / "Images" / name)
    (tmp_path / "captions.txt").write_text(table("image,caption", [row[:2] for row in (*ROWS, *ROWS)]))
    found = read_flickr8k(tmp_path)
    assert {split: len(photos) for split, photos in found.splits.items()} == {"train": 8, "val": 1, "test": 1}
    assert "Flickr_8k.trainImages.txt" in caplog.text and "do not compare with published ones" in caplog.text
    for root in (tmp_path, tmp_path / "captions.txt"):
        assert sorted(photo.captions for photo in read_own(root)) == sorted(photo.captions for photo in found)
    (tmp_path / "Flickr_8k.testImages.txt").write_text("0.jpg\n")
    with pytest.raises(CaptioningError, match=r"there is no Flickr_8k\.trainImages\.txt"):
        read_flickr8k(tmp_path)


def test_kaggles_flickr30k(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures = tmp_path / "flickr30k_images" / "flickr30k_images"
    pictures.mkdir(parents=True)
    lines = ["image_name| comment_number| comment"]
    for name, text, _ in ROWS:
        Image.new("RGB", (4, 4)).save(pictures / name)
        lines += [f'{name}| {number}| Two "guys" , {text} .' for number in range(5)]
    lines[7] = lines[7].replace("| Two", "   Two")
    (tmp_path / "results.csv").write_text("\n".join(lines))
    found = {photo.id: photo for photo in read_own(tmp_path)}
    assert len(found) == 10 and found["1.jpg"].captions == ('Two "guys" , a picture of 1 .',) * 5
    assert "1 rows lack a |" in caplog.text and found["1.jpg"].path == pictures / "1.jpg"
    with pytest.raises(CaptioningError, match=r"data=own data\.root=FOLDER"):
        read_karpathy(tmp_path / "dataset_flickr30k.json", pictures)


def test_names_of_another_system(tmp_path: Path) -> None:
    """Backslashes of Windows, and accents as macOS writes them."""
    (tmp_path / "süß").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "süß" / "grün.jpg")
    rows = [(unicodedata.normalize("NFD", "süß\\grün.jpg"), "a", "train")]
    (tmp_path / "a.csv").write_text(table("image,caption,split", rows), encoding="utf-8")
    (photo,) = read_own(tmp_path)["train"]
    assert photo.path == tmp_path / "süß" / "grün.jpg"


def test_a_caption_without_an_image_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,caption\n ,a dog\n")
    with pytest.raises(CaptioningError, match=r"a\.csv, line 2: there is a caption and no image"):
        read_own(tmp_path)
