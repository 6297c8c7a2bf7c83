//! A capture session: one run of a desktop recorder, its channels, and its state machine as one table.
//! Who may cause a transition, and what else happens with it, is the business of the server's `app::capture`.

use crate::id::{CaptureSessionId, CollectionId, ConnectionId, RtStreamId, UserId, VideoId};
use crate::stream::AssetId;
use crate::time::WallTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Made by the application; no recorder yet.
    Created,
    /// A recorder has announced its channels; no media yet.
    Starting,
    /// Media flows.
    Active,
    /// Asked to stop, or abandoned; streams drain.
    Stopping,
    /// Everything that arrived is stored.
    Stopped,
    /// And is a video.
    Exported,
    Failed,
}

/// Every transition there is. What is not in this table does not happen.
const TRANSITIONS: &[(SessionState, SessionState)] = {
    use SessionState::*;
    &[
        (Created, Starting),
        (Created, Stopped),
        (Created, Failed),
        (Starting, Active),
        (Starting, Stopping),
        (Starting, Failed),
        (Active, Stopping),
        (Active, Failed),
        (Stopping, Stopped),
        (Stopping, Failed),
        (Stopped, Exported),
        (Stopped, Failed),
    ]
};

impl SessionState {
    pub const ALL: [SessionState; 7] = {
        use SessionState::*;
        [Created, Starting, Active, Stopping, Stopped, Exported, Failed]
    };

    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::Created => "created",
            SessionState::Starting => "starting",
            SessionState::Active => "active",
            SessionState::Stopping => "stopping",
            SessionState::Stopped => "stopped",
            SessionState::Exported => "exported",
            SessionState::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    pub fn may_become(self, next: SessionState) -> bool {
        TRANSITIONS.contains(&(self, next))
    }

    /// Whether a publisher may send media now.
    pub fn takes_media(self) -> bool {
        matches!(self, SessionState::Starting | SessionState::Active)
    }

    /// Whether nothing more will happen by itself.
    pub fn is_settled(self) -> bool {
        matches!(self, SessionState::Exported | SessionState::Failed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    Audio,
    Video,
}

impl MediaKind {
    pub fn as_str(self) -> &'static str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [MediaKind::Audio, MediaKind::Video].into_iter().find(|k| k.as_str() == text)
    }
}

/// What a channel is, by its id's prefix; an rtstream carries it as its `channel_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    Mic,
    SystemAudio,
    Screen,
    Camera,
}

impl Category {
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Mic => "mic",
            Category::SystemAudio => "system_audio",
            Category::Screen => "screen",
            Category::Camera => "camera",
        }
    }

    /// `mic:default` and a bare `mic` alike; an unknown audio device counts as a microphone, an unknown picture as a screen.
    pub fn of_channel(channel_id: &str, kind: MediaKind) -> Category {
        match (channel_id.split(':').next().unwrap_or_default(), kind) {
            ("system_audio", _) => Category::SystemAudio,
            ("camera", _) => Category::Camera,
            (_, MediaKind::Audio) => Category::Mic,
            (_, MediaKind::Video) => Category::Screen,
        }
    }
}

/// One source of a session, as the recorder announced it.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// The device, as in `mic:default`.
    pub channel_id: String,
    pub name: String,
    pub kind: MediaKind,
    pub store: bool,
    pub is_primary: bool,
    pub rtstream_id: RtStreamId,
    /// The unguessable path on which this channel is published.
    pub publish_path: String,
    /// The export that shows this channel, if it was asked for; that of the primary one is the session's.
    pub exported_video_id: Option<VideoId>,
}

impl Channel {
    pub fn category(&self) -> Category {
        Category::of_channel(&self.channel_id, self.kind)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct CaptureSession {
    pub id: CaptureSessionId,
    pub owner: UserId,
    pub collection_id: CollectionId,
    pub end_user_id: Option<String>,
    pub client_id: Option<String>,
    pub state: SessionState,
    pub callback_url: Option<String>,
    pub ws_connection_id: Option<ConnectionId>,
    /// The application's own, as JSON text; always an object.
    pub metadata: String,
    /// Whether retention leaves alone what it recorded.
    pub keep: bool,
    pub channels: Vec<Channel>,
    /// A video; an audio where there is no picture.
    pub exported: Option<AssetId>,
    /// Marked for deletion: there for nobody who asks.
    pub is_deleted: bool,
    pub failure: Option<Failure>,
    pub created_at: WallTime,
    pub state_changed_at: WallTime,
}

/// Why a session failed, or was stopped by us: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    pub message: String,
}

impl Failure {
    /// Recording ended early, but in order, since there was no room left or the disk failed: what was recorded is kept.
    pub const STORAGE_CODES: [&str; 2] = ["disk_full", "storage_failed"];

    pub fn disk_full() -> Failure {
        let message = "recording was stopped since the disk is nearly full; what was recorded is kept".to_owned();
        Failure { code: Failure::STORAGE_CODES[0].to_owned(), message }
    }

    pub fn storage_failed() -> Failure {
        let message = "recording was stopped since it could not be written to the disk".to_owned();
        Failure { code: Failure::STORAGE_CODES[1].to_owned(), message }
    }

    /// Whether the session ended in order for all that.
    pub fn is_of_storage(&self) -> bool {
        Failure::STORAGE_CODES.contains(&self.code.as_str())
    }
}

impl CaptureSession {
    /// The channel whose picture the export shows: the one marked so, else the first.
    pub fn primary_video(&self) -> Option<&Channel> {
        let mut videos = self.channels.iter().filter(|c| c.kind == MediaKind::Video);
        let first = videos.clone().next();
        videos.find(|c| c.is_primary).or(first)
    }

    pub fn stores_anything(&self) -> bool {
        self.channels.iter().any(|c| c.store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_states_reads_as_the_contract_draws_it() {
        let table: Vec<String> = SessionState::ALL
            .into_iter()
            .map(|from| {
                let to: Vec<_> =
                    SessionState::ALL.into_iter().filter(|to| from.may_become(*to)).map(SessionState::as_str).collect();
                format!("{} -> {}", from.as_str(), to.join(" "))
            })
            .collect();
        assert_eq!(
            table,
            [
                "created -> starting stopped failed",
                "starting -> active stopping failed",
                "active -> stopping failed",
                "stopping -> stopped failed",
                "stopped -> exported failed",
                "exported -> ",
                "failed -> ",
            ]
        );
    }

    #[test]
    fn channels_fall_into_the_category_of_their_prefix() {
        use MediaKind::{Audio, Video};
        for (id, kind, category) in [
            ("mic:default", Audio, "mic"),
            ("mic", Audio, "mic"),
            ("system_audio:default", Audio, "system_audio"),
            ("display:1", Video, "screen"),
            ("screen:0", Video, "screen"),
            ("camera:0", Video, "camera"),
            ("usb-headset", Audio, "mic"),
        ] {
            assert_eq!(Category::of_channel(id, kind).as_str(), category, "{id}");
        }
    }
}
