"""Find the texts of a page that a language does not translate."""

import json
import re

from shared.ui.languages import LANGUAGES, Language, translate_page


class Recorded(dict):
    """Texts that remember which of them were used."""

    def __init__(self, texts):
        super().__init__(texts)
        self.used = set()

    def __getitem__(self, key):
        self.used.add(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.used.update({key} & self.keys())
        return super().get(key, default)


class RecordedLanguage(Language):
    """A language that remembers the texts that it does not know."""

    def __init__(self, name):
        super().__init__(Recorded(LANGUAGES[name].texts))
        self.unknown = set()

    def translate(self, text, *depth):
        translated = super().translate(text, *depth)
        if translated == text and self.find(text) is None and re.search("[A-Za-z]{2}", text):
            self.unknown.add(text)
        return translated


def translate_visible(config, name):
    """Return Gradio's config of a page in a language, without hidden components."""
    page = json.loads(json.dumps(config))
    page["components"] = [one for one in page["components"] if one["props"].get("visible") is not False]
    return translate_page(page, name)
