//! Clients of the virtual X server: monitors as a user sets them up, and windows in one colour with the names that real ones have.

use x11rb::connection::Connection;
use x11rb::protocol::randr::{ConnectionExt as _, MonitorInfo};
use x11rb::protocol::xproto::{
    AtomEnum, ConfigureWindowAux, ConnectionExt as _, CreateWindowAux, PropMode, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::desk::wait_for;

/// x, y, width, height.
pub(crate) type Place = (i16, i16, u16, u16);

pub(crate) struct Client {
    connection: RustConnection,
    root: Window,
}

impl Client {
    pub(crate) fn of(display: &str) -> Client {
        // A server that its first client has just left begins anew, and drops who comes in meanwhile.
        let (connection, screen) = wait_for("the X server", || RustConnection::connect(Some(display)).ok());
        let root = connection.setup().roots[screen].root;
        Client { connection, root }
    }

    fn atom(&self, name: &str) -> u32 {
        self.connection.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom
    }

    /// Everything asked for so far is done.
    pub(crate) fn done(&self) {
        self.connection.sync().unwrap();
    }

    /// Adds a monitor, or makes it another. With `output` it takes the place of the one that the server has of its own.
    pub(crate) fn monitor(&self, name: &str, primary: bool, (x, y, width, height): Place, output: bool) {
        let outputs = self.connection.randr_get_screen_resources(self.root).unwrap().reply().unwrap().outputs;
        let monitor = MonitorInfo {
            name: self.atom(name),
            primary,
            automatic: false,
            x,
            y,
            width,
            height,
            width_in_millimeters: 300,
            height_in_millimeters: 200,
            outputs: if output { outputs } else { Vec::new() },
        };
        self.connection.randr_set_monitor(self.root, monitor).unwrap().check().unwrap();
    }

    pub(crate) fn unplug(&self, name: &str) {
        self.connection.randr_delete_monitor(self.root, self.atom(name)).unwrap().check().unwrap();
    }

    /// A window that is not yet shown; `parent` 0 is the screen.
    pub(crate) fn window(&self, parent: Window, (x, y, width, height): Place, rgb: u32) -> Window {
        let window = self.connection.generate_id().unwrap();
        let style = CreateWindowAux::new().background_pixel(rgb).override_redirect(1);
        let parent = if parent == 0 { self.root } else { parent };
        let class = WindowClass::INPUT_OUTPUT;
        self.connection.create_window(24, window, parent, x, y, width, height, 0, class, 0, &style).unwrap();
        window
    }

    /// Sets a property of text: `WM_NAME`, `_NET_WM_NAME` or `WM_CLASS`.
    pub(crate) fn name(&self, window: Window, property: &str, text: &str) {
        let (property, kind) = (self.atom(property), self.atom("UTF8_STRING"));
        self.connection.change_property8(PropMode::REPLACE, window, property, kind, text.as_bytes()).unwrap();
    }

    /// As a window manager marks the windows of applications.
    pub(crate) fn mark_as_application(&self, window: Window) {
        let state = self.atom("WM_STATE");
        self.connection.change_property32(PropMode::REPLACE, window, state, state, &[1, 0]).unwrap();
    }

    pub(crate) fn belongs_to(&self, window: Window, owner: Window) {
        let (property, kind) = (AtomEnum::WM_TRANSIENT_FOR, AtomEnum::WINDOW);
        self.connection.change_property32(PropMode::REPLACE, window, property, kind, &[owner]).unwrap();
    }

    pub(crate) fn show(&self, window: Window) {
        self.connection.map_window(window).unwrap();
        self.done();
    }

    pub(crate) fn hide(&self, window: Window) {
        self.connection.unmap_window(window).unwrap();
        self.done();
    }

    pub(crate) fn place(&self, window: Window, (x, y, width, height): Place) {
        let to = ConfigureWindowAux::new().x(i32::from(x)).y(i32::from(y));
        let to = to.width(u32::from(width)).height(u32::from(height));
        self.connection.configure_window(window, &to).unwrap();
        self.done();
    }

    /// A window in one colour that is shown at once.
    pub(crate) fn patch(&self, place: Place, rgb: u32) -> Window {
        let window = self.window(0, place, rgb);
        self.show(window);
        window
    }
}
