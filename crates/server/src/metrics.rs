//! The numbers of `/metrics`. Counted where things happen; what can be read off the running server is read when it is asked for.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use vitascope_ai::provider::Completion;
use vitascope_model::{Result, Span};

use crate::app::App;

type Labels = Vec<(&'static str, String)>;

pub struct Metrics {
    requests: Family<Labels, Counter>,
    request_seconds: Histogram,
    webhooks: Family<Labels, Counter>,
    uploaded_bytes: Counter,
    final_delay: Histogram,
    index_delay: Histogram,
    completions: Family<Labels, Counter>,
    completion_tokens: Family<Labels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            webhooks: Family::default(),
            uploaded_bytes: Counter::default(),
            final_delay: Histogram::new(exponential_buckets(0.1, 1.5, 12)),
            index_delay: Histogram::new(exponential_buckets(0.1, 2.0, 12)),
            completions: Family::default(),
            completion_tokens: Family::default(),
        }
    }
}

impl Metrics {
    /// `route` is the pattern that matched, so that ids do not become labels.
    pub fn request(&self, method: &str, route: &str, status: u16, took: std::time::Duration) {
        let labels = vec![("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    pub fn webhook(&self, delivered: bool) {
        let outcome = if delivered { "delivered" } else { "failed" };
        self.webhooks.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// A file came in whole.
    pub fn uploaded(&self, bytes: u64) {
        self.uploaded_bytes.inc_by(bytes);
    }

    /// From the end of an utterance to its final frame.
    pub fn transcript_final(&self, delay: Span) {
        self.final_delay.observe(delay.to_seconds());
    }

    /// From the end of a window's last word to its record.
    pub fn index_record(&self, delay: Span) {
        self.index_delay.observe(delay.to_seconds());
    }

    /// A call of the language model, with all its tries; `None` if it came to nothing.
    pub fn completion(&self, completion: Option<&Completion>) {
        let outcome = if completion.is_some() { "completed" } else { "failed" };
        self.completions.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
        let Some(completion) = completion else { return };
        for (kind, tokens) in [("prompt", completion.prompt_tokens), ("completion", completion.completion_tokens)] {
            self.completion_tokens.get_or_create(&vec![("kind", kind.to_owned())]).inc_by(tokens);
        }
    }

    /// Everything as Prometheus text.
    pub async fn text(&self, app: &App) -> Result<String> {
        let mut registry = Registry::with_prefix("vitascope");
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("http_request_seconds", "Time to answer", self.request_seconds.clone());
        registry.register("uploaded_bytes", "Bytes of files that came in", self.uploaded_bytes.clone());
        registry.register("webhook_attempts", "Webhook deliveries tried", self.webhooks.clone());
        registry.register(
            "transcript_final_seconds",
            "From the end of an utterance to its final",
            self.final_delay.clone(),
        );
        registry.register(
            "index_record_seconds",
            "From the end of a live index's window to its record",
            self.index_delay.clone(),
        );
        registry.register("completions", "Calls of the language model", self.completions.clone());
        registry.register("completion_tokens", "Tokens that they cost", self.completion_tokens.clone());
        let sockets: Gauge = Gauge::default();
        sockets.set(app.sockets.count() as i64);
        registry.register("sockets", "WebSocket connections", sockets);
        let sessions: Family<Labels, Gauge> = Family::default();
        for (state, count) in app.store.count_sessions().await? {
            sessions.get_or_create(&vec![("state", state)]).set(count);
        }
        registry.register("capture_sessions", "Capture sessions by state", sessions);
        let written = app.store.written();
        for (name, help, value) in [
            ("store_writes", "Writes to the database", &written.writes),
            ("store_commits", "Commits that the writes shared", &written.commits),
        ] {
            let counter: Counter = Counter::default();
            counter.inc_by(value.load(Ordering::Relaxed));
            registry.register(name, help, counter);
        }
        transcripts(app, &mut registry);
        channels(app, &mut registry);
        room(app, &mut registry);
        let mut out = String::new();
        encode(&mut out, &registry).expect("writing to a string succeeds");
        Ok(out)
    }
}

/// What is live now, one row a channel.
fn channels(app: &App, registry: &mut Registry) {
    let samples: Family<Labels, Counter<u64, AtomicU64>> = Family::default();
    let bytes: Family<Labels, Counter<u64, AtomicU64>> = Family::default();
    let dropped: Family<Labels, Counter<u64, AtomicU64>> = Family::default();
    let age: Family<Labels, Gauge<f64, AtomicU64>> = Family::default();
    let level: Family<Labels, Gauge<f64, AtomicU64>> = Family::default();
    let hourly: Family<Labels, Gauge> = Family::default();
    let states: Family<Labels, Gauge> = Family::default();
    let now = app.now();
    for meter in app.ingest.meters.list() {
        let (stream, health) = (&meter.rtstream, meter.health(now));
        let mut labels = vec![("rtstream", stream.id.to_string())];
        samples.get_or_create(&labels).inc_by(health.samples);
        bytes.get_or_create(&labels).inc_by(health.bytes);
        dropped.get_or_create(&labels).inc_by(health.dropped.unwrap_or(0));
        if let Some(since) = health.since_last {
            age.get_or_create(&labels).set(since.to_seconds());
        }
        if let Some(db) = health.level_db {
            level.get_or_create(&labels).set(db.into());
        }
        if let Some(rate) = health.bytes_per_hour() {
            hourly.get_or_create(&labels).set(rate as i64);
        }
        labels.push(("channel", stream.name.clone()));
        labels.push(("state", health.state.as_str().to_owned()));
        states.get_or_create(&labels).set(1);
    }
    registry.register("recorded_samples", "Samples recorded by live channels", samples);
    registry.register("recorded_bytes", "Bytes recorded by live channels", bytes);
    registry.register("dropped_samples", "Damaged samples of live channels", dropped);
    registry.register("last_sample_age_seconds", "Since the newest sample of a live channel", age);
    registry.register("sound_level_db", "Level of a live sound, below full scale", level);
    registry.register("bytes_per_hour", "What an hour of a live channel takes", hourly);
    registry.register("channel_state", "1 in the row of the state that a live channel is in", states);
}

/// What is left of memory and disk.
fn room(app: &App, registry: &mut Registry) {
    let missed: Counter<u64, AtomicU64> = Counter::default();
    missed.inc_by(app.ingest.missed());
    registry.register("tap_missed_samples", "Samples that a slow listener (mix, transcript) never heard", missed);
    let (free, full): (Gauge, Gauge) = Default::default();
    free.set(i64::try_from(app.space.free()).unwrap_or(i64::MAX));
    full.set(app.space.is_full().into());
    registry.register("disk_free_bytes", "Free where the data lies", free);
    registry.register("disk_is_full", "1 where nothing is recorded, since less than min_free is free", full);
}

/// How live transcripts keep up: a row for each, and what waits for the speech models in all.
fn transcripts(app: &App, registry: &mut Registry) {
    let lag: Family<Labels, Gauge<f64, AtomicU64>> = Family::default();
    let missed: Family<Labels, Counter<u64, AtomicU64>> = Family::default();
    for keeping in app.transcriber.keeping() {
        let labels = vec![("rtstream", keeping.rtstream_id.to_string())];
        lag.get_or_create(&labels).set(keeping.lag.to_seconds());
        missed.get_or_create(&labels).inc_by(keeping.missed);
    }
    let pressure = app.transcriber.pressure();
    let queue: Family<Labels, Gauge> = Family::default();
    for (kind, count) in [("final", pressure.finals), ("interim", pressure.jobs - pressure.finals)] {
        queue.get_or_create(&vec![("kind", kind.to_owned())]).set(count as i64);
    }
    let dropped: Counter<u64, AtomicU64> = Counter::default();
    dropped.inc_by(pressure.dropped_interims);
    registry.register("transcript_lag_seconds", "How far a live transcript is behind its sound", lag);
    registry.register("transcript_missed_samples", "Samples that slow taps of an rtstream did not hear", missed);
    registry.register("transcript_queue", "Decodes that wait for a speech worker", queue);
    registry.register("transcript_dropped_interims", "Interims that came too late to be shown", dropped);
}
