// The front-end half of a transcript: it draws what it is sent and says what the user did.
// All HTML that arrives was sanitised in the kernel; everything else is set as text.

const GIVE_UP_MS = 2500;
const LOOK_AGAIN_MS = 120;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function button(className, text, title, onClick) {
  const node = element("button", `codex-button ${className}`, text);
  node.type = "button";
  if (title) node.title = title;
  node.addEventListener("click", onClick);
  return node;
}

// ---- the notebook around the widget (JupyterLab and Notebook 7; elsewhere there is none) ----

function notebookOf(model) {
  try {
    const context = model.widget_manager?.context;
    return context?.model?.sharedModel ? context : null;
  } catch {
    return null;
  }
}

function idOf(cell) {
  return cell.getId ? cell.getId() : cell.id;
}

function insertCells(model, cells, after) {
  const shared = notebookOf(model)?.model.sharedModel;
  if (!shared) throw new Error("no notebook");
  const index = shared.cells.findIndex((cell) => idOf(cell) === after);
  if (after && index < 0) throw new Error("cell not found");
  const at = after ? index + 1 : shared.cells.length;
  shared.insertCells(
    at,
    cells.map((cell) => ({ cell_type: cell.kind, source: cell.source, metadata: {} })),
  );
  return { inserted: cells.length };
}

function readDocument(model) {
  const context = notebookOf(model);
  if (!context) throw new Error("no notebook");
  return { notebook: context.model.toJSON(), path: context.path };
}

const REQUESTS = {
  read_document: (model) => readDocument(model),
  insert_cells: (model, payload) => insertCells(model, payload.cells, payload.after),
};

function answerRequest(model, message) {
  const reply = { kind: "reply", id: message.id };
  try {
    reply.value = REQUESTS[message.operation](model, message.payload);
  } catch (error) {
    reply.error = String(error?.message ?? error);
  }
  model.send(reply);
}

function cellIdAround(node, model) {
  const cell = node.closest(".jp-Cell");
  const notebook = cell?.closest(".jp-Notebook");
  if (!notebook) return null;
  const index = [...notebook.querySelectorAll(".jp-Cell")].indexOf(cell);
  const position = Number(cell.dataset.windowedListIndex ?? index);
  const shared = notebookOf(model)?.model.sharedModel;
  return shared?.cells[position] ? idOf(shared.cells[position]) : null;
}

// Outputs of the open document that still show this widget.
function outputsShowing(model, modelId) {
  const found = [];
  const cells = notebookOf(model)?.model.cells;
  for (let i = 0; i < (cells?.length ?? 0); i += 1) {
    const outputs = cells.get(i).outputs;
    for (let j = 0; j < (outputs?.length ?? 0); j += 1) {
      const view = outputs.get(j).data?.["application/vnd.jupyter.widget-view+json"];
      if (view?.model_id === modelId) found.push({ outputs, index: j });
    }
  }
  return found;
}

function typeset(model, node) {
  if (!node.querySelector(".codex-math")) return;
  try {
    model.widget_manager?.rendermime?.latexTypesetter?.typeset(node);
  } catch {
    // No typesetter here: the formula stays readable as it is.
  }
}

// ---- code blocks: copy, insert below ----

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const area = element("textarea", "codex-hidden");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}

function say(node, text, announce) {
  const before = node.textContent;
  node.textContent = text;
  announce?.(text);
  setTimeout(() => {
    node.textContent = before;
  }, 1600);
}

function codeTools(model, block, labels, announce) {
  const code = () => block.querySelector("code, pre").textContent.replace(/\n$/, "");
  const tools = element("div", "codex-code-tools");
  const copy = button("codex-quiet", labels.copy, "", async () =>
    say(copy, (await copyText(code())) ? labels.copied : labels.copyFailed, announce),
  );
  tools.append(copy);
  if (notebookOf(model)) tools.append(insertButton(model, block, code, labels, announce));
  return tools;
}

function insertButton(model, block, code, labels, announce) {
  const insert = button("codex-quiet", labels.insert, "", () => {
    try {
      insertCells(model, [{ kind: "code", source: code() }], cellIdAround(block, model));
      say(insert, labels.inserted, announce);
    } catch {
      say(insert, labels.insertFailed, announce);
    }
  });
  return insert;
}

function addCodeTools(model, root, labels, announce) {
  for (const block of root.querySelectorAll(".highlight:not([data-codex-tools])")) {
    block.dataset.codexTools = "";
    block.append(codeTools(model, block, labels, announce));
  }
}

// ---- sections ----

function proseSection(view, operation) {
  if (operation.kind !== "thinking") {
    const node = element("div", `codex-section codex-${operation.kind}`);
    return { node, slots: { body: slot(node) } };
  }
  const node = element("details", "codex-section codex-thinking");
  node.append(element("summary", "", operation.title));
  return { node, slots: { body: slot(node) } };
}

function callSection(view, operation) {
  const node = element("section", "codex-section codex-call");
  const head = element("div", "codex-call-head");
  const title = element("span", "codex-call-title", operation.title);
  const state = element("span", "codex-call-state");
  head.append(title, state);
  node.append(head);
  node.setAttribute("aria-label", operation.title);
  const code = slot(node);
  code.closed.parentElement.classList.add("codex-call-code");
  return { node, title, state, slots: { code } };
}

function noticeSection(view, operation) {
  return { node: element("p", "codex-section codex-notice", operation.title), slots: {} };
}

function slot(parent) {
  const holder = element("div", "codex-slot");
  const closed = element("div", "codex-closed");
  const open = element("div", "codex-open");
  holder.append(closed, open);
  parent.append(holder);
  return { closed, open };
}

const SECTIONS = {
  text: proseSection,
  thinking: proseSection,
  call: callSection,
  notice: noticeSection,
};

// A list that goes on joins the list before it.
function joinLists(closed, firstNew) {
  const list = firstNew;
  const before = list?.previousElementSibling;
  if (!list?.classList.contains("codex-continued") || before?.tagName !== list.tagName) return;
  before.append(...list.childNodes);
  list.remove();
}

function appendClosed(view, closed, html) {
  const last = closed.lastElementChild;
  closed.insertAdjacentHTML("beforeend", html);
  joinLists(closed, last ? last.nextElementSibling : null);
  addCodeTools(view.model, closed, view.labels, view.announce);
  typeset(view.model, closed);
}

function tailTarget(open) {
  const last = open.lastElementChild;
  if (!last) return open;
  if (last.matches(".highlight")) return last.querySelector("code");
  return [...last.querySelectorAll("p, li, td")].pop() ?? last;
}

function appendTail(open, text) {
  const target = tailTarget(open);
  if (target.lastChild?.nodeType === Node.TEXT_NODE) target.lastChild.appendData(text);
  else target.append(text);
}

// ---- approvals ----

function approvalForm(view, section, request) {
  const form = element("form", "codex-approval");
  form.setAttribute("aria-label", request.asks);
  form.append(element("p", "codex-approval-asks", request.summary || request.asks));
  const draft = { editor: null };
  form.append(approvalButtons(view, section, request, form, draft));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("keydown", (event) => event.stopPropagation());
  return form;
}

function decide(view, request, form, verdict, more) {
  for (const control of form.querySelectorAll("button, textarea, input")) control.disabled = true;
  view.send({ kind: "command", name: "decide", call_id: request.call_id, verdict, ...more });
}

function editedCode(draft, request) {
  const code = draft.editor?.value;
  return code === undefined || code === request.code ? {} : { code };
}

function approvalButtons(view, section, request, form, draft) {
  const { labels } = view;
  const row = element("div", "codex-buttons");
  const approve = (verdict) => decide(view, request, form, verdict, editedCode(draft, request));
  row.append(
    button("codex-primary codex-approve", labels.approve, "", () => approve("approve")),
    button("codex-approve-session", labels.approveSession, labels.approveSessionHelp, () =>
      approve("approve_tool"),
    ),
  );
  if (request.editable) row.append(editButton(view, section, request, draft));
  row.append(
    button("codex-reject", labels.reject, labels.rejectHelp, () =>
      askForReason(view, request, form, row),
    ),
  );
  return row;
}

function editButton(view, section, request, draft) {
  const { labels } = view;
  const edit = button("codex-edit", labels.edit, labels.editHelp, () => {
    if (draft.editor) {
      closeEditor(section, draft);
      edit.textContent = labels.edit;
    } else {
      openEditor(view, section, request, draft);
      edit.textContent = labels.undoEdit;
    }
  });
  return edit;
}

function openEditor(view, section, request, draft) {
  const editor = element("textarea", "codex-editor");
  editor.value = request.code;
  editor.rows = Math.min(24, request.code.split("\n").length + 1);
  editor.spellcheck = false;
  editor.setAttribute("aria-label", view.labels.code);
  editor.addEventListener("keydown", (event) => event.stopPropagation());
  const shown = section.slots.code.open.parentElement;
  shown.hidden = true;
  shown.after(editor);
  editor.focus();
  draft.editor = editor;
}

function closeEditor(section, draft) {
  draft.editor?.remove();
  draft.editor = null;
  section.slots.code.open.parentElement.hidden = false;
}

function askForReason(view, request, form, row) {
  const { labels } = view;
  const reason = element("div", "codex-reason");
  const word = element("input", "codex-word");
  word.type = "text";
  word.placeholder = labels.rejectHelp;
  word.setAttribute("aria-label", labels.rejectHelp);
  const send = () => decide(view, request, form, "reject", { message: word.value });
  const back = () => {
    reason.remove();
    row.hidden = false;
    row.querySelector(".codex-reject").focus();
  };
  word.addEventListener("keydown", (event) => {
    if (event.key === "Enter") send();
    if (event.key === "Escape") back();
  });
  reason.append(
    word,
    button("codex-primary codex-send-reject", labels.rejectSend, "", send),
    button("codex-quiet", labels.cancelReject, "", back),
  );
  row.hidden = true;
  form.append(reason);
  word.focus();
}

// ---- operations ----

const OPERATIONS = {
  section(view, operation) {
    const made = SECTIONS[operation.kind](view, operation);
    const old = view.sections.get(operation.key);
    if (old?.title) {
      old.title.textContent = operation.title;
      return;
    }
    view.sections.set(operation.key, made);
    view.body.append(made.node);
  },
  html(view, operation, section) {
    const { closed, open } = section.slots[operation.slot];
    if (operation.closed) appendClosed(view, closed, operation.closed);
    if (operation.open !== undefined) open.innerHTML = operation.open;
    if (operation.tail) appendTail(open, operation.tail);
  },
  state(view, operation, section) {
    section.node.dataset.phase = operation.phase;
    section.state.textContent = operation.text;
  },
  ask(view, operation, section) {
    section.form = approvalForm(view, section, operation.request);
    section.node.append(section.form);
    view.announce(operation.request.asks);
  },
  asked(view, operation, section) {
    section.form?.remove();
    section.node.querySelector(".codex-editor")?.remove();
    section.slots.code.open.parentElement.hidden = false;
  },
  output(view, operation, section) {
    section.output?.remove();
    section.output = element("details", "codex-output");
    section.output.append(
      element("summary", "", view.labels.output),
      element("pre", "", operation.text),
    );
    section.node.append(section.output);
  },
  reset(view, operation, section) {
    for (const { closed, open } of Object.values(section.slots)) {
      closed.replaceChildren();
      open.replaceChildren();
    }
  },
  remove(view, operation, section) {
    section.node.remove();
    view.sections.delete(operation.key);
  },
  status(view, operation) {
    view.status.textContent = operation.text;
    view.bar.hidden = !operation.busy;
    view.root.setAttribute("aria-busy", String(operation.busy));
    if (operation.text) view.announce(operation.text);
  },
};

function draw(view, operations) {
  for (const operation of operations) {
    const section = view.sections.get(operation.key);
    if (operation.key !== undefined && !section && operation.op !== "section") continue;
    OPERATIONS[operation.op](view, operation, section);
  }
}

// ---- a view ----

function makeView(half, el) {
  const { model } = half;
  const root = element("div", "codex-live");
  const body = element("div", "codex-body");
  const bar = element("div", "codex-bar");
  const status = element("span", "codex-status");
  const clock = element("span", "codex-clock");
  const spoken = element("div", "codex-hidden");
  spoken.setAttribute("role", "status");
  spoken.setAttribute("aria-live", "polite");
  bar.append(element("span", "codex-pulse"), status, clock);
  root.append(body, bar, spoken);
  el.append(root);
  const view = { id: crypto.randomUUID(), model, root, body, bar, status, clock };
  view.labels = {};
  view.sections = new Map();
  view.send = (message) => half.send({ view: view.id, ...message });
  view.announce = (text) => {
    spoken.textContent = text;
  };
  view.noteArea = () => {
    const area = areaAround(el);
    if (area) half.areas.add(area);
  };
  half.views.add(view);
  return view;
}

function drawWhole(view, message) {
  view.labels = message.labels;
  view.root.setAttribute("role", "group");
  view.root.setAttribute("aria-label", view.labels.answer);
  view.began = performance.now() - message.elapsed * 1000;
  view.sections.clear();
  view.body.replaceChildren();
  view.stop?.remove();
  view.stop = button("codex-stop", view.labels.stop, view.labels.stopHelp, () => {
    view.stop.disabled = true;
    view.send({ kind: "command", name: "stop" });
  });
  view.bar.append(view.stop);
  draw(view, message.ops);
}

function isSeen(view) {
  return document.visibilityState === "visible" && view.root.getClientRects().length > 0;
}

function watchVisibility(view) {
  let seen = isSeen(view);
  const look = () => {
    view.noteArea();
    if (isSeen(view) === seen) return;
    seen = !seen;
    view.send({ kind: "visible", visible: seen });
  };
  const sizes = new ResizeObserver(look);
  sizes.observe(view.root);
  document.addEventListener("visibilitychange", look);
  return () => {
    sizes.disconnect();
    document.removeEventListener("visibilitychange", look);
  };
}

function runClock(view) {
  const tick = () => {
    if (view.began === undefined || view.bar.hidden || !isSeen(view)) return;
    const seconds = Math.floor((performance.now() - view.began) / 1000);
    const minutes = Math.floor(seconds / 60);
    view.clock.textContent = minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
  };
  const timer = setInterval(tick, 1000);
  return () => clearInterval(timer);
}

// ---- the end: the output becomes a plain bundle; what helps while the page is open is added to it ----

function finishedIn(area) {
  return [...(area?.querySelectorAll(".codex-answer:not([data-codex-done])") ?? [])];
}

function dress(model, area, message) {
  for (const answer of finishedIn(area)) {
    answer.dataset.codexDone = "";
    answer.classList.add("codex-fresh");
    addCodeTools(model, answer, message.labels);
    const footer = answer.querySelector(".codex-footer small");
    if (footer) footer.append(` · ${message.elapsed}`);
    if (footer && message.offers.length) answer.append(offers(model, area, message));
  }
}

function offers(model, area, message) {
  const row = element("div", "codex-buttons codex-offers");
  for (const name of message.offers) {
    row.append(
      button(`codex-${name}`, message.labels[name], "", () => {
        row.remove();
        model.send({ kind: "command", name });
      }),
    );
  }
  dismissWithArea(model, area, row);
  return row;
}

// The kernel keeps its half open for the sake of these buttons; when the cell runs again they are gone.
function dismissWithArea(model, area, row) {
  const watcher = new MutationObserver(() => {
    if (area.contains(row)) return;
    watcher.disconnect();
    model.send({ kind: "dismissed" });
  });
  watcher.observe(area, { childList: true, subtree: true });
}

function isShown(half, modelId) {
  if (notebookOf(half.model)) return outputsShowing(half.model, modelId).length > 0;
  return [...half.views].some((view) => view.root.isConnected);
}

function settle(half, message) {
  const started = performance.now();
  let told = false;
  const look = () => {
    if (!isShown(half, message.model_id)) {
      half.areas.forEach((area) => dressSoon(half.model, area, message));
      half.send({ kind: "replaced" });
      return;
    }
    if (!told && performance.now() - started > LOOK_AGAIN_MS * 4) {
      told = true;
      half.send({ kind: "kept" });
    }
    if (performance.now() - started < GIVE_UP_MS) setTimeout(look, LOOK_AGAIN_MS);
  };
  look();
}

function dressSoon(model, area, message, tries = 20) {
  dress(model, area, message);
  if (tries) setTimeout(() => dressSoon(model, area, message, tries - 1), 50);
}

function put(model, message) {
  for (const { outputs, index } of outputsShowing(model, message.model_id)) {
    outputs.set(index, { output_type: "display_data", data: message.bundle, metadata: {} });
  }
}

// Where the cell's outputs stand; known only once the view is attached.
function areaAround(el) {
  return el.closest(".jp-OutputArea, .cell-output, .output");
}

function makeHalf(model) {
  const half = { model, views: new Set(), areas: new Set() };
  half.send = (message) => {
    try {
      model.send(message);
    } catch {
      // The kernel's half is gone; nobody waits for the message.
    }
  };
  const each = (act) => half.views.forEach(act);
  const messages = {
    full: (message) => each((view) => drawWhole(view, message)),
    frame: (message) => each((view) => draw(view, message.ops)),
    request: (message) => answerRequest(model, message),
    put: (message) => put(model, message),
    ending: (message) => settle(half, message),
  };
  half.listen = (message) => messages[message.kind]?.(message);
  model.on("msg:custom", half.listen);
  return half;
}

// One half for each widget: what is begun in initialize lives as long as the widget, whatever views come and go.
export default function transcript() {
  let half;
  return {
    initialize({ model }) {
      half = makeHalf(model);
    },
    render({ model, el }) {
      const view = makeView(half, el);
      const stopWatching = watchVisibility(view);
      const stopClock = runClock(view);
      view.send({ kind: "ready", visible: document.visibilityState === "visible" });
      return () => {
        stopWatching();
        stopClock();
        half.views.delete(view);
        view.send({ kind: "gone" });
      };
    },
  };
}
