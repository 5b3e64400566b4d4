"""The site of spaces/browser with the demos, for Chromium and Firefox."""

import threading

import pytest

from hub.client import PublishError
from hub.static_site import build_site, find_demos, serve, write_site


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory):
    """The files of the site."""
    folder = tmp_path_factory.mktemp("site")
    try:
        write_site(build_site(find_demos(), "Model gallery"), folder)
    except PublishError as error:
        pytest.skip(str(error))
    return folder


@pytest.fixture(scope="module")
def site(site_folder):
    """The address of the site."""
    server = serve(site_folder, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
