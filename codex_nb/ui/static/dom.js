// Small helpers to make elements; every text is set as text.

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function button(className, text, title, onClick) {
  const node = element("button", `codex-button ${className}`, text);
  node.type = "button";
  if (title) node.title = title;
  node.addEventListener("click", onClick);
  keepPress(node);
  return node;
}

function disable(root) {
  for (const control of root.querySelectorAll("button, textarea, input")) control.disabled = true;
}

// The buttons of a panel: the one that is used ends them all.
function actionRow(actions, act) {
  const row = element("div", "codex-buttons codex-commands");
  for (const { name, style, label, help } of actions) {
    const press = () => {
      disable(row);
      act(name);
    };
    row.append(button(`codex-${name} ${style}`, label, help, press));
  }
  return row;
}

const FAR = 24; // pixels: a pointer that moves further while it is pressed takes the press back

// An answer that grows above moves the button between press and release: the click is the button's all the same.
function keepPress(node) {
  let pressed;
  node.addEventListener("pointerdown", (event) => {
    pressed = event;
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", (event) => {
    if (!node.hasPointerCapture(event.pointerId)) return;
    const distance = Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY);
    if (distance > FAR) node.releasePointerCapture(event.pointerId);
  });
}
