"""What to fetch for each published dataset: files, pages, and direct links where there are any.

The links were found in public repositories and in the datasets' own pages; none could be tried
where this was written (no network but the package registries), so a dead one costs a retry and ends
with the instructions for fetching by hand.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One published file."""

    file: str
    page: str
    """Where a person finds it."""
    parts: tuple[str, ...]
    """The parts of the layout that it holds (losh.datasets.layout)."""
    url: str = ""
    """Direct link; empty where only a person can fetch it (a form, a licence, Google Drive)."""
    md5: str = ""
    """As third parties have published it; empty where unknown."""
    optional: bool = False


A2D_PAGE = "https://web.eecs.umich.edu/~jjcorso/r/a2d/"
SENTENCES_PAGE = "https://kgavrilyuk.github.io/publication/actor_action/"
SENTENCES = "https://kgavrilyuk.github.io/actor_action"
JHMDB_PAGE = "http://jhmdb.is.tue.mpg.de"
JHMDB = "http://files.is.tue.mpg.de/jhmdb"
MTTR_PAGE = "https://github.com/mttr2021/MTTR (datasets/jhmdb_sentences)"
YOUTUBE_PAGE = "https://youtube-vos.org/dataset/rvos/"
VALID_MASKS_PAGE = "https://github.com/skynbe/Refer-Youtube-VOS (issue 7)"
DAVIS_PAGE = "https://davischallenge.org/davis2017/code.html"
DAVIS = "https://data.vision.ee.ethz.ch/csergi/share/davis"
KHOREVA_PAGE = (
    "https://www.mpi-inf.mpg.de/departments/computer-vision-and-machine-learning/research/video-segmentation/"
    "video-object-segmentation-with-language-referring-expressions"
)
KHOREVA = "https://www.mpi-inf.mpg.de/fileadmin/inf/d2/khoreva"

COCO_PAGE = "https://cocodataset.org/#download (one copy serves all three)"
REFER_PAGE = "https://github.com/lichengunc/refer"
MEVIS_PAGE = "https://github.com/henghuiding/MeViS"


def _refcoco(name: str) -> tuple[Item, ...]:
    """RefCOCO, RefCOCO+ or RefCOCOg: never fetched alone, since the images are 13 GB for all."""
    return (
        Item("train2014.zip", COCO_PAGE, ("images",)),
        Item(f"{name}.zip", REFER_PAGE, ("refs", "instances")),
    )


CATALOGUE: dict[str, tuple[Item, ...]] = {
    "a2d_sentences": (
        Item(
            "A2D_main_1_0.tar.bz",
            A2D_PAGE,
            ("videoset", "clips"),
            "https://web.eecs.umich.edu/~jjcorso/bigshare/A2D_main_1_0.tar.bz",
        ),
        Item("a2d_annotation.txt", SENTENCES_PAGE, ("text",), f"{SENTENCES}/a2d_annotation.txt"),
        Item("a2d_annotation_with_instances.zip", SENTENCES_PAGE, ("masks",)),
        Item(
            "a2d_missed_videos.txt",
            SENTENCES_PAGE,
            ("missed",),
            f"{SENTENCES}/a2d_missed_videos.txt",
        ),
    ),
    "jhmdb_sentences": (
        Item(
            "Rename_Images.tar.gz",
            JHMDB_PAGE,
            ("frames",),
            f"{JHMDB}/Rename_Images.tar.gz",
            "23726fbac4bc69a726dc3daf2e7ab4c1",
        ),
        Item(
            "puppet_mask.zip",
            JHMDB_PAGE,
            ("masks",),
            f"{JHMDB}/puppet_mask.zip",
            "eebf6c6c71faa16709b709b758710d17",
        ),
        Item(
            "jhmdb_annotation.txt", SENTENCES_PAGE, ("text",), f"{SENTENCES}/jhmdb_annotation.txt"
        ),
        Item("jhmdb_sentences_samples_metadata.json", MTTR_PAGE, ("samples",), optional=True),
    ),
    "refer_youtube_vos": (
        Item("train.zip", YOUTUBE_PAGE, ("train_frames", "train_masks")),
        Item("valid.zip", YOUTUBE_PAGE, ("valid_frames",)),
        Item("meta_expressions.zip", YOUTUBE_PAGE, ("train_text", "valid_text")),
        Item("meta_expressions_test.zip", YOUTUBE_PAGE, ("test_text",), optional=True),
        Item(
            "the validation masks, as valid/Annotations",
            VALID_MASKS_PAGE,
            ("valid_masks",),
            optional=True,
        ),
    ),
    "refer_davis17": (
        Item(
            "DAVIS-2017-Unsupervised-trainval-480p.zip",
            DAVIS_PAGE,
            ("frames", "masks", "train", "valid"),
            f"{DAVIS}/DAVIS-2017-Unsupervised-trainval-480p.zip",
        ),
        Item(
            "davis_text_annotations.zip",
            KHOREVA_PAGE,
            ("annot1", "annot1_full_video", "annot2", "annot2_full_video"),
            f"{KHOREVA}/davis_text_annotations.zip",
        ),
    ),
    "refcoco": _refcoco("refcoco"),
    "refcoco_plus": _refcoco("refcoco+"),
    "refcocog": _refcoco("refcocog"),
    "mevis": (
        Item("train", MEVIS_PAGE, ("train_frames", "train_text", "train_masks")),
        Item("valid_u", MEVIS_PAGE, ("valid_u_frames", "valid_u_text", "valid_u_masks")),
        Item("valid", MEVIS_PAGE, ("valid_frames", "valid_text")),
    ),
}
PAGES = {"refcoco_plus": "refcoco", "refcocog": "refcoco"}
"""Kinds that share another's page in docs/datasets/."""


def instructions(kind: str, folder: str, variable: str, found: dict[str, str]) -> str:
    """Say in a few lines which files to fetch, from which page, into which folder."""
    lines = []
    for item in CATALOGUE[kind]:
        if not all(part in found for part in item.parts):
            lines.append(
                f"  {item.file}{' (optional)' if item.optional else ''}\n    from "
                f"{item.url or item.page}"
            )
    where = (
        f"put these files, packed or unpacked, into {folder}, or name the folder that has them in "
        f"{variable}:"
    )
    return "\n".join([where, *lines, f"docs/datasets/{PAGES.get(kind, kind)}.md says more."])
