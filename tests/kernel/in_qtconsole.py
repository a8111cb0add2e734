"""A user at the Qt console: types cells and one answer, and prints what the screen shows at the end.

Runs in the Qt console's own environment, without a display: ``python in_qtconsole.py SECONDS ANSWER CELL …``. The
answer is typed when the kernel asks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from qtconsole.manager import QtKernelManager
from qtconsole.rich_jupyter_widget import RichJupyterWidget
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication


def main(patience_s: float, answer: str, cells: list[str]) -> None:
    """Run the cells one after the other and print the screen."""
    application = QApplication([])
    manager = QtKernelManager(kernel_name="python3")
    manager.start_kernel()
    console = RichJupyterWidget()
    console.kernel_manager = manager
    client = manager.client()
    client.start_channels()
    console.kernel_client = client
    deadline = time.monotonic() + patience_s

    def until(is_so: Callable[[], bool]) -> None:
        while not is_so() and time.monotonic() < deadline:
            application.processEvents()
            if console._reading:
                QTest.keyClicks(console._control, answer)
                QTest.keyClick(console._control, Qt.Key.Key_Return)
            time.sleep(0.01)

    def text() -> str:
        return str(console._control.toPlainText())

    try:
        for number, cell in enumerate(cells, start=1):
            until(lambda number=number: f"In [{number}]:" in text())
            console.execute(cell)
        until(lambda: f"In [{len(cells) + 1}]:" in text())
        sys.stdout.write(text())
    finally:
        console.kernel_client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3:])
