"""`audiodiff demo` refuses in one line what it cannot serve."""

import socket

import pytest

from audiodiff.cli.demo import demo
from audiodiff.errors import UserError


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        demo(model=tmp_path)


def test_a_port_that_is_taken(model_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="choose another --port"):
            demo(model=model_folder, port=taken.getsockname()[1])
