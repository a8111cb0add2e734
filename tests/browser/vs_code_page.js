// A notebook page around the pieces of VS Code that are packages: its widget manager, its Markdown renderer's parser
// and sanitizer, RequireJS, and the kernel connection of its Jupyter extension. What stands between them is written
// anew, after the editor's public sources; docs/saved_output.md tells which.

const WIDGET = "application/vnd.jupyter.widget-view+json";
const STREAMS = { stdout: "application/vnd.code.notebook.stdout", stderr: "application/vnd.code.notebook.stderr" };
const ERROR = "application/vnd.code.notebook.error";
// The Jupyter extension sorts what an output holds by this (src/kernels/execution/helpers.ts) …
const ORDER = [
  "application/vnd.", "application/vdom.", "application/geo+json", "application/x-nteract-model-debug+json",
  "text/html", "application/javascript", "image/gif", "text/latex", "text/markdown", "image/png", "image/svg+xml",
  "image/jpeg", "application/json", "text/plain",
];
// … and the editor takes the first that is secure, in a workspace that is not trusted (notebookCommon.ts).
const SECURE = [
  "text/latex", "text/markdown", "application/json", "image/png", "image/jpeg", "text/plain", ERROR,
  ...Object.values(STREAMS),
];
// What the Markdown renderer lets through there (markdown-language-features/notebook/index.ts), without SVG's tags.
const MARKDOWN_TAGS = (
  "a abbr b bdo blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption figure " +
  "h1 h2 h3 h4 h5 h6 hr i img ins kbd label li mark ol p pre q rp rt ruby samp small source span strike strong sub " +
  "summary sup table tbody td tfoot th thead time tr tt u ul var video wbr"
).split(" ");
const FIRST_WIDGET_MS = 500; // the renderer looks only twice a second whether the widget scripts are there

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Notebook {
  constructor({ trusted = true } = {}) {
    this.trusted = trusted;
    this.widgets = null;
    this.cells = [];
    this.displays = new Map();
  }

  addCell() {
    const node = document.createElement("div");
    node.className = "cell_container";
    document.getElementById("container").append(node);
    const cell = { node, outputs: [], state: "idle" };
    this.cells.push(cell);
    return cell;
  }

  add(cell, kind, data, displayId) {
    const output = { kind, displayId };
    cell.outputs.push(output);
    if (displayId) this.displays.set(displayId, [...(this.displays.get(displayId) ?? []), { cell, output }]);
    this.set(cell, output, data);
  }

  set(cell, output, data) {
    output.data = data;
    const place = (mime) => {
      const found = ORDER.findIndex((each) => mime.startsWith(each));
      return found < 0 ? ORDER.length : found;
    };
    const mimes = Object.keys(data).sort((one, other) => place(one) - place(other));
    const chosen = mimes.find((mime) => this.trusted || SECURE.includes(mime));
    if (output.mime !== chosen) this.renew(cell, output);
    output.mime = chosen;
    output.drawn = chosen && this.draw(output, chosen, data[chosen], mimes.slice(mimes.indexOf(chosen) + 1));
  }

  // Another kind of content comes into a new element; the old one is taken away.
  renew(cell, output) {
    const box = document.createElement("div");
    box.className = "output_container";
    box.append(Object.assign(document.createElement("div"), { className: "output" }));
    if (output.box) output.box.replaceWith(box);
    else cell.node.append(box);
    output.box = box;
  }

  async draw(output, mime, content, others) {
    const element = output.box.firstChild;
    const text = [content].flat().join("");
    if (mime === WIDGET) {
      if (await this.drawWidget(content, element)) return;
      // The extension says that it cannot; the editor takes what comes next.
      const next = others.find((each) => this.trusted || SECURE.includes(each));
      if (next && output.mime === mime) await this.draw(output, next, output.data[next], []);
    } else if (mime === "text/html") drawHtml(text, element);
    else if (mime === "text/markdown") drawMarkdown(text, element, this.trusted);
    else if (mime.startsWith("image/")) {
      element.replaceChildren(Object.assign(document.createElement("img"), { src: `data:${mime};base64,${text}` }));
    } else {
      const pre = document.createElement("pre");
      pre.textContent = mime === ERROR ? content.traceback.join("\n") : text;
      element.replaceChildren(pre);
    }
  }

  async drawWidget(content, element) {
    if (!this.widgets) return false; // no kernel was chosen
    this.first ??= sleep(FIRST_WIDGET_MS);
    await this.first;
    if (!this.widgets.opened.has(content.model_id)) return false;
    await this.widgets.shown(content.model_id);
    const inner = document.createElement("div");
    inner.className = "cell-output-ipywidget-background";
    inner.append(Object.assign(document.createElement("div"), { className: "cell-output" }));
    element.replaceChildren(inner);
    try {
      const { manager } = this.widgets;
      const model = await manager.get_model(content.model_id);
      const view = await manager.create_view(model, { el: inner });
      if (inner.isConnected) await manager.display_view(content, view, { node: inner });
      else view.remove();
    } catch (error) {
      window.vsCode.log.push(String(error)); // as the extension does: it is told to its log, not to the person
    }
    return true;
  }

  take(cell, message) {
    const { content } = message;
    switch (message.header.msg_type) {
      case "stream": {
        const last = cell.outputs.at(-1);
        const mime = STREAMS[content.name];
        if (last?.kind === "stream" && mime in last.data) {
          this.set(cell, last, { [mime]: last.data[mime] + content.text });
        } else this.add(cell, "stream", { [mime]: content.text });
        break;
      }
      case "display_data":
      case "execute_result":
        this.add(cell, message.header.msg_type, content.data, content.transient?.display_id);
        break;
      case "update_display_data":
        for (const each of this.displays.get(content.transient.display_id) ?? []) {
          this.set(each.cell, each.output, content.data);
        }
        break;
      case "error":
        this.add(cell, "error", { [ERROR]: content });
        break;
    }
  }
}

function drawHtml(html, element) {
  const inner = document.createElement("div");
  inner.innerHTML = html;
  element.replaceChildren(inner);
  for (const inert of inner.querySelectorAll("script")) {
    const live = document.createElement("script");
    live.text = inert.innerText;
    inner.appendChild(live).remove();
  }
}

function drawMarkdown(text, element, trusted) {
  const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
  const parser = window.markdownit({ html: true, linkify: true });
  parser.linkify.set({ fuzzyLink: false });
  const html = parser.render(text);
  const preview = Object.assign(document.createElement("div"), { id: "preview" });
  preview.innerHTML = trusted ? html : window.DOMPurify.sanitize(html, { ALLOWED_TAGS: MARKDOWN_TAGS });
  root.replaceChildren(preview);
}

// The extension's own connection, and the page's: every frame of the one goes through to the other.
async function connect(services, { base, token, kernel }) {
  const frames = [];
  const line = { socket: null, toPage: (data) => frames.push(data) };
  class Tapped extends WebSocket {
    constructor(...parts) {
      super(...parts);
      line.socket = this;
      this.addEventListener("message", (event) => line.toPage(event.data));
    }
  }
  const own = { baseUrl: base, wsUrl: base.replace("http", "ws"), token, appendToken: true };
  const settings = services.ServerConnection.makeSettings({ ...own, WebSocket: Tapped });
  const manager = new services.KernelManager({ serverSettings: settings });
  const extension = await manager.startNew({ name: kernel }, { handleComms: false });
  await extension.info;
  class Through {
    constructor() {
      this.protocol = line.socket.protocol;
      line.toPage = (data) => this.onmessage?.({ data, target: this });
      setTimeout(() => this.onopen?.({ target: this }));
    }
    send(data) {
      line.socket.send(data);
    }
    close() {}
  }
  const proxied = services.ServerConnection.makeSettings({ ...own, WebSocket: Through });
  const page = new services.KernelManager({ serverSettings: proxied }).connectTo({
    model: extension.model, clientId: extension.clientId, username: extension.username, handleComms: true,
  });
  await page.info;
  return { extension, page };
}

// Scripts of widgets lie in the kernel's environment; there is no CDN here.
function scriptLoader(scripts, lateMs) {
  const registered = new Set();
  return {
    widgetsRegisteredInRequireJs: registered,
    async loadWidgetScript(name) {
      if (!scripts[name]) return;
      await sleep(lateMs);
      window.requirejs.config({ paths: { [name]: scripts[name].replace(/\.js$/, "") } });
      registered.add(name);
    },
    errorHandler: (_, name) => window.vsCode.missing.push(name),
    successHandler() {},
  };
}

// The extension knows which widgets the kernel has opened; the page draws one when it has come to its display.
function widgetsOf(extension, page, scripts, lateMs) {
  const opened = new Set();
  const displays = new Map();
  const displayOf = (id) => {
    if (!displays.has(id)) displays.set(id, Promise.withResolvers());
    return displays.get(id);
  };
  extension.iopubMessage.connect((_, { header, content }) => {
    if (header.msg_type === "comm_open") opened.add(content.comm_id);
  });
  page.iopubMessage.connect((_, { header, content }) => {
    if (header.msg_type === "display_data" && WIDGET in content.data) displayOf(content.data[WIDGET].model_id).resolve();
  });
  const manager = new window.vscIPyWidgets.WidgetManager(page, undefined, scriptLoader(scripts, lateMs), () => {});
  return { manager, opened, shown: (id) => displayOf(id).promise };
}

function askForInput(kernel, message) {
  const box = document.createElement("form");
  box.id = "input-box";
  box.innerHTML = "<label></label><input>";
  box.firstChild.textContent = message.content.prompt;
  box.onsubmit = (event) => {
    event.preventDefault();
    kernel.sendInputReply({ status: "ok", value: box.lastChild.value }, message.header);
    box.remove();
  };
  document.body.prepend(box);
}

export function showSaved(cells, trusted) {
  const notebook = new Notebook({ trusted });
  for (const outputs of cells) {
    const cell = notebook.addCell();
    for (const { kind, data } of outputs) notebook.add(cell, kind, data);
  }
}

export async function start({ base, token, kernel, scripts, lateMs }) {
  const [services, { activate }] = await Promise.all([
    new Promise((resolve) => window.requirejs(["@jupyterlab/services"], resolve)),
    import("./packages/@vscode/jupyter-ipywidgets8/dist/ipywidgets.js"),
  ]);
  const { extension, page } = await connect(services, { base, token, kernel });
  const notebook = new Notebook();
  window.vsCode = { missing: [], log: [], cells: notebook.cells };
  activate();
  window.vscIPyWidgets8.load();
  notebook.widgets = widgetsOf(extension, page, scripts, lateMs);
  const running = new Map();
  extension.iopubMessage.connect((_, message) => {
    const cell = running.get(message.parent_header.msg_id);
    if (cell) notebook.take(cell, message);
  });
  window.vsCode.run = (code) => {
    const cell = notebook.addCell();
    const request = { code, silent: false, stop_on_error: false, allow_stdin: true, store_history: true };
    const cellId = `vscode-notebook-cell:/notebook.ipynb#W${notebook.cells.length}sZmlsZQ%3D%3D`;
    cell.state = "running";
    const future = extension.requestExecute(request, false, { cellId });
    running.set(future.msg.header.msg_id, cell);
    future.onStdin = (message) => askForInput(extension, message);
    future.done.then((reply) => (cell.state = reply.content.status));
    return notebook.cells.length - 1;
  };
  window.vsCode.interrupt = () => extension.interrupt();
}
