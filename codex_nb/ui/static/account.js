// The account: a plain output from the first moment on; only its buttons are live, and they are not saved.

const NEARLY = 80; // per cent of a limit

// "███░░░ 42 %" becomes a bar; the number stays.
function drawShares(account) {
  for (const cell of account.querySelectorAll("td")) {
    const [, percent] = /^[█░]+ (\d+) %$/.exec(cell.textContent.trim()) ?? [];
    if (percent === undefined) continue;
    const bar = element("span", "codex-share");
    const used = element("span", `codex-share-used${percent >= NEARLY ? " codex-nearly" : ""}`);
    used.style.width = `${Math.min(percent, 100)}%`;
    bar.setAttribute("aria-hidden", "true");
    bar.append(used);
    cell.replaceChildren(bar, `${percent} %`);
  }
}

function dressAccount(half, area, message) {
  for (const account of undressed(area, ".codex-account")) {
    drawShares(account);
    const row = element("div", "codex-buttons codex-commands");
    for (const command of message.commands) {
      const act = () => {
        for (const other of row.querySelectorAll("button")) other.disabled = true;
        half.send({ kind: "command", name: command.name });
      };
      row.append(button(`codex-${command.name} ${command.style}`, command.label, command.help, act));
    }
    row.dataset.codexTaken = "";
    account.append(row);
    half.row?.remove();
    half.row = row;
    watchAccount(half, area);
  }
}

// A refresh replaces the output and its buttons; when the cell runs again no account is left in the area.
function watchAccount(half, area) {
  if (half.watcher) return;
  half.watcher = new MutationObserver(() => {
    if (area.querySelector(".codex-account")) return;
    clearTimeout(half.leaving);
    half.leaving = setTimeout(() => {
      if (area.querySelector(".codex-account")) return;
      half.watcher.disconnect();
      half.send({ kind: "dismissed" });
    }, 1000);
  });
  half.watcher.observe(area, { childList: true, subtree: true });
}

export default widgetOf({
  begin: () => undefined,
  full: () => undefined,
  dress: dressAccount,
});
