//! Who changes things in a storm, each by a door of its own, and what may be refused to them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use bindery_control::{
    applier::{Applier, Current, Outcome, Refused, Request, What},
    client::{Client, ClientError, Terms},
    history::{Actor, Door},
    home::{Form, HomeError},
};
use bindery_iis::{
    appcmd::{self, World},
    netsh::{
        grammar,
        plan::{Home, Known, plan},
        records::RecordError,
    },
};
use bindery_model::change::{Act, Change, EditError, How, Place};
use tokio::runtime::Handle;

use super::{
    ground::{Facts, Served, host, marked, place, text},
    random::Random,
    timeline::{Seen, Timeline},
};

/// Sites of each door that come and go.
pub(crate) const COME_AND_GO: usize = 4;

/// A person saves a file less often than programs change it.
const REVISIONS_BETWEEN_EDITS: usize = 20;

/// What is known to all of them.
pub(crate) struct Doors {
    pub(crate) applier: Applier,
    timeline: Arc<Timeline>,
    facts: Facts,
    seed: u64,
    /// Whether each change is told on the standard output before it is asked for and when it is
    /// made, and nothing is undone.
    tells: bool,
    /// Who was too late waits for a moment in which no program but it asks for anything.
    turn: RwLock<()>,
    /// How many changes each door has made.
    made: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// What came of a door's changes.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) made: u64,
    pub(crate) refused: BTreeMap<String, u64>,
}

/// Whether anything was changed; or why it was refused, as it may be when many ask at once.
type Done = Result<bool, String>;

impl Doors {
    pub(crate) fn new(served: &Served, facts: &Facts, seed: u64, tells: bool) -> Arc<Self> {
        Arc::new(Self {
            applier: served.applier.clone(),
            timeline: Arc::clone(&served.timeline),
            facts: facts.clone(),
            seed,
            tells,
            turn: RwLock::default(),
            made: Mutex::default(),
            stop: Arc::default(),
        })
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether each of these has made more changes than that.
    pub(crate) fn have_made(&self, doors: &[&'static str], least: u64) -> bool {
        let made = self.made();
        doors.iter().all(|door| made.get(door).is_some_and(|made| *made > least))
    }

    /// Opens these doors. Within a runtime.
    pub(crate) fn open(
        self: &Arc<Self>,
        doors: &[&'static str],
    ) -> Vec<JoinHandle<(&'static str, Work)>> {
        let open = |door: &'static str| {
            let (own, runtime) = (Arc::clone(self), Handle::current());
            thread::spawn(move || {
                let _within = runtime.enter();
                (door, own.work(door))
            })
        };
        doors.iter().copied().map(open).collect()
    }

    fn work(&self, door: &'static str) -> Work {
        let mut random = Random::new(self.seed, door);
        let mut work = Work::default();
        let client = (door == "api")
            .then(|| Client::new(&self.applier.current().state_folder(), Door::Api).unwrap());
        let mut mark = self.mark_of(door);
        while !self.stop.load(Ordering::Relaxed) {
            mark += 1;
            self.tell("asks", door, mark);
            let ask = |random: &mut Random| match door {
                "api" => self.by_api(random, client.as_ref().unwrap(), mark),
                "appcmd" => self.by_appcmd(random),
                "netsh" => self.by_netsh(random),
                _ => self.by_applier(random, mark),
            };
            let mut done = if door == "editor" {
                self.by_hand(&mut random, mark)
            } else {
                let _with_others = self.turn.read().unwrap_or_else(PoisonError::into_inner);
                ask(&mut random)
            };
            if matches!(&done, Err(why) if why == "outdated") {
                *work.refused.entry("outdated".to_owned()).or_default() += 1;
                let _alone = self.turn.write().unwrap_or_else(PoisonError::into_inner);
                done = ask(&mut random);
            }
            match done {
                Ok(changed) => {
                    self.tell("made", door, mark);
                    work.made += u64::from(changed);
                    self.made().insert(door, work.made);
                }
                Err(why) => *work.refused.entry(why).or_default() += 1,
            }
        }
        work
    }

    fn tell(&self, what: &str, door: &str, mark: u64) {
        if self.tells {
            let mut out = std::io::stdout().lock();
            out.write_all(format!("\n{what} {door} {mark}\n").as_bytes()).unwrap();
            out.flush().unwrap();
        }
    }

    /// The mark that the site of a door has now.
    fn mark_of(&self, door: &str) -> u64 {
        super::marks(&self.applier.current()).get(door).copied().unwrap_or(0)
    }

    /// A mark for the site of the door, and something more for one of those that come and go.
    fn changes(&self, random: &mut Random, door: &str, mark: u64) -> Vec<Change> {
        let current = self.applier.current();
        let act = Act::Set(BTreeMap::from([some(marked(&mark.to_string()))]));
        let mut changes = vec![Change { at: place(door), act }];
        let name = format!("{door}-{}", random.below(COME_AND_GO));
        let (kind, number) = (random.below(5), random.below(self.facts.ports.len() * 2));
        if kind == 0 {
            return changes;
        }
        if !has_site(&current, &name) {
            let more = self.facts.ports.get(number).copied();
            changes.push(self.facts.site(&name, &mark.to_string(), more));
            return changes;
        }
        let set = match kind {
            1 => some(marked(&mark.to_string())),
            2 => ("state".to_owned(), Some(text("stopped"))),
            3 => ("state".to_owned(), None),
            _ => {
                changes.push(Change { at: place(&name), act: Act::Remove });
                return changes;
            }
        };
        changes.push(Change { at: place(&name), act: Act::Set(BTreeMap::from([set])) });
        changes
    }

    fn ask(&self, door: Door, what: What, expected: Option<u64>) -> Done {
        let actor = Actor { name: "storm".to_owned(), door };
        let request = Request { what, expected, actor, dry_run: false, force: false };
        match self.applier.apply(&request) {
            Ok(outcome) => Ok(check(&outcome)),
            Err(refused) => Err(may_be(&refused)),
        }
    }

    fn by_applier(&self, random: &mut Random, mark: u64) -> Done {
        if !self.tells && random.below(20) == 0 {
            let now = self.applier.current().revision;
            let back = u64::try_from(random.below(10)).expect("few");
            let to = now.saturating_sub(back).max(1);
            return self.ask(Door::Cli, What::Undo(to), None);
        }
        let changes = self.changes(random, "applier", mark);
        self.ask(Door::Cli, What::Changes(changes), None)
    }

    fn by_api(&self, random: &mut Random, client: &Client, mark: u64) -> Done {
        let changes = self.changes(random, "api", mark);
        // Half of them look first, as a person does who is asked whether it is meant.
        let expected = (random.below(2) == 0).then(|| self.applier.current().revision);
        let terms = Terms { expected, ..Terms::default() };
        match client.change(&changes, &[], terms) {
            Ok(outcome) => Ok(check(&outcome)),
            Err(ClientError::Refused(refusal)) => {
                let word = refusal.0.word().to_owned();
                let expected = ["not-found", "exists", "outdated", "edited"];
                assert!(expected.contains(&word.as_str()), "{refusal:?}");
                Err(word)
            }
            Err(error) => panic!("{}", bindery_server::text_of(&error)),
        }
    }

    /// As `bindery appcmd` does on a home of IIS's form.
    fn by_appcmd(&self, random: &mut Random) -> Done {
        let current = self.applier.current();
        let name = format!("appcmd-{}", random.below(COME_AND_GO));
        let (port, host, root) = (self.facts.port, host(&name), self.facts.root());
        let commands = match (has_site(&current, &name), random.below(3)) {
            (false, _) => vec![
                format!("add site /name:{name} /physicalPath:{root}"),
                format!(
                    "set site {name} /+bindings.[protocol='https',\
                     bindingInformation='127.0.0.1:{port}:{host}',sslFlags='1']"
                ),
            ],
            (true, 0) => vec![format!("stop site {name}")],
            (true, 1) => vec![format!("start site {name}")],
            (true, _) => vec![format!("delete site {name}")],
        };
        let mut text = current.text.clone();
        for command in commands {
            let words: Vec<_> = command.split(' ').map(str::to_owned).collect();
            let world = World { text: &text, backups: &[], backup_name: "", requests: &[] };
            let answer = appcmd::run(&words, None, &world);
            assert_eq!(answer.exit, 0, "{command}: {}", answer.output);
            text = answer.text.unwrap_or(text);
        }
        self.ask(Door::Appcmd, What::Text(text), Some(current.revision))
    }

    fn by_netsh(&self, random: &mut Random) -> Done {
        let current = self.applier.current();
        let key = format!("hostnameport=127.0.0.1:{}:{}", self.facts.port, host("netsh"));
        let hash = &self.facts.thumbprints[random.below(2)];
        let (app, store) = ("appid={00112233-4455-6677-8899-aabbccddeeff}", "certstorename=MY");
        let words = match random.below(4) {
            0 => format!("http add sslcert {key} certhash={hash} {app} {store}"),
            1 => format!("http delete sslcert {key}"),
            _ => format!("http update sslcert {key} certhash={hash} {app} {store}"),
        };
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let Ok(grammar::Request::Sslcert(change)) = grammar::parse(&words) else {
            panic!("{words:?} is a change")
        };
        let home = match self.facts.form {
            Form::Toml => Home::Toml,
            Form::Iis => Home::Iis,
        };
        let known = Known {
            home,
            configuration: &current.configuration,
            records: &current.records,
            has_certificate: &|_| true,
        };
        match plan(&change, &known) {
            Ok(plan) => {
                let what = What::Both(plan.changes, plan.records);
                self.ask(Door::Netsh, what, Some(current.revision))
            }
            Err(RecordError::Exists(_)) => Err("record exists".to_owned()),
            Err(RecordError::NotFound(_)) => Err("no record".to_owned()),
            Err(error) => panic!("{words:?}: {error}"),
        }
    }

    /// A person with an editor: sees the file, changes it and saves it; sometimes something that is
    /// wrong, which is mended then. Waits until it is seen.
    fn by_hand(&self, random: &mut Random, mark: u64) -> Done {
        // Others get to change something too.
        let enough = self.timeline.len() + REVISIONS_BETWEEN_EDITS;
        super::wait("changes of others", || {
            self.timeline.len() >= enough || self.stop.load(Ordering::Relaxed)
        });
        let home = self.applier.current().home.clone();
        let before = home.text().unwrap();
        let changes = self.changes(random, "editor", mark);
        let Ok(after) = home.edit(&before, &changes) else {
            return Err("edit of what is not there".to_owned());
        };
        if random.below(5) == 0 {
            let wrong = before.replace("</site", "</sight").replace("[[site]]", "[[sight]]");
            self.save(&wrong, true);
            super::wait("what is wrong is told", || !self.applier.edited().is_empty());
        }
        // In place only while what is there is wrong: nothing is made of it then, whole or half.
        let as_another = self.applier.edited().is_empty() || random.below(2) == 0;
        self.save(&after, as_another);
        let seen = Seen::Marked(mark.to_string());
        super::wait("an edit is taken up", || self.timeline.was("editor", &seen));
        Ok(true)
    }

    fn save(&self, text: &str, as_another: bool) {
        if as_another {
            let beside = self.facts.config().with_extension("edited");
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, self.facts.config()).unwrap();
        } else {
            fs::write(self.facts.config(), text).unwrap();
        }
    }
}

fn some<T>((key, value): (String, T)) -> (String, Option<T>) {
    (key, Some(value))
}

fn has_site(current: &Current, name: &str) -> bool {
    current.configuration.table.sites.iter().any(|site| site.name == name)
}

/// Why it was refused, as it may be.
fn may_be(refused: &Refused) -> String {
    match refused {
        Refused::Outdated { .. } => "outdated",
        Refused::Edit(EditError::NotFound(_)) => "not found",
        Refused::Edit(EditError::Exists(_)) => "exists",
        Refused::Edited(_) | Refused::Home(HomeError::Edited { .. }) => "edited by hand",
        Refused::NoRevision(_) => "not kept",
        refused => {
            let problems = match refused {
                Refused::Problems(problems) | Refused::Inspected(problems) => problems.clone(),
                _ => Vec::new(),
            };
            panic!("{}: {problems:?}", bindery_server::text_of(refused))
        }
    }
    .to_owned()
}

/// Nobody is disturbed by what takes nothing away. Answers whether anything was changed.
fn check(outcome: &Outcome) -> bool {
    let takes = outcome.difference.0.iter().any(|entry| match (&entry.at, &entry.how) {
        (_, How::Added(_)) => false,
        (Place::Site(_), How::Changed(keys)) => {
            keys.keys().any(|key| key != "response_headers" && key != "state")
        }
        _ => true,
    });
    assert!(takes || outcome.disturbed == 0, "{outcome:?}");
    outcome.changed
}
