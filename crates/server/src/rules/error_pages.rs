//! Pages of the administrator's own for answers that are errors.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bindery_model::rules::ErrorStatus;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use tracing::error;

use super::file::WatchedFile;
use crate::{
    http::body::Body,
    limits::{ERROR_PAGE_BYTES_MAX, ERROR_PAGE_CHECKED_FOR},
};

/// The pages of a route.
pub(crate) struct ErrorPages(Vec<(ErrorStatus, Arc<ErrorPage>)>);

/// The page of a status.
pub(crate) struct ErrorPage {
    file: Arc<WatchedFile<Bytes>>,
    content_type: HeaderValue,
}

impl ErrorPages {
    /// `None` where there are none.
    pub(crate) fn new(pages: &[(ErrorStatus, PathBuf)]) -> Option<Self> {
        let page = |(status, path): &(ErrorStatus, PathBuf)| {
            let page = ErrorPage {
                file: Arc::new(WatchedFile::new(
                    path.clone(),
                    ERROR_PAGE_BYTES_MAX,
                    ERROR_PAGE_CHECKED_FOR,
                    |_, content| Bytes::copy_from_slice(content),
                )),
                content_type: content_type(path),
            };
            (*status, Arc::new(page))
        };
        let pages: Vec<_> = pages.iter().map(page).collect();
        (!pages.is_empty()).then_some(Self(pages))
    }

    /// The page of a status and what IIS says beside it; that of the status alone where there is
    /// no other.
    pub(crate) fn page(&self, status: StatusCode, sub: u8) -> Option<&Arc<ErrorPage>> {
        let status = status.as_u16();
        let find = |sub| self.0.iter().find(|(own, _)| *own == ErrorStatus { status, sub });
        find(Some(sub.into())).or_else(|| find(None)).map(|(_, page)| page)
    }
}

impl ErrorPage {
    /// The content, where the file was looked at a moment ago; within it `None` where it cannot be
    /// used.
    pub(crate) fn recent(&self, now: Instant) -> Option<Option<Bytes>> {
        let content = |read: std::io::Result<Arc<Bytes>>| read.ok().map(|bytes| (*bytes).clone());
        self.file.recent(now).map(content)
    }

    /// The content as it is now; `None` where it cannot be used, which is said in the log once.
    pub(crate) async fn read(&self, now: Instant) -> Option<Bytes> {
        match self.file.read(now).await {
            Ok(bytes) => Some((*bytes).clone()),
            Err((error, is_new)) => {
                if is_new {
                    let file = self.file.path.display();
                    error!(%file, %error, "an error page cannot be used");
                }
                None
            }
        }
    }

    /// Puts this content into the place of our own page. Status and other fields stay.
    pub(crate) fn dress(&self, content: Bytes, response: &mut Response<Body>) {
        *response.body_mut() = Body::full(content);
        response.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
    }
}

/// By the ending of the file. Texts are UTF-8.
fn content_type(path: &Path) -> HeaderValue {
    match mime_guess::from_path(path).first_raw() {
        Some(text) if text.starts_with("text/") => {
            HeaderValue::try_from(format!("{text}; charset=utf-8"))
                .unwrap_or(HeaderValue::from_static("text/plain"))
        }
        Some(other) => HeaderValue::from_static(other),
        None => HeaderValue::from_static("application/octet-stream"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_page_is_the_file_of_its_status_while_it_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("404.html");
        let folders = ErrorStatus { status: 403, sub: Some(14) };
        let pages = ErrorPages::new(&[(404.into(), path.clone()), (folders, path.clone())]);
        let pages = pages.unwrap();
        assert!(pages.page(StatusCode::INTERNAL_SERVER_ERROR, 0).is_none());
        assert!(pages.page(StatusCode::FORBIDDEN, 14).is_some());
        assert!(pages.page(StatusCode::FORBIDDEN, 6).is_none());
        let page = pages.page(StatusCode::NOT_FOUND, 3).unwrap();
        let mut now = Instant::now();
        assert_eq!(page.recent(now), None);
        assert_eq!(page.read(now).await, None);
        assert_eq!(page.recent(now), Some(None));
        fs::write(&path, "lost?").unwrap();
        now += ERROR_PAGE_CHECKED_FOR;
        assert_eq!(page.read(now).await.unwrap(), "lost?");
        assert_eq!(page.recent(now), Some(Some(Bytes::from("lost?"))));
        let mut response = Response::new(Body::empty());
        page.dress(Bytes::from("lost?"), &mut response);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    }

    #[test]
    fn the_type_is_that_of_the_ending() {
        for (path, expected) in [
            ("a/404.html", "text/html; charset=utf-8"),
            ("500.txt", "text/plain; charset=utf-8"),
            ("e.json", "application/json"),
            ("e", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(path)), expected);
        }
    }
}
