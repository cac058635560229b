// The service, as the page asks it: addresses, the token, errors, and another try where the service says when.

const TRIES = 8;
const LONGEST_PAUSE = 5; // seconds

let token = sessionStorage.getItem("tfvlad-token") ?? "";
let askForToken = async () => "";

/** The service refused; `message` is its one line. */
export class Refused extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

/** Sets what asks the user for a token: it gets whether one was wrong, and gives a promise of another. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

export function needsToken() {
  return token !== "";
}

/** The address of an indexed picture, of at most `side` pixels; or of the file itself. */
export function imageAddress(hit, side) {
  const query = new URLSearchParams({ index: hit.index, generation: hit.generation });
  if (side) query.set("side", side);
  return `v1/images/${hit.id}${side ? "/thumbnail" : ""}?${query}`;
}

export async function listIndexes() {
  return (await (await ask("v1/indexes")).json()).indexes;
}

/**
 * Searches.
 * @param query {blob} or {id}, with an optional box, and the index's name and generation
 * @param options k, quick, signal, and waiting, which is told when the service asks to wait
 */
export async function search(query, { k, quick, signal, waiting }) {
  const fields = { k, ...(quick ? { quick: true } : {}) };
  return (await ask("v1/search", { method: "POST", ...body(query, fields), signal }, waiting)).json();
}

export async function explain(query, hit, signal) {
  const fields = { found: hit.id, generation: hit.generation };
  for (const name of ["view", "query_view"]) if (hit[name]) fields[name] = hit[name];
  return (await ask("v1/explain", { method: "POST", ...body(query, fields), signal })).json();
}

/** Gives an image element a picture of the service; a token cannot go into its address, so it is fetched then. */
export async function show(image, address) {
  image.src = needsToken() ? await objectAddress(address) : address;
}

/** An address that an element can show: of the service, or of what was fetched from it. */
export async function objectAddress(address) {
  if (!needsToken()) return address;
  return URL.createObjectURL(await fetchImage(address));
}

export async function fetchImage(address) {
  return (await ask(address)).blob();
}

function body(query, fields) {
  if (query.index) fields.index = query.index;
  if (query.blob === undefined) {
    const asked = { ...fields, id: query.id, generation: query.generation };
    if (query.box) asked.box = query.box;
    return { body: JSON.stringify(asked), headers: { "Content-Type": "application/json" } };
  }
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  if (query.box) form.set("box", query.box.join(","));
  form.set("file", query.blob, "query");
  return { body: form };
}

async function ask(address, options = {}, waiting = () => {}) {
  for (let tries = 1; ; tries++) {
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const response = await fetch(address, { ...options, headers }).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "The service does not answer. Is it running?");
    });
    if (response.ok) return response;
    const line = await response.json().then(
      (answer) => answer.error,
      () => `The service answered ${response.status}.`,
    );
    if (response.status === 401) {
      token = await askForToken(token !== "");
      sessionStorage.setItem("tfvlad-token", token);
    } else if (response.headers.has("Retry-After") && tries < TRIES) {
      waiting(line);
      await pause(Math.min(Number(response.headers.get("Retry-After")) || 1, LONGEST_PAUSE), options.signal);
    } else {
      throw new Refused(response.status, sentence(line));
    }
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function sentence(line) {
  return `${line.charAt(0).toUpperCase()}${line.slice(1)}${/[.!?]$/.test(line) ? "" : "."}`;
}
