//! One publisher's session (RFC 2326): requests in, answers out; interleaved RTP and RTCP in, samples to its publication.
//! No sockets and no timers: `listener.rs` owns those. What a path means is asked of `live::ingest`.

use std::sync::{Arc, Mutex, PoisonError};

use rtsp_types::headers::{self, HeaderName};
use rtsp_types::{Empty, Method, Request, Response, ResponseBuilder, StatusCode, Version};
use tokio_util::sync::CancellationToken;
use vitascope_media::codec::{Codec, Sample};
use vitascope_model::{Error, ErrorKind, Result, WallTime};

use super::depay::Unit;
use super::sdp::{Announced, announced};
use super::track::Track;
use super::transport::interleaved;
use crate::app::App;
use crate::live::ingest::{Publication, Refusal};
use crate::live::publisher::PublisherClock;

const METHODS: &str = "OPTIONS, ANNOUNCE, SETUP, RECORD, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

pub(super) struct Session {
    app: App,
    announced: Vec<Announced>,
    publication: Option<Publication>,
    tracks: Vec<Track>,
    publisher: Arc<Mutex<PublisherClock>>,
    units: Vec<Unit>,
    pub(super) recording: bool,
    /// After the answer under way the connection ends.
    pub(super) closed: bool,
}

/// Header fields of a success; or a status, with our words where its own say too little.
type Answer = std::result::Result<Vec<(HeaderName, String)>, Denial>;

struct Denial(StatusCode, Option<&'static str>);

impl From<StatusCode> for Denial {
    fn from(status: StatusCode) -> Denial {
        Denial(status, None)
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Denial {
        tracing::info!(?refusal, "a publisher was refused");
        let (status, words) = match refusal {
            Refusal::Unknown => (StatusCode::NotFound, "No Such Path"),
            Refusal::Closed => (StatusCode::Forbidden, "Session Takes No Media"),
            // A publisher that tries again later comes in when the rtstream is started.
            Refusal::Paused => (StatusCode::ServiceUnavailable, "Stream Is Stopped For Now"),
            Refusal::Busy => (StatusCode::NotEnoughBandwidth, "Path Has A Publisher"),
            Refusal::Full => (StatusCode::ServiceUnavailable, "No Room To Record"),
            Refusal::Unsupported => (StatusCode::UnsupportedMediaType, "Nothing Announced Can Be Recorded Here"),
            Refusal::Broken => return StatusCode::InternalServerError.into(),
        };
        Denial(status, Some(words))
    }
}

impl Session {
    pub(super) fn new(app: App) -> Session {
        Session {
            app,
            announced: Vec::new(),
            publication: None,
            tracks: Vec::new(),
            publisher: Arc::default(),
            units: Vec::new(),
            recording: false,
            closed: false,
        }
    }

    /// Rung when somebody else ends this publication.
    pub(super) fn cancelled(&self) -> CancellationToken {
        self.publication.as_ref().map(Publication::cancelled).unwrap_or_default()
    }

    pub(super) async fn request(&mut self, request: &Request<Vec<u8>>) -> Response<Empty> {
        let answer = match request.method() {
            Method::Options => Ok(vec![(headers::PUBLIC, METHODS.to_owned())]),
            Method::Announce => self.announce(request).await,
            Method::Setup => self.setup(request),
            Method::Record if !self.tracks.is_empty() => {
                self.recording = true;
                Ok(Vec::new())
            }
            Method::Teardown => {
                self.end(true).await;
                self.closed = true;
                Ok(Vec::new())
            }
            Method::GetParameter | Method::SetParameter => Ok(Vec::new()),
            Method::Record => Err(StatusCode::MethodNotValidInThisState.into()),
            _ => Err(StatusCode::NotImplemented.into()),
        };
        let (status, words, fields) = match answer {
            Ok(fields) => (StatusCode::Ok, None, fields),
            Err(Denial(status, words)) => {
                // A publisher that was refused has nothing more to say here.
                use StatusCode::{Forbidden, NotEnoughBandwidth, NotFound, ServiceUnavailable, UnsupportedMediaType};
                let over = [Forbidden, NotEnoughBandwidth, NotFound, ServiceUnavailable, UnsupportedMediaType];
                self.closed = over.contains(&status);
                (status, words, Vec::new())
            }
        };
        let sequence = request.header(&headers::CSEQ).map_or("0", |v| v.as_str());
        let response = Response::builder(Version::V1_0, status).header(headers::CSEQ, sequence);
        let response = response.header(headers::SESSION, "1");
        let response = words.into_iter().fold(response, ResponseBuilder::reason_phrase);
        fields.into_iter().fold(response, |r, (name, value)| r.header(name, value)).empty()
    }

    /// The path decides, before anything else of the announcement is looked at. A second ANNOUNCE ends the recording and begins anew.
    async fn announce(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let url = request.request_uri().ok_or(StatusCode::BadRequest)?;
        let path = url.path_segments().and_then(|mut s| s.next_back()).unwrap_or_default().to_owned();
        let target = self.app.ingest.look_up(&self.app, &path).await?;
        self.end(true).await;
        let claim = self.app.ingest.claim(&self.app, &path, target).await?;
        let announced = announced(request.body()).map_err(|error| {
            tracing::info!(%error, "an announcement cannot be read");
            Refusal::Unsupported
        })?;
        let codecs: Vec<Option<Codec>> = announced.iter().map(|a| a.codec.clone()).collect();
        let publication = claim.admit(&codecs).await?;
        self.publisher = publication.publisher_clock();
        self.publication = Some(publication);
        self.announced = announced;
        Ok(Vec::new())
    }

    fn setup(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let publication = self.publication.as_ref().ok_or(StatusCode::MethodNotValidInThisState)?;
        let url = request.request_uri().map(|u| u.as_str()).unwrap_or_default();
        let found = self.announced.iter().position(|a| url.ends_with(&a.control)).ok_or(StatusCode::NotFound)?;
        let header = request.header(&headers::TRANSPORT).map(|v| v.as_str()).ok_or(StatusCode::UnsupportedTransport)?;
        let wanted = interleaved(header).map_err(|error| match error.kind {
            ErrorKind::Unimplemented => StatusCode::UnsupportedTransport,
            _ => StatusCode::BadRequest,
        })?;
        let channel = wanted.unwrap_or(2 * self.tracks.len() as u8);
        if self.tracks.iter().any(|t| t.channel == channel || t.media == found) {
            return Err(StatusCode::BadRequest.into());
        }
        let is_recorded = found == publication.media();
        self.tracks.push(Track::new(found, channel, &self.announced[found], is_recorded));
        let chosen = format!("RTP/AVP/TCP;unicast;interleaved={channel}-{};mode=record", channel + 1);
        Ok(vec![(headers::TRANSPORT, chosen)])
    }

    /// Whether an interleaved frame on `channel` that begins with `head` can be one of ours: used to find the way back after garbage.
    pub(super) fn knows(&self, channel: u8, head: &[u8]) -> bool {
        self.tracks.iter().any(|t| t.knows(channel, head))
    }

    /// One interleaved frame. What cannot be read is dropped; an error ends the session.
    pub(super) fn frame(&mut self, channel: u8, body: &[u8], arrival: WallTime) -> Result<()> {
        let Some(track) = self.tracks.iter_mut().find(|t| t.channel == channel & !1 && t.is_recorded) else {
            return Ok(());
        };
        let Some(publication) = self.publication.as_mut() else { return Ok(()) };
        if channel != track.channel {
            track.reports(body);
            return Ok(());
        }
        let dropped = track.packet(body, &mut self.units);
        publication.dropped(dropped);
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        for unit in self.units.drain(..) {
            let ticks = track.clock.ticks(unit.stamp);
            if track.last_ticks.is_some_and(|last| ticks < last) {
                return Err(Error::invalid(
                    "time stamps step back: B-frames cannot be recorded, nor a clock that is reset",
                ));
            }
            if track.last_ticks == Some(ticks) {
                publication.dropped(1);
                continue;
            }
            track.last_ticks = Some(ticks);
            let wall = track.clock.wall(&mut publisher, ticks, arrival);
            let chunk_begins = publication.sample(Sample { ticks, key: unit.key, data: unit.data, wall })?;
            if chunk_begins {
                publisher.correct(arrival);
            }
        }
        Ok(())
    }

    /// Bytes were skipped on the wire. Whether packets were among them, their numbers will tell.
    pub(super) fn damaged(&mut self) {
        self.tracks.iter_mut().for_each(|t| t.depay.damaged());
    }

    /// Called four times a second.
    pub(super) fn tick(&mut self) -> Result<()> {
        self.publication.as_mut().map_or(Ok(()), Publication::tick)
    }

    /// Ends the recording, on TEARDOWN, re-ANNOUNCE or a lost connection alike.
    pub(super) async fn end(&mut self, orderly: bool) {
        self.recording = false;
        self.announced.clear();
        self.tracks.clear();
        if let Some(publication) = self.publication.take() {
            publication.end(orderly).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use rtsp_types::Url;
    use vitascope_model::Clock;
    use vitascope_model::capture::MediaKind;

    use super::*;
    use crate::app::account::{self, Caller};
    use crate::app::capture::{self, NewChannel, NewSession, Start};
    use crate::app::collection;
    use crate::config::Config;

    const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z2QAH6w=,aOvjyyLA\r\na=control:streamid=0\r\n";

    struct Steps(AtomicI64);

    impl Clock for Steps {
        fn now(&self) -> WallTime {
            WallTime(self.0.fetch_add(1000, Ordering::SeqCst))
        }
    }

    struct Desk {
        app: App,
        caller: Caller,
        capture: vitascope_model::capture::CaptureSession,
        _folder: tempfile::TempDir,
    }

    /// A capture session of one display that waits for its recorder.
    async fn desk() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            rtsp_listen: ([127, 0, 0, 1], 0).into(),
            data_dir: folder.path().to_owned(),
            models_dir: "/nonexistent".into(),
            public_url: String::new(),
            rtsp_public_url: String::new(),
            api_key: Some("sk-test".to_owned()),
            allow_private_urls: false,
            min_free: 0,
            max_upload: 0,
            yt_dlp: false,
            objects: Default::default(),
            retention: Default::default(),
            speech_workers: 1,
            transcribe: None,
            complete: None,
            embed: None,
            embed_threads: 1,
            log: String::new(),
            log_json: false,
        };
        let app = App::open(config, Arc::new(Steps(AtomicI64::new(1_800_000_000_000_000)))).await.unwrap();
        account::bootstrap(&app).await.unwrap();
        let caller = account::identify(&app, "sk-test").await.unwrap();
        let new = NewSession {
            collection_id: collection::default_of(&app, &caller.scope).await.unwrap().id,
            end_user_id: "someone".to_owned(),
            callback_url: None,
            ws_connection_id: None,
            metadata: "{}".to_owned(),
        };
        let made = capture::create(&app, caller.user(), new).await.unwrap();
        let display = NewChannel {
            channel_id: "display:1".to_owned(),
            name: None,
            kind: MediaKind::Video,
            store: true,
            is_primary: true,
        };
        let start = Start { channels: vec![display], ws_connection_id: None, callback_url: None };
        capture::start(&app, &caller, &made.id, start).await.unwrap();
        let capture = app.store.find_session(&made.id).await.unwrap().unwrap();
        Desk { app, caller, capture, _folder: folder }
    }

    impl Desk {
        fn url(&self) -> String {
            format!("rtsp://127.0.0.1/{}", self.capture.channels[0].publish_path)
        }

        async fn announced(&self) -> Session {
            let mut session = Session::new(self.app.clone());
            assert_eq!(ask(&mut session, Method::Announce, &self.url(), "", SDP).await, StatusCode::Ok);
            session
        }
    }

    async fn ask(session: &mut Session, method: Method, url: &str, transport: &str, body: &str) -> StatusCode {
        let request = Request::builder(method, Version::V1_0).request_uri(Url::parse(url).unwrap());
        let request = request.header(headers::CSEQ, "7").header(headers::TRANSPORT, transport);
        let answer = session.request(&request.build(body.as_bytes().to_vec())).await;
        assert_eq!(answer.header(&headers::CSEQ).unwrap().as_str(), "7");
        answer.status()
    }

    #[tokio::test]
    async fn publishers_are_refused_at_the_announcement() {
        let desk = desk().await;
        let vp8 = SDP.replace("H264", "VP8");
        let mut other = Session::new(desk.app.clone());
        assert_eq!(ask(&mut other, Method::Announce, "rtsp://h/nobody", "", SDP).await, StatusCode::NotFound);
        assert!(other.closed);
        for unfit in [&vp8, "garbage", "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"] {
            let status = ask(&mut other, Method::Announce, &desk.url(), "", unfit).await;
            assert_eq!(status, StatusCode::UnsupportedMediaType, "{unfit}");
        }
        // What was refused holds nothing: the path is free.
        let mut first = desk.announced().await;
        assert_eq!(ask(&mut other, Method::Announce, &desk.url(), "", &vp8).await, StatusCode::NotEnoughBandwidth);
        assert_eq!(
            ask(&mut first, Method::Announce, &desk.url(), "", SDP).await,
            StatusCode::Ok,
            "its own path, again"
        );
        // However it goes, the path is free at once.
        drop(first);
        desk.announced().await.end(true).await;
        capture::stop(&desk.app, &desk.caller, &desk.capture.id).await.unwrap();
        desk.app.tracker.close();
        desk.app.tracker.wait().await;
        assert_eq!(ask(&mut other, Method::Announce, &desk.url(), "", SDP).await, StatusCode::Forbidden);
    }

    #[tokio::test]
    async fn requests_come_in_their_order_and_over_tcp() {
        let desk = desk().await;
        let (url, tcp) = (format!("{}/streamid=0", desk.url()), "RTP/AVP/TCP;unicast;interleaved=0-1");
        let mut early = Session::new(desk.app.clone());
        assert_eq!(ask(&mut early, Method::Setup, &url, tcp, "").await, StatusCode::MethodNotValidInThisState);
        let mut session = desk.announced().await;
        assert_eq!(ask(&mut session, Method::Record, &desk.url(), "", "").await, StatusCode::MethodNotValidInThisState);
        let udp = ask(&mut session, Method::Setup, &url, "RTP/AVP;unicast;client_port=5000-5001", "").await;
        assert_eq!(udp, StatusCode::UnsupportedTransport);
        assert!(!session.closed, "it may ask again, for TCP");
        assert_eq!(ask(&mut session, Method::Setup, &url, tcp, "").await, StatusCode::Ok);
        let twice = ask(&mut session, Method::Setup, &url, "RTP/AVP/TCP;interleaved=2-3", "").await;
        assert_eq!(twice, StatusCode::BadRequest);
        assert_eq!(ask(&mut session, Method::Record, &desk.url(), "", "").await, StatusCode::Ok);
        assert_eq!(ask(&mut session, Method::Play, &desk.url(), "", "").await, StatusCode::NotImplemented);
        let packet = |number: u8, stamp: u8, nal: u8| [0x80, 0xe0, 0, number, 0, 0, 0, stamp, 0, 0, 0, 1, nal, 9];
        for (number, stamp) in [(1, 10), (2, 20)] {
            session.frame(0, &packet(number, stamp, 0x65), desk.app.now()).unwrap();
        }
        let meters = desk.app.ingest.meters.list();
        assert_eq!((meters.len(), meters[0].health(desk.app.now()).samples), (1, 2));
        let out_of_order = session.frame(0, &packet(3, 15, 0x61), desk.app.now()).unwrap_err();
        assert!(out_of_order.message.contains("B-frames"), "{out_of_order}");
    }
}
