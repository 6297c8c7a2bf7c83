//! Records one display: looks when something changed, at most so many times a second, and at fixed moments even if nothing did, so
//! that there is always a recent key frame. Runs on a thread of its own, since the X connection blocks; encoding is elsewhere.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;
use vitascope_media::encoder::{VideoEncoder, VideoFeed, VideoPlan};
use vitascope_model::error::Context;
use vitascope_model::{Clock, Error, Result, Span, WallTime};

use crate::config::Config;
use crate::picture::{Canvas, Pointer};
use crate::x11::Watch;

/// A key frame each so often; with one picture's time to spare this keeps them within 4 s.
pub(crate) const KEY_EVERY: Span = Span::millis(3_800);

/// A display that is being recorded. Dropping it stops the recording after one last picture.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Closing it wakes the thread.
    _stop: UnixStream,
    /// How the recording ended.
    pub end: oneshot::Receiver<Result<()>>,
}

pub(crate) fn plan(config: &Config, (width, height): (u32, u32)) -> VideoPlan {
    VideoPlan { width, height, fps: config.fps, crf: config.crf, max_kbps: config.max_kbps, key_every: KEY_EVERY }
}

/// Begins to record what `watch` sees. While `paused` is set the picture stands still.
pub(crate) fn start<C: Clock>(
    watch: Watch,
    plan: &VideoPlan,
    paused: Arc<AtomicBool>,
    clock: Arc<C>,
) -> Result<(Screen, vitascope_media::encoder::Output)> {
    let encoder = VideoEncoder::start(plan)?;
    let (stop, stopped) = UnixStream::pair().internal("make a socket pair")?;
    let (tell, end) = oneshot::channel();
    let frame = Span(1_000_000 / i64::from(plan.fps.max(1)));
    let mut recording = Recording {
        canvas: Canvas::new(plan.width as usize, plan.height as usize),
        drawn: Pointer::default(),
        watch,
        feed: encoder.feed,
        stopped,
        frame,
    };
    let work = move || {
        // Nobody listens any more when the session is gone.
        tell.send(recording.run(&*clock, &paused)).ok();
    };
    std::thread::Builder::new().name("screen".to_owned()).spawn(work).internal("start a thread")?;
    Ok((Screen { _stop: stop, end }, encoder.output))
}

struct Recording {
    watch: Watch,
    canvas: Canvas,
    drawn: Pointer,
    feed: VideoFeed,
    stopped: UnixStream,
    /// The least distance of two pictures.
    frame: Span,
}

impl Recording {
    fn run(&mut self, clock: &impl Clock, paused: &AtomicBool) -> Result<()> {
        let first = clock.now();
        self.watch.refresh(&mut self.canvas, &mut self.drawn, true)?;
        self.hand_on(first);
        let mut due = Due { next: first + self.frame, fixed: first + KEY_EVERY + SLACK };
        // A picture that the encoder had no time for, or that was missed in a pause, is owed.
        let mut owed = false;
        // When the first of the changes that are not yet recorded was seen.
        let mut since = None;
        loop {
            let mut changed = self.watch.note()? || owed;
            let now = clock.now();
            if changed {
                since.get_or_insert(now);
            }
            if now >= due.next {
                changed |= self.watch.look_at_pointer(&self.drawn)?;
            }
            let still = paused.load(Ordering::Relaxed);
            let fixed = now >= due.fixed;
            if fixed || changed && !still && now >= due.next {
                let everything = std::mem::replace(&mut owed, still);
                let drew = !still && self.watch.refresh(&mut self.canvas, &mut self.drawn, everything && !still)?;
                // What changed while it was not yet time for a picture changed half that time ago on average. A longer wait was a
                // pause, or a suspension of this program, and this is the picture of now.
                let waited = (now - since.take().unwrap_or(now)).min(self.frame);
                let at = if fixed { now } else { now - Span(waited.0 / 2) };
                if drew || fixed || everything {
                    owed |= !self.hand_on(at);
                    due.after(now, self.frame);
                }
                changed = owed && !still;
            }
            let until = if changed && !still { due.next } else { due.fixed.min(now + self.frame) };
            if self.wait(until - now)? {
                return self.last(clock, paused);
            }
        }
    }

    /// The picture as it is when the recording stops, so that it lasts until then.
    fn last(&mut self, clock: &impl Clock, paused: &AtomicBool) -> Result<()> {
        let now = clock.now();
        if !paused.load(Ordering::Relaxed) {
            self.watch.refresh(&mut self.canvas, &mut self.drawn, false)?;
        }
        let mut picture = self.feed.buffer();
        picture.copy_from_slice(&self.canvas.planes);
        self.feed.picture_blocking(picture, now);
        tracing::info!(dropped = self.feed.dropped(), "display stopped");
        Ok(())
    }

    fn hand_on(&mut self, at: WallTime) -> bool {
        let mut picture = self.feed.buffer();
        picture.copy_from_slice(&self.canvas.planes);
        self.feed.picture(picture, at)
    }

    /// True if the recording shall stop.
    fn wait(&self, time: Span) -> Result<bool> {
        let time = time.to_duration();
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let wakes = self.watch.wakes();
        let mut fds = [PollFd::new(&wakes, PollFlags::IN), PollFd::new(&self.stopped, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::internal("wait for the screen").because(error)),
        }
        Ok(!fds[1].revents().is_empty())
    }
}

/// Beyond the millisecond to which the encoder rounds, so that a picture of a fixed moment is the key frame of its stretch.
const SLACK: Span = Span::millis(2);

/// When to look again.
struct Due {
    /// Not before this.
    next: WallTime,
    /// In any case then.
    fixed: WallTime,
}

impl Due {
    fn after(&mut self, now: WallTime, frame: Span) {
        self.next = now + frame;
        while self.fixed <= now {
            self.fixed += KEY_EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_moments_stay_on_their_grid() {
        let mut due = Due { next: WallTime(0), fixed: WallTime(0) + KEY_EVERY };
        due.after(WallTime(3_790_000), Span::millis(66));
        assert_eq!((due.next, due.fixed), (WallTime(3_856_000), WallTime(3_800_000)));
        due.after(WallTime(3_803_000), Span::millis(66));
        assert_eq!(due.fixed, WallTime(7_600_000));
        due.after(WallTime(20_000_000), Span::millis(66));
        assert_eq!(due.fixed, WallTime(22_800_000), "after a sleep there is no burst");
    }
}
