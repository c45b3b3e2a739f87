"""The six photographs that come along may be redistributed, and say whose they are."""

import csv
import json
from pathlib import Path

from captioning.core.images import read_image

FOLDER = Path(__file__).resolve().parents[1] / "captioning" / "photographs"
FREE = {
    "Attribution License": "http://creativecommons.org/licenses/by/2.0/",
    "No known copyright restrictions": "http://flickr.com/commons/usage/",
    "United States Government Work": "http://www.usa.gov/copyright.shtml",
}


def rows() -> list[dict[str, str]]:
    with (FOLDER / "sources.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_photograph_has_its_licence_and_source() -> None:
    found = rows()
    assert {row["file"] for row in found} == {path.name for path in FOLDER.glob("*.jpg")} and len(found) == 6
    for row in found:
        assert FREE[row["licence"]] == row["licence_url"] and all(row.values())
        assert (FOLDER / row["file"]).stat().st_size <= 60_000
        assert min(read_image(FOLDER / row["file"]).size) > 200


def test_the_licences_are_those_that_coco_tells(shared: Path) -> None:
    told = json.loads((shared / "coco_mini" / "captions_train2017.json").read_text("utf-8"))
    licences = {each["id"]: each["name"] for each in told["licenses"]}
    images = {each["file_name"]: each for each in told["images"]}
    for row in rows():
        image = images[row["in_coco_train2017"]]
        assert (licences[image["license"]], image["flickr_url"]) == (row["licence"], row["source"])
