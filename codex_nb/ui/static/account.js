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
function askFirst(widget, message) {
  const { row } = widget;
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
    disable(buttons);
    widget.acted = "sign_in";
    widget.send({ kind: "action", name: "confirm_sign_out" });
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

// The open page names the account in full; what is saved does not.
function nameInFull(account, names) {
  for (const cell of account.querySelectorAll("td")) {
    const name = names[cell.textContent.trim()];
    if (name) cell.textContent = name;
  }
}

// Whether an account is the one that a message is about. Its output is looked for during a while; when the account is
// replaced meanwhile, the next one can be drawn before the message that is about it arrives.
function isAbout(message, account) {
  message.plain ??= account.textContent;
  return message.plain === account.textContent;
}

function enhanceAccount(widget, area, message) {
  const taken = takePlain(area, ".codex-account", (each) => isAbout(message, each));
  for (const account of taken) {
    drawShares(account);
    nameInFull(account, message.names);
    const row = actionRow(message.actions, (name) => {
      widget.acted = name;
      widget.send({ kind: "action", name });
    });
    row.dataset.codexTaken = "";
    account.append(row);
    widget.row?.remove();
    widget.row = row;
    // The button that was used has gone with the output before this one, and the focus with it.
    const used = widget.acted && (row.querySelector(`.codex-${widget.acted}`) ?? row.querySelector("button"));
    used?.focus({ preventScroll: true });
    widget.acted = undefined;
    watchAccount(widget, area);
  }
  return taken.length;
}

// A refresh replaces the output and its buttons; when the cell runs again no account is left in the area.
function watchAccount(widget, area) {
  if (widget.watcher) return;
  widget.watcher = new MutationObserver(() => {
    if (area.querySelector(".codex-account")) return;
    clearTimeout(widget.leaving);
    widget.leaving = setTimeout(() => {
      if (area.querySelector(".codex-account")) return;
      widget.watcher.disconnect();
      widget.send({ kind: "dismissed" });
    }, 1000);
  });
  widget.watcher.observe(area, { childList: true, subtree: true });
}

export default widgetOf({
  begin: () => undefined,
  full: () => undefined,
  enhance: enhanceAccount,
  widgetMessages: { confirm: askFirst },
});
