// A widget's model in the front end: its views come and go, it lives as long as the widget.
//
// A kind of widget is { begin, full, messages, enhance }: begin(view) makes the empty view and returns its clean-up,
// full(view, message) draws everything, messages are further ones for each view, widgetMessages those for the widget as a
// whole, enhance(widget, area, message) adds buttons to the plain output that has replaced the widget, while the page is
// open, and returns how many it has found.

const LOOK_AGAIN_MS = 120;
const DRAWN_MS = 1_000; // its copies in other views are drawn within
const LATE_MS = 20_000;
const GIVE_UP_MS = 60_000;
const SHARED_MS = 5_000; // by then a change has reached the other pages of a shared document

// Where the outputs of one turn stand: what came and went too fast to be drawn finds its cell by what was drawn there.
const places = (globalThis.codexPlaces ??= new Map());

function makeWidget(model, kind) {
  const widget = { model, kind, views: new Set(), areas: new Set() };
  widget.send = (message, buffers) => {
    if (widget.isOver) return; // the kernel would complain of a message to a widget that is closed
    try {
      model.send(message, undefined, buffers);
    } catch {
      // The kernel has closed the widget; nothing waits for the message.
    }
  };
  model.on("msg:custom", (message) => receive(widget, message));
  showPromptsAsProse(model);
  widget.send({ kind: "loaded" });
  return widget;
}

function receive(widget, message) {
  const { kind } = widget;
  switch (message.kind) {
    case "full":
      widget.views.forEach((view) => {
        if (!message.view || message.view === view.id) drawWhole(view, message);
      });
      break;
    case "request":
      answerRequest(widget.model, message);
      break;
    case "replace":
      widget.replacing = replaceByBundle(widget, message).then(() => widget.look?.());
      break;
    case "ended":
      if (widget.replacing) widget.replacing.then(() => confirmReplaced(widget, message));
      else confirmReplaced(widget, message);
      break;
    case "enhance":
      enhanceAreas(widget, message);
      break;
    case "closed":
      widget.isOver = true;
      break;
    default:
      kind.widgetMessages?.[message.kind]?.(widget, message);
      widget.views.forEach((view) => {
        if (view.isDrawn) kind.messages?.[message.kind]?.(view, message);
      });
  }
}

function drawWhole(view, message) {
  view.isDrawn = true;
  view.labels = message.labels;
  view.widget.family = message.family;
  view.noteArea();
  view.widget.kind.full(view, message);
  reportCaptured(view.widget, message);
}

function makeView(widget, el) {
  const root = element("div", "codex-live");
  const spoken = element("div", "codex-hidden");
  root.setAttribute("role", "group");
  keepKeys(root);
  spoken.setAttribute("role", "status");
  spoken.setAttribute("aria-live", "polite");
  root.append(spoken);
  el.append(root);
  const view = { id: Math.random().toString(36).slice(2), widget, model: widget.model, root, labels: {} };
  view.send = (message, buffers) => widget.send({ view: view.id, ...message }, buffers);
  view.announce = (text) => {
    spoken.textContent = text;
  };
  view.noteArea = () => {
    const area = areaAround(el);
    if (!area) return;
    widget.areas.add(area);
    if (widget.family) places.set(widget.family, new WeakRef(area));
  };
  widget.views.add(view);
  keepFocus(view, el);
  return view;
}

// When what has the focus is replaced by the finished output, the focus would be lost: it goes to the cell then.
function keepFocus(view, el) {
  let cell = null;
  view.root.addEventListener("focusin", () => {
    cell = el.closest(".jp-Cell");
  });
  view.root.addEventListener("focusout", () => {
    setTimeout(() => {
      if (view.root.isConnected && !view.root.contains(document.activeElement)) cell = null;
    });
  });
  view.passFocus = () => {
    setTimeout(() => {
      if (cell && document.activeElement === document.body) cell.focus({ preventScroll: true });
    });
  };
}

// Jupyter's own shortcuts would take Enter and the like from our buttons.
function keepKeys(node) {
  node.dataset.lmSuppressShortcuts = "true";
}

function isSeen(view) {
  return document.visibilityState === "visible" && view.root.getClientRects().length > 0;
}

function watchVisibility(view) {
  let seen = document.visibilityState === "visible";
  const look = () => {
    view.noteArea();
    if (isSeen(view) === seen) return;
    seen = !seen;
    view.send({ kind: "visible", visible: seen });
  };
  const sizes = new ResizeObserver(look);
  sizes.observe(view.root);
  document.addEventListener("visibilitychange", look);
  view.send({ kind: "ready", visible: seen, document: Boolean(notebookOf(view.model)) });
  return () => {
    sizes.disconnect();
    document.removeEventListener("visibilitychange", look);
  };
}

// Where the cell's outputs stand; known only once the view is attached. VS Code gives a new output a new element.
function areaAround(el) {
  return el.closest(".jp-OutputArea, .cell_container") ?? el.closest(".cell-output, .output");
}

function isShown(widget, modelId) {
  if (notebookOf(widget.model)) return outputsShowing(widget.model, modelId, widget.outputWidgets).length > 0;
  return [...widget.views].some((view) => view.root.isConnected);
}

// Tell the kernel when no output shows the widget any more, or that one does although it was replaced: a page that was
// reloaded meanwhile does not know the display by its id. A page that is still being loaded may miss the reply. In a shared
// document the page that knows it does so for all: two replacements at the same time would become two outputs.
function confirmReplaced(widget, message) {
  const started = performance.now();
  let tellAt = notebookOf(widget.model)?.model.collaborative ? SHARED_MS : 0;
  widget.look = () => {
    clearTimeout(widget.looking);
    const waited = performance.now() - started;
    if (!isShown(widget, message.model_id)) {
      widget.look = undefined;
      enhanceAreas(widget, message);
      widget.send({ kind: "replaced" });
      widget.isOver = !message.stays_open;
    } else if (waited < GIVE_UP_MS) {
      if (waited >= tellAt && notebookOf(widget.model)) {
        widget.send({ kind: "still_shown", page: pageOf(widget.model) });
        tellAt = 2 * waited + 1_000;
      }
      widget.looking = setTimeout(widget.look, LOOK_AGAIN_MS + waited / 10);
    }
  };
  widget.look();
}

function enhanceAreas(widget, message) {
  const known = places.get(message.family)?.deref();
  if (known) widget.areas.add(known);
  if (!widget.kind.enhance) return;
  widget.sought = message;
  widget.areas.forEach((area) => enhanceSoon(widget, area, message));
}

// The new output is drawn a little later than it is there, and a page under load draws it much later. What replaces it
// meanwhile has a message of its own.
function enhanceSoon(widget, area, message, waited = 0, wasFound = false) {
  if (widget.sought !== message) return;
  const isFound = widget.kind.enhance(widget, area, message) > 0 || wasFound;
  if (waited > (isFound ? DRAWN_MS : LATE_MS)) return;
  const pause = waited < DRAWN_MS ? 50 : 250;
  setTimeout(() => enhanceSoon(widget, area, message, waited + pause, isFound), pause);
}

function takePlain(area, selector, isWanted = () => true) {
  return [...area.querySelectorAll(`${selector}:not([data-codex-done])`)].filter(isWanted).map((node) => {
    node.dataset.codexDone = "";
    node.classList.add("codex-fresh");
    keepKeys(node);
    return node;
  });
}

// The kernel keeps the widget open for the buttons in a plain output; once they are gone it need not.
function dismissWithArea(widget, area, row) {
  const watcher = new MutationObserver(() => {
    if (area.contains(row)) return;
    watcher.disconnect();
    if (!row.dataset.codexTaken) widget.send({ kind: "dismissed" });
  });
  watcher.observe(area, { childList: true, subtree: true });
}

// The kernel cannot update a widget outside the document's outputs: tell it, and whether the front end can.
async function reportCaptured(widget, message) {
  const isUsual = !notebookOf(widget.model) || outputsShowing(widget.model, message.model_id).length;
  if (widget.outputWidgets || (isUsual && !message.is_captured)) return;
  widget.outputWidgets = await outputWidgets(widget.model);
  if (![...widget.views].some((view) => view.root.isConnected)) return;
  const isWithinReach = outputsShowing(widget.model, message.model_id, widget.outputWidgets).length > 0;
  widget.send({ kind: "captured", within_reach: isWithinReach });
}

// A bundle may be replaced again: it is found by the output that shows it.
async function replaceByBundle(widget, message) {
  if (message.page && message.page !== pageOf(widget.model)) return;
  widget.outputWidgets ??= await outputWidgets(widget.model);
  const shown = outputsShowing(widget.model, message.model_id, widget.outputWidgets);
  const places = shown.length ? shown : (widget.placed ?? []).flatMap(placeNow);
  if (!places.length) widget.send({ kind: "unreachable" });
  else widget.placed = places.map((place) => replaceOutput(place, message.bundle));
}

function placeNow({ outputs, item, outputWidget }) {
  for (let index = 0; index < outputs.length; index += 1) {
    if (outputs.get(index) === item) return [{ outputs, index, outputWidget }];
  }
  return [];
}

function widgetOf(kind) {
  return () => {
    let widget;
    return {
      initialize({ model }) {
        widget = makeWidget(model, kind);
      },
      render({ el }) {
        const view = makeView(widget, el);
        const end = kind.begin(view);
        const stopWatching = watchVisibility(view);
        return () => {
          stopWatching();
          end?.();
          view.passFocus();
          widget.views.delete(view);
          view.send({ kind: "gone" });
        };
      },
    };
  };
}
