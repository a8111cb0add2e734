// The notebook around a widget: there in JupyterLab and Notebook 7, absent elsewhere. VS Code gives its widgets an empty
// one that is not the one on the screen; a notebook whose cell asks has at least that cell.

function notebookOf(model) {
  try {
    const context = model.widget_manager?.context;
    return context?.model?.sharedModel?.cells?.length ? context : null;
  } catch {
    return null;
  }
}

// A prompt is prose: its cell is not coloured as code. What is in a cell decides, also while it is edited.
const PROMPT = /^\s*%%codex\b/;
const PROSE = "text/plain";
const LOOK_MS = 300;

function showPromptsAsProse(model) {
  const notebook = notebookOf(model)?.model;
  const known = (globalThis.codexNotebooks ??= new WeakSet());
  if (!notebook || known.has(notebook)) return;
  known.add(notebook);
  const languages = new WeakMap();
  let soon;
  const look = () => {
    soon = undefined;
    if (!notebook.isDisposed) for (const cell of notebook.cells) chooseLanguage(cell, languages);
  };
  const changed = () => (soon ??= setTimeout(look, LOOK_MS));
  notebook.contentChanged?.connect(changed);
  notebook.metadataChanged?.connect(changed); // with the kernel's language, which all cells get then
  look();
}

function chooseLanguage(cell, languages) {
  if (cell.type !== "code") return;
  if (PROMPT.test(cell.sharedModel.getSource())) {
    if (cell.mimeType === PROSE) return;
    languages.set(cell, cell.mimeType);
    cell.mimeType = PROSE;
  } else if (languages.has(cell)) {
    cell.mimeType = languages.get(cell);
    languages.delete(cell);
  }
}

function idOf(cell) {
  return cell.getId ? cell.getId() : cell.id;
}

// What an answer can use of outputs: a notebook with 50 MB of them must not travel with every question.
const READ_TEXTS = ["text/plain", "text/markdown", "text/latex", "application/json"];
const NEAR_PICTURES = 8;

async function readDocument(model, { cell_id: asking, limit, whole = [], model_id }) {
  const context = notebookOf(model);
  if (!context) throw new Error("no notebook");
  const canRun = await canRunCells(model, model_id);
  const { cells } = context.model.toJSON();
  const last = cells.findIndex((cell) => cell.id === asking);
  cells.forEach((cell, index) => {
    const isWhole = whole.includes(cell.execution_count) || whole.includes(index + 1);
    const isNear = index < last && index >= last - NEAR_PICTURES;
    const size = isWhole ? 10 * limit : limit;
    delete cell.attachments;
    cell.outputs = cell.outputs?.map((output) => leanOutput(output, size, isWhole || isNear));
  });
  return { notebook: { cells }, path: context.path, can_run: canRun };
}

function leanOutput(output, limit, withPictures) {
  const lean = { ...output };
  if (output.text) lean.text = shortened(output.text, limit);
  if (output.evalue) lean.evalue = shortened(output.evalue, limit);
  if (output.traceback) lean.traceback = output.traceback.map((frame) => shortened(frame, limit));
  for (const [kind, value] of Object.entries(output.data ?? {})) {
    const isKept = READ_TEXTS.includes(kind) || (withPictures && kind.startsWith("image/"));
    const most = READ_TEXTS.includes(kind) ? limit : Infinity;
    lean.data = { ...lean.data, [kind]: isKept ? shortened(value, most) : "" };
  }
  return lean;
}

// The kernel's own mark for what was left out: it adds up what is left out here and there.
function shortened(value, limit) {
  const isText = typeof value === "string" || Array.isArray(value);
  const text = isText ? [value].flat().join("") : JSON.stringify(value);
  if (text.length <= limit) return isText ? text : value;
  const head = text.slice(0, Math.floor((limit * 2) / 3)).replace(/[\uD800-\uDBFF]$/, "");
  const tail = text.slice(text.length - Math.ceil(limit / 3)).replace(/^[\uDC00-\uDFFF]/, "");
  const missing = (text.length - head.length - tail.length).toLocaleString("en-US");
  return `${head}\n… [${missing} characters left out] …\n${tail}`;
}

const REQUESTS = { read_document: readDocument };

// Every page that shows the kernel receives every message; the session of a page's requests is its name.
function pageOf(model) {
  const kernel = notebookOf(model)?.sessionContext?.session?.kernel ?? model.widget_manager?.kernel;
  return kernel?.clientId ?? null;
}

async function answerRequest(model, message) {
  if (message.page && message.page !== pageOf(model)) return;
  const reply = { kind: "reply", id: message.id };
  try {
    const payload = { ...message.payload, model_id: message.model_id };
    reply.value = await REQUESTS[message.operation](model, payload);
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

// What ipywidgets' Output widgets have caught of cells' outputs: such an output takes no update by its display id.
async function outputWidgets(model) {
  const every = Object.values(model.widget_manager?._models ?? {});
  const loaded = await Promise.all(every.map((each) => Promise.race([each, undefined]).catch(() => undefined)));
  return loaded.filter((each) => each?.outputs?.toJSON && each.outputs.set);
}

// Outputs that still show this widget: those of the open document, and those that these Output widgets have caught.
function outputsShowing(model, modelId, outputWidgets = []) {
  const found = [];
  const cells = notebookOf(model)?.model.cells;
  for (let i = 0; i < (cells?.length ?? 0); i += 1) found.push(...outputsOf(cells.get(i), modelId));
  for (const outputWidget of outputWidgets) found.push(...outputsOf(outputWidget, modelId, outputWidget));
  return found;
}

function outputsOf({ outputs }, modelId, outputWidget) {
  const found = [];
  for (let index = 0; index < (outputs?.length ?? 0); index += 1) {
    const view = outputs.get(index).data?.["application/vnd.jupyter.widget-view+json"];
    if (view?.model_id === modelId) found.push({ outputs, index, outputWidget });
  }
  return found;
}

// Replace an output; an Output widget sends its new outputs to the kernel.
function replaceOutput({ outputs, index, outputWidget }, data) {
  outputs.set(index, { output_type: "display_data", data, metadata: {} });
  outputWidget?.set("outputs", outputs.toJSON(), { newMessage: true });
  outputWidget?.save_changes();
  return { outputs, item: outputs.get(index), outputWidget };
}

function typeset(model, node) {
  if (!node.querySelector(".codex-math")) return;
  try {
    model.widget_manager?.rendermime?.latexTypesetter?.typeset(node);
  } catch {
    // No typesetter here: the formula stays readable as it is.
  }
}

