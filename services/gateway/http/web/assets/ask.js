// The conversation: one question at a time, streamed, stoppable, with what was said before.

import { Turn } from "./answer.js";
import { call, Problem, unreachable } from "./api.js";
import { byId, say } from "./dom.js";
import { eventsOf } from "./events.js";

const MOST_TURNS = 100;
const MOST_CHARACTERS = 65_536;
const MOST_IN_A_TURN = 32_768;
const turns = [];
let running = null;

/** Make the composer work. */
export function startAsking() {
  const question = byId("question");
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  question.addEventListener("keydown", (event) => {
    // While a word is being composed, Enter chooses it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  question.addEventListener("input", showComposer);
  byId("stop").addEventListener("click", stop);
  byId("new-conversation").addEventListener("click", startOver);
  showComposer();
}

/** Stop the answer that is being written; tell whether there was one. */
export function stop() {
  if (!running) return false;
  running.abort();
  return true;
}

/** Forget the conversation. */
export function startOver() {
  stop();
  turns.length = 0;
  byId("conversation").replaceChildren();
  showComposer();
  byId("question").focus();
  say("A new conversation.");
}

function send() {
  const words = byId("question").value.trim();
  if (!words || running) return;
  byId("question").value = "";
  ask(words);
}

async function ask(words) {
  if (running) return;
  const history = historyOf(turns);
  const turn = new Turn(words, ask);
  turns.push(turn);
  byId("conversation").append(turn.root);
  const ends = (running = new AbortController());
  showComposer();
  turn.root.scrollIntoView({ block: "start" }); // and there it stays: one reads from the beginning
  try {
    const json = { question: words, history, stream: true };
    const headers = { Accept: "text/event-stream" };
    const response = await call("/v1/query", { method: "POST", json, headers, signal: ends.signal });
    for await (const event of eventsOf(response)) {
      turn.take(event);
      if (event.name === "error") return;
    }
    if (!turn.isDone) turn.failed(new Problem({ detail: "The answer broke off before its end." }, 0));
  } catch (error) {
    if (ends.signal.aborted) turn.stopped();
    else turn.failed(error instanceof Problem ? error : unreachable());
  } finally {
    if (running === ends) running = null;
    showComposer();
  }
}

/** Return the turns so far as the server takes them: the newest that fit. */
function historyOf(all) {
  const said = [];
  let characters = 0;
  for (const turn of [...all].reverse()) {
    if (!turn.text.trim()) continue;
    const pair = [
      { role: "assistant", text: turn.text.slice(0, MOST_IN_A_TURN) },
      { role: "user", text: turn.question },
    ];
    characters += pair[0].text.length + pair[1].text.length;
    if (characters > MOST_CHARACTERS || said.length + 2 > MOST_TURNS) break;
    said.push(...pair);
  }
  return said.reverse();
}

function showComposer() {
  const hasFocus = document.activeElement === byId("stop") || document.activeElement === byId("send");
  byId("send").hidden = Boolean(running);
  byId("stop").hidden = !running;
  byId("send").disabled = !byId("question").value.trim();
  byId("new-conversation").hidden = turns.length === 0;
  byId("welcome").hidden = turns.length > 0;
  if (hasFocus) byId("question").focus();
}
