// What an answer took and cost: one bar of its stages, and the facts in words.

import { make, share } from "./dom.js";
import { count, duration, price } from "./words.js";

const NAMES = { cache: "Cache", rewriting: "Rewriting", embedding: "Question vector", retrieval: "Search", generation: "Writing", extraction: "Picking" };
const LAYERS = {
  exact: "from the cache: the same question was answered before",
  semantic: "from the cache: a question of the same meaning was answered before",
  shared: "shared with somebody who asked the same at the same time",
};

/** Return the receipt of an answer, folded. */
export function receiptOf(usage) {
  const stages = (usage.stages || []).filter((one) => one.elapsed_ms > 0);
  const summary = make("summary", {}, "Time and cost", make("span", { class: "fine" }, line(usage)));
  return make("details", { class: "receipt" }, summary, stages.length ? chart(stages) : null, facts(usage));
}

function line(usage) {
  const who = usage.provider === "extractive" ? "quoted, no model asked" : usage.model;
  return [duration(usage.total_ms), who, price(usage.cost_usd)].filter(Boolean).join(" · ");
}

function chart(stages) {
  const sum = stages.reduce((total, one) => total + one.elapsed_ms, 0);
  const words = stages.map((one) => `${NAMES[one.stage] || one.stage} ${duration(one.elapsed_ms)}`);
  const bar = make("div", { class: "stack", role: "img", "aria-label": `Stages: ${words.join(", ")}` });
  const legend = make("ul", { class: "legend", "aria-hidden": "true" });
  stages.forEach((one, index) => {
    const look = NAMES[one.stage] ? one.stage : "other";
    bar.append(share(make("span", { class: `part ${look}` }), one.elapsed_ms / sum));
    const label = make("span", {}, NAMES[one.stage] || one.stage);
    legend.append(make("li", {}, make("span", { class: `swatch ${look}` }), label, make("b", {}, words[index].slice(label.textContent.length))));
  });
  return make("div", {}, bar, legend);
}

function facts(usage) {
  const list = make("dl", { class: "facts" });
  const add = (name, value) => value && list.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  add("In all", duration(usage.total_ms));
  add("First words", usage.first_token_ms === null ? "" : `after ${duration(usage.first_token_ms)}`);
  add("Written by", usage.provider === "extractive" ? "quotes from the documents; no model was asked" : [usage.model, usage.provider].filter(Boolean).join(", "));
  if (usage.input_tokens || usage.output_tokens) {
    const words = `${count(usage.input_tokens, "token")} in, ${usage.output_tokens.toLocaleString("en")} out`;
    add("Tokens", words + (usage.estimated ? " (estimated)" : ""));
  }
  add("Cost", price(usage.cost_usd));
  add("Where from", LAYERS[usage.cache_layer]);
  add("Unsupported", usage.unsupported_sentences ? `${count(usage.unsupported_sentences, "sentence")} without a quote that supports it` : "");
  add("Removed", usage.removed_links ? `${count(usage.removed_links, "link")} that no document holds` : "");
  return list;
}
