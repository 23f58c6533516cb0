// The light Markdown of answers as elements: paragraphs, headings, lists, bold, code. Everything else stays text, links too.

import { make } from "./dom.js";

const FENCE = /^\s*(```|~~~)/;
const HEADING = /^#{1,6}\s+/;
const ITEM = /^\s*(?:[-*•+]|(\d{1,3})[.)])\s+/;
const LAST_WORD = /\S{1,24}$/u;
const INLINE = /`([^`\n]+)`|\*\*(?=\S)([^\n]*?\S)\*\*/y;

/**
 * Draw a text, leaving the blocks that did not change since the last time as they are: what is focused stays so.
 * `marks` maps where a citation begins in the text to `{end, make}`: where it ends, and how its button is made.
 */
export function draw(into, text, marks) {
  const found = blocks(text);
  found.forEach((block, index) => {
    const inside = [...marks.keys()].filter((at) => at >= block.from && at < block.to).length;
    const key = `${block.kind}:${inside}:${block.from}:${text.slice(block.from, block.to)}`;
    const old = into.children[index];
    if (old && old.drawn === key) return;
    const element = build(block, text, marks);
    element.drawn = key;
    if (old) old.replaceWith(element);
    else into.append(element);
  });
  while (into.children.length > found.length) into.lastElementChild.remove();
}

/** Return text as people read it: the server writes `&lt;` where a bracket would open HTML. */
export function readable(text) {
  return text.replaceAll("&lt;", "<");
}

function blocks(text) {
  const found = [];
  let open = null;
  for (const line of linesOf(text)) {
    if (open?.kind === "code") {
      open.to = line.to;
      if (FENCE.test(line.text)) open = null;
      continue;
    }
    const numbered = ITEM.exec(line.text);
    if (FENCE.test(line.text)) found.push((open = { kind: "code", ...line }));
    else if (!line.text.trim()) open = null;
    else if (HEADING.test(line.text)) {
      found.push({ kind: "heading", from: line.from + HEADING.exec(line.text)[0].length, to: line.to });
      open = null;
    } else if (numbered) {
      const kind = numbered[1] ? "ol" : "ul";
      const item = { from: line.from + numbered[0].length, to: line.to };
      if (open?.kind === kind) open.items.push(item);
      else found.push((open = { kind, from: line.from, start: numbered[1], items: [item] }));
      open.to = line.to;
    } else if (open) {
      open.to = line.to;
      if (open.items) open.items.at(-1).to = line.to;
    } else found.push((open = { kind: "p", from: line.from, to: line.to }));
  }
  return found;
}

function* linesOf(text) {
  let from = 0;
  while (from < text.length) {
    const end = text.indexOf("\n", from);
    const to = end < 0 ? text.length : end;
    yield { from, to, text: text.slice(from, to) };
    from = to + 1;
  }
}

function build(block, text, marks) {
  if (block.kind === "code") {
    const lines = text.slice(block.from, block.to).split("\n").slice(1);
    if (FENCE.test(lines.at(-1) || "")) lines.pop();
    // Scrolls by itself when a line is long, so it must take the focus of a keyboard.
    return make("pre", { tabindex: "0" }, make("code", {}, readable(lines.join("\n"))));
  }
  if (block.items) {
    const list = make(block.kind, { start: block.start > 1 ? block.start : null });
    list.append(...block.items.map((item) => inline(make("li"), text, item.from, item.to, marks)));
    return list;
  }
  return inline(make(block.kind === "heading" ? "h4" : "p"), text, block.from, block.to, marks);
}

function inline(into, text, from, to, marks) {
  let held = "";
  const flush = () => {
    if (held) into.append(readable(held));
    held = "";
  };
  for (let at = from; at < to; ) {
    const mark = marks.get(at);
    if (mark) {
      held = held.trimEnd();
      const word = LAST_WORD.exec(held)?.[0] || "";
      held = held.slice(0, held.length - word.length);
      flush();
      attach(into, word, mark.make());
      at = mark.end;
      continue;
    }
    INLINE.lastIndex = at;
    const span = INLINE.exec(text);
    if (!span || span.index + span[0].length > to) {
      held += text[at];
      at += 1;
      continue;
    }
    flush();
    if (span[1] !== undefined) into.append(make("code", {}, readable(span[1])));
    else into.append(inline(make("strong"), text, at + 2, at + span[0].length - 2, marks));
    at += span[0].length;
  }
  flush();
  return into;
}

/** Append a citation together with the word before it: it never begins a line. */
function attach(into, word, button) {
  const last = into.lastChild;
  const isJoined = !word && last?.className === "kept";
  button.classList.toggle("joined", isJoined);
  if (isJoined) last.append(button);
  else into.append(make("span", { class: "kept" }, readable(word), button));
}
