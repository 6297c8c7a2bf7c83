// One channel on its way to the server: a MediaRecorder whose chunks go over one WebSocket, each with the time at which it was handed over.
// A lost socket is opened again for as long as the server waits for us; meanwhile a new recorder fills the queue, so that little is missed.
"use strict";

// The server ends a session whose media stays away for 15 s.
const RETURN_WITHIN = 15000;
// What waits for the network is bounded: about half a minute of a lively screen.
const MOST_WAITING = 24 << 20;
// A server that acknowledges nothing for so long cannot be reached, whatever the socket says.
const UNHEARD = 9000;
// Recorders are asked for what they have this often (in ticks of 50 ms), and more often at first, when the server finds out their clock.
const ASK_EACH = 5;
const ASK_OFTEN = 700;
// 4000 and an HTTP status: these may be over in a moment. All others are final.
const PASSING = new Set([1001, 1005, 1006, 1011, 1012, 4503]);

const now = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

const FORMS = {
  video: ["video/webm;codecs=h264", "video/webm;codecs=vp8", "video/webm", "video/mp4;codecs=avc1.42E01F", "video/mp4"],
  audio: ["audio/webm;codecs=opus", "audio/webm", "audio/mp4"],
};

// What this browser records that the server reads, best first; undefined if there is none.
export function formOf(kind) {
  return FORMS[kind].find((type) => MediaRecorder.isTypeSupported(type));
}

export class Channel {
  // `told` is called whenever something changes that a person may see.
  constructor({ url, token, session, id, track, size, told }) {
    Object.assign(this, { url, token, session, id, track, size, told });
    this.type = formOf(track.kind);
    this.queue = [];
    this.waiting = 0;
    // On this socket, and what the server said of it.
    this.sent = 0;
    this.acknowledged = 0;
    // On all of them.
    this.total = 0;
    this.state = "connecting";
    this.lostAt = null;
    this.done = new Promise((resolve, reject) => { this.finish = resolve; this.fail = reject; });
    this.done.catch(() => {});
    this.connect();
  }

  // Bytes that the network has not taken yet.
  get behind() { return this.waiting + (this.socket?.bufferedAmount || 0); }

  // Recording.

  begin() {
    try {
      this.startRecorder();
    } catch (error) {
      this.end(`The browser does not record it (${error.message}).`);
    }
  }

  startRecorder() {
    const recorder = new MediaRecorder(new MediaStream([this.track]), {
      mimeType: this.type, videoBitsPerSecond: 4_000_000, audioBitsPerSecond: 96_000, videoKeyFrameIntervalDuration: 3500,
    });
    const container = this.type.includes("/mp4") ? "mp4" : "webm";
    this.recorder = recorder;
    this.startedAt = performance.now();
    this.put({ type: "begin", container, at: now(), ...this.size?.() });
    recorder.ondataavailable = ({ data }) => {
      if (!data.size || recorder.forgotten) return;
      const time = new DataView(new ArrayBuffer(8));
      time.setBigInt64(0, BigInt(now()));
      this.put(new Blob([time, data]));
    };
    recorder.onerror = (event) => this.end(event.error?.message || "The browser stopped recording.");
    // An mp4 comes in fragments of its own making only.
    if (container === "mp4") recorder.start(250);
    else recorder.start();
  }

  tick(count) {
    if (this.recorder?.state === "recording" && this.type.includes("/webm")) {
      const often = performance.now() - this.startedAt < ASK_OFTEN;
      if (often || count % ASK_EACH === 0) this.recorder.requestData();
    }
    if (this.sent > this.acknowledged && this.state === "open" && performance.now() - this.heardAt > UNHEARD) this.socket.close();
    this.told();
  }

  // Ends the stretch that is recorded; its last chunk is in the queue when this is done.
  async pause() {
    const recorder = this.recorder;
    if (!recorder) return;
    this.recorder = null;
    if (recorder.state !== "inactive") {
      await new Promise((stopped) => { recorder.onstop = stopped; recorder.stop(); });
    }
    if (!recorder.forgotten) this.put({ type: "end" });
  }

  // Resolves when the server has recorded everything.
  async stop() {
    await this.pause();
    this.leaving = true;
    this.put({ type: "bye" });
    return this.done;
  }

  // Sending.

  put(message) {
    if (this.state === "closed") return;
    this.queue.push(message instanceof Blob ? message : JSON.stringify(message));
    this.waiting += message.size || 0;
    if (this.behind > MOST_WAITING) this.giveUpStretch();
    this.flush();
  }

  flush() {
    if (this.state !== "open") return;
    for (const message of this.queue) {
      this.socket.send(message);
      const bytes = message.size ? message.size - 8 : 0;
      this.sent += bytes;
      this.total += bytes;
    }
    this.queue = [];
    this.waiting = 0;
  }

  // What was recorded so far cannot be sent, or was sent to nobody: a new recorder writes a new header.
  giveUpStretch() {
    const recorder = this.recorder;
    this.queue = this.leaving ? [JSON.stringify({ type: "bye" })] : [];
    this.waiting = 0;
    if (!recorder || recorder.state === "inactive") return;
    recorder.forgotten = true;
    recorder.stop();
    this.begin();
  }

  connect() {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token: this.token, session: this.session, channel: this.id }));
    socket.onmessage = ({ data }) => {
      const said = JSON.parse(data);
      this.heardAt = performance.now();
      if (said.type === "received") this.acknowledged = said.bytes;
      if (said.type === "ready") {
        this.state = "open";
        this.lostAt = null;
        this.sent = this.acknowledged = 0;
        this.flush();
      }
      this.told();
    };
    socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }

  closed(code, reason) {
    if (this.state === "closed") return;
    if (code === 1000) return this.end();
    this.lostAt ??= performance.now();
    if (!PASSING.has(code)) return this.end(reason || `The server closed the connection (${code}).`, code);
    if (performance.now() - this.lostAt > RETURN_WITHIN) return this.end(reason ? `Not reconnected: ${reason}.` : "The server cannot be reached.", code);
    const was = this.state;
    this.state = "lost";
    if (was === "open") this.giveUpStretch();
    this.told();
    setTimeout(() => this.connect(), 300);
  }

  end(trouble, code) {
    this.state = "closed";
    if (this.recorder?.state === "recording") {
      this.recorder.forgotten = true;
      this.recorder.stop();
    }
    this.socket.close();
    if (trouble) this.fail(Object.assign(new Error(trouble), { code }));
    else this.finish();
    this.told();
  }
}
