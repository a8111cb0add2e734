// The cells of the open notebook: changed through the document's shared model as by a person's hand, so that the editor's
// own undo takes a change back, and run as the front end runs them. A change is made only to the text it was proposed for.

function sharedCells(model) {
  const context = notebookOf(model);
  if (!context) throw new Error("no notebook is open");
  return { context, shared: context.model.sharedModel };
}

function indexOf(shared, id) {
  return shared.cells.findIndex((cell) => idOf(cell) === id);
}

function placeOf(shared, id) {
  const index = indexOf(shared, id);
  if (index < 0) throw new Error("the cell is no longer in the notebook");
  return index;
}

// The id of the cell above a place, null at the top.
function idAbove(shared, index) {
  return index > 0 ? idOf(shared.cells[index - 1]) : null;
}

// The place below the cell with an id, the top for null.
function placeBelow(shared, id) {
  return id === null ? 0 : placeOf(shared, id) + 1;
}

function isRunning(context, index) {
  return context.model.cells.get(index)?.executionState === "running";
}

function checkWritable(context) {
  if (context.model.readOnly) throw new Error("the notebook is read-only");
}

function checkEditable(context, cell) {
  checkWritable(context);
  if (cell.getMetadata("editable") === false) throw new Error("the cell is marked as not editable");
}

function checkDeletable(context, cell, index) {
  checkEditable(context, cell);
  if (cell.getMetadata("deletable") === false) throw new Error("the cell is marked as not deletable");
  if (isRunning(context, index)) throw new Error("the cell is running");
}

function checkText(cell, expected) {
  if (cell.getSource() !== expected) throw new Error("its text has been changed meanwhile");
}

// Typing within half a second would otherwise become one undo step with the change.
function asOneStep(undoManager, change) {
  undoManager?.stopCapturing?.();
  const result = change();
  undoManager?.stopCapturing?.();
  return result;
}

const HIGH_SURROGATE = /[\uD800-\uDBFF]$/;
const LOW_SURROGATE = /^[\uDC00-\uDFFF]/;

// Only what differs is replaced: the cursor stays. A pair of surrogates is never cut, which would destroy the character.
function setSource(cell, source) {
  const before = cell.getSource();
  const most = Math.min(before.length, source.length);
  let start = 0;
  while (start < most && before[start] === source[start]) start += 1;
  if (HIGH_SURROGATE.test(before.slice(0, start))) start -= 1;
  let end = 0;
  while (end < most - start && before.at(-1 - end) === source.at(-1 - end)) end += 1;
  if (LOW_SURROGATE.test(before.slice(before.length - end))) end -= 1;
  const replacement = source.slice(start, source.length - end);
  asOneStep(cell.undoManager, () => cell.updateSource(start, before.length - end, replacement));
}

function insertCells(model, { cells, after }) {
  const { context, shared } = sharedCells(model);
  checkWritable(context);
  const at = after ? placeBelow(shared, after) : shared.cells.length;
  const made = cells.map(cellJson);
  asOneStep(shared.undoManager, () => shared.insertCells(at, made));
  return { ids: shared.cells.slice(at, at + made.length).map(idOf) };
}

// Outputs that this session has made are shown as they were made.
function cellJson({ kind, source, outputs }) {
  const cell = { cell_type: kind, source, metadata: {} };
  if (outputs?.length) Object.assign(cell, { outputs, execution_count: null, metadata: { trusted: true } });
  return cell;
}

function editCell(model, { id, before, after }) {
  const { context, shared } = sharedCells(model);
  const index = placeOf(shared, id);
  const cell = shared.cells[index];
  checkEditable(context, cell);
  checkText(cell, before);
  setSource(cell, after);
  return { shown: shownBelow(context, index) };
}

const LARGEST_SHOWN = 2_000_000; // characters: the server takes no message of 10 MB

// What a cell shows, to be shown again; null where that is too large, nothing for a cell that cannot show anything.
function shownBelow(context, index) {
  const { outputs, executionCount: count } = context.model.cells.get(index);
  if (!outputs) return undefined;
  const shown = { outputs: outputs.toJSON(), count: count ?? null };
  return JSON.stringify(shown.outputs).length <= LARGEST_SHOWN ? shown : null;
}

function showAgain(context, index, shown) {
  const cell = context.model.cells.get(index);
  if (!shown || !cell.outputs) return;
  cell.outputs.fromJSON(shown.outputs);
  cell.executionCount = shown.count;
}

// All of them or none, from the last to the first; the answer has them from the first to the last.
function deleteCells(model, { cells }) {
  const { context, shared } = sharedCells(model);
  const places = cells.map(({ id, source }) => {
    const index = placeOf(shared, id);
    checkDeletable(context, shared.cells[index], index);
    checkText(shared.cells[index], source);
    return index;
  });
  places.sort((one, other) => one - other);
  const deleted = places.map((index) => {
    const { outputs: _, ...cell } = shared.cells[index].toJSON();
    const trusted = context.model.cells.get(index).trusted;
    return { cell, trusted, shown: shownBelow(context, index), after: idAbove(shared, index) };
  });
  asOneStep(shared.undoManager, () =>
    shared.transact(() => places.reverse().forEach((index) => shared.deleteCell(index))),
  );
  return { deleted };
}

function moveCell(model, { id, after }) {
  const { context, shared } = sharedCells(model);
  checkWritable(context);
  const from = placeOf(shared, id);
  if (isRunning(context, from)) throw new Error("the cell is running"); // its outputs would be lost
  const was = idAbove(shared, from);
  moveTo(shared, from, placeBelow(shared, after));
  return { was };
}

function moveTo(shared, from, below) {
  asOneStep(shared.undoManager, () => shared.moveCell(from, from < below ? below - 1 : below));
}

// What takes a change back; each returns in words why it does not, nothing where it does.
const UNDO = {
  edit({ context, shared }, { id, before, after, shown }) {
    const index = indexOf(shared, id);
    const cell = shared.cells[index];
    if (!cell) return "it has been deleted since";
    if (cell.getSource() !== after) return "its text has been changed since";
    checkEditable(context, cell);
    setSource(cell, before);
    showAgain(context, index, shown);
  },
  insert({ context, shared }, { id, source }) {
    const index = indexOf(shared, id);
    if (index < 0) return;
    if (shared.cells[index].getSource() !== source) return "its text has been changed since";
    checkDeletable(context, shared.cells[index], index);
    shared.deleteCell(index);
  },
  delete({ context, shared }, { cell, trusted, shown, after }) {
    if (indexOf(shared, cell.id) >= 0) return;
    checkWritable(context);
    const above = after === null ? -1 : indexOf(shared, after);
    if (after !== null && above < 0) return "the cell above it is gone";
    shared.insertCell(above + 1, cell.cell_type === "code" ? { ...cell, outputs: [] } : cell);
    context.model.cells.get(above + 1).trusted = trusted;
    showAgain(context, above + 1, shown);
  },
  move({ context, shared }, { id, was, now }) {
    const index = indexOf(shared, id);
    if (index < 0) return "it has been deleted since";
    if (idAbove(shared, index) !== now) return "it, or the cell above it, has been moved since";
    if (was !== null && indexOf(shared, was) < 0) return "the cell that it stood below is gone";
    if (isRunning(context, index)) return "the cell is running";
    checkWritable(context);
    moveTo(shared, index, placeBelow(shared, was));
  },
};

function undoChanges(model, { changes }) {
  const places = sharedCells(model);
  const reasons = changes.map((change) => {
    try {
      return asOneStep(places.shared.undoManager, () => UNDO[change.kind](places, change)) ?? null;
    } catch (problem) {
      return problem.message;
    }
  });
  return { reasons };
}

const VIEW_MS = 500; // within which a widget that is on the page has a view
const panels = new WeakMap(); // of each document that was found

// The notebook's panel: the widget's own view leads up to it.
async function panelOf(model, modelId) {
  const context = notebookOf(model);
  if (!context) return null;
  const known = panels.get(context);
  if (known && !known.isDisposed) return known;
  for (const until = performance.now() + VIEW_MS; performance.now() < until; ) {
    const own = await model.widget_manager.get_model(modelId);
    for (const promise of Object.values(own?.views ?? {})) {
      const view = await promise;
      let at = view.luminoWidget ?? view.pWidget;
      while (at && !(at.content?.widgets && at.context === context)) at = at.parent;
      if (at) panels.set(context, at);
      if (at) return at;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return null;
}

async function canRunCells(model, modelId) {
  const panel = await panelOf(model, modelId);
  const code = panel?.content.widgets.find((cell) => cell.model.type === "code");
  return typeof code?.constructor.execute === "function";
}

// The kernel finds the request by its id among those that wait, and answers it while the asking cell still runs.
async function runCell(model, { id, source, model_id }) {
  const panel = await panelOf(model, model_id);
  if (!panel) throw new Error("this front end cannot run cells here");
  const { context, shared } = sharedCells(model);
  const index = placeOf(shared, id);
  checkText(shared.cells[index], source);
  if (isRunning(context, index)) throw new Error("the cell is running, or waits to run");
  const cell = panel.content.widgets[index];
  const { recordTiming } = panel.content.notebookConfig;
  const ran = cell.constructor.execute(cell, panel.sessionContext, { deletedCells: [], recordTiming });
  ran.catch(() => {}); // the front end shows it
  const request = cell.outputArea?.future?.msg.header.msg_id;
  if (!request) throw new Error("the front end did not run it");
  return { request };
}

Object.assign(REQUESTS, {
  find_page: (model) => ({ page: pageOf(model) }),
  insert_cells: insertCells,
  edit_cell: editCell,
  delete_cells: deleteCells,
  move_cell: moveCell,
  undo_changes: undoChanges,
  run_cell: runCell,
});
