// The sections of a transcript.

function proseSection({ kind, title }) {
  const isFolded = kind === "thinking";
  const node = element(isFolded ? "details" : "div", `codex-section codex-${kind}`);
  if (isFolded) node.append(element("summary", "", title));
  return { node, slots: { body: slot(node) } };
}

function callSection(operation) {
  const node = element("details", "codex-section codex-call");
  const head = element("summary", "codex-call-head");
  const title = element("span", "codex-call-title", operation.title);
  const state = element("span", "codex-call-state");
  head.append(title, state);
  node.append(head);
  node.open = true;
  const code = slot(node);
  code.closed.parentElement.classList.add("codex-call-code");
  return { node, title, state, slots: { code } };
}

function planSection(operation) {
  const node = element("section", "codex-section codex-plan");
  const remark = element("span", "codex-plan-remark");
  const head = element("div", "codex-plan-head");
  const steps = element("ol");
  node.setAttribute("aria-label", operation.title);
  head.append(element("span", "codex-plan-title", operation.title), remark);
  node.append(head, steps);
  return { node, remark, steps, slots: {} };
}

function planStep(step) {
  const item = element("li", `codex-plan-step codex-${step.status}`);
  const mark = element("span", "codex-plan-mark", step.mark);
  mark.setAttribute("aria-hidden", "true");
  if (step.status === "in_progress") item.setAttribute("aria-current", "step");
  item.append(mark, element("bdi", "codex-plan-text", step.text), element("span", "codex-hidden", ` (${step.state})`));
  return item;
}

function noticeSection(operation) {
  return { node: element("p", "codex-section codex-notice", operation.title), slots: {} };
}

function slot(parent) {
  const holder = element("div", "codex-slot");
  const closed = element("div", "codex-closed");
  const open = element("div", "codex-open");
  holder.append(closed, open);
  parent.append(holder);
  return { closed, open };
}

const SECTIONS = {
  text: proseSection,
  thinking: proseSection,
  call: callSection,
  plan: planSection,
  notice: noticeSection,
};

// A list that goes on joins the list before it; returned is what has come with it.
function joinLists(list) {
  const before = list.previousElementSibling;
  if (!list.classList.contains("codex-continued") || before?.tagName !== list.tagName) return [list];
  const items = [...list.children];
  before.append(...list.childNodes);
  list.remove();
  return items;
}

// Only what is new is looked at: a long answer must not cost more with every block.
function appendClosed(view, closed, html) {
  const last = closed.lastElementChild;
  closed.insertAdjacentHTML("beforeend", html);
  const fresh = [];
  for (let node = last ? last.nextElementSibling : closed.firstElementChild; node; node = node.nextElementSibling) {
    fresh.push(node);
  }
  if (fresh.length) fresh.splice(0, 1, ...joinLists(fresh[0]));
  for (const node of fresh) {
    addCodeTools(view.model, node, view.labels, view.announce);
    keepReachable(node);
    typeset(view.model, node);
  }
}

function tailTarget(open) {
  const last = open.lastElementChild;
  if (!last) return open;
  if (last.matches(".highlight")) return last.querySelector("code");
  return [...last.querySelectorAll("p, li, td")].pop() ?? last;
}

function appendTail(open, text) {
  const target = tailTarget(open);
  if (target.lastChild?.nodeType === Node.TEXT_NODE) target.lastChild.appendData(text);
  else target.append(text);
}
