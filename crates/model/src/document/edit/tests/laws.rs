//! What holds for every file: a change and its inverse leave the bytes as they were, and change
//! nothing but what they are about.

use proptest::{prelude::*, sample};

use super::{add, apply, read, remove, set, unset};
use crate::{
    change::{Change, How, Place},
    document::write::difference,
};

/// Files as people have them.
const FILES: [&str; 8] = [
    super::TWO,
    "version = 1\n\n\n# detached\n\n#attached\n[[site]]\nname = 'a'\nroot = '/'\n# below\n\n\n[[site]]\nname='b'\nroot='/' # c\n#end",
    "version = 1\nsite = [ { name = 'a', root = '/', bindings = [ 'http/*:80:a' ] },\n  { name = 'b', root = '/' } ] # c\n",
    "version = 1\nsite = [\n  # a\n  { name = 'a', root = '/', limits.requests_max = 3 }, # b\n\n  { name = 'b', root = '/', listing = true , }\n]\ncertificate=[{name='c',file='c'}]\n",
    "version = 1\nserver.workers = 3\nserver . user = 'x'\n\n  [[ site ]] # head\n  name = 'a'\n  root = '/'\n  \"limits\" . requests_max = 4\n    [[site.bindings]]\n    on = 'http/*:80:a'\n    # in\n    [[site.bindings]] # two\n      on = 'https/*:443:a'\n      tls.minimum = '1.3'\n  [site.hsts]\n  max_age = 9\n",
    "version = 1\n[server]\n\n[[listener]]\non = 'https/*:443' # l\n[[site]]\nname = 'a'\nbindings = [ # open\n\t'http/*:80:a' # a, with a comma\n\t, 'https/*:443:a' ] # close\nroot = '''\n/srv/[[site]]'''\n\n[[site.applications]]\npath = '/x'\nroot = 'x'\n[[site.applications.redirects]]\npath = '/b'\nto = '/c'\n# after\n[server.central_store]\nfolder = 'c'\n",
    "# nothing but the version\nversion = 1 # here",
    "version = 1\n\n[[site]]\nname = \"\\u0061\"\nroot = \"\"\"/x # no comment\n[[site]]\"\"\"\nbindings = [\"http/*:80:a\", {on = \"https/*:443:a\", certificate = 'c' , tls={minimum='1.3'}}] \n\n[[certificate]]\nname = 'c'\nfile = 'c'\n",
];

/// Changes with their inverse.
fn pairs(site: &str) -> Vec<(Change, Change)> {
    let of = |kind: &str, name: &str| format!("{kind} {site} {name}");
    let mut pairs: Vec<_> = [
        (of("binding", "http/*:80:new.example"), ""),
        (of("binding", "https/192.0.2.1:443:"), "certificate = 'best', tls = { http2 = false }"),
        (of("app", "/new"), "respond = 'x'"),
        (of("app", "/long"), "proxy = { to = ['http://a.example.com:9000', 'http://b.example.com:9000'], sticky = 'address', forwarded = true }"),
        (of("folder", "/y"), "root = '/y', listing = true"),
        ("site new".to_owned(), "root = '/n', bindings = ['http/*:80:n'], compress = true"),
        (
            "site more".to_owned(),
            "root = '/n', bindings = [{ on = 'https/*:443:n', certificate = 'best' }], applications = [{ path = '/a', respond = '' }], cors = { origins = ['https://a.example'], methods = ['GET', 'POST'], headers = ['X-A'], max_age = 3 }",
        ),
        ("certificate new".to_owned(), "file = '/new.pem'"),
        ("listener https/192.0.2.1:443".to_owned(), "unknown_name = 'refuse'"),
    ]
    .into_iter()
    .map(|(at, fields)| (add(&at, fields), remove(&at)))
    .collect();
    let own = format!("site {site}");
    let keys = [
        (own.as_str(), "compress", "true"),
        (&own, "rate_limit", "{ requests = 5 }"),
        (&own, "limits.bytes_per_second_max", "5"),
        (&own, "error_pages.404", "'/404'"),
        (&own, "access", "['allow 10.0.0.0/8', 'deny all']"),
        ("server", "drain_seconds", "5"),
        ("server", "trusted_proxies", "['10.0.0.0/8']"),
        ("server", "access_log", "{ folder = '/l', keep_days = 5 }"),
    ];
    pairs.extend(keys.map(|(at, key, value)| (set(at, key, value), unset(at, key))));
    pairs
}

/// Line ends and what is around the text.
fn dressed(text: &str, form: u8) -> String {
    let mut text = text.to_owned();
    if form & 1 != 0 {
        text = text.replace('\n', "\r\n");
    }
    if form & 2 != 0 {
        text.insert(0, '\u{feff}');
    }
    if form & 4 != 0 {
        text.truncate(text.trim_end().len());
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn changes_and_their_inverses_leave_the_bytes_as_they_were(
        file in sample::select(&FILES[..]),
        form in 0..8_u8,
        places in prop::collection::vec((0..17_usize, any::<bool>()), 1..5),
    ) {
        let given = dressed(file, form);
        let names: Vec<_> = read(&given).configuration.table.sites.iter().map(|own| own.name.clone()).collect();
        let mut texts = vec![given.clone()];
        let mut back = Vec::new();
        for (place, last) in places {
            let name = if last { names.last() } else { names.first() };
            let site = name.cloned().unwrap_or_default();
            let pair = pairs(&site).swap_remove(place);
            let before = texts.last().unwrap();
            let made = apply(before, std::slice::from_ref(&pair.0));
            // What is there already is not added, and what is so already has no inverse.
            let Some(made) = made.ok().filter(|made| made != before) else { continue };
            // A line that became too long was broken: that is no longer as somebody wrote it.
            let opened = |text: &str| text.lines().filter(|line| line.ends_with('[')).count();
            let part = !matches!(pair.0.at, Place::Server | Place::Site(_));
            if part && opened(&made) > opened(before) {
                continue;
            }
            texts.push(made);
            back.push(pair.1);
        }
        let last = texts.pop().unwrap();
        let mut now = last.clone();
        for inverse in back.iter().rev() {
            now = apply(&now, std::slice::from_ref(inverse)).unwrap();
            prop_assert_eq!(Some(&now), texts.last(), "{:?}\n{}", inverse, last);
            texts.pop();
        }
        let inverses: Vec<_> = back.into_iter().rev().collect();
        prop_assert_eq!(apply(&last, &inverses).unwrap(), given);
    }

    #[test]
    fn a_change_changes_what_it_is_about(
        file in sample::select(&FILES[..]),
        form in 0..8_u8,
        place in 0..17_usize,
    ) {
        let given = dressed(file, form);
        let before = read(&given).configuration;
        for name in before.table.sites.iter().map(|own| own.name.as_str()).chain(["none"]) {
            let (change, _) = pairs(name).swap_remove(place);
            let Ok(made) = apply(&given, std::slice::from_ref(&change)) else { continue };
            let after = read(&made);
            let syntax = after.problems.iter().find(|own| own.code.as_str() == "syntax");
            prop_assert!(syntax.is_none(), "{:?}\n{}", syntax, made);
            let found = difference(&before, &after.configuration);
            let places: Vec<_> = found.0.iter().map(|entry| &entry.at).collect();
            prop_assert_eq!(places, vec![&change.at], "{}", made);
            let added = matches!(found.0[0].how, How::Added(_));
            prop_assert_eq!(added, matches!(change.act, crate::change::Act::Add(_)));
        }
    }

    #[test]
    fn any_text_is_changed_or_refused(text in "(\\[|\\]|site|server|name|'a'| = |=|\n|#|\\{|\\}|,|\\.|bindings|'http/\\*:80:x')*") {
        for name in ["a", "b"] {
            for (change, inverse) in pairs(name) {
                if let Ok(made) = apply(&text, std::slice::from_ref(&change)) {
                    prop_assert!(made.parse::<toml_edit::DocumentMut>().is_ok(), "{:?}: {}", change, made);
                    prop_assert!(apply(&made, std::slice::from_ref(&inverse)).is_ok(), "{}", made);
                }
                apply(&text, &[inverse]).ok();
            }
        }
    }
}
