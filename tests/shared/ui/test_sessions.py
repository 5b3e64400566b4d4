"""A session keeps nothing of what a visitor entered."""

import gc

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from benchmarks.clients import Client
from shared.ui.sessions import Session
from tests.conftest import launch_app

SECRET = "what somebody wrote of Bob"


@pytest.fixture
def demo():
    with gr.Blocks() as demo:
        text, out, seen = gr.Textbox(), gr.Textbox(), gr.State([])
        text.submit(lambda value, seen: (value, [*seen, len(value)]), [text, seen], [out, seen], api_name="same")
    return demo


def test_it_has_the_fields_of_gradios(demo):
    with launch_app(demo):
        ours, theirs = Session(demo), SessionState(demo)
        assert vars(ours).keys() == vars(theirs).keys()
        assert ours.STATE_TTL_WHEN_CLOSED == theirs.STATE_TTL_WHEN_CLOSED  # how long a visitor who left has a state


def test_nothing_that_was_entered_or_answered_is_kept(demo):
    with launch_app(demo) as url:
        client = Client(url)
        assert client.ask(("same", [SECRET], None))[0] == SECRET
        gc.collect()
        session = demo.state_holder.session_data[client.session]
        assert isinstance(session, Session)
        assert SECRET not in str(vars(session))
        assert session.config_values == {}


def test_what_an_app_keeps_in_a_state_is_kept(demo):
    with launch_app(demo) as url:
        client = Client(url)
        for _ in range(2):
            client.ask(("same", [SECRET], None))
        (seen,) = demo.state_holder.session_data[client.session].state_data.values()
        assert seen == [len(SECRET)] * 2
