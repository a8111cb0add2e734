// The front-end half of a widget: its views come and go, it lives as long as the widget.
//
// A kind of widget is { begin, full, messages, dress }: begin(view) makes the empty view and returns what ends it,
// full(view, message) draws everything, messages are further ones for each view, halfMessages those for the widget as a
// whole, dress(half, area, message) adds what helps while the page is open to the plain output that has taken the widget's
// place.

const LOOK_AGAIN_MS = 120;
const GIVE_UP_MS = 60_000;

// Where the outputs of one turn stand: what came and went too fast to be drawn finds its cell by what was drawn there.
const places = (globalThis.codexPlaces ??= new Map());

function makeHalf(model, kind) {
  const half = { model, kind, views: new Set(), areas: new Set() };
  half.send = (message, buffers) => {
    if (half.isOver) return; // the kernel would complain of a message to a widget that is closed
    try {
      model.send(message, undefined, buffers);
    } catch {
      // The kernel's half is gone; nobody waits for the message.
    }
  };
  model.on("msg:custom", (message) => receive(half, message));
  half.send({ kind: "here" });
  return half;
}

function receive(half, message) {
  const { kind } = half;
  switch (message.kind) {
    case "full":
      half.views.forEach((view) => drawWhole(view, message));
      break;
    case "request":
      answerRequest(half.model, message);
      break;
    case "put":
      half.putting = putBundle(half, message).then(() => half.look?.());
      break;
    case "ending":
      if (half.putting) half.putting.then(() => settle(half, message));
      else settle(half, message);
      break;
    case "dress":
      dressAreas(half, message);
      break;
    case "over":
      half.isOver = true;
      break;
    default:
      kind.halfMessages?.[message.kind]?.(half, message);
      half.views.forEach((view) => kind.messages?.[message.kind]?.(view, message));
  }
}

function drawWhole(view, message) {
  view.labels = message.labels;
  view.half.family = message.family;
  view.noteArea();
  view.half.kind.full(view, message);
  tellWhenCaught(view.half, message);
}

function makeView(half, el) {
  const root = element("div", "codex-live");
  const spoken = element("div", "codex-hidden");
  root.setAttribute("role", "group");
  keepKeys(root);
  spoken.setAttribute("role", "status");
  spoken.setAttribute("aria-live", "polite");
  root.append(spoken);
  el.append(root);
  const view = { id: Math.random().toString(36).slice(2), half, model: half.model, root, labels: {} };
  view.send = (message, buffers) => half.send({ view: view.id, ...message }, buffers);
  view.announce = (text) => {
    spoken.textContent = text;
  };
  view.noteArea = () => {
    const area = areaAround(el);
    if (!area) return;
    half.areas.add(area);
    if (half.family) places.set(half.family, new WeakRef(area));
  };
  half.views.add(view);
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

function isShown(half, modelId) {
  if (notebookOf(half.model)) return outputsShowing(half.model, modelId, half.catchers).length > 0;
  return [...half.views].some((view) => view.root.isConnected);
}

// Tell the kernel when no output shows the widget any more, or that one does although it was replaced: a page that was
// reloaded meanwhile does not know the display by its id.
function settle(half, message) {
  const started = performance.now();
  let told = !notebookOf(half.model);
  half.look = () => {
    clearTimeout(half.looking);
    const waited = performance.now() - started;
    if (!isShown(half, message.model_id)) {
      half.look = undefined;
      dressAreas(half, message);
      half.send({ kind: "replaced" });
      half.isOver = !message.stays_open;
    } else if (waited < GIVE_UP_MS) {
      if (!told) half.send({ kind: "kept" });
      told = true;
      half.looking = setTimeout(half.look, LOOK_AGAIN_MS + waited / 10);
    }
  };
  half.look();
}

function dressAreas(half, message) {
  const known = places.get(message.family)?.deref();
  if (known) half.areas.add(known);
  half.areas.forEach((area) => dressSoon(half, area, message));
}

// The new output is drawn a little later than it is there.
function dressSoon(half, area, message, tries = 20) {
  half.kind.dress?.(half, area, message);
  if (tries) setTimeout(() => dressSoon(half, area, message, tries - 1), 50);
}

function undressed(area, selector) {
  return [...area.querySelectorAll(`${selector}:not([data-codex-done])`)].map((node) => {
    node.dataset.codexDone = "";
    node.classList.add("codex-fresh");
    keepKeys(node);
    return node;
  });
}

// The kernel keeps its half open for the sake of buttons in a plain output; it need not once they are gone.
function dismissWithArea(half, area, row) {
  const watcher = new MutationObserver(() => {
    if (area.contains(row)) return;
    watcher.disconnect();
    if (!row.dataset.codexTaken) half.send({ kind: "dismissed" });
  });
  watcher.observe(area, { childList: true, subtree: true });
}

// What stands in no output of the document cannot be updated by the kernel: it must know, and whether we can.
async function tellWhenCaught(half, message) {
  const isUsual = !notebookOf(half.model) || outputsShowing(half.model, message.model_id).length;
  if (half.catchers || (isUsual && !message.is_caught)) return;
  half.catchers = await outputWidgets(half.model);
  if (![...half.views].some((view) => view.root.isConnected)) return;
  const isWithinReach = outputsShowing(half.model, message.model_id, half.catchers).length > 0;
  half.send({ kind: "caught", within_reach: isWithinReach });
}

// A bundle that has been put may be put anew: it is found by the output that holds it.
async function putBundle(half, message) {
  half.catchers ??= await outputWidgets(half.model);
  const shown = outputsShowing(half.model, message.model_id, half.catchers);
  const places = shown.length ? shown : (half.placed ?? []).flatMap(placeNow);
  if (!places.length) half.send({ kind: "lost" });
  else half.placed = places.map((place) => replaceOutput(place, message.bundle));
}

function placeNow({ outputs, item, catcher }) {
  for (let index = 0; index < outputs.length; index += 1) {
    if (outputs.get(index) === item) return [{ outputs, index, catcher }];
  }
  return [];
}

function widgetOf(kind) {
  return () => {
    let half;
    return {
      initialize({ model }) {
        half = makeHalf(model, kind);
      },
      render({ el }) {
        const view = makeView(half, el);
        const end = kind.begin(view);
        const stopWatching = watchVisibility(view);
        return () => {
          stopWatching();
          end?.();
          view.passFocus();
          half.views.delete(view);
          view.send({ kind: "gone" });
        };
      },
    };
  };
}
