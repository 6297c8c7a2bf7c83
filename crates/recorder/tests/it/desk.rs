//! A desktop without a desk: an X server and a sound server in memory, and things that happen on them.
#![expect(clippy::disallowed_methods, reason = "a test starts the desktop that it needs")]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use x11rb::connection::Connection;
use x11rb::protocol::randr::{ConnectionExt as _, Rotation};
use x11rb::protocol::xproto::{ConnectionExt, CreateGCAux, CreateWindowAux, Rectangle, WindowClass};
use x11rb::rust_connection::RustConnection;

pub(crate) struct Desk {
    pub display: String,
    folder: tempfile::TempDir,
    pulse: Child,
    children: Vec<Child>,
}

const MICROPHONE: [&str; 3] = ["module-remap-source", "master=mic.monitor", "source_name=vmic"];

/// Waits until `done` gives something; fails loudly after a while.
pub(crate) fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Desk {
    /// `size` as in `640x360`.
    pub(crate) fn start(size: &str) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("display");
        // Xvfb writes its number to the descriptor that it is given: its stdout here.
        let tell = OwnedFd::from(File::create(&told).unwrap());
        let screen = format!("{size}x24");
        let xvfb = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", &screen, "-nolisten", "tcp"])
            .stdout(tell)
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb cannot be started: install the package xvfb");
        let pulse = pulseaudio(folder.path());
        let desk = |display| Desk { display, folder, pulse, children: vec![xvfb] };
        let number = wait_for("Xvfb", || std::fs::read_to_string(&told).ok().filter(|t| t.ends_with('\n')));
        let desk = desk(format!(":{}", number.trim()));
        desk.await_sound();
        desk
    }

    fn await_sound(&self) {
        wait_for("pulseaudio", || self.pactl(&["info"]).then_some(()));
        assert!(self.pactl(&["set-default-source", "vmic"]) && self.pactl(&["set-default-sink", "spk"]));
    }

    /// The sound server dies, and another one takes its place.
    pub(crate) fn restart_sound(&mut self) {
        self.pulse.kill().unwrap();
        self.pulse.wait().unwrap();
        // A killed server leaves its socket behind.
        std::fs::remove_file(self.folder.path().join("native")).unwrap();
        self.pulse = pulseaudio(self.folder.path());
        self.await_sound();
    }

    pub(crate) fn unplug_microphone(&self) {
        assert!(self.pactl(&["unload-module", MICROPHONE[0]]));
    }

    pub(crate) fn plug_microphone(&self) {
        let load: Vec<&str> = ["load-module"].into_iter().chain(MICROPHONE).collect();
        assert!(self.pactl(&load));
    }

    fn pactl(&self, args: &[&str]) -> bool {
        let pactl = self.command("pactl").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        pactl.expect("pactl cannot be started: install the package pulseaudio-utils").success()
    }

    /// A program on this desktop.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env("DISPLAY", &self.display).envs(pulse_env(self.folder.path()));
        command
    }

    /// Keeps a program running for as long as the desktop.
    pub(crate) fn run(&mut self, mut command: Command) {
        self.children.push(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// Plays `seconds` of a tone into a sink.
    pub(crate) fn tone(&mut self, sink: &str, hertz: u32, seconds: u32) {
        let file = self.folder.path().join(format!("{sink}-{hertz}.wav"));
        let samples = (0..48_000 * seconds).map(|n| {
            let turn = f64::from(n) * f64::from(hertz) / 48_000.0 * std::f64::consts::TAU;
            (turn.sin() * 12_000.0) as i16
        });
        let pcm: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
        std::fs::write(&file, pcm).unwrap();
        let mut play = self.command("pacat");
        play.args(["-p", "-d", sink, "--rate=48000", "--channels=1", "--format=s16le", "--latency-msec=40"]).arg(&file);
        self.run(play);
    }

    /// Makes the screen smaller, by RandR.
    pub(crate) fn shrink(&self, width: u16, height: u16) {
        let (connection, screen) = RustConnection::connect(Some(&self.display)).unwrap();
        let root = connection.setup().roots[screen].root;
        let has = connection.randr_get_screen_resources(root).unwrap().reply().unwrap();
        for crtc in has.crtcs {
            let off = connection.randr_set_crtc_config(crtc, 0, 0, 0, 0, 0, Rotation::ROTATE0, &[]).unwrap();
            off.reply().unwrap();
        }
        connection.randr_set_screen_size(root, width, height, 100, 60).unwrap().check().unwrap();
    }

    pub(crate) fn window(&self) -> Window {
        Window::open(&self.display)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev().chain([&mut self.pulse]) {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn pulseaudio(folder: &Path) -> Child {
    let native = format!("module-native-protocol-unix socket={}", folder.join("native").display());
    let microphone = MICROPHONE.join(" ");
    let modules = [native.as_str(), "module-null-sink sink_name=mic", &microphone, "module-null-sink sink_name=spk"];
    Command::new("pulseaudio")
        .args(["--daemonize=no", "--exit-idle-time=-1", "-n", "-F", "/dev/null"])
        .args(modules.iter().flat_map(|m| ["-L", m]))
        .envs(pulse_env(folder))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pulseaudio cannot be started: install the package pulseaudio")
}

fn pulse_env(folder: &Path) -> Vec<(&'static str, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    vec![
        ("XDG_RUNTIME_DIR", folder.display().to_string()),
        ("PULSE_RUNTIME_PATH", folder.display().to_string()),
        ("PULSE_SERVER", format!("unix:{}", path("native"))),
        ("PULSE_COOKIE", path("cookie")),
    ]
}

/// A window over the whole screen that can be painted grey.
pub(crate) struct Window {
    connection: RustConnection,
    window: u32,
    paint: u32,
    size: (u16, u16),
}

impl Window {
    fn open(display: &str) -> Window {
        let (connection, screen) = RustConnection::connect(Some(display)).unwrap();
        let screen = connection.setup().roots[screen].clone();
        let [window, paint] = [connection.generate_id().unwrap(), connection.generate_id().unwrap()];
        let size = (screen.width_in_pixels, screen.height_in_pixels);
        let style = CreateWindowAux::new().background_pixel(0).override_redirect(1);
        let class = WindowClass::INPUT_OUTPUT;
        connection.create_window(24, window, screen.root, 0, 0, size.0, size.1, 0, class, 0, &style).unwrap();
        connection.create_gc(paint, window, &CreateGCAux::new()).unwrap();
        connection.map_window(window).unwrap();
        connection.get_input_focus().unwrap().reply().unwrap();
        Window { connection, window, paint, size }
    }

    /// Returns when it is on the screen.
    pub(crate) fn fill(&self, grey: u8) {
        let pixel = u32::from_be_bytes([0, grey, grey, grey]);
        let style = x11rb::protocol::xproto::ChangeGCAux::new().foreground(pixel);
        self.connection.change_gc(self.paint, &style).unwrap();
        let whole = Rectangle { x: 0, y: 0, width: self.size.0, height: self.size.1 };
        self.connection.poly_fill_rectangle(self.window, self.paint, &[whole]).unwrap();
        self.connection.get_input_focus().unwrap().reply().unwrap();
    }
}
