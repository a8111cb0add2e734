// Signing in: one step at a time. What is typed into the masked field leaves by a message and stays nowhere.

function panelHead(view, message) {
  const head = element("div", "codex-panel-head");
  head.append(element("strong", "", message.title));
  if (message.reason) head.append(element("p", "codex-notice", message.reason));
  return head;
}

function outwardLink(href, text) {
  const link = element("a", "codex-button codex-primary codex-link", text);
  link.href = href;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

function codeStep(view, step) {
  const { labels } = view;
  const code = element("output", "codex-user-code", step.code);
  code.setAttribute("aria-label", labels.userCode);
  const row = element("div", "codex-buttons");
  row.append(copyButton("codex-copy-code", () => step.code, labels, view.announce));
  if (step.href) row.append(outwardLink(step.href, labels.openPage));
  return [
    element("p", "", step.text),
    code,
    row,
    element("p", "codex-notice codex-address", step.address),
    countdown(view, step),
    element("p", "codex-notice", step.hint),
  ];
}

function countdown(view, step) {
  const line = element("p", "codex-notice codex-countdown");
  const ends = performance.now() + step.expires_in * 1000;
  const tick = () => {
    const seconds = Math.max(0, Math.round((ends - performance.now()) / 1000));
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    line.textContent = seconds ? `${view.labels.expiresIn} ${clock}` : view.labels.expired;
    if (seconds) return;
    clearInterval(view.timer);
    line.classList.add("codex-over");
  };
  view.timer = setInterval(tick, 1000);
  tick();
  return line;
}

function openStep(view, step) {
  const row = element("div", "codex-buttons");
  if (step.href) row.append(outwardLink(step.href, view.labels.openPage));
  const parts = [element("p", "", step.text), row];
  if (!step.href) parts.push(element("p", "codex-notice codex-address", step.address));
  if (step.note) parts.push(element("p", "codex-notice codex-wrong", step.note));
  if (step.can_paste) parts.push(entry(view, view.labels.pasteAddress, false));
  return parts;
}

function secretStep(view, step) {
  return [element("p", "", step.text), entry(view, step.what, true)];
}

function entry(view, label, masked) {
  const form = element("form", "codex-entry");
  const name = element("label", "codex-entry-label", label);
  const field = element("input", "codex-word");
  field.type = masked ? "password" : "text";
  field.autocomplete = masked ? "new-password" : "url";
  field.spellcheck = false;
  field.required = true;
  field.id = `codex-entry-${view.id}`;
  name.htmlFor = field.id;
  const row = element("div", "codex-reason");
  const submit = () => {
    field.value = field.value.trim();
    if (!form.reportValidity()) return; // the browser says that it is empty
    // In a buffer: at their lowest level, Jupyter's own logs repeat the contents of messages, but no buffers.
    view.send({ kind: "submit" }, [new TextEncoder().encode(field.value).buffer]);
    field.value = "";
  };
  row.append(field, button("codex-primary codex-submit", view.labels.submit, "", submit));
  form.append(name, row);
  form.noValidate = true;
  form.addEventListener("keydown", (event) => event.stopPropagation());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  return form;
}

function plainStep(view, step) {
  const parts = [element("p", "", step.text)];
  if (step.hint) parts.push(element("p", "codex-notice", step.hint));
  return parts;
}

const STEPS = {
  code: codeStep,
  open: openStep,
  secret: secretStep,
  waiting: plainStep,
  failed: plainStep,
  done: plainStep,
};

function panelActions(view, message) {
  return actionRow(message.actions, (name) => {
    view.hadFocus = true; // a disabled button loses it
    view.send({ kind: "action", name });
  });
}

function drawLogin(view, message) {
  clearInterval(view.timer);
  view.root.setAttribute("aria-label", message.title);
  const step = element("div", `codex-step codex-step-${message.step.kind}`);
  step.append(...STEPS[message.step.kind](view, message.step));
  const hadFocus = view.hadFocus || view.panel.contains(document.activeElement);
  view.panel.replaceChildren(panelHead(view, message), step, panelActions(view, message));
  view.announce(`${message.step.note ?? ""} ${message.step.text}`.trim());
  if (hadFocus) (step.querySelector("input, a, button") ?? view.panel.querySelector("button"))?.focus();
  view.hadFocus = false;
}

export default widgetOf({
  begin(view) {
    view.panel = element("div", "codex-panel");
    view.root.append(view.panel);
    return () => clearInterval(view.timer);
  },
  full: drawLogin,
});
