// Calls to the control plane. The token, where one is needed, lives in this tab's session storage and nowhere else.

const TOKEN = "semblance-token";

export class ApiError extends Error {
  constructor(status, reason, message, body) {
    super(message);
    Object.assign(this, { status, reason, body });
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (value) => sessionStorage.setItem(TOKEN, value),
  clear: () => sessionStorage.removeItem(TOKEN),
};

let onUnauthorised = () => {};
export const whenUnauthorised = (callback) => { onUnauthorised = callback; };

async function send(method, path, body, signal) {
  const headers = {};
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  const isText = typeof body === "string";
  if (body !== undefined) headers["content-type"] = isText ? "application/x-ndjson" : "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: isText || body === undefined ? body : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The gateway does not answer. It may be stopped or starting.");
  }
  if (response.status === 401) onUnauthorised();
  return response;
}

async function call(method, path, body, signal) {
  const response = await send(method, path, body, signal);
  const text = await response.text();
  let json = {};
  try { json = text ? JSON.parse(text) : {}; } catch { /* told below */ }
  if (!response.ok) {
    const known = json.error ?? {};
    throw new ApiError(response.status, known.reason ?? "error", known.message ?? (text.slice(0, 300) || `HTTP ${response.status}`), json);
  }
  return json;
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const post = (path, body) => call("POST", path, body);
export const put = (path, body) => call("PUT", path, body);
export const del = (path) => call("DELETE", path);

export const query = (values) => {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

/** Names of the categories, for choices. */
export const categories = (signal) => get("/semblance/policies", signal).then(({ policies }) => policies.map((policy) => policy.category), () => []);

/** Events of `path` until `signal`; connects again after a break. EventSource cannot send a token. */
export async function listen(path, signal, onEvent, onState) {
  while (!signal.aborted) {
    try {
      const response = await send("GET", path, undefined, signal);
      if (!response.ok) throw new ApiError(response.status, "error", `HTTP ${response.status}`);
      onState("live");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let buffer = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        buffer += value;
        let end;
        while ((end = buffer.indexOf("\n\n")) >= 0) {
          const lines = buffer.slice(0, end).split("\n");
          buffer = buffer.slice(end + 2);
          const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim()).join("\n");
          if (field("data")) onEvent(field("event") || "message", field("data"));
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404 || error.status === 401) { onState("off"); return; }
    }
    onState("waiting");
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

/** Asks for a job's state until it has ended. */
export async function watchJob(path, onProgress, signal) {
  for (;;) {
    const job = await get(path, signal);
    onProgress(job);
    if (job.state === "done") return job;
    if (job.state === "failed") throw new ApiError(500, "job-failed", job.error ?? "It failed.");
    await new Promise((resolve) => setTimeout(resolve, 400));
    if (signal?.aborted) return job;
  }
}
