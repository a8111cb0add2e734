// An approval: the full code is shown above it; it can be changed, approved or rejected with a reason. While it waits where
// nobody sees it, the cell, the notebook and the title of the tab say so.

function approvalForm(view, section, request) {
  const form = element("form", "codex-approval");
  form.setAttribute("aria-label", request.asks);
  form.tabIndex = -1; // where the focus goes that leaves the editor
  form.append(element("p", "codex-approval-asks", request.summary || request.asks));
  const draft = { editor: null, run: () => {} };
  form.append(approvalButtons(view, section, request, form, draft));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("keydown", (event) => event.stopPropagation());
  return form;
}

function decide(view, request, form, decision, more) {
  const hadFocus = form.parentElement.contains(document.activeElement);
  disable(form);
  if (hadFocus) form.parentElement.querySelector("summary").focus({ preventScroll: true });
  view.send({ kind: "action", name: "decide", call_number: request.call_number, decision, ...more });
}

function editedCode(draft, request) {
  const code = draft.editor?.value;
  return code === undefined || code === request.code ? {} : { code };
}

function approvalButtons(view, section, request, form, draft) {
  const { labels } = view;
  const row = element("div", "codex-buttons");
  const approve = (decision) => decide(view, request, form, decision, editedCode(draft, request));
  draft.run = () => approve("approve");
  draft.label = request.is_question ? labels.sendAnswer : labels.approve;
  draft.approve = button("codex-primary codex-approve", draft.label, "", draft.run);
  row.append(draft.approve);
  for (const [more, label, help] of widerApprovals(request, labels)) {
    row.append(button(`codex-approve-${more}`, label, help, () => approve(`approve_${more}`)));
  }
  if (request.editable) row.append(editButton(view, section, request, draft));
  row.append(
    button("codex-reject", labels.reject, labels.rejectHelp, () =>
      askForReason(view, request, form, row),
    ),
  );
  return row;
}

// What can be allowed beyond this call: what it is, and its button.
function widerApprovals(request, labels) {
  if (request.is_question) return [];
  if (request.is_change) return [["answer", labels.approveAnswer, labels.approveAnswerHelp]];
  return [
    ["tool", request.allow_tool, labels.approveSessionHelp],
    request.is_code
      ? ["code", labels.approveCode, labels.approveCodeHelp]
      : ["code", labels.approveCall, labels.approveCallHelp],
  ];
}

function editButton(view, section, request, draft) {
  const { labels } = view;
  const edit = button("codex-edit", labels.edit, labels.editHelp, () => {
    if (draft.editor) {
      closeEditor(view, section, draft);
      edit.textContent = labels.edit;
    } else {
      openEditor(view, section, request, draft);
      edit.textContent = labels.undoEdit;
    }
  });
  return edit;
}

function openEditor(view, section, request, draft) {
  const { labels } = view;
  const shown = section.slots.code.open.parentElement;
  const editor = codeEditor(request.code, labels, {
    run: draft.run,
    leave: () => section.form.focus({ preventScroll: true }),
    changed: () => {
      const edited = request.is_code ? labels.approveEdited : labels.approveEditedCall;
      const unchanged = request.is_question || editor.field.value === request.code;
      draft.approve.textContent = unchanged ? draft.label : edited;
    },
  });
  shown.hidden = true;
  shown.after(editor.node);
  draft.editor = editor.field;
  editor.field.setSelectionRange(0, 0);
  editor.field.focus({ preventScroll: true });
  editor.node.scrollIntoView({ block: "nearest" });
}

function closeEditor(view, section, draft) {
  draft.editor?.closest(".codex-editing").remove();
  draft.editor = null;
  draft.approve.textContent = draft.label;
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

const waiting = (globalThis.codexWaiting ??= new Set()); // the approvals that wait in this page
const MARK = /^● [^·]* · /;

function markTitle() {
  const [first] = waiting;
  const title = document.title.replace(MARK, "");
  const marked = first ? `● ${first.title} · ${title}` : title;
  if (document.title !== marked) document.title = marked;
}

// Tell of an approval until the returned function is called; where the person is at the end of the answer, go there.
function announceApproval(view, section, request) {
  const { form } = section;
  const cell = view.root.closest(".jp-Cell");
  const approval = { title: view.labels.asksTitle };
  const show = () => {
    form.scrollIntoView({ block: "nearest" });
    form.querySelector(".codex-approve")?.focus({ preventScroll: true });
  };
  const badge = button("codex-badge", request.asks, view.labels.showApproval, show);
  // a notebook takes the focus from what is in it and in none of its cells
  const place = view.root.closest(".jp-NotebookPanel") ?? scrollerOf(view.root)?.parentElement;
  const seen = new IntersectionObserver((entries) => {
    if (entries.at(-1).isIntersecting) badge.remove();
    else place?.append(badge);
  });
  keepKeys(badge);
  const titled = new MutationObserver(markTitle); // JupyterLab writes its own when another tab is opened
  const title = document.querySelector("title");
  if (title) titled.observe(title, { childList: true });
  waiting.add(approval);
  markTitle();
  cell?.classList.add("codex-asks");
  seen.observe(form);
  if (isFollowed(section)) form.scrollIntoView({ block: "nearest" });
  return () => {
    seen.disconnect();
    badge.remove();
    titled.disconnect();
    waiting.delete(approval);
    markTitle();
    cell?.classList.remove("codex-asks");
  };
}

// Whether the person looked at the end of the answer when this call began there, and has not gone elsewhere since.
function isFollowed(section) {
  const view = scrollerOf(section.node)?.getBoundingClientRect();
  if (!view || !section.beganInSight) return false;
  const { top } = section.node.getBoundingClientRect();
  return top >= view.top && top <= view.bottom;
}

function endIsInSight(node) {
  const view = scrollerOf(node)?.getBoundingClientRect();
  const { bottom } = node.getBoundingClientRect();
  return Boolean(view) && bottom >= view.top && bottom <= view.bottom + 1;
}

function scrollerOf(node) {
  for (let each = node.parentElement; each; each = each.parentElement) {
    const { overflowY } = getComputedStyle(each);
    if (overflowY === "scroll" || (overflowY === "auto" && each.scrollHeight > each.clientHeight)) return each;
  }
  return node.isConnected ? document.scrollingElement : null;
}
