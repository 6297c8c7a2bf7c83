//! All assets of a caller in one list, with filters, sorting and pages. Ours in its items: the published document says only that they
//! are objects, and no SDK reads them. What is asked for wrongly is said, not passed over: a list that is too long deceives.

use axum::extract::State;
use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use vitascope_model::asset::{AssetFilter, AssetKind, AssetSort, Listed};
use vitascope_model::{Error, Result, Span};

use super::extract::{Owner, Query, collection_of};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, image, stream};

/// Of the published document: both the default and the most.
const PAGE: usize = 50_000;
/// A pattern is matched in linear time; what is left to bound is what it costs to build.
const LONGEST_PATTERN: usize = 500;
const PATTERN_BYTES: usize = 1 << 18;

pub(super) fn routes() -> Routes {
    Routes::new().get("/assets", list_assets)
}

/// compat: an unset filter comes as no key or as "".
#[derive(Default, Deserialize)]
struct ListQuery {
    collection_id: Option<String>,
    asset_type: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    min_duration: Option<String>,
    max_duration: Option<String>,
    min_size: Option<String>,
    max_size: Option<String>,
    name_pattern: Option<String>,
    page: Option<String>,
    page_size: Option<String>,
}

fn is_set(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|v| !v.is_empty())
}

impl ListQuery {
    /// All but the collection, which has to be looked up.
    fn filter(&self) -> Result<AssetFilter> {
        let sort = match is_set(&self.sort_by) {
            None | Some("created_at") => AssetSort::CreatedAt,
            Some("name") => AssetSort::Name,
            Some("duration") => AssetSort::Duration,
            Some("size") => AssetSort::Size,
            Some(_) => return Err(Error::invalid("sort_by must be name, duration, size or created_at")),
        };
        let descending = match is_set(&self.sort_order) {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(_) => return Err(Error::invalid("sort_order must be asc or desc")),
        };
        let seconds = |name, value| -> Result<Option<Span>> {
            let wrong = || Error::invalid(format!("{name} must be a number of seconds, 0 or more"));
            let given: Option<f64> = number(value).map_err(|()| wrong())?;
            given.map(|s| Span::from_seconds(s).filter(|s| s.0 >= 0).ok_or_else(wrong)).transpose()
        };
        let bytes = |name, value| -> Result<Option<i64>> {
            let wrong = || Error::invalid(format!("{name} must be a number of bytes, 0 or more"));
            let given: Option<f64> = number(value).map_err(|()| wrong())?;
            given.map(|b| if (0.0..9.0e18).contains(&b) { Ok(b as i64) } else { Err(wrong()) }).transpose()
        };
        Ok(AssetFilter {
            collection: None,
            kinds: kinds(is_set(&self.asset_type))?,
            shortest: seconds("min_duration", &self.min_duration)?,
            longest: seconds("max_duration", &self.max_duration)?,
            smallest: bytes("min_size", &self.min_size)?,
            largest: bytes("max_size", &self.max_size)?,
            sort,
            descending,
        })
    }

    /// Assets before the page, and on it.
    fn page(&self) -> Result<(usize, usize)> {
        let whole = |name, value, most: usize| -> Result<Option<usize>> {
            let wrong = || Error::invalid(format!("{name} must be a whole number from 1 to {most}"));
            let given: Option<usize> = number(value).map_err(|()| wrong())?;
            given.map(|n| if (1..=most).contains(&n) { Ok(n) } else { Err(wrong()) }).transpose()
        };
        let size = whole("page_size", &self.page_size, PAGE)?.unwrap_or(PAGE);
        let page = whole("page", &self.page, 1_000_000)?.unwrap_or(1);
        Ok(((page - 1) * size, size))
    }

    fn pattern(&self) -> Result<Option<Regex>> {
        let Some(text) = self.name_pattern.as_deref().filter(|p| !p.is_empty()) else { return Ok(None) };
        if text.chars().count() > LONGEST_PATTERN {
            return Err(Error::invalid(format!("name_pattern must have at most {LONGEST_PATTERN} characters")));
        }
        let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
        built.map(Some).map_err(|e| Error::invalid(format!("name_pattern is not a regular expression: {e}")))
    }
}

fn number<T: std::str::FromStr>(value: &Option<String>) -> std::result::Result<Option<T>, ()> {
    is_set(value).map(str::parse).transpose().map_err(|_| ())
}

fn kinds(csv: Option<&str>) -> Result<Vec<AssetKind>> {
    let Some(csv) = csv else { return Ok(AssetKind::ALL.to_vec()) };
    let wrong = || Error::invalid("asset_type must name video, audio or image, with commas between them");
    csv.split(',').map(|word| AssetKind::parse(word.trim()).ok_or_else(wrong)).collect()
}

#[derive(Serialize)]
struct AssetView {
    id: String,
    asset_type: &'static str,
    collection_id: String,
    name: String,
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<f64>,
    size: String,
    keep: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    player_url: Option<String>,
    /// Of an image's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

fn view(app: &App, asset: Listed) -> Result<AssetView> {
    let url = match asset.kind {
        AssetKind::Image => Some(app.config.url(&image::path(app, &asset.id.parse()?))),
        AssetKind::Video | AssetKind::Audio => None,
    };
    Ok(AssetView {
        asset_type: asset.kind.as_str(),
        collection_id: asset.collection_id.to_string(),
        length: asset.length.map(|l| l.to_seconds()),
        size: asset.bytes.to_string(),
        keep: asset.keep,
        created_at: asset.created_at.to_string(),
        stream_url: asset.stream_id.as_ref().map(|id| app.config.url(&stream::asset_playlist_path(id))),
        player_url: asset.stream_id.as_ref().map(|id| app.config.url(&stream::player_path(id))),
        url,
        id: asset.id,
        name: asset.name,
        description: asset.description,
    })
}

async fn list_assets(State(app): State<App>, Owner(scope): Owner, Query(query): Query<ListQuery>) -> Answer {
    let mut filter = query.filter()?;
    let ((before, size), pattern) = (query.page()?, query.pattern()?);
    if let Some(name) = is_set(&query.collection_id) {
        filter.collection = Some(collection_of(&app, &scope, name).await?.id);
    }
    let found = app.store.list_assets(&scope, &filter).await?;
    let wanted = found.into_iter().filter(|a| pattern.as_ref().is_none_or(|p| p.is_match(&a.name)));
    let page: Vec<AssetView> = wanted.skip(before).take(size).map(|a| view(&app, a)).collect::<Result<_>>()?;
    Ok(Reply::ok(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_wrongly_is_said() {
        let query = |set: fn(&mut ListQuery)| {
            let mut query = ListQuery::default();
            set(&mut query);
            query
        };
        let refused = |set: fn(&mut ListQuery)| {
            let query = query(set);
            let all = query.filter().map(|_| ()).and(query.page().map(|_| ())).and(query.pattern().map(|_| ()));
            all.unwrap_err().message
        };
        assert!(refused(|q| q.asset_type = Some("video,film".into())).starts_with("asset_type must"));
        assert!(refused(|q| q.sort_by = Some("id".into())).starts_with("sort_by must"));
        assert!(refused(|q| q.sort_order = Some("up".into())).starts_with("sort_order must"));
        assert!(refused(|q| q.min_duration = Some("-1".into())).starts_with("min_duration must"));
        assert!(refused(|q| q.max_duration = Some("nan".into())).starts_with("max_duration must"));
        assert!(refused(|q| q.max_size = Some("big".into())).starts_with("max_size must"));
        assert!(refused(|q| q.page = Some("0".into())).starts_with("page must"));
        assert!(refused(|q| q.page_size = Some("50001".into())).starts_with("page_size must"));
        assert!(refused(|q| q.name_pattern = Some("(".into())).starts_with("name_pattern is not"));
        assert!(refused(|q| q.name_pattern = Some("(a{1000}){1000}".into())).starts_with("name_pattern is not"));
        assert!(refused(|q| q.name_pattern = Some("a".repeat(501))).starts_with("name_pattern must"));
        let empty =
            query(|q| (q.asset_type, q.min_size, q.page) = (Some(" ".into()), Some(String::new()), Some("2".into())));
        let filter = empty.filter().unwrap();
        assert_eq!((filter.kinds.len(), filter.smallest, filter.descending), (3, None, true));
        assert_eq!(empty.page().unwrap(), (PAGE, PAGE));
    }
}
