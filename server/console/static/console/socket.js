// A page's socket: hints come in, nothing of content. It is opened again after it closed.
"use strict";

// `heard` gets each hint; `turned` is told "live" or "away". Returns how to end it.
const keepSocket = (path, { heard, turned }) => {
  const LOGGED_OUT = 4401;
  let tries = 0;
  let ended = false;

  const connect = () => {
    if (ended) {
      return;
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${path}`);
    socket.addEventListener("open", () => {
      tries = 0;
      turned("live");
    });
    socket.addEventListener("message", (event) => heard(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => {
      if (ended) {
        return;
      }
      turned("away");
      tries = event.code === LOGGED_OUT ? 6 : tries + 1;
      setTimeout(connect, Math.min(500 * 2 ** (tries - 1), 15000) * (0.5 + Math.random() / 2));
    });
  };

  connect();
  return () => {
    ended = true;
  };
};
