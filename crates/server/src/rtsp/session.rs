//! One publisher's session (RFC 2326): requests in, answers out; interleaved RTP and RTCP in, samples to its publication.
//! No sockets and no timers: `listener.rs` owns those. What a path means is asked of `live::ingest`.

use std::sync::{Arc, Mutex, PoisonError};

use rtcp_types::{Compound, Packet};
use rtp_types::RtpPacket;
use rtsp_types::headers::{self, HeaderName};
use rtsp_types::{Empty, Method, Request, Response, StatusCode, Version};
use tokio_util::sync::CancellationToken;
use vitascope_media::codec::{Codec, Sample};
use vitascope_model::{Error, ErrorKind, Result, WallTime};

use super::clock::TrackClock;
use super::depay::{Depay, Unit};
use super::sdp::{Announced, announced};
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

/// One media section that was set up.
struct Track {
    /// The channel of RTP; RTCP has the next one.
    channel: u8,
    payload_type: u8,
    next_sequence: Option<u16>,
    depay: Depay,
    clock: TrackClock,
    last_ticks: Option<i64>,
    /// Whether it is the one that the path takes; the others are let in and forgotten.
    recorded: bool,
}

type Answer = std::result::Result<Vec<(HeaderName, String)>, StatusCode>;

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
            Method::Record => Err(StatusCode::MethodNotValidInThisState),
            _ => Err(StatusCode::NotImplemented),
        };
        let (status, fields) = match answer {
            Ok(fields) => (StatusCode::Ok, fields),
            Err(status) => {
                // A publisher that was refused has nothing more to say here.
                use StatusCode::{Forbidden, NotEnoughBandwidth, NotFound, UnsupportedMediaType};
                self.closed = matches!(status, Forbidden | NotEnoughBandwidth | NotFound | UnsupportedMediaType);
                (status, Vec::new())
            }
        };
        let sequence = request.header(&headers::CSEQ).map_or("0", |v| v.as_str());
        let response =
            Response::builder(Version::V1_0, status).header(headers::CSEQ, sequence).header(headers::SESSION, "1");
        fields.into_iter().fold(response, |r, (name, value)| r.header(name, value)).empty()
    }

    /// The path decides, before anything else of the announcement is looked at. A second ANNOUNCE ends the recording and begins anew.
    async fn announce(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let url = request.request_uri().ok_or(StatusCode::BadRequest)?;
        let path = url.path_segments().and_then(|mut s| s.next_back()).unwrap_or_default().to_owned();
        let refused = |refusal: Refusal| {
            tracing::info!(?refusal, "a publisher was refused");
            match refusal {
                Refusal::Unknown => StatusCode::NotFound,
                Refusal::Closed => StatusCode::Forbidden,
                Refusal::Busy => StatusCode::NotEnoughBandwidth,
                Refusal::Unsupported => StatusCode::UnsupportedMediaType,
                Refusal::Broken => StatusCode::InternalServerError,
            }
        };
        let target = self.app.ingest.look_up(&self.app, &path).await.map_err(refused)?;
        self.end(true).await;
        let announced = announced(request.body()).map_err(|error| {
            tracing::info!(%error, "an announcement was refused");
            StatusCode::UnsupportedMediaType
        })?;
        let codecs: Vec<Option<Codec>> = announced.iter().map(|a| a.codec.clone()).collect();
        let publication = self.app.ingest.admit(&self.app, &path, target, &codecs).await.map_err(refused)?;
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
        if self.tracks.iter().any(|t| t.channel == channel) {
            return Err(StatusCode::BadRequest);
        }
        let media = &self.announced[found];
        let recorded = found == publication.media();
        // What is not recorded is still cut out of the stream: any depacketiser will do for that.
        let codec = media.codec.clone().unwrap_or(Codec::H264 { sps: Vec::new(), pps: Vec::new() });
        self.tracks.push(Track {
            channel,
            payload_type: media.payload_type,
            next_sequence: None,
            depay: Depay::new(&codec),
            clock: TrackClock::new(codec.timescale()),
            last_ticks: None,
            recorded,
        });
        let chosen = format!("RTP/AVP/TCP;unicast;interleaved={channel}-{};mode=record", channel + 1);
        Ok(vec![(headers::TRANSPORT, chosen)])
    }

    /// Whether an interleaved frame on `channel` that begins with `head` can be one of ours: used to find the way back after garbage.
    pub(super) fn knows(&self, channel: u8, head: &[u8]) -> bool {
        self.tracks.iter().any(|t| match head {
            [] => t.channel == channel & !1,
            [v, rest @ ..] if t.channel == channel => {
                v >> 6 == 2 && rest.first().is_none_or(|pt| pt & 0x7f == t.payload_type)
            }
            [v, rest @ ..] if t.channel + 1 == channel => {
                v >> 6 == 2 && rest.first().is_none_or(|pt| (200..=207).contains(pt))
            }
            _ => false,
        })
    }

    /// One interleaved frame. What cannot be read is dropped; an error ends the session.
    pub(super) fn frame(&mut self, channel: u8, body: &[u8], arrival: WallTime) -> Result<()> {
        let Some(track) = self.tracks.iter_mut().find(|t| t.channel == channel & !1 && t.recorded) else {
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
                return Err(Error::invalid("pictures come out of order: B-frames cannot be recorded"));
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

    /// Bytes were skipped on the wire: no unit under construction can be trusted.
    pub(super) fn lost(&mut self) {
        self.tracks.iter_mut().for_each(|t| t.depay.lost());
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
            publication.end(&self.app, orderly).await;
        }
    }
}

impl Track {
    fn reports(&mut self, body: &[u8]) {
        for packet in Compound::parse(body).into_iter().flatten() {
            if let Ok(Packet::Sr(report)) = packet {
                self.clock.report(report.ntp_timestamp(), report.rtp_timestamp());
            }
        }
    }

    /// One RTP packet; finished units go to `units`. Returns how many were dropped.
    fn packet(&mut self, body: &[u8], units: &mut Vec<Unit>) -> u32 {
        let Ok(packet) = RtpPacket::parse(body) else {
            self.depay.lost();
            return 0;
        };
        if packet.payload_type() != self.payload_type {
            return 0;
        }
        let sequence = packet.sequence_number();
        if self.next_sequence.is_some_and(|expected| expected != sequence) {
            self.depay.lost();
        }
        self.next_sequence = Some(sequence.wrapping_add(1));
        self.depay.push(packet.timestamp(), packet.marker_bit(), packet.payload(), units)
    }
}
