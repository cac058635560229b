// The page: takes a picture, searches for it whenever it, its box or its turn changes, and shows what is found.

import { fetchImage, imageAddress, listIndexes, objectAddress, onTokenNeeded, Refused, search } from "./api.js";
import { BoxEditor } from "./box-editor.js";
import { ExplanationDialog } from "./explanation.js";
import { readPicture, turnedBox } from "./picture.js";
import { showHits } from "./results.js";
import { count, split, summary } from "./words.js";

const FEW = 12; // hits at first
const MOST = 192;
const POLL = 2000; // milliseconds
const REPLACED = 410; // the status where the index is another one now
const SHOWN_SIDE = 960; // pixels of an indexed picture that is searched with

const find = (id) => document.getElementById(id);
const page = find("main");
const editor = new BoxEditor(find("editor"), find("box"), boxChanged);
const why = new ExplanationDialog(find("why"), searchWith);

let indexes = [];
let asked = null; // what is searched for: {file, quarters, id, path, index, generation, picture, box, k}
let aborter = new AbortController();
let number = 0; // of what is asked, in the browser's history
const remembered = new Map(); // number -> what was asked

// What the user gives.

for (const id of ["choose", "photograph"]) {
  find(id).addEventListener("change", (event) => {
    give(event.target.files[0]);
    event.target.value = "";
  });
}

addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) give(file);
});

let over = 0; // elements that something is dragged over
addEventListener("dragenter", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  over++;
  find("dropping").hidden = false;
});
addEventListener("dragleave", () => {
  over = Math.max(0, over - 1);
  find("dropping").hidden = over === 0;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  find("dropping").hidden = true;
  give(event.dataTransfer.files[0]);
});

async function give(file) {
  if (!file) return;
  tellProblem("");
  busy();
  const picture = await readPicture(file);
  put({ file, quarters: 0, picture, index: currentIndex(), box: null, k: FEW });
}

/** Searches with a picture that was found. */
async function searchWith(hit) {
  await put({ id: hit.id, path: hit.path, index: hit.index, generation: hit.generation, box: null, k: FEW });
}

// What is searched for.

async function put(query, remember = true) {
  asked = query;
  if (remember) {
    number++;
    history.pushState(number, "", query.id === undefined ? "#" : `#${new URLSearchParams(addressOf(query))}`);
  }
  remembered.set(number, query);
  showQuery();
  await run();
}

function addressOf(query) {
  return { index: query.index, id: query.id };
}

addEventListener("popstate", async (event) => {
  number = event.state ?? 0;
  const query = remembered.get(number) ?? fromAddress();
  if (query) await put(query, false);
  else showNothing();
});

function fromAddress() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const id = Number(fields.get("id"));
  return id > 0 ? { id, path: "", index: fields.get("index") ?? currentIndex(), box: null, k: FEW } : null;
}

async function showQuery() {
  page.dataset.state = "asked";
  find("stage").hidden = false;
  document.querySelector("#choose-label span").textContent = "Another picture";
  if (asked.picture === undefined) {
    const query = asked;
    const address = await objectAddress(imageAddress(identified(query), SHOWN_SIDE)).catch(() => "");
    query.picture = { address, width: 0, height: 0 };
    if (asked !== query) return;
  }
  const { address } = asked.picture;
  const image = find("picture");
  image.hidden = address === "";
  find("unseeable").hidden = address !== "";
  find("editor").hidden = address === "";
  for (const id of ["turn-left", "turn-right", "part"]) find(id).disabled = address === "";
  image.alt = asked.path
    ? `The picture that is searched for: ${split(asked.path).name}`
    : "The picture that is searched for";
  if (address) image.src = address;
  editor.set(asked.box);
  showPart();
}

function showNothing() {
  aborter.abort();
  asked = null;
  page.dataset.state = "empty";
  find("stage").hidden = true;
  find("hits").replaceChildren();
  find("status").textContent = "";
  find("more").hidden = true;
  find("no-answer").hidden = true;
  tellProblem("");
}

// The box.

function boxChanged(box) {
  asked.box = box;
  showPart();
  run();
}

find("part").addEventListener("click", () => {
  if (asked.box) {
    editor.set(null);
    boxChanged(null);
  } else {
    editor.begin();
    find("editor").focus({ preventScroll: true });
  }
});

function showPart() {
  const on = asked.box !== null;
  editor.letTouch(on);
  find("part").setAttribute("aria-pressed", on);
  find("part").querySelector("span").textContent = on ? "All of it" : "Part of it";
  const drawn = matchMedia("(pointer: fine)").matches;
  const hint = drawn ? "Draw a box round the thing to search for it alone." : "";
  find("hint").textContent = on ? "Only what is in the box is searched for." : hint;
}

// Turning.

find("turn-left").addEventListener("click", () => turn(false));
find("turn-right").addEventListener("click", () => turn(true));

async function turn(clockwise) {
  busy();
  const query = asked;
  let file = query.file;
  try {
    file ??= await fetchImage(imageAddress(identified(query)));
  } catch (error) {
    showFailure(error);
    return;
  }
  const quarters = ((query.quarters ?? 0) + (clockwise ? 1 : 3)) % 4;
  const box = query.box && turnedBox(query.box, { width: 1, height: 1 }, clockwise);
  const picture = await readPicture(file, quarters);
  if (asked === query) put({ ...query, id: undefined, path: "", file, quarters, picture, box }, query.id !== undefined);
}

// Searching.

function busy() {
  find("results").setAttribute("aria-busy", "true");
}

async function run() {
  busy();
  aborter.abort();
  aborter = new AbortController();
  const { signal } = aborter;
  const { k } = asked;
  let query;
  try {
    query = await toSend(asked);
  } catch (error) {
    if (!signal.aborted) showFailure(error);
    return;
  }
  if (signal.aborted) return;
  tellProblem("");
  const waiting = (line) => tell(`Waiting: ${line}`);
  const verifies = indexes.find((one) => one.name === asked.index)?.verifies ?? true;
  tell("Searching …");
  let settled = false;
  const show = (answer, done) => {
    if (signal.aborted || settled) return;
    settled = done;
    showAnswer(answer, done);
  };
  const full = search(query, { k, signal, waiting }).then((answer) => show(answer, true));
  const quick = verifies
    ? search(query, { k, quick: true, signal }).then(
        (answer) => show(answer, false),
        () => {},
      )
    : undefined;
  try {
    await Promise.all([full, quick]);
  } catch (error) {
    if (!signal.aborted) showFailure(error);
    return;
  }
  if (!signal.aborted) find("results").removeAttribute("aria-busy");
}

/** Says why there is no answer; where the collection was replaced by another one, asks for that. */
function showFailure(error) {
  find("results").removeAttribute("aria-busy");
  find("hits").replaceChildren();
  find("more").hidden = true;
  find("no-answer").hidden = true;
  tell("");
  tellProblem(error instanceof Refused ? error.message : "The picture cannot be read any more.");
  if (error.status === REPLACED) lookAtIndexes();
}

/** What is asked, in the form in which it is sent: the box in pixels of what is sent. */
async function toSend({ id, index, generation, picture, box }) {
  const query = { id, index, generation: generation ?? undefined };
  if (picture?.blob) query.blob = picture.blob;
  if (!box) return query;
  const { width, height } = picture.blob ? picture : await sizeOf(identified({ id, index, generation }));
  const [x, y, across, down] = box;
  const pixels = [x * width, y * height, Math.max(1, across * width), Math.max(1, down * height)];
  query.box = pixels.map((side) => Math.round(side * 10) / 10);
  return query;
}

/** What is asked, as the picture of an index that its id names. */
function identified({ id, index, generation }) {
  return { id, index, generation: generation ?? generationOf(index) };
}

/** The size of an indexed picture in its file. */
async function sizeOf(hit) {
  const image = new Image();
  image.src = await objectAddress(imageAddress(hit));
  await image.decode();
  return { width: image.naturalWidth, height: image.naturalHeight };
}

function showAnswer(answer, done) {
  const hits = answer.hits.map((hit) => ({ ...hit, index: answer.index, generation: answer.generation }));
  if (asked.id !== undefined && !asked.path) {
    asked.path = hits.find((hit) => hit.id === asked.id)?.path ?? "";
  }
  const verified = hits.some((hit) => hit.verdict);
  showHits(find("hits"), hits, done, { explain: explainHit, search: searchWith });
  tell(done ? summary(hits, verified) : `${count(hits.length, "picture", "pictures")} alike, comparing them closely …`);
  find("no-answer").hidden = !done || answer.answered !== false;
  find("more").hidden = !done || hits.length < asked.k || asked.k >= MOST;
}

find("more").addEventListener("click", () => {
  asked.k = Math.min(MOST, asked.k * 2);
  run();
});

async function explainHit(hit) {
  const picture = { ...asked.picture };
  try {
    const query = await toSend(asked);
    if (query.box && !picture.blob) Object.assign(picture, await sizeOf(identified(asked)));
    await why.open(query, picture, hit);
  } catch (error) {
    showFailure(error);
  }
}

function tell(line) {
  find("status").textContent = line;
}

function tellProblem(line) {
  find("problem").textContent = line;
  find("problem").hidden = line === "";
}

// The collections.

function currentIndex() {
  return find("index").value || indexes[0]?.name;
}

function generationOf(name) {
  return indexes.find((one) => one.name === name)?.generation ?? "";
}

find("index").addEventListener("change", () => {
  showCollection();
  if (asked?.file) put({ ...asked, index: currentIndex(), generation: undefined });
});

function showCollection() {
  const index = indexes.find((one) => one.name === currentIndex());
  const images = index?.images ?? null;
  const size = images === null ? "not there at the moment" : count(images, "picture", "pictures");
  const name = indexes.length > 1 ? "" : `${index?.name ?? ""}: `;
  find("collection").textContent = `${name}${size}${index?.ready ? "" : ", getting ready …"}`;
}

/** Asks what there is to search, until all of it is ready. */
async function lookAtIndexes() {
  try {
    indexes = await listIndexes();
    const chosen = find("index").value;
    find("index").replaceChildren(...indexes.map(({ name }) => new Option(name, name, false, name === chosen)));
    find("index").hidden = indexes.length < 2;
    showCollection();
    if (!indexes.every((one) => one.ready)) setTimeout(lookAtIndexes, POLL);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    find("collection").textContent = error.message;
    setTimeout(lookAtIndexes, 2 * POLL);
  }
}

onTokenNeeded(
  (wasWrong) =>
    new Promise((resolve) => {
      const dialog = find("token");
      if (wasWrong) find("token-note").textContent = "That token is not the one.";
      dialog.addEventListener("close", () => resolve(find("token-value").value), { once: true });
      if (!dialog.open) dialog.showModal();
    }),
);

await lookAtIndexes();
const first = fromAddress();
history.replaceState(number, "");
if (first) {
  find("index").value = first.index;
  await put(first, false);
}
