//! Windows that nobody shall see: which ones the patterns of `--exclude-window` mean, and where they are on the screen.
//! A window is hidden with its frame and with the dialogs and menus that belong to it. It stays hidden for a moment after it
//! moved or went away, because a compositor shows the screen a little later than the X server tells. Painting is `x11`'s.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use vitascope_model::{Error, Span, WallTime};
use x11rb::cookie::Cookie;
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::xproto::{Atom, AtomEnum, ConnectionExt as _, GetPropertyReply, MapState, Window, WindowClass};
use x11rb::rust_connection::RustConnection;

use crate::picture::Area;

/// A compositor shows a change within a few pictures of its own.
const STAYS: Span = Span::millis(300);
/// From a child of the root down to the application's own window, through the frames of any window manager.
const DEPTH: usize = 4;
/// Of a title, in words of four bytes.
const LONGEST: u32 = 16 << 10;

/// Case does not count. With `*` or `?` in it, it must fit the whole name; without, a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<char>);

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Pattern, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::invalid("a pattern for windows must not be empty"));
        }
        let text = text.to_lowercase();
        let whole = text.contains(['*', '?']);
        Ok(Pattern(if whole { text.chars().collect() } else { format!("*{text}*").chars().collect() }))
    }
}

impl Pattern {
    fn fits(&self, name: &str) -> bool {
        let name: Vec<char> = name.to_lowercase().chars().collect();
        let (mut at, mut here) = (0, 0);
        // Where the last star was, and how much of the name it had swallowed.
        let mut star = None;
        while here < name.len() {
            match self.0.get(at) {
                Some('*') => {
                    star = Some((at, here));
                    at += 1;
                }
                Some(c) if *c == '?' || *c == name[here] => (at, here) = (at + 1, here + 1),
                _ => match &mut star {
                    Some((behind, swallowed)) => {
                        *swallowed += 1;
                        (at, here) = (*behind + 1, *swallowed);
                    }
                    None => return false,
                },
            }
        }
        self.0[at..].iter().all(|c| *c == '*')
    }
}

/// Follows the windows that shall be hidden on one X screen.
#[derive(Debug)]
pub(crate) struct Hidden {
    patterns: Arc<[Pattern]>,
    root: Window,
    title: Atom,
    state: Atom,
    /// Where hidden windows are, and were until a moment ago, on the X screen; and when each was last seen.
    seen: Vec<(Area, WallTime)>,
}

impl Hidden {
    pub(crate) fn new(
        connection: &RustConnection,
        root: Window,
        patterns: Arc<[Pattern]>,
    ) -> Result<Hidden, ReplyError> {
        let title = connection.intern_atom(false, b"_NET_WM_NAME")?;
        let state = connection.intern_atom(false, b"WM_STATE")?;
        let (title, state) = (title.reply()?.atom, state.reply()?.atom);
        Ok(Hidden { patterns, root, title, state, seen: Vec::new() })
    }

    /// Nothing shall be hidden.
    pub(crate) fn is_idle(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What must not be seen now, on the X screen.
    pub(crate) fn look(&mut self, connection: &RustConnection, now: WallTime) -> Result<Vec<Area>, ReplyError> {
        if self.is_idle() {
            return Ok(Vec::new());
        }
        for area in self.find(connection)? {
            match self.seen.iter_mut().find(|(known, _)| *known == area) {
                Some((_, at)) => *at = now,
                None => self.seen.push((area, now)),
            }
        }
        self.seen.retain(|(_, at)| now - *at <= STAYS);
        Ok(self.seen.iter().map(|(area, _)| *area).collect())
    }

    /// The children of the root that are, or hold, a window that is meant. All is asked before anything is waited for.
    fn find(&self, connection: &RustConnection) -> Result<Vec<Area>, ReplyError> {
        let mut tops = Vec::new();
        for window in connection.query_tree(self.root)?.reply()?.children {
            tops.push((window, connection.get_window_attributes(window)?, connection.get_geometry(window)?));
        }
        let mut shown = Vec::new();
        for (window, attributes, geometry) in tops {
            let (attributes, geometry) = (still_there(attributes)?, still_there(geometry)?);
            let (Some(attributes), Some(at)) = (attributes, geometry) else { continue };
            if attributes.map_state == MapState::VIEWABLE && attributes.class == WindowClass::INPUT_OUTPUT {
                let borders = 2 * i32::from(at.border_width);
                let (width, height) = (i32::from(at.width) + borders, i32::from(at.height) + borders);
                shown.push((window, Area::new(at.x.into(), at.y.into(), width, height)));
            }
        }
        let described = self.describe(connection, shown.iter().map(|(w, _)| *w).collect())?;
        let meant = meant(&described);
        Ok(shown.into_iter().filter(|(w, _)| meant.contains(w)).map(|(_, area)| area).collect())
    }

    /// Every window on the way from `tops` to the applications' own windows.
    fn describe(&self, connection: &RustConnection, tops: Vec<Window>) -> Result<Vec<Described>, ReplyError> {
        let mut described = Vec::new();
        let mut level: Vec<(Window, Window)> = tops.into_iter().map(|w| (w, w)).collect();
        for _ in 0..DEPTH {
            let mut asked = Vec::new();
            for (window, top) in level.drain(..) {
                let property = |name: Atom| connection.get_property(false, window, name, AtomEnum::ANY, 0, LONGEST);
                let names = [AtomEnum::WM_NAME.into(), self.title, AtomEnum::WM_CLASS.into()];
                let [name, title, class] = names.map(property);
                let rest = (property(AtomEnum::WM_TRANSIENT_FOR.into())?, property(self.state)?);
                asked.push((window, top, [name?, title?, class?], rest, connection.query_tree(window)?));
            }
            for (window, top, names, (belongs, state), tree) in asked {
                let mut named = false;
                for cookie in names {
                    named |= still_there(cookie)?.is_some_and(|p| self.is_meant(&p));
                }
                let belongs = still_there(belongs)?.and_then(|p| p.value32()?.next());
                described.push(Described { window, top, named, belongs });
                let is_application = still_there(state)?.is_some_and(|p| p.type_ != x11rb::NONE);
                let children = still_there(tree)?.map(|t| t.children).unwrap_or_default();
                if !is_application {
                    level.extend(children.into_iter().map(|child| (child, top)));
                }
            }
        }
        Ok(described)
    }

    /// A title, or the two words of a class with a zero byte after each.
    fn is_meant(&self, property: &GetPropertyReply) -> bool {
        let names = property.value.split(|b| *b == 0).filter(|name| !name.is_empty());
        names.map(text).any(|name| self.patterns.iter().any(|pattern| pattern.fits(&name)))
    }
}

/// UTF-8, or the older Latin-1.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|b| char::from(*b)).collect(), str::to_owned)
}

struct Described {
    window: Window,
    /// The child of the root that holds it.
    top: Window,
    named: bool,
    /// The window that this one is a dialog or a menu of.
    belongs: Option<Window>,
}

/// The children of the root that are meant: for their own names, or because they belong to one that is.
fn meant(described: &[Described]) -> HashSet<Window> {
    let mut tops: HashSet<Window> = described.iter().filter(|d| d.named).map(|d| d.top).collect();
    loop {
        let holds = |window| described.iter().any(|d| d.window == window && tops.contains(&d.top));
        let more = described.iter().filter(|d| !tops.contains(&d.top) && d.belongs.is_some_and(holds));
        let more: Vec<Window> = more.map(|d| d.top).collect();
        if more.is_empty() {
            return tops;
        }
        tops.extend(more);
    }
}

/// None if the window went away meanwhile.
fn still_there<T: x11rb::x11_utils::TryParse>(
    cookie: Cookie<'_, RustConnection, T>,
) -> Result<Option<T>, ConnectionError> {
    match cookie.reply() {
        Ok(reply) => Ok(Some(reply)),
        Err(ReplyError::X11Error(_)) => Ok(None),
        Err(ReplyError::ConnectionError(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_a_part_or_with_wildcards_the_whole() {
        let fits = |pattern: &str, name: &str| pattern.parse::<Pattern>().unwrap().fits(name);
        for (pattern, name) in [
            ("pass", "KeePassXC"),
            (" Bank ", "My BANK account"),
            ("*vault", "the vault"),
            ("k?y*", "KEY ring"),
            ("*a*b*", "xxaxxbxx"),
            ("*", "anything"),
            ("größe", "GRÖSSE und GRÖßE"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("pass", "pas s"), ("*vault", "vaults"), ("k?y", "ky"), ("bank*", "my bank"), ("a?", "a")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert!(" ".parse::<Pattern>().is_err());
    }

    #[test]
    fn what_belongs_to_a_hidden_window_is_hidden() {
        let described = |window, top, named, belongs| Described { window, top, named, belongs };
        let windows = [
            described(1, 1, false, None),
            described(2, 1, true, None),
            described(3, 3, false, Some(2)),
            described(4, 4, false, Some(3)),
            described(5, 5, false, Some(9)),
        ];
        assert_eq!(meant(&windows), HashSet::from([1, 3, 4]));
    }
}
