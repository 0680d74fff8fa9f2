"""RefCOCO, RefCOCO+ and RefCOCOg in their published layout: pictures of COCO with expressions.

A picture is a video of one frame. Layout: https://github.com/lichengunc/refer and
https://cocodataset.org; see docs/datasets/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from losh.datasets.coco_masks import mask_of_polygons
from losh.datasets.json_table import read_json_table
from losh.datasets.layout import Layout, Part
from losh.datasets.listing import FileListing
from losh.datasets.plain_pickle import read_plain_pickle
from losh.datasets.reader import FETCH_AGAIN, Expression, Inventory, Video
from losh.errors import UserError
from losh.media.decoding import image_size, read_bytes


def _layout(name: str, split_by: str) -> Layout:
    # Two components tell the three datasets apart, which people keep side by side.
    return Layout(
        parts={
            "images": Part("coco/train2014"),
            "refs": Part(f"coco/{name}/refs({split_by}).p", 2),
            "instances": Part(f"coco/{name}/instances.json", 2),
        },
        groups=(("images", "refs", "instances"),),
    )


LAYOUTS = {
    "refcoco": _layout("refcoco", "unc"),
    "refcoco_plus": _layout("refcoco+", "unc"),
    "refcocog": _layout("refcocog", "umd"),
}
SPLITS = {
    "refcoco": ("train", "val", "testA", "testB"),
    "refcoco_plus": ("train", "val", "testA", "testB"),
    "refcocog": ("train", "val", "test"),
}
"""Published splits. testA shows people, testB other things."""


@dataclass(frozen=True)
class RefCOCO:
    """Reader of RefCOCO, RefCOCO+ or RefCOCOg (losh.datasets.reader.DatasetReader)."""

    name: str
    listing: FileListing
    parts: Mapping[str, str]
    """Part of LAYOUTS[kind] -> its place below the source folder."""
    kind: str
    protocol: str = "refcoco"
    frame_suffix: str = ""
    mend: str = FETCH_AGAIN

    @cached_property
    def refs(self) -> list[dict[str, Any]]:
        """Return the published references: each an object, with its sentences.

        Raises:
            UserError: the file is not as published, or it lacks a split.
        """
        path, known = self.listing.path(self.parts["refs"]), SPLITS[self.kind]
        refs = read_plain_pickle(path)
        if not (isinstance(refs, list) and all(_is_ref(ref) for ref in refs)):
            raise UserError(
                f"{path} is not the published list of references", "Fetch the published file again"
            )
        there = {ref["split"] for ref in refs}
        for split in (*known, *sorted(there)):
            if split not in there or split not in known:
                what = "has no reference in" if split not in there else "names"
                raise UserError(
                    f"{path} {what} the split {split!r} (published: {', '.join(known)})",
                    f"Take the file of {self.kind} itself",
                )
        return refs

    @cached_property
    def splits(self) -> dict[int, str]:
        """Image id -> its split, of all images that are referred to; a split shares none.

        Raises:
            UserError: an image is in two splits.
        """
        found: dict[int, str] = {}
        for ref in self.refs:
            split = found.setdefault(ref["image_id"], ref["split"])
            if split != ref["split"]:
                raise UserError(
                    f"{self.listing.path(self.parts['refs'])} has image {ref['image_id']} in the "
                    f"splits {split} and {ref['split']}",
                    "Fetch the published file again",
                )
        return found

    @cached_property
    def tables(self) -> tuple[dict[int, dict], dict[int, dict]]:
        """Return the images and the annotations that references name, by id.

        Raises:
            UserError: instances.json is not as published, or lacks one of the images.
        """
        path = self.listing.path(self.parts["instances"])
        table = read_json_table(self.listing, self.parts["instances"], "instances.json")
        objects = {ref["ann_id"] for ref in self.refs}
        try:
            images = {one["id"]: one for one in table["images"] if one["id"] in self.splits}
            annotations = {one["id"]: one for one in table["annotations"] if one["id"] in objects}
            for one in images.values():
                if not _is_plain(one["file_name"]) or min(one["height"], one["width"]) < 1:
                    raise ValueError(f"image {one['id']} has no usable file_name and size")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} is not the published instances.json ({error})",
                "Fetch the published file again",
            ) from None
        for image in self.splits:
            if image not in images:
                raise UserError(
                    f"{path} has no image {image}, which {self.parts['refs']} refers to",
                    "Take both files from one archive",
                )
        return images, annotations

    def videos(self) -> list[Video]:
        """Return the images that are there, each a video of one frame, by (split, video)."""
        found = [
            Video(self._video(image), split, self._path(image), (), (0,))
            for image, split in self.splits.items()
            if self._is_here(image)
        ]
        return sorted(found, key=lambda video: (video.split, video.video))

    def expressions(self) -> list[Expression]:
        """Return the sentences of images that are there, in the published order.

        `text` is the published `sent`: lower case, without punctuation.
        """
        return [
            Expression(
                ref["split"],
                self._video(ref["image_id"]),
                str(sentence["sent_id"]),
                str(ref["ann_id"]),
                sentence["sent"].strip(),
            )
            for ref in self.refs
            if self._is_here(ref["image_id"])
            for sentence in ref["sentences"]
        ]

    def inventory(self) -> Inventory:
        """List the images that are referred to; train2014 has many more, which are no surplus."""
        present = {self._video(image) for image in self.splits if self._is_here(image)}
        listed = {self._video(image): split for image, split in self.splits.items()}
        return Inventory(listed, frozenset(present))

    def frames(self, video: Video) -> Iterator[tuple[bytes, str]]:
        """Return the published JPEG, as it is."""
        yield read_bytes(video.media), str(video.media)

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Return object id -> mask of the image, of the objects that sentences refer to.

        As published, crowds and objects whose box has no area are left out.

        Raises:
            UserError: an object has no annotation, or one that is no list of polygons; or the
                picture has another size than its annotations.
        """
        images, annotations = self.tables
        image = self._images_by_video[video.video]
        height, width = images[image]["height"], images[image]["width"]
        if (shown := image_size(video.media)) != (height, width):
            raise UserError(
                f"{video.media} is {shown[0]} x {shown[1]}, but {self.mask_place(video, frame)} is "
                f"{height} x {width}",
                "Take the picture as COCO publishes it",
            )
        found = {}
        for object_id, ref_id in self._objects[image].items():
            where = f"{self.mask_place(video, frame)}: object {object_id}"
            if object_id not in annotations:
                raise UserError(
                    f"{where}, which ref {ref_id} of {self.parts['refs']} names, has no annotation",
                    "Take both files from one archive",
                )
            one = annotations[object_id]
            try:
                if one.get("iscrowd") or not _has_area(one["bbox"], height, width):
                    continue
                found[str(object_id)] = mask_of_polygons(one["segmentation"], height, width)
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"{where} has no mask that can be read ({error})",
                    "Fetch the published file again",
                ) from None
        return found

    def annotation_files(self, video: Video) -> list[Path]:
        """Return the two files that hold all masks, and which of them count."""
        return [self.listing.path(self.parts[part]) for part in ("instances", "refs")]

    def mask_place(self, video: Video, frame: int) -> str:
        """Return the file of all masks, and the image."""
        return f"{self.listing.path(self.parts['instances'])}, image {video.video}"

    @cached_property
    def _objects(self) -> dict[int, dict[int, int]]:
        """Image id -> object id -> a reference to it."""
        found: dict[int, dict[int, int]] = {}
        for ref in self.refs:
            found.setdefault(ref["image_id"], {}).setdefault(ref["ann_id"], ref["ref_id"])
        return found

    @cached_property
    def _images_by_video(self) -> dict[str, int]:
        return {self._video(image): image for image in self.splits}

    def _video(self, image: int) -> str:
        # The image's own name: a reference's file_name has the object's id at its end.
        return PurePosixPath(self.tables[0][image]["file_name"]).stem

    def _file(self, image: int) -> str:
        return f"{self.parts['images']}/{self.tables[0][image]['file_name']}"

    def _path(self, image: int) -> Path:
        return self.listing.path(self._file(image))

    def _is_here(self, image: int) -> bool:
        return self.listing.has(self._file(image))


def _is_ref(ref: Any) -> bool:
    return (
        isinstance(ref, dict)
        and all(type(ref.get(key)) is int for key in ("ref_id", "ann_id", "image_id"))
        and isinstance(ref.get("split"), str)
        and isinstance(ref.get("sentences"), list)
        and all(
            isinstance(one, dict)
            and isinstance(one.get("sent"), str)
            and type(one.get("sent_id")) is int
            for one in ref["sentences"]
        )
    )


def _is_plain(name: Any) -> bool:
    """Whether it names a file of the folder itself."""
    return isinstance(name, str) and bool(name) and PurePosixPath(name).name == name


def _has_area(box: list[float], height: int, width: int) -> bool:
    """Whether a box x, y, width, height in px has an area within the image."""
    x, y, w, h = box
    return min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0)
