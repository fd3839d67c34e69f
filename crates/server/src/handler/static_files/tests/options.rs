//! What a configuration may change: routes, types, Cache-Control, links, fallback documents.

use bindery_model::{
    rules::PathPattern,
    site::{CacheRule, UnknownTypes},
};
use http::header::CACHE_CONTROL;

use super::*;

#[tokio::test]
async fn below_a_route_names_begin_after_it() {
    for resolver in root::tests::RESOLVERS {
        let site = Site::with("/shop", |_| {}).forced(resolver);
        site.write("index.html", "start");
        site.write("a/b.txt", "text");
        site.write("shop/c", "inner");
        for _ in 0..2 {
            assert_eq!(site.text("/shop/").await, "start");
            assert_eq!(site.text("/shop/a/b.txt").await, "text");
            assert_eq!(site.text("/%73hop/a/b.txt").await, "text");
            assert_eq!(site.text("/shop/shop/c").await, "inner");
        }
        for (asked, location) in
            [("/shop", "/shop/"), ("/shop?q", "/shop/?q"), ("/shop/a", "/shop/a/")]
        {
            let (status, headers, _) = site.get(asked).await;
            assert_eq!((status.as_u16(), headers[LOCATION].to_str().unwrap()), (301, location));
        }
        for path in ["/", "/a/b.txt", "/shopping", "/shop/b.txt", "/shop/secret"] {
            site.check(path, 404).await;
        }
        site.check("/shop/../secret", 400).await;
    }
}

#[tokio::test]
async fn a_type_that_no_table_knows_is_refused_where_a_site_wants_that() {
    let site = Site::with("/", |files| {
        files.unknown_types = UnknownTypes::Refuse;
        files.media_types = [("foo".to_owned(), "application/x-foo".to_owned())].into();
        files.fallback = Some("/index.html".to_owned());
    });
    site.write("index.html", "start");
    for name in ["LICENSE", "a.nobodyknows", "large.unknown"] {
        site.write(name, "text");
        site.check(&format!("/{name}"), 404).await;
    }
    site.write("a.foo", "foo");
    let (status, headers, _) = site.get("/a.foo").await;
    assert_eq!(
        (status.as_u16(), &headers[CONTENT_TYPE]),
        (200, &"application/x-foo".parse().unwrap())
    );
    assert_eq!(site.text("/none").await, "start", "nothing there is something else");
}

#[tokio::test]
async fn the_first_rule_that_fits_says_how_long_a_file_may_be_kept() {
    let rule = |path, value: &str| CacheRule { path, value: value.to_owned(), expires: None };
    let site = Site::with("/app", |files| {
        files.cache_control = vec![
            rule(PathPattern::Prefix("/app/assets".to_owned()), "max-age=1"),
            rule(PathPattern::Suffix(".css".to_owned()), "max-age=2"),
            rule(PathPattern::Exact("/app/index.html".to_owned()), "no-cache"),
        ];
    });
    site.write("index.html", "start");
    site.write("a.css", "");
    site.write("assets/a.css", "");
    site.write("assets/large.bin", large());
    site.write("a.txt", "");
    for (path, expected) in [
        ("/app/assets/a.css", Some("max-age=1")),
        ("/app/assets/large.bin", Some("max-age=1")),
        ("/app/a.css", Some("max-age=2")),
        ("/app/", Some("no-cache")),
        ("/app/index.html", Some("no-cache")),
        ("/app/a.txt", None),
    ] {
        for _ in 0..2 {
            let (status, headers, _) = site.get(path).await;
            assert_eq!(status, 200);
            let value = headers.get(CACHE_CONTROL).map(|value| value.to_str().unwrap());
            assert_eq!(value, expected, "{path}");
            // What was not modified may be kept for as long (RFC 9110, 15.4.5).
            let same = Request::get(path).header("if-none-match", &headers[ETAG]);
            let (status, headers, _) = site.send(same).await;
            assert_eq!(status, 304);
            let value = headers.get(CACHE_CONTROL).map(|value| value.to_str().unwrap());
            assert_eq!(value, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn links_are_followed_as_the_site_says() {
    for (symlinks, inside, outside) in
        [(Symlinks::Refuse, 403, 403), (Symlinks::Inside, 200, 403), (Symlinks::Follow, 200, 200)]
    {
        for resolver in root::tests::RESOLVERS {
            let site = Site::with("/", |files| files.symlinks = symlinks).forced(resolver);
            site.write("a/file", "inside");
            symlink("a/file", site.path("in")).unwrap();
            symlink("../secret", site.path("out")).unwrap();
            symlink(site.outer.path().join("secret"), site.path("absolute")).unwrap();
            site.check("/in", inside).await;
            site.check("/out", outside).await;
            site.check("/absolute", outside).await;
            site.check("/../secret", 400).await;
            site.check("/a/file", 200).await;
        }
    }
}

#[tokio::test]
async fn the_fallback_answers_where_nothing_is_found() {
    for resolver in root::tests::RESOLVERS {
        let fallback = |files: &mut Files| files.fallback = Some("/app.html".to_owned());
        for (route, base) in [("/", ""), ("/app", "/app")] {
            let mut site = Site::with(route, fallback).forced(resolver);
            site.write("app.html", "app");
            site.write("a/file", "file");
            symlink("../secret", site.path("out")).unwrap();
            for path in ["/", "/none", "/none/", "/a/none", "/a/file/", "/a/", "/users/1?x"] {
                for _ in 0..2 {
                    assert_eq!(site.text(&format!("{base}{path}")).await, "app", "{path}");
                }
            }
            assert_eq!(
                site.get(&format!("{base}/none")).await.1[CONTENT_TYPE],
                "text/html; charset=utf-8"
            );
            assert_eq!(site.text(&format!("{base}/a/file")).await, "file");
            let head = site.send(Request::head(format!("{base}/none"))).await;
            assert_eq!((head.0.as_u16(), head.1[CONTENT_LENGTH].to_str().unwrap()), (200, "3"));
            for (method, status) in [("POST", 405), ("OPTIONS", 204)] {
                let request = Request::builder().method(method).uri(format!("{base}/none"));
                assert_eq!(site.send(request).await.0, status);
            }
            for (path, status) in [("/out", 403), ("/.env", 404), ("/a/..", 400), ("/a", 301)] {
                site.check(&format!("{base}{path}"), status).await;
            }
            assert_eq!(site.cached(), 2, "names that do not exist take no memory");
            // It changes, and goes.
            site.write("app.html", "new app");
            site.pass_window();
            assert_eq!(site.text(&format!("{base}/none")).await, "new app");
            fs::remove_file(site.path("app.html")).unwrap();
            site.pass_window();
            site.check(&format!("{base}/none"), 404).await;
        }
    }
}

#[tokio::test]
async fn a_fallback_that_is_no_file_leads_nowhere() {
    for (fallback, status) in [
        ("/folder", 404),
        ("/none", 404),
        ("/out", 403),
        ("../secret", 404),
        ("/", 404),
        ("/a\0b", 404),
        ("/large.bin", 200),
    ] {
        let site = Site::with("/", |files| files.fallback = Some(fallback.to_owned()));
        fs::create_dir(site.path("folder")).unwrap();
        symlink("../secret", site.path("out")).unwrap();
        site.write("large.bin", large());
        site.check("/missing", status).await;
    }
}

#[tokio::test]
async fn hidden_names_are_not_there_at_any_depth_or_in_any_case() {
    let site = Site::with("/", |files| {
        files.hidden = ["bin".to_owned(), "web.config".to_owned()].into();
        files.listing = true;
    });
    for name in ["bin/a.txt", "a/BIN/b.txt", "web.config", "a/Web.Config", "binary/a.txt"] {
        site.write(name, "text");
    }
    for path in ["/bin/a.txt", "/bin/", "/bin", "/a/BIN/b.txt", "/web.config", "/a/Web%2Econfig"] {
        site.check(path, 404).await;
    }
    site.check("/binary/a.txt", 200).await;
    let (_, _, page) = site.get("/a/").await;
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(!page.contains("BIN") && !page.contains("Config"), "{page}");
}
