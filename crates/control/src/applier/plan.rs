//! A change on its way from what is asked for to what is in force.

use std::{collections::HashSet, io, sync::Arc};

use bindery_iis::netsh::{
    plan::{self as netsh, Known, bindings_of, free, taken_up},
    records::{RecordChange, Records},
};
use bindery_model::{
    change::{Change, Difference},
    document::{Configuration, Positions, Settings, write},
    problem::{Problem, Severity},
};
use bindery_server::{
    clock, listener,
    server::{Proof, prove, prove_next},
    snapshot::{Revision, Snapshot},
    text_of,
};
use tracing::{error, warn};

use super::{
    Adopt, Current, Inner, Outcome, Refused, Request, State, What, Writer, again, difference,
    machine::{self, inspected},
    past::unkept,
    seconds,
};
use crate::{
    backup::Backups,
    history::{Actor, Door, Intended, Record},
    home::{Form, Home, HomeError, NotUtf8, read_records},
    problems::{PlacedProblem, all_placed},
    steps::Step,
    written::{Author, Replaced, as_before},
};

/// What is to be in force.
struct Plan {
    home: Home,
    text: String,
    records: Records,
    undo_to: Option<u64>,
    /// Whether it was kept as it is, with its records.
    kept: bool,
    /// Whether the file says so already.
    in_file: bool,
    /// Who wrote the text.
    by: Author,
    /// Whether nothing is taken over from what is in force.
    anew: bool,
}

impl Plan {
    /// Whether there is nothing that could differ, so that it need not be read.
    fn is_in_force(&self, current: &Current) -> bool {
        !self.anew
            && self.home.form == Form::Toml
            && self.home.file == current.home.file
            && self.text == current.text
            && self.records == current.records
    }

    /// Problems of its text with their places.
    fn placed<'a>(&self, problems: impl IntoIterator<Item = &'a Problem>) -> Vec<PlacedProblem> {
        all_placed(problems, &self.home.path.display().to_string(), &self.text)
    }

    /// The same for who asks, before it is made: without places in a text that nobody has.
    fn told<'a>(
        &self,
        problems: impl IntoIterator<Item = &'a Problem>,
        current: &Current,
        request: &Request,
    ) -> Vec<PlacedProblem> {
        let mut placed = self.placed(problems);
        if !self.in_file && !request.has_text() && self.text != current.text {
            placed.iter_mut().for_each(|problem| problem.place = None);
        }
        placed
    }

    /// Records that a binding takes up when this change makes one with their key. None where
    /// certificates stand in records, nor in a file that somebody is editing, nor in what is
    /// brought back as it was. A binding that somebody wrote beside a record stays as it is.
    fn waiting(&self, current: &Current) -> Records {
        if self.home.form != Form::Toml || self.in_file || self.undo_to.is_some() || self.kept {
            return Records::default();
        }
        let table = &current.configuration.table;
        let all = self.records.iter().filter(|record| {
            current.records.find(&record.key) != Some(record)
                || bindings_of(table, &record.key).is_empty()
        });
        all.cloned().collect()
    }
}

/// A plan that can be carried out.
struct Next {
    plan: Plan,
    configuration: Arc<Configuration>,
    positions: Positions,
    /// Problems of the text.
    problems: Vec<Problem>,
    /// Problems of the machine.
    machine: Vec<Problem>,
    difference: Difference,
}

/// What serving it needs, made ready.
struct Ready {
    proof: Proof,
    sockets: listener::Prepared,
    adopt: Adopt,
}

impl Inner {
    /// What somebody wrote into the file comes before any other change, which would otherwise
    /// overwrite it.
    pub(super) fn take_edit_first(&self, writer: &mut Writer) -> Result<(), Refused> {
        let current = Arc::clone(&self.shown().current);
        let found = Home::find_with_text(&self.path);
        self.done(Step::Compared)?;
        let (home, text) = found?;
        if home.file == current.home.file && text == current.text {
            self.shown().edited = Arc::default();
            return Ok(());
        }
        let request = Request {
            what: What::Reload,
            expected: None,
            actor: Actor { name: String::new(), door: Door::File },
            dry_run: false,
            force: false,
        };
        self.take_edit(writer, &request).map(drop).map_err(|refused| match refused {
            Refused::State(error) => Refused::State(error),
            refused => Refused::Edited(self.problems_of(refused)),
        })
    }

    /// Serves what the file says now.
    pub(super) fn take_edit(
        &self,
        writer: &mut Writer,
        request: &Request,
    ) -> Result<Outcome, Refused> {
        let refused = match self.planned_by_file(request) {
            // Our own change, as a rule, that the kernel tells of.
            Ok(plan) if plan.is_in_force(&self.shown().current) => {
                let mut shown = self.shown();
                shown.edited = Arc::default();
                return Ok(unchanged(&shown.current, Difference::default(), Vec::new()));
            }
            Ok(plan) => match self.carry_out(writer, plan, request) {
                Ok(outcome) => {
                    self.shown().edited = Arc::default();
                    warn_of(&outcome.problems);
                    return Ok(outcome);
                }
                Err(refused) => refused,
            },
            Err(refused) => refused,
        };
        match refused {
            Refused::Problems(ref problems) | Refused::Inspected(ref problems) => {
                self.tell_refused(problems);
                Err(refused)
            }
            refused => {
                self.tell_refused(&[self.problem_of(&refused)]);
                Err(refused)
            }
        }
    }

    fn problems_of(&self, refused: Refused) -> Vec<PlacedProblem> {
        match refused {
            Refused::Problems(problems) | Refused::Inspected(problems) => problems,
            refused => vec![self.problem_of(&refused)],
        }
    }

    fn problem_of(&self, refused: &Refused) -> PlacedProblem {
        let file = self.path.display().to_string();
        let mut problem = PlacedProblem::of_file(&file, &text_of(refused));
        if let Refused::Home(HomeError::NotText { source: NotUtf8::At { line, column }, .. }) =
            refused
            && let Some(place) = &mut problem.place
        {
            (place.line, place.column) = (*line, *column);
        }
        problem
    }

    fn planned_by_file(&self, request: &Request) -> Result<Plan, Refused> {
        let (home, text) = Home::find_with_text(&self.path)?;
        let records = match &self.state {
            Ok(state) => read_records(state.records.parent().unwrap_or(&home.folder))?,
            Err(_) => self.shown().current.records.clone(),
        };
        let anew = matches!(request.what, What::Anew);
        Ok(Plan {
            home,
            text,
            records,
            undo_to: None,
            kept: false,
            in_file: true,
            by: Author::Hand,
            anew,
        })
    }

    /// Makes a change that somebody asks for.
    pub(super) fn make(&self, writer: &mut Writer, request: &Request) -> Result<Outcome, Refused> {
        let current = Arc::clone(&self.shown().current);
        let mut plan = Plan {
            home: current.home.clone(),
            text: current.text.clone(),
            records: current.records.clone(),
            undo_to: None,
            kept: false,
            in_file: false,
            by: author(request),
            anew: false,
        };
        let edit = |plan: &mut Plan, changes: &[Change]| -> Result<(), Refused> {
            plan.text = plan.home.edit(&plan.text, changes)?;
            Ok(())
        };
        match &request.what {
            What::Changes(changes) => edit(&mut plan, changes)?,
            What::Records(changes) => records_changed(&mut plan, &current, changes)?,
            What::Both(changes, records) => {
                edit(&mut plan, changes)?;
                plan.records = plan.records.apply(records)?;
            }
            What::Text(text) => plan.text.clone_from(text),
            What::Undo(revision) => self.bring_back(&mut plan, *revision)?,
            What::Restore(name) => restore(&mut plan, &current, name)?,
            What::Reload | What::Anew => plan = self.planned_by_file(request)?,
        }
        self.write_as_before(&mut plan, &current);
        self.done(Step::Edited)?;
        self.carry_out(writer, plan, request)
    }

    /// What the text says again is written as it was when it said so.
    fn write_as_before(&self, plan: &mut Plan, current: &Current) {
        let Ok(state) = &self.state else { return };
        // What is brought back as it was, or was written by somebody, is so to the letter.
        if plan.by == Author::Hand || plan.text == current.text {
            return;
        }
        let replaced = state.history.replaced(current.revision);
        let texts = (&*current.text, &*plan.text, plan.by);
        let Some(text) = as_before(plan.home.form, texts, &replaced) else { return };
        // What stands there letter for letter is for `as_before` to say; what it means, for the
        // reader.
        let read = |text: &str| {
            let (document, _) = plan.home.read_after(text, &plan.records, current.in_force());
            let errors = |one: &Problem| one.severity() == Severity::Error;
            (!document.problems.iter().any(errors)).then_some(document.configuration)
        };
        if let (Some(new), Some(old)) = (read(&plan.text), read(&text))
            && write::difference(&new, &old).0.is_empty()
        {
            plan.text = text;
        }
    }

    fn bring_back(&self, plan: &mut Plan, revision: u64) -> Result<(), Refused> {
        let state = self.state.as_ref().map_err(|error| Refused::State(again(error)))?;
        let texts = state.history.texts(revision).map_err(|error| unkept(revision, error))?;
        let texts = texts.ok_or(Refused::NoRevision(revision))?;
        plan.records = serde_json::from_str(&texts.records)
            .map_err(|error| Refused::State(io::Error::from(error)))?;
        // A file can have been of the other form then.
        plan.home = plan.home.holding(&texts.config);
        plan.text = texts.config;
        plan.undo_to = Some(revision);
        Ok(())
    }

    fn done(&self, step: Step) -> Result<(), Refused> {
        self.observer.done(step).map_err(Refused::State)
    }

    /// Takes a plan through all its steps.
    fn carry_out(
        &self,
        writer: &mut Writer,
        plan: Plan,
        request: &Request,
    ) -> Result<Outcome, Refused> {
        let current = Arc::clone(&self.shown().current);
        let mut next = self.understood(plan, &current, request)?;
        if !next.plan.anew
            && next.difference.0.is_empty()
            && next.plan.text == current.text
            && next.plan.records == current.records
        {
            return Ok(unchanged(&current, next.difference, Vec::new()));
        }
        let serving = self.running.get().map(|running| running.server.snapshot());
        let read = (&*next.configuration, &next.positions);
        let anew = next.plan.anew;
        let by_hand = next.plan.in_file;
        let found = inspected(writer, current.read(), read, serving.as_deref(), (anew, by_hand));
        if !request.force && !found.new_errors.is_empty() {
            return Err(Refused::Inspected(next.plan.told(&found.new_errors, &current, request)));
        }
        next.machine = found.machine;
        self.done(Step::Inspected)?;
        let ready = self.ready(&next, serving.as_ref())?.map(|ready| Ready {
            proof: ready.proof.with_certificates(found.certificates),
            ..ready
        });
        self.done(Step::Listening)?;
        let all = machine::all(&next.problems, &next.machine);
        if request.dry_run {
            let news = self.news(&next.plan.told(&all, &current, request));
            return Ok(unchanged(&current, next.difference, news));
        }
        let placed = next.plan.placed(&all);
        let news = self.news(&placed);
        let record = Record {
            revision: current.revision + 1,
            at: seconds(clock::now()),
            actor: request.actor.clone(),
            undo_to: next.plan.undo_to,
            difference: next.difference.clone(),
            disturbed: 0,
            problems: news.iter().filter(|one| one.severity != "hint").cloned().collect(),
        };
        let (revision, difference) = (record.revision, next.difference.clone());
        let intended = self.commit(&next.plan, &current, record)?;
        let disturbed = self.publish(writer, next, ready, (revision, placed));
        if let (Some(intended), Ok(state)) = (intended, &self.state) {
            let (record, written) = state.history.made(intended, disturbed);
            self.tell_made(record, written);
        }
        drop(self.observer.done(Step::Recorded));
        Ok(Outcome { revision, changed: true, difference, disturbed, problems: news })
    }

    /// Reads the new text and finds what differs. An error in it ends here.
    fn understood(
        &self,
        mut plan: Plan,
        current: &Current,
        request: &Request,
    ) -> Result<Next, Refused> {
        let read =
            |plan: &Plan| plan.home.read_after(&plan.text, &plan.records, current.in_force());
        let (mut document, mut errors) = read(&plan);
        let waiting = plan.waiting(current);
        for record in waiting.iter().filter(|own| current.records.find(&own.key).is_none()) {
            // One that comes now would not be taken up, and nobody would know.
            free(&document.configuration, &record.key)?;
        }
        if !waiting.is_empty() {
            let taken = taken_up(&waiting, &document.configuration)?;
            plan.records = plan.records.apply(&taken.records)?;
            if !taken.changes.is_empty() {
                plan.text = plan.home.edit(&plan.text, &taken.changes)?;
                self.write_as_before(&mut plan, current);
                (document, errors) = read(&plan);
            }
        }
        if plan.in_file {
            document.problems.iter_mut().for_each(Problem::stands_in_file);
        }
        self.done(Step::Read)?;
        let wrong = document.problems.iter().filter(|one| one.severity() == Severity::Error);
        errors.extend(plan.told(wrong, current, request));
        if !errors.is_empty() {
            return Err(Refused::Problems(errors));
        }
        let difference = difference(
            (&current.configuration, &current.records),
            (&document.configuration, &plan.records),
        );
        self.done(Step::Differed)?;
        Ok(Next {
            plan,
            configuration: Arc::new(document.configuration),
            positions: document.positions,
            problems: document.problems,
            machine: Vec::new(),
            difference,
        })
    }

    /// Opens and builds what serving needs.
    fn ready(
        &self,
        next: &Next,
        serving: Option<&Arc<Snapshot>>,
    ) -> Result<Option<Ready>, Refused> {
        let (Some(running), Some(before)) = (self.running.get(), serving) else {
            return Ok(None);
        };
        let configuration = Arc::clone(&next.configuration);
        let proof = match next.plan.anew {
            true => prove(configuration),
            false => prove_next(configuration, before),
        };
        self.done(Step::Proved)?;
        let open = running.server.endpoints();
        let sockets = listener::prepare(&next.configuration.table, &open, Vec::new())
            .map_err(Refused::Listen)?;
        let adopt = (running.beside)(&next.configuration.settings).map_err(Refused::Beside)?;
        Ok(Some(Ready { proof, sockets, adopt }))
    }

    /// What is warned of and was not before.
    fn news(&self, problems: &[PlacedProblem]) -> Vec<PlacedProblem> {
        let known = Arc::clone(&self.shown().problems);
        let known: HashSet<_> = known.iter().map(|one| (&one.code, &one.message)).collect();
        let new = |one: &&PlacedProblem| !known.contains(&(&one.code, &one.message));
        problems.iter().filter(new).cloned().collect()
    }

    /// Makes the change the truth. When this fails nothing has changed.
    fn commit(
        &self,
        plan: &Plan,
        current: &Current,
        record: Record,
    ) -> Result<Option<Intended>, Refused> {
        // Without it the file is followed all the same.
        let Ok(state) = &self.state else { return Ok(None) };
        let is_next = state.history.last_revision() == Some(current.revision);
        let same = is_next && plan.records == current.records;
        let records = (!same).then(|| serde_json::to_string(&plan.records)).transpose();
        let replaced =
            is_next.then(|| Replaced::between(&current.text, &plan.text, plan.by)).flatten();
        let intended = records
            .map_err(io::Error::from)
            .and_then(|records| {
                state.history.intend(record, &plan.text, records.as_deref(), replaced)
            })
            .map_err(Refused::State)?;
        match self.commit_intended(state, plan, current) {
            Ok(()) => Ok(Some(intended)),
            Err(refused) => {
                state.history.forget(intended);
                Err(refused)
            }
        }
    }

    fn commit_intended(
        &self,
        state: &State,
        plan: &Plan,
        current: &Current,
    ) -> Result<(), Refused> {
        self.done(Step::Intended)?;
        let before = (!plan.in_file).then_some(&current.records);
        let records = match plan.in_file {
            true => None,
            false => state.write_records(&plan.records, before).map_err(Refused::State)?,
        };
        let has_file = !plan.in_file && plan.text != current.text;
        if has_file {
            plan.home.commit(&current.text, &plan.text, &self.observer)?;
        } else {
            self.done(Step::Exchanged)?;
        }
        if let Some(records) = records {
            match records.put() {
                Ok(()) => {}
                // Where the file is committed, the next start does it: the history says so.
                Err(error) if has_file => {
                    error!(%error, "certificate records could not be replaced");
                }
                Err(error) => return Err(Refused::State(error)),
            }
        }
        drop(self.observer.done(Step::Committed));
        drop(self.observer.done(Step::Records));
        Ok(())
    }

    /// Serves it. Cannot fail. Answers how many connections lost what they used.
    fn publish(
        &self,
        writer: &mut Writer,
        next: Next,
        ready: Option<Ready>,
        (revision, problems): (u64, Vec<PlacedProblem>),
    ) -> usize {
        let mut disturbed = 0;
        if let (Some(Ready { proof, sockets, adopt }), Some(running)) = (ready, self.running.get())
        {
            disturbed = running.server.replace(proof, sockets, Revision(revision));
            adopt();
        }
        drop(self.observer.done(Step::Published));
        let Next { plan, configuration, positions, problems: own, machine, .. } = next;
        writer.machine = machine;
        writer.inspected |= plan.anew;
        let Plan { home, text, records, .. } = plan;
        let current =
            Current { home, revision, text, records, configuration, positions, problems: own };
        let mut shown = self.shown();
        warn_of_restart(&shown.current.configuration.settings, &current.configuration.settings);
        let last = std::mem::replace(&mut shown.current, Arc::new(current));
        shown.problems = Arc::new(problems);
        shown.edited = Arc::default();
        drop(shown);
        // Large; not while others wait to look.
        drop(last);
        disturbed
    }
}

/// Who writes the text of what is asked for.
fn author(request: &Request) -> Author {
    match &request.what {
        What::Changes(_) | What::Records(_) | What::Both(..) => Author::Editor,
        // It edits a text of IIS's form itself.
        What::Text(_) if request.actor.door == Door::Appcmd => Author::Appcmd,
        What::Text(_) | What::Undo(_) | What::Restore(_) | What::Reload | What::Anew => {
            Author::Hand
        }
    }
}

/// Changes to records, as `netsh` makes them: at the bindings that have them, where those are
/// written there.
fn records_changed(
    plan: &mut Plan,
    current: &Current,
    changes: &[RecordChange],
) -> Result<(), Refused> {
    let home = match plan.home.form {
        Form::Toml => netsh::Home::Toml,
        Form::Iis => netsh::Home::Iis,
    };
    let mut at_bindings = Vec::new();
    for change in changes {
        let known = Known {
            home,
            configuration: &current.configuration,
            records: &plan.records,
            // Whether there are such certificates is looked at with everything else.
            has_certificate: &|_| true,
        };
        let planned = netsh::plan(change, &known)?;
        plan.records = plan.records.apply(&planned.records)?;
        at_bindings.extend(planned.changes);
    }
    plan.text = plan.home.edit(&plan.text, &at_bindings)?;
    Ok(())
}

fn restore(plan: &mut Plan, current: &Current, name: &str) -> Result<(), Refused> {
    let backups = Backups::of(&current.state_folder());
    let kept = backups.read(name, plan.home.form).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Refused::NoBackup(name.to_owned()),
        _ => Refused::State(error),
    })?;
    plan.text = kept.text;
    plan.records = kept.records.unwrap_or_else(|| plan.records.clone());
    plan.kept = true;
    Ok(())
}

fn unchanged(current: &Current, difference: Difference, problems: Vec<PlacedProblem>) -> Outcome {
    Outcome { revision: current.revision, changed: false, difference, disturbed: 0, problems }
}

/// Writes what an edited file is warned of, since nobody else is there to be told.
fn warn_of(news: &[PlacedProblem]) {
    for problem in news.iter().filter(|one| one.severity == "warning") {
        warn!("{} [{}]", problem.said(), problem.code);
    }
}

/// Writes which settings were changed that a server takes only when it starts. Each change is
/// compared with the one before, so that it is said once.
fn warn_of_restart(before: &Settings, now: &Settings) {
    let changed = [
        ("state_dir", before.state_dir != now.state_dir),
        ("workers", before.workers != now.workers),
        ("user", before.user != now.user),
    ];
    for (key, _) in changed.into_iter().filter(|(_, changed)| *changed) {
        warn!(key, "changed, and counts from the next start");
    }
}
