"""What leaves in images and in searches of the web: planted values where they do not show, by every way out."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import pytest

from codex_nb.agent.items import image_of
from codex_nb.session.outbound import user_message
from codex_nb.simulator import FRAME, Call, End, Reply, Say, Search, Simulator
from codex_nb.tools.describe import output_images
from tests.agent.conftest import ask, install_fake, said
from tests.magics.conftest import Notebook
from tests.magics.front_end import front_end
from tests.magics.test_code_to_cells import document
from tests.magics.test_leak_scan import assert_clean, planted
from tests.pictures import PLACES, data_url, encoded, find_leaks_in_images, images_in, kind_of
from tests.session.test_mcp import hostile, listed

IN_IMAGES = {f"image:{place}": planted(place) for place in PLACES}
OTHERS = {
    name: planted(name)
    for name in (
        *("svg:shown", "svg:file", "svg:data URL", "skipped:image", "outside:image", "linked:image"),
        *("no image:output", "no image:server", "pillow:info", "repr:image", "agent:image"),
        *("search:query", "search:address", "search:title", "search:quoted"),
    )
}
ALL = IN_IMAGES | OTHERS
IMAGES = {place: PLACES[place](IN_IMAGES[f"image:{place}"]) for place in PLACES}
UNSENT = PIL.Image.new("RGB", (5, 5), "red")  # nothing of it may leave, not even the picture
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><desc>password: {0}</desc><text>password: {0}</text></svg>'


@pytest.fixture
def project(codex_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project with an image for each place, and links to images that are none of its own."""
    root = codex_home.parent / "project"
    (root / ".git").mkdir(parents=True)
    for number, (place, data) in enumerate(IMAGES.items()):
        (root / f"image{number}.{kind_of(place)}").write_bytes(data)
    (codex_home.parent / "outside.png").write_bytes(PLACES["png behind the end"](OTHERS["outside:image"]))
    (codex_home.parent / "linked.png").write_bytes(encoded("png", UNSENT) + OTHERS["linked:image"].encode())
    (root / "link.png").symlink_to(codex_home.parent / "linked.png")
    (root / "drawing.svg").write_text(SVG.format(OTHERS["svg:file"]))
    (root / "drawing.png").write_text(SVG.format(OTHERS["svg:file"]))
    monkeypatch.setenv("JPY_SESSION_NAME", str(root / "notebook.ipynb"))
    return root


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """Keep what cells show in files that they do not name as a whole, so that no source holds a value."""
    held = {
        **{str(number): data for number, data in enumerate(IMAGES.values())},
        **{
            f"encoded{number}": data_url(data).partition(",")[2]
            for number, data in enumerate(IMAGES.values())
        },
        "svg": SVG.format(OTHERS["svg:shown"]),
        "no image": data_url(OTHERS["no image:output"].encode()).partition(",")[2],
        "skipped": encoded("png", UNSENT) + OTHERS["skipped:image"].encode(),
        "opened": PLACES["png eXIf"](OTHERS["pillow:info"]),
        "shown": PLACES["png private chunk"](OTHERS["repr:image"]),
    }
    folder = tmp_path / "vault"
    folder.mkdir()
    for name, data in held.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def shows(number: object, kind: str = "png") -> str:
    """Return code that shows an image as it is."""
    return f"import IPython.display\nIPython.display.Image(data=(vault / '{number}').read_bytes(), format={kind!r})"


def publishes(name: str, kind: str) -> str:
    """Return code that publishes an encoded image."""
    data = f"{{{kind!r}: (vault / {name!r}).read_text(), 'text/plain': 'a picture'}}"
    return f"get_ipython().display_pub.publish({data})"


def plant(notebook: Notebook, vault: Path) -> list[str]:
    """Let cells show the images; return what mentions them."""
    notebook.namespace["vault"] = vault
    codes = ["# codex-skip\n" + shows("skipped"), "import io, PIL.Image\nfrom PIL import Image"]
    for number, place in enumerate(IMAGES):
        codes.append(shows(number, kind_of(place)))
        codes.append(publishes(f"encoded{number}", f"image/{kind_of(place)}"))
    codes += [publishes("svg", "image/svg+xml"), publishes("no image", "image/png")]
    codes.append("opened = PIL.Image.open(vault / 'opened')\nopened.load()")
    codes.append(shows("shown").replace("\n", "\nshown = "))
    for code in codes:
        assert notebook.run(code).succeeded, code
    return [f"@cell:{number} @cell:{number + 1}" for number in range(1, len(codes), 2)]


def ask_with_images(notebook: Notebook, sim: Simulator, root: Path, cells: Sequence[str]) -> list[str]:
    """Ask with images by every way; return what the cells showed."""
    shown = []

    def run(source: str) -> None:
        cell = notebook.run(source)
        shown.append(f"{cell.out}{cell.error}{cell.failure}")

    files = [path.name for path in sorted(root.iterdir()) if path.is_file()]
    for name in files:
        run(f"%%codex --fresh --image {name}\nWhat is it?")
        run(f"%codex And in @file:{name} and @image:{name} ?")
    for mention in cells:
        run(f"%codex What is in {mention}?")
    run("%codex What does the newest plot show, and the figure before it?")
    for name in ("opened", "shown", "../outside.png", "link.png"):
        run(f"%%codex --image {name}\nWhat is it?")
        run(f"%codex What is in @{name} and @file:{name} ?")
    run("import codex_nb")
    urls = [data_url(data, kind_of(place)) for place, data in IMAGES.items()]
    for url in (*urls, f"data:image/svg+xml,{SVG.format(OTHERS['svg:data URL'])}"):
        notebook.namespace["url"] = url
        run("codex_nb.ask('What is it?', images=[url], thread='asked').text")
    codes = [shows(number, kind_of(place)) for number, place in enumerate(IMAGES)]
    codes += [code.replace("\n", "\nIPython.display.display(") + ")" for code in codes]
    calls = [Call("run_python", {"code": code}) for code in codes]
    calls += [Call("read_file", {"path": name}) for name in files]
    calls += [Call("inspect", {"names": ["opened", "shown", "Out"]})]
    sim.add_replies(Reply(stream=(*calls, End())), Reply(stream=(Say("Done."), End())))
    run("%%codex --approval all\nDraw something.")
    run("%codex And now?")
    return shown


def scan(sim: Simulator, home: Path, secrets: dict[str, str]) -> tuple[int, int]:
    """Scan all requests and what is kept; return how many bytes there were, and how many images were sent."""
    kept = [path for path in (home / "codex_nb").rglob("*") if path.is_file()]
    size = sum(assert_clean(path.read_bytes(), str(path), secrets) for path in kept)
    images = 0
    for number, request in enumerate(sim.requests):
        size += assert_clean(request.raw_body, f"request {number} to {request.path}", secrets)
        size += assert_clean(json.dumps(request.body), f"request {number} to {request.path}", secrets)
        urls = re.findall(r'"image_url": "([^"]+)"', json.dumps(request.body))
        files = [data for url in urls for data in images_in(url.encode(), is_long=False)]
        sent = [PIL.Image.open(io.BytesIO(data)) for data in files]
        assert [image for image in sent if image.size == UNSENT.size] == []
        images += len(sent)
    return size, images


def test_no_planted_value_leaves_in_images(
    notebook: Notebook, sim: Simulator, project: Path, codex_home: Path, vault: Path
) -> None:
    cells = plant(notebook, vault)
    ask_with_images(notebook, sim, project, cells)
    size, images = scan(sim, codex_home, ALL)
    logging.getLogger(__name__).info("%s bytes, %s images: none found", size, images)
    assert images > 3 * len(PLACES)


def served() -> list[dict[str, str]]:
    """Return the images that a server of tools replies."""
    replies = [(f"image/{kind_of(place)}", data) for place, data in IMAGES.items()]
    replies.append(("image/png", OTHERS["no image:server"].encode()))
    return [
        {"type": "image", "mimeType": kind, "data": data_url(data).partition(",")[2]}
        for kind, data in replies
    ]


def test_no_planted_value_leaves_in_images_of_cells_servers_sockets_or_the_agent(
    notebook: Notebook, sim: Simulator, project: Path, key_home: Path, vault: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen, agent = tmp_path / "server.jsonl", tmp_path / "agent"
    parts = served()
    tools = [listed(f"show{number}") for number in range(0, len(parts), 4)]
    config = key_home / "config.toml"
    servers = "".join(
        hostile(f"demo{start}", f"seen={seen}", content=parts[start : start + 4], tools=[listed("show")])
        for start in range(0, len(parts), 4)
    )
    config.write_text(f"mcp_optional_startup_grace_ms = 60000\n{config.read_text()}\n{servers}")
    looks = [
        Call("run_python", {"code": shows(number, kind_of(place))}) for number, place in enumerate(IMAGES)
    ]
    steps = [
        ask("item/tool/call", tool=look.name, callId=f"call-{number}", arguments=look.arguments)
        for number, look in enumerate(looks)
    ]
    monkeypatch.setenv("CODEX_NB_CODEX", str(install_fake(agent, [*steps, *said("Done.")])))
    with front_end(notebook, sim) as page:
        page.cells = document(
            "%%codex", *("draw()" for _ in IMAGES), f"# codex-skip\n{OTHERS['skipped:image']}"
        )
        for cell, (place, data) in zip(page.cells[1:], IMAGES.items(), strict=False):
            bundle = {f"image/{kind_of(place)}": data_url(data).partition(",")[2]}
            cell["outputs"] = [{"output_type": "display_data", "data": bundle, "metadata": {}}]
        plant(notebook, vault)
        calls = [Call(f"mcp__demo{4 * number}__show", {}) for number in range(len(tools))]
        calls += [
            Call("read_cells", {"cell_ids": [f"cell {number}"]}) for number in range(1, len(page.cells))
        ]
        for transport in ("websocket", "http"):
            notebook.run(f"%config CodexMagics.transport = {transport!r}")
            sim.add_replies(Reply(stream=(*calls, End())), Reply(stream=(Say("Done."), End())))
            assert notebook.run(f"%%codex -t {transport} --approval all --image image0.png\nLook.").succeeded
        assert notebook.run(f"%codex export http {tmp_path / 'exported.md'}").succeeded
        assert notebook.run("%%codex --agent --approval all -t agent --image image0.png\nLook.").succeeded
    size, images = scan(sim, key_home, ALL)
    size += sum(
        assert_clean(path.read_bytes(), path.name, ALL)
        for path in agent.iterdir()
        if "plays" not in path.name
    )
    size += assert_clean((tmp_path / "exported.md").read_bytes(), "exported.md", ALL)
    assert {request.method for request in sim.requests.to("/v1/responses")} >= {FRAME, "POST"}
    assert images > 2 * len(PLACES)
    assert project.is_dir()
    logging.getLogger(__name__).info("%s bytes, %s images: none found", size, images)


@pytest.mark.parametrize("place", PLACES)
def test_of_an_image_that_the_agent_has_made_the_picture_is_sent_later(place: str) -> None:
    encoded_image = data_url(IMAGES[place]).partition(",")[2]
    shown = image_of({"type": "imageGeneration", "id": "1", "result": encoded_image})
    output = {"output_type": "display_data", "data": shown, "metadata": {}}
    message = user_message("What is it?", output_images([output]))
    assert [part["type"] for part in message["content"]].count("input_image") == 1
    assert_clean(json.dumps(message), place, IN_IMAGES)


def test_a_known_value_in_a_search_is_not_sent_again(
    notebook: Notebook, sim: Simulator, project: Path, codex_home: Path
) -> None:
    searched = {name: value for name, value in OTHERS.items() if name.startswith("search:")}
    query, address, title, quoted = searched.values()
    page = f"https://wiki.test/{address}?q={title}"
    answer = (
        Search((f"what is {query}", "something else")),
        Search(url=page),
        Say(f"It says {quoted}.", cites={quoted: page}),
        End(),
    )
    sim.add_replies(Reply(stream=answer), Reply(stream=(Say("Fine."), End()), times=None))
    assert notebook.run("%%codex --search -m simulator-classic\nWhat is new?").succeeded
    for name, value in zip(
        ("query_token", "api_key", "password", "auth_token"), searched.values(), strict=True
    ):
        notebook.namespace[name] = value
    before = len(sim.requests)
    for question in ("And then?", "And now?"):
        assert notebook.run(f"%%codex --search -m simulator-classic\n{question}").succeeded
    later = list(sim.requests)[before:]
    assert any(item["type"] == "web_search_call" for item in later[-1].body["input"])
    for request in later:
        assert_clean(request.raw_body, "a later request", searched)
    kept = [path for path in (codex_home / "codex_nb" / "threads").rglob("*.jsonl") if project.is_dir()]
    assert kept
    for path in kept:
        assert_clean(path.read_bytes(), path.name, searched)


def test_the_scan_would_find_each_value_in_an_image() -> None:
    for name, value in IN_IMAGES.items():
        body = json.dumps({"image_url": data_url(PLACES[name.partition(":")[2]](value))})
        assert find_leaks_in_images(body.encode(), {name: value}, "a body"), name
        assert find_leaks_in_images(body.encode(), {"another": planted("another")}, "a body") == []
