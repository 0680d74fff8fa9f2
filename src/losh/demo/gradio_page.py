"""The page itself, in Gradio, which is imported here and nowhere else."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from losh.demo.example_clips import FIRST_SENTENCE, example_clips
from losh.demo.limits import Limits
from losh.demo.side_by_side import COLOURS
from losh.demo.tryout import Row, Shown, short_text_of, spoken, try_out
from losh.demo.visits import Visits
from losh.errors import UserError
from losh.own_video.model import Model

FONTS = ["system-ui", "sans-serif"]
# Fonts of the reader's system: none is fetched.
THEME = gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"])
CSS = """
/* Trimming in the browser fetches its code from the network. */
#clip button[aria-label^="Trim video"] {display: none}
#message p {margin: 0.2em 0}
#message .error {color: #b91c1c; font-weight: 600}
.dark #message .error {color: #f87171}
"""
HEX = {name: f"#{r:02x}{g:02x}{b:02x}" for name, (r, g, b) in COLOURS.items()}
KEPT, SWEEP = 3600, 300
"""Seconds after which an upload is deleted, whoever shows it, and between two looks."""


class Page:
    """What the page's events do; one object for all visitors."""

    def __init__(self, model: Model, visits: Visits, limits: Limits) -> None:
        self.model, self.visits, self.limits = model, visits, limits
        self.examples = {path.name: path for path in example_clips()}

    def choose(self, name: str | None) -> Any:
        """Show the example clip of this name."""
        return str(self.examples[name]) if name in self.examples else gr.skip()

    def clip_changed(self, clip: str | None, request: gr.Request) -> Any:
        """Note which clip is shown, and clear the choice of an example that is shown no more."""
        path = Path(clip) if clip else None
        self.visits.shows(request.session_hash or "", path)
        return path.name if path and path in self.examples.values() else None

    def parse(self, sentence: str) -> tuple[Any, str]:
        """Make the short text, and show it where a person has not written one: (box, message)."""
        try:
            return gr.Textbox(placeholder=short_text_of(self.model, sentence)), ""
        except UserError as error:
            return gr.Textbox(placeholder=""), error_line(str(error))

    def run(
        self,
        clip: str | None,
        sentence: str,
        short: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio finds it
    ) -> list[Any]:
        """Mask; returns the values of `outputs` in `build_page`."""
        visitor, worked = request.session_hash or "", False
        folder = self.visits.begin(visitor)
        try:
            if not clip:
                raise UserError("there is no clip", "Choose an example or upload one")
            said = spoken(self.model, sentence, short)
            shown = try_out(
                self.model,
                Path(clip),
                said,
                folder,
                self.limits,
                lambda done, of: progress((done, of), desc="masking", unit="frames"),
            )
            worked = True
            return _values(shown, clip)
        except UserError as error:
            return [error_line(_without_folder(str(error), clip)), *[None] * 5]
        finally:
            self.visits.end(visitor, worked)

    def leave(self, request: gr.Request) -> None:
        """Delete what belongs to a page that was closed."""
        self.visits.leave(request.session_hash or "")


def build_page(model: Model, visits: Visits, limits: Limits) -> gr.Blocks:
    """Return the page; `launch` shows it."""
    page = Page(model, visits, limits)
    names = list(page.examples)
    gr.set_static_paths([visits.results, *page.examples.values()])
    two_streams = bool(model.predictor.model.short_stream)
    with gr.Blocks(title="LoSh", analytics_enabled=False, delete_cache=(SWEEP, KEPT)) as blocks:
        gr.Markdown(
            "# LoSh: say which object, see its masks\n"
            f"**What the weights know:** {html.escape(model.knows)}."
        )
        with gr.Row():
            with gr.Column():
                example = gr.Dropdown(
                    names,
                    value=names[0] if names else None,
                    label="An example",
                    visible=bool(names),
                    elem_id="example",
                )
                clip = gr.Video(
                    str(page.examples[names[0]]) if names else None,
                    sources=["upload"],
                    label="Clip",
                    height=300,
                    elem_id="clip",
                )
                gr.Markdown(
                    f"Upload your own: at most {limits}. It is deleted when this page is closed."
                )
            with gr.Column():
                sentence = gr.Textbox(
                    FIRST_SENTENCE if names else "",
                    label="Long text: your sentence",
                    placeholder="the man in white on the left",
                    elem_id="long",
                    max_length=500,
                )
                short = gr.Textbox(
                    label="Short text",
                    info="In grey: made from your sentence. Write your own to use that instead."
                    if two_streams
                    else "These weights read the long text alone.",
                    interactive=two_streams,
                    elem_id="short",
                    max_length=500,
                )
                start = gr.Button("Mask it", variant="primary", elem_id="run")
                message = gr.HTML(elem_id="message")
        with gr.Row():
            overlay = gr.Video(label="Overlay", height=420, interactive=False, elem_id="overlay")
            with gr.Column():
                scores = _plot("score", "Score of each frame (not calibrated)")
                covered = _plot("covered", "Part of the frame that is masked, %", color=True)
        streams = gr.Video(
            label="Mask by mask: long stream, short stream and both joined, those that there are",
            interactive=False,
            elem_id="streams",
        )
        archive = gr.File(label="Masks: PNG, COCO RLE, scores", elem_id="masks")

        outputs = [message, overlay, streams, archive, scores, covered]
        private: dict[str, Any] = {"api_visibility": "private"}
        example.input(page.choose, example, clip, **private)
        clip.change(page.clip_changed, clip, example, show_progress="hidden", **private)
        gr.on(
            # Not `sentence.input`: Gradio 6 sends it for typed keys, and not for a pasted text.
            [blocks.load, sentence.change],
            page.parse,
            sentence,
            [short, message],
            show_progress="hidden",
            trigger_mode="always_last",
            **private,
        )
        gr.on(
            [start.click, sentence.submit],
            page.run,
            [clip, sentence, short],
            outputs,
            concurrency_limit=1,
            trigger_mode="once",
            show_progress_on=[overlay, streams],
            **private,
        )
        blocks.unload(page.leave)
    return blocks


def error_line(text: str) -> str:
    """Return an error as one line of HTML."""
    return f'<p class="error">{html.escape(text)}</p>'


def _plot(y: str, title: str, color: bool = False) -> gr.LinePlot:
    return gr.LinePlot(
        x="seconds",
        y=y,
        color="stream" if color else None,
        color_map=HEX if color else None,
        title=title,
        x_title="seconds",
        y_title=" ",
        y_lim=[None, None] if color else [0, 1],
        height=200,
        show_label=False,
        elem_id=y,
    )


def _values(shown: Shown, clip: str) -> list[Any]:
    notes = [html.escape(_without_folder(note, clip)) for note in shown.notes]
    message = "".join(f"<p>{note}</p>" for note in notes)
    files = [str(path) for path in (shown.overlay, shown.streams, shown.archive)]
    scores, covered = tables(shown.rows)
    # From 0, so that a small change looks small.
    top = max(1.0, 1.1 * float(covered["covered"].max()))
    return [message, *files, scores, gr.LinePlot(covered, y_lim=[0, top])]


def tables(rows: list[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the plots' tables: scores, and what each stream covers."""
    scores = pd.DataFrame({"seconds": [r.time for r in rows], "score": [r.score for r in rows]})
    covered = [
        {"seconds": row.time, "covered": part, "stream": name}
        for row in rows
        for name, part in row.covered.items()
    ]
    return scores, pd.DataFrame(covered)


def _without_folder(text: str, clip: str | None) -> str:
    """Return a message that names the clip's file alone: where it lies here says nothing."""
    return text.replace(clip, Path(clip).name) if clip else text
