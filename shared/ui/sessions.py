"""What the app remembers of a visitor: nothing of what they entered.

Gradio 6.31 keeps, for each session, a description of every component and the last value that it was given, so that a
deep link can show the page again. No page has deep links, and shared/ui/http_guard.py closes their route.
"""

from copy import copy
from typing import Any

import gradio as gr
from gradio import state_holder
from gradio.components import State
from gradio.state_holder import SessionState, StateHolder
from starlette.exceptions import HTTPException

NAME_CHARACTERS = 128
get_session = StateHolder.__getitem__


class Session(SessionState):
    """Gradio's session without descriptions and values of components; what gr.State holds is kept."""

    def __init__(self, blocks: gr.Blocks) -> None:
        # As in SessionState, less `config_values`: a test compares the fields.
        self.blocks_config = copy(blocks.default_config)
        self.config_values: dict[int, Any] = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 3600

    def __setitem__(self, key: int, value: Any) -> None:
        if isinstance(self.blocks_config.blocks.get(key), State):
            super().__setitem__(key, value)
            self.config_values.clear()
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        """Keep nothing."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Keep nothing."""


def get_or_make_session(holder: StateHolder, name: str) -> SessionState:
    """Return the session of that name, which is made if there is none: what every request with a session_hash does.

    Raises:
        HTTPException: 422 for a longer name than any client gives; Gradio keeps it in many places.
    """
    if len(name) > NAME_CHARACTERS:
        raise HTTPException(422, f"A session_hash may have {NAME_CHARACTERS} characters.")
    return get_session(holder, name)


def use_lean_sessions() -> None:
    """Have Gradio make a Session for each visitor, and none of a long name; `launch` has no argument for that."""
    state_holder.SessionState = Session
    StateHolder.__getitem__ = get_or_make_session
