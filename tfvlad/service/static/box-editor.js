// The box round what is searched for: drawn, moved and resized with a mouse, a finger, a pen or keys.

const SMALLEST = 0.04; // of the picture's sides
const STEP = 0.02; // of a key
const FIRST = [0.2, 0.2, 0.6, 0.6]; // a box that keys, or a tap, begin with
const DRAG = 6; // pixels from which on a movement is one

/** Edits a box: [x, y, width, height] as fractions of the picture, or null for the whole of it. */
export class BoxEditor {
  /**
   * @param surface the element over the picture
   * @param element the box in it
   * @param changed called with the box after each change that is done
   */
  constructor(surface, element, changed) {
    this.surface = surface;
    this.element = element;
    this.changed = changed;
    this.value = null;
    this.touch = false;
    surface.addEventListener("pointerdown", (event) => this.#begin(event));
    surface.addEventListener("keydown", (event) => this.#key(event));
    surface.addEventListener("keyup", (event) => this.#keyUp(event));
  }

  /** Shows a box without telling anybody. */
  set(value) {
    this.value = value?.map((side) => Math.round(side * 1e4) / 1e4) ?? null;
    this.element.hidden = value === null;
    this.surface.classList.toggle("cut", value !== null);
    if (value === null) return;
    const names = ["left", "top", "width", "height"];
    for (const [place, name] of names.entries()) this.element.style[name] = `${100 * value[place]}%`;
  }

  /** Whether fingers draw, instead of scrolling the page. */
  letTouch(on) {
    this.touch = on;
    this.surface.classList.toggle("touch", on);
  }

  /** Begins with a box in the middle. */
  begin() {
    this.#finish(FIRST);
  }

  #finish(value) {
    this.set(value);
    this.changed(this.value);
  }

  #at(event) {
    const place = this.surface.getBoundingClientRect();
    return [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height].map(within);
  }

  #begin(event) {
    if (event.button !== 0 || (event.pointerType === "touch" && !this.touch)) return;
    this.surface.setPointerCapture(event.pointerId);
    const start = this.#at(event);
    const before = this.value;
    const edge = event.target.dataset?.edge;
    const change = edge
      ? resizing(before, edge)
      : before && inside(before, start)
        ? moving(before, start)
        : drawing(start);
    const from = [event.clientX, event.clientY];
    let moved = false;
    const move = (next) => {
      moved ||= Math.hypot(next.clientX - from[0], next.clientY - from[1]) > DRAG;
      if (moved) this.set(change(this.#at(next)));
    };
    const end = (next) => {
      this.surface.removeEventListener("pointermove", move);
      this.surface.removeEventListener("pointerup", end);
      this.surface.removeEventListener("pointercancel", end);
      if (next.type === "pointercancel") this.set(before);
      else if (moved) this.#finish(largeEnough(this.value) ? this.value : before);
      else if (before && !inside(before, start) && !edge) this.#finish(null);
    };
    this.surface.addEventListener("pointermove", move);
    this.surface.addEventListener("pointerup", end);
    this.surface.addEventListener("pointercancel", end);
  }

  #key(event) {
    const directions = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    const direction = directions[event.key];
    if (event.key === "Enter") {
      this.#finish(this.value ?? FIRST);
    } else if (["Delete", "Backspace", "Escape"].includes(event.key) && this.value) {
      this.#finish(null);
    } else if (direction && this.value) {
      const [x, y, width, height] = this.value;
      const [right, down] = direction;
      this.set(
        event.shiftKey
          ? [x, y, clamp(width + right, SMALLEST, 1 - x), clamp(height + down, SMALLEST, 1 - y)]
          : [clamp(x + right, 0, 1 - width), clamp(y + down, 0, 1 - height), width, height],
      );
      this.pressed = true;
    } else {
      return;
    }
    event.preventDefault();
  }

  #keyUp(event) {
    if (!event.key.startsWith("Arrow") || !this.pressed) return;
    this.pressed = false;
    this.changed(this.value);
  }
}

function drawing([x, y]) {
  return ([toX, toY]) => [Math.min(x, toX), Math.min(y, toY), Math.abs(toX - x), Math.abs(toY - y)];
}

function moving([x, y, width, height], [fromX, fromY]) {
  return ([toX, toY]) => [clamp(x + toX - fromX, 0, 1 - width), clamp(y + toY - fromY, 0, 1 - height), width, height];
}

function resizing([x, y, width, height], edge) {
  return drawing([edge.includes("w") ? x + width : x, edge.includes("n") ? y + height : y]);
}

function inside([x, y, width, height], [atX, atY]) {
  return atX >= x && atX <= x + width && atY >= y && atY <= y + height;
}

function largeEnough([, , width, height]) {
  return width >= SMALLEST && height >= SMALLEST;
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

function within(value) {
  return clamp(value, 0, 1);
}
