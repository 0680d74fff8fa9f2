"""What params.yaml may say about datasets and their frames."""

from pathlib import Path

import pytest
import yaml

from losh.errors import UserError
from losh.params import StrictLoader, check_params

ROOT = Path(__file__).parents[2]


def changed(section, **values):
    raw = yaml.load((ROOT / "params.yaml").read_text(), StrictLoader)
    raw[section] |= values
    return raw


@pytest.mark.parametrize("quality", [1, 95, 100, "lossless"])
def test_frames_may_be_jpeg_of_any_quality_or_lossless(quality):
    assert check_params(changed("frames", jpeg_quality=quality)).frames.jpeg_quality == quality


@pytest.mark.parametrize("quality", [0, 101, 95.0, True, "best", None])
def test_another_quality_is_one_line_with_its_key(quality):
    with pytest.raises(UserError) as error:
        check_params(changed("frames", jpeg_quality=quality))
    assert str(error.value) == (
        f"params.yaml: frames.jpeg_quality: takes a whole number from 1 to 100, or lossless, not "
        f"{quality!r}"
    )


def test_only_jhmdb_has_a_list_of_samples_to_require():
    entry = {"kind": "jhmdb_sentences", "require_sample_list": True}
    assert check_params(changed("datasets", j=entry)).datasets["j"].require_sample_list
    with pytest.raises(UserError, match="require_sample_list is for the kind jhmdb_sentences"):
        check_params(changed("datasets", j=entry | {"kind": "a2d_sentences"}))


def test_a_folder_of_ones_own_has_a_source_and_nothing_else():
    entry = {"kind": "folder", "source": "somewhere"}
    assert check_params(changed("datasets", own=entry)).datasets["own"].source == "somewhere"
    with pytest.raises(UserError, match=r"^params.yaml: datasets\.own\.verify is not a parameter"):
        check_params(changed("datasets", own=entry | {"verify": "decode"}))
