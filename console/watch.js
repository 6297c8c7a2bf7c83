// What the player page does: plays the stream with hls.js, and gives it keys, a bar, pictures to look for a moment by, captions, speed and links.
"use strict";
const $ = (id) => document.getElementById(id);
const video = $("video"), screenBox = $("screen"), seek = $("seek");
const stream = video.dataset.stream;
const isLiveStream = video.dataset.kind === "live";
if (location.pathname.replace(/\/+$/, "").endsWith("/embed")) document.documentElement.classList.add("embedded");

// --- Words

function say(words) {
  $("message").textContent = words;
  $("message").hidden = !words;
}

const sentences = {
  403: "This link has expired. Ask who sent it for another one.",
  404: "There is no such recording here, or it is not here any more.",
  410: "A part of this recording was deleted, so it can no longer be played.",
};
function sayNetwork(code) {
  say(sentences[code] || (code ? `The server refused the recording (${code}).` : "The server does not answer. Is it still running?"));
}

let fading = 0;
function toast(words) {
  $("toast").textContent = words;
  $("toast").classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => $("toast").classList.remove("shown"), 1600);
}

function clock(seconds) {
  const whole = Math.floor(Math.max(0, seconds) + 0.001), pad = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

// --- Links: `#t=SECONDS` says where to begin, `#t=FROM,TO` also where to pause; it may change while the page is open.

let stopAt = null;
function wanted() {
  const found = /(?:^|[#&])t=(\d+(?:\.\d+)?)?(?:,(\d+(?:\.\d+)?))?/.exec(location.hash);
  if (!found || (found[1] === undefined && found[2] === undefined)) return null;
  const from = Number(found[1] || 0), to = found[2] === undefined ? null : Number(found[2]);
  return { from, to: to !== null && to > from ? to : null };
}
function jump() {
  const span = wanted();
  if (!span) return;
  const end = Number.isFinite(video.duration) ? Math.max(0, video.duration - 0.1) : span.from;
  video.currentTime = Math.min(span.from, end);
  stopAt = span.to;
}
addEventListener("hashchange", jump);
video.addEventListener("loadedmetadata", jump, { once: true });
video.addEventListener("timeupdate", () => {
  if (stopAt === null || video.currentTime < stopAt) return;
  stopAt = null;
  video.pause();
});

async function copyLink() {
  const at = Math.round(video.currentTime * 10) / 10;
  const link = `${location.href.split("#")[0]}${isLiveStream ? "" : `#t=${at}`}`;
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    // Over plain http a page has no clipboard, but a selection.
    const field = Object.assign(document.createElement("textarea"), { value: link });
    screenBox.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) return toast(link);
  }
  toast(isLiveStream ? "Link copied" : `Link to ${clock(at)} copied`);
}
$("copy").addEventListener("click", copyLink);

// --- A stream that still grows: whether the player is at its newest picture, and the way back there.

const badge = $("live");
let edge = null;
function showLive(live, newest) {
  edge = live ? newest : null;
  badge.hidden = !live;
  // A player stays some segments behind the last one: that counts as live.
  badge.classList.toggle("behind", live && newest() - video.currentTime > 25);
}
badge.addEventListener("click", () => {
  if (!edge) return;
  video.currentTime = edge();
  play();
});
video.addEventListener("timeupdate", () => edge && showLive(true, edge));

// --- The stream

// So many target durations behind the last segment: a list promises more at the most than its segments have.
const LIVE_SYNC = 2;

function open() {
  say("");
  if (window.Hls && Hls.isSupported()) {
    const span = wanted();
    const hls = new Hls({ startPosition: span ? span.from : -1, maxBufferLength: 30, backBufferLength: 60, liveSyncDurationCount: LIVE_SYNC });
    let recoveries = 0;
    hls.on(Hls.Events.LEVEL_LOADED, (_, level) => {
      const list = level.details;
      showLive(list.live, () => hls.liveSyncPosition ?? video.currentTime);
      video.dataset.state = list.live ? "live" : isLiveStream ? "ended" : "recording";
    });
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (!error.fatal) return;
      const code = error.response && error.response.code;
      if (isLiveStream && (code === 503 || error.details === "levelEmptyError")) {
        say("Waiting for the first pictures…");
        hls.destroy();
        return setTimeout(open, 2000);
      }
      if (error.type === Hls.ErrorTypes.NETWORK_ERROR) sayNetwork(code);
      else if (error.type === Hls.ErrorTypes.MEDIA_ERROR && recoveries++ < 2) return hls.recoverMediaError();
      else say("This browser cannot play this recording (" + error.details + ").");
      hls.destroy();
    });
    hls.loadSource(stream);
    hls.attachMedia(video);
  } else if (video.canPlayType("application/vnd.apple.mpegurl")) {
    video.src = stream;
    video.addEventListener("error", () => fetch(stream).then((got) => got.ok ? say("This browser cannot play this recording.") : sayNetwork(got.status), () => sayNetwork(0)));
  } else {
    say("This browser can play neither HLS nor Media Source Extensions. A newer one can.");
  }
}

// Where there is nothing to see, a note says so.
for (const name of ["loadedmetadata", "resize"]) video.addEventListener(name, () => screenBox.classList.toggle("sound", !video.videoWidth));

// --- The bar

function play() {
  video.play().catch(() => {});
}
function toggle() {
  if (video.paused) play();
  else video.pause();
}
$("play").addEventListener("click", toggle);
video.addEventListener("click", toggle);
function showState() {
  screenBox.classList.toggle("playing", !video.paused);
  $("play").setAttribute("aria-label", video.paused ? "Play" : "Pause");
}
for (const name of ["play", "pause", "ended"]) video.addEventListener(name, showState);

function mute() {
  video.muted = !video.muted;
}
$("mute").addEventListener("click", mute);
video.addEventListener("volumechange", () => {
  const silent = video.muted || video.volume === 0;
  screenBox.classList.toggle("muted", silent);
  $("mute").setAttribute("aria-pressed", String(silent));
});
function louder(by) {
  video.muted = false;
  video.volume = Math.min(1, Math.max(0, video.volume + by));
  toast(`Sound ${Math.round(video.volume * 100)} %`);
}

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];
for (const speed of SPEEDS) $("speed").add(new Option(`${speed}×`, speed, speed === 1, speed === 1));
$("speed").addEventListener("change", () => { video.playbackRate = Number($("speed").value) });
video.addEventListener("ratechange", () => { $("speed").value = String(video.playbackRate) });
function faster(by) {
  const now = SPEEDS.findIndex((s) => s >= video.playbackRate);
  video.playbackRate = SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, (now < 0 ? SPEEDS.length - 1 : now) + by))];
  $("speed").value = String(video.playbackRate);
  toast(`Speed ${video.playbackRate}×`);
}

const track = video.querySelector("track");
function captions() {
  if (!track) return toast("There are no captions");
  const on = track.track.mode !== "showing";
  track.track.mode = on ? "showing" : "hidden";
  $("captions").setAttribute("aria-pressed", String(on));
  toast(on ? "Captions on" : "Captions off");
}
if (track) {
  $("captions").hidden = false;
  $("captions").addEventListener("click", captions);
}

function full() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (screenBox.requestFullscreen) screenBox.requestFullscreen().catch(() => {});
  else if (video.webkitEnterFullscreen) video.webkitEnterFullscreen();
}
$("full").addEventListener("click", full);
video.addEventListener("dblclick", full);

// Where one may go: of a stream that grows, what it lists.
function reach() {
  if (Number.isFinite(video.duration)) return { from: 0, to: video.duration };
  const ranges = video.seekable;
  return ranges.length ? { from: ranges.start(0), to: ranges.end(ranges.length - 1) } : { from: 0, to: 0 };
}
function goTo(seconds) {
  const { from, to } = reach();
  stopAt = null;
  video.currentTime = Math.min(Math.max(from, seconds), to || seconds);
}
let dragging = false;
function showTime() {
  const { from, to } = reach(), share = to > from ? (video.currentTime - from) / (to - from) : 0;
  if (!dragging) seek.value = String(share * 1000);
  seek.style.setProperty("--done", `${seek.value / 10}%`);
  const length = Number.isFinite(video.duration) ? clock(video.duration) : video.duration === Infinity ? "live" : "";
  $("now").textContent = clock(video.currentTime);
  $("length").textContent = length;
  seek.setAttribute("aria-valuetext", `${clock(video.currentTime)} of ${length}`);
}
for (const name of ["timeupdate", "durationchange", "seeking", "loadedmetadata"]) video.addEventListener(name, showTime);
seek.addEventListener("input", () => {
  dragging = true;
  const { from, to } = reach();
  goTo(from + (seek.value / 1000) * (to - from));
});
seek.addEventListener("change", () => { dragging = false });

// --- The strip: small pictures over the place that the pointer is at, fetched when somebody first looks for one.

let tiles = null, pointer = null;
async function fetchTiles() {
  if (tiles || !video.dataset.strip) return;
  tiles = [];
  const answer = await fetch(video.dataset.strip).catch(() => null);
  if (!answer || !answer.ok) return;
  const seconds = (text) => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  for (const block of (await answer.text()).split("\n\n").slice(1)) {
    const found = /^(\S+) --> (\S+)\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/.exec(block);
    if (found) tiles.push({ to: seconds(found[2]), url: new URL(found[3], answer.url).pathname, box: found.slice(4).map(Number) });
  }
  if (pointer) look(pointer);
}
function look(event) {
  const box = seek.getBoundingClientRect(), { from, to } = reach();
  const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)), at = from + share * (to - from);
  if (!(to > from)) return;
  pointer = event;
  fetchTiles();
  const tile = tiles && tiles.find((t) => at < t.to);
  $("tile").hidden = !tile;
  if (tile) {
    const [x, y, width, height] = tile.box;
    Object.assign($("tile").style, { width: `${width}px`, height: `${height}px`, backgroundImage: `url("${tile.url}")`, backgroundPosition: `-${x}px -${y}px` });
  }
  $("moment").textContent = clock(at);
  $("preview").hidden = false;
  const half = $("preview").offsetWidth / 2;
  $("preview").style.left = `${Math.min(box.width - half, Math.max(half, share * box.width))}px`;
}
seek.addEventListener("pointermove", look);
seek.addEventListener("pointerdown", look);
for (const name of ["pointerleave", "pointerup", "pointercancel"]) seek.addEventListener(name, () => {
  pointer = null;
  $("preview").hidden = true;
});

// --- Nobody moves: the bar goes, where it lies over the picture.

let resting = 0;
function awake() {
  screenBox.classList.remove("idle");
  clearTimeout(resting);
  resting = setTimeout(() => screenBox.classList.add("idle"), 2500);
}
for (const name of ["pointermove", "pointerdown", "keydown", "focusin"]) addEventListener(name, awake);
awake();

// --- Keys

const keys = {
  " ": toggle, k: toggle, f: full, m: mute, c: captions,
  j: () => goTo(video.currentTime - 10), l: () => goTo(video.currentTime + 10),
  ArrowLeft: () => goTo(video.currentTime - 5), ArrowRight: () => goTo(video.currentTime + 5),
  ArrowUp: () => louder(0.05), ArrowDown: () => louder(-0.05),
  "<": () => faster(-1), ">": () => faster(1),
};
for (let n = 0; n <= 9; n++) keys[n] = () => goTo(reach().from + (n / 10) * (reach().to - reach().from));
// Caught on the way down: the slider knows some of these keys, too, and would act a second time.
addEventListener("keydown", (event) => {
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const on = event.target instanceof Element ? event.target.closest("button, select, summary, a") : null;
  // A button that is pressed by space is pressed, and a list is chosen from.
  if (!act || event.ctrlKey || event.metaKey || event.altKey || (on && (on.matches("select") || event.key === " "))) return;
  event.preventDefault();
  event.stopPropagation();
  awake();
  act();
}, true);

open();
