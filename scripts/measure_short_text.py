"""Agreement of the short-text rule with human-made pairs, beside two simple rules, and its speed.

    python scripts/measure_short_text.py ../shared/data/a2d_short_queries_dev.csv

The CSV has the columns video_id, query and short_query. The rows are also split by video into two
halves (by the last bit of the first byte of MD5(video_id)): the rule was developed on half 0, and
half 1 was first scored before any of its errors had been read (docs/short_text.md).
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path

import pandas as pd
import spacy

from losh.errors import UserError, friendly
from losh.short_text import shorten
from losh.short_text.agreement import agreement
from losh.short_text.parse import read_csv, require
from losh.short_text.tagging import load_tagger, model_name


def cut_before(sentences: list[str], stop: set[str]) -> list[str]:
    """Cut by the simple rule: keep everything before the first word of a coarse class in `stop`.

    The whole sentence stays where that leaves nothing.
    """
    nlp = spacy.load(model_name(), exclude=["ner", "lemmatizer"])
    shorts = []
    for doc in nlp.pipe(sentences, batch_size=500):
        end = next((token.i for token in doc if token.pos_ in stop), len(doc))
        shorts.append(doc[:end].text if end else doc.text)
    return shorts


def sentences_a_second(sentences: list[str]) -> tuple[float, float]:
    """Return different sentences per second of clock and of processor time, best of three.

    With the model loaded.
    """
    load_tagger()
    unique = list(dict.fromkeys(sentences))
    clock, processor = [], []
    for _ in range(3):
        began, worked = time.perf_counter(), time.process_time()
        shorten(unique, "subject_with_position")
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - worked)
    return len(unique) / min(clock), len(unique) / min(processor)


def print_table(pairs: pd.DataFrame) -> None:
    """Print the table of docs/short_text.md."""
    queries = [" ".join(query.split()) for query in pairs["query"]]
    rules = {
        "before the first VERB": cut_before(queries, {"VERB"}),
        "before the first VERB or AUX": cut_before(queries, {"VERB", "AUX"}),
        "ours, subject": [short.text for short in shorten(queries, "subject")],
        "ours, subject_with_position": [
            short.text for short in shorten(queries, "subject_with_position")
        ],
    }
    half = pairs["video_id"].map(lambda video: hashlib.md5(video.encode()).digest()[0] % 2)
    parts = {"all": half >= 0, "half 0": half == 0, "half 1": half == 1}
    print(
        "| rule | "
        + " | ".join(f"{name} ({part.sum()}): exact, word F1" for name, part in parts.items())
        + " |"
    )
    print("|---" * (len(parts) + 1) + "|")
    for rule, shorts in rules.items():
        made = pd.Series(shorts, index=pairs.index)
        cells = []
        for part in parts.values():
            exact, f1 = agreement(made[part].tolist(), pairs["short_query"][part].tolist())
            cells.append(f"{100 * exact:.2f} %, {f1:.4f}")
        print(f"| {rule} | " + " | ".join(cells) + " |")
    print(
        "\nsentences a second: {:.0f} by the clock, {:.0f} by processor time (one thread)".format(
            *sentences_a_second(queries)
        )
    )


@friendly
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "pairs", type=Path, help="CSV with the columns video_id, query, short_query"
    )
    path = parser.parse_args().pairs
    pairs = read_csv(path)
    require(pairs, path, ["video_id", "query", "short_query"], "See --help")
    if pairs.empty:
        raise UserError(f"{path} has no rows")
    print_table(pairs)


if __name__ == "__main__":
    main()
