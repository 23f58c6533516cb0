// Server-sent events over fetch: EventSource can neither POST nor send a key.

/** Yield `{id, name, data}` for each event of a response; `data` is parsed JSON. */
export async function* eventsOf(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  let event = { id: "", name: "message", lines: [] };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (held + value).split(/\r\n|\n|\r(?!$)/);
      held = lines.pop();
      for (const line of lines) {
        if (line !== "") {
          take(event, line);
        } else {
          if (event.lines.length) yield { id: event.id, name: event.name, data: JSON.parse(event.lines.join("\n")) };
          event = { id: event.id, name: "message", lines: [] };
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // the stream is gone already
  }
}

function take(event, line) {
  const colon = line.indexOf(":");
  if (colon === 0) return; // a comment: the stream lives
  const field = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (field === "id") event.id = value;
  if (field === "event") event.name = value;
  if (field === "data") event.lines.push(value);
}
