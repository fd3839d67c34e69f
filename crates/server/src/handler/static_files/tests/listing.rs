//! Folders that are listed.

use http::header::CACHE_CONTROL;

use super::*;

fn listed(resolver: Resolver) -> Site {
    Site::with("/", |files| files.listing = true).forced(resolver)
}

/// The links of a page, in their order.
fn links(page: &str) -> Vec<&str> {
    page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn a_folder_without_a_default_document_is_listed_with_folders_first() {
    for resolver in root::tests::RESOLVERS {
        let site = listed(resolver);
        site.write("a/b.txt", vec![7; 1536]);
        site.write("a/A.txt", "text");
        site.write("a/z/index.html", "");
        fs::create_dir(site.path("a/Y")).unwrap();
        site.write("a/.hidden", "");
        site.write("a/back\\slash", "");
        let (status, headers, content) = site.get("/a/").await;
        let page = String::from_utf8(content).unwrap();
        assert_eq!(status, 200);
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
        assert_eq!(links(&page), ["../", "Y/", "z/", "A.txt", "b.txt"]);
        assert!(page.contains("<h1>/a/</h1>"), "{page}");
        assert!(page.contains("title=\"1536 bytes\">1.5 KiB<"), "{page}");
        assert!(page.contains("title=\"4 bytes\">4 B<"), "{page}");
        assert_eq!(links(&site.text("/").await), ["a/"], "nothing is above the root");
        assert_eq!(links(&site.text("/a/Y/").await), ["../"]);
        assert!(site.text("/a/Y/").await.contains("This folder is empty."));
        site.check("/a/z/", 200).await;
        site.check("/none/", 404).await;
        assert_eq!(site.get("/a").await.1[LOCATION], "/a/");
        assert_eq!(site.cached(), 1, "listings are not files");
    }
}

#[tokio::test]
async fn every_link_of_a_listing_leads_to_its_file() {
    let site = listed(Resolver::Kernel);
    let names: [&[u8]; 9] = [
        b"plain",
        b"<script>alert(1)</script>",
        b"a b&c=d?e#f%41;",
        b"\"'",
        b"\xff\xfe",
        "é\u{202e}txt".as_bytes(),
        b"javascript:alert(1)",
        b"line\nbreak",
        b"%2e%2e",
    ];
    for name in names {
        // A slash cannot be in a name.
        let name: Vec<u8> = name.iter().copied().filter(|byte| *byte != b'/').collect();
        fs::write(site.path("").join(OsStr::from_bytes(&name)), &name).unwrap();
    }
    let page = site.text("/").await;
    assert!(
        !page.contains("<script>") && !page.contains('\u{202e}') && !page.contains("line\nbreak")
    );
    let links = links(&page);
    assert_eq!(links.len(), names.len());
    for link in links {
        let (status, _, content) = site.get(&format!("/{link}")).await;
        assert_eq!(status, 200, "{link}");
        let name: Vec<u8> = percent_encoding::percent_decode_str(link).collect();
        assert_eq!(content, name);
    }
}

#[tokio::test]
async fn links_that_would_not_be_followed_are_not_listed() {
    for (symlinks, expected) in [
        (Symlinks::Refuse, vec!["a/", "file"]),
        (Symlinks::Inside, vec!["a/", "folder/", "file", "in"]),
        (Symlinks::Follow, vec!["a/", "folder/", "file", "in", "out"]),
    ] {
        for resolver in root::tests::RESOLVERS {
            let site = Site::with("/", |files| {
                files.listing = true;
                files.symlinks = symlinks;
            })
            .forced(resolver);
            fs::create_dir(site.path("a")).unwrap();
            site.write("file", "");
            symlink("file", site.path("in")).unwrap();
            symlink("a", site.path("folder")).unwrap();
            symlink("../secret", site.path("out")).unwrap();
            symlink("none", site.path("dangling")).unwrap();
            let _socket = UnixListener::bind(site.path("socket")).unwrap();
            assert_eq!(links(&site.text("/").await), expected, "{symlinks:?} by {resolver:?}");
        }
    }
}

#[tokio::test]
async fn head_of_a_listing_has_the_length_of_its_page() {
    let site = listed(Resolver::KernelAtOnce);
    site.write("a", "");
    let page = site.text("/").await;
    let (status, headers, content) = site.send(Request::head("/")).await;
    assert_eq!((status.as_u16(), content.len()), (200, 0));
    assert_eq!(headers[CONTENT_LENGTH], page.len().to_string());
}

#[tokio::test]
async fn a_listing_is_shared_for_a_moment_and_then_made_anew() {
    let mut site = listed(Resolver::KernelAtOnce);
    site.write("a", "");
    assert_eq!(links(&site.text("/").await), ["a"]);
    site.write("b", "");
    assert_eq!(links(&site.text("/").await), ["a"]);
    site.elapsed += limits::LISTING_KEPT_FOR;
    assert_eq!(links(&site.text("/").await), ["a", "b"]);
    // Another folder is never answered with it.
    fs::create_dir(site.path("c")).unwrap();
    assert_eq!(links(&site.text("/c/").await), ["../"]);
    site.write("index.html", "start");
    site.pass_window();
    assert_eq!(site.text("/").await, "start");
}

#[tokio::test]
async fn a_folder_with_too_many_entries_is_cut_and_says_so() {
    let mut site = listed(Resolver::KernelAtOnce);
    for number in 0..limits::LISTING_ENTRIES_MAX {
        fs::write(site.path(&number.to_string()), "").unwrap();
    }
    let page = site.text("/").await;
    assert_eq!(links(&page).len(), limits::LISTING_ENTRIES_MAX);
    assert!(!page.contains("There is more here"));
    site.write("one more", "");
    site.elapsed += limits::LISTING_KEPT_FOR;
    let page = site.text("/").await;
    assert_eq!(links(&page).len(), limits::LISTING_ENTRIES_MAX);
    let said = format!("There is more here than these {} entries.", limits::LISTING_ENTRIES_MAX);
    assert!(page.contains(&said));
}

#[tokio::test]
async fn a_listing_never_grows_beyond_its_bytes() {
    let site = listed(Resolver::KernelAtOnce);
    for number in 0..5000 {
        fs::write(site.path(&format!("{}{number:04}", "\"".repeat(251))), "").unwrap();
    }
    let page = site.text("/").await;
    assert!(page.len() < limits::LISTING_BYTES_MAX + 4096);
    let said = format!("There is more here than these {} entries.", links(&page).len());
    assert!(page.contains(&said));
}

#[tokio::test]
async fn below_a_route_the_page_names_the_whole_path() {
    let site = Site::with("/shop", |files| files.listing = true);
    site.write("a/b", "");
    let page = site.text("/shop/").await;
    assert!(page.contains("<h1>/shop/</h1>"));
    assert_eq!(links(&page), ["../", "a/"]);
    assert_eq!(links(&site.text("/shop/a/").await), ["../", "b"]);
}
