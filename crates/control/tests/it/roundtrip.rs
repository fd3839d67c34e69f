//! Every sample configuration is read, in either form; and whatever is changed in it and changed
//! back leaves the file byte for byte as it was.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bindery_control::{
    applier::{Applier, Request, What},
    history::{Actor, Door},
    home::{Form, Home},
    steps::Observer,
};
use bindery_iis::appcmd::{self, World};
use bindery_model::{
    change::{Act, Change, Fields, Place, Value},
    document::write,
    problem::Severity,
};
use proptest::{prelude::*, sample::Index};

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

/// What is done by a door, and what takes it back.
#[derive(Clone, Debug)]
struct Step {
    door: Door,
    make: Work,
    back: Work,
    /// Steps of others can be taken back before or after it.
    of: String,
}

#[derive(Clone, Debug)]
enum Work {
    Changes(Vec<Change>),
    /// A command of `appcmd`, for IIS's form.
    Appcmd(String),
}

/// Commands of `appcmd`, and those that take them back.
fn commands(site: &str) -> Vec<(String, String)> {
    let site = site.replace('"', "\"\"");
    let own = |command: &str| command.replace('%', &site);
    let pairs = [
        ("set site \"%\" /limits.maxBandwidth:5000", "set site \"%\" /-limits.maxBandwidth"),
        ("set site \"%\" /limits.maxConnections:7", "set site \"%\" /-limits.maxConnections"),
        (
            "set site \"%\" /+bindings.[protocol='https',bindingInformation='*:443:by.test',sslFlags='1']",
            "set site \"%\" /-bindings.[protocol='https',bindingInformation='*:443:by.test']",
        ),
        ("stop site \"%\"", "start site \"%\""),
        ("add app /site.name:\"%\" /path:/by /physicalPath:C:\\by", "delete app \"%/by\""),
        ("add vdir /app.name:\"%/\" /path:/byd /physicalPath:C:\\by", "delete vdir \"%/byd\""),
        (
            "set config \"%\" /section:directoryBrowse /enabled:true",
            "clear config \"%\" /section:directoryBrowse",
        ),
        (
            "set config \"%\" /section:defaultDocument /+files.[value='by.htm']",
            "set config \"%\" /section:defaultDocument /-files.[value='by.htm']",
        ),
        (
            "set config \"%\" /section:httpProtocol /+customHeaders.[name='X-By',value='1']",
            "set config \"%\" /section:httpProtocol /-customHeaders.[name='X-By']",
        ),
        (
            "set config /section:staticContent /+[fileExtension='.by',mimeType='a/by']",
            "set config /section:staticContent /-[fileExtension='.by']",
        ),
        (
            "set config /section:directoryBrowse /showFlags:Date",
            "set config /section:directoryBrowse /-showFlags",
        ),
        ("lock config /section:defaultDocument", "unlock config /section:defaultDocument"),
        ("add site /name:by /physicalPath:C:\\by /bindings:http/*:80:by.test", "delete site by"),
        ("add apppool /name:by", "delete apppool by"),
        ("set site \"%\" /name:\"% renamed\"", "set site \"% renamed\" /name:\"%\""),
    ];
    pairs.map(|(make, back)| (own(make), own(back))).to_vec()
}

fn steps(form: Form, site: &str) -> Vec<Step> {
    let doors = [Door::Api, Door::Cli, Door::Netsh];
    let of = |change: &Change| match &change.at {
        Place::Site(name) => name.clone(),
        Place::Binding { site, .. }
        | Place::Application { site, .. }
        | Place::VirtualDirectory { site, .. } => site.clone(),
        other => format!("{other:?}"),
    };
    let changes = pairs(site).into_iter().zip(doors.into_iter().cycle());
    let mut steps: Vec<_> = changes
        .map(|((make, back), door)| Step {
            door,
            of: of(&make),
            make: Work::Changes(vec![make]),
            back: Work::Changes(vec![back]),
        })
        .collect();
    if form == Form::Iis {
        steps.extend(commands(site).into_iter().map(|(make, back)| Step {
            door: Door::Appcmd,
            of: if make.contains(&site.replace('"', "\"\"")) {
                site.to_owned()
            } else {
                make.clone()
            },
            make: Work::Appcmd(make),
            back: Work::Appcmd(back),
        }));
    }
    steps
}

/// A file with its one writer.
struct Truth {
    #[allow(dead_code, reason = "the folder lives as long as its file")]
    folder: tempfile::TempDir,
    path: PathBuf,
    applier: Option<Applier>,
}

impl Truth {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("configuration");
        fs::write(&path, text).unwrap();
        let mut truth = Self { folder, path, applier: None };
        truth.restart();
        truth
    }

    /// As a server does that ends and comes again: nothing stays but files.
    fn restart(&mut self) {
        self.applier = None;
        let loaded = Home::load(&self.path).unwrap();
        self.applier = Some(Applier::open(loaded, Observer::default()).unwrap());
    }

    fn applier(&self) -> &Applier {
        self.applier.as_ref().unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// What it comes to, without the memory of what was there before. `None` where it is refused.
    fn bare(&self, work: &Work, text: &str) -> Option<String> {
        match work {
            Work::Changes(changes) => self.applier().current().home.edit(text, changes).ok(),
            Work::Appcmd(command) => {
                let world = World { text, backups: &[], backup_name: "", requests: &[] };
                let answer = appcmd::run(&words(command), None, &world);
                (answer.exit == 0).then(|| answer.text.unwrap_or_else(|| text.to_owned()))
            }
        }
    }

    /// Does it. False where it is refused.
    fn make(&self, door: Door, work: &Work) -> bool {
        let what = match work {
            Work::Changes(changes) => What::Changes(changes.clone()),
            Work::Appcmd(_) => match self.bare(work, &self.text()) {
                Some(text) => What::Text(text),
                None => return false,
            },
        };
        self.ask(door, what)
    }

    fn ask(&self, door: Door, what: What) -> bool {
        let actor = Actor { name: "admin".to_owned(), door };
        // Nothing that the samples name is on this machine.
        let request = Request { what, expected: None, actor, dry_run: false, force: true };
        self.applier().apply(&request).is_ok()
    }

    /// What takes a step back, once it was made, where anything does: nothing where it changed
    /// nothing. What was set already is set to what it was.
    fn inverse(&self, step: &Step, before: &str) -> Option<Work> {
        let now = self.text();
        if now == before {
            return None;
        }
        let nothing_before = match &step.back {
            Work::Changes(changes) if !matches!(changes.first()?.act, Act::Set(_)) => true,
            back => self.bare(back, before).is_none_or(|text| text == before),
        };
        let is_rename = format!("{:?}", step.make).contains("renamed");
        if nothing_before || is_rename || step.make_starts_or_stops() {
            return Some(step.back.clone());
        }
        let home = &self.applier().current().home;
        let read = |text: &str| home.read(text, &Default::default()).0.configuration;
        let changes = write::changes(&write::difference(&read(&now), &read(before)));
        // Paths as they were written: from where the file is.
        let folder = format!("{}/", home.folder.display());
        let changes = serde_json::to_string(&changes).unwrap().replace(&folder, "");
        let changes: Vec<Change> = serde_json::from_str(&changes).unwrap();
        // What others have from it, they have again with it.
        let same = |change: &Change| match &step.make {
            Work::Changes(made) => made.iter().all(|made| made.at == change.at),
            Work::Appcmd(_) => false,
        };
        let set = |change: &Change| matches!(&change.act, Act::Set(_));
        let changes: Vec<_> = changes.into_iter().filter(same).collect();
        if changes.is_empty() || !changes.iter().all(set) {
            return None;
        }
        let back = Work::Changes(changes);
        // What goes on with a list that is inherited is given back by `undo`: as a value, it is a
        // list that does not.
        let entries = |text: &str| {
            let all = text.split('<').filter(|tag| tag.starts_with(['a', 'e', 'm', 'h']));
            let mut all: Vec<_> = all.map(|tag| tag.trim_end().to_owned()).collect();
            all.sort();
            all
        };
        let again = self.bare(&back, &now)?;
        (home.form == Form::Toml || entries(&again) == entries(before)).then_some(back)
    }
}

impl Step {
    fn make_starts_or_stops(&self) -> bool {
        let make = format!("{:?}", self.make);
        make.contains("\"state\"") || make.contains("stop site")
    }
}

fn words(command: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    let mut all = command.chars().peekable();
    while let Some(one) = all.next() {
        match one {
            '"' if quoted && all.peek() == Some(&'"') => {
                all.next();
                words.last_mut().unwrap().push('"');
            }
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            one => words.last_mut().unwrap().push(one),
        }
    }
    words
}

fn whole_samples() -> Vec<Sample> {
    let own = |text: &str| text.replace("/var/lib/bindery", "state");
    let all = samples().into_iter().filter(|one| !one.name.contains(CUT_OFF));
    all.map(|Sample { name, text }| Sample { name, text: own(&text) }).collect()
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
    for (Sample { name, text }, dress) in whole_samples().iter().zip((0..8).cycle()) {
        let given = dressed(text, dress);
        let truth = Truth::new(&given);
        let Written { home, sites, .. } = written(&given);
        for site in &sites {
            for step in steps(home.form, site) {
                if !truth.make(step.door, &step.make) {
                    continue;
                }
                let made = truth.text();
                let Some(back) = truth.inverse(&step, &given) else {
                    if made != given {
                        assert!(truth.ask(Door::Cli, What::Text(given.clone())));
                    }
                    continue;
                };
                assert!(truth.make(step.door, &back), "{name}, {dress}: {step:?}");
                let again = truth.text();
                assert!(
                    again == given,
                    "{name}, {dress}: {step:?} {back:?}\n{}",
                    apart(&given, &made, &again)
                );
                *made_by.entry(format!("{:?} {:?}", home.form, step.door)).or_insert(0) += 1;
            }
        }
    }
    assert!(made_by.len() == 7 && made_by.values().all(|made| *made > 50), "{made_by:?}");
}

/// Where texts are not alike.
fn apart(given: &str, made: &str, again: &str) -> String {
    let texts = [given, made, again];
    let head = given.bytes().zip(again.bytes()).take_while(|(a, b)| a == b).count();
    let shown = |text: &&str| {
        let from = (0..=head.saturating_sub(200)).rev().find(|at| text.is_char_boundary(*at));
        let text: String = text[from.unwrap_or(0).min(text.len())..].chars().take(700).collect();
        format!("{text}\n-----\n")
    };
    texts.iter().map(shown).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 30, ..Default::default() })]
    #[test]
    fn any_changes_and_their_inverses_leave_the_bytes_as_they_were(
        sample in any::<Index>(),
        dress in 0..8_u8,
        places in prop::collection::vec((any::<Index>(), any::<Index>()), 1..8),
        orders in prop::collection::vec(any::<Index>(), 8),
        restarts in prop::collection::vec(any::<bool>(), 16),
        in_order in any::<bool>(),
    ) {
        let samples = whole_samples();
        let Sample { name, text } = sample.get(samples.as_slice());
        let given = dressed(text, dress);
        let Written { home, sites, .. } = written(&given);
        let mut truth = Truth::new(&given);
        let mut restarts = restarts.into_iter();
        let mut back = Vec::new();
        for (site, step) in places {
            let site: &String = site.get(&sites);
            let steps = steps(home.form, site);
            let step = step.get(steps.as_slice());
            let before = truth.text();
            if !truth.make(step.door, &step.make) {
                continue;
            }
            match truth.inverse(step, &before) {
                Some(inverse) => back.push((step.of.clone(), step.door, inverse)),
                None if truth.text() != before => {
                    let last = truth.applier().current().revision - 1;
                    prop_assert!(truth.ask(Door::Cli, What::Undo(last)));
                }
                None => {}
            }
            if restarts.next() == Some(true) {
                truth.restart();
            }
        }
        let last = truth.text();
        let done = format!("{back:?}");
        let mut orders = orders.into_iter();
        while !back.is_empty() {
            // The last of any of those that have nothing to do with one another.
            let chosen = match orders.next().filter(|_| !in_order) {
                Some(order) => order.get(back.as_slice()).0.clone(),
                None => back[back.len() - 1].0.clone(),
            };
            let place = back.iter().rposition(|(of, ..)| *of == chosen).unwrap();
            let (_, door, inverse) = back.remove(place);
            prop_assert!(truth.make(door, &inverse), "{name}: {inverse:?}");
            if restarts.next() == Some(true) {
                truth.restart();
            }
        }
        let now = truth.text();
        prop_assert!(now == given, "{}, {}, {}\n{}", name, dress, done, apart(&given, &last, &now));
    }
}
