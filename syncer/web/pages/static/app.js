// Convenience only: every page works without this file.
"use strict";

const counted = new Intl.NumberFormat("en-US");

function say(root, name, text) {
  const place = root.querySelector(`[data-${name}]`);
  if (place && place.textContent !== text) place.textContent = text;
}

function span(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

// Shows times in the browser's zone, with UTC as their title, or the other way round.
function showTimes(root) {
  const two = (number) => String(number).padStart(2, "0");
  const zoneOf = (at) =>
    new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(at).find((part) => part.type === "timeZoneName").value;
  const local = (at) => [
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`,
    `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())} ${zoneOf(at)}`,
  ];
  const utc = (at) => [at.toISOString().slice(0, 10), `${at.toISOString().slice(11, 19)} UTC`];
  const [first, other] = document.documentElement.dataset.times === "utc" ? [utc, local] : [local, utc];
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if ("exact" in time.dataset) time.textContent = first(at).join(" ");
    if ("clock" in time.dataset) time.textContent = first(at)[1];
    const isShown = "exact" in time.dataset || "clock" in time.dataset;
    time.title = (isShown ? [other] : [first, other]).map((words) => words(at).join(" ")).join(", ");
  }
  for (const title of root.querySelectorAll("title[data-at]"))
    title.textContent = title.textContent.replace(/^.* UTC/, first(new Date(title.dataset.at)).join(" "));
  for (const place of root.querySelectorAll("[data-zone]")) place.textContent = first(new Date())[1].split(" ")[1];
}

// Shows the progress of a run until it ends.
function follow(section) {
  const bar = section.querySelector("progress");
  const words = JSON.parse(section.dataset.phases);
  const events = new EventSource(section.dataset.events);
  events.addEventListener("progress", (event) => {
    const run = JSON.parse(event.data);
    const progress = run.progress || { phase: "elsewhere", rows: 0 };
    const rows = counted.format(progress.rows);
    for (const state of document.querySelectorAll("[data-state]"))
      state.hidden = (state.dataset.state === "waiting") !== (progress.phase === "waiting");
    say(section, "phase", words[progress.is_stopping ? "stopping" : progress.phase] || progress.phase);
    say(section, "rows", progress.rows || progress.total ? `${rows}${progress.total ? ` of ${counted.format(progress.total)}` : ""} rows` : "");
    say(section, "rate", progress.rate ? `· ${counted.format(Math.round(progress.rate))} rows a second` : "");
    say(section, "left", progress.seconds_left ? `· about ${span(progress.seconds_left)} left` : "");
    if (progress.total) {
      bar.max = progress.total;
      bar.value = progress.rows;
    } else {
      bar.removeAttribute("value");
    }
    for (const [name, count] of Object.entries(run.counts)) {
      const place = document.querySelector(`[data-count="${name}"]`);
      if (!place) continue;
      place.textContent = counted.format(count);
      place.classList.toggle("is-zero", !count);
    }
  });
  events.addEventListener("error", () => {
    // It tries again by itself, unless the answer was no stream: then the page says why.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
  events.addEventListener("end", () => {
    events.close();
    location.replace(location.pathname);
  });
}

// Keeps the parts of a page up to date that can change, except one that somebody uses.
function keepFresh(parts) {
  const stale = document.querySelector("[data-stale]");
  const isUsed = (part) =>
    part.contains(document.activeElement) ||
    part.querySelector("button[disabled]") ||
    [...part.querySelectorAll("input")].some((input) => input.value !== input.defaultValue);
  const again = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (!answer.ok || answer.redirected) throw new Error();
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of parts) {
          const fresh = page.getElementById(part.id);
          if (!fresh || isUsed(part)) continue;
          part.replaceChildren(...fresh.childNodes);
          part.dataset.refresh = fresh.dataset.refresh;
        }
        const moment = page.querySelector("[data-clock]").dateTime;
        for (const place of document.querySelectorAll("[data-clock]")) place.dateTime = moment;
        showTimes(document);
        stale.hidden = true;
      } catch {
        // The next attempt may succeed.
        stale.hidden = false;
      }
    }
    setTimeout(again, wait());
  };
  const wait = () => 1000 * Math.min(...parts.map((part) => part.dataset.refresh));
  setTimeout(again, wait());
}

function copier(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const lines = block.querySelector("pre").cloneNode(true);
    for (const number of lines.querySelectorAll(".linenos")) number.remove();
    await navigator.clipboard.writeText(lines.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  block.previousElementSibling.append(button);
}

showTimes(document);
document.querySelectorAll("[data-events]").forEach(follow);
const parts = [...document.querySelectorAll("[data-refresh]")];
if (parts.length) keepFresh(parts);
if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach(copier);

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-busy]");
  if (!form) return;
  const button = form.querySelector("button[type=submit]");
  button.disabled = true;
  button.textContent = form.dataset.busy;
});

// The browser's "back" shows the page as it was; reloading enables its buttons again.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// Remove the message from the URL, so that a reload does not repeat it.
if (new URLSearchParams(location.search).has("said")) {
  const address = new URL(location.href);
  address.searchParams.delete("said");
  history.replaceState(null, "", address);
}

document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    document.getElementById("find")?.focus();
  }
});
