// Why a picture was found: both pictures, lines between what agrees in them, and where one lies in the other.

import { explain, imageAddress, objectAddress } from "./api.js";
import { agreement, split, VERDICTS } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST_LINES = 120; // more would hide what they join
const GAP = 0.04; // between the pictures, in parts of a picture's longest side
const NARROW = 640; // pixels of the window, below which one picture is above the other
const SIDE = 960; // pixels of the pictures

/** The dialog that shows explanations. */
export class ExplanationDialog {
  /**
   * @param dialog the element
   * @param search called with the hit that the user wants to search with
   */
  constructor(dialog, search) {
    this.dialog = dialog;
    const part = (name) => dialog.querySelector(`#why-${name}`);
    this.parts = Object.fromEntries(
      ["path", "drawing", "facts", "original", "lines", "search", "close"].map((name) => [name, part(name)]),
    );
    this.parts.close.addEventListener("click", () => dialog.close());
    this.parts.search.addEventListener("click", () => {
      dialog.close();
      search(this.hit);
    });
    this.parts.lines.addEventListener("change", () => this.#showLines());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => this.aborter?.abort());
    addEventListener("resize", () => dialog.open && this.drawing && this.#draw());
  }

  /**
   * Explains a hit.
   * @param query what was searched for, as `api.search` takes it
   * @param picture {address, width, height} of the query as it is shown, upright
   * @param hit the hit
   */
  async open(query, picture, hit) {
    this.aborter?.abort();
    this.aborter = new AbortController();
    this.hit = hit;
    this.drawing = null;
    const { folder, name } = split(hit.path);
    this.parts.path.replaceChildren(folder, bold(name));
    this.parts.facts.replaceChildren("Comparing the two pictures …");
    this.parts.drawing.replaceChildren();
    this.parts.drawing.classList.add("waiting");
    this.dialog.showModal();
    try {
      const signal = this.aborter.signal;
      const [told, original, found] = await Promise.all([
        explain(query, hit, signal),
        objectAddress(imageAddress(hit)).catch(() => ""),
        objectAddress(imageAddress(hit, SIDE)).catch(() => ""),
      ]);
      if (signal.aborted) return;
      this.parts.original.href = original;
      const shown = picture.address ? picture : { address: "", width: told.query_size[0], height: told.query_size[1] };
      this.drawing = { told, found, picture: shown, box: query.box };
      this.#draw();
      this.#tell(told);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.parts.facts.replaceChildren(error.message);
    } finally {
      this.parts.drawing.classList.remove("waiting");
    }
  }

  #draw() {
    const { told, found, picture, box } = this.drawing;
    const across = innerWidth >= NARROW;
    const sizes = [told.query_size, told.found_size].map((size) => scaled(size, across));
    const places = across
      ? [
          [0, (Math.max(sizes[0][1], sizes[1][1]) - sizes[0][1]) / 2, ...sizes[0]],
          [sizes[0][0] + GAP, (Math.max(sizes[0][1], sizes[1][1]) - sizes[1][1]) / 2, ...sizes[1]],
        ]
      : [
          [0, 0, ...sizes[0]],
          [0, sizes[0][1] + GAP, ...sizes[1]],
        ];
    const width = Math.max(...places.map(([x, , w]) => x + w));
    const height = Math.max(...places.map(([, y, , h]) => y + h));
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    svg.setAttribute("aria-label", description(told));
    svg.style.setProperty("--ratio", width / height);
    svg.append(pictureAt(places[0], picture.address, box && cut(box, picture)), pictureAt(places[1], found));
    svg.append(outline(places[0], told.found_outline, "other"), outline(places[1], told.query_outline, "query"));
    svg.append(linesBetween(places, told.cells));
    this.parts.drawing.replaceChildren(svg);
    this.#showLines();
  }

  #showLines() {
    this.parts.drawing.classList.toggle("without-lines", !this.parts.lines.checked);
  }

  #tell(told) {
    const verdict = this.hit.verdict ?? told.verdict;
    const inliers = this.hit.inliers ?? told.inliers;
    const chip = bold(VERDICTS[verdict]);
    chip.className = "chip";
    chip.dataset.verdict = verdict;
    const line = document.createElement("p");
    line.append(chip, ` ${agreement(inliers)}`);
    const notes = document.createElement("p");
    notes.className = "notes";
    notes.textContent = (told.notes ?? []).join(" ");
    this.parts.facts.replaceChildren(line, notes);
  }
}

/** A picture's size, so that two beside each other are of one height, and two above each other of one width. */
function scaled([width, height], across) {
  return across ? [width / height, 1] : [1, height / width];
}

/** The part of the query that was searched for, as fractions of its picture. */
function cut([x, y, width, height], picture) {
  return [x / picture.width, y / picture.height, width / picture.width, height / picture.height];
}

function pictureAt([x, y, width, height], address, part = [0, 0, 1, 1]) {
  const view = make("svg", { x, y, width, height, viewBox: `${part[0]} ${part[1]} ${part[2]} ${part[3]}` });
  view.setAttribute("preserveAspectRatio", "none");
  view.append(make("rect", { x: 0, y: 0, width: 1, height: 1, class: "ground" }));
  if (address) view.append(make("image", { href: address, width: 1, height: 1, preserveAspectRatio: "none" }));
  return view;
}

function outline([x, y, width, height], corners, name) {
  const view = make("svg", { x, y, width, height, viewBox: `0 0 ${width} ${height}` });
  for (const kind of corners ? ["under", "over"] : []) {
    const points = corners.map(([u, v]) => `${u * width},${v * height}`).join(" ");
    view.append(make("polygon", { points, class: `outline ${name} ${kind}` }));
  }
  return view;
}

function linesBetween([query, found], cells) {
  const group = make("g", { class: "lines" });
  const every = Math.max(1, cells.length / MOST_LINES);
  for (let place = 0; place < cells.length; place += every) {
    const [[fromX, fromY], [toX, toY]] = cells[Math.floor(place)];
    const from = [query[0] + fromX * query[2], query[1] + fromY * query[3]];
    const to = [found[0] + toX * found[2], found[1] + toY * found[3]];
    const hue = Math.round((Math.atan2(fromY - 0.5, fromX - 0.5) / Math.PI + 1) * 165);
    const line = make("g", {});
    const colour = `hsl(${hue} 90% 58%)`;
    line.append(make("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], stroke: colour }));
    for (const [cx, cy] of [from, to]) line.append(make("circle", { cx, cy, r: 0.006, fill: colour }));
    group.append(line);
  }
  return group;
}

function description(told) {
  const where = told.query_outline ? " The outline shows where the query lies in the found picture." : "";
  return `The query and the found picture. ${agreement(told.inliers)}.${where}`;
}

function make(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function bold(text) {
  const made = document.createElement("b");
  made.textContent = text;
  return made;
}
