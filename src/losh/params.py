"""The typed schema of params.yaml: every key, its type and its range, checked before any work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from losh import pipelines
from losh.errors import UserError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
OnError = Literal["stop", "skip"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def _check_quality(value: object) -> int | str:
    if value == "lossless" or (type(value) is int and 1 <= value <= 100):
        return value
    raise ValueError(f"takes a whole number from 1 to 100, or lossless, not {value!r}")


# Not a union of two schemas: pydantic would name its branches in the error.
JpegQuality = Annotated[int | Literal["lossless"], PlainValidator(_check_quality)]


LARGEST = {
    "embed_dim": 4096,
    "num_heads": 256,
    "depths": 256,
    "window_size": 256,
    "batch_size": 65536,
    "expressions_per_window": 1024,
    "epochs": 100_000,
    "chunk": 100_000,
    "train_videos": 1_000_000,
    "test_videos": 1_000_000,
    "num_frames": 10_000,
    "pictures": 10_000,
    "long_side": 8192,
    "short_side": 8192,
    "short_sides": 8192,
    "final_short_sides": 8192,
    "final_long_side": 8192,
    "sides": 8192,
}
"""The largest value of a size, in whichever section it is: above it there is a slip of the finger,
which would end in a machine without memory."""


class Section(BaseModel):
    """A part of params.yaml.

    Unknown keys are errors, a word is never taken for a number, and numbers are finite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def sizes_have_an_end(self) -> Self:
        for key in type(self).model_fields.keys() & LARGEST.keys():
            value = getattr(self, key)
            for one in value if isinstance(value, list) else [value]:
                if one is not None and one > LARGEST[key]:
                    raise ValueError(f"{key} is at most {LARGEST[key]}, not {one}")
        return self


PICTURES = ("refcoco", "refcoco_plus", "refcocog")
"""Kinds of datasets whose videos are single pictures."""


class MovingShapesParams(Section):
    """The generated dataset."""

    kind: Literal["moving_shapes"]
    seed: int = Field(ge=0)
    train_videos: Count
    test_videos: Count
    num_frames: int = Field(ge=8)
    height: int = Field(ge=64, le=320, multiple_of=8)
    width: int = Field(ge=64, le=576, multiple_of=8)


class PublishedParams(Section):
    """A published dataset that the user has, as archives or as an unpacked folder."""

    kind: Literal[
        "a2d_sentences",
        "jhmdb_sentences",
        "refer_youtube_vos",
        "refer_davis17",
        "refcoco",
        "refcoco_plus",
        "refcocog",
        "mevis",
    ]
    source: str | None = None
    """Folder or archive (or a folder of archives); null: the environment variable LOSH_<NAME>, else
    data/sources/<name>.
    """
    seed: int = Field(default=0, ge=0)
    """Of draws that the publication leaves open (JHMDB's three frames per video)."""
    verify: Literal["names", "decode"] = "names"
    """How thorough the check is: names and sizes, or every file decoded."""
    require_sample_list: bool = False
    """JHMDB-Sentences: whether the published list of scored frames must be there; else frames are
    drawn where it is not.
    """

    @model_validator(mode="after")
    def only_jhmdb_has_a_sample_list(self) -> PublishedParams:
        if self.require_sample_list and self.kind != "jhmdb_sentences":
            raise ValueError("require_sample_list is for the kind jhmdb_sentences alone")
        return self


class FolderParams(Section):
    """A folder of the user's own videos, masks and expressions (docs/own_data.md)."""

    kind: Literal["folder"]
    source: str | None = None
    """The folder; null: the environment variable LOSH_<NAME>, else data/sources/<name>."""


DatasetParams = Annotated[
    MovingShapesParams | PublishedParams | FolderParams, Field(discriminator="kind")
]


class FramesParams(Section):
    window: int = Field(ge=1, le=64)
    short_side: Annotated[int, Field(ge=32)] | None
    jpeg_quality: JpegQuality
    """Of frames that were decoded; published JPEGs are stored as they are."""
    keep: Literal["windows", "all"] = "windows"
    """Which frames of sparsely annotated training videos are stored; sparse clips need all."""
    on_error: OnError


class FlowParams(Section):
    model: Literal["raft_small", "raft"]
    checkpoint: str
    short_side: int = Field(ge=64, le=1080)
    iterations: int = Field(ge=1, le=64)
    stored_stride: int = Field(ge=1, le=8)
    batch_size: Count
    on_error: OnError


class ShortTextParams(Section):
    mode: Literal["subject", "subject_with_position"]
    prefer_published: bool
    overrides: str | None
    on_error: OnError


class BackboneParams(Section):
    name: Literal[
        "video_swin_t", "video_swin_s", "video_swin_b", "resnet50", "resnet101", "video_swin"
    ]
    checkpoint: str | None
    embed_dim: Count = 96
    depths: list[Count] = [2, 2, 6]
    num_heads: list[Count] = [3, 6, 12]
    window_size: list[Count] = Field(default=[8, 7, 7], min_length=3, max_length=3)
    drop_path: Fraction = 0.1
    motion_channels: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def stages_agree(self) -> BackboneParams:
        if len(self.depths) != len(self.num_heads):
            raise ValueError("depths and num_heads need one number per stage each")
        if self.embed_dim % self.num_heads[0]:
            raise ValueError("embed_dim must be a multiple of num_heads[0]")
        return self

    def levels(self, pipeline: PipelineParams | type[PipelineParams]) -> int:
        """Count the feature maps that `pipeline` gets, 0 the finest, without building it."""
        return len(self.depths) if self.name == "video_swin" else pipeline.backbone_stages


class PipelineParams(Section):
    """What every base pipeline's own section of params.yaml has; each pipeline adds to it.

    The section has the pipeline's name, and its class is `Parameters` in
    losh/pipelines/<name>/parameters.py.
    """

    backbone_stages: ClassVar[int] = 3
    """How many stages of a published backbone the pipeline uses."""

    d_model: int = Field(ge=4, le=8192, multiple_of=4)
    num_heads: int = Field(ge=1, le=256)
    ffn_dim: int = Field(ge=1, le=65536)
    dropout: Fraction
    encoder_layers: int = Field(ge=1, le=64)
    decoder_layers: int = Field(ge=1, le=64)
    num_queries: int = Field(ge=1, le=10000)
    epochs: Count | None = None
    """Of a training whose train.epochs is null."""

    @model_validator(mode="after")
    def heads_fit(self) -> PipelineParams:
        if self.d_model % self.num_heads:
            raise ValueError("d_model must be a multiple of num_heads")
        return self


class OneObjectLosses(Section):
    """Weights of one stream's losses in pipelines that look for one object; 0 switches one off."""

    reference: NotNegative
    box: NotNegative
    giou: NotNegative
    focal: NotNegative
    dice: NotNegative
    encoder_reference: NotNegative = 0.0
    encoder_reference_streams: Literal["long", "both"] = "long"


class DeformableParams(PipelineParams):
    """What the sections of pipelines with a deformable encoder have besides."""

    backbone_stages: ClassVar[int] = 4

    feature_levels: int = Field(ge=1, le=8)
    points: int = Field(ge=1, le=64)
    losses: OneObjectLosses


class ModelParams(Section):
    base: str
    backbone: BackboneParams
    text_encoder: str
    short_stream: bool
    cross_attention: bool
    cross_attention_blocks: Count
    cross_attention_place: Literal["inside", "after"]
    cross_attention_levels: list[Annotated[int, Field(ge=0, le=7)]] | None = Field(
        default=None, min_length=1
    )


class LossParams(Section):
    """LoSh's own losses; those of one stream are in the base pipeline's section."""

    intersection: NotNegative
    intersection_form: Literal["hard", "soft"]
    consistency: NotNegative
    auxiliary: bool


class ConsistencyParams(Section):
    levels: list[Annotated[int, Field(ge=0, le=3)]] = Field(min_length=1)
    distance: Literal["cosine", "l1"]
    occlusion: bool
    stop_gradient: Literal["none", "target", "neighbour"]


Side = Annotated[int, Field(ge=32)]


class ColourParams(Section):
    """Photometric distortion, drawn for each frame (losh.augmentation.colour)."""

    probability: Fraction = 0.0
    brightness: float = Field(default=32.0, ge=0, le=255)
    contrast: Fraction = 0.5
    saturation: Fraction = 0.5
    hue: float = Field(default=18.0, ge=0, le=180)
    permutation: Fraction = 0.0
    clip: Literal["never", "after_brightness", "always"] = "never"
    when: Literal["before_resizing", "after_resizing"] = "before_resizing"

    @property
    def is_on(self) -> bool:
        """Whether a frame may change."""
        return self.probability > 0 or self.permutation > 0


class CropParams(Section):
    """A resize, a crop and another resize, drawn for each clip (losh.augmentation.sizes)."""

    probability: Fraction = 0.0
    short_sides: list[Side] = Field(default=[400, 500, 600], min_length=1)
    sides: list[Side] = Field(default=[384, 600], min_length=2, max_length=2)
    keeps: Literal["some", "whole"] = "some"
    final_short_sides: list[Side] = []
    final_long_side: Side | None = None

    @model_validator(mode="after")
    def crops_fit(self) -> CropParams:
        if self.sides[0] > self.sides[1]:
            raise ValueError(f"sides is the smallest and the largest side, not {self.sides}")
        if self.sides[0] > min(self.short_sides):
            raise ValueError(
                f"a crop has sides of at least {self.sides[0]} px, which is larger than a frame "
                f"with a short side of {min(self.short_sides)}. Lower sides or raise short_sides"
            )
        return self


class AugmentationParams(Section):
    """What training changes of a clip besides `flip`; all off unless asked for."""

    clips: Literal["windows", "sparse"] = "windows"
    reach: int = Field(default=3, ge=1, le=64)
    reverse: Fraction = 0.0
    short_sides: list[Side] = []
    long_side: Side | None = None
    crop: CropParams = CropParams()
    colour: ColourParams = ColourParams()

    @model_validator(mode="after")
    def sides_agree(self) -> AugmentationParams:
        crop = self.crop
        for name, limit, sides in (
            ("long_side", self.long_side, self.short_sides),
            ("crop.final_long_side", crop.final_long_side, crop.final_short_sides),
        ):
            if limit is not None and limit < max(sides, default=0):
                raise ValueError(f"{name} is {limit}, less than a short side of {max(sides)}")
        return self


class TrainParams(Section):
    start_from: str | None = None
    """A model file of ours whose weights training starts from."""
    start_without: list[str] = []
    """Parts of it that start afresh: how their weights' names begin."""
    datasets: list[str] = Field(min_length=1)
    pseudo_clips: bool
    """Whether a picture becomes a clip of frames.window frames, by moved copies of it."""
    sampling_weights: list[Positive] | None
    epochs: Count
    batch_size: Count
    last_batch: Literal["keep", "drop"]
    expressions_per_window: Count
    short_side: int = Field(ge=32)
    long_side: int = Field(ge=32)
    resize_filter: Literal["area", "pil_bilinear"]
    flip: Fraction
    augmentation: AugmentationParams = AugmentationParams()
    learning_rate: Positive
    backbone_learning_rate: NotNegative
    backbone_frozen_stages: int = Field(ge=0)
    text_encoder_learning_rate: NotNegative
    weight_decay: NotNegative
    clip_norm: Positive
    warmup_steps: int = Field(ge=0)
    schedule: Literal["milestones", "cosine"]
    milestones: list[Count]
    gamma: float = Field(gt=0, le=1)
    precision: Precision
    compile: bool
    checkpoint_blocks: bool = False
    seed: int = Field(ge=0)
    validation_fraction: float = Field(ge=0, le=0.5)
    validation_every: Count
    on_error: OnError
    losses: LossParams
    consistency: ConsistencyParams

    @model_validator(mode="after")
    def parts_agree(self) -> TrainParams:
        if self.long_side < self.short_side:
            raise ValueError("long_side is at least short_side")
        if self.start_without and self.start_from is None:
            raise ValueError("start_without needs start_from. Name a model file, or give []")
        if self.start_from is not None and Path(self.start_from).parts[:2] == ("data", "model"):
            raise ValueError(
                f"start_from names {self.start_from}, which the stage train replaces: DVC deletes "
                "it before the training starts. Copy it to another folder, such as checkpoints/"
            )
        if self.sampling_weights is not None and len(self.sampling_weights) != len(self.datasets):
            raise ValueError("sampling_weights needs one number for each of train.datasets")
        if self.schedule == "milestones" and max(self.milestones, default=1) > self.epochs:
            raise ValueError(
                f"milestones name epoch {max(self.milestones)}, but there are {self.epochs} "
                "epochs. Lower them, or give [] to keep the rates"
            )
        if self.validation_fraction and self.validation_every > self.epochs:
            raise ValueError(
                f"validation_every is {self.validation_every}, but there are {self.epochs} epochs. "
                "Set it to at most train.epochs"
            )
        return self


class EvaluateParams(Section):
    checkpoint: str | None
    rule: Literal["long", "product", "intersection", "mean"]
    precision: Precision
    batch_size: Count
    order: Literal["window", "file"]
    threshold: Fraction
    chunk: Count | None
    trivial: bool
    pictures: int = Field(ge=0)
    on_error: OnError


class Params(Section):
    """The whole of params.yaml."""

    datasets: dict[str, DatasetParams]
    frames: FramesParams
    flow: FlowParams
    short_text: ShortTextParams
    model: ModelParams
    train: TrainParams
    evaluate: EvaluateParams
    pipelines: dict[str, SerializeAsAny[PipelineParams]]
    """The sections that have a base pipeline's name, by that name."""

    @property
    def pipeline(self) -> PipelineParams:
        """The section of the base pipeline that `model.base` names."""
        return self.pipelines[self.model.base]

    def by_section(self) -> dict[str, Any]:
        """Return all values as in params.yaml: section -> key -> value."""
        values = self.model_dump()
        return values | values.pop("pipelines")

    @model_validator(mode="after")
    def names_are_known(self) -> Params:
        if not self.datasets:
            raise ValueError(
                "datasets is empty. Name at least one, or start from a recipe (`losh recipe`)"
            )
        for name in self.train.datasets:
            if name not in self.datasets:
                raise ValueError(
                    f"train.datasets names {name!r}, which `datasets` does not have "
                    f"({', '.join(self.datasets)})"
                )
            pictures = self.datasets[name].kind in PICTURES
            if pictures and self.frames.window > 1 and not self.train.pseudo_clips:
                raise ValueError(
                    f"train.datasets names {name!r}, which has pictures, but frames.window is "
                    f"{self.frames.window}. Set frames.window to 1, or train.pseudo_clips to true"
                )
        if self.train.augmentation.clips == "sparse" and self.frames.window == 2:
            raise ValueError(
                "train.augmentation.clips is sparse, and frames.window is 2: a sparse clip has a "
                "frame, one before and one after it. Set frames.window to 3 or more, or to 1"
            )
        if self.model.cross_attention_blocks > self.pipeline.encoder_layers:
            raise ValueError(
                "model.cross_attention_blocks is at most "
                f"{self.model.base}.encoder_layers ({self.pipeline.encoder_layers})"
            )
        return self

    @model_validator(mode="after")
    def something_is_learnt(self) -> Params:
        own = getattr(self.pipeline, "losses", None)
        weights = {
            key: value
            for losses in (self.train.losses, own)
            if isinstance(losses, Section)
            for key, value in losses.model_dump().items()
            if isinstance(value, float) and key != "no_object"
        }
        if not self.model.short_stream:
            weights.pop("intersection", None)
        if isinstance(own, Section) and not any(weights.values()):
            raise ValueError(f"all losses have weight 0 ({', '.join(weights)}). Give one a weight")
        return self

    @model_validator(mode="after")
    def weights_fit_the_backbone(self) -> Params:
        own = self.model.backbone.name == "video_swin"
        checkpoint = self.model.backbone.checkpoint
        if checkpoint == ("torchvision" if own else "embedded"):
            raise ValueError(
                f"model.backbone.checkpoint: there are no {checkpoint} weights of "
                f"{self.model.backbone.name}. Set it to {'embedded' if own else 'torchvision'}, "
                "a file's path or null"
            )
        return self

    @model_validator(mode="after")
    def levels_exist(self) -> Params:
        levels = self.model.backbone.levels(self.pipeline)
        for level in self.train.consistency.levels:
            if level >= levels:
                raise ValueError(
                    f"train.consistency.levels names {level}, but {self.model.backbone.name} has "
                    f"levels 0 to {levels - 1}"
                )
        if self.train.backbone_frozen_stages > levels:
            raise ValueError(
                f"train.backbone_frozen_stages is {self.train.backbone_frozen_stages}, but "
                f"{self.model.backbone.name} has {levels} stages"
            )
        return self


class StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, and that reads `1e-4` as a number.

    The first value of a key given twice would be lost in silence.

    PyYAML follows YAML 1.1, where a number with an exponent needs a dot; DVC follows 1.2 and writes
    `1e-05` after `dvc exp run -S`.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} is given twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


# A copy: SafeLoader's own table must not change for everybody else.
StrictLoader.yaml_implicit_resolvers = {
    first: list(rules) for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        UserError: a missing file, bad YAML, or the first wrong key, type or value, named with what
            it takes.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), StrictLoader)
    except FileNotFoundError:
        raise UserError(f"{path} is missing", "Run from the repository's root") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(
            f"{where} is not valid YAML ({getattr(error, 'problem', error)})", "Mend that line"
        ) from None
    return check_params(raw, str(path))


def check_params(raw: Any, where: str = "params.yaml") -> Params:
    """Check parameters that are already parsed; `where` names their origin in the error."""
    known = pipelines.names()
    sections = dict(raw) if isinstance(raw, dict) else raw
    try:
        if isinstance(raw, dict):
            if "pipelines" in raw:
                raise UserError(f"{where}: pipelines is not a parameter", "Remove it")
            own = {name: sections.pop(name) for name in known if name in raw}
            sections["pipelines"] = {
                name: check_pipeline(name, value, where) for name, value in own.items()
            }
            base = raw["model"].get("base") if isinstance(raw.get("model"), dict) else None
            if base is not None and base not in own:
                raise _no_pipeline(base, where)
            train = raw.get("train")
            if base is not None and isinstance(train, dict) and train.get("epochs", 0) is None:
                epochs = sections["pipelines"][base].epochs
                if epochs is None:
                    raise UserError(
                        f"{where}: train.epochs is null, and so is {base}.epochs", "Set one of them"
                    )
                sections["train"] = train | {"epochs": epochs}
        return Params.model_validate(sections)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error)}") from None


def check_pipeline(name: str, raw: Any, where: str) -> PipelineParams:
    """Check a base pipeline's own section, or what a checkpoint says of it."""
    try:
        return pipelines.parameters_class(name).model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error, name)}") from None


def _no_pipeline(base: Any, where: str) -> UserError:
    """Make the error where `model.base` names no pipeline, or one without its section."""
    known = pipelines.names()
    if base in known:
        return UserError(
            f"{where}: model.base is {base}, but there is no section {base}",
            "Copy it from the shipped params.yaml",
        )
    return UserError(
        f"{where}: model.base: {base!r} is no base pipeline", f"Take one of {', '.join(known)}"
    )


def _explain(error: ValidationError, section: str = "") -> str:
    """Tell a validation's first fault in one line: the key, what it takes, what it was given."""
    fault = error.errors()[0]
    tags = {
        "moving_shapes",
        "a2d_sentences",
        "jhmdb_sentences",
        "refer_youtube_vos",
        "refer_davis17",
        *PICTURES,
        "mevis",
        "folder",
    }
    # pydantic adds the discriminator's tag to the place; it is no key of the file.
    place = ([section] if section else []) + [
        part
        for i, part in enumerate(fault["loc"])
        if not (i == 2 and fault["loc"][0] == "datasets" and part in tags)
    ]
    key = (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        or "the file"
    )
    if fault["type"] == "extra_forbidden":
        return f"{key} is not a parameter. {_nearest(place)}"
    if fault["type"] == "missing":
        return (
            f"{key} is missing. Add it; the comments of the shipped params.yaml say what it takes"
        )
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{key}: {message}"
    given = fault.get("input")
    shown = "" if isinstance(given, dict) else f", not {given!r}"
    return f"{key}: {message[:1].lower() + message[1:]}{shown}"


def _nearest(place: list[str | int]) -> str:
    """Suggest the known key that is closest to an unknown one."""
    import difflib

    known: set[str] = set()
    for model in Section.__subclasses__():
        known |= set(model.model_fields)
    close = difflib.get_close_matches(str(place[-1]), sorted(known), n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it"
