// An approval: the full code stands above it; it can be changed, approved or rejected with a reason.

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

function decide(view, request, form, decision, more) {
  const hadFocus = form.parentElement.contains(document.activeElement);
  for (const control of form.querySelectorAll("button, textarea, input")) control.disabled = true;
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
  row.append(button("codex-primary codex-approve", labels.approve, "", () => approve("approve")));
  row.append(...(request.is_change ? changeButtons(labels, approve) : sessionButtons(request, labels, approve)));
  if (request.editable) row.append(editButton(view, section, request, draft));
  row.append(
    button("codex-reject", labels.reject, labels.rejectHelp, () =>
      askForReason(view, request, form, row),
    ),
  );
  return row;
}

function changeButtons(labels, approve) {
  return [
    button("codex-approve-answer", labels.approveAnswer, labels.approveAnswerHelp, () =>
      approve("approve_answer"),
    ),
  ];
}

function sessionButtons(request, labels, approve) {
  return [
    button("codex-approve-session", request.allow_tool, labels.approveSessionHelp, () =>
      approve("approve_tool"),
    ),
    button(
      "codex-approve-code",
      request.is_code ? labels.approveCode : labels.approveCall,
      request.is_code ? labels.approveCodeHelp : labels.approveCallHelp,
      () => approve("approve_code"),
    ),
  ];
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

