//! Watches one display: what changed on it since the last look, and its pixels, through shared memory where the server gives it,
//! without the windows that nobody shall see. One blocking connection for each watched display.
//! When to look and what to do with it is decided in `screen`.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vitascope_model::error::Context;
use vitascope_model::{Error, Result, Span, WallTime};
use x11rb::connection::Connection;
use x11rb::cookie::Cookie;
use x11rb::errors::ReplyError;
use x11rb::protocol::damage::ConnectionExt as _;
use x11rb::protocol::shm::ConnectionExt as _;
use x11rb::protocol::xfixes::ConnectionExt as _;
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, QueryPointerReply, Window};
use x11rb::protocol::{ErrorKind, Event};
use x11rb::rust_connection::RustConnection;

use crate::picture::{Area, Canvas, Pointer, black_out};
use crate::windows::{Hidden, Pattern};
use crate::x11::{self, Damage, Display, Shared, WHOLE, gone, lost};

/// Monitors are asked for so often, though most servers tell when they change.
const LAYOUT_EVERY: Span = Span::seconds(1);
/// A window can become one to hide by a new title, with nothing else happening.
const WINDOWS_EVERY: Span = Span::millis(250);

/// Which display to watch.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The X display, as in `:0`.
    pub display: String,
    /// Counts from 1, as in `display:1`.
    pub number: usize,
    /// Once it is known: a display keeps its name when others come and go.
    pub name: Option<String>,
    pub hidden: Arc<[Pattern]>,
}

impl Wanted {
    fn find(&self, displays: Vec<Display>) -> Result<Display> {
        let nth = self.number.checked_sub(1);
        let no_monitors = displays.first().is_some_and(|d| d.name == WHOLE);
        let found = match &self.name {
            Some(name) if name != WHOLE && !no_monitors => displays.into_iter().find(|d| d.name == *name),
            _ => nth.and_then(|n| displays.into_iter().nth(n)),
        };
        found.ok_or_else(|| match &self.name {
            Some(name) => Error::unavailable(format!("the display {name} is not connected")),
            None => Error::not_found(format!("display:{}", self.number)),
        })
    }
}

/// One display, being watched.
#[derive(Debug)]
pub(crate) struct Eye {
    connection: RustConnection,
    root: Window,
    wanted: Wanted,
    /// Of the display on the X screen.
    area: Area,
    damage: Option<Damage>,
    shared: Option<Shared>,
    /// Pixels on their way.
    buffer: Vec<u8>,
    changed: bool,
    pointer: Option<Pointer>,
    pointer_changed: bool,
    layout_changed: bool,
    layout_seen: WallTime,
    windows: Hidden,
    windows_seen: WallTime,
    /// What is painted black in the picture, on the X screen.
    hidden: Vec<Area>,
}

impl Eye {
    pub(crate) fn open(wanted: Wanted) -> Result<Eye> {
        let (connection, screen) = x11::connect(&wanted.display)?;
        x11::check_pixels(&connection, &screen)?;
        let root = screen.root;
        x11::watch_layout(&connection, root).map_err(lost)?;
        let found = wanted.find(x11::monitors(&connection, root)?)?;
        let damage = x11::watch_damage(&connection, root).unwrap_or_default();
        let windows = Hidden::new(&connection, root, wanted.hidden.clone()).map_err(lost)?;
        let area = found.area;
        let shared = x11::share_memory(&connection, area).unwrap_or_default();
        tracing::info!(
            name = found.name,
            ?area,
            damage = damage.is_some(),
            shared = shared.is_some(),
            "watching a display"
        );
        let pointer = damage.is_some().then(Pointer::default);
        Ok(Eye {
            connection,
            root,
            wanted: Wanted { name: Some(wanted.name.unwrap_or(found.name)), ..wanted },
            area,
            damage,
            shared,
            buffer: Vec::new(),
            changed: true,
            pointer,
            pointer_changed: true,
            layout_changed: false,
            layout_seen: WallTime(0),
            windows,
            windows_seen: WallTime(0),
            hidden: Vec::new(),
        })
    }

    /// To find the display again when this eye has lost it.
    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (i32, i32) {
        (self.area.width, self.area.height)
    }

    /// Readable when there may be something to `note`, or the answer to a question.
    pub(crate) fn wakes(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }

    /// Reads what the server has said so far, without waiting, and tells whether the display may look different now.
    pub(crate) fn note(&mut self) -> Result<bool> {
        self.changed |= self.damage.is_none();
        while let Some(event) = self.connection.poll_for_event().map_err(gone)? {
            match event {
                Event::DamageNotify(_) => self.changed = true,
                Event::XfixesCursorNotify(_) => self.pointer_changed = true,
                Event::RandrNotify(_) | Event::RandrScreenChangeNotify(_) => self.layout_changed = true,
                Event::ConfigureNotify(event) if event.window == self.root => self.layout_changed = true,
                _ => {}
            }
        }
        Ok(self.changed || self.pointer_changed || self.layout_changed)
    }

    /// Asks where the pointer is: the question that also tells whether the server answers. It has when `wakes` is readable.
    pub(crate) fn ask(&self) -> Result<Cookie<'_, RustConnection, QueryPointerReply>> {
        let asked = self.connection.query_pointer(self.root).map_err(gone)?;
        self.connection.flush().map_err(gone)?;
        Ok(asked)
    }

    /// Takes the answer to `ask`; true if the pointer moved or looks different.
    pub(crate) fn look_at_pointer(&mut self, at: &QueryPointerReply, drawn: &Pointer) -> Result<bool> {
        let Some(pointer) = &mut self.pointer else { return Ok(false) };
        if std::mem::take(&mut self.pointer_changed) {
            let image = self.connection.xfixes_get_cursor_image().map_err(gone)?.reply().map_err(lost)?;
            let (x, y) = (i32::from(image.x) - i32::from(image.xhot), i32::from(image.y) - i32::from(image.yhot));
            pointer.area = Area::new(x - self.area.x, y - self.area.y, image.width.into(), image.height.into());
            pointer.pixels = image.cursor_image;
            pointer.hot = (image.xhot.into(), image.yhot.into());
            return Ok(true);
        }
        pointer.area.x = i32::from(at.root_x) - pointer.hot.0 - self.area.x;
        pointer.area.y = i32::from(at.root_y) - pointer.hot.1 - self.area.y;
        let everything = Area::new(0, 0, self.area.width, self.area.height);
        let visible = !pointer.area.intersect(everything).is_empty() || !drawn.area.intersect(everything).is_empty();
        Ok(pointer.area != drawn.area && visible)
    }

    /// Looks whether the display is still where it was and as large; true if not. An error if it is no longer there.
    pub(crate) fn look_at_layout(&mut self, now: WallTime) -> Result<bool> {
        if !std::mem::take(&mut self.layout_changed) && now - self.layout_seen < LAYOUT_EVERY {
            return Ok(false);
        }
        self.layout_seen = now;
        let area = self.wanted.find(x11::monitors(&self.connection, self.root)?)?.area;
        if area == self.area {
            return Ok(false);
        }
        tracing::warn!(name = self.wanted.name, before = ?self.area, ?area, "the display has changed");
        if let Some(Shared { segment, .. }) = self.shared.take() {
            self.connection.shm_detach(segment).map_err(gone)?.ignore_error();
            self.shared = x11::share_memory(&self.connection, area).unwrap_or_default();
        }
        self.area = area;
        self.pointer_changed = true;
        Ok(true)
    }

    /// Looks whether there is something new to hide, or no longer. Then the display counts as changed.
    pub(crate) fn look_at_windows(&mut self, now: WallTime) -> Result<bool> {
        if !self.windows.is_idle() && now - self.windows_seen >= WINDOWS_EVERY {
            self.windows_seen = now;
            self.changed |= self.windows.look(&self.connection, now).map_err(lost)? != self.hidden;
        }
        Ok(self.changed)
    }

    /// Brings `canvas` up to date; `drawn` is the pointer that lies on it and becomes the one that lies on it then.
    /// False if nothing within the display had changed.
    pub(crate) fn refresh(
        &mut self,
        canvas: &mut Canvas,
        drawn: &mut Pointer,
        everything: bool,
        now: WallTime,
    ) -> Result<bool> {
        if self.windows.is_idle() {
            return self.refresh_now(canvas, drawn, everything);
        }
        // While the server is ours alone, no window can appear or move between the look for windows and the look at pixels.
        self.connection.grab_server().map_err(gone)?.ignore_error();
        let hidden = self.windows.look(&self.connection, now).map_err(lost)?;
        let before = std::mem::replace(&mut self.hidden, hidden);
        let done = self.refresh_now(canvas, drawn, everything || before != self.hidden);
        self.connection.ungrab_server().map_err(gone)?.ignore_error();
        self.connection.flush().map_err(gone)?;
        done
    }

    fn refresh_now(&mut self, canvas: &mut Canvas, drawn: &mut Pointer, everything: bool) -> Result<bool> {
        let display = Area::new(0, 0, self.area.width, self.area.height);
        let mut areas = vec![if everything { display } else { Area::default() }];
        if std::mem::take(&mut self.changed) {
            let damaged = self.take_damage()?;
            areas[0] = areas[0].union(damaged);
        }
        let pointer = self.pointer.clone().unwrap_or_default();
        if pointer.area != drawn.area || pointer.pixels != drawn.pixels {
            areas.extend([drawn.area, pointer.area]);
        }
        let mut drew = false;
        for area in areas {
            let place = canvas.fit.place_of(area.intersect(display));
            if place.is_empty() {
                continue;
            }
            let area = canvas.fit.needed(place);
            if !self.fetch(area)? {
                // The screen is no longer what it was: the next look tells what it is.
                self.layout_changed = true;
                continue;
            }
            for hidden in &self.hidden {
                let hidden = Area::new(hidden.x - self.area.x, hidden.y - self.area.y, hidden.width, hidden.height);
                black_out(hidden, area, &mut self.buffer);
            }
            pointer.blend(area, &mut self.buffer);
            canvas.take(place, &self.buffer);
            drew = true;
        }
        *drawn = pointer;
        Ok(drew)
    }

    /// What changed since the last time, on the display.
    fn take_damage(&self) -> Result<Area> {
        let Some((damage, region)) = self.damage else {
            return Ok(Area::new(0, 0, self.area.width, self.area.height));
        };
        self.connection.damage_subtract(damage, x11rb::NONE, region).map_err(gone)?;
        let extents = self.connection.xfixes_fetch_region(region).map_err(gone)?.reply().map_err(lost)?.extents;
        let (x, y) = (i32::from(extents.x) - self.area.x, i32::from(extents.y) - self.area.y);
        Ok(Area::new(x, y, extents.width.into(), extents.height.into()))
    }

    /// The pixels of `area` of the display into `buffer`; false if the screen does not have that area.
    fn fetch(&mut self, area: Area) -> Result<bool> {
        let (x, y) = ((self.area.x + area.x) as i16, (self.area.y + area.y) as i16);
        let (width, height) = (area.width as u16, area.height as u16);
        let length = usize::from(width) * usize::from(height) * 4;
        let format = ImageFormat::Z_PIXMAP;
        if let Some(Shared { segment, memory }) = &self.shared {
            let image = self.connection.shm_get_image(self.root, x, y, width, height, !0, format.into(), *segment, 0);
            if there(image.map_err(gone)?.reply())?.is_none() {
                return Ok(false);
            }
            self.buffer.resize(length, 0);
            memory.read_exact_at(&mut self.buffer, 0).internal("read the screen's shared memory")?;
            return Ok(true);
        }
        let image = self.connection.get_image(format, self.root, x, y, width, height, !0).map_err(gone)?;
        let Some(image) = there(image.reply())? else { return Ok(false) };
        self.buffer = image.data;
        self.buffer.resize(length, 0);
        Ok(true)
    }
}

/// None if what was asked for lies outside the screen.
fn there<T>(reply: Result<T, ReplyError>) -> Result<Option<T>> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(ReplyError::X11Error(error)) if error.error_kind == ErrorKind::Match => Ok(None),
        Err(error) => Err(lost(error)),
    }
}
