// The scores of a passage, as bars beside their figures.

import { make, share } from "./dom.js";

/** What each leg of the search says about a passage: its field, its name, and what its figure means. */
export const LEGS = [
  { field: "dense_score", name: "Meaning", hint: "cosine similarity to the question", most: 1 },
  { field: "keyword_score", name: "Words", hint: "BM25", most: 0 },
  { field: "rerank_score", name: "Reranker", hint: "what the reranker said", most: 0 },
];

/** Return the scores of one source as a list. */
export function scoresOf(source) {
  const list = make("dl", { class: "scores", "aria-label": "Scores" });
  for (const leg of LEGS) {
    const value = source[leg.field];
    if (isNone(value) && leg.field === "rerank_score") continue;
    list.append(make("div", {}, make("dt", {}, leg.name, make("span", { class: "fine" }, leg.hint)), make("dd", {}, figure(value))));
  }
  list.append(make("div", {}, make("dt", {}, "Score", make("span", { class: "fine" }, "what the ranking is by")), make("dd", {}, figure(source.score))));
  return list;
}

/** Return a bar of one leg's score: as long as its part of the best one. */
export function bar(value, best, leg) {
  const words = `${leg.name} ${figure(value)}`;
  const line = share(make("span", { class: `leg ${leg.field}`, "aria-hidden": "true" }), !isNone(value) && best > 0 ? value / best : 0);
  return make("span", { class: "score", title: words }, line, make("span", { class: "figure" }, figure(value)));
}

/** Return a score as text. */
function figure(value) {
  if (isNone(value)) return "–";
  return Math.abs(value) < 10 ? value.toFixed(2) : value.toFixed(1);
}

/** Tell whether a leg said nothing about a passage. */
export function isNone(value) {
  return value === null || value === undefined;
}
