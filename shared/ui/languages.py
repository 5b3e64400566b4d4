"""Show pages in the language of a visitor's browser: English, which is in the code, or German.

As with gettext, the English text is the key. The server translates in two places: the description of a page (Gradio's
config), and the answers to a page. Callers of the API get English. Gradio 6.31 could translate with gr.I18n in the
browser, but only six properties of what a page opens with: no choices, table headings, plots, scripts or answers.

A language is a file with its two letters, such as de.json: {English: translation}. A key may have {names} for what is
inserted, of which those in NUMBERS stand for numbers only. The value of "1,234.5" says how numbers are written.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ..markdown import escape_markdown

ENGLISH = "en"
MAX_ASKED = 500  # characters of Accept-Language
LONGEST, MOST_SENTENCES, DEEPEST = 600, 10, 4  # of a text that is more than one key, so that it does not take long
TEXTS = ("label", "info", "placeholder", "main_page_name", "x_title", "y_title")  # properties of components
COLUMNS = ("x", "y", "color", "color_map", "tooltip", "headers")  # properties that name what is in a plot or a table
UNTRANSLATED = ("figures", "snippets")  # classes of components: the model card, and code
INSERTED = re.compile(r"\{(\w+)\}")
NUMBERS = {"low", "high", "count", "percent", "number"}
KEPT = {"column", "columns", "missing"}  # names in a visitor's file, such as "text"
FIELD = "field"  # stands for what an error calls a field of a form: its label up to a comma
ITEMS = {"item", "items", "unit"}  # words of the data; a text with one is not inserted, as a title may look the same
# What is inserted has no end of a sentence, which is not after an initial, "Dr" or "Mrs".
PART = r"(?:(?!(?<!\b[A-Z])(?<!\b[A-Z][a-z])(?<!\bMrs)[.] [A-Z]).)"
SENTENCE_END = re.compile(r"(?<=[.?!:]) ")
COLON, PARENTHESIS = re.compile(r"(.+?)(: )(.+)()"), re.compile(r"(.+)( \()(.+)(\))")
NEW = " · new"  # behind the title of a new recommendation
NO_BREAK = "\N{NO-BREAK SPACE}"
NUMBER = re.compile(r"([^\w.,]*)(\d[\d,]*(?:\.\d+)?)( ?[%★]?)")
QUANTITY = re.compile(r"(\d[\d,]*(?:\.\d+)?)( [^\W\d]+)")  # a number and its unit
TAG_OR_TEXT = re.compile(
    r'(<[a-z][^<>]*?\baria-label=")([^"]*)("[^<>]*>)|(<[a-z/][^<>]*>)|((?:[^<]|<(?![a-z/]))+)', re.IGNORECASE
)
MARKDOWN_LINE = re.compile(r"^((?:#+|-) |)(.+)$", re.MULTILINE)
SOFT_BREAK = re.compile(r"(?m)^([^\W\d_].*)\n(?=[^\W\d_])")
SCRIPT_TEXTS = re.compile(r'texts = (?=\{)|names = (?=\{)|write\((?=")|^\(\) => (?=\[)')  # before JSON in shared/ui

LANGUAGE: ContextVar[str] = ContextVar("language", default=ENGLISH)  # of the request that is answered


class Template:
    """The texts that a key with inserted parts stands for.

    An inserted part but the last ends where the text behind it first comes, and no other end is tried (?>), or texts
    made for that would take seconds.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.start, *rest = INSERTED.split(key)  # text, name, text, ...
        self.names, (*self.inner, self.end) = set(rest[::2]), rest[1::2]
        pattern = re.escape(self.start)
        for name, text in zip(rest[::2], rest[1::2], strict=True):
            part = r"[-+<>% .,0-9]" if name in NUMBERS else "[^.:,()0-9]" if name in ITEMS else PART
            pattern += f"(?>(?P<{name}>{part}+?){re.escape(text)})"
        self.pattern = re.compile(f"{pattern[:-1]}\\Z)")

    def match(self, text: str) -> dict[str, str] | None:
        """Return the inserted parts of a text by name; None if it is another text."""
        if not (text.startswith(self.start) and text.endswith(self.end) and all(part in text for part in self.inner)):
            return None  # most texts, in a hundredth of the time that the pattern takes
        found = self.pattern.fullmatch(text)
        return found and found.groupdict()


class Language:
    """The texts of one language."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.separators = str.maketrans(",.", texts["1,234.5"][1] + texts["1,234.5"][5])
        labels = [(key.partition(", "), text.partition(", ")) for key, text in texts.items()]
        self.fields = {key[0]: text[0] for key, text in labels if key[1] and text[1]}
        # The most specific first: those with the most letters of their own.
        keys = sorted((key for key in texts if INSERTED.search(key)), key=lambda key: -len(INSERTED.sub("", key)))
        self.templates = [Template(key) for key in keys]
        self.inserted = [template for template in self.templates if ITEMS.isdisjoint(template.names)]

    def find(self, text: str, depth: int = DEEPEST) -> str | None:
        """Return the translation of a text, of a number, or of a text with inserted parts; None if there is none.

        Texts with parts in parts are translated to this depth.
        """
        if text in self.texts:
            return self.texts[text]
        if number := NUMBER.fullmatch(text):
            before, digits, unit = number.groups()
            return f"{before}{digits.translate(self.separators)}{NO_BREAK + '%' if unit == '%' else unit}"
        templates = self.templates if depth == DEEPEST else self.inserted
        for template in templates if len(text) <= LONGEST and depth else ():
            if found := template.match(text):
                parts = {
                    name: part if name in KEPT and part in self.texts else self._find_part(name, part, depth) or part
                    for name, part in found.items()
                }
                return self.texts[template.key].format(**parts)
        quantity = QUANTITY.fullmatch(text)
        return quantity[1].translate(self.separators) + quantity[2] if quantity else None

    def _find_part(self, name: str, part: str, depth: int) -> str | None:
        return self.find_field(part) if name == FIELD else self.find(part, depth - 1)

    def find_field(self, name: str) -> str | None:
        """Return the translation of a name that TabularConfig.name_field returns; None if there is none."""
        label, space, column = name.partition(" (")
        known = self.texts.get(label) or self.fields.get(label)
        return known and known + space + column

    def translate(self, text: str, depth: int = DEEPEST) -> str:
        """Return a text with what is known of it translated: as a whole, by sentences, or as "this: that (those)"."""
        found = self.find(text, depth)
        if found is not None or len(text) > LONGEST or not depth:
            return text if found is None else found
        for end in reversed(list(SENTENCE_END.finditer(text))[:MOST_SENTENCES]):
            if (head := self.find(text[: end.start()], depth)) is not None:
                return f"{head} {self.translate(text[end.end() :])}"
        if parts := COLON.fullmatch(text) or PARENTHESIS.fullmatch(text):
            this, between, that, end_of_it = parts.groups()
            return f"{self.translate(this, depth - 1)}{between}{self.translate(that, depth - 1)}{end_of_it}"
        return text

    def translate_label(self, text: str) -> str:
        """Return a model's label with what is known of it translated, but not as words of a recommender's page."""
        return self.translate(text, DEEPEST - 1)

    def translate_html(self, text: str) -> str:
        """Return HTML with its texts and its aria-labels translated."""

        def replace(found: re.Match[str]) -> str:
            start, label, end, tag, words = found.groups()
            if start:
                return f"{start}{html.escape(self.translate(html.unescape(label)))}{end}"
            if tag or not words.strip():
                return found[0]
            core = words.strip()
            return words.replace(core, html.escape(self.translate(html.unescape(core)), quote=False))

        return TAG_OR_TEXT.sub(replace, text)

    def translate_markdown(self, text: str) -> str:
        """Return Markdown with its headings, paragraphs and items translated."""

        def replace(found: re.Match[str]) -> str:
            mark, line = found.groups()
            plain = re.sub(r"\\([\\|`*~_(])", r"\1", line).replace("&lt;", "<")
            known = self.translate(plain)
            return mark + (line if known == plain else known if plain == line else escape_markdown(known))

        return MARKDOWN_LINE.sub(replace, SOFT_BREAK.sub(r"\1 ", text))

    def translate_script(self, script: str) -> str:
        """Return a script of shared/ui with its texts, and the names of labels, translated."""
        for found in reversed(list(SCRIPT_TEXTS.finditer(script))):
            value, end = json.JSONDecoder().raw_decode(script, found.end())
            if isinstance(value, str):
                value = self.translate(value)
            elif isinstance(value, list):  # what `clear` puts into components
                value = [self.translate_value("html" if isinstance(item, str) else "dataframe", item) for item in value]
            elif found[0].startswith("names"):
                value = {self.translate_label(name): label for name, label in value.items()}
            else:
                value = {name: self.translate(item) for name, item in value.items()}
            script = script[: found.end()] + json.dumps(value) + script[end:]
        return script

    def translate_columns(self, value: Any) -> Any:
        """Return a text, or the texts in a list, in a mapping's keys or in rows, if they are known as a whole."""
        if isinstance(value, str):
            return self.texts.get(value, value)
        if isinstance(value, list):
            return [self.translate_columns(item) for item in value]
        if isinstance(value, dict):
            return {self.translate_columns(name): self.translate_columns(item) for name, item in value.items()}
        return value

    def translate_mark(self, cell: Any) -> Any:
        """Return a cell of a table, in which only the mark of a new recommendation is translated."""
        start, mark, rest = cell.rpartition(NEW) if isinstance(cell, str) else ("", "", "")
        return f"{start} · {self.texts[NEW.strip(' ·')]}" if mark and not rest else cell

    def translate_shown(self, table: Mapping[str, Any]) -> list[list[str]]:
        """Return the cells of a table as they are shown, with the numbers as this language writes them."""

        def translate(cell: Any, shown: str) -> Any:
            return self.translate_mark(shown) if isinstance(cell, str) else self.find(shown) or shown

        return [
            [*map(translate, *rows)] for rows in zip(table["data"], table["metadata"]["display_value"], strict=True)
        ]

    def translate_value(self, kind: str, value: Any) -> Any:
        """Return a component's value for a page. Inputs, JSON and the parts of a visitor's text stay as they are.

        Args:
            kind: the type of the component in Gradio's config, such as "markdown".
            value: the value as the browser gets it.
        """
        if isinstance(value, str):
            by_kind = {"html": self.translate_html, "markdown": self.translate_markdown, "button": self.translate}
            return by_kind.get(kind, str)(value)
        if not isinstance(value, dict) or kind not in ("label", "annotatedimage", "dataframe", "nativeplot"):
            return value
        changed: dict[str, Any] = {}
        if isinstance(value.get("label"), str):
            changed["label"] = self.translate_label(value["label"])
        for part in ("confidences", "annotations"):
            changed[part] = [one | {"label": self.translate_label(one["label"])} for one in value.get(part) or ()]
        if kind == "dataframe":
            changed["data"] = [[self.translate_mark(cell) for cell in row] for row in value.get("data") or ()]
            if value.get("metadata"):
                changed["metadata"] = value["metadata"] | {"display_value": self.translate_shown(value)}
        for part in ("headers",) if kind == "dataframe" else ("columns", "data", "datatypes"):
            changed[part] = self.translate_columns(value.get(part))
        return value | {part: new for part, new in changed.items() if part in value}

    def translate_component(self, kind: str, props: dict[str, Any]) -> None:
        """Translate the properties of a component in Gradio's config."""
        props |= {name: self.translate(props[name]) for name in TEXTS if isinstance(props.get(name), str)}
        if set(UNTRANSLATED).isdisjoint(props.get("elem_classes") or ()):
            props["value"] = self.translate_value(kind, props.get("value"))
        if kind in ("nativeplot", "dataframe"):
            props |= {name: self.translate_columns(props[name]) for name in COLUMNS if props.get(name)}
        if kind == "dropdown":
            props["choices"] = [(self.translate_columns(name), value) for name, value in props["choices"]]
        if kind == "html" and props.get("js_on_load"):
            props["js_on_load"] = self.translate_script(props["js_on_load"])
        if kind == "annotatedimage":
            props["color_map"] = {
                self.translate_label(name): colour for name, colour in (props.get("color_map") or {}).items()
            }


LANGUAGES = {
    path.stem: Language(json.loads(path.read_text(encoding="utf-8"))) for path in Path(__file__).parent.glob("??.json")
}


def find_language(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the first language that a browser asks for and that there is; else English."""
    asked = b",".join(value for name, value in headers if name == b"accept-language").decode("latin-1").lower()
    wanted = (item.partition(";")[0].strip().partition("-")[0] for item in asked[:MAX_ASKED].split(","))
    return next((name for name in wanted if name in LANGUAGES or name == ENGLISH), ENGLISH)


def translate_page(config: Any, name: str) -> Any:
    """Return Gradio's config of a page in a language; it is changed in place."""
    language = LANGUAGES.get(name)
    if language is None:
        return config
    config["title"] = language.translate(config["title"])
    config["pages"] = [(path, language.translate(title), *rest) for path, title, *rest in config["pages"]]
    for component in config["components"]:
        language.translate_component(component["type"], component["props"])
    for event in config["dependencies"]:
        if isinstance(event["js"], str):
            event["js"] = language.translate_script(event["js"])
    return config


def translate_answer(headers: Any, kinds: Iterable[str], output: dict[str, Any]) -> dict[str, Any]:
    """Return the output of an event in the language of the page that asked; that of another caller is unchanged.

    Args:
        headers: the headers of the request; Gradio's page names itself in one of them.
        kinds: the types of the components that show the output.
        output: {"data": values} or {"error": sentence}.
    """
    language = LANGUAGES.get(find_language(headers.raw)) if headers.get("x-gradio-user") == "app" else None
    if language is None:
        return output
    changed: dict[str, Any] = {
        name: language.translate(output[name]) for name in ("error", "title") if isinstance(output.get(name), str)
    }
    if "data" in output:
        changed["data"] = [language.translate_value(*pair) for pair in zip(kinds, output["data"], strict=True)]
    return output | changed


def mark_page(message: Any, path: str) -> Any:
    """Return an ASGI message of the app; that of a page names its language, and says that the browser has chosen it.

    Args:
        message: a message with a header, or with a body.
        path: the path of the request.
    """
    if message["type"] == "http.response.start":
        is_page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in message["headers"])
        if is_page or path.rstrip("/") == "/config":
            message["headers"] = [*message["headers"], (b"vary", b"Accept-Language")]
    elif message["type"] == "http.response.body" and message.get("body", b"")[:9].lower() == b"<!doctype":
        lang = f'lang="{LANGUAGE.get()}"'.encode()  # as long as lang="en", so the Content-Length stays true
        message["body"] = message["body"].replace(b'lang="en"', lang, 1)
    return message
