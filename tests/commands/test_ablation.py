"""The ablation: every row sets every switch, equal rows are refused, and the table says of each row
what its own parameters and scores say.
"""

import copy
import csv
import functools
import itertools
import math
import subprocess
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from matplotlib.axes import Axes
from scipy import stats

from losh.cli import parser
from losh.commands.ablation.differences_file import with_earlier_intervals
from losh.commands.ablation.part_effects import part_effects
from losh.commands.ablation.picture import draw
from losh.commands.ablation.queue import in_running_order
from losh.commands.ablation.results import Result, newest, results
from losh.commands.ablation.rows import (
    AGAINST,
    BASE,
    RULE,
    SEED,
    SWITCHES,
    label_of,
    labels,
    plan,
)
from losh.commands.ablation.sample_scores import rows_of, samples_of
from losh.commands.ablation.settings import digest, settings_at
from losh.commands.ablation.show import BEGIN, END, show, write_between
from losh.commands.ablation.statistics import Difference, paired_interval, summaries
from losh.commands.ablation.table_file import read_table, write_table
from losh.commands.ablation.tables import (
    markdown,
    markdown_of_effects,
    markdown_of_kinds,
    markdown_of_parts,
    markdown_of_rows,
)
from losh.commands.experiments import Experiment
from losh.errors import UserError
from losh.params import load_params
from losh.report.changed import flat

ROOT = Path(__file__).parents[2]
SHIPPED = load_params(ROOT / "params.yaml")
# The rule that the tests' labels start from, whatever params.yaml ships.
PARAMS = SHIPPED.model_copy(
    update={"evaluate": SHIPPED.evaluate.model_copy(update={"rule": "mean"})}
)
STREAM, CROSS, INTERSECTION, CONSISTENCY = SWITCHES.values()


def experiment(row, score: float | None, state: str = "success") -> Experiment:
    params = flat(PARAMS.model_dump()) | row.values
    scores = {"shapes": {"mean_iou": score}} if score is not None else {}
    return Experiment(row.name, state, "main", params, scores, f"of {row.name}", "0123456789")


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


def test_a_row_that_is_another_is_one_line():
    with pytest.raises(UserError, match="all:mean: with the rule mean that is the row `all`"):
        plan(PARAMS, [0], [], wanted=["all:mean"])


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
    write_table(found, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == (
        "base,row,seed,changes,weights,dataset,start,state,mean_iou\n"
        "mttr,base,0,train.epochs=1,,shapes,0123456,success,0.25\n"
        "mttr,all,0,train.epochs=1,,,0123456,failed,\n"
    )


def test_runs_that_are_not_here_stay_in_the_table(tmp_path, monkeypatch, capsys):
    """Seed 0 of another machine and seed 1 of this one are two seeds; what is run here again takes
    the line's place, and a line that failed there is no result.
    """
    plain = {row.values[SEED]: row for row in plan(PARAMS, [0, 1], [], wanted=["all"])}
    weak = plan(PARAMS, [0, 1], [f"{INTERSECTION}=0.3", "train.epochs=1"], wanted=["all"])
    metrics, docs = tmp_path / "metrics", tmp_path / "docs"
    metrics.mkdir()
    docs.mkdir()

    def shown(*experiments: Experiment) -> list[tuple]:
        module = import_module("losh.commands.ablation.show")  # the package has a function show
        monkeypatch.setattr(module, "read_experiments", lambda **_: [start(), *experiments])
        show(metrics, docs)
        rows = read_table(metrics / "ablation.csv")
        return [(one.row, one.seed, one.changed, one.scores["mean_iou"]) for one in rows]

    other = experiment(weak[0], 0.3), experiment(weak[1], None, "failed")
    there = shown(experiment(plain[0], 0.5), *other)
    assert "kept from" not in capsys.readouterr().out
    changed = ("all", 0, f"train.epochs=1 {INTERSECTION}=0.3", 0.3)
    assert there == [("all", 0, "", 0.5), changed]
    assert shown(experiment(plain[1], 0.7)) == [there[0], ("all", 1, "", 0.7), changed]
    said = capsys.readouterr().out
    assert f"kept from {metrics / 'ablation.csv'}, since their experiments are not here: 2" in said
    assert "0.600" in said  # the mean of both seeds
    again = shown(experiment(plain[0], 0.6), experiment(plain[1], 0.7))
    assert again == [("all", 0, "", 0.6), ("all", 1, "", 0.7), changed]


def test_an_interval_outlives_the_samples_that_it_was_computed_of(tmp_path, monkeypatch):
    """Two seeds with samples; then a third seed elsewhere, without; then one of the first again."""
    rows = {
        (row.label, row.values[SEED]): row
        for row in plan(PARAMS, [0, 1, 2], [], wanted=["base", "all"])
    }
    (metrics := tmp_path / "metrics").mkdir()
    (docs := tmp_path / "docs").mkdir()
    module = import_module("losh.commands.ablation.show")
    gains = {"base": (0.0, 0.0), "all": (0.1, 0.3)}  # of two clips

    def shown(samples: bool, *seeds: int, start_of: str = "") -> dict[str, str]:
        """The line of all minus base over all expressions."""
        here = [experiment(rows[row, seed], 0.5 + seed / 10) for row in gains for seed in seeds]
        here = [replace(one, start=start_of or one.start) for one in here]
        monkeypatch.setattr(module, "read_experiments", lambda **_: [start(), *here])
        monkeypatch.setattr(module, "settings_at", lambda *_: "")

        def scores(one: Result, score: str) -> dict[tuple[str, ...], float] | None:
            at_hand = samples and one.rev  # as of an experiment that is here
            return dict(zip([("a",), ("b",)], gains[one.row], strict=True)) if at_hand else None

        monkeypatch.setattr(module, "SampleScores", lambda: scores)
        show(metrics, docs)
        with (metrics / "ablation_differences.csv").open(newline="") as file:
            (line,) = csv.DictReader(file)
        return line

    first = shown(True, 0, 1)
    assert (first["row"], first["against"], first["score"]) == ("all", "base", "mean_iou")
    assert (first["low"], first["high"]) == ("0.1000", "0.3000")
    assert first["runs_of_interval"] == "0:0123456/0123456 1:0123456/0123456"
    third = shown(False, 2)
    assert third["runs"] == first["runs"] + " 2:0123456/0123456"
    kept = ("low", "high", "runs_of_interval")
    assert [third[key] for key in kept] == [first[key] for key in kept]
    page = (docs / "ablation.md").read_text()
    assert "(+0.100, +0.300) of 2 of 3 seeds" in page
    again = shown(False, 0, start_of="89abcdef")  # one of its runs is another now: it is of no use
    assert again["low"] == again["runs_of_interval"] == "" and "89abcde" in again["runs"]


def test_a_table_of_differences_that_is_none_is_refused(tmp_path):
    (tmp_path / "d.csv").write_text("row,low\nall,0.5\n")
    with pytest.raises(UserError, match=r"d\.csv is no table of"):
        with_earlier_intervals([], "mean_iou", tmp_path / "d.csv")


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("row,mean_iou\nall,0.5\n")
    with pytest.raises(UserError, match=r"a\.csv is no table"):
        read_table(tmp_path / "a.csv")
    assert read_table(tmp_path / "missing.csv") == []


def test_two_experiments_with_equal_parameters_are_refused():
    row = plan(PARAMS, [0], [])[0]
    twin = Experiment("ablation-again", "success", "main", experiment(row, 0.5).params, {})
    with pytest.raises(UserError, match="ablation-again have the same parameters"):
        results([start(), experiment(row, 0.5), twin])


def test_a_row_that_a_newer_commit_has_too_is_left_out():
    rows = plan(PARAMS, [0], [])[:2]
    old = replace(experiment(rows[0], 0.3), start="9999999999")
    waiting = experiment(rows[1], None, "queued")
    done = replace(experiment(rows[1], 0.4), start="9999999999")
    found = results([start(), experiment(rows[0], 0.5), waiting, old, done])
    assert len(found) == 4
    kept = [(one.row, one.state, one.scores.get("mean_iou")) for one in newest(found)]
    assert kept == [("base", "success", 0.5), ("short", "queued", None), ("short", "success", 0.4)]


def test_runs_of_other_parameters_stand_in_no_table_with_newer_ones():
    """Neither in one row, nor as the row that another is held against; the newest commit's stay,
    whichever row is the first of the table.
    """
    base, all_parts = plan(PARAMS, [0], [], wanted=["base", "all"])
    more = plan(PARAMS, [1], [], wanted=["all"])[0]
    new, old, older = results(
        [start(), experiment(all_parts, 0.5), experiment(more, 0.4), experiment(base, 0.3)]
    )
    assert (new.row, older.row) == ("all", "base")
    found = newest([replace(new, settings="a"), *(replace(x, settings="b") for x in (old, older))])
    assert [one.scores for one in found] == [new.scores]
    assert len(newest([replace(one, settings="a") for one in (new, old, older)])) == 3


def test_settings_are_what_the_rows_do_not_set_themselves(tmp_path, monkeypatch):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)
    alike = digest(params, "mttr")
    for key, value, same in [
        (SEED, 9, True),
        (RULE, "product", True),
        (INTERSECTION, 0.1, True),
        ("sgmg.d_model", 8, True),
        ("mttr.d_model", 8, False),
        ("train.epochs", 99, False),
        ("flow.iterations", 9, False),
    ]:
        changed = copy.deepcopy(params)
        *path, last = key.split(".")
        functools.reduce(dict.__getitem__, path, changed)[last] = value
        assert (digest(changed, "mttr") == alike) == same, key
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for step in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "start"]):
        subprocess.run(["git", *step], check=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert settings_at(done.stdout.strip(), "mttr") == alike
    assert settings_at("0123456789", "mttr") == "0123456"  # no such commit is here


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
    assert base.to_base is None and base.to_neighbour is None
    gain = all_parts.to_base
    assert gain.mean == pytest.approx(0.2) and gain.seeds == 3
    assert gain.p_value == pytest.approx(0.0742, abs=1e-4) and gain.verdict == "no"
    text = markdown_of_rows([base, all_parts], "mean_iou")
    assert "+0.200" in text and "0.074" in text
    draw([base, all_parts], "mean_iou", tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_the_bootstrap_over_clips_is_paired():
    """By hand: over two seeds the gains are 0.2 in clip a and 0.6 and 0.4 in clip b, so a test set
    of a twice gains 0.2, of b twice 0.5; one draw in four is each.
    """
    keys = [("a", "", "0", "4"), ("b", "", "0", "4"), ("b", "", "1", "4")]
    base = dict(zip(keys, (0.1, 0.9, 0.2), strict=True))
    first, second = (
        {key: base[key] + gain for key, gain in zip(keys, gains, strict=True)}
        for gains in ((0.1, 0.5, 0.2), (0.3, 0.7, 0.6))
    )
    both = paired_interval([(first, base), (second, base)])
    assert both == pytest.approx((0.2, 0.5))
    # A seed without its samples, as one kept from the table, says nothing about clips.
    assert paired_interval([(first, base), (second, None)]) == pytest.approx((0.1, 0.35))
    assert paired_interval([(first, None), (None, base)]) is None
    assert paired_interval([(first, dict(list(base.items())[:2]))]) is None


@pytest.mark.parametrize(
    ("p_value", "interval", "seeds", "verdict"),
    [
        (0.01, (0.1, 0.3), 3, "yes"),
        (0.01, (-0.3, -0.1), 3, "yes"),
        (0.01, (-0.1, 0.3), 3, "no"),
        (0.2, (0.1, 0.3), 3, "no"),
        (0.01, None, 3, "yes"),
        (float("nan"), (0.1, 0.3), 1, "one seed"),
        (float("nan"), (0.1, 0.3), 3, "no"),
    ],
)
def test_more_than_chance_means_other_seeds_and_other_clips(p_value, interval, seeds, verdict):
    assert Difference("base", 0.2, seeds, p_value, interval).verdict == verdict


def test_each_row_stands_against_the_one_without_its_part():
    scores = {"base": 0.1, "short": 0.2, "+consistency": 0.25, "-consistency": 0.4, "all": 0.5}
    found = results(
        [start()]
        + [experiment(row, scores[row.label]) for row in plan(PARAMS, [0], [], wanted=list(scores))]
    )
    gains = {
        one.row: (one.to_neighbour.against, round(one.to_neighbour.mean, 9))
        for one in summaries(found, "mean_iou")
        if one.to_neighbour
    }
    assert gains == {
        "short": ("base", 0.1),
        "+consistency": ("short", 0.05),
        "-consistency": ("all", -0.1),
        "all": ("short", 0.3),
    }
    table = markdown_of_parts(summaries(found, "mean_iou"))
    assert [line.split("|")[2].strip() for line in table.splitlines()[2:]] == [
        "+consistency",
        "-consistency",
        "all",
    ]
    assert set(AGAINST) == set(labels()) - {"base"} | {"all:mean"}


def test_a_part_is_judged_by_all_rows_with_and_without_it():
    """By hand: with cross-attention 0.02 less, with consistency 0.01 more, seeds 0.1 apart, and a
    noise of +-0.005 that no part, row or seed explains; a row less, or one seed, gives no table.
    """
    gains = {"cross_attention": -0.02, "consistency": 0.01}
    rows = {label: on for label, (on, rule) in labels().items() if rule is None and on}
    scores, noise = {}, itertools.cycle((1, -1, -1, 1))
    for label, on in rows.items():
        level = 0.5 + sum(gain for part, gain in gains.items() if part in on)
        swing = 0.005 * next(noise)
        scores[label] = {0: level + swing, 1: level + 0.1 - swing}
    summed = summaries([run(label, *pair) for label in rows for pair in scores[label].items()], "m")
    found = {one.part: one for one in part_effects(summed)}
    assert list(found) == ["cross_attention", "intersection", "consistency"]
    cross, inter = found["cross_attention"], found["intersection"]
    assert cross.trainings == 16 and cross.with_it - cross.without == pytest.approx(-0.02)
    assert inter.with_it - inter.without == pytest.approx(0)
    # 16 residuals of 0.005 on 7 degrees of freedom, of 8 trainings against 8
    error = math.sqrt(16 * 0.005**2 / 7 * (1 / 8 + 1 / 8))
    reach = 2.364624 * error  # 97.5 % of Student's t with 7 degrees of freedom, from a table
    assert cross.interval == pytest.approx((-0.02 - reach, -0.02 + reach))
    assert cross.p_value == pytest.approx(2 * stats.t.sf(0.02 / error, 7))
    table = markdown_of_effects(list(found.values()))
    assert "| mttr   | cross_attention |" in table and "-0.020" in table
    assert part_effects(summed[1:]) == [] and markdown_of_effects([]) == ""
    one_seed = [replace(one, values={0: one.values[0]}) for one in summed]
    assert part_effects(one_seed) == []


def run(row: str, seed: int, score: float) -> Result:
    return Result("mttr", row, seed, "", "", "success", "shapes", {"m": score})


def test_every_value_of_s_is_in_the_table():
    """Weights and the rule too, which say otherwise which row it is."""
    rows = plan(PARAMS, [0], [f"{CONSISTENCY}=0.25", f"{RULE}=long", "train.epochs=2"])
    scores = {row.label: 0.1 * (1 + place) for place, row in enumerate(rows)}
    found = results([start()] + [experiment(row, scores[row.label]) for row in rows])
    changes = {one.row: (one.changes, one.weights) for one in found}
    assert {one[0] for one in changes.values()} == {f"train.epochs=2 {RULE}=long"}
    weighted = {label for label, one in changes.items() if one[1] == f"{CONSISTENCY}=0.25"}
    assert weighted == {
        label for label in scores if label == "+consistency" or "all" in label or label[0] == "-"
    } - {"-consistency"}
    pairs = {one.row: one.to_neighbour.mean for one in summaries(found, "mean_iou")[1:]}
    for label, gain in pairs.items():
        assert gain == pytest.approx(scores[label] - scores[AGAINST[label]]), label


def test_two_weights_are_two_rows():
    """A row is compared with the one of its own weights."""
    usual = plan(PARAMS, [0], [], wanted=["all"])
    other = plan(PARAMS, [0], [f"{CONSISTENCY}=0.25"], wanted=["-intersection", "all"])
    ours = [
        experiment(row, score) for row, score in zip((*usual, *other), (0.5, 0.3, 0.2), strict=True)
    ]
    found = {
        (one.row, one.changed): one for one in summaries(results([start(), *ours]), "mean_iou")
    }
    assert len(found) == 3
    gain = found["-intersection", f"{CONSISTENCY}=0.25"].to_neighbour
    assert gain.against == "all" and gain.mean == pytest.approx(0.1)


def test_rows_that_train_nothing_run_last():
    """Several run at once (`dvc queue start -j`): what they score must be trained by then."""
    order = [row.label for row in in_running_order(plan(PARAMS, [0, 1], []))]
    assert order[:3] == ["all", "all", "base"] and len(order) == 24
    assert all(label.startswith("all:") for label in order[-6:])


def test_an_unknown_base_is_refused():
    with pytest.raises(UserError, match="no base pipeline mtr"):
        plan(PARAMS, [0], [], "mtr")


def test_samples_are_read_from_the_table_of_expressions():
    table = rows_of(
        "video,expression_set,expression_id,instance,frame,iou,kind\n"
        "a,,0,1,4,0.250000,plain\n"
        "a,,0,1,8,,plain\n"
        "b,,1,0,4,0.500000,motion\n"
    )
    plain, motion = {("a", "", "0", "4"): 0.25}, {("b", "", "1", "4"): 0.5}
    assert samples_of(table, "iou") == plain | motion
    assert samples_of(table, "iou", "plain") == samples_of(table, "iou", "looks") == plain
    assert samples_of(table, "iou", "ambiguous") == motion


def test_kinds_are_compared_as_all_expressions_are():
    """By hand as above: gains of 0.1, 0.2, 0.3 over seeds; over the clips that have such a sentence
    the gain lies between 0.1 and 0.3. A kind that one of the rows lacks is in no table.
    """
    plain, motion = "kinds.plain.mean_iou", "kinds.motion.mean_iou"
    values = {"base": (0.1, 0.3, 0.2), "all": (0.2, 0.5, 0.5)}
    found = []
    for row in plan(PARAMS, [0, 1, 2], [], wanted=["base", "all"]):
        score = values[row.label][row.values[SEED]]
        one = experiment(row, 0.5)
        more = {motion: 0.5} if row.label == "all" else {}
        found.append(replace(one, scores={"shapes": {"mean_iou": 0.5, plain: score, **more}}))

    def samples(one, score):
        gains = {plain: (0.1, 0.3)}.get(score, (0.0, 0.0)) if one.row == "all" else (0.0, 0.0)
        return {(clip, "", "0", "4"): gain for clip, gain in zip("ab", gains, strict=True)}

    kinds = [plain, motion]
    base, all_parts = summaries(results([start(), *found]), "mean_iou", samples, kinds)
    assert base.by_kind == {} and list(all_parts.by_kind) == [plain]
    gain = all_parts.by_kind[plain]
    assert (gain.against, gain.mean) == ("base", pytest.approx(0.2))
    assert gain.p_value == pytest.approx(0.0742, abs=1e-4)
    assert gain.interval == pytest.approx((0.1, 0.3))
    table = markdown_of_kinds([base, all_parts])
    assert "| plain, minus base" in table and "motion" not in table
    assert "+0.200 (+0.100, +0.300, p 0.074)" in table and "**" not in table
    sure = replace(all_parts, by_kind={plain: replace(gain, p_value=0.01)})
    assert "**+0.200** (+0.100, +0.300, p 0.010)" in markdown_of_kinds([sure])
    assert markdown_of_kinds([base]) == ""


def test_a_row_whose_interval_is_unknown_has_no_whisker(tmp_path, monkeypatch):
    """One seed kept from a table of before: nothing is drawn that looks like certainty."""
    rows = plan(PARAMS, [0], [], wanted=["base", "all"])
    known = replace(
        experiment(rows[0], 0.5),
        scores={
            "shapes": {"mean_iou": 0.5, "mean_iou_interval.low": 0.4, "mean_iou_interval.high": 0.7}
        },
    )
    found = results([start(), known, experiment(rows[1], 0.6)])
    write_table(found, tmp_path / "a.csv")
    assert read_table(tmp_path / "a.csv")[0].scores == found[0].scores  # kept for the next picture
    drawn = []
    errorbar = Axes.errorbar
    monkeypatch.setattr(
        Axes, "errorbar", lambda *a, **k: (drawn.append(k["xerr"]), errorbar(*a, **k))[1]
    )
    draw(summaries(found, "mean_iou"), "mean_iou", tmp_path / "bars.png")
    assert drawn == [[[pytest.approx(0.1)], [pytest.approx(0.2)]]]


def test_the_tables_keep_the_rest_of_the_page(tmp_path):
    page = tmp_path / "page.md"
    write_between(page, "one")
    page.write_text("# Before\n" + page.read_text() + "after\n")
    write_between(page, "two")
    assert page.read_text() == f"# Before\n{BEGIN}\n\ntwo\n\n{END}\nafter\n"
    page.write_text("nothing of the kind\n")
    with pytest.raises(UserError, match="lacks the lines"):
        write_between(page, "three")
    assert page.read_text() == "nothing of the kind\n"


def test_without_experiments_the_table_is_shown(tmp_path, monkeypatch, capsys):
    """As in a fresh clone, whose experiments are elsewhere; with no table it says what to run."""
    module = import_module("losh.commands.ablation.show")
    monkeypatch.setattr(module, "read_experiments", lambda **_: [start()])
    metrics, docs = tmp_path / "metrics", tmp_path / "docs"
    metrics.mkdir()
    docs.mkdir()
    with pytest.raises(UserError, match="losh ablation queue"):
        show(metrics, docs)
    assert list(docs.iterdir()) == []
    row = plan(PARAMS, [0], [], wanted=["all"])[0]
    write_table(results([start(), experiment(row, 0.5)]), metrics / "ablation.csv")
    before = (metrics / "ablation.csv").read_text()
    show(metrics, docs)
    said = capsys.readouterr().out
    assert "0.500" in said and "no file was written" in said
    assert (metrics / "ablation.csv").read_text() == before
    assert list(docs.iterdir()) == []  # the page may say more, of samples that are not here


def test_rows_may_be_named_one_by_one():
    """A row that begins with a dash is taken for an option after a space."""
    words = ["ablation", "queue", "--rows=-intersection", "--rows=-consistency", "--rows", "base"]
    assert parser().parse_args(words).rows == ["-intersection", "-consistency", "base"]
