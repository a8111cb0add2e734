// A small code editor with the habits of a real one: a text field above its own text in colours.

const INDENT = 4;
const TOKENS = new RegExp(
  [
    "(?<c1>#[^\\n]*)",
    "(?<s1>(?<!\\w)[bfrtu]{0,2}(?:\"{3}[^]*?(?:\"{3}|$)|'{3}[^]*?(?:'{3}|$)|\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?))",
    "(?<mi>\\b\\d[\\w.]*)",
    "(?<k>\\b(?:False|None|True|and|as|assert|async|await|break|case|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|match|nonlocal|not|or|pass|raise|return|try|while|with|yield)\\b)",
  ].join("|"),
  "gi",
);

// Make an editor; what its keys do beyond editing is in actions: run, leave, changed.
function codeEditor(code, labels, actions) {
  const node = element("div", "codex-editing highlight");
  const field = element("textarea", "codex-editor");
  const colours = element("pre");
  const help = element("span", "codex-hidden", labels.editorHelp);
  const draw = () => {
    colours.replaceChildren(...coloured(field.value), "\n");
    actions.changed();
  };
  help.id = `codex-editor-${Math.random().toString(36).slice(2)}`;
  field.value = code;
  field.spellcheck = false;
  field.autocapitalize = "off";
  field.setAttribute("aria-label", labels.code);
  field.setAttribute("aria-describedby", help.id);
  colours.setAttribute("aria-hidden", "true");
  field.addEventListener("input", draw);
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (!event.isComposing && pressed(event, field, actions)) event.preventDefault();
  });
  node.append(colours, field, help);
  colours.append(...coloured(code), "\n");
  return { node, field };
}

function coloured(text) {
  const nodes = [];
  let end = 0;
  for (const { 0: token, index, groups } of text.matchAll(TOKENS)) {
    const [kind] = Object.keys(groups).filter((name) => groups[name] !== undefined);
    if (kind === "k" && !isKeyword(token)) continue;
    nodes.push(text.slice(end, index), element("span", kind, token));
    end = index + token.length;
  }
  return [...nodes, text.slice(end)];
}

function isKeyword(word) {
  return word === word.toLowerCase() || ["False", "None", "True"].includes(word);
}

function pressed(event, field, actions) {
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  const runs = event.ctrlKey || event.metaKey || event.shiftKey; // as in a notebook's cell
  if (event.key === "Escape") actions.leave();
  else if (event.key === "Enter" && runs) actions.run();
  else if (event.key === "Enter") insert(field, `\n${indentOf(field)}`);
  else if (event.key === "Tab" && isPlain) shift(field, event.shiftKey);
  else return false;
  return true;
}

// As typed by the person, so that it can be undone.
function insert(field, text) {
  const done = text ? document.execCommand("insertText", false, text) : document.execCommand("delete");
  if (done) return;
  field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input"));
}

function lineBefore({ value, selectionStart }) {
  return value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
}

function indentOf(field) {
  const line = lineBefore(field);
  const more = /:\s*(#.*)?$/.test(line) ? " ".repeat(INDENT) : "";
  return /^[ \t]*/.exec(line)[0] + more;
}

function shift(field, isOut) {
  const { value, selectionStart: start, selectionEnd: end } = field;
  if (!isOut && !value.slice(start, end).includes("\n")) {
    insert(field, " ".repeat(INDENT - (lineBefore(field).length % INDENT)));
    return;
  }
  const from = start - lineBefore(field).length;
  const old = value.slice(from, end);
  const fresh = isOut ? old.replace(/^(\t| {1,4})/gm, "") : old.replace(/^(?=[^\n])/gm, " ".repeat(INDENT));
  if (fresh === old) return;
  field.setSelectionRange(from, end);
  insert(field, fresh);
  const to = from + fresh.length;
  if (start === end) field.setSelectionRange(to, to);
  else field.setSelectionRange(from, to);
}
