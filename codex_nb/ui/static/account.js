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

// Ask in the place of the buttons; the answer that changes nothing has the focus.
function askFirst(half, message) {
  const { row } = half;
  if (!row?.isConnected) return;
  const panel = element("div", "codex-confirm");
  const question = element("p", "", message.question);
  const buttons = element("div", "codex-buttons");
  const leave = () => {
    panel.replaceWith(row);
    for (const each of row.querySelectorAll("button")) each.disabled = false;
    row.querySelector(".codex-sign_out")?.focus();
  };
  const accept = button("codex-confirm_sign_out", message.accept, "", () => {
    for (const each of buttons.querySelectorAll("button")) each.disabled = true;
    half.acted = "sign_in";
    half.send({ kind: "command", name: "confirm_sign_out" });
  });
  const decline = button("codex-decline", message.decline, "", leave);
  panel.setAttribute("role", "group");
  panel.setAttribute("aria-label", message.question);
  panel.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") leave();
  });
  buttons.append(accept, decline);
  panel.append(question, buttons);
  row.replaceWith(panel);
  decline.focus();
}

function dressAccount(half, area, message) {
  for (const account of undressed(area, ".codex-account")) {
    drawShares(account);
    const row = element("div", "codex-buttons codex-commands");
    for (const command of message.commands) {
      const act = () => {
        for (const other of row.querySelectorAll("button")) other.disabled = true;
        half.acted = command.name;
        half.send({ kind: "command", name: command.name });
      };
      row.append(button(`codex-${command.name} ${command.style}`, command.label, command.help, act));
    }
    row.dataset.codexTaken = "";
    account.append(row);
    half.row?.remove();
    half.row = row;
    // The button that was used has gone with the output before this one, and the focus with it.
    const used = half.acted && (row.querySelector(`.codex-${half.acted}`) ?? row.querySelector("button"));
    used?.focus({ preventScroll: true });
    half.acted = undefined;
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
  halfMessages: { confirm: askFirst },
});
