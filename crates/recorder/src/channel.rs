//! What can be recorded here, under the names that the SDKs know: `mic:…`, `system_audio:…`, `display:…`, `camera:…`; and back from
//! such a name to the device. Every kind is always listed, with silence standing in for a missing device, because applications take the
//! default of each kind without looking.

use serde::Serialize;
use vitascope_media::camera::CameraInput;
use vitascope_model::capture::{Category, MediaKind};
use vitascope_model::{Error, Result};

use crate::camera;
use crate::config::Config;
use crate::eye::Wanted;
use crate::pulse::{self, Source};
use crate::sound::SoundSource;
use crate::x11::{self, Display};

/// More than anybody has; keeps an answer within what a client reads as one line.
const MOST: usize = 100;

/// A channel as `getChannels` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub channel_id: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    pub is_default: bool,
}

/// What a channel records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// Counted from 1.
    Display(usize),
    Sound(SoundSource),
    Camera(CameraInput),
}

/// What there is now; blocks while it asks.
pub(crate) fn list(config: &Config) -> Vec<Listed> {
    let sources = pulse::sources(config).unwrap_or_else(|error| {
        tracing::warn!("{error}");
        Vec::new()
    });
    let displays = displays(config).unwrap_or_else(|error| {
        tracing::warn!("{error}");
        Vec::new()
    });
    let mut channels = listed(&sources, &displays);
    if config.wayland {
        // X shows its own windows only, and an application should be able to tell its user.
        for channel in channels.iter_mut().filter(|c| c.kind == "video") {
            channel.name.push_str(", X11 windows only");
        }
    }
    // compat: npm's videodb 0.2.0 knows no cameras and takes them for displays, of which the first is the default.
    channels.extend(camera::found(config).into_iter().take(MOST).map(|(path, name)| Listed {
        channel_id: format!("camera:{}", path.display()),
        kind: "video",
        name,
        is_default: false,
    }));
    channels
}

fn displays(config: &Config) -> Result<Vec<Display>> {
    x11::displays(x_display(config)?)
}

/// The X display, or why there is none.
fn x_display(config: &Config) -> Result<&str> {
    let why = "no X display: set DISPLAY; Wayland desktops are not captured yet";
    config.display.as_deref().ok_or_else(|| Error::unavailable(why))
}

fn listed(sources: &[Source], displays: &[Display]) -> Vec<Listed> {
    let mut channels = Vec::new();
    for (prefix, monitor, stand_in) in [("mic", false, "Microphone"), ("system_audio", true, "System audio")] {
        let mut kind: Vec<Listed> = sources
            .iter()
            .filter(|s| s.monitor == monitor)
            .enumerate()
            .map(|(n, source)| Listed {
                channel_id: if n == 0 { format!("{prefix}:default") } else { format!("{prefix}:{}", source.id) },
                kind: "audio",
                name: source.description.chars().take(200).collect(),
                is_default: n == 0,
            })
            .collect();
        if kind.is_empty() {
            let (channel_id, name) = (format!("{prefix}:default"), format!("{stand_in} (no device: silence)"));
            kind.push(Listed { channel_id, kind: "audio", name, is_default: true });
        }
        kind.truncate(MOST);
        channels.extend(kind);
    }
    channels.extend(displays.iter().take(MOST).enumerate().map(|(n, display)| Listed {
        channel_id: format!("display:{}", n + 1),
        kind: "video",
        name: format!("{} ({}×{})", display.name, display.area.width, display.area.height),
        is_default: n == 0,
    }));
    channels
}

/// Which display a channel's number means, and what of it nobody shall see.
pub(crate) fn wanted_display(config: &Config, number: usize) -> Result<Wanted> {
    Ok(Wanted { display: x_display(config)?.to_owned(), number, name: None, hidden: config.hidden.clone() })
}

/// The device that a channel id means; blocks while it asks what is there.
pub(crate) fn device(config: &Config, channel_id: &str, kind: MediaKind) -> Result<Device> {
    let name = channel_id.split_once(':').map_or("default", |(_, name)| name);
    match Category::of_channel(channel_id, kind) {
        // An id of another system's making, as in `screen:0:0`, means the display in front.
        Category::Screen => Ok(Device::Display(name.parse().unwrap_or(1).max(1))),
        Category::Camera => Ok(Device::Camera(camera::input(config, name)?)),
        Category::Mic => Ok(Device::Sound(sound(config, name, false))),
        Category::SystemAudio => Ok(Device::Sound(sound(config, name, true))),
    }
}

/// A name that is none here, of another system's making, means the default; and where that is missing, it may still come.
fn sound(config: &Config, name: &str, monitor: bool) -> SoundSource {
    let sources = pulse::sources(config).unwrap_or_default();
    let named = sources.into_iter().find(|s| s.monitor == monitor && s.id == name);
    SoundSource { monitor, name: named.map(|s| s.id) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Area;

    fn source(id: &str, monitor: bool) -> Source {
        Source { id: id.to_owned(), description: format!("The {id}"), monitor, default: false }
    }

    fn line(listed: &[Listed]) -> Vec<String> {
        let tell =
            |c: &Listed| format!("{} {} {}{}", c.channel_id, c.kind, c.name, if c.is_default { " *" } else { "" });
        listed.iter().map(tell).collect()
    }

    #[test]
    fn the_first_of_each_kind_is_the_default() {
        let sources =
            [source("spk.monitor", true), source("usb", false), source("hdmi.monitor", true), source("cam", false)];
        let display = |name: &str| Display { name: name.to_owned(), primary: false, area: Area::new(0, 0, 1920, 1080) };
        assert_eq!(
            line(&listed(&sources, &[display("DP-1"), display("DP-2")])),
            [
                "mic:default audio The usb *",
                "mic:cam audio The cam",
                "system_audio:default audio The spk.monitor *",
                "system_audio:hdmi.monitor audio The hdmi.monitor",
                "display:1 video DP-1 (1920×1080) *",
                "display:2 video DP-2 (1920×1080)",
            ]
        );
    }

    #[test]
    fn without_devices_there_is_silence_to_record() {
        assert_eq!(
            line(&listed(&[], &[])),
            [
                "mic:default audio Microphone (no device: silence) *",
                "system_audio:default audio System audio (no device: silence) *"
            ]
        );
    }
}
