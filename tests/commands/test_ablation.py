"""The ablation: every row sets every switch, equal rows are refused, and the table says of each row
what its own parameters and scores say.
"""

from pathlib import Path

import pytest

from losh.commands.ablation.results import results
from losh.commands.ablation.rows import BASE, RULE, SEED, SWITCHES, label_of, plan
from losh.commands.ablation.show import draw, markdown, markdown_of_seeds, write_csv
from losh.commands.ablation.statistics import summaries
from losh.commands.experiments import Experiment
from losh.errors import UserError
from losh.params import load_params
from losh.report.changed import flat

ROOT = Path(__file__).parents[2]
PARAMS = load_params(ROOT / "params.yaml")
STREAM, CROSS, INTERSECTION, CONSISTENCY = SWITCHES.values()


def experiment(row, score: float | None, state: str = "success") -> Experiment:
    params = flat(PARAMS.model_dump()) | row.values
    scores = {"shapes": {"mean_iou": score}} if score is not None else {}
    return Experiment(row.name, state, "main", params, scores)


def start() -> Experiment:
    return Experiment("main", "success", "main", flat(PARAMS.model_dump()), {})


def test_every_row_sets_every_switch():
    rows = {row.label: row.values for row in plan(PARAMS, [7], [])}
    assert {
        label: tuple(values[key] for key in (STREAM, CROSS, INTERSECTION, CONSISTENCY, RULE))
        for label, values in rows.items()
    } == {
        "base": (False, False, 0.0, 0.0, "mean"),
        "short": (True, False, 0.0, 0.0, "mean"),
        "+cross_attention": (True, True, 0.0, 0.0, "mean"),
        "+intersection": (True, False, 0.8, 0.0, "mean"),
        "+consistency": (True, False, 0.0, 0.5, "mean"),
        "-cross_attention": (True, False, 0.8, 0.5, "mean"),
        "-intersection": (True, True, 0.0, 0.5, "mean"),
        "-consistency": (True, True, 0.8, 0.0, "mean"),
        "all": (True, True, 0.8, 0.5, "mean"),
        "all:long": (True, True, 0.8, 0.5, "long"),
        "all:product": (True, True, 0.8, 0.5, "product"),
        "all:intersection": (True, True, 0.8, 0.5, "intersection"),
    }
    assert all(values[SEED] == 7 and values[BASE] == "mttr" for values in rows.values())


def test_a_row_means_the_same_after_an_experiment_has_changed_the_file():
    model = PARAMS.model.model_copy(update={"short_stream": False, "cross_attention": False})
    losses = PARAMS.train.losses.model_copy(update={"consistency": 0.0, "intersection": 0.0})
    train = PARAMS.train.model_copy(update={"losses": losses, "seed": 5})
    left = PARAMS.model_copy(update={"model": model, "train": train})
    assert plan(left, [0], []) == plan(PARAMS, [0], [])


def test_changes_go_into_every_row_and_weights_where_they_are_on():
    rows = {
        row.label: row.values
        for row in plan(
            PARAMS, [0], ["train.epochs=1", f"{CONSISTENCY}=0.25", f"{RULE}=long"], "sgmg"
        )
    }
    assert all(values["train.epochs"] == 1 for values in rows.values())
    assert all(values[BASE] == "sgmg" for values in rows.values())
    assert {label for label, values in rows.items() if values[CONSISTENCY] == 0.25} == {
        label for label in rows if label == "+consistency" or "all" in label or label[0] == "-"
    } - {"-consistency"}
    assert rows["all"][RULE] == "long" and "all:mean" in rows and "all:long" not in rows


@pytest.mark.parametrize(
    ("seeds", "changes", "said"),
    [
        ([0, 0], [], "have the same parameters"),
        ([0], [f"{CONSISTENCY}=0"], "have the same parameters"),
        ([0], [f"{CROSS}=false"], "the rows set it themselves"),
        ([0], ["train.epochs"], "is no KEY=VALUE"),
    ],
)
def test_rows_that_could_not_differ_are_refused(seeds, changes, said):
    with pytest.raises(UserError, match=said):
        plan(PARAMS, seeds, changes)


def test_names_are_taken_by_git_and_are_unique():
    names = [row.name for row in plan(PARAMS, [0, 1], [])]
    assert len(set(names)) == len(names) == 24
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


def test_a_row_is_told_by_its_own_parameters():
    for row in plan(PARAMS, [0], []):
        assert label_of(flat(PARAMS.model_dump()) | row.values, "mean") == row.label
    # A weight means nothing where there is no short stream.
    assert label_of({STREAM: False, CROSS: True, INTERSECTION: 0.8, RULE: "mean"}, "mean") == "base"


def test_failed_and_changed_rows_are_shown_as_such(tmp_path):
    rows = plan(PARAMS, [0], ["train.epochs=1"])
    found = results([start(), experiment(rows[0], 0.25), experiment(rows[8], None, "failed")])
    assert [(one.row, one.state, one.changes) for one in found] == [
        ("base", "success", "train.epochs=1"),
        ("all", "failed", "train.epochs=1"),
    ]
    lines = markdown(found).splitlines()
    assert "0.250" in lines[2] and "failed" in lines[3] and "0.250" not in lines[3]
    write_csv(found, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == (
        "base,row,seed,changes,dataset,state,mean_iou\n"
        "mttr,base,0,train.epochs=1,shapes,success,0.25\n"
        "mttr,all,0,train.epochs=1,,failed,\n"
    )


def test_two_experiments_with_equal_parameters_are_refused():
    row = plan(PARAMS, [0], [])[0]
    twin = Experiment("ablation-again", "success", "main", experiment(row, 0.5).params, {})
    with pytest.raises(UserError, match="ablation-again have the same parameters"):
        results([start(), experiment(row, 0.5), twin])


def test_seeds_are_compared_pair_by_pair(tmp_path):
    """By hand: gains of 0.1, 0.2, 0.3 have mean 0.2, sd 0.1, t = 0.2 / (0.1 / sqrt(3)) = 3.4641,
    and p = 0.0742 with 2 degrees of freedom.
    """
    scores = {"base": (0.1, 0.3, 0.2), "all": (0.2, 0.5, 0.5)}
    found = results(
        [start()]
        + [
            experiment(row, scores[row.label][row.values[SEED]])
            for row in plan(PARAMS, [0, 1, 2], [], wanted=["base", "all"])
        ]
    )
    base, all_parts = summaries(found, "mean_iou")
    assert (base.row, base.mean, base.deviation) == ("base", pytest.approx(0.2), pytest.approx(0.1))
    assert base.half_width == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert all_parts.difference == pytest.approx(0.2)
    assert all_parts.p_value == pytest.approx(0.0742, abs=1e-4)
    text = markdown_of_seeds([base, all_parts], "mean_iou")
    assert "+0.200" in text and "0.074" in text
    draw([base, all_parts], "mean_iou", tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_no_experiment_says_what_to_run():
    with pytest.raises(UserError, match="losh ablation queue"):
        results([start()])
