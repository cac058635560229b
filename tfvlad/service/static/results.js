// The list of what was found: a card for each picture, with its verdict, and what can be done with it.

import { imageAddress, show } from "./api.js";
import { agreement, split, VERDICTS } from "./words.js";

const SIDE = 480; // pixels of a thumbnail

/**
 * Shows hits in a list; cards of pictures that were there before stay the same elements, and move.
 * @param list the element
 * @param hits of the service, with the index's name and generation
 * @param settled whether the hits are verified, or never will be
 * @param actions {explain, search}, called with a hit
 */
export function showHits(list, hits, settled, actions) {
  const before = new Map([...list.children].map((card) => [card.dataset.key, card]));
  const cards = hits.map((hit, place) => {
    const key = `${hit.index}/${hit.generation}/${hit.id}`;
    const card = before.get(key) ?? newCard(key, hit);
    fill(card, hit, place + 1, settled, actions);
    return card;
  });
  list.replaceChildren(...cards);
}

function newCard(key, hit) {
  const card = element("li", "hit");
  card.dataset.key = key;
  const image = element("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = "";
  image.addEventListener("error", () => card.classList.add("gone"));
  show(image, imageAddress(hit, SIDE)).catch(() => card.classList.add("gone"));
  const open = element("button", "open");
  open.type = "button";
  const thumbnail = element("span", "thumbnail");
  thumbnail.append(image);
  open.append(thumbnail);
  const again = element("button", "again");
  again.type = "button";
  again.title = "Search with this picture";
  again.innerHTML = '<svg aria-hidden="true"><use href="#icon-search"/></svg>';
  card.append(open, element("div", "facts"), again);
  return card;
}

function fill(card, hit, rank, settled, actions) {
  const { folder, name } = split(hit.path);
  const [open, facts, again] = card.children;
  card.dataset.verdict = hit.verdict ?? (settled ? "none" : "pending");
  facts.replaceChildren(
    verdictOf(hit, settled),
    withText("p", "name", name, hit.path),
    withText("p", "folder", folder.replace(/\/$/, "")),
    scoreOf(hit),
  );
  const told = hit.verdict ? `${VERDICTS[hit.verdict]}, ${agreement(hit.inliers)}` : `score ${hit.score.toFixed(2)}`;
  open.setAttribute("aria-label", `${rank}: ${name}. ${told}. Show why`);
  again.setAttribute("aria-label", `Search with ${name}`);
  open.onclick = () => actions.explain(hit);
  again.onclick = () => actions.search(hit);
}

function verdictOf(hit, settled) {
  const line = element("p", "verdict");
  if (hit.verdict) {
    line.append(withText("b", "", VERDICTS[hit.verdict]), withText("span", "", agreement(hit.inliers)));
  } else if (!settled) {
    line.append(withText("span", "comparing", "comparing …"));
  }
  return line;
}

function scoreOf(hit) {
  const line = element("p", "score");
  line.title = "How alike the pictures are as wholes: the cosine of their descriptors, 1 for equal ones";
  const bar = document.createElement("meter");
  bar.max = 1;
  bar.value = Math.max(0, hit.score);
  bar.setAttribute("aria-label", "Likeness");
  line.append(bar, withText("span", "", hit.score.toFixed(2)));
  return line;
}

function withText(tag, className, text, title) {
  const made = element(tag, className);
  made.textContent = text;
  if (title) made.title = title;
  return made;
}

function element(tag, className = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  return made;
}
