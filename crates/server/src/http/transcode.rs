//! Transcodes over HTTP: a wish is checked and accepted at once, and asked after by the id of its job. The file that comes of it goes out as
//! every file that is taken away does (`download.rs`).

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use vitascope_media::encoder::transcode::{HEIGHTS, Mode, QUALITIES, Resize, USUAL_QUALITY, Wish, rate_of};
use vitascope_model::account::Scope;
use vitascope_model::id::JobId;
use vitascope_model::stream::{SpanOf, Stream};
use vitascope_model::takeout::TakeoutKind;
use vitascope_model::{Error, Result};

use super::extract::{Body, Owner, Whole, compat_callback};
use super::link::{self, Link};
use super::reply::{Answer, Reply};
use super::router::Routes;
use super::upload::clean_name;
use crate::app::transcode::{From, enqueue};
use crate::app::{App, source, takeout};
use crate::{jobs, views};

pub(super) fn routes() -> Routes {
    Routes::new().post("/transcode", make).get("/transcode/{job}", show)
}

/// compat: what is not set comes as null, as "" or not at all.
#[derive(Deserialize)]
struct TranscodeRequest {
    source: Option<String>,
    callback_url: Option<String>,
    mode: Option<String>,
    video_config: Option<VideoConfig>,
    audio_config: Option<AudioConfig>,
}

/// compat: Python has snake case, npm camel case.
#[derive(Default, Deserialize)]
struct VideoConfig {
    resolution: Option<Whole>,
    quality: Option<Whole>,
    framerate: Option<f64>,
    #[serde(alias = "aspectRatio")]
    aspect_ratio: Option<Value>,
    #[serde(alias = "resizeMode")]
    resize_mode: Option<String>,
}

#[derive(Default, Deserialize)]
struct AudioConfig {
    mute: Option<bool>,
}

/// compat: no envelope, with a callback or without: the Python SDK reads `job_id` from the first answer.
async fn make(State(app): State<App>, Owner(scope): Owner, Body(request): Body<TranscodeRequest>) -> Answer {
    let wish = wish_of(&request)?;
    wish.check()?;
    let callback = compat_callback(&app, request.callback_url)?;
    let wanted = request.source.as_deref().map(str::trim).filter(|s| !s.is_empty());
    let wanted = wanted
        .ok_or_else(|| Error::invalid("source is required: the id of a video, a URL of ours or any http(s) URL"))?;
    let from = from_of(&app, &scope, wanted).await?;
    let made = enqueue(&app, &scope, from, wish, callback).await?;
    Ok(Reply::ok(json!({ "job_id": made.job_id.as_str() })))
}

async fn show(State(app): State<App>, Owner(scope): Owner, Path(id): Path<String>) -> Answer {
    let id: JobId = id.parse()?;
    if let Some(found) = app.store.find_takeout_of(&scope, &id).await?.filter(|t| t.kind == TakeoutKind::Transcode) {
        return Ok(Reply::ok(views::transcode(&app, &found)));
    }
    if app.store.get_job(&scope, &id).await?.kind == jobs::transcode::KIND {
        return Err(Error::gone("this transcode is not kept any more: it was deleted, or its week is over").into());
    }
    Err(Error::not_found(format_args!("transcode {id}")).into())
}

async fn from_of(app: &App, scope: &Scope, wanted: &str) -> Result<From> {
    let not_found = || Error::not_found("the stream");
    let own = |found: Option<Stream>| found.filter(|s| s.owner == *scope.user()).ok_or_else(not_found);
    match link::read(app, wanted) {
        Some(Link::Stream(name)) => return own(link::stream_of(app, &name).await?).map(From::Stream),
        Some(Link::Takeout(id, secret)) => {
            let found = app.store.get_takeout(scope, &id).await?;
            if !takeout::is_secret(app, &id, &secret) {
                return Err(Error::not_found("the file"));
            }
            takeout::file_of(app, &id).await?;
            return Ok(From::Takeout(found));
        }
        None => {}
    }
    if wanted.contains("://") {
        let name = Url::parse(wanted).ok().and_then(|url| clean_name(url.path_segments()?.next_back()?));
        let file = source::find(app, wanted).await?;
        let is_slot = matches!(file, source::Source::Slot(_));
        return Ok(From::File(file, name.filter(|_| !is_slot)));
    }
    let stream_id = match wanted.parse()? {
        SpanOf::Video(id) => app.store.get_video(scope, &id).await?.stream_id,
        SpanOf::Audio(id) => app.store.get_audio(scope, &id).await?.stream_id,
        SpanOf::RtStream(_) => {
            return Err(Error::invalid("an rtstream has no end: give the stream_url of a range of it as source"));
        }
    };
    own(app.store.find_stream(&stream_id).await?).map(From::Stream)
}

fn wish_of(request: &TranscodeRequest) -> Result<Wish> {
    let set = |text: &'_ Option<String>| text.as_deref().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let mode = match set(&request.mode).as_deref() {
        None | Some("economy") => Mode::Economy,
        Some("lightning") => Mode::Lightning,
        Some(_) => return Err(Error::invalid("mode must be economy or lightning")),
    };
    let usual = VideoConfig::default();
    let video = request.video_config.as_ref().unwrap_or(&usual);
    let resize = match set(&video.resize_mode).as_deref() {
        None | Some("crop") => Resize::Crop,
        Some("fit") => Resize::Fit,
        Some("pad") => Resize::Pad,
        Some(_) => return Err(Error::invalid("resize_mode must be crop, fit or pad")),
    };
    // What does not fit into the type is out of its range as well, and is told so by the check of the wish.
    let quality =
        video.quality.as_ref().map_or(USUAL_QUALITY, |Whole(q)| u8::try_from(*q).unwrap_or(QUALITIES.end() + 1));
    let lines = |Whole(lines): &Whole| u32::try_from(*lines).unwrap_or(0);
    Ok(Wish {
        mode,
        quality,
        // Pictures have an even number of lines.
        height: video
            .resolution
            .as_ref()
            .map(lines)
            .map(|n| if HEIGHTS.contains(&n) { n.next_multiple_of(2) } else { n }),
        shape: video.aspect_ratio.as_ref().map(shape_of).transpose()?.flatten(),
        resize,
        rate: video.framerate.map(rate_of).transpose()?,
        mute: request.audio_config.as_ref().and_then(|a| a.mute).unwrap_or(false),
    })
}

/// `"16:9"`, `"16/9"`, `"1.78"` or 1.78; none of an empty text.
fn shape_of(value: &Value) -> Result<Option<f64>> {
    let wrong = || Error::invalid("aspect_ratio must be two numbers, as in \"16:9\", or one, width by height");
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0).ok_or_else(wrong);
    match value {
        Value::Null => Ok(None),
        Value::Number(n) => number(&n.to_string()).map(Some),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => match text.split_once([':', '/', 'x']) {
            Some((width, height)) => Ok(Some(number(width)? / number(height)?)),
            None => number(text).map(Some),
        },
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use vitascope_media::probe::Ratio;

    use super::*;

    fn wish(body: Value) -> Result<Wish> {
        let request: TranscodeRequest = serde_json::from_value(body).unwrap();
        let wish = wish_of(&request)?;
        wish.check()?;
        Ok(wish)
    }

    #[test]
    fn both_sdks_are_understood() {
        let nulls = json!({ "resolution": null, "quality": 23, "framerate": null, "aspect_ratio": null, "resize_mode": "crop" });
        for bare in [
            json!({ "mode": "economy", "video_config": nulls, "audio_config": { "mute": false } }),
            json!({ "mode": "economy", "video_config": {}, "audio_config": {} }),
            json!({ "callback_url": "" }),
        ] {
            assert_eq!(wish(bare).unwrap(), Wish::default());
        }
        let all = Wish {
            mode: Mode::Lightning,
            quality: 30,
            height: Some(722),
            shape: Some(16.0 / 9.0),
            resize: Resize::Pad,
            rate: Some(Ratio { num: 25, den: 1 }),
            mute: true,
        };
        let rest = json!({ "resolution": 721, "quality": 30, "framerate": 25 });
        for (shape, resize) in [("aspect_ratio", "resize_mode"), ("aspectRatio", "resizeMode")] {
            let mut video = rest.clone();
            (video[shape], video[resize]) = (json!("16:9"), json!("pad"));
            let body = json!({ "mode": "lightning", "video_config": video, "audio_config": { "mute": true } });
            assert_eq!(wish(body).unwrap(), all);
        }
    }

    #[test]
    fn shapes_are_read_as_people_write_them() {
        for shape in [json!("4:3"), json!("4/3"), json!("1.3333333333"), json!(1.333_333_333_3)] {
            assert!((shape_of(&shape).unwrap().unwrap() - 4.0 / 3.0).abs() < 1e-9, "{shape}");
        }
        assert_eq!(shape_of(&json!("")).unwrap(), None);
        for wrong in
            [json!("wide"), json!("16:0"), json!("0:9"), json!(-1), json!("inf:1"), json!([16, 9]), json!(true)]
        {
            assert!(shape_of(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (video, word) in [
            (json!({ "quality": 52 }), "quality"),
            (json!({ "quality": -1 }), "quality"),
            (json!({ "quality": 1000 }), "quality"),
            (json!({ "resolution": 100 }), "resolution"),
            (json!({ "resolution": -720 }), "resolution"),
            (json!({ "resolution": 5000 }), "resolution"),
            (json!({ "framerate": 0 }), "framerate"),
            (json!({ "framerate": 500 }), "framerate"),
            (json!({ "aspect_ratio": "100:1" }), "aspect_ratio"),
            (json!({ "resize_mode": "stretch" }), "resize_mode"),
        ] {
            assert!(wish(json!({ "video_config": video })).unwrap_err().message.contains(word), "{word}");
        }
        assert!(wish(json!({ "mode": "fast" })).unwrap_err().message.contains("mode"));
    }
}
