//! The handler as a whole: folders on disk, requests, answers. Time is moved by the test.

mod listing;
mod options;
mod precompressed;

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bindery_model::site::Symlinks;
use http::{
    HeaderMap, Request, StatusCode,
    header::{
        ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
        LOCATION,
    },
};
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::{root::Resolver, *};
use crate::limits;

/// A folder that is served, next to things that may not be.
struct Site {
    outer: TempDir,
    files: StaticFiles,
    start: Instant,
    /// How far the test has moved the time.
    elapsed: Duration,
    wall: fn() -> SystemTime,
}

impl Site {
    /// All files are settled: the time of day is far behind their stamps.
    fn new() -> Self {
        Self::with("/", |_| {})
    }

    /// Below this path, with other settings.
    fn with(route: &str, change: impl FnOnce(&mut Files)) -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("root")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        let mut settings = Files {
            default_documents: vec!["index.html".to_owned(), "Default.htm".to_owned()],
            ..Files::of(outer.path().join("root"))
        };
        change(&mut settings);
        let files = StaticFiles::new(route, &settings, Arc::new(FileCache::default()));
        let wall = || clock::now() + Duration::from_secs(60);
        Self { outer, files, start: Instant::now(), elapsed: Duration::ZERO, wall }
    }

    fn by(resolver: Resolver) -> Self {
        Self::new().forced(resolver)
    }

    fn forced(self, resolver: Resolver) -> Self {
        root::tests::force(&self.files.folder.place, resolver, self.start);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outer.path().join("root").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Lets what was seen become old.
    fn pass_window(&mut self) {
        self.elapsed += limits::FILE_VERIFIED_FOR;
    }

    async fn ask(&self, request: Request<()>) -> Result<Response<Body>, RequestError> {
        let clock = Clock { now: self.start + self.elapsed, wall: self.wall };
        self.files.handle_at(&request.into_parts().0, clock).await
    }

    async fn get(&self, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
        self.send(Request::get(path)).await
    }

    async fn send(&self, request: http::request::Builder) -> (StatusCode, HeaderMap, Vec<u8>) {
        match self.ask(request.body(()).unwrap()).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let announced = http_body::Body::size_hint(&body).exact().unwrap();
                let content = body.collect().await.unwrap().to_bytes();
                assert_eq!(announced, content.len() as u64);
                (head.status, head.headers, content.to_vec())
            }
            Err(error) => (error.status(), HeaderMap::new(), Vec::new()),
        }
    }

    async fn check(&self, path: &str, status: u16) {
        assert_eq!(self.get(path).await.0, status, "{path}");
    }

    /// The content of what is there.
    async fn text(&self, path: &str) -> String {
        let (status, _, content) = self.get(path).await;
        assert_eq!(status, 200, "{path}");
        String::from_utf8(content).unwrap()
    }

    fn cached(&self) -> usize {
        self.files.folder.cache.len()
    }
}

fn large() -> Vec<u8> {
    (0..3 * limits::CACHED_FILE_BYTES_MAX).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_file_comes_with_its_type_length_and_validators() {
    for resolver in root::tests::RESOLVERS {
        let site = Site::by(resolver);
        site.write("a/page.html", "<p>");
        site.write("large.bin", large());
        for (path, kind, content) in [
            ("/a/page.html", "text/html; charset=utf-8", b"<p>".to_vec()),
            ("/large.bin", "application/octet-stream", large()),
        ] {
            // From the disk, and then from memory.
            for _ in 0..2 {
                let (status, headers, body) = site.get(path).await;
                assert_eq!(status, 200);
                assert!(body == content);
                assert_eq!(headers[CONTENT_TYPE], kind);
                assert_eq!(headers[ACCEPT_RANGES], "bytes");
                assert!(headers[ETAG].to_str().unwrap().starts_with('"'));
                assert!(headers.contains_key(LAST_MODIFIED));
                assert_eq!(headers.len(), 4);
            }
        }
        assert_eq!(site.cached(), 1, "the large one is not kept");
    }
}

#[tokio::test]
async fn head_is_get_without_the_content() {
    let site = Site::new();
    site.write("small.txt", "text");
    site.write("empty.txt", "");
    site.write("large.bin", large());
    for path in ["/small.txt", "/empty.txt", "/large.bin"] {
        let (status, headers, content) = site.send(Request::head(path)).await;
        assert!(content.is_empty());
        // With a body its length is what the body says, and nobody needs to repeat it.
        let mut get = site.get(path).await;
        get.1.insert(CONTENT_LENGTH, get.2.len().into());
        assert_eq!((status, &headers), (get.0, &get.1), "{path}");
        let range = Request::head(path).header("range", "bytes=1-2");
        assert_eq!(site.send(range).await.1, headers);
    }
}

#[tokio::test]
async fn other_methods_are_told_what_there_is() {
    let site = Site::new();
    site.write("a", "");
    for path in ["/a", "/none", "*"] {
        let (status, headers, _) = site.send(Request::options(path)).await;
        assert_eq!(
            (status, &headers[ALLOW]),
            (StatusCode::NO_CONTENT, &"GET, HEAD, OPTIONS".parse().unwrap())
        );
    }
    for method in ["POST", "PUT", "DELETE", "TRACE", "PATCH", "CONNECT", "get", "PROPFIND"] {
        let request = Request::builder().method(method).uri("/a").body(()).unwrap();
        match site.ask(request).await {
            Err(RequestError::MethodNotAllowed { allow, .. }) => {
                assert_eq!(allow, "GET, HEAD, OPTIONS");
            }
            other => panic!("{method}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_out_of_the_root() {
    for resolver in root::tests::RESOLVERS {
        let site = Site::by(resolver);
        site.write("a/b", "");
        for path in [
            "/../secret",
            "/a/../../secret",
            "/%2e%2e/secret",
            "/%2E%2E/secret",
            "/.%2e/secret",
            "/..%2fsecret",
            "/%2e%2e%2fsecret",
            "/..%5csecret",
            "/..\\secret",
            "/a/..%5c..%5csecret",
            "/%00",
            "/a%00.html",
            "/%zz",
            "/a/%2e/b",
            "/a/./b",
        ] {
            site.check(path, 400).await;
        }
        for path in [
            "/%252e%252e/secret",
            "/..%252fsecret",
            "//secret",
            "//etc/passwd",
            "/a//b",
            "/.../secret",
            "/etc/passwd",
            "/%c0%ae%c0%ae/secret",
            "/%uff0e%uff0e/secret",
        ] {
            let status = site.get(path).await.0;
            assert!(status == 404 || status == 400, "{path}: {status}");
        }
        assert_eq!(site.cached(), 0);
    }
}

#[tokio::test]
async fn links_that_stay_inside_work_and_others_are_refused() {
    let site = Site::new();
    site.write("a/file", "inside");
    symlink("a/file", site.path("link")).unwrap();
    symlink("a", site.path("folder")).unwrap();
    symlink("../a/file", site.path("a/up")).unwrap();
    symlink("../secret", site.path("out")).unwrap();
    symlink("/etc/passwd", site.path("absolute")).unwrap();
    symlink("..", site.path("parent")).unwrap();
    symlink("loop", site.path("loop")).unwrap();
    symlink("none", site.path("dangling")).unwrap();
    for path in ["/link", "/folder/file", "/a/up"] {
        assert_eq!(site.text(path).await, "inside", "{path}");
    }
    for path in ["/out", "/absolute", "/parent/secret", "/parent", "/parent/", "/loop"] {
        site.check(path, 403).await;
    }
    site.check("/dangling", 404).await;
    assert_eq!(site.cached(), 3);
}

#[tokio::test]
async fn a_file_replaced_by_a_link_out_of_the_root_is_refused_after_the_window() {
    let mut site = Site::new();
    site.write("a", "inside");
    assert_eq!(site.text("/a").await, "inside");
    fs::remove_file(site.path("a")).unwrap();
    symlink("../secret", site.path("a")).unwrap();
    site.pass_window();
    site.check("/a", 403).await;
    assert_eq!(site.cached(), 0);
}

#[tokio::test]
async fn hidden_files_are_not_there() {
    let site = Site::new();
    site.write(".git/config", "");
    site.write(".env", "");
    site.write("a/.htaccess", "");
    site.write("a/Web.config", "");
    site.write("a/.well-known/b", "");
    site.write(".well-known/acme-challenge/token", "key");
    for path in [
        "/.git/config",
        "/.git",
        "/.env",
        "/%2eenv",
        "/a/.htaccess",
        "/a/.well-known/b",
        "/a/Web.config",
    ] {
        site.check(path, 404).await;
    }
    assert_eq!(site.text("/.well-known/acme-challenge/token").await, "key");
}

#[tokio::test]
async fn only_regular_files_are_sent_and_none_is_waited_for() {
    for resolver in root::tests::RESOLVERS {
        let site = Site::by(resolver);
        let fifo = site.path("fifo");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _socket = UnixListener::bind(site.path("socket")).unwrap();
        site.check("/fifo", 403).await;
        site.check("/socket", 403).await;
        site.check("/fifo/", 404).await;
    }
}

#[tokio::test]
async fn what_may_not_be_read_is_refused() {
    if rustix::process::geteuid().is_root() {
        return; // Root may read everything; the mapping of the error is the same as for links.
    }
    let site = Site::new();
    site.write("a", "");
    fs::set_permissions(site.path("a"), fs::Permissions::from_mode(0o000)).unwrap();
    site.check("/a", 403).await;
}

#[tokio::test]
async fn what_is_missing_is_not_found() {
    for resolver in root::tests::RESOLVERS {
        let site = Site::by(resolver);
        site.write("a", "");
        let long = format!("/{}", "n".repeat(300));
        for path in ["/none", "/none/", "/none/b", "/a/", "/a/b", "/A", &long] {
            site.check(path, 404).await;
        }
        site.check(&format!("/{}", "n/".repeat(limits::PATH_BYTES_MAX)), 414).await;
        assert_eq!(site.cached(), 0);
    }
}

#[tokio::test]
async fn a_folder_answers_with_its_first_default_document() {
    for resolver in root::tests::RESOLVERS {
        let mut site = Site::by(resolver);
        site.write("Default.htm", "second");
        site.write("a/index.html", "first");
        site.write("b/other.html", "");
        site.write("c/index.html/not-a-file", "");
        site.write("c/Default.htm", "second");
        assert_eq!(site.text("/").await, "second");
        assert_eq!(site.text("/a/").await, "first");
        assert_eq!(site.text("/c/").await, "second");
        assert_eq!(site.get("/").await.1[CONTENT_TYPE], "text/html; charset=utf-8");
        site.check("/b/", 403).await;
        // One that comes before is noticed, and one that goes.
        site.write("index.html", "first");
        fs::remove_file(site.path("a/index.html")).unwrap();
        site.pass_window();
        assert_eq!(site.text("/").await, "first");
        site.check("/a/", 403).await;
    }
}

#[tokio::test]
async fn a_folder_without_its_slash_is_sent_to_the_one_with() {
    let site = Site::new();
    site.write("a/b c/index.html", "");
    fs::create_dir(site.path("é")).unwrap();
    for (asked, location) in [
        ("/a", "/a/"),
        ("/a?x=//y", "/a/?x=//y"),
        ("/a?", "/a/?"),
        ("/a/b%20c", "/a/b%20c/"),
        ("/%61", "/%61/"),
        ("/%c3%a9", "/%c3%a9/"),
        ("/é", "/%C3%A9/"),
        ("http://example.com/a", "/a/"),
    ] {
        let (status, headers, _) = site.get(asked).await;
        assert_eq!(
            (status, headers[LOCATION].to_str().unwrap()),
            (StatusCode::MOVED_PERMANENTLY, location)
        );
    }
    // Nothing that a browser would read as another host.
    for path in ["//a", "//example.com/..", "/%2fa", "/\\a", "/%5ca"] {
        assert!(!site.get(path).await.0.is_redirection(), "{path}");
    }
}

#[tokio::test]
async fn names_are_bytes() {
    let site = Site::new();
    fs::write(site.path("").join(OsStr::from_bytes(b"\xff\n.txt")), "bytes").unwrap();
    assert_eq!(site.text("/%ff%0a.txt").await, "bytes");
    site.write("a%62", "percent");
    assert_eq!(site.text("/a%2562").await, "percent");
    site.check("/a%62", 404).await;
}

#[tokio::test]
async fn spellings_of_one_path_share_one_place_in_memory() {
    let site = Site::new();
    site.write("abc", "one");
    for path in ["/abc", "/%61bc", "/a%62c", "/%61%62%63", "/abc?query"] {
        assert_eq!(site.text(path).await, "one");
    }
    assert_eq!(site.cached(), 1);
}

#[tokio::test]
async fn a_changed_file_is_sent_new_after_the_window_and_with_another_tag() {
    for resolver in root::tests::RESOLVERS {
        let mut site = Site::by(resolver);
        site.write("a", "old");
        let old = site.get("/a").await;
        // Same size, another inode.
        site.write("b", "new");
        fs::rename(site.path("b"), site.path("a")).unwrap();
        assert_eq!(site.text("/a").await, "old", "within the window");
        site.pass_window();
        let new = site.get("/a").await;
        assert_eq!(new.2, b"new");
        assert_ne!(old.1[ETAG], new.1[ETAG]);
        site.pass_window();
        assert_eq!(site.get("/a").await, new);
        // It grows too large for memory, and goes.
        site.write("a", large());
        site.pass_window();
        assert!(site.get("/a").await.2 == large());
        assert_eq!(site.cached(), 0);
        fs::remove_file(site.path("a")).unwrap();
        site.check("/a", 404).await;
    }
}

#[tokio::test]
async fn a_young_file_is_read_again_whatever_its_stamps_say() {
    let mut site = Site::new();
    // A clock that is behind cannot tell either: it is as if the file was just written.
    site.wall = || clock::now() - Duration::from_secs(60);
    site.write("a", "old");
    let first = site.get("/a").await;
    assert!(first.1[ETAG].to_str().unwrap().starts_with("W/"));
    let file = site.files.folder.cache.find(site.files.folder.number, b"/a").unwrap();
    assert!(!file.versions.plain.representation.settled);
    site.pass_window();
    site.get("/a").await;
    let again = site.files.folder.cache.find(site.files.folder.number, b"/a").unwrap();
    assert!(!Arc::ptr_eq(&file, &again));
    // A minute later the tag is strong, and the copy is kept as long as the stamps are the same.
    site.wall = || clock::now() + Duration::from_secs(60);
    site.pass_window();
    let strong = site.get("/a").await.1[ETAG].clone();
    assert_eq!(first.1[ETAG].to_str().unwrap(), format!("W/{}", strong.to_str().unwrap()));
    let settled = site.files.folder.cache.find(site.files.folder.number, b"/a").unwrap();
    site.pass_window();
    site.get("/a").await;
    let kept = site.files.folder.cache.find(site.files.folder.number, b"/a").unwrap();
    assert!(Arc::ptr_eq(&settled, &kept));
}

#[tokio::test]
async fn a_root_that_is_replaced_by_another_is_served_after_the_window() {
    let mut site = Site::new();
    site.write("a", "old");
    site.write("only-old", "");
    assert_eq!(site.text("/a").await, "old");
    let next = site.outer.path().join("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("a"), "new").unwrap();
    fs::rename(site.path(""), site.outer.path().join("previous")).unwrap();
    site.pass_window();
    site.check("/a", 500).await;
    fs::rename(&next, site.path("")).unwrap();
    site.pass_window();
    assert_eq!(site.text("/a").await, "new");
    site.check("/only-old", 404).await;
}

#[tokio::test]
async fn a_root_behind_a_link_follows_the_link() {
    let mut site = Site::new();
    let outer = site.outer.path().to_owned();
    for (release, text) in [("1", "one"), ("2", "two")] {
        fs::create_dir(outer.join(release)).unwrap();
        fs::write(outer.join(release).join("a"), text).unwrap();
    }
    fs::remove_dir(site.path("")).unwrap();
    symlink("1", outer.join("root")).unwrap();
    assert_eq!(site.text("/a").await, "one");
    symlink("2", outer.join("next")).unwrap();
    fs::rename(outer.join("next"), outer.join("root")).unwrap();
    site.pass_window();
    assert_eq!(site.text("/a").await, "two");
}

#[tokio::test]
async fn a_root_that_is_missing_or_no_folder_is_our_fault_until_it_is_there() {
    let mut site = Site::new();
    fs::remove_dir(site.path("")).unwrap();
    site.check("/a", 500).await;
    fs::write(site.outer.path().join("root"), "").unwrap();
    site.check("/a", 500).await;
    fs::remove_file(site.outer.path().join("root")).unwrap();
    site.write("a", "here");
    site.pass_window();
    assert_eq!(site.text("/a").await, "here");
}

#[tokio::test]
async fn a_part_of_a_file_is_sent_from_memory_and_from_disk() {
    let site = Site::new();
    site.write("small", &large()[..1000]);
    site.write("large", large());
    for (path, length) in [("/small", 1000), ("/large", large().len())] {
        for (range, first, last) in [
            ("0-0".to_owned(), 0, 0),
            ("10-19".to_owned(), 10, 19),
            ("990-".to_owned(), 990, length - 1),
            ("-5".to_owned(), length - 5, length - 1),
            (format!("0-{length}"), 0, length - 1),
        ] {
            let request = Request::get(path).header("range", format!("bytes={range}"));
            let (status, headers, content) = site.send(request).await;
            assert_eq!(status, 206);
            assert_eq!(headers[CONTENT_RANGE], format!("bytes {first}-{last}/{length}"));
            assert!(content == large()[first..=last], "{path} {range}");
        }
        let request = Request::get(path).header("range", format!("bytes={length}-"));
        match site.ask(request.body(()).unwrap()).await {
            Err(RequestError::RangeNotSatisfiable { length: told }) => {
                assert_eq!(told, length as u64);
            }
            other => panic!("{other:?}"),
        }
        for field in ["bytes=0-1,5-6", "bytes=900-,10-19,0-5,3-7"] {
            let (status, headers, content) =
                site.send(Request::get(path).header("range", field)).await;
            assert_eq!(status, 206);
            assert!(!headers.contains_key(CONTENT_RANGE));
            let parts = multipart::tests::read(headers[CONTENT_TYPE].to_str().unwrap(), &content);
            assert!(parts.len() > 1);
            for (range, bytes) in parts {
                let range = range.strip_prefix("bytes ").unwrap();
                let (range, all) = range.split_once('/').unwrap();
                let (first, last) = range.split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                assert_eq!(all, length.to_string());
                assert!(bytes == large()[first..=last], "{path} {range}");
            }
        }
    }
}

#[tokio::test]
async fn an_unmodified_file_is_not_sent_again() {
    let site = Site::new();
    site.write("small", "text");
    site.write("large", large());
    for path in ["/small", "/large"] {
        let whole = site.get(path).await.1;
        for method in ["GET", "HEAD"] {
            for (name, field) in [("if-none-match", ETAG), ("if-modified-since", LAST_MODIFIED)] {
                let request =
                    Request::builder().method(method).uri(path).header(name, &whole[&field]);
                let (status, headers, content) = site.send(request).await;
                assert_eq!((status, content.len()), (StatusCode::NOT_MODIFIED, 0));
                assert_eq!(headers[ETAG], whole[ETAG]);
                assert_eq!(headers[LAST_MODIFIED], whole[LAST_MODIFIED]);
                assert_eq!(headers.len(), 2);
            }
        }
        let request = Request::get(path).header("if-match", "\"another\"");
        assert_eq!(site.send(request).await.0, 412);
    }
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_sent_breaks_off() {
    let site = Site::new();
    site.write("large", large());
    let response = site.ask(Request::get("/large").body(()).unwrap()).await.unwrap();
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(large().len() as u64));
    fs::OpenOptions::new().write(true).open(site.path("large")).unwrap().set_len(5).unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 5);
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[test]
fn a_file_that_changes_between_opening_and_reading_is_read_as_it_is_then() {
    for patience in [Patience::Wait, Patience::Never] {
        for (then, kept) in [(&b"longer than before"[..], true), (b"", true), (&large(), false)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"before").unwrap();
            let stamp = representation::Stamp::of(&file.metadata().unwrap());
            let same = file.try_clone().unwrap();
            file.set_len(0).unwrap();
            rustix::io::pwrite(&file, then, 0).unwrap();
            let found = find::FoundFile { file: same, stamp };
            let content_type = "a/b".parse().unwrap();
            let described =
                representation::Description { content_type, cache_control: None, expires: None };
            let loaded = find::load(found, &described, clock::now(), patience).unwrap();
            assert_eq!(loaded.representation.stamp.length(), then.len() as u64);
            match loaded.source {
                find::Source::Memory(content) => assert!(kept && content == then),
                find::Source::Disk(_) => assert!(!kept),
            }
        }
    }
}

#[tokio::test]
async fn folders_that_share_a_cache_do_not_share_files() {
    let (one, two) = (Site::new(), Site::new());
    let cache = Arc::clone(&one.files.folder.cache);
    let settings = Files { default_documents: Vec::new(), ..Files::of(two.path("")) };
    let two = Site { files: StaticFiles::new("/", &settings, cache), ..two };
    one.write("a", "one");
    two.write("a", "two");
    for _ in 0..2 {
        assert_eq!(one.text("/a").await, "one");
        assert_eq!(two.text("/a").await, "two");
    }
    assert_eq!(one.cached(), 2);
}

#[tokio::test]
async fn a_default_document_cannot_lead_out_of_the_root() {
    for resolver in root::tests::RESOLVERS {
        let names = ["", "a\0b", "../secret", "/etc/passwd", ".", "a/../../secret"];
        let site = Site::with("/", |files| {
            files.default_documents = names.map(str::to_owned).to_vec();
            files.symlinks = Symlinks::Follow;
        })
        .forced(resolver);
        site.write("a/b", "");
        site.check("/", 403).await;
        site.check("/a/", 403).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_ask_for_a_cold_file_at_once() {
    let site = Arc::new(Site::new());
    site.write("a", "text");
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let site = Arc::clone(&site);
            tokio::spawn(async move { site.text("/a").await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "text");
    }
    assert_eq!(site.cached(), 1);
}
