//! Siblings that hold a file in a content coding.

use http::header::{CONTENT_ENCODING, VARY};

use super::*;
use crate::limits::CACHED_FILE_BYTES_MAX;

/// What browsers say.
const BROWSER: &str = "gzip, deflate, br, zstd";

impl Site {
    /// The coding, whether the answer says that there are others, and the content.
    async fn accepting(&self, path: &str, accepted: &str) -> (String, bool, Vec<u8>) {
        let request = Request::get(path).header("accept-encoding", accepted);
        let (status, headers, content) = self.send(request).await;
        assert_eq!(status, 200);
        let coding = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap());
        let varies = headers.get(VARY).map(|value| value.to_str().unwrap().to_owned());
        assert!(varies.is_none() || varies.as_deref() == Some("Accept-Encoding"));
        assert_eq!(headers[CONTENT_TYPE], "text/css; charset=utf-8");
        (coding.to_owned(), varies.is_some(), content)
    }

    /// Whether it is answered without looking at the disk.
    fn is_in_memory(&self, path: &str, accepted: &str) -> bool {
        let request = Request::get(path).header("accept-encoding", accepted).body(()).unwrap();
        let now = self.start + self.elapsed;
        matches!(self.files.recall(&request.into_parts().0, now), Ok(FromMemory::Answer(_)))
    }
}

#[tokio::test]
async fn the_sibling_is_sent_that_the_client_would_rather_have() {
    for resolver in root::tests::RESOLVERS {
        let site = Site::new().forced(resolver);
        site.write("a.css", "plain");
        site.write("a.css.br", "brotli");
        site.write("a.css.gz", "gzip");
        for _ in 0..2 {
            for (accepted, coding, content) in [
                (BROWSER, "br", "brotli"),
                ("gzip, deflate", "gzip", "gzip"),
                ("zstd", "", "plain"),
                ("br;q=0.5, gzip", "gzip", "gzip"),
                ("br;q=0, *", "gzip", "gzip"),
                ("identity", "", "plain"),
                ("identity;q=0", "", "plain"),
                ("", "", "plain"),
            ] {
                let expected = (coding.to_owned(), true, content.as_bytes().to_vec());
                assert_eq!(site.accepting("/a.css", accepted).await, expected, "{accepted}");
                assert!(site.is_in_memory("/a.css", accepted));
            }
        }
        let (_, headers, content) = site.get("/a.css").await;
        assert_eq!(content, b"plain");
        assert!(!headers.contains_key(CONTENT_ENCODING) && headers.contains_key(VARY));
        assert_eq!(site.cached(), 1);
    }
}

#[tokio::test]
async fn without_siblings_nothing_varies_and_the_disk_is_not_asked_again() {
    let mut site = Site::new();
    site.write("a.css", "plain");
    for _ in 0..2 {
        assert_eq!(
            site.accepting("/a.css", BROWSER).await,
            (String::new(), false, b"plain".to_vec())
        );
        assert!(site.is_in_memory("/a.css", BROWSER));
        assert!(site.is_in_memory("/a.css", "identity"));
        site.pass_window();
        assert!(!site.is_in_memory("/a.css", BROWSER));
    }
}

#[tokio::test]
async fn siblings_that_come_change_or_go_are_noticed_after_the_window() {
    for resolver in root::tests::RESOLVERS {
        let mut site = Site::new().forced(resolver);
        site.write("a.css", "plain");
        assert_eq!(site.accepting("/a.css", BROWSER).await.2, b"plain");
        for content in ["gzip", "changed"] {
            site.write("next", content);
            fs::rename(site.path("next"), site.path("a.css.gz")).unwrap();
            site.pass_window();
            let expected = ("gzip".to_owned(), true, content.as_bytes().to_vec());
            assert_eq!(site.accepting("/a.css", BROWSER).await, expected);
        }
        fs::remove_file(site.path("a.css.gz")).unwrap();
        site.pass_window();
        assert_eq!(
            site.accepting("/a.css", BROWSER).await,
            (String::new(), false, b"plain".to_vec())
        );
        site.write("a.css.gz", "gzip");
        fs::remove_file(site.path("a.css")).unwrap();
        site.pass_window();
        site.check("/a.css", 404).await;
    }
}

#[tokio::test]
async fn large_and_small_versions_stand_side_by_side() {
    let site = Site::new();
    let (big, bigger) = (large(), vec![7; 4 * CACHED_FILE_BYTES_MAX]);
    site.write("a.css", &bigger);
    site.write("a.css.br", &big);
    site.write("a.css.gz", "small");
    for _ in 0..2 {
        assert!(site.accepting("/a.css", "br").await.2 == big);
        assert!(site.accepting("/a.css", "gzip").await.2 == b"small");
        assert!(site.accepting("/a.css", "").await.2 == bigger);
    }
    assert!(site.is_in_memory("/a.css", "gzip"));
    assert!(!site.is_in_memory("/a.css", "br"));
    assert_eq!(site.cached(), 1);
}

#[tokio::test]
async fn each_version_has_its_own_tag_ranges_and_conditions() {
    let site = Site::new();
    site.write("a.css", "plain text");
    site.write("a.css.gz", "gzip text");
    let get = |accepted: &str| Request::get("/a.css").header("accept-encoding", accepted);
    let plain = site.send(get("")).await.1;
    let gzip = site.send(get("gzip")).await.1;
    assert_ne!(plain[ETAG], gzip[ETAG]);
    for (accepted, own, other) in [("", &plain, &gzip), ("gzip", &gzip, &plain)] {
        let same = site.send(get(accepted).header("if-none-match", &own[ETAG])).await;
        assert_eq!(same.0, 304);
        assert_eq!(same.1[VARY], "Accept-Encoding");
        assert_eq!(same.1[ETAG], own[ETAG]);
        assert_eq!(site.send(get(accepted).header("if-none-match", &other[ETAG])).await.0, 200);
    }
    let range = get("gzip").header("range", "bytes=0-3").header("if-range", &gzip[ETAG]);
    let (status, headers, content) = site.send(range).await;
    assert_eq!((status.as_u16(), content.as_slice()), (206, &b"gzip"[..]));
    assert_eq!(headers[CONTENT_ENCODING], "gzip");
    assert_eq!(headers[CONTENT_RANGE], "bytes 0-3/9");
    let range = get("gzip").header("range", "bytes=0-3").header("if-range", &plain[ETAG]);
    assert_eq!(site.send(range).await.0, 200, "bytes of two codings are never joined");
    let head = site.send(Request::head("/a.css").header("accept-encoding", "gzip")).await;
    assert_eq!(head.1[CONTENT_LENGTH], "9");
    assert_eq!(head.1[CONTENT_ENCODING], "gzip");
}

#[tokio::test]
async fn what_is_no_file_that_may_be_read_is_no_sibling() {
    let site = Site::new();
    site.write("a.css", "plain");
    fs::create_dir(site.path("a.css.br")).unwrap();
    symlink("../secret", site.path("a.css.gz")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    let fifo = site.path("a.css.zst");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(site.accepting("/a.css", BROWSER).await, (String::new(), false, b"plain".to_vec()));
}

#[tokio::test]
async fn siblings_are_left_alone_where_a_site_wants_that() {
    let site = Site::with("/", |files| files.precompressed = false);
    site.write("a.css", "plain");
    site.write("a.css.gz", "gzip");
    assert_eq!(site.accepting("/a.css", BROWSER).await, (String::new(), false, b"plain".to_vec()));
}

#[tokio::test]
async fn default_and_fallback_documents_have_siblings_too() {
    let site = Site::with("/", |files| files.fallback = Some("app.css".to_owned()));
    for (name, asked) in [("a/index.html", "/a/"), ("app.css", "/none")] {
        site.write(name, "plain");
        site.write(&format!("{name}.gz"), "gzip");
        let request = Request::get(asked).header("accept-encoding", BROWSER);
        let (status, headers, content) = site.send(request).await;
        assert_eq!((status.as_u16(), content.as_slice()), (200, &b"gzip"[..]), "{asked}");
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
    }
}
