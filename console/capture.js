// The capture page: asks what to share, starts the session as a recorder would, and shows how it goes. The link says which session
// (`?session=cap-…`) and by what right (`#token=st-…`; the fragment stays in the browser). Sending is capture_channel.js's business.
"use strict";
import { Channel, formOf } from "/console/capture_channel.js";

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const fragment = new URLSearchParams(location.hash.slice(1));
const session = query.get("session") || fragment.get("session");
const token = fragment.get("token") || query.get("token");
const granted = { display: null, mic: null };
let channels = [], phase = "loading", recorded = 0, since = null, count = 0;

// A token in the query was in a request already; at least it need not stay in the address and in the history.
if (query.has("token")) {
  query.delete("token");
  history.replaceState(null, "", `${location.pathname}?${query}#token=${token}`);
}

const words = {
  loading: "Loading", ready: "Ready", chosen: "Ready", starting: "Starting", recording: "Recording", paused: "Paused", saving: "Saving", saved: "Saved", failed: "Not possible",
};
function enter(next) {
  phase = next;
  document.querySelector("main").dataset.phase = next;
  $("state").textContent = words[next];
  const at = (...phases) => phases.includes(next);
  $("sources").disabled = !at("ready", "chosen");
  $("choose").hidden = !at("loading", "ready", "chosen");
  $("choose").disabled = at("loading");
  $("choose").textContent = at("chosen") ? "Choose again" : "Choose what to share";
  $("choose").classList.toggle("main", !at("chosen"));
  $("start").hidden = !at("chosen");
  $("pause").hidden = $("stop").hidden = !at("recording", "paused");
  $("pause").textContent = at("paused") ? "Go on" : "Pause";
  $("paused").hidden = !at("paused");
  $("figures").hidden = !at("starting", "recording", "paused", "saving", "saved");
  $("hint").hidden = at("failed", "saved");
}
function complain(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}
function refuse(text) {
  complain(text);
  enter("failed");
}

// The server.

async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, { method, headers: { "x-access-token": token, "content-type": "application/json" }, body: body && JSON.stringify(body) });
  } catch {
    throw Object.assign(new Error("The server does not answer. Is it still running, and are you online?"), { status: 0 });
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(sentence(answer.status, said.message)), { status: answer.status });
  return said.data;
}
function sentence(status, message = "") {
  if (status === 401) return `This link is not valid any more (${message || "the token was refused"}). Ask for a new one.`;
  if (status === 403) return `This link may not record here: ${message || "it is not allowed"}. Ask for a new one.`;
  if (status === 404) return "There is no such capture session. Ask for a new link.";
  if (status === 409) return `This session cannot be started: ${message}. A session records once; ask for a new link.`;
  return message || `The server refused (${status}).`;
}

async function open() {
  if (!token) return refuse("This link has no client token (#token=st-…). Ask for a complete link.");
  if (!session) return refuse("This link names no capture session (?session=cap-…), and a client token cannot create one: the application does that with its API key, and gives you the link.");
  $("session").textContent = session;
  $("session").title = session;
  if (!window.isSecureContext) return refuse("Browsers let a page record only over https or from localhost. Open this page by such an address.");
  if (!navigator.mediaDevices || !window.MediaRecorder || !formOf("audio")) return refuse("This browser cannot record. A current Chrome, Edge, Firefox or Safari can.");
  if (!navigator.mediaDevices.getDisplayMedia || !formOf("video")) {
    $("screen").checked = $("screen").disabled = false;
    $("screen").disabled = true;
    $("screen-note").textContent = "This browser cannot record screens; the microphone works.";
  }
  let told;
  try {
    told = await call("GET", `/capture/session/${encodeURIComponent(session)}`);
  } catch (error) {
    return refuse(error.status === 400 ? "The capture session in this link is no id of one. Ask for a new link." : error.message);
  }
  if (told.status !== "created") return refuse(`This session was started before (it is ${told.status}). A session records once; ask for a new link.`);
  enter("ready");
  coupling();
  await listDevices();
}

// What is shared.

function coupling() {
  $("sound").disabled = !$("screen").checked;
  $("choose").disabled = !($("screen").checked || $("mic").checked);
}
async function listDevices() {
  const found = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  const chosen = $("device").value;
  const inputs = found.filter((d) => d.kind === "audioinput" && d.deviceId && d.deviceId !== "default" && d.label);
  $("device").replaceChildren(new Option("Default microphone", ""), ...inputs.map((d) => new Option(d.label, d.deviceId)));
  $("device").value = inputs.some((d) => d.deviceId === chosen) ? chosen : "";
}
function whyNot(error, what) {
  if (error.name === "NotAllowedError") return `You or the browser did not allow ${what}. Press the button to be asked again; if you are not asked, look for a blocked permission in the address bar.`;
  if (error.name === "NotFoundError") return `There is no ${what === "the microphone" ? "microphone" : "screen"} to record.`;
  if (error.name === "NotReadableError") return `The system does not hand out ${what}; perhaps another program holds it, or the system's privacy settings forbid it.`;
  return `${what[0].toUpperCase()}${what.slice(1)} cannot be recorded: ${error.message}`;
}
function release() {
  for (const stream of Object.values(granted)) stream?.getTracks().forEach((t) => { t.onended = null; t.stop(); });
  granted.display = granted.mic = null;
}
async function choose() {
  complain("");
  release();
  $("preview").srcObject = null;
  $("empty").hidden = false;
  let asked = "the screen";
  try {
    if ($("screen").checked) {
      granted.display = await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { ideal: 15, max: 30 }, width: { max: 1920 }, height: { max: 1200 } },
        audio: $("sound").checked ? { echoCancellation: false, noiseSuppression: false, autoGainControl: false } : false,
        systemAudio: $("sound").checked ? "include" : "exclude", selfBrowserSurface: "exclude", surfaceSwitching: "include",
      });
    }
    asked = "the microphone";
    if ($("mic").checked) {
      const device = $("device").value;
      granted.mic = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(device && { deviceId: { exact: device } }) } });
    }
  } catch (error) {
    release();
    enter("ready");
    return complain(whyNot(error, asked));
  }
  for (const track of tracks()) track.onended = () => ended(track);
  await show();
  await listDevices();
  enter("chosen");
  $("start").focus();
}
function tracks() {
  return [granted.display, granted.mic].flatMap((stream) => stream?.getTracks() || []);
}
const surfaces = { monitor: "A whole screen", window: "A window", browser: "A browser tab" };
// Width and height as they are seen: what a track says of itself before its first picture is only what was asked for.
async function firstPicture() {
  const shown = $("preview");
  if (!shown.videoWidth) await Promise.race([new Promise((ready) => { shown.onloadeddata = ready; }), new Promise((late) => setTimeout(late, 2000))]);
  return [shown.videoWidth, shown.videoHeight];
}
async function show() {
  const picture = granted.display?.getVideoTracks()[0];
  $("empty").hidden = !!picture;
  $("empty").textContent = "Only sound is recorded.";
  if (picture) {
    $("preview").srcObject = new MediaStream([picture]);
    $("preview").play().catch(() => {});
    const [width, height] = await firstPicture();
    const { displaySurface } = picture.getSettings();
    $("screen-note").textContent = `${surfaces[displaySurface] || "Shared"}${width ? `, ${width} × ${height}` : ""}`;
    const has = granted.display.getAudioTracks().length > 0;
    if ($("sound").checked) $("sound-note").textContent = has ? "Is recorded" : "Was not shared: choose again and tick the box for sound, or go on without";
  }
  if (granted.mic) listen(granted.mic);
}

// How loud the microphone is.
let ear = null;
function listen(stream) {
  ear?.close();
  ear = new AudioContext();
  const analyser = new AnalyserNode(ear, { fftSize: 1024 });
  ear.createMediaStreamSource(stream).connect(analyser);
  const wave = new Float32Array(1024), mine = ear;
  let level = 0;
  (function look() {
    if (mine.state === "closed") return;
    analyser.getFloatTimeDomainData(wave);
    const loud = Math.sqrt(wave.reduce((sum, v) => sum + v * v, 0) / wave.length);
    level = Math.max(Math.min(1, loud * 4), level * 0.9);
    $("level").value = level;
    requestAnimationFrame(look);
  })();
}

// Recording.

function wanted() {
  const picture = granted.display?.getVideoTracks()[0], sound = granted.display?.getAudioTracks()[0], mic = granted.mic?.getAudioTracks()[0];
  const even = (n, most) => Math.min(most, Math.max(16, n - (n % 2)));
  const size = () => {
    const { width = 1280, height = 720 } = picture.getSettings();
    return { width: even($("preview").videoWidth || width, 3840), height: even($("preview").videoHeight || height, 2400) };
  };
  return [
    picture && { id: "display:1", type: "video", name: $("screen-note").textContent, track: picture, size },
    mic && { id: "mic:default", type: "audio", name: mic.label || "Microphone", track: mic },
    sound && { id: "system_audio:default", type: "audio", name: sound.label || "System audio", track: sound },
  ].filter(Boolean);
}
async function start() {
  complain("");
  enter("starting");
  const list = wanted();
  try {
    await call("POST", "/capture/session/start", {
      session_id: session,
      channels: list.map((c) => ({ channel_id: c.id, channel_name: c.name, type: c.type, store: true, is_primary: c.type === "video" })),
    });
  } catch (error) {
    complain(error.message);
    return enter(error.status === 0 ? "chosen" : "failed");
  }
  const base = location.origin.replace(/^http/, "ws");
  channels = list.map(({ id, track, size }) => new Channel({
    url: `${base}/capture/media`, token, session, id, track, size, told: figures,
  }));
  for (const channel of channels) {
    channel.begin();
    channel.done.catch((error) => lost(channel, error));
  }
  since = performance.now();
  enter("recording");
  $("pause").focus();
}
// A channel that is lost for good ends the recording; what the others have is saved.
function lost(channel, error) {
  if (phase === "saved" || phase === "failed") return;
  const text = error.code === 4401 ? sentence(401, error.message) : error.code === 4410 ? "The session was ended by its application or by the server." : `${channel.id}: ${error.message}`;
  complain(text);
  if (phase !== "saving") stop();
}
function ended(track) {
  if (phase === "chosen") { release(); $("preview").srcObject = null; enter("ready"); }
  else if (track.kind === "video" && (phase === "recording" || phase === "paused")) stop();
  else if (phase === "recording") complain("A source of sound is gone; the rest is still recorded.");
}
async function pause() {
  if (phase === "recording") {
    recorded += performance.now() - since;
    since = null;
    enter("paused");
    await Promise.all(channels.map((c) => c.pause()));
  } else if (phase === "paused") {
    for (const channel of channels) if (channel.state !== "closed" && channel.track.readyState === "live") channel.begin();
    since = performance.now();
    enter("recording");
  }
}
async function stop() {
  if (since !== null) recorded += performance.now() - since;
  since = null;
  enter("saving");
  await Promise.allSettled(channels.map((c) => c.stop()));
  release();
  ear?.close();
  $("level").value = 0;
  try {
    await call("POST", `/capture/session/${session}/stop`);
    await saved();
  } catch (error) {
    complain(`${error.message} What was sent is kept; the server ends the session by itself.`);
    enter("failed");
  }
}
// The export takes a moment; its address comes with the session.
async function saved() {
  for (let tries = 0; tries < 120; tries++) {
    const told = await call("GET", `/collection/default/capture/session/${session}`);
    if (told.player_url) {
      $("watch").href = told.player_url;
      $("watch").hidden = false;
      enter("saved");
      return $("watch").focus();
    }
    if (told.status === "failed" || told.export_status === "failed") throw new Error(told.error?.message || "The recording could not be made a video.");
    await new Promise((later) => setTimeout(later, 500));
  }
  throw new Error("The recording is not a video yet.");
}

// Figures.

function figures() {
  const seconds = Math.floor((recorded + (since === null ? 0 : performance.now() - since)) / 1000);
  const pad = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  $("elapsed").textContent = h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
  const bytes = channels.reduce((sum, c) => sum + c.total, 0);
  $("bytes").textContent = bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  const waiting = channels.reduce((sum, c) => sum + c.behind, 0);
  const states = channels.map((c) => c.state);
  $("link").textContent = states.includes("lost") ? "Reconnecting" : states.includes("connecting") ? "Connecting" : waiting > 1e6 ? "Slow" : states.every((s) => s === "closed") ? "Closed" : "Good";
  if (phase === "recording" || phase === "paused") $("state").textContent = states.includes("lost") ? "Reconnecting" : words[phase];
}

const ticks = new Worker("/console/capture_ticks.js");
ticks.onmessage = () => { count += 1; channels.forEach((c) => c.tick(count)); };
$("choose").onclick = choose;
$("start").onclick = start;
$("pause").onclick = pause;
$("stop").onclick = stop;
for (const id of ["screen", "mic"]) $(id).onchange = coupling;
for (const id of ["screen", "sound", "mic", "device"]) $(id).addEventListener("change", () => { if (phase === "chosen") { release(); $("preview").srcObject = null; enter("ready"); coupling(); } });
addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "p" && !event.ctrlKey && !event.metaKey && !event.altKey && event.target.tagName !== "SELECT") pause();
});
addEventListener("beforeunload", (event) => { if (["starting", "recording", "paused", "saving"].includes(phase)) event.preventDefault(); });

open();
