"""Save an answer as a picture, which the visitor's browser draws from what the page shows."""

import json

import gradio as gr
from gradio.context import Context

from .downloads import SAVE
from .headline import READ_HEADLINE
from .newest import write_is_old

TEXTS = {
    "none": "There is no answer to save yet.",
    "lost": "The picture could not be read; choose it again.",
    "quoted": "“…”",
}
MOST_BARS = 4

# A label has {label, confidences: [{label, confidence}]}, a picture has {url}.
DRAW = """async (answer, headline, shown) => {%(save)s%(read)s
    %(is_old)s
    const texts = %(texts)s
    const said = readHeadline(headline)
    if (!said || isOld([shown])) return texts.none
    const [width, height, edge] = [1200, 630, 60]
    const canvas = Object.assign(document.createElement("canvas"), { width, height })
    const pen = canvas.getContext("2d")
    const write = (text, x, y, size, room, { most = 1, weight = 400, colour = "#1f2937" } = {}) => {
        Object.assign(pen, { font: `${weight} ${size}px system-ui, sans-serif`, fillStyle: colour })
        const lines = [""]
        for (const word of text.split(/\\s+/)) {
            const longer = `${lines.at(-1)} ${word}`.trim()
            if (pen.measureText(longer).width <= room || !lines.at(-1)) lines[lines.length - 1] = longer
            else lines.push(word)
        }
        if (lines.length > most) lines[most - 1] += " …"
        lines.slice(0, most).forEach((line, index) => pen.fillText(line, x, y + 1.35 * size * index, room))
        return y + 1.35 * size * Math.min(most, lines.length)
    }
    Object.assign(pen, { fillStyle: "white" }).fillRect(0, 0, width, height)
    const hasPicture = Boolean(shown?.url)
    const left = hasPicture ? 580 : edge
    const room = width - left - edge
    if (hasPicture) {
        const picture = new Image()
        picture.src = shown.url
        try { await picture.decode() } catch { return texts.lost }
        const scale = Math.min(480 / picture.width, 510 / picture.height)
        const [wide, high] = [picture.width * scale, picture.height * scale]
        pen.drawImage(picture, edge + (480 - wide) / 2, edge + (510 - high) / 2, wide, high)
    }
    let y = write(%(title)s, left, edge + 40, 34, room, { most: 2, colour: "#4b5563" })
    if (typeof shown === "string") {
        y = write(texts.quoted.replace("…", () => shown.trim()), left, y + 20, 30, room, { most: 3 })
    }
    y = write(said, left, y + 40, said.length > 20 ? 44 : 60, room, { most: 3, weight: 700 })
    for (const { label, confidence } of (answer?.confidences ?? []).slice(0, %(most)d)) {
        if (y > height - 100) break
        y = write(`${label}: ${Math.round(100 * confidence)}%%`, left, y + 4, 28, room)
        Object.assign(pen, { fillStyle: "#e5e7eb" }).fillRect(left, y - 24, room, 14)
        Object.assign(pen, { fillStyle: "#6366f1" }).fillRect(left, y - 24, room * confidence, 14)
        y += 28
    }
    write(location.host + location.pathname, left, height - 30, 22, room, { colour: "#4b5563" })
    saveBlob("answer.png", await new Promise((resolve) => canvas.toBlob(resolve)))
    return ""
}"""


def add_card(answer: gr.Label, headline: gr.HTML | None = None, shown: gr.components.Component | None = None) -> None:
    """Add a button that saves an answer as a picture of 1200 × 630 pixels, as messengers show it.

    Args:
        answer: the component with the answer.
        headline: the component with its headline, from add_headline; without it, the headline is the answer's label.
        shown: the input, which is on the card, too: a picture, or the beginning of a text. An answer to another input
            is not saved.
    """
    title = json.dumps(Context.root_block.title if Context.root_block else "")
    is_old = "const isOld = () => false" if shown is None else write_is_old([shown])
    words = {"texts": json.dumps(TEXTS), "title": title, "most": MOST_BARS, "save": SAVE, "read": READ_HEADLINE}
    words["is_old"] = is_old
    save = gr.Button("Save this answer as a picture", size="sm")
    note = gr.HTML(html_template='<p role="status">${value}</p>', label="About the picture")
    empty = gr.JSON(visible=False, label="Nothing") if shown is None else shown
    inputs = [answer, answer if headline is None else headline, empty]
    save.click(None, inputs, note, js=DRAW % words, api_visibility="private", show_progress="hidden")
