"""Ask visitors whether an answer was right, and let them download what they said as a CSV to train on.

What they say stays in the browser's own storage: none of these events sends anything to the server.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.context import Context

from ..config import GalleryConfig
from .downloads import SAVE
from .headline import READ_HEADLINE
from .newest import write_is_old

MOST = 5_000_000  # characters in the storage; most browsers keep 5 MB for a site
TEXTS = {
    "stays": "What you say stays in this browser; it is not sent.",
    "none": "There is no answer yet.",
    "choose": "Choose the right answer.",
    "full": "This browser keeps no more: download your answers, then delete them.",
    "refused": "This browser does not let the page keep anything.",
    "gone": "They are deleted.",
    "one": "1 answer is kept in this browser.",
    "many": "{} answers are kept in this browser.",
}

# The storage has {input: label} as JSON, so that the last word about an input counts. Gradio's BrowserState would
# encrypt each value with a key that the page contains, and writes only what an event returns.
HELPERS = """
    %(is_old)s
    const place = %(place)s, columns = %(columns)s, names = %(names)s, texts = %(texts)s
    const set = (changes) => ({ __type__: "update", ...changes })
    const read = () => {
        try { return new Map(JSON.parse(localStorage.getItem(place) ?? "[]")) } catch { return new Map() }
    }
    const count = (kept) => kept.size === 1 ? texts.one : texts.many.replace("{}", kept.size)
    // The updates of the note, the label that is asked for, and the buttons.
    const show = (note, kept, isAsking = false) =>
        [set({ value: note }), set({ visible: isAsking, value: null }), set({ visible: kept.size > 0 })]
    const keep = (label, values) => {
        const kept = read()
        const input = JSON.stringify(values.slice(0, columns.length).map((value) => value ?? ""))
        kept.delete(input)
        kept.set(input, label)
        const written = JSON.stringify([...kept])
        if (written.length > %(most)d) return show(texts.full, read())
        try { localStorage.setItem(place, written) } catch (error) {
            return show(error.name === "QuotaExceededError" ? texts.full : texts.refused, read())
        }
        return show(count(kept), kept)
    }
"""
# A page whose headline is not the likeliest label has not answered with it, so nobody can have meant that by "yes".
YES = """(answer, headline, ...values) => {%(helpers)s%(read)s
    if (!answer?.confidences || isOld(values)) return show(texts.none, read())
    if (readHeadline(headline) !== readHeadline(answer)) return show(texts.choose, read(), true)
    return keep(names[answer.label] ?? answer.label, values)
}"""
NO = """(answer, ...values) => {%(helpers)s
    return answer?.confidences && !isOld(values) ? show(texts.choose, read(), true) : show(texts.none, read())
}"""
CHOOSE = """(label, ...values) => {%(helpers)s
    if (isOld(values)) return show(texts.none, read())
    return label === null ? show(texts.choose, read(), true) : keep(label, values)
}"""
OPEN = """() => {%(helpers)s
    const kept = read()
    return show(kept.size ? count(kept) : texts.stays, kept)
}"""
# As in shared/tables/writing.py, a text that a spreadsheet would take for a formula begins with an apostrophe: the
# text may have come from a link.
DOWNLOAD = """() => {%(helpers)s%(save)s
    const isFormula = (text) => /^[\\t\\r\\n]/.test(text)
        || /^[\\p{C}\\p{M}\\p{Z}]*[=+@\\u2212-]/u.test(text.normalize("NFKC"))
        && !/^\\s*[-+\\u2212]?[\\d.,]*\\d[\\d.,]*(e[-+]?\\d+)?\\s*%%?$/i.test(text)
    const quote = (cell) => `"${(isFormula(String(cell)) ? "'" : "") + String(cell).replaceAll('"', '""')}"`
    const rows = [...read()].map(([input, label]) => [...JSON.parse(input), label])
    const csv = [[...columns, %(target)s], ...rows].map((row) => row.map(quote).join(",") + "\\r\\n").join("")
    save("answers.csv", csv)
}"""
DELETE = """() => {%(helpers)s
    try { localStorage.removeItem(place) } catch {}
    return show(texts.gone, new Map())
}"""


def add_feedback(
    config: GalleryConfig,
    answer: gr.components.Component,
    inputs: Mapping[str, Any],
    headline: gr.HTML | None = None,
) -> None:
    """Ask whether the answer is right: yes, or no and the right label; keep it in the browser, for download as CSV.

    If the answer is a number, which is not in a gr.Label, nothing is asked. Nothing is kept about an answer to other
    inputs than those on the page, which `newest.ask` remembers. After a "yes" to a headline that names no
    label, such as "Not sure", the right label is asked for, too.

    Args:
        config: the model's config, with its labels.
        answer: the component with the answer.
        inputs: the components of the input, with their names in the CSV.
        headline: the component with the headline of the answer, if it has one; see headline.py.
    """
    labels: Sequence[str] = getattr(config, "labels", ())
    if not isinstance(answer, gr.Label) or len(labels) < 2:
        return
    columns, fields = list(inputs), list(inputs.values())
    named = {config.get_label_name(label): label for label in reversed(labels)}
    meaning = hashlib.sha256(json.dumps([columns, list(labels)]).encode()).hexdigest()[:16]
    words = {
        "place": f"answers-{meaning}", "columns": columns, "names": named, "texts": TEXTS,
        "target": next(name for name in ("label", "right label", "label_") if name not in columns),
    }  # fmt: skip
    script: dict[str, object] = {name: json.dumps(value) for name, value in words.items()}
    script |= {"most": MOST, "save": SAVE, "read": READ_HEADLINE, "is_old": write_is_old(fields)}
    script["helpers"] = HELPERS % script
    with gr.Row(elem_classes="feedback"):
        gr.Markdown("Was this right?")
        yes, no = (gr.Button(word, size="sm", min_width=60) for word in ("Yes", "No"))
    choices = [(config.get_label_name(label), label) for label in labels]
    right = gr.Dropdown(choices, value=None, label="The right answer", visible=False)
    note = gr.Markdown(TEXTS["stays"], elem_classes="feedback-note")
    with gr.Row(visible=False) as buttons:
        download = gr.Button("Download as CSV", size="sm", min_width=120)
        delete = gr.Button("Delete them", size="sm", min_width=120)
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    shown = [note, right, buttons]
    said = answer if headline is None else headline
    yes.click(None, [answer, said, *fields], shown, js=YES % script, **quiet)
    no.click(None, [answer, *fields], shown, js=NO % script, **quiet)
    right.input(None, [right, *fields], shown, js=CHOOSE % script, **quiet)
    download.click(None, None, None, js=DOWNLOAD % script, **quiet)
    delete.click(None, None, shown, js=DELETE % script, **quiet)
    # A question about the answer to an earlier input is closed.
    gr.on([field.change for field in fields], None, None, shown, js=OPEN % script, **quiet)
    gr.on([Context.root_block.load], None, None, shown, js=OPEN % script, **quiet)
