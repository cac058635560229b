// What verdicts and numbers mean, in words.

export const VERDICTS = {
  same: "The same",
  likely: "Likely the same",
  unsure: "Unsure",
  different: "Something else",
};

export const KNOWN_AGAIN = ["same", "likely"];

export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function agreement(inliers) {
  return inliers === 1 ? "1 detail agrees" : `${count(inliers, "", "details")} agree`.replace("  ", " ");
}

/** A path as its file's name and the folders before it. */
export function split(path) {
  const cut = path.lastIndexOf("/") + 1;
  return { folder: path.slice(0, cut), name: path.slice(cut) };
}

/** What a search found, for the line above the results. */
export function summary(hits, verified) {
  if (!hits.length) return "The collection is empty.";
  if (!verified) return `The ${count(hits.length, "picture", "pictures")} most alike`;
  const known = hits.filter((hit) => KNOWN_AGAIN.includes(hit.verdict)).length;
  if (!known) return "None shows the same";
  return known === 1 ? "1 shows the same" : `${known} show the same`;
}
