// A picture that the user gives: read, turned, and made small enough to be sent.

const SENT_SIDE = 2048; // pixels of a picture's longest side that are sent, where it is not sent as it is
const SENT_AS_IT_IS = { bytes: 4 * 2 ** 20, side: 4096 }; // at most
const KNOWN = /^image\/(jpeg|png|webp|gif|bmp)$/;

/**
 * A picture as it is shown and sent.
 * @typedef {object} Picture
 * @property {Blob} blob what is sent
 * @property {string} address what an image element shows; empty where the browser cannot show it
 * @property {number} width of what is sent, upright, in pixels
 * @property {number} height likewise
 */

/** Reads a file, turned by so many quarters clockwise. */
export async function readPicture(file, quarters = 0) {
  const address = URL.createObjectURL(file);
  try {
    const image = await decoded(address);
    const small =
      file.size <= SENT_AS_IT_IS.bytes && Math.max(image.naturalWidth, image.naturalHeight) <= SENT_AS_IT_IS.side;
    if (quarters === 0 && small && KNOWN.test(file.type))
      return { blob: file, address, width: image.naturalWidth, height: image.naturalHeight };
    const picture = await drawn(image, quarters);
    URL.revokeObjectURL(address);
    return picture;
  } catch {
    URL.revokeObjectURL(address);
    return { blob: file, address: "", width: 0, height: 0 };
  }
}

/** Where a box lies in a picture that was turned by a quarter; `size` is the picture's before that. */
export function turnedBox([x, y, width, height], size, clockwise) {
  return clockwise ? [size.height - y - height, x, height, width] : [y, size.width - x - width, height, width];
}

async function decoded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

async function drawn(image, quarters) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const scale = Math.min(1, SENT_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  const sides = [Math.round(width * scale), Math.round(height * scale)];
  [canvas.width, canvas.height] = quarters % 2 ? [sides[1], sides[0]] : sides;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.translate(canvas.width / 2, canvas.height / 2);
  pen.rotate((quarters * Math.PI) / 2);
  pen.drawImage(image, -sides[0] / 2, -sides[1] / 2, ...sides);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return { blob, address: URL.createObjectURL(blob), width: canvas.width, height: canvas.height };
}
