// Blocks of an answer: code to copy and to insert below, wide tables to scroll.

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

// A button says for a moment what it has done; however often it is touched, its label comes back.
function say(node, text, announce) {
  node.codexLabel ??= node.textContent;
  node.textContent = text;
  announce?.(text);
  clearTimeout(node.codexTimer);
  node.codexTimer = setTimeout(() => {
    node.textContent = node.codexLabel;
  }, 1600);
}

function copyButton(className, text, labels, announce) {
  const copy = button(className, labels.copy, "", async () =>
    say(copy, (await copyText(text())) ? labels.copied : labels.copyFailed, announce),
  );
  return copy;
}

function codeTools(model, block, labels, announce) {
  const code = () => block.querySelector("code, pre").textContent.replace(/\n$/, "");
  const tools = element("div", "codex-code-tools");
  tools.append(copyButton("codex-quiet", code, labels, announce));
  if (notebookOf(model)) {
    const insert = button("codex-quiet", labels.insert, "", () =>
      insertBelow(model, [{ kind: "code", source: code() }], insert, labels, announce),
    );
    tools.append(insert);
  }
  if (!announce) for (const tool of tools.children) tool.setAttribute("aria-live", "polite"); // nothing else tells
  return tools;
}

// Insert cells below the one that a button is in; the button says whether it was done.
function insertBelow(model, cells, button, labels, announce) {
  try {
    insertCells(model, { cells, after: cellIdAround(button, model) });
    say(button, labels.inserted, announce);
  } catch {
    say(button, labels.insertFailed, announce);
  }
}

// What is wider or longer than its place scrolls: then, and only then, it can be reached by keyboard.
const scrolling = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    if (scrolls) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});

function keepReachable(root) {
  const what = "table, pre, .codex-math";
  for (const node of root.matches(what) ? [root] : root.querySelectorAll(what)) scrolling.observe(node);
}

function addCodeTools(model, root, labels, announce) {
  const bare = ".highlight:not([data-codex-tools])";
  for (const block of root.matches(bare) ? [root] : root.querySelectorAll(bare)) {
    block.dataset.codexTools = "";
    block.append(codeTools(model, block, labels, announce));
  }
}

// Code that is being written is seen where it grows.
function followEnd(block) {
  const box = block.querySelector("pre");
  if (box) box.scrollTop = box.scrollHeight;
}

// A call's code stands in a box of limited height; all of it is one click away.
function fitCode(call, block, labels) {
  const box = block.matches("pre") ? block : block.querySelector("pre");
  const old = call.querySelector(":scope > .codex-more, :scope > .codex-call-code > .codex-more");
  if (!box) return;
  keepReachable(box);
  if (box.scrollHeight <= box.clientHeight + 1 && !call.classList.contains("codex-whole")) {
    old?.remove();
    return;
  }
  const lines = box.querySelectorAll(".codex-line").length || box.textContent.trimEnd().split("\n").length;
  const more = old ?? button("codex-quiet codex-more", "", "", () => label(call.classList.toggle("codex-whole")));
  const label = (isWhole) => {
    more.textContent = isWhole ? labels.showLess : labels.showAll.replace("{lines}", lines);
    more.setAttribute("aria-expanded", String(isWhole));
  };
  label(call.classList.contains("codex-whole"));
  if (!old) block.after(more);
}
