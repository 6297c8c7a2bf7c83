//! The X server as a source of pixels: which displays it has, and the setting up of what a watched display needs of it.
//! Watching itself is `eye`'s, finding windows to hide is `windows`'.

use std::fs::File;
use std::os::unix::fs::FileExt;

use vitascope_model::{Error, Result};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::damage::{self, ConnectionExt as _, ReportLevel};
use x11rb::protocol::randr::{self, ConnectionExt as _};
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _, EventMask, ImageOrder, Screen, Window};
use x11rb::rust_connection::RustConnection;

use crate::picture::Area;

/// The name of the display that stands for the whole screen, where the server knows no monitors.
pub(crate) const WHOLE: &str = "Screen";

/// A display to record: a monitor, or the whole screen where monitors are unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Display {
    pub name: String,
    pub primary: bool,
    /// On the X screen.
    pub area: Area,
}

pub(crate) fn connect(display: &str) -> Result<(RustConnection, Screen)> {
    let (connection, screen) = RustConnection::connect(Some(display))
        .map_err(|e| Error::unavailable(format!("the X display {display} cannot be reached")).because(e))?;
    let screen = connection.setup().roots[screen].clone();
    Ok((connection, screen))
}

/// The primary display first.
pub(crate) fn displays(display: &str) -> Result<Vec<Display>> {
    let (connection, screen) = connect(display)?;
    monitors(&connection, screen.root)
}

/// As they are now; at least one.
pub(crate) fn monitors(connection: &RustConnection, root: Window) -> Result<Vec<Display>> {
    let screen = connection.get_geometry(root).map_err(gone)?.reply().map_err(lost)?;
    let whole = Area::new(0, 0, screen.width.into(), screen.height.into());
    let found = match monitors_by_randr(connection, root) {
        Err(ReplyError::ConnectionError(error)) => return Err(gone(error)),
        found => found.unwrap_or_default(),
    };
    let cut = found.into_iter().map(|d| Display { area: d.area.intersect(whole), ..d });
    let mut displays: Vec<Display> = cut.filter(|d| !d.area.is_empty()).collect();
    displays.sort_by_key(|d| !d.primary);
    if displays.is_empty() {
        displays.push(Display { name: WHOLE.to_owned(), primary: true, area: whole });
    }
    Ok(displays)
}

fn monitors_by_randr(connection: &RustConnection, root: Window) -> Result<Vec<Display>, ReplyError> {
    let has = connection.extension_information(randr::X11_EXTENSION_NAME)?.is_some();
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

/// What we know to read: 32 bits a pixel, blue first.
pub(crate) fn check_pixels(connection: &RustConnection, screen: &Screen) -> Result<()> {
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

/// Lets the server tell when the screen, or a monitor of it, becomes another.
pub(crate) fn watch_layout(connection: &RustConnection, root: Window) -> Result<(), ReplyError> {
    let style = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
    connection.change_window_attributes(root, &style)?.check()?;
    if connection.extension_information(randr::X11_EXTENSION_NAME)?.is_some() {
        let what = randr::NotifyMask::SCREEN_CHANGE | randr::NotifyMask::CRTC_CHANGE | randr::NotifyMask::OUTPUT_CHANGE;
        connection.randr_select_input(root, what)?.check()?;
    }
    Ok(())
}

/// Collects what changes: the object that does, and the region to take it over.
pub(crate) type Damage = (damage::Damage, xfixes::Region);

/// None if the server cannot tell what changes: then everything is taken to have changed all the time.
pub(crate) fn watch_damage(connection: &RustConnection, root: Window) -> Result<Option<Damage>, ReplyError> {
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

/// Memory in which the server puts pixels for us.
#[derive(Debug)]
pub(crate) struct Shared {
    pub segment: shm::Seg,
    pub memory: File,
}

/// Memory that the server makes and hands us as a file: read like a file, it needs no mapping. None for a server elsewhere.
pub(crate) fn share_memory(connection: &RustConnection, area: Area) -> Result<Option<Shared>, ReplyError> {
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

pub(crate) fn gone(error: ConnectionError) -> Error {
    Error::unavailable("the X server is gone").because(error)
}

pub(crate) fn lost(error: ReplyError) -> Error {
    match error {
        ReplyError::ConnectionError(error) => gone(error),
        error => Error::internal("the X server refuses").because(error),
    }
}
