"""Copy a link to an answer: it has the input, which fills the page again when somebody opens it.

The input is filled again, too, when a page is reloaded or returned to: Gradio reloads a page that has lost its
connection for a moment.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from .answer_card import add_card

LONGEST = 8_000  # characters of a link; some messengers and mail programs cut longer ones
MARK = "#input="  # the input follows, as JSON
# The input is in the fragment and not in the query, because browsers send the query to the server, which may log it.
TEXTS = {
    "copied": "The link is copied. Whoever has it can see this input.",
    "address": "This browser does not let the page copy. The link is in the address bar.",
    "framed": "This browser does not let the page copy. Open the page in a tab of its own and try again.",
    "long": f"This input is too long: a link may have {LONGEST:,} characters.",
    "opened": "The input is from the link that you opened.",
    "damaged": "The link that you opened is damaged or for another page, so its input is not shown.",
    "back": "Your input is back.",
    "too_long_to_open": f"The link that you opened is too long: it may have {LONGEST:,} characters.",
}

# The values of the inputs, by their names in the link.
INPUT = "Object.fromEntries(%s.map((name, index) => [name, values[index] ?? null]))"

# Only in this tab, until it is closed. In an iframe, a browser may refuse to store anything.
KEEP = """(...values) => {
    try { sessionStorage.setItem(location.pathname, JSON.stringify(%(input)s)) } catch {}
}"""
KEPT = """() => {
    if (performance.getEntriesByType("navigation")[0]?.type === "navigate") return null
    try { return sessionStorage.getItem(location.pathname) } catch { return null }
}"""

# On the Hub, the page is in an iframe and cannot read the address around it, so the link leads to the page itself. It
# has no query, which has the visitor's key to a private Space.
WRITE = """async (...values) => {
    const embedded = document.querySelector("gradio-app[src]")?.getAttribute("src")
    const own = location.origin + location.pathname
    const page = window.gradio_config || !embedded ? own : new URL(embedded, location).href
    const texts = %(texts)s
    const link = page + "%(mark)s" + encodeURIComponent(JSON.stringify(%(input)s))
    if (link.length > %(longest)d) return texts.long
    try {
        await navigator.clipboard.writeText(link)
        return texts.copied
    } catch {
        if (window.self !== window.top || page !== own) return texts.framed
        history.replaceState(history.state, "", link)
        return texts.address
    }
}"""

# The link may be from anybody: only values of the kinds that the inputs have are taken, and the endpoint checks them
# like typed ones.
READ = """() => {
    const kinds = %(kinds)s, texts = %(texts)s
    const stay = { __type__: "update" }
    const refuse = (text) => [text, stay, ...Object.keys(kinds).map(() => stay)]
    const kept = (%(kept)s)()
    if (!kept && location.href.length > %(longest)d) return refuse(texts.too_long_to_open)
    const isNumber = (value) => typeof value === "number" && Number.isFinite(value)
    const checks = {
        text: (value) => typeof value === "string",
        number: (value) => value === null || isNumber(value),
        choice: (value) => value === null || typeof value === "string" || isNumber(value),
        ratings: (value) => typeof value === "object" && value !== null && !Array.isArray(value)
            && Object.values(value).every(isNumber),
    }
    try {
        const given = JSON.parse(kept ?? decodeURIComponent(location.hash.slice("%(mark)s".length)))
        const input = { tab: 0, ...given }  // older links have no tab
        const isComplete = Object.keys(kinds).every(
            (name) => Object.hasOwn(input, name) && checks[kinds[name]](input[name]))
        // Other keys are left out: a "__type__" would change a component.
        const known = Object.keys(kinds).map((name) => [name, input[name]])
        const note = kept ? texts.back : texts.opened
        if (isComplete) return [note, Object.fromEntries(known), ...known.map(([, value]) => value)]
    } catch {}
    return refuse(kept ? "" : texts.damaged)
}"""

# The number may be any: if there were no such tab, none would be open.
OPEN = """({ tab }) => ({
    __type__: "update", ...(Number.isInteger(tab) && tab >= 0 && tab < %d && { selected: tab }),
})"""

# A link that is pasted into the address of the open page does not load it again.
START = """
const isLink = () => location.hash.startsWith("%(mark)s");
addEventListener("hashchange", () => {
    if (!isLink()) return;
    try { sessionStorage.removeItem(location.pathname) } catch {}
    location.reload();
});
if (isLink() || (%(kept)s)()) trigger("click");
"""


def add_link(
    inputs: Mapping[str, gr.components.Component],
    answer: gr.components.Component | None = None,
    headline: gr.HTML | None = None,
    tabs: gr.Tabs | None = None,
) -> Callable[..., Any]:
    """Add a button that copies a link with these inputs, and fill them when the page is opened with such a link.

    They are also filled again when the page is reloaded. The server gets nothing for either but the question that the
    filled page asks.

    Args:
        inputs: texts, numbers, drop-downs, or the ratings of a visitor as gr.JSON, each with its name in the link.
        answer: the answer; if it is a gr.Label, a second button saves it as a picture.
        headline: the component with its headline, if it has one; see headline.py.
        tabs: tabs of which the one is opened that the input "tab" has the number of; see number_tabs.

    Returns:
        The event that fires after the inputs have been filled.
    """
    words = fill_words(inputs)
    kinds = json.dumps({name: find_kind(component) for name, component in inputs.items()})
    note = add_copy(inputs)
    if isinstance(answer, gr.Label):
        add_card(answer, headline, inputs["text"] if [*inputs] == ["text"] else None)
    received, filled = (gr.JSON(visible=False, label="The input of a link") for _ in range(2))
    opened = gr.HTML(js_on_load=START % words, visible="hidden")
    private = {"api_visibility": "private", "show_progress": "hidden"}
    changes = [component.change for component in inputs.values()]
    gr.on(changes, None, [*inputs.values()], None, js=KEEP % words, **private)
    fill = opened.click(None, None, [note, received, *inputs.values()], js=READ % (words | {"kinds": kinds}), **private)
    fill.then(None, received, filled, js="input => input", **private)  # only now do all inputs have their new values
    if tabs:
        filled.change(None, filled, tabs, js=OPEN % len(tabs.children), **private)
    return filled.change  # type: ignore[no-any-return]


def add_copy(inputs: Mapping[str, gr.components.Component]) -> gr.HTML:
    """Add a button that copies a link with these inputs, and below it the note that it is copied; return the note."""
    copy = gr.Button("Copy a link to this answer", size="sm")
    note = gr.HTML(html_template='<p role="status">${value}</p>', label="About the link")
    copying = {"js": WRITE % fill_words(inputs), "api_visibility": "private", "show_progress": "hidden"}
    copy.click(None, [*inputs.values()], note, **copying)
    return note


def number_tabs(tabs: gr.Tabs) -> gr.Number:
    """Give tabs the numbers 0, 1, …; add a hidden field with the number of the open one."""
    opened = gr.Number(0, visible=False, label="Open tab")
    for number, tab in enumerate(tabs.children):
        tab.id = number
        tab.select(None, None, opened, js=f"() => {number}", api_visibility="private", show_progress="hidden")
    return opened


def fill_words(inputs: Mapping[str, gr.components.Component]) -> dict[str, Any]:
    """Return what the scripts insert."""
    given = INPUT % json.dumps([*inputs])
    return {"mark": MARK, "longest": LONGEST, "texts": json.dumps(TEXTS), "input": given, "kept": KEPT}


def find_kind(component: gr.components.Component) -> str:
    """Return the kind of values that an input takes from a link."""
    kinds = {gr.JSON: "ratings", gr.Number: "number", gr.Dropdown: "choice", gr.Textbox: "text"}
    return next(kind for base, kind in kinds.items() if isinstance(component, base))
