"""Pages by model type, and what `audiodiff demo` cannot serve."""

import socket

import pytest

from audiodiff.cli.demo import demo
from audiodiff.demo.serve import PAGES, build
from audiodiff.errors import UserError
from audiodiff.models.codec import Codec
from audiodiff.models.registry import MODEL_TYPES
from audiodiff.nn.autoencoder import Autoencoder


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        demo(model=tmp_path)


def test_a_port_that_is_taken(model_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="choose another --port"):
            demo(model=model_folder, port=taken.getsockname()[1])


def test_every_model_type_has_a_page_or_says_that_it_has_none(tmp_path):
    assert PAGES.keys() == MODEL_TYPES.keys()
    Codec(Autoencoder(4, 16, channels=[12], blocks=[1]), 8000, 1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"codec.*no page; give a model of type vocoder or"):
        build(tmp_path)
