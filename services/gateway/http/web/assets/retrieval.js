// How an answer's passages were found: the scores of both legs, what went into the prompt, and what did not.

import { callJson } from "./api.js";
import { make } from "./dom.js";
import { inspect } from "./inspector.js";
import { openPassage } from "./passage.js";
import { bar, isNone, LEGS } from "./scores.js";
import { count, duration, place } from "./words.js";

const LOOKED_AT = 20;

/** Open the view on a turn; the focus returns to `from`. */
export async function openRetrieval(turn, from) {
  const rest = make("section", { class: "found", "aria-busy": "true" }, make("p", { class: "quiet" }, "Searching once more…"));
  const isQuoted = turn.usage?.provider === "extractive";
  const given = make("section", { class: "found" }, make("h3", {}, isQuoted ? "Given to the answer" : "In the prompt"));
  const used = `${count(turn.sources.length, "passage")} ${isQuoted ? "could be quoted" : "went into the prompt"}, ${turn.cited.size} cited.`;
  given.append(make("p", { class: "fine" }, used));
  given.append(table(turn.sources, turn, best(turn.sources)));
  inspect("How it was found", [legend(turn.sources), given, rest], from);
  try {
    const found = await callJson("/v1/search", { method: "POST", json: { query: turn.question, top_k: LOOKED_AT } });
    rest.replaceChildren(...others(found, turn));
  } catch (problem) {
    rest.replaceChildren(make("p", { class: "failed" }, problem.message));
  }
  rest.removeAttribute("aria-busy");
}

function others({ hits, summary }, turn) {
  const used = new Set(turn.sources.map((source) => source.passage?.id));
  const left = hits.filter((hit) => !used.has(hit.passage?.id));
  const looked = `Looked through ${count(summary.dense_candidates, "passage")} by meaning and ${summary.keyword_candidates.toLocaleString("en")} by words in ${duration(summary.total_ms)}.`;
  const parts = [make("h3", {}, "Found, but not used"), make("p", { class: "fine" }, looked)];
  for (const notice of summary.notices || []) parts.push(make("p", { class: "note notice" }, notice.message));
  if (left.length) parts.push(table(left, turn, best([...turn.sources, ...left])));
  else parts.push(make("p", { class: "quiet" }, "Nothing else came near."));
  return parts;
}

function legs(rows) {
  return LEGS.filter((leg) => rows.some((row) => !isNone(row[leg.field])));
}

function best(rows) {
  return Object.fromEntries(LEGS.map((leg) => [leg.field, Math.max(leg.most, ...rows.map((row) => row[leg.field] ?? 0))]));
}

function legend(rows) {
  const list = make("ul", { class: "legend" });
  for (const leg of legs(rows)) {
    list.append(make("li", {}, make("span", { class: `swatch ${leg.field}` }), `${leg.name} (${leg.hint})`));
  }
  return list;
}

function table(rows, turn, most) {
  const shown = legs(rows);
  const head = make("tr", {}, make("th", { scope: "col" }, "Passage"), ...shown.map((leg) => make("th", { scope: "col" }, leg.name)));
  return make("table", { class: "hits" }, make("thead", {}, head), make("tbody", {}, ...rows.map((row) => line(row, turn, shown, most))));
}

function line(row, turn, shown, most) {
  const where = [row.title || "Passage", place(row.passage?.page)].filter(Boolean).join(", ");
  const open = make("button", { type: "button", class: "link hit", title: where, "aria-label": where }, row.title || "Passage");
  open.addEventListener("click", () => openPassage(row, null, open));
  const cited = row.number && turn.cited.has(row.number) ? make("span", { class: "badge" }, "cited") : null;
  const page = row.passage?.page ? make("span", { class: "fine chip-page", "aria-hidden": "true" }, `p. ${row.passage.page}`) : null;
  const number = make("span", { class: "number" }, String(row.number || row.rank));
  const words = make("p", { class: "snippet" }, (row.passage?.text || "").replace(/\s+/g, " ").slice(0, 140));
  const cells = shown.map((leg) => make("td", {}, bar(row[leg.field], most[leg.field], leg)));
  return make("tr", {}, make("th", { scope: "row" }, make("p", { class: "hit-head" }, number, open, page, cited), words), ...cells);
}
