// Boxes drawn over a picture: by dragging, or by keyboard. Kept as shares of its width and height.
"use strict";

(function blur() {
  const form = document.getElementById("blur");
  if (!form) return;
  const layer = form.querySelector(".dx-blur-layer");
  const field = form.elements.boxes;
  const told = (id) => JSON.parse(document.getElementById(id).textContent);
  const LEAST = 0.01;
  const STEP = 0.01;
  let boxes = told("blur-boxes").map(([x, y, width, height]) => ({ x, y, width, height }));
  let chosen = null;
  let drag = null;

  const bound = (value, most) => Math.min(Math.max(value, 0), most);
  const put = (element, box) => {
    element.style.left = `${box.x * 100}%`;
    element.style.top = `${box.y * 100}%`;
    element.style.width = `${box.width * 100}%`;
    element.style.height = `${box.height * 100}%`;
  };

  function draw() {
    layer.replaceChildren();
    for (const [x, y, width, height] of told("blur-faces")) {
      const face = document.createElement("span");
      face.className = "dx-blur-face";
      put(face, { x, y, width, height });
      layer.append(face);
    }
    boxes.forEach((box, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "dx-blur-box";
      button.ariaLabel = `${form.dataset.name} ${index + 1}`;
      button.setAttribute("aria-pressed", String(box === chosen));
      button.addEventListener("focus", () => mark(box));
      button.addEventListener("keydown", (event) => byKey(event, box));
      put(button, box);
      box.element = button;
      layer.append(button);
    });
    tell();
  }

  function mark(box) {
    chosen = box;
    for (const each of boxes) each.element?.setAttribute("aria-pressed", String(each === box));
  }

  function tell() {
    field.value = JSON.stringify(boxes.map(({ x, y, width, height }) => [x, y, width, height]));
  }

  function byKey(event, box) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) {
      event.preventDefault();
      if (event.shiftKey) {
        box.width = Math.max(LEAST, bound(box.width + way[0] * STEP, 1 - box.x));
        box.height = Math.max(LEAST, bound(box.height + way[1] * STEP, 1 - box.y));
      } else {
        box.x = bound(box.x + way[0] * STEP, 1 - box.width);
        box.y = bound(box.y + way[1] * STEP, 1 - box.height);
      }
      put(box.element, box);
      tell();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      remove();
    }
  }

  function add(box) {
    boxes.push(box);
    chosen = box;
    draw();
    box.element.focus({ preventScroll: true });
  }

  function remove() {
    boxes = boxes.filter((box) => box !== chosen);
    chosen = boxes.at(-1) || null;
    draw();
    chosen?.element.focus({ preventScroll: true });
  }

  function place(event) {
    const edge = layer.getBoundingClientRect();
    return {
      x: bound((event.clientX - edge.left) / edge.width, 1),
      y: bound((event.clientY - edge.top) / edge.height, 1),
    };
  }

  layer.addEventListener("pointerdown", (event) => {
    const at = place(event);
    const box = boxes.find((each) => each.element === event.target);
    drag = box ? { box, dx: at.x - box.x, dy: at.y - box.y } : { from: at, box: null };
    layer.setPointerCapture(event.pointerId);
    event.preventDefault();
    if (box) box.element.focus({ preventScroll: true });
  });
  layer.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = place(event);
    if (!drag.from) {
      drag.box.x = bound(at.x - drag.dx, 1 - drag.box.width);
      drag.box.y = bound(at.y - drag.dy, 1 - drag.box.height);
      put(drag.box.element, drag.box);
    } else {
      const sides = {
        x: Math.min(at.x, drag.from.x),
        y: Math.min(at.y, drag.from.y),
        width: Math.abs(at.x - drag.from.x),
        height: Math.abs(at.y - drag.from.y),
      };
      if (sides.width < LEAST || sides.height < LEAST) return;
      if (!drag.box) {
        drag.box = sides;
        add(drag.box);
      }
      Object.assign(drag.box, sides);
      put(drag.box.element, drag.box);
    }
    tell();
  });
  for (const end of ["pointerup", "pointercancel"]) layer.addEventListener(end, () => (drag = null));

  form.querySelector('[data-do="add"]').addEventListener("click", () =>
    add({ x: 0.4, y: 0.35, width: 0.2, height: 0.3 }),
  );
  form.querySelector('[data-do="remove"]').addEventListener("click", remove);
  form.addEventListener("submit", tell);
  draw();
})();
