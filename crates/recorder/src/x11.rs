//! The X server as a source of pixels: which displays it has, what changed on one of them since the last look, and the pixels
//! themselves, through shared memory where the server gives it. One blocking connection for each captured display.
//! When to look and what to do with it is decided in `screen`.

use std::fs::File;
use std::os::unix::fs::FileExt;

use vitascope_model::error::Context;
use vitascope_model::{Error, Result};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::damage::{self, ConnectionExt as _, ReportLevel};
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, ImageOrder, Screen, Window};
use x11rb::protocol::{ErrorKind, Event};
use x11rb::rust_connection::RustConnection;

use crate::picture::{Area, Canvas, Pointer};

/// A display to record: a monitor, or the whole screen where monitors are unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Display {
    pub name: String,
    pub primary: bool,
    /// On the X screen.
    pub area: Area,
}

fn connect(display: &str) -> Result<(RustConnection, usize)> {
    RustConnection::connect(Some(display))
        .map_err(|e| Error::unavailable(format!("the X display {display} cannot be reached")).because(e))
}

/// The primary display first.
pub(crate) fn displays(display: &str) -> Result<Vec<Display>> {
    let (connection, screen) = connect(display)?;
    monitors(&connection, &connection.setup().roots[screen])
}

fn monitors(connection: &RustConnection, screen: &Screen) -> Result<Vec<Display>> {
    let whole = Area::new(0, 0, screen.width_in_pixels.into(), screen.height_in_pixels.into());
    let found = monitors_by_randr(connection, screen.root).unwrap_or_default();
    let mut displays: Vec<Display> = found.into_iter().filter(|d| !d.area.intersect(whole).is_empty()).collect();
    displays.sort_by_key(|d| !d.primary);
    if displays.is_empty() {
        displays.push(Display { name: "Screen".to_owned(), primary: true, area: whole });
    }
    Ok(displays)
}

fn monitors_by_randr(connection: &RustConnection, root: Window) -> Result<Vec<Display>, ReplyError> {
    let has = connection.extension_information(x11rb::protocol::randr::X11_EXTENSION_NAME)?.is_some();
    if !has || connection.randr_query_version(1, 5)?.reply()?.minor_version < 5 {
        return Ok(Vec::new());
    }
    let monitors = connection.randr_get_monitors(root, true)?.reply()?.monitors;
    monitors
        .into_iter()
        .map(|m| {
            let name = connection.get_atom_name(m.name)?.reply()?.name;
            let area = Area::new(m.x.into(), m.y.into(), m.width.into(), m.height.into());
            Ok(Display { name: String::from_utf8_lossy(&name).into_owned(), primary: m.primary, area })
        })
        .collect()
}

/// One display, being watched.
#[derive(Debug)]
pub(crate) struct Watch {
    connection: RustConnection,
    root: Window,
    /// Of the display on the X screen, cut to even sizes.
    area: Area,
    /// Of the display, what the X screen still has: a screen can shrink while it is watched.
    visible: Area,
    /// What changed, if the server can tell: the object that collects it and the region to take it over.
    damage: Option<(damage::Damage, xfixes::Region)>,
    shared: Option<Shared>,
    /// Pixels on their way.
    buffer: Vec<u8>,
    changed: bool,
    pointer: Option<Pointer>,
    pointer_changed: bool,
}

#[derive(Debug)]
struct Shared {
    segment: shm::Seg,
    memory: File,
}

impl Watch {
    /// `number` counts from 1, as in `display:1`.
    pub(crate) fn open(display: &str, number: usize) -> Result<Watch> {
        let (connection, screen) = connect(display)?;
        let screen = connection.setup().roots[screen].clone();
        check_pixels(&connection, &screen)?;
        let found = monitors(&connection, &screen)?;
        let found = number.checked_sub(1).and_then(|n| found.get(n));
        let area = found.ok_or_else(|| Error::not_found(format!("display:{number}")))?.area;
        let area = Area { width: area.width & !1, height: area.height & !1, ..area };
        let root = screen.root;
        let damage = watch_damage(&connection, root).unwrap_or_default();
        let shared = share_memory(&connection, area).unwrap_or_default();
        let has_pointer = damage.is_some();
        tracing::info!(?area, damage = damage.is_some(), shared = shared.is_some(), "watching a display");
        Ok(Watch {
            connection,
            root,
            area,
            visible: Area::new(0, 0, area.width, area.height),
            damage,
            shared,
            buffer: Vec::new(),
            changed: true,
            pointer: has_pointer.then(Pointer::default),
            pointer_changed: true,
        })
    }

    /// Both even.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.area.width as u32, self.area.height as u32)
    }

    /// Readable when there may be something to `note`.
    pub(crate) fn wakes(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self.connection.stream())
    }

    /// Reads what the server has said so far, without waiting, and tells whether the display may look different now.
    pub(crate) fn note(&mut self) -> Result<bool> {
        self.changed |= self.damage.is_none();
        while let Some(event) = self.connection.poll_for_event().map_err(gone)? {
            match event {
                Event::DamageNotify(_) => self.changed = true,
                Event::XfixesCursorNotify(_) => self.pointer_changed = true,
                _ => {}
            }
        }
        Ok(self.changed || self.pointer_changed)
    }

    /// Where the pointer is now; true if it moved or looks different.
    pub(crate) fn look_at_pointer(&mut self, drawn: &Pointer) -> Result<bool> {
        let Some(pointer) = &mut self.pointer else { return Ok(false) };
        if std::mem::take(&mut self.pointer_changed) {
            let image = self.connection.xfixes_get_cursor_image().map_err(gone)?.reply().map_err(lost)?;
            let (x, y) = (i32::from(image.x) - i32::from(image.xhot), i32::from(image.y) - i32::from(image.yhot));
            pointer.area = Area::new(x - self.area.x, y - self.area.y, image.width.into(), image.height.into());
            pointer.pixels = image.cursor_image;
            pointer.hot = (image.xhot.into(), image.yhot.into());
            return Ok(true);
        }
        let at = self.connection.query_pointer(self.root).map_err(gone)?.reply().map_err(lost)?;
        pointer.area.x = i32::from(at.root_x) - pointer.hot.0 - self.area.x;
        pointer.area.y = i32::from(at.root_y) - pointer.hot.1 - self.area.y;
        let everything = Area::new(0, 0, self.area.width, self.area.height);
        let visible = !pointer.area.intersect(everything).is_empty() || !drawn.area.intersect(everything).is_empty();
        Ok(pointer.area != drawn.area && visible)
    }

    /// Brings `canvas` up to date; `drawn` is the pointer that lies on it and becomes the one that lies on it then.
    /// False if nothing within the display had changed.
    pub(crate) fn refresh(&mut self, canvas: &mut Canvas, drawn: &mut Pointer, everything: bool) -> Result<bool> {
        let mut areas = vec![if everything { canvas.area() } else { Area::default() }];
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
            let area = canvas.to_fetch(area.intersect(self.visible));
            if !area.is_empty() {
                if !self.fetch(area)? {
                    self.measure()?;
                    continue;
                }
                pointer.blend(area, &mut self.buffer);
                canvas.draw(area, &self.buffer);
                drew = true;
            }
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

    /// The screen is no longer what it was: what of the display is left of it.
    fn measure(&mut self) -> Result<()> {
        let screen = self.connection.get_geometry(self.root).map_err(gone)?.reply().map_err(lost)?;
        let (x, y) = (-self.area.x, -self.area.y);
        let display = Area::new(0, 0, self.area.width, self.area.height);
        self.visible = display.intersect(Area::new(x, y, screen.width.into(), screen.height.into()));
        tracing::warn!(visible = ?self.visible, "the screen has changed its size");
        Ok(())
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

/// What we know to read: 32 bits a pixel, blue first.
fn check_pixels(connection: &RustConnection, screen: &Screen) -> Result<()> {
    let setup = connection.setup();
    let bits = setup.pixmap_formats.iter().find(|f| f.depth == screen.root_depth).map(|f| f.bits_per_pixel);
    let visuals = screen.allowed_depths.iter().flat_map(|d| &d.visuals);
    let red = visuals.into_iter().find(|v| v.visual_id == screen.root_visual).map(|v| v.red_mask);
    if bits != Some(32) || red != Some(0xff_0000) || setup.image_byte_order != ImageOrder::LSB_FIRST {
        return Err(Error::unavailable(format!(
            "the X display has {} bits of colour in a form that is not supported (needed: 24)",
            screen.root_depth
        )));
    }
    Ok(())
}

/// None if the server cannot tell what changes: then everything is taken to have changed all the time.
fn watch_damage(
    connection: &RustConnection,
    root: Window,
) -> Result<Option<(damage::Damage, xfixes::Region)>, ReplyError> {
    for extension in [damage::X11_EXTENSION_NAME, xfixes::X11_EXTENSION_NAME] {
        if connection.extension_information(extension)?.is_none() {
            return Ok(None);
        }
    }
    connection.xfixes_query_version(5, 0)?.reply()?;
    connection.damage_query_version(1, 1)?.reply()?;
    let fresh = |e| match e {
        x11rb::errors::ReplyOrIdError::ConnectionError(e) => ReplyError::from(e),
        _ => ReplyError::from(ConnectionError::InsufficientMemory),
    };
    let damage = connection.generate_id().map_err(fresh)?;
    let region = connection.generate_id().map_err(fresh)?;
    connection.xfixes_create_region(region, &[])?.check()?;
    connection.damage_create(damage, root, ReportLevel::NON_EMPTY)?.check()?;
    connection.xfixes_select_cursor_input(root, xfixes::CursorNotifyMask::DISPLAY_CURSOR)?.check()?;
    Ok(Some((damage, region)))
}

/// Memory that the server makes and hands us as a file: read like a file, it needs no mapping. None for a server elsewhere.
fn share_memory(connection: &RustConnection, area: Area) -> Result<Option<Shared>, ReplyError> {
    if connection.extension_information(shm::X11_EXTENSION_NAME)?.is_none() {
        return Ok(None);
    }
    let version = connection.shm_query_version()?.reply()?;
    if (version.major_version, version.minor_version) < (1, 2) {
        return Ok(None);
    }
    let Ok(segment) = connection.generate_id() else { return Ok(None) };
    let size = area.width as u32 * area.height as u32 * 4;
    let reply = connection.shm_create_segment(segment, size, false)?.reply()?;
    let memory = File::from(reply.shm_fd);
    // A server whose memory cannot be read as a file is asked for pixels the old way.
    Ok(memory.read_exact_at(&mut [0; 4], 0).is_ok().then_some(Shared { segment, memory }))
}

/// None if what was asked for lies outside the screen.
fn there<T>(reply: Result<T, ReplyError>) -> Result<Option<T>> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(ReplyError::X11Error(error)) if error.error_kind == ErrorKind::Match => Ok(None),
        Err(error) => Err(lost(error)),
    }
}

fn gone(error: ConnectionError) -> Error {
    Error::unavailable("the X server is gone").because(error)
}

fn lost(error: ReplyError) -> Error {
    match error {
        ReplyError::ConnectionError(error) => gone(error),
        error => Error::internal("the X server refuses").because(error),
    }
}
