// The notebook around a widget: there in JupyterLab and Notebook 7, absent elsewhere.

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
  return { inserted: cells.length, last: idOf(shared.cells[at + cells.length - 1]) };
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

