// A passage that an answer quotes, with the quote marked where it stands.

import { make } from "./dom.js";
import { inspect } from "./inspector.js";
import { scoresOf } from "./scores.js";
import { place } from "./words.js";

const FULL_LINE = 60;

/** Open a source; `citation` tells what of it is quoted, null for nothing. */
export function openPassage(source, citation, from) {
  const passage = source.passage || {};
  const where = make("p", { class: "where" }, place(passage.page) ? make("b", {}, `Page ${passage.page}`) : null);
  if (passage.heading) where.append(make("span", {}, passage.heading.split(" > ").join(" › ")));
  const text = make("blockquote", { class: "passage", dir: "auto", tabindex: "0", "aria-label": "The passage" });
  text.append(...marked(passage, citation));
  const parts = [where.childNodes.length ? where : null, text, citation ? support(citation) : null, scoresOf(source)];
  inspect(source.title || "Passage", parts.filter(Boolean), from);
  text.querySelector("mark")?.scrollIntoView({ block: "nearest" });
}

function marked(passage, citation) {
  const points = [...(passage.text || "")]; // places are counted in code points
  const [start, end] = citation ? span(points, passage, citation) : [0, 0];
  if (passage.page) unwrap(points);
  if (end <= start) return [points.join("")];
  const quote = make("mark", {}, points.slice(start, end).join(""));
  return [points.slice(0, start).join(""), quote, points.slice(end).join("")];
}

/** Let the lines of a printed page flow: where a full line ends, a space stands for its end. No place moves by it. */
function unwrap(points) {
  let began = 0;
  points.forEach((point, at) => {
    if (point !== "\n") return;
    const isFull = at - began >= FULL_LINE && !"\n-•*".includes(points[at + 1] ?? "\n");
    began = at + 1;
    if (isFull) points[at] = " ";
  });
}

function span(points, passage, citation) {
  const start = citation.quote_start - passage.char_start;
  const end = citation.quote_end - passage.char_start;
  if (points.slice(Math.max(0, start), end).join("") === citation.quote) return [start, end];
  const at = citation.quote ? points.join("").indexOf(citation.quote) : -1;
  if (at < 0) return [0, 0];
  const before = [...points.join("").slice(0, at)].length;
  return [before, before + [...citation.quote].length];
}

function support(citation) {
  const part = Math.round(citation.support * 100);
  return make(
    "p",
    { class: "fine support" },
    make("mark", {}, "The marked words"),
    ` are what the answer cites; ${part} % of the statement's words stand in them.`,
  );
}
