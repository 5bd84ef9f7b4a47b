"""What `audiodiff demo` serves and what not, and to whom."""

import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from gradio import Blocks
from gradio_client import Client

from audiodiff.cli.demo import demo
from audiodiff.demo import OPTIONS, build
from audiodiff.errors import UserError
from audiodiff.models.codec import Codec
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auth": "ann"}, "--auth: is not NAME:PASSWORD"),
        ({"auth": ":secret"}, "--auth: is not NAME:PASSWORD"),
        ({"memory": 0}, "--memory 0: must be above 0 GB"),
        ({"memory": float("nan")}, "--memory nan: must be above 0 GB"),
    ],
)
def test_options_of_serving_are_checked_before_anything_is_loaded(model_folder, options, message):
    with pytest.raises(UserError, match=f"^{message}"):
        demo(model=model_folder, **options)


def test_options_of_serving_arrive(model_folder, monkeypatch):
    seen = {}
    monkeypatch.setattr(Blocks, "launch", lambda page, **options: seen.update(options))
    demo(model=model_folder, auth="ann:se:cret", root_path="/sound", share=True, host="0.0.0.0", port=80)
    assert seen["auth"] == ("ann", "se:cret") and seen["root_path"] == "/sound" and seen["share"] is True
    assert (seen["server_name"], seen["server_port"]) == ("0.0.0.0", 80)
    demo(model=model_folder)
    assert (seen["server_name"], seen["share"], seen["auth"], seen["root_path"]) == ("127.0.0.1", False, None, None)


def test_a_password_is_asked_for_and_files_are_below_the_root_path(uploads, model_folder):
    """A page behind a proxy that serves it at another path, whose visitors log in."""
    options = {"auth": ("ann", "secret"), "root_path": "/sound"}
    page = build(model_folder)
    _, address, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **OPTIONS, **options)
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{address}config", timeout=30)
    assert refused.value.code == 401
    with pytest.raises(ValueError, match="Could not login"):
        Client(address, verbose=False, auth=("ann", "wrong"))
    client = Client(address, verbose=False, auth=("ann", "secret"))
    assert client.config["root"].endswith("/sound")
    page.close()


def test_models_without_a_task_are_offered_nowhere(tmp_path):
    Codec(Autoencoder(4, 16, channels=[12], blocks=[1]), 8000, 1).save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"is a codec, for which the demo has no tab; give a vocoder, audio, acoustic, upsampler or"
    ):
        build(tmp_path)
