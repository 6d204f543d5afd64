// The overview moves with its figures: a socket says that they changed, the page fetches them.
// Without the socket it asks every 30 seconds and says so.
"use strict";

{
  const part = document.querySelector("[data-live-part]");
  const mark = document.querySelector("[data-live-mark]");
  const LEAST_MS = 1500; // between two fetches
  const SHARE = 10; // a page spends at most this part of its time fetching, however slow the server
  const POLL_MS = { live: 120000, away: 30000 };
  const MARKED_MS = 6000;

  let etag = null;
  let state = "away";
  let lastDone = 0;
  let lastTook = 0;
  let planned = null;
  let fetching = false;
  let again = false;
  let end = () => {};

  const show = (wanted) => {
    state = wanted;
    mark.hidden = false;
    mark.dataset.state = wanted;
    mark.textContent = mark.dataset[wanted];
  };

  const figures = () =>
    new Map([...part.querySelectorAll("[data-figure]")].map((each) => [each.dataset.figure, each]));

  const replace = (html) => {
    const before = new Map([...figures()].map(([key, each]) => [key, each.textContent]));
    const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
    part.innerHTML = html;
    for (const [key, each] of figures()) {
      if (before.get(key) !== each.textContent) {
        each.classList.add("dx-changed");
        setTimeout(() => each.classList.remove("dx-changed"), MARKED_MS);
      }
    }
    if (focused) {
      [...part.querySelectorAll("a")].find((each) => each.getAttribute("href") === focused)?.focus({ preventScroll: true });
    }
  };

  const ask = async () => {
    planned = null;
    fetching = true;
    again = false;
    const began = performance.now();
    try {
      const answer = await fetch(part.dataset.livePart, {
        headers: etag ? { "If-None-Match": etag } : {},
        cache: "no-store",
        redirect: "manual",
      });
      if (answer.type === "opaqueredirect" || answer.status === 403) {
        show("ended");
        end();
        return;
      }
      if (answer.status === 200) {
        etag = answer.headers.get("ETag");
        replace(await answer.text());
      }
    } catch {
      // The server is away: the next poll or hint asks again.
    } finally {
      fetching = false;
      lastDone = performance.now();
      lastTook = lastDone - began;
    }
    if (again) {
      soon();
    }
  };

  const soon = () => {
    if (state === "ended" || document.hidden) {
      return;
    }
    if (fetching) {
      again = true;
      return;
    }
    const wait = lastDone ? lastDone + Math.max(LEAST_MS, SHARE * lastTook) - performance.now() : 0;
    planned ??= setTimeout(ask, Math.max(0, wait));
  };

  const poll = () => {
    soon();
    setTimeout(poll, POLL_MS[state] ?? POLL_MS.away);
  };

  if (part && mark) {
    document.addEventListener("visibilitychange", soon);
    end = keepSocket(part.dataset.liveSocket, {
      heard: soon,
      turned: (wanted) => {
        if (state !== "ended") {
          show(wanted);
          soon(); // what changed while it was away
        }
      },
    });
    setTimeout(poll, POLL_MS.away);
  }
}
