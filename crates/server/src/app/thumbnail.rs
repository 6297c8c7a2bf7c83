//! Thumbnails: pictures of a video that are images of their own, and go with it. The same moment in the same size is made once.
//! Which picture is shown when is `media`'s business, from the same plan and segments that a player gets.

use vitascope_media::compile::Plan;
use vitascope_media::frame::{Fit, Jpeg, first_unless_black, shown_at};
use vitascope_media::image::ImageFacts;
use vitascope_model::image::{Image, ImageKind, Moment};
use vitascope_model::stream::Video;
use vitascope_model::{Error, Result, Span};
use vitascope_store::image::set_poster;

use super::App;
use super::image::{ImageWishes, take};
use super::playback::{init, plan_of, segment};
use super::upload::{Inflow, remove};

/// Where a picture that stands for the whole is looked for, in percent: what is black there stands for nothing.
const LOOKED_AT: [i64; 7] = [10, 15, 20, 30, 50, 70, 90];
/// Decoders at once; who comes then waits.
pub const AT_ONCE: usize = 2;

/// The thumbnail of the picture that is shown at `at`.
pub async fn of_moment(app: &App, video: &Video, at: Span, fit: Fit) -> Result<Image> {
    let moment = moment(video, at, fit);
    if let Some(known) = app.store.find_thumbnail(&moment).await? {
        return Ok(known);
    }
    let plan = plan_of_video(app, video).await?;
    let picture = picture_at(app, &plan, at, fit).await?;
    store(app, video, moment, picture).await
}

/// The picture that stands for the video: the one that was chosen before, else the first near a tenth of it that is not black.
pub async fn poster(app: &App, video: &Video) -> Result<Image> {
    if let Some(known) = app.store.list_thumbnails(&video.id).await?.into_iter().find(is_poster) {
        return Ok(known);
    }
    let plan = plan_of_video(app, video).await?;
    let (at, picture) = representative(app, &plan, Fit::default()).await?;
    let made = store(app, video, Moment { is_poster: true, ..moment(video, at, Fit::default()) }, picture).await?;
    if !is_poster(&made) {
        // Somebody had named this very moment before.
        let id = made.id.clone();
        app.store.write(move |tx| Box::pin(async move { set_poster(tx, &id).await })).await?;
    }
    Ok(made)
}

fn is_poster(image: &Image) -> bool {
    image.shows.as_ref().is_some_and(|m| m.is_poster)
}

fn moment(video: &Video, at: Span, fit: Fit) -> Moment {
    let (fit_width, fit_height) = (fit.width.unwrap_or(0), fit.height.unwrap_or(0));
    Moment { video: video.id.clone(), at, fit_width, fit_height, is_poster: false }
}

async fn plan_of_video(app: &App, video: &Video) -> Result<std::sync::Arc<Plan>> {
    let stream = app.store.find_stream(&video.stream_id).await?;
    plan_of(app, &stream.ok_or_else(|| Error::not_found(format_args!("the stream of video {}", video.id)))?).await
}

/// The picture that a plan shows at a moment.
pub async fn picture_at(app: &App, plan: &Plan, at: Span, fit: Fit) -> Result<Jpeg> {
    check_picture(plan)?;
    let beyond = || Error::invalid(format!("time must be less than the length, {} s", plan.duration().to_seconds()));
    let n = plan.segment_at(at).ok_or_else(beyond)?;
    let bytes = segment(app, plan, n).await?;
    let _turn = app.frames.acquire().await;
    shown_at(&init(app, plan).await?, &bytes, at + plan.delay(), fit).await
}

/// A picture that stands for all of a plan, and when it is shown.
pub async fn representative(app: &App, plan: &Plan, fit: Fit) -> Result<(Span, Jpeg)> {
    check_picture(plan)?;
    let length = plan.duration();
    let places = LOOKED_AT.map(|percent| Span(length.0 / 100 * percent));
    let mut segments: Vec<usize> = places.iter().filter_map(|at| plan.segment_at(*at)).collect();
    segments.dedup();
    for n in segments {
        let bytes = segment(app, plan, n).await?;
        let _turn = app.frames.acquire().await;
        if let Some(found) = first_unless_black(&init(app, plan).await?, &bytes, fit).await? {
            return Ok((plan.segment_start(n), found));
        }
    }
    Ok((places[0], picture_at(app, plan, places[0], fit).await?))
}

fn check_picture(plan: &Plan) -> Result<()> {
    if plan.has_picture() { Ok(()) } else { Err(Error::invalid("there is only sound: nothing to see")) }
}

async fn store(app: &App, video: &Video, moment: Moment, picture: Jpeg) -> Result<Image> {
    let mut inflow = Inflow::begin(app, Some(picture.bytes.len() as u64)).await?;
    inflow.write(&picture.bytes).await?;
    let (inflow, received) = inflow.finish(None).await?;
    let file = inflow.keep();
    let facts = ImageFacts { kind: ImageKind::Jpeg, width: picture.width, height: picture.height };
    let name = format!("{} at {} s", video.name, moment.at.to_seconds());
    let wishes = ImageWishes { name, description: None, shows: Some(moment), sha256: None, answers: None };
    let made = take(app, &video.owner, &video.collection_id, &file, facts, wishes).await;
    if made.is_err() {
        remove(app, &received.file).await;
    }
    made
}
