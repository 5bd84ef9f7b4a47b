"""A page does not grow with what its visitors do."""

from gradio_client import Client

from audiodiff.demo import OPTIONS, build


def test_a_visit_has_as_many_components_after_many_requests(uploads, model_folder, recording):
    """Steps of a request skip the outputs that the last one sets."""
    page = build(model_folder)
    number = len(page.blocks)
    _, address, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **OPTIONS)
    visitor = Client(address, verbose=False)
    for _ in range(3):
        visitor.submit(labels=["kick"], model="drums", steps="2", seconds="0.2", api_name="/generate").result(60)
    (blocks,) = [one.blocks_config.blocks for one in page.app.state_holder.session_data.values()]
    assert len(blocks) == number and all(one._id == key for key, one in blocks.items())
    page.close()
