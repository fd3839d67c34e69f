//! Every sample configuration is read, in either form; and whatever is changed in it and changed
//! back leaves the file byte for byte as it was.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bindery_control::home::{Form, Home};
use bindery_model::{
    change::{Act, Change, Fields, Place, Value},
    problem::Severity,
};
use proptest::prelude::*;

/// As people have them: everything on one line, with odd white space, with comments everywhere.
const WRITTEN_BY_HAND: [&str; 3] = [
    "version = 1\nsite = [ { name = 'a', root = '/', bindings = [ 'http/*:80:a' ] },\n  { name = 'b', \
     root = '/' } ] # c\n",
    "# first\nversion   =  1\n\n\n[[site]] # head\n\tname='a'\n\troot = '/' # where it is\n\
     \tbindings = [\n\t\t'http/*:80:a', # plain\n\t\t'https/*:443:a'\n\t]\n# last, without an end",
    "version = 1\n[server]\ndrain_seconds = 9\n\n  [[site]]\n  name = \"B\\u00fccher\"\n  root = '/b'\n\
     \n    [[site.bindings]]\n    on = \"https/*:443:b.example\"\n    tls = { minimum = \"1.3\" }\n",
];

/// The samples that are not meant to be whole: a file that was cut off while it was written.
const CUT_OFF: &str = "cut-off";

/// A configuration to be changed.
struct Sample {
    name: String,
    text: String,
}

fn samples() -> Vec<Sample> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folders =
        [crates.join("iis/tests/samples"), crates.parent().unwrap().join("fuzz/seeds/document")];
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let all = fs::read_dir(&folder);
        let all = all.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        files.extend(all.map(|file| file.unwrap().path()));
    }
    files.sort();
    let read = |file: PathBuf| Sample {
        name: file.file_name().unwrap().to_string_lossy().into_owned(),
        text: fs::read_to_string(&file).unwrap(),
    };
    let mut samples: Vec<_> = files.into_iter().map(read).collect();
    samples.extend(WRITTEN_BY_HAND.iter().zip(1..).map(|(text, number)| Sample {
        name: format!("by hand {number}"),
        text: (*text).to_owned(),
    }));
    samples
}

/// What is around the text: line ends of Windows, a byte order mark, a last line without an end.
fn dressed(text: &str, dress: u8) -> String {
    let mut text = text.replace("\r\n", "\n").trim_start_matches('\u{feff}').to_owned();
    if dress & 1 != 0 {
        text = text.replace('\n', "\r\n");
    }
    if dress & 2 != 0 {
        text.insert(0, '\u{feff}');
    }
    if dress & 4 != 0 {
        text.truncate(text.trim_end().len());
    }
    text
}

/// A text in a file of its own, and the names of its sites.
struct Written {
    home: Home,
    text: String,
    sites: Vec<String>,
    errors: Vec<String>,
    #[allow(dead_code, reason = "the folder lives as long as its home")]
    folder: tempfile::TempDir,
}

fn written(text: &str) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("configuration");
    fs::write(&path, text).unwrap();
    let loaded = Home::load(&path).unwrap();
    let errors = errors(&loaded.home, text);
    let sites = &loaded.document.configuration.table.sites;
    let sites = sites.iter().map(|site| site.name.clone()).collect();
    Written { home: loaded.home, text: loaded.text, sites, errors, folder }
}

fn errors(home: &Home, text: &str) -> Vec<String> {
    let (document, _) = home.read(text, &Default::default());
    let all = document.problems.iter().filter(|one| one.severity() == Severity::Error);
    all.map(|one| one.message.clone()).collect()
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn fields<const N: usize>(keys: [(&str, Value); N]) -> Fields {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A change, and the one that takes it back.
fn pairs(site: &str) -> Vec<(Change, Change)> {
    let own = || site.to_owned();
    let binding = |on: &str| Place::Binding { site: own(), on: on.to_owned() };
    let folder = |path: &str| Place::VirtualDirectory { site: own(), path: path.to_owned() };
    let application = |path: &str| Place::Application { site: own(), path: path.to_owned() };
    let bindings =
        Value::List(vec![text("http/*:80:new.example"), text("https/*:443:new.example")]);
    let new = fields([("root", text("/srv/new")), ("bindings", bindings)]);
    let stopped = fields([("root", text("/srv/<&>")), ("state", text("stopped"))]);
    let added = [
        (Place::Site("new".to_owned()), new),
        (Place::Site("stopped \"too\"".to_owned()), stopped),
        (binding("http/*:80:more.example"), Fields::new()),
        (binding("https/192.0.2.77:443:"), Fields::new()),
        (binding("https/*:443:*.more.example"), Fields::new()),
        (application("/new"), fields([("root", text("/srv/application"))])),
        (folder("/images-new"), fields([("root", text("/srv/images"))])),
        (Place::Certificate("new".to_owned()), fields([("file", text("/new.pem"))])),
        (Place::Listener("https/192.0.2.77:443".to_owned()), fields([("no_sni", text("refuse"))])),
    ];
    let mut pairs: Vec<_> = added
        .into_iter()
        .map(|(at, keys)| {
            let remove = Change { at: at.clone(), act: Act::Remove };
            (Change { at, act: Act::Add(keys) }, remove)
        })
        .collect();
    let headers = Value::Table(fields([("set", Value::Table(fields([("X-New", text("\"1\""))])))]));
    let set = [
        (Place::Site(own()), "default_documents", Value::List(vec![text("new.html")])),
        (Place::Site(own()), "listing", Value::Boolean(true)),
        (Place::Site(own()), "response_headers", headers),
        (Place::Site(own()), "limits.requests_max", Value::Integer(77)),
        (Place::Site(own()), "state", text("stopped")),
        (Place::Site(own()), "compress", Value::Boolean(true)),
        (Place::Site(own()), "access_log", Value::Boolean(false)),
        (Place::Site(own()), "request_bytes_max", Value::Integer(77)),
        (Place::Site(own()), "hidden", Value::List(vec![text("new")])),
        (Place::Site(own()), "media_types", Value::Table(fields([(".new", text("a/new"))]))),
        (Place::Site(own()), "error_pages", Value::Table(fields([("403.14", text("/e.htm"))]))),
        (application("/"), "listing", Value::Boolean(true)),
        (application("/api"), "default_documents", Value::List(vec![text("a"), text("b")])),
        (folder("/media"), "listing", Value::Boolean(true)),
        (Place::Server, "drain_seconds", Value::Integer(77)),
    ];
    pairs.extend(set.map(|(at, key, value)| {
        let act = |value| Act::Set(BTreeMap::from([(key.to_owned(), value)]));
        (Change { at: at.clone(), act: act(Some(value)) }, Change { at, act: act(None) })
    }));
    let renamed = format!("{site} & \"renamed\"");
    let name = |name: &str| Act::Set(BTreeMap::from([("name".to_owned(), Some(text(name)))]));
    pairs.push((
        Change { at: Place::Site(own()), act: name(&renamed) },
        Change { at: Place::Site(renamed), act: name(site) },
    ));
    pairs
}

/// What takes a change back, where anything does.
///
/// Nothing takes back that a line became too long and was broken. What was set already has another
/// inverse, which is not looked for here.
fn inverse(written: &Written, before: &str, made: &str, back: &Change) -> Option<Change> {
    let edit = |text: &str, change: &Change| written.home.edit(text, std::slice::from_ref(change));
    let opened = |text: &str| text.lines().filter(|line| line.trim_end().ends_with('[')).count();
    let is_part = !matches!(back.at, Place::Site(_));
    if made == before || is_part && opened(made) > opened(before) {
        return None;
    }
    // A list of bindings that was made for the first of them stays when that goes.
    let lists = |text: &str| text.matches("<bindings").count();
    if is_part && lists(made) > lists(before) {
        return None;
    }
    let Act::Set(keys) = &back.act else { return Some(back.clone()) };
    if let Some(Some(Value::Text(name))) = keys.get("name") {
        // Where its name is written in another way, in another case or with letters by their
        // numbers, that is lost with the name.
        let shown = name.replace('&', "&amp;").replace('"', "&quot;");
        let all = before.to_lowercase().matches(&shown.to_lowercase()).count();
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        let (whole, own) = (bare(before), bare(&shown));
        let quoted = [format!("name=\"{own}\""), format!("name='{own}'")];
        let same = before.matches(&shown).count() == all
            && quoted.iter().any(|quoted| whole.contains(quoted.as_str()));
        return (same && written.home.form == Form::Iis).then(|| back.clone());
    }
    // A start takes the attribute away that says so by default; before it may have been written.
    let is_written =
        before.split_whitespace().collect::<String>().contains("serverAutoStart=\"true\"");
    if keys.contains_key("state") && written.home.form == Form::Iis && is_written {
        return None;
    }
    edit(before, back).is_ok_and(|unset| unset == *before).then(|| back.clone())
}

#[test]
fn every_sample_is_read() {
    for Sample { name, text } in samples() {
        let loaded = written(&text);
        assert_eq!(loaded.text, text, "{name}");
        assert_eq!(
            loaded.errors.is_empty(),
            !name.contains(CUT_OFF),
            "{name}: {:?}",
            loaded.errors
        );
        assert_eq!(loaded.sites.is_empty(), name.contains(CUT_OFF), "{name}");
        let is_iis = matches!(Path::new(&name).extension(), Some(end) if end != "toml");
        assert_eq!(loaded.home.form == Form::Iis, is_iis, "{name}");
    }
}

#[test]
fn every_kind_of_change_can_be_taken_back_in_either_form() {
    let mut made_by = BTreeMap::new();
    for Sample { name, text } in samples().iter().filter(|one| !one.name.contains(CUT_OFF)) {
        for dress in 0..8 {
            let given = dressed(text, dress);
            let written = written(&given);
            for site in &written.sites {
                for (change, back) in pairs(site) {
                    let Ok(made) = written.home.edit(&given, std::slice::from_ref(&change)) else {
                        continue;
                    };
                    let Some(back) = inverse(&written, &given, &made, &back) else { continue };
                    let again = written.home.edit(&made, std::slice::from_ref(&back)).unwrap();
                    assert!(again == given, "{name}, {dress}: {change:?}\n{made}\n---\n{again}");
                    let form = format!("{:?}", written.home.form);
                    *made_by.entry(form).or_insert(0) += 1;
                }
            }
        }
    }
    assert!(made_by.len() == 2 && made_by.values().all(|made| *made > 500), "{made_by:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_changes_and_their_inverses_leave_the_bytes_as_they_were(
        sample in any::<prop::sample::Index>(),
        dress in 0..8_u8,
        places in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8,
        ),
        at_once in any::<bool>(),
    ) {
        let samples: Vec<_> =
            samples().into_iter().filter(|one| !one.name.contains(CUT_OFF)).collect();
        let Sample { name, text } = sample.get(&samples);
        let given = dressed(text, dress);
        let written = written(&given);
        let mut now = given.clone();
        let mut back = Vec::new();
        for (site, pair) in places {
            let site: &String = site.get(&written.sites);
            let pairs = pairs(site);
            let (change, undone) = pair.get(&pairs);
            let Ok(made) = written.home.edit(&now, std::slice::from_ref(change)) else { continue };
            let Some(inverse) = inverse(&written, &now, &made, undone) else { continue };
            // What cannot be served is refused by the one writer.
            if errors(&written.home, &made).is_empty() {
                back.insert(0, inverse);
                now = made;
            }
        }
        let last = now.clone();
        if at_once {
            now = written.home.edit(&now, &back).unwrap();
        } else {
            for inverse in &back {
                now = written.home.edit(&now, std::slice::from_ref(inverse)).unwrap();
            }
        }
        prop_assert!(now == given, "{}, {:?}\n{}\n---\n{}\n---\n{}", name, back, given, last, now);
    }
}
