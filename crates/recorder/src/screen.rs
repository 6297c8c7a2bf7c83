//! Records one display: looks when something changed, at most so many times a second, and at fixed moments even if nothing did, so
//! that there is always a recent key frame. What the X server does not answer for is not recorded: no picture is ever repeated in its
//! place, and a display that comes back is recorded again. Runs on a thread of its own, since the X connection blocks.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;
use vitascope_media::encoder::{VideoEncoder, VideoFeed, VideoPlan};
use vitascope_model::error::Context;
use vitascope_model::{Clock, Error, Result, Span, WallTime};

use crate::config::Config;
use crate::eye::{Eye, Wanted};
use crate::fit::size_within;
use crate::health::{Health, Part};
use crate::picture::{Canvas, Pointer};
use crate::x11;

/// A key frame each so often; with one picture's time to spare this keeps them within 4 s.
pub(crate) const KEY_EVERY: Span = Span::millis(3_800);
/// A display that is gone is looked for so often.
const LOOK_FOR_IT_EVERY: Span = Span::millis(500);
/// An X server that does not answer for so long is told of.
const ANSWER_WITHIN: Span = Span::seconds(3);
/// How long the last picture may wait for an X server.
const LAST_WITHIN: Span = Span::millis(300);

/// A display that is being recorded. Dropping it stops the recording after one last picture.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Closing it wakes the thread.
    _stop: UnixStream,
    /// How the recording ended.
    pub end: oneshot::Receiver<Result<()>>,
}

/// How large a picture of a display is.
pub(crate) fn picture_size(config: &Config, display: (i32, i32)) -> (u32, u32) {
    let most = config.max_size.map_or(display, |most| (most.width, most.height));
    let (width, height) = size_within(display, most);
    (width as u32, height as u32)
}

pub(crate) fn plan(config: &Config, (width, height): (u32, u32)) -> VideoPlan {
    let (crf, max_kbps) = (config.quality.crf(), config.quality.max_kbps());
    VideoPlan { width, height, fps: config.fps, crf, max_kbps, key_every: KEY_EVERY }
}

/// Begins to record what `eye` sees. While `paused` is set the picture stands still.
pub(crate) fn start<C: Clock>(
    eye: Eye,
    plan: &VideoPlan,
    paused: Arc<AtomicBool>,
    clock: Arc<C>,
    health: Arc<Health>,
) -> Result<(Screen, vitascope_media::encoder::Output)> {
    let encoder = VideoEncoder::start(plan)?;
    let (stop, stopped) = UnixStream::pair().internal("make a socket pair")?;
    let (tell_end, end) = oneshot::channel();
    let mut recording = Recording {
        canvas: Canvas::new(plan.width as usize, plan.height as usize, eye.size()),
        drawn: Pointer::default(),
        feed: encoder.feed,
        stopped,
        frame: Span(1_000_000 / i64::from(plan.fps.max(1))),
        due: Due { next: clock.now(), fixed: None },
        paused,
        clock,
        health,
        seen: false,
    };
    let work = move || {
        // Nobody listens any more when the session is gone.
        tell_end.send(recording.run(eye)).ok();
    };
    std::thread::Builder::new().name("screen".to_owned()).spawn(work).internal("start a thread")?;
    Ok((Screen { _stop: stop, end }, encoder.output))
}

struct Recording<C> {
    canvas: Canvas,
    drawn: Pointer,
    feed: VideoFeed,
    stopped: UnixStream,
    /// The least distance of two pictures.
    frame: Span,
    due: Due,
    paused: Arc<AtomicBool>,
    clock: Arc<C>,
    health: Arc<Health>,
    /// Something of the display since it was last lost.
    seen: bool,
}

impl<C: Clock> Recording<C> {
    /// Until the recording shall stop, over as many losses of the display as there are.
    fn run(&mut self, mut eye: Eye) -> Result<()> {
        loop {
            let wanted = eye.wanted();
            let Err(error) = self.record(&mut eye) else {
                tracing::info!(dropped = self.feed.dropped(), "display stopped");
                return Ok(());
            };
            drop(eye);
            self.lose(&error);
            match self.find_again(&wanted)? {
                Some(found) => eye = found,
                None => return Ok(()),
            }
        }
    }

    /// One black picture ends what was seen: without it the last sight would last until the display is back.
    fn lose(&mut self, error: &Error) {
        self.health.ill(Part::Device, error.to_string());
        if std::mem::take(&mut self.seen) {
            self.canvas.blacken();
            self.hand_on(self.clock.now());
        }
    }

    /// None if the recording shall stop.
    fn find_again(&self, wanted: &Wanted) -> Result<Option<Eye>> {
        while !self.wait(None, LOOK_FOR_IT_EVERY)?.stopped {
            match Eye::open(wanted.clone()) {
                Ok(eye) => return Ok(Some(eye)),
                Err(error) => tracing::debug!("the display is not back: {error}"),
            }
        }
        Ok(None)
    }

    /// Ends with an error if the display is lost, without one if the recording shall stop.
    fn record(&mut self, eye: &mut Eye) -> Result<()> {
        self.show(eye);
        // A picture that the encoder had no time for, or that was missed in a pause, is owed. So is the first.
        let mut owed = true;
        // When the first of the changes that are not yet recorded was seen.
        let mut since = None;
        loop {
            let mut changed = eye.note()? || owed;
            let mut now = self.clock.now();
            if changed {
                since.get_or_insert(now);
            }
            let still = self.paused.load(Ordering::Relaxed);
            if now >= self.due.next {
                let asked = eye.ask()?;
                if !self.answers(eye.wakes())? {
                    return Ok(());
                }
                let answer = asked.reply().map_err(x11::lost)?;
                if self.seen {
                    self.health.well(Part::Device, "the display is recorded again");
                }
                now = self.clock.now();
                changed |= eye.look_at_pointer(&answer, &self.drawn)?;
                changed |= eye.look_at_windows(now)?;
                if !still && eye.look_at_layout(now)? {
                    self.show(eye);
                    (owed, changed) = (true, true);
                }
            }
            let fixed = self.due.fixed.is_some_and(|fixed| now >= fixed);
            if fixed || changed && !still && now >= self.due.next {
                let everything = std::mem::replace(&mut owed, still);
                let drew = !still && eye.refresh(&mut self.canvas, &mut self.drawn, everything, now)?;
                let at = self.time_of_picture(now, since.take().filter(|_| !fixed));
                if drew || fixed || everything {
                    self.seen |= drew;
                    owed |= !self.hand_on(at);
                    self.due.after(at, now, self.frame);
                }
                changed = owed && !still;
            }
            let until = match self.due.fixed {
                _ if changed && !still => self.due.next,
                fixed => fixed.unwrap_or(now + self.frame).min(now + self.frame),
            };
            if self.wait(Some(eye.wakes()), until - now)?.stopped {
                return self.last(eye);
            }
        }
    }

    fn show(&mut self, eye: &Eye) {
        self.canvas.show(eye.size());
        self.drawn = Pointer::default();
    }

    /// What changed while it was not yet time for a picture changed half that time ago on average. `now` was before the look.
    fn time_of_picture(&self, now: WallTime, since: Option<WallTime>) -> WallTime {
        let after = self.clock.now();
        let waited = since.map_or(Span::ZERO, |since| now - since);
        // An X server that took its time showed what it had at the end of it.
        if after - now > self.frame { after } else { now - Span(waited.0 / 2).min(self.frame) }
    }

    /// The picture as it is when the recording stops, so that it lasts until then.
    fn last(&mut self, eye: &mut Eye) -> Result<()> {
        let asked = eye.ask()?;
        if readable([Some(eye.wakes())], LAST_WITHIN)? == [false] {
            return Ok(());
        }
        asked.reply().map_err(x11::lost)?;
        let now = self.clock.now();
        if !self.paused.load(Ordering::Relaxed) {
            eye.refresh(&mut self.canvas, &mut self.drawn, false, now)?;
        }
        let mut picture = self.feed.buffer();
        picture.copy_from_slice(&self.canvas.planes);
        self.feed.picture_blocking(picture, now);
        Ok(())
    }

    fn hand_on(&mut self, at: WallTime) -> bool {
        let mut picture = self.feed.buffer();
        picture.copy_from_slice(&self.canvas.planes);
        self.feed.picture(picture, at)
    }

    /// Waits, for as long as it takes, until the X server answers. False if the recording shall stop.
    fn answers(&self, answer: BorrowedFd<'_>) -> Result<bool> {
        loop {
            let woken = self.wait(Some(answer), ANSWER_WITHIN)?;
            if woken.answered {
                return Ok(true);
            }
            if woken.stopped {
                return Ok(readable([Some(answer)], LAST_WITHIN)? == [true]);
            }
            self.health.ill(Part::Device, "the X server does not answer");
        }
    }

    fn wait(&self, eye: Option<BorrowedFd<'_>>, time: Span) -> Result<Woken> {
        let ready = readable([Some(self.stopped.as_fd()), eye], time)?;
        Ok(Woken { stopped: ready[0], answered: ready[1] })
    }
}

/// What ended a wait; neither, if it was the time.
struct Woken {
    stopped: bool,
    answered: bool,
}

/// Which of them can be read, as soon as one can, or when the time is over.
fn readable<const N: usize>(fds: [Option<BorrowedFd<'_>>; N], time: Span) -> Result<[bool; N]> {
    let time = time.to_duration();
    let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(Error::internal("wait for the screen").because(error)),
    }
    let mut polled = polled.into_iter();
    Ok(fds.map(|fd| fd.is_some() && polled.next().is_some_and(|p| !p.revents().is_empty())))
}

/// Beyond the millisecond to which the encoder rounds, so that a picture of a fixed moment is the key frame of its stretch.
const SLACK: Span = Span::millis(2);

/// When to look again.
struct Due {
    /// Not before this.
    next: WallTime,
    /// In any case then, once there was a first picture: the encoder counts from that one.
    fixed: Option<WallTime>,
}

impl Due {
    /// A picture with the time `at` was taken.
    fn after(&mut self, at: WallTime, now: WallTime, frame: Span) {
        self.next = now + frame;
        let fixed = self.fixed.get_or_insert(at + KEY_EVERY + SLACK);
        while *fixed <= now {
            *fixed += KEY_EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_moments_stay_on_their_grid() {
        let mut due = Due { next: WallTime(0), fixed: None };
        let mut after = |now: i64| {
            due.after(WallTime(now), WallTime(now), Span::millis(66));
            (due.next.0, due.fixed.map(|at| at.0))
        };
        assert_eq!(after(10_000), (76_000, Some(3_812_000)));
        assert_eq!(after(3_790_000), (3_856_000, Some(3_812_000)));
        assert_eq!(after(3_813_000).1, Some(7_612_000));
        assert_eq!(after(20_000_000).1, Some(22_812_000), "after a sleep there is no burst");
    }
}
