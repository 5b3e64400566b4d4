"""Keep visitors' inputs out of Gradio's sessions.

For deep links, Gradio 6.31 stores a description and the last value of every component in each session. No page has deep
links, and shared/ui/http_guard.py blocks their route.
"""

from copy import copy
from typing import Any

import gradio as gr
from gradio import state_holder
from gradio.components import State
from gradio.state_holder import SessionState, StateHolder
from starlette.exceptions import HTTPException

from ..limits import LIMITS

get_session = StateHolder.__getitem__


class Session(SessionState):
    """Gradio's session without descriptions and values of components, except for gr.State."""

    def __init__(self, blocks: gr.Blocks) -> None:
        # As in SessionState, but `config_values` stays empty; a test compares the fields.
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
    """Return the session with a name, and create it if necessary; every request with a session_hash does this.

    Raises:
        HTTPException: 422 if the name is too long; Gradio stores it in many places.
    """
    if len(name) > LIMITS.session_characters:
        raise HTTPException(422, f"A session_hash may have at most {LIMITS.session_characters} characters.")
    return get_session(holder, name)


def use_lean_sessions() -> None:
    """Make Gradio use Session and limit the length of session names; `launch` has no argument for this."""
    state_holder.SessionState = Session
    StateHolder.__getitem__ = get_or_make_session
