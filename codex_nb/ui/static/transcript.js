// The transcript of a turn: it draws what it is sent and says what the user did.
// All HTML that arrives was sanitised in the kernel; everything else is set as text.

const HEARS_MS = 600; // a kernel that can hear a click has ended the answer by then

const OPERATIONS = {
  section(view, operation, old) {
    if (old?.title) {
      old.title.textContent = operation.title;
      return;
    }
    const made = SECTIONS[operation.kind](operation);
    made.beganInSight = endIsInSight(view.root);
    view.sections.set(operation.key, made);
    view.body.append(made.node);
  },
  html(view, operation, section) {
    const { closed, open } = section.slots[operation.slot];
    if (operation.closed) appendClosed(view, closed, operation.closed);
    if (operation.open !== undefined) open.innerHTML = operation.open;
    if (operation.tail) appendTail(open, operation.tail);
    if (operation.slot === "code") fitCode(section.node, open, view.labels);
    if (operation.slot === "code" && operation.tail) followEnd(open);
  },
  state(view, operation, section) {
    section.node.dataset.phase = operation.phase;
    section.state.textContent = operation.text;
    if (operation.folded) section.node.open = false; // as when the turn has ended: the page does not jump then
  },
  ask(view, operation, section) {
    OPERATIONS.asked(view, operation, section); // what was asked before
    section.node.open = true; // it shows the code that is asked about
    section.form = approvalForm(view, section, operation.request);
    section.node.append(section.form);
    view.announce(operation.request.asks);
    section.endAsking = announceApproval(view, section, operation.request);
  },
  asked(view, operation, section) {
    section.endAsking?.();
    section.form?.remove();
    section.node.querySelector(".codex-editing")?.remove();
    section.slots.code.open.parentElement.hidden = false;
  },
  output(view, operation, section) {
    if (!section.output) {
      section.output = element("details", "codex-output");
      section.output.open = Boolean(operation.is_live);
      section.output.append(element("summary", "", view.labels.output), element("pre"));
      section.node.append(section.output);
      keepReachable(section.output);
    }
    section.output.querySelector("pre").textContent = operation.text;
  },
  plan(view, operation, section) {
    section.remark.textContent = operation.remark;
    section.steps.replaceChildren(...operation.steps.map(planStep));
  },
  reset(view, operation, section) {
    for (const { closed, open } of Object.values(section.slots)) {
      closed.replaceChildren();
      open.replaceChildren();
    }
  },
  remove(view, operation, section) {
    section.endAsking?.();
    section.node.remove();
    view.sections.delete(operation.key);
  },
  status(view, operation) {
    view.status.textContent = operation.text;
    view.paused = operation.paused;
    if (operation.elapsed !== undefined) view.began = performance.now() - operation.elapsed * 1000;
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

function beginTranscript(view) {
  view.root.classList.add("jp-RenderedHTMLCommon"); // prose looks as the front end's own, and as when it has ended
  view.body = element("div", "codex-body");
  view.bar = element("div", "codex-bar");
  view.status = element("span", "codex-status");
  view.clock = element("span", "codex-clock");
  view.sections = new Map();
  view.bar.append(element("span", "codex-pulse"), view.status, view.clock);
  view.root.append(view.body, view.bar);
  const stopClock = runClock(view);
  return () => {
    stopClock();
    forgetSections(view);
  };
}

function forgetSections(view) {
  for (const section of view.sections.values()) section.endAsking?.();
  view.sections.clear();
}

function drawTranscript(view, message) {
  view.root.setAttribute("aria-label", view.labels.answer);
  view.began = performance.now() - message.elapsed * 1000;
  forgetSections(view);
  view.body.replaceChildren();
  view.stop?.remove();
  view.stop = button("codex-stop", view.labels.stop, view.labels.stopHelp, () => {
    view.stop.disabled = true;
    view.send({ kind: "action", name: "stop" });
    setTimeout(() => interruptCode(view), HEARS_MS);
  });
  view.bar.append(view.stop);
  draw(view, message.ops);
}

// A kernel that runs the model's code hears a click only afterwards; an interrupt it hears at once. It is sent only for
// the cell that runs now: the code of a background cell may be waiting behind a cell of the user's own.
function interruptCode(view) {
  const context = notebookOf(view.model);
  if (!context || !view.root.isConnected || !view.root.querySelector('[data-phase="running"]')) return;
  const asking = cellIdAround(view.root, view.model);
  const cells = context.model.cells;
  for (let place = 0; place < cells.length; place += 1) {
    const cell = cells.get(place);
    const state = cell.executionState ?? (cell.executionCount === null ? "running" : "idle"); // before JupyterLab 4.4
    if (cell.id === asking && state === "running") context.sessionContext?.session?.kernel?.interrupt();
  }
}

function runClock(view) {
  const tick = () => {
    if (waiting.size) markTitle(); // the front end may have set it anew
    if (view.began === undefined || view.paused || view.bar.hidden || !isSeen(view)) return;
    const seconds = Math.floor((performance.now() - view.began) / 1000);
    const minutes = Math.floor(seconds / 60);
    const rest = `${seconds % 60} ${view.labels.seconds}`;
    view.clock.textContent = minutes ? `${minutes} ${view.labels.minutes} ${rest}` : rest;
  };
  const timer = setInterval(tick, 1000);
  return () => clearInterval(timer);
}

const END = ".codex-footer, .codex-error"; // only the end of a turn has these

function enhanceAnswer(widget, area, message) {
  // The end of the answer is dressed by the segment that it belongs to: only that one knows the time and the offers.
  const which = message.is_last ? ".codex-answer" : `.codex-answer:not(:has(${END}))`;
  const taken = takePlain(area, which);
  for (const answer of taken) {
    addCodeTools(widget.model, answer, message.labels);
    keepReachable(answer);
    for (const call of answer.querySelectorAll(".codex-call")) {
      const block = call.querySelector(".highlight, .codex-diff");
      if (!block) continue;
      fitCode(call, block, message.labels);
      call.addEventListener("toggle", () => fitCode(call, block, message.labels));
    }
    const footer = answer.querySelector(".codex-footer small");
    if (footer && message.elapsed) footer.append(` · ${message.elapsed}`);
    if (!answer.querySelector(END)) continue;
    if (message.offers?.length) answer.append(offers(widget, area, message));
    if (message.kept?.length && notebookOf(widget.model)) answer.append(keepRow(widget, message));
  }
  return taken.length;
}

function keepRow(widget, { kept, labels }) {
  const row = element("div", "codex-buttons codex-offers");
  const keep = button("codex-keep", labels.keep, labels.keepHelp, () =>
    insertBelow(widget.model, kept, keep, labels),
  );
  keep.setAttribute("aria-live", "polite");
  row.append(keep);
  return row;
}

function offers(widget, area, message) {
  const row = element("div", "codex-buttons codex-offers");
  for (const name of message.offers) {
    if (name === "run") row.append(runButton(widget, row, message));
    else if (name === "undo") row.append(undoButton(widget, row, message.labels));
    else row.append(askingButton(widget, row, name, message.labels));
  }
  dismissWithArea(widget, area, row);
  return row;
}

function askingButton(widget, row, name, labels) {
  return button(`codex-${name}`, labels[name], "", () => {
    row.dataset.codexTaken = "";
    row.remove();
    widget.send({ kind: "action", name });
  });
}

function statusIn(row, text) {
  const status = element("span", "codex-undone", text);
  status.setAttribute("role", "status");
  row.append(status);
  return status;
}

// As by hand: the front end runs the cells, and the kernel gets them as it gets any other.
function runButton(widget, row, { edited, labels, model_id }) {
  const run = button("codex-run", labels.run, labels.runHelp, async () => {
    run.disabled = true;
    try {
      for (const cell of edited) await runCell(widget.model, { ...cell, model_id });
    } catch (problem) {
      statusIn(row, problem.message);
    }
  });
  return run;
}

// The page where it is clicked is the one that takes the changes back; the kernel knows what they were.
function undoButton(widget, row, labels) {
  const undo = button("codex-undo", labels.undo, labels.undoHelp, () => {
    undo.disabled = true;
    widget.undone = statusIn(row, "");
    widget.send({ kind: "undo", page: pageOf(widget.model) });
  });
  return undo;
}

function showUndone(widget, message) {
  if (widget.undone) widget.undone.textContent = message.text;
}

export default widgetOf({
  begin: beginTranscript,
  full: drawTranscript,
  messages: { frame: (view, message) => draw(view, message.ops) },
  widgetMessages: { undone: showUndone },
  enhance: enhanceAnswer,
});
