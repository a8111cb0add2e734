"""Where there is no channel to pump, or it belongs to another thread, the main thread simply waits."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from codex_nb.host.engine import Mailbox
from codex_nb.host.shell_channel import IdlePump, Pump, open_pump
from tests.host.scripted import STARTED

UNKNOWN_KERNELS = {
    "no kernel": SimpleNamespace(),
    "unknown kernel": SimpleNamespace(kernel=SimpleNamespace()),
    "no stream": SimpleNamespace(kernel=SimpleNamespace(shell_channel_thread=None, shell_stream=None)),
    "unknown channel": SimpleNamespace(
        kernel=SimpleNamespace(shell_channel_thread=SimpleNamespace(manager=SimpleNamespace()))
    ),
}


@pytest.mark.parametrize("shell", UNKNOWN_KERNELS.values(), ids=UNKNOWN_KERNELS)
def test_a_kernel_without_the_channel_is_not_pumped(shell: Any, mailbox: Mailbox) -> None:
    with open_pump(shell, mailbox) as pump:
        assert isinstance(pump, IdlePump)


def test_on_another_thread_nothing_is_pumped(mailbox: Mailbox) -> None:
    opened: list[Pump] = []
    shell = SimpleNamespace(kernel=SimpleNamespace())
    thread = threading.Thread(target=lambda: opened.append(open_pump(shell, mailbox)))
    thread.start()
    thread.join()
    opened[0].close()
    assert isinstance(opened[0], IdlePump)


def test_a_post_ends_the_wait(mailbox: Mailbox) -> None:
    with IdlePump(mailbox) as pump:
        poster = threading.Timer(0.01, lambda: mailbox.post(STARTED))
        poster.start()
        while not (seen := mailbox.drain()):
            pump.once(30)
        poster.join()
    assert seen == [STARTED]


def test_a_thread_that_waits_for_its_next_frame_is_not_woken_by_events(mailbox: Mailbox) -> None:
    mailbox.set_wait_mode(wake_on_event=False)
    mailbox.post(STARTED)
    assert not _is_readable(mailbox)
    mailbox.set_wait_mode(wake_on_event=True)
    assert _is_readable(mailbox)
    assert mailbox.drain() == [STARTED]
    assert not _is_readable(mailbox)


def test_a_stop_request_wakes_even_a_thread_that_waits_for_its_next_frame(mailbox: Mailbox) -> None:
    mailbox.set_wait_mode(wake_on_event=False)
    mailbox.request_stop()
    assert _is_readable(mailbox)


def test_a_closed_mailbox_takes_nothing_more() -> None:
    with Mailbox() as mailbox:
        pass
    mailbox.post(STARTED)
    mailbox.request_stop()
    assert mailbox.drain() == []


def _is_readable(mailbox: Mailbox) -> bool:
    import select

    return bool(select.select([mailbox], [], [], 0)[0])
