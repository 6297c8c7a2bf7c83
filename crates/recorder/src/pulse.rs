//! PulseAudio (or PipeWire speaking its protocol) as a source of sound: which sources it has, and the samples of one of them with
//! the time at which they were in the air. Blocking, on a thread of its own for each source; `sound` makes one timeline of it.

use std::ffi::CString;
use std::io::{BufReader, Cursor, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelMap, Command, CommandReply, CreateRecordStreamReply, LatencyParams, Prop,
    Props, RecordLatency, RecordStreamParams, SampleFormat, SampleSpec, ServerInfo, SetClientNameReply, SourceInfo,
    TagStructReader,
};
use tokio::sync::mpsc;
use vitascope_media::encoder::RATE;
use vitascope_model::error::Context;
use vitascope_model::{Clock, Error, Result, Span, WallTime};

use crate::config::Config;

/// Two channels of 16 bits.
pub(crate) const PAIR: usize = 4;
/// How much sound comes at a time: 20 ms.
const FRAGMENT: u32 = RATE / 50 * PAIR as u32;
/// A server that does not answer in this time is taken for none.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the delay is asked for.
const ASK_EVERY: Span = Span::seconds(1);
/// A longer silence than this is the end of a stretch of sound.
const GAP: Span = Span::millis(300);
/// What may be believed of a delay.
const MOST_DELAY: Span = Span::seconds(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub id: String,
    pub description: String,
    /// It hears what a sink plays.
    pub monitor: bool,
    pub default: bool,
}

/// Sound as it came: whole sample pairs of s16 48 kHz stereo, the first of which was in the air at `captured`.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub pcm: Bytes,
    pub captured: WallTime,
}

/// A source that is being heard; dropping it ends that.
#[derive(Debug)]
pub(crate) struct Hearing {
    pub source: String,
    socket: UnixStream,
    pub pieces: mpsc::UnboundedReceiver<Piece>,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        // Wakes the thread, which then ends; a socket that is shut already needs no waking.
        self.socket.shutdown(Shutdown::Both).ok();
    }
}

/// A connection, past its greeting.
struct Server {
    reader: BufReader<UnixStream>,
    version: u16,
    sequence: u32,
}

/// The sources there are; default ones first of their kind.
pub(crate) fn sources(config: &Config) -> Result<Vec<Source>> {
    let mut server = Server::connect(config)?;
    let about: ServerInfo = server.ask(Command::GetServerInfo)?;
    let found: Vec<SourceInfo> = server.ask(Command::GetSourceInfoList)?;
    let mut sources: Vec<Source> = found
        .into_iter()
        .map(|s| {
            let default = match &s.monitor_of_sink_name {
                Some(sink) => about.default_sink_name.as_ref() == Some(sink),
                None => about.default_source_name.as_ref() == Some(&s.name),
            };
            let id = s.name.to_string_lossy().into_owned();
            let description = s.description.map_or_else(|| id.clone(), |d| d.to_string_lossy().into_owned());
            Source { id, description, monitor: s.monitor_of_sink_index.is_some(), default }
        })
        .collect();
    sources.sort_by_key(|s| !s.default);
    Ok(sources)
}

/// Begins to hear `source`.
pub(crate) fn hear<C: Clock>(config: &Config, source: &str, clock: Arc<C>) -> Result<Hearing> {
    let mut server = Server::connect(config)?;
    let spec = SampleSpec { format: SampleFormat::S16Le, channels: 2, sample_rate: RATE };
    let mut params = RecordStreamParams {
        sample_spec: spec,
        channel_map: ChannelMap::stereo(),
        source_name: Some(CString::new(source).invalid("the name of a source")?),
        ..RecordStreamParams::default()
    };
    params.buffer_attr.fragment_size = FRAGMENT;
    params.flags.adjust_latency = true;
    // A stream whose source goes away would be moved to any other, and the microphone's channel would hear the loudspeakers.
    params.flags.no_move = true;
    params.props.set(Prop::MediaName, c"desktop recording");
    let stream: CreateRecordStreamReply = server.ask(Command::CreateRecordStream(params))?;
    let socket = server.reader.get_ref().try_clone().internal("clone a socket")?;
    // A source may be silent for as long as it likes (suspended); only the greeting had to be quick.
    socket.set_read_timeout(None).internal("set a timeout")?;
    let (send, pieces) = mpsc::unbounded_channel();
    let (source, of) = (source.to_owned(), source.to_owned());
    let work = move || match server.listen(stream.channel, &*clock, &send) {
        Ok(()) => tracing::info!(source, "no longer heard"),
        Err(error) => tracing::info!(source, "no longer heard: {error}"),
    };
    std::thread::Builder::new().name("sound".to_owned()).spawn(work).internal("start a thread")?;
    Ok(Hearing { source: of, socket, pieces })
}

impl Server {
    fn connect(config: &Config) -> Result<Server> {
        let socket = config.pulse_sockets.iter().find_map(|path| UnixStream::connect(path).ok());
        let socket =
            socket.ok_or_else(|| Error::unavailable("there is no PulseAudio (or PipeWire) to hear sound from"))?;
        // The kernel then says with each message who we are: without a cookie that is how the server knows us, and it may read
        // our first message before it has asked the kernel for that itself.
        rustix::net::sockopt::set_socket_passcred(&socket, true).internal("pass credentials")?;
        socket.set_read_timeout(Some(PATIENCE)).internal("set a timeout")?;
        socket.set_write_timeout(Some(PATIENCE)).internal("set a timeout")?;
        let cookie = config.pulse_cookies.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
        let mut server = Server { reader: BufReader::new(socket), version: protocol::MAX_VERSION, sequence: 0 };
        let auth = AuthParams { version: server.version, supports_shm: false, supports_memfd: false, cookie };
        let reply: AuthReply = server.ask(Command::Auth(auth))?;
        server.version = server.version.min(reply.version);
        let mut props = Props::new();
        props.set(Prop::ApplicationName, c"vitascope-capture");
        let _: SetClientNameReply = server.ask(Command::SetClientName(props))?;
        Ok(server)
    }

    fn send(&mut self, command: &Command) -> Result<u32> {
        self.sequence += 1;
        protocol::write_command_message(self.reader.get_mut(), self.sequence, command, self.version)
            .map_err(|e| Error::unavailable("PulseAudio cannot be written to").because(e))?;
        Ok(self.sequence)
    }

    /// For the time before sound flows: then an answer is the next thing that comes.
    fn ask<R: CommandReply>(&mut self, command: Command) -> Result<R> {
        let sequence = self.send(&command)?;
        let (answered, reply) = protocol::read_reply_message(&mut self.reader, self.version)
            .map_err(|e| Error::unavailable("PulseAudio does not answer as it should").because(e))?;
        if answered != sequence {
            return Err(Error::unavailable("PulseAudio answers something else"));
        }
        Ok(reply)
    }

    /// Until the connection ends or nobody wants the sound any more.
    fn listen(&mut self, channel: u32, clock: &impl Clock, pieces: &mpsc::UnboundedSender<Piece>) -> Result<()> {
        let (mut delay, mut asked, mut asked_at) = (None, 0, WallTime(0));
        let mut last = WallTime(0);
        let mut early: Vec<(Vec<u8>, WallTime)> = Vec::new();
        loop {
            let (from, body) = self.message()?;
            let now = clock.now();
            if from != channel {
                delay = self.delay_told(&body, asked, channel)?.or(delay);
            } else {
                // After a silence the delay may be another: a sink that nobody heard has played seconds ahead.
                if now - last > GAP {
                    delay = None;
                    asked_at = WallTime(0);
                }
                last = now;
                early.push((body, now));
            }
            if now - asked_at > ASK_EVERY {
                let local = std::time::UNIX_EPOCH + (now - WallTime(0)).to_duration();
                asked = self.send(&Command::GetRecordLatency(LatencyParams { channel, now: local }))?;
                asked_at = now;
            }
            let Some(delay) = delay else { continue };
            for (pcm, arrived) in early.drain(..) {
                let length = Span::of_ticks((pcm.len() / PAIR) as i64, RATE);
                if pieces.send(Piece { pcm: pcm.into(), captured: arrived - length - delay }).is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// The next message: the channel that it is from, and its body.
    fn message(&mut self) -> Result<(u32, Vec<u8>)> {
        let head = protocol::read_descriptor(&mut self.reader).internal("read from PulseAudio")?;
        if head.length as usize > protocol::MAX_MEMBLOCKQ_LENGTH {
            return Err(Error::internal("PulseAudio sends too much at once"));
        }
        let mut body = vec![0; head.length as usize];
        self.reader.read_exact(&mut body).internal("read from PulseAudio")?;
        Ok((head.channel, body))
    }

    /// The delay, if `body` is the answer to the question for it.
    fn delay_told(&self, body: &[u8], asked: u32, channel: u32) -> Result<Option<Span>> {
        let mut cursor = Cursor::new(body);
        let Ok((sequence, command)) = Command::read_tag_prefixed(&mut cursor, self.version) else { return Ok(None) };
        match command {
            Command::RecordStreamKilled(killed) if killed == channel => Err(Error::unavailable("the source is gone")),
            Command::Reply if sequence == asked => {
                let latency: RecordLatency =
                    TagStructReader::new(&mut cursor, self.version).read().internal("read a latency")?;
                tracing::debug!(?latency, "latency");
                // A monitor hands out sound before it is heard: that much it is early.
                let delay = latency.source_usec as i64 - latency.sink_usec as i64;
                Ok(Some(Span(delay.clamp(-MOST_DELAY.0, MOST_DELAY.0))))
            }
            _ => Ok(None),
        }
    }
}
