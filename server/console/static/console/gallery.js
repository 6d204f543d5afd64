// Photos full screen, by click, key or link; what stands beside them; the keys of the grid; the map.
// Without this file every photo is a link to its own page.
"use strict";

(function gallery() {
  const dialog = document.getElementById("dx-viewer");
  const toast = document.getElementById("dx-toast");
  if (!dialog || !dialog.showModal) return;
  const part = (name) => dialog.querySelector(`:scope [data-part="${name}"]`);
  const [stage, frame, small, large, other, note, side, says] =
    ["stage", "frame", "small", "large", "other", "note", "side", "says"].map(part);
  const phone = matchMedia("(max-width: 700px)");
  const ID = /^#([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
  const FURTHEST = 8;
  const SWIPE = 50;

  let photos = []; // ids in the page's order, each once
  let place = -1; // of the photo that is shown; -1: one that is not on this page
  let shown = ""; // its id
  const sides = new Map(); // id → what the server says stands beside it
  let view = { scale: 1, x: 0, y: 0 };

  // ---- what is shown ----

  const opener = (id) => document.querySelector(`.dx-open[data-shows="${id}"]`);
  const onPage = () =>
    [...new Set([...document.querySelectorAll(".dx-open[data-shows]")].map((each) => each.dataset.shows))];

  function open(id, { pushes = true } = {}) {
    photos = onPage();
    if (pushes) history.pushState({ viewer: true }, "", `#${id}`);
    dialog.classList.toggle("dx-brief", phone.matches);
    if (!dialog.open) dialog.showModal();
    stage.focus();
    document.documentElement.style.overflow = "hidden";
    show(id);
  }

  function show(id) {
    shown = id;
    place = photos.indexOf(id);
    history.replaceState(history.state, "", `#${id}`);
    reset();
    const from = opener(id);
    const thumb = from && from.querySelector("img");
    part("counter").textContent = place < 0 ? "" : `${place + 1} / ${photos.length}`;
    part("caption").textContent = thumb ? thumb.alt : "";
    part("back").disabled = place <= 0;
    part("next").disabled = place < 0 || place === photos.length - 1;
    paint(thumb ? thumb.currentSrc || thumb.src : "", from ? from.dataset.large : "", thumb ? thumb.alt : "");
    beside(id);
  }

  function go(index) {
    if (place < 0) return;
    const next = Math.max(0, Math.min(photos.length - 1, index));
    if (next !== place) show(photos[next]);
  }

  // The small picture at once, stretched; the large one over it when it has come.
  function paint(smallUrl, largeUrl, words) {
    quiet();
    frame.classList.remove("dx-sharp");
    frame.hidden = !smallUrl && !largeUrl;
    other.hidden = true;
    other.replaceChildren();
    small.hidden = !smallUrl;
    if (smallUrl) small.src = smallUrl;
    large.alt = words;
    large.removeAttribute("src");
    if (largeUrl) large.src = largeUrl;
  }

  large.addEventListener("load", () => {
    frame.classList.add("dx-sharp");
    tell("");
    const ahead = opener(photos[place + 1]);
    if (ahead && ahead.dataset.large) new Image().src = ahead.dataset.large;
  });
  large.addEventListener("error", () => {
    if (!large.getAttribute("src")) return;
    if (navigator.onLine) renew().then((fresh) => fresh && retry(large));
    else tell(toast.querySelector('[data-say="offline"]').textContent);
  });

  function retry(image) {
    const from = opener(shown);
    if (image.dataset.tried === shown || !from || !from.dataset.large) return;
    image.dataset.tried = shown;
    image.src = from.dataset.large;
  }

  function tell(words) {
    note.textContent = words;
    note.hidden = !words;
  }

  function quiet() {
    for (const each of dialog.querySelectorAll("video, audio")) each.pause();
  }

  // ---- beside it ----

  const address = (id) => dialog.dataset.side.replace("00000000-0000-0000-0000-000000000000", id);
  let waiting;

  function beside(id) {
    clearTimeout(waiting);
    if (sides.has(id)) return put(id, sides.get(id));
    state("loading");
    // While somebody leafs through quickly, only what they stop at is asked for.
    waiting = setTimeout(() => fetched(id).then((html) => id === shown && put(id, html)), 90);
  }

  async function fetched(id) {
    if (sides.has(id)) return sides.get(id);
    try {
      const answer = await fetch(address(id), { headers: { Accept: "text/html" } });
      if (answer.redirected) return id === shown && state("login");
      if (answer.status === 404) return id === shown && state("gone");
      if (!answer.ok) throw new Error(String(answer.status));
      const html = await answer.text();
      sides.set(id, html);
      return html;
    } catch {
      if (id === shown) state(navigator.onLine ? "error" : "offline");
      return "";
    }
  }

  function put(id, html) {
    if (!html) return;
    const holder = document.createElement("template");
    holder.innerHTML = html;
    side.replaceChildren(holder.content);
    side.scrollTop = 0;
    const told = side.querySelector(".dx-evidence");
    part("caption").textContent = told.dataset.caption;
    const instead = told.querySelector('template[data-part="other"]');
    if (instead) {
      frame.hidden = true;
      other.replaceChildren(instead.content.cloneNode(true));
      other.hidden = false;
    } else if (!opener(id)) {
      paint(told.dataset.small || "", told.dataset.large || "", told.dataset.caption);
    }
    const at = side.querySelector(".dx-told dd");
    says.textContent = [part("counter").textContent, told.dataset.caption, at ? at.textContent.trim() : ""]
      .filter(Boolean)
      .join(", ");
    const ahead = photos[place + 1];
    if (ahead && navigator.onLine) setTimeout(() => id === shown && fetched(ahead), 400);
  }

  function state(name) {
    const template = dialog.querySelector(`template[data-state="${name}"]`);
    side.replaceChildren(template.content.cloneNode(true));
    const words = name === "loading" ? "" : side.textContent.trim().replace(/\s+/g, " ");
    says.textContent = words;
    return "";
  }

  side.addEventListener("click", (event) => {
    if (event.target.closest("[data-again]")) show(shown);
    else if (dialog.classList.contains("dx-brief") && !event.target.closest("a, button, summary")) brief(false);
  });

  function brief(short) {
    dialog.classList.toggle("dx-brief", short);
    part("about").setAttribute("aria-expanded", String(!short));
  }

  function about() {
    if (phone.matches) return brief(!dialog.classList.contains("dx-brief"));
    const alone = dialog.classList.toggle("dx-alone");
    part("about").setAttribute("aria-expanded", String(!alone));
    clamp();
  }

  // ---- closing ----

  function close() {
    if (history.state && history.state.viewer) history.back();
    else shut();
  }

  // At once: the browser's own word that the dialog is closed comes a moment later, and until then
  // the keys would go to the photo that was opened, not to the last one shown.
  function shut() {
    dialog.close();
    left();
  }

  function left() {
    if (!shown) return;
    const from = opener(shown);
    shown = "";
    quiet();
    clearTimeout(waiting);
    document.documentElement.style.overflow = "";
    if (ID.test(location.hash)) history.replaceState(null, "", location.pathname + location.search);
    if (from) {
      from.focus();
      from.scrollIntoView({ block: "nearest" });
    }
  }

  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });

  dialog.addEventListener("close", left); // a browser may close it whatever we say

  function follow() {
    const named = ID.exec(location.hash);
    if (named && (!dialog.open || named[1] !== shown)) open(named[1], { pushes: false });
    else if (!named && dialog.open) shut();
  }

  addEventListener("popstate", follow);
  addEventListener("hashchange", follow);

  // ---- zoom and pan ----

  function reset() {
    view = { scale: 1, x: 0, y: 0 };
    apply();
  }

  function apply(settles = false) {
    frame.classList.toggle("dx-settles", settles);
    frame.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    stage.classList.toggle("dx-zoomed", view.scale > 1);
    part("out").disabled = view.scale <= 1;
    part("in").disabled = view.scale >= FURTHEST || frame.hidden;
  }

  // The picture never leaves the stage by more than what does not fit into it.
  function clamp(settles = false) {
    const box = stage.getBoundingClientRect();
    const [width, height] = [large.naturalWidth || small.naturalWidth, large.naturalHeight || small.naturalHeight];
    const fit = width ? Math.min(box.width / width, box.height / height) : 1;
    const spare = (side, length) => Math.max(0, (side * fit * view.scale - length) / 2);
    const limit = { x: spare(width, box.width), y: spare(height, box.height) };
    view.x = Math.max(-limit.x, Math.min(limit.x, view.x));
    view.y = Math.max(-limit.y, Math.min(limit.y, view.y));
    apply(settles);
  }

  // Around a point of the screen, which stays where it is.
  function zoom(factor, at, settles = true) {
    if (frame.hidden) return;
    const box = stage.getBoundingClientRect();
    const [x, y] = at ? [at.x - box.left - box.width / 2, at.y - box.top - box.height / 2] : [0, 0];
    const scale = Math.max(1, Math.min(FURTHEST, view.scale * factor));
    const grown = scale / view.scale;
    view = { scale, x: x - (x - view.x) * grown, y: y - (y - view.y) * grown };
    clamp(settles);
  }

  const toggle = (at) => (view.scale > 1 ? zoom(1 / view.scale, at) : zoom(2.5, at));

  stage.addEventListener("wheel", (event) => {
    if (frame.hidden) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), { x: event.clientX, y: event.clientY }, false);
  }, { passive: false });

  // ---- pointers: drag, pinch, swipe, two taps ----

  const fingers = new Map();
  let began = null;
  let tapped = { at: 0, x: 0, y: 0 };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest("video, audio, a, button")) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    stage.setPointerCapture(event.pointerId);
    began = { x: event.clientX, y: event.clientY, view: { ...view }, spread: spread(), pinched: fingers.size > 1, moved: false };
    frame.classList.remove("dx-settles");
  });

  function spread() {
    if (fingers.size < 2) return null;
    const [one, two] = [...fingers.values()];
    return { length: Math.hypot(one.x - two.x, one.y - two.y), x: (one.x + two.x) / 2, y: (one.y + two.y) / 2 };
  }

  stage.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId) || !began) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const now = spread();
    if (now && began.spread) {
      zoom(now.length / began.spread.length, now, false);
      began.spread = now;
      return;
    }
    const [dx, dy] = [event.clientX - began.x, event.clientY - began.y];
    if (Math.hypot(dx, dy) < 6 && !began.moved) return;
    began.moved = true;
    stage.classList.add("dx-moving");
    if (view.scale > 1) {
      view.x = began.view.x + dx;
      view.y = began.view.y + dy;
      clamp();
    } else if (event.pointerType !== "mouse" && !began.pinched) {
      const across = Math.abs(dx) > Math.abs(dy);
      view = { scale: 1, x: across ? dx : 0, y: across ? 0 : Math.max(0, dy) };
      apply();
    }
  });

  function lifted(event) {
    if (!fingers.delete(event.pointerId) || !began) return;
    stage.classList.remove("dx-moving");
    if (fingers.size) return;
    const [dx, dy] = [event.clientX - began.x, event.clientY - began.y];
    const { moved, pinched } = began;
    began = null;
    if (view.scale > 1) return clamp(true);
    if (moved && !pinched && event.pointerType !== "mouse") return swiped(dx, dy);
    reset();
    if (!moved && event.type === "pointerup") tap(event);
  }

  stage.addEventListener("pointerup", lifted);
  stage.addEventListener("pointercancel", lifted);

  function swiped(dx, dy) {
    const across = Math.abs(dx) > Math.abs(dy);
    if (across && Math.abs(dx) > SWIPE) {
      const before = place;
      go(place + (dx < 0 ? 1 : -1));
      if (place !== before) return;
    } else if (!across && dy > SWIPE * 2) {
      return close();
    } else if (!across && dy < -SWIPE) {
      brief(false);
    }
    view = { scale: 1, x: 0, y: 0 };
    apply(true);
  }

  function tap(event) {
    const [x, y] = [event.clientX, event.clientY];
    const twice = event.timeStamp - tapped.at < 350 && Math.hypot(x - tapped.x, y - tapped.y) < 40;
    tapped = twice ? { at: 0, x: 0, y: 0 } : { at: event.timeStamp, x, y };
    if (twice) toggle({ x, y });
  }

  // ---- keys ----

  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("video, audio")) return;
    const inside = event.target.closest(".dx-beside");
    const deeds = {
      ArrowLeft: () => (event.shiftKey ? pan(1, 0) : go(place - 1)),
      ArrowRight: () => (event.shiftKey ? pan(-1, 0) : go(place + 1)),
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      0: () => zoom(1 / view.scale),
      i: about,
      I: about,
    };
    // Inside the notes these keys scroll.
    if (!inside) {
      Object.assign(deeds, { ArrowUp: () => pan(0, 1), ArrowDown: () => pan(0, -1) });
      Object.assign(deeds, { Home: () => go(0), End: () => go(photos.length - 1) });
    }
    if (event.target === stage) Object.assign(deeds, { Enter: press, " ": press });
    const deed = deeds[event.key];
    if (!deed) return;
    event.preventDefault();
    deed();
  });

  function pan(x, y) {
    view.x += x * 80;
    view.y += y * 80;
    clamp(true);
  }

  function press() {
    const film = other.hidden ? null : other.querySelector("video, audio");
    if (!film) return toggle();
    if (film.paused) film.play();
    else film.pause();
  }

  part("close").addEventListener("click", close);
  part("back").addEventListener("click", () => go(place - 1));
  part("next").addEventListener("click", () => go(place + 1));
  part("in").addEventListener("click", () => zoom(1.5));
  part("out").addEventListener("click", () => zoom(1 / 1.5));
  part("about").addEventListener("click", about);
  addEventListener("resize", () => dialog.open && clamp());

  // ---- the grid ----

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-shows]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (dialog.open) return link.dataset.shows === shown || show(link.dataset.shows);
    open(link.dataset.shows);
  });

  // One stop of the tab key for each grid; the arrows move inside it.
  function roving(square) {
    for (const each of square.closest(".dx-squares").querySelectorAll(".dx-open")) {
      each.tabIndex = each === square ? 0 : -1;
    }
  }

  for (const grid of document.querySelectorAll(".dx-squares")) {
    const first = grid.querySelector(".dx-open");
    if (first) roving(first);
  }

  document.addEventListener("focusin", (event) => {
    const square = event.target.closest(".dx-squares .dx-open");
    if (square) roving(square);
  });

  document.addEventListener("keydown", (event) => {
    const square = event.target.closest(".dx-squares .dx-open");
    if (!square || dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") {
      event.preventDefault();
      open(square.dataset.shows);
      return;
    }
    const all = [...document.querySelectorAll(".dx-squares .dx-open")];
    const next = {
      ArrowLeft: () => all[all.indexOf(square) - 1],
      ArrowRight: () => all[all.indexOf(square) + 1],
      ArrowUp: () => inRow(all, square, -1),
      ArrowDown: () => inRow(all, square, 1),
      Home: () => all[0],
      End: () => all[all.length - 1],
    }[event.key];
    if (!next) return;
    event.preventDefault();
    const to = next();
    if (to) to.focus();
  });

  // The square of the next row, up or down, that stands nearest below or above.
  function inRow(all, square, way) {
    const from = square.getBoundingClientRect();
    let best = null;
    for (const each of all) {
      const box = each.getBoundingClientRect();
      const rows = (box.top - from.top) * way;
      if (rows < from.height / 2) continue;
      const far = [Math.round(rows / 20), Math.abs(box.left - from.left)];
      if (!best || far[0] < best.far[0] || (far[0] === best.far[0] && far[1] < best.far[1])) best = { each, far };
    }
    return best && best.each;
  }

  // ---- the map and the squares light each other ----

  if (phone.matches) for (const map of document.querySelectorAll(".dx-map")) map.open = false;

  function light(ids, on) {
    for (const id of ids) {
      for (const each of document.querySelectorAll(
        `.dx-square[data-id="${id}"], [data-lights~="${id}"], [data-lit-by~="${id}"]`,
      )) {
        each.classList.toggle("dx-lit", on);
      }
    }
  }

  for (const [name, on] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
    document.addEventListener(name, (event) => {
      const mark = event.target.closest("[data-lights]");
      const square = event.target.closest(".dx-square");
      if (mark) light(mark.dataset.lights.split(" "), on);
      else if (square && document.querySelector("[data-lights]")) light([square.dataset.id], on);
    });
  }

  // ---- addresses live for minutes; a link breaks ----

  let renewing = null;
  let renewed = 0;

  // The page once more, for new addresses of the same pictures.
  function renew() {
    if (renewing || Date.now() - renewed < 60_000) return renewing || Promise.resolve(false);
    renewing = (async () => {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (!answer.ok || answer.redirected) return false;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const each of fresh.querySelectorAll(".dx-open[data-shows]")) take(each);
        sides.clear();
        renewed = Date.now();
        return true;
      } catch {
        return false;
      } finally {
        renewing = null;
      }
    })();
    return renewing;
  }

  function take(fresh) {
    const old = opener(fresh.dataset.shows);
    if (!old) return;
    if (fresh.dataset.large) old.dataset.large = fresh.dataset.large;
    const [image, newer] = [old.querySelector("img"), fresh.querySelector("img")];
    if (image && newer && old.parentElement.classList.contains("dx-failed")) {
      old.parentElement.classList.remove("dx-failed");
      image.src = newer.getAttribute("src");
    }
  }

  function complain(name) {
    toast.hidden = !name;
    for (const each of toast.querySelectorAll("[data-say]")) each.hidden = each.dataset.say !== name;
  }

  document.addEventListener("error", (event) => {
    const square = event.target.closest && event.target.closest(".dx-square");
    if (!square || event.target.tagName !== "IMG") return;
    square.classList.add("dx-failed");
    if (!navigator.onLine) return complain("offline");
    renew().then((fresh) => complain(!fresh && document.querySelector(".dx-failed") ? "failed" : ""));
  }, true);

  toast.querySelector("button").addEventListener("click", () => {
    renewed = 0;
    renew().then((fresh) => complain(fresh ? "" : "failed"));
  });
  addEventListener("offline", () => complain("offline"));
  addEventListener("online", () => {
    complain("");
    if (document.querySelector(".dx-failed")) renew();
    if (dialog.open && side.querySelector(".dx-trouble")) show(shown);
  });

  // ---- the filters ----

  for (const form of document.querySelectorAll(".dx-filters")) {
    form.addEventListener("change", (event) => event.target.matches("[data-chooses]") && form.requestSubmit());
    // What is not asked for does not stand in the address.
    form.addEventListener("formdata", (event) => {
      for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
    });
  }

  follow();
})();
