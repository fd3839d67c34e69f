//! Sites, listeners, certificates and the parts of a site: how they come, change and go.

use std::{borrow::Cow, collections::BTreeMap};

use hashbrown::{HashMap, HashSet};

use super::{
    blocks::Step,
    keys::{Body, indented, join},
    part,
    pieces::{KINDS, Piece, Pieces, Thing, name_key},
};
use crate::{
    binding::{BindingInformation, parse_listener},
    change::{Act, Change, EditError, Fields, Place, Value, rank},
    document::write::layout::{self, Bindings},
};

/// What things of a kind are called, so that the same are called the same: names without regard to
/// case, bindings and listeners by what they mean.
pub(super) fn identity(kind: &str, name: &str) -> String {
    match kind {
        "site" | "certificate" => name.to_lowercase(),
        "listener" => parse_listener(name)
            .map_or_else(|_| name.to_owned(), |(protocol, on)| format!("{protocol}/{on}")),
        "bindings" => name
            .parse::<BindingInformation>()
            .map_or_else(|_| name.to_owned(), |information| information.to_string()),
        _ => name.to_owned(),
    }
}

/// A text that is being changed.
pub(super) struct Editor<'t> {
    pieces: Pieces<'t>,
    /// The piece of each thing, by its kind and name.
    places: HashMap<(&'static str, Cow<'t, str>), usize>,
    /// Whether a change could give sites another number.
    numbers_at_stake: bool,
}

/// Where a thing is.
#[derive(Clone, Copy)]
struct Where {
    piece: usize,
    /// Which of the things in its piece.
    thing: usize,
    /// Which of those of its kind there.
    index: usize,
}

type Keys = BTreeMap<String, Option<Value>>;

impl<'t> Editor<'t> {
    /// Reads a text with line ends of Unix, of which the last is not missing.
    ///
    /// Sites and certificates are read when they are changed: what is wrong in others is for the
    /// parser to say.
    pub(super) fn read(text: &'t str) -> Result<Self, EditError> {
        let mut pieces = match Pieces::cut_unread(text) {
            Some(pieces) => {
                #[cfg(test)]
                pieces.assert_as_read(text);
                pieces
            }
            None => {
                let document = toml_edit::Document::parse(text).map_err(|error| {
                    let at = error.span().map_or(0, |span| span.start);
                    let line = part(text, 0..at.min(text.len())).matches('\n').count() + 1;
                    EditError::Unreadable(format!("line {line}: {}", error.message()))
                })?;
                Pieces::cut(text, document.as_table())
            }
        };
        let order: Vec<_> = pieces.order().collect();
        let mut places = HashMap::with_capacity(order.len());
        for piece in order {
            for thing in pieces.get(piece).map_or(&[][..], |own| &own.things) {
                if let Some(name) = &thing.name {
                    places.entry((thing.kind, name.clone())).or_insert(piece);
                }
            }
        }
        for (piece, thing, number) in numbers(&pieces) {
            if let Some(site) = pieces.get_mut(piece).and_then(|own| own.things.get_mut(thing)) {
                site.was = Some(number);
            }
        }
        Ok(Self { pieces, places, numbers_at_stake: false })
    }

    pub(super) fn finish(&self) -> String {
        self.pieces.finish()
    }

    pub(super) fn make(&mut self, change: &Change) -> Result<(), EditError> {
        let Change { at, act } = change;
        match at {
            Place::Server => self.server(at, act),
            Place::Listener(on) => self.thing("listener", on, at, act),
            Place::Certificate(name) => self.thing("certificate", name, at, act),
            Place::Site(name) => self.thing("site", name, at, act),
            Place::Binding { site, on } => self.part("bindings", (site, on), at, act),
            Place::Application { site, path } => self.part("applications", (site, path), at, act),
            Place::VirtualDirectory { site, path } => {
                self.part("virtual_directories", (site, path), at, act)
            }
            Place::Record(_) => Err(EditError::NoPlace {
                at: at.clone(),
                key: "it".to_owned(),
                file: "bindery.toml",
            }),
        }
    }

    fn find(&self, kind: &'static str, name: &str) -> Option<Where> {
        let key = (kind, Cow::Owned(identity(kind, name)));
        let piece = *self.places.get(&key)?;
        let things = &self.pieces.get(piece)?.things;
        let is = |own: &Thing<'_>| own.kind == kind && own.name.as_ref() == Some(&key.1);
        let thing = things.iter().position(is)?;
        let index = things.iter().take(thing).filter(|own| own.kind == kind).count();
        Some(Where { piece, thing, index })
    }

    fn thing(
        &mut self,
        kind: &'static str,
        name: &str,
        at: &Place,
        act: &Act,
    ) -> Result<(), EditError> {
        let found = self.find(kind, name);
        match (act, found) {
            (Act::Add(_), Some(_)) => Err(EditError::Exists(at.clone())),
            (Act::Add(fields), None) => self.add_thing(kind, name, at, fields),
            (_, None) => Err(EditError::NotFound(at.clone())),
            (Act::Set(keys), Some(found)) => self.set_thing(kind, found, at, keys),
            (Act::Remove, Some(found)) => self.remove_thing(kind, name, found, at),
        }
    }

    fn add_thing(
        &mut self,
        kind: &'static str,
        name: &str,
        at: &Place,
        fields: &Fields,
    ) -> Result<(), EditError> {
        let fields = with_name(kind, name, at, fields)?;
        let number = match fields.get("id") {
            Some(Value::Integer(number)) => u32::try_from(*number).ok(),
            _ => None,
        };
        self.numbers_at_stake |= number.is_some();
        let name = fields.get(name_key(kind)).and_then(Value::as_text).unwrap_or(name);
        let name: Cow<'t, str> = Cow::Owned(identity(kind, name));
        let thing = Thing { kind, name: Some(name.clone()), number, was: None };
        let list = [Step::key(kind)];
        let root = self.pieces.order().next();
        let root = root.filter(|first| {
            self.pieces.get(*first).is_some_and(|own| own.kinds.is_empty() && !own.body.is_empty())
        });
        let piece = match root.and_then(|place| self.pieces.get_mut(place).zip(Some(place))) {
            Some((root, place)) => {
                let mut body = Body { text: root.body.to_mut() };
                match body.list(&list).map_err(wrong(at))? {
                    Some(count) => {
                        let new = Value::Table(fields).to_string();
                        body.insert_element(&list, count, &new).map_err(wrong(at))?;
                        root.things.push(thing);
                        place
                    }
                    None => self.add_piece(kind, at, &fields, thing)?,
                }
            }
            None => self.add_piece(kind, at, &fields, thing)?,
        };
        self.places.insert((kind, name), piece);
        Ok(())
    }

    /// Adds a thing as a table with a header, behind the last of its kind.
    fn add_piece(
        &mut self,
        kind: &'static str,
        at: &Place,
        fields: &Fields,
        thing: Thing<'t>,
    ) -> Result<usize, EditError> {
        let live = |own: &Piece<'_>| !own.body.is_empty();
        let has = |place: &usize| {
            let piece = self.pieces.get(*place).filter(|own| live(own));
            piece.is_some_and(|own| own.things.iter().any(|own| own.kind == kind))
        };
        let twin = self.pieces.backwards().find(has);
        if twin.is_none() && self.has_table(kind) {
            return Err(wrong(at)(format!("{kind} is no array of tables")));
        }
        let mut text = String::new();
        let mut gap = Cow::Borrowed("\n");
        if let Some(place) = twin
            && let Some(piece) = self.pieces.get(place)
        {
            let mut own = piece.body.to_string();
            let style = Body { text: &mut own }.style(kind).map_err(wrong(at))?;
            layout::element(&mut text, kind, fields, style.bindings);
            text = indented(&text, &style.outer, &style.own);
            if !self.pieces.is_first(place) {
                gap =
                    Cow::Owned(part(&piece.gap, blanks_at(&piece.gap)..piece.gap.len()).to_owned());
            }
        } else {
            layout::element(&mut text, kind, fields, Bindings::Auto);
        }
        let behind = twin.or_else(|| self.behind(kind));
        if behind.is_none() {
            // Nothing but comments, if anything.
            gap = std::mem::take(&mut self.pieces.end);
            if !gap.trim().is_empty() {
                gap.to_mut().push('\n');
            }
        }
        let kinds = vec![Cow::Borrowed(kind)];
        let piece = Piece::new(gap, Cow::Owned(text), kinds, vec![thing]);
        Ok(self.pieces.insert(behind, piece))
    }

    /// Whether something that is no array of tables stands where a kind of things should.
    fn has_table(&self, kind: &str) -> bool {
        let has = |own: &Piece<'_>| !own.body.is_empty() && own.kinds.iter().any(|key| key == kind);
        self.pieces.order().filter_map(|place| self.pieces.get(place)).any(has)
    }

    /// Behind what the first of a kind stands: what comes before it in files as people order them,
    /// or everything.
    fn behind(&self, kind: &str) -> Option<usize> {
        let rank = |kind: &str| KINDS.iter().position(|own| *own == kind).map_or(0, |own| own + 1);
        let live = |place: &usize| self.pieces.get(*place).is_some_and(|own| !own.body.is_empty());
        let before = |place: &usize| {
            let piece = self.pieces.get(*place);
            piece.is_some_and(|own| own.kinds.iter().all(|own| rank(own) < rank(kind)))
        };
        let last = || self.pieces.backwards().find(live);
        self.pieces.backwards().filter(live).find(before).or_else(last)
    }

    fn set_thing(
        &mut self,
        kind: &'static str,
        found: Where,
        at: &Place,
        keys: &Keys,
    ) -> Result<(), EditError> {
        let path = [Step::key(kind), Step::Index(found.index)];
        let mut renamed: Option<Cow<'t, str>> = None;
        if let Some(new) = keys.get(name_key(kind)) {
            let new = new_name(kind, at, new.as_ref())?;
            if let Some(other) = self.find(kind, new)
                && (other.piece, other.thing) != (found.piece, found.thing)
            {
                return Err(EditError::Exists(renamed_place(at, new)));
            }
            renamed = Some(Cow::Owned(identity(kind, new)));
        }
        let Some(piece) = self.pieces.get_mut(found.piece) else { return Ok(()) };
        let mut body = Body { text: piece.body.to_mut() };
        set_keys(&mut body, &path, keys).map_err(wrong(at))?;
        let Some(thing) = piece.things.get_mut(found.thing) else { return Ok(()) };
        if let Some(number) = keys.get("id") {
            self.numbers_at_stake = true;
            thing.number = match number {
                Some(Value::Integer(number)) => u32::try_from(*number).ok(),
                _ => None,
            };
            // It is to have another.
            thing.was = None;
        }
        if let Some(new) = renamed
            && let Some(old) = thing.name.replace(new.clone())
        {
            self.places.remove(&(kind, old));
            self.places.insert((kind, new), found.piece);
        }
        Ok(())
    }

    fn remove_thing(
        &mut self,
        kind: &'static str,
        name: &str,
        found: Where,
        at: &Place,
    ) -> Result<(), EditError> {
        self.numbers_at_stake |= kind == "site";
        self.places.remove(&(kind, Cow::Owned(identity(kind, name))));
        let Some(piece) = self.pieces.get_mut(found.piece) else { return Ok(()) };
        piece.things.remove(found.thing);
        if piece.things.is_empty() && piece.kinds == [kind] {
            self.remove_piece(found.piece);
            return Ok(());
        }
        let list = [Step::key(kind)];
        let mut body = Body { text: piece.body.to_mut() };
        match body.list(&list).map_err(wrong(at))? {
            Some(_) => body.remove_last_too(&[], kind, found.index),
            None => body.remove_blocks(&join(&list, Step::Index(found.index))),
        }
        .map_err(wrong(at))
    }

    /// Takes a piece out, with the blank lines above it; comments above those stay.
    fn remove_piece(&mut self, place: usize) {
        let first = self.pieces.is_first(place);
        let Some(piece) = self.pieces.get_mut(place) else { return };
        piece.body = Cow::Borrowed("");
        let kept = blanks_at(&piece.gap);
        piece.gap.to_mut().truncate(kept);
        if first && kept == 0 {
            let behind = self.pieces.behind(place);
            let text = behind.to_mut();
            let mut end = 0;
            while let Some(line) =
                text.get(end..).and_then(|rest| rest.split_inclusive('\n').next())
                && line.trim().is_empty()
            {
                end += line.len();
            }
            text.drain(..end);
        }
    }

    fn server(&mut self, at: &Place, act: &Act) -> Result<(), EditError> {
        let keys = match act {
            Act::Set(keys) => keys,
            Act::Add(_) => return Err(EditError::Exists(at.clone())),
            Act::Remove => {
                return Err(wrong(at)("it is always there; take its keys out".to_owned()));
            }
        };
        let path = [Step::key("server")];
        let live = |place: &usize| self.pieces.get(*place).is_some_and(|own| !own.body.is_empty());
        let first = self.pieces.order().find(live);
        let root =
            first.filter(|place| self.pieces.get(*place).is_some_and(|own| own.kinds.is_empty()));
        let own = self.pieces.order().filter(live).find(|place| {
            let piece = self.pieces.get(*place);
            piece.is_some_and(|own| own.kinds.iter().any(|kind| kind == "server"))
        });
        let mut place = own;
        if place.is_none()
            && let Some(piece) = root.and_then(|root| self.pieces.get_mut(root))
            && (Body { text: piece.body.to_mut() }).has(&path).map_err(wrong(at))?
        {
            place = root;
        }
        let place = match place {
            Some(place) => place,
            None if keys.values().all(Option::is_none) => return Ok(()),
            None => {
                let gap = if root.is_some() { "\n" } else { "" };
                let kinds = vec![Cow::Borrowed("server")];
                let piece = Piece::new(gap.into(), "[server]\n".into(), kinds, Vec::new());
                self.pieces.insert(root, piece)
            }
        };
        let Some(piece) = self.pieces.get_mut(place) else { return Ok(()) };
        let mut body = Body { text: piece.body.to_mut() };
        set_keys(&mut body, &path, keys).map_err(wrong(at))?;
        if piece.body.trim() == "[server]" {
            self.remove_piece(place);
        }
        Ok(())
    }

    /// A binding, application or virtual directory.
    fn part(
        &mut self,
        kind: &'static str,
        (site, name): (&str, &str),
        at: &Place,
        act: &Act,
    ) -> Result<(), EditError> {
        let missing = || EditError::NotFound(Place::Site(site.to_owned()));
        let found = self.find("site", site).ok_or_else(missing)?;
        let piece = self.pieces.get_mut(found.piece).ok_or_else(missing)?;
        let parent = [Step::key("site"), Step::Index(found.index)];
        let mut body = Body { text: piece.body.to_mut() };
        let names = body.names(&parent, kind).map_err(wrong(at))?;
        let own = identity(kind, name);
        let place = names.iter().position(|name| name.as_ref() == Some(&own));
        let list = join(&parent, Step::key(kind));
        match (act, place) {
            (Act::Add(_), Some(_)) => Err(EditError::Exists(at.clone())),
            (Act::Add(fields), None) => {
                let fields = with_name(kind, name, at, fields)?;
                body.add_part(&parent, kind, &fields).map_err(wrong(at))
            }
            (_, None) => Err(EditError::NotFound(at.clone())),
            (Act::Remove, Some(place)) => match body.list(&list).map_err(wrong(at))? {
                Some(_) => body.remove_last_too(&parent, kind, place),
                None => body.remove_blocks(&join(&list, Step::Index(place))),
            }
            .map_err(wrong(at)),
            (Act::Set(keys), Some(place)) => {
                if let Some(new) = keys.get(name_key(kind)) {
                    let new = new_name(kind, at, new.as_ref())?;
                    let taken =
                        names.iter().position(|own| own.as_ref() == Some(&identity(kind, new)));
                    if taken.is_some_and(|taken| taken != place) {
                        return Err(EditError::Exists(renamed_place(at, new)));
                    }
                }
                body.set_part(&list, place, keys).map_err(wrong(at))
            }
        }
    }

    /// Writes down the numbers of sites that would get others now.
    pub(super) fn keep_numbers(&mut self) {
        if !self.numbers_at_stake {
            return;
        }
        for (piece, thing, number) in numbers(&self.pieces) {
            let Some(piece) = self.pieces.get_mut(piece) else { continue };
            let index = piece.things.iter().take(thing).filter(|own| own.kind == "site").count();
            let Some(was) = piece.things.get(thing).and_then(|own| own.was) else { continue };
            let path = [Step::key("site"), Step::Index(index)];
            if was != number {
                let mut body = Body { text: piece.body.to_mut() };
                // The site is there: nothing else can go wrong.
                body.assign(&path, "id", &Value::from(was)).ok();
            }
        }
    }
}

/// The number of each site: its piece, its place among the things there, and what it is given when
/// the text is read.
fn numbers(pieces: &Pieces<'_>) -> Vec<(usize, usize, u32)> {
    let mut sites = Vec::new();
    for place in pieces.order() {
        let things = pieces.get(place).map_or(&[][..], |own| &own.things);
        let own = things.iter().enumerate().filter(|(_, own)| own.kind == "site");
        sites.extend(own.map(|(thing, own)| (place, thing, own.number)));
    }
    let taken: HashSet<u32> = sites.iter().filter_map(|(.., number)| *number).collect();
    let mut free = (1..=u32::MAX).filter(|number| !taken.contains(number));
    let all = sites
        .into_iter()
        .filter_map(|(piece, thing, number)| Some((piece, thing, number.or_else(|| free.next())?)));
    all.collect()
}

/// Where the blank lines at the end of a gap begin.
fn blanks_at(gap: &str) -> usize {
    super::blocks::blanks_above(gap, gap.len(), 0)
}

fn wrong(at: &Place) -> impl Fn(String) -> EditError + '_ {
    move |reason| EditError::Wrong { at: at.clone(), reason }
}

/// The fields of something new, with the key that names it, which may be among them already.
fn with_name(kind: &str, name: &str, at: &Place, fields: &Fields) -> Result<Fields, EditError> {
    let key = name_key(kind);
    let mut fields = fields.clone();
    match fields.get(key).map(Value::as_text) {
        None => {
            fields.insert(key.to_owned(), name.into());
        }
        Some(Some(own)) if identity(kind, own) == identity(kind, name) => {}
        Some(_) => return Err(wrong(at)(format!("{key} says something else than what is added"))),
    }
    Ok(fields)
}

fn new_name<'v>(kind: &str, at: &Place, value: Option<&'v Value>) -> Result<&'v str, EditError> {
    let key = name_key(kind);
    value
        .and_then(Value::as_text)
        .ok_or_else(|| wrong(at)(format!("{key} must be a text: it says what this is")))
}

fn renamed_place(at: &Place, new: &str) -> Place {
    let new = new.to_owned();
    match at.clone() {
        Place::Server => Place::Server,
        Place::Listener(_) => Place::Listener(new),
        Place::Certificate(_) => Place::Certificate(new),
        Place::Site(_) => Place::Site(new),
        Place::Binding { site, .. } => Place::Binding { site, on: new },
        Place::Application { site, .. } => Place::Application { site, path: new },
        Place::VirtualDirectory { site, .. } => Place::VirtualDirectory { site, path: new },
        Place::Record(key) => Place::Record(key),
    }
}

/// Sets keys in the order in which people write them.
pub(super) fn set_keys(body: &mut Body<'_>, at: &[Step], keys: &Keys) -> Result<(), String> {
    let mut paths = Vec::new();
    for (key, value) in keys {
        let path = toml_edit::Key::parse(key).map_err(|_| format!("{key:?} is no key"))?;
        let path: Vec<String> = path.iter().map(|key| key.get().to_owned()).collect();
        paths.push((path, value.as_ref()));
    }
    paths.sort_by_key(|(path, _)| path.first().map_or(0, |key| rank(key)));
    paths.into_iter().try_for_each(|(path, value)| body.set(at, &path, value))
}
