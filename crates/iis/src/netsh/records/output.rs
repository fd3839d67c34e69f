//! Reads what `netsh http show sslcert` printed on some Windows, in whatever language, by its shape:
//! blocks of lines `label : value` in a fixed order, of which older versions print the first ones.
//! Labels are looked at only for what no language translates.

use std::collections::BTreeMap;

use super::{ApplicationId, Flag, Record, RecordError, RecordKey, Records, json, parse_hash};
use crate::netsh::sslcert::{Field, fields};

/// A line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// Reads the table, or its JSON form. The records that were understood, and every line that was
/// not.
#[must_use]
pub fn parse_output(text: &str) -> (Records, Vec<Unread>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) {
        return json::parse_output(text);
    }
    let lines: Vec<_> = text.lines().map(Line::of).collect();
    let mut reader = Reader::default();
    let blocks = reader.blocks(&lines);
    let drafts: Vec<_> = blocks.iter().filter_map(|block| reader.draft(block)).collect();
    let meanings = Meanings::of(&drafts);
    let mut records = Records::default();
    for draft in drafts {
        let line = draft.line;
        let record = reader.flagged(draft, &meanings);
        keep(&mut records, record, line, &mut reader.unread);
    }
    reader.unread.sort_by_key(|unread| unread.line);
    (records, reader.unread)
}

/// Adds a record that was read, unless it cannot be one.
pub(super) fn keep(records: &mut Records, record: Record, line: usize, unread: &mut Vec<Unread>) {
    let (key, hash) = (record.key.clone(), record.certificate_hash);
    let why = match records.insert(record) {
        Ok(()) => return,
        Err(RecordError::Exists(_)) => {
            // 0.0.0.0 and [::] are two records there and one here.
            if records.find(&key).is_some_and(|first| first.certificate_hash == hash) {
                return;
            }
            format!("{key} has a record already, with another certificate: the first is kept")
        }
        Err(error) => format!("{error}: it is left out"),
    };
    unread.push(Unread { line, why });
}

/// A line by its shape.
enum Line<'a> {
    Blank,
    /// `---`, or a text without a colon that ends a label.
    Other(&'a str),
    /// `label:` with nothing behind it and no space before the colon: a title.
    Title,
    Pair(&'a str, &'a str),
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let line = line.trim();
        if line.is_empty() {
            return Self::Blank;
        }
        // The label of the first line has a colon of its own, in front of a letter.
        let colons = line.char_indices().filter(|(_, own)| matches!(own, ':' | '：'));
        let split = colons.map(|(at, own)| line.split_at(at + own.len_utf8()));
        let ends = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
        match split.into_iter().find(|(_, rest)| ends(rest)) {
            None => Self::Other(line),
            Some((label, value)) => {
                let label = label.trim_end_matches([':', '：']);
                match value.is_empty() && !label.ends_with(char::is_whitespace) {
                    true => Self::Title,
                    false => Self::Pair(label.trim_end(), value.trim()),
                }
            }
        }
    }

    fn value(&self) -> Option<&'a str> {
        match self {
            Self::Pair(_, value) => Some(value),
            Self::Blank | Self::Other(_) | Self::Title => None,
        }
    }
}

/// A line of a record: its number, label and value.
type Pair<'a> = (usize, &'a str, &'a str);

/// A record whose words are not understood yet.
struct Draft<'a> {
    line: usize,
    record: Record,
    words: Vec<(usize, Flag, &'a str)>,
}

#[derive(Default)]
struct Reader {
    unread: Vec<Unread>,
}

impl Reader {
    fn report(&mut self, line: usize, why: impl Into<String>) {
        self.unread.push(Unread { line, why: why.into() });
    }

    /// The lines of each record. A record begins behind a blank line, or where a key is followed by
    /// a hash: some tools drop blank lines.
    fn blocks<'a>(&mut self, lines: &[Line<'a>]) -> Vec<Vec<Pair<'a>>> {
        let mut blocks: Vec<Vec<Pair<'a>>> = Vec::new();
        let all: Vec<_> = fields().collect();
        // Whether lines belong to a record, and whether they are its further properties.
        let (mut within, mut further) = (false, false);
        for (place, line) in lines.iter().enumerate() {
            let number = place + 1;
            match line {
                Line::Blank => (within, further) = (false, false),
                Line::Title => further = true,
                Line::Other(text) => {
                    let underlined =
                        matches!(lines.get(number), Some(Line::Other(next)) if is_rule(next));
                    if !is_rule(text) && !underlined {
                        self.report(number, format!("{text:?} is no line of a record"));
                    }
                    further = false;
                }
                Line::Pair(label, value) => {
                    let behind = |lines_on| lines.get(place + lines_on).and_then(Line::value);
                    // A timeout may stand before an absent text too, but not before a GUID.
                    let hash_follows = behind(1).is_some_and(|next| {
                        let id = || behind(2).is_some_and(|id| id.parse::<ApplicationId>().is_ok());
                        parse_hash(next).is_some() || is_null(next) && id()
                    });
                    // A timeout before a list that is named like a hash says what it is, in English.
                    let other = named(&all, label).is_some_and(|place| place > 0);
                    let begins =
                        key(value).is_some() && (hash_follows && !other || !within && !further);
                    if begins {
                        blocks.push(Vec::new());
                        (within, further) = (true, false);
                    }
                    match blocks.last_mut() {
                        _ if further => {}
                        Some(block) if within => block.push((number, label, value)),
                        _ => self.report(number, format!("{value:?} is no key of a record")),
                    }
                }
            }
        }
        blocks
    }

    fn draft<'a>(&mut self, block: &[Pair<'a>]) -> Option<Draft<'a>> {
        let all: Vec<_> = fields().collect();
        let ((line, _, first), rest) = block.split_first()?;
        let record = Record::new(key(first)?, ApplicationId(0));
        let mut draft = Draft { line: *line, record, words: Vec::new() };
        let mut place = 1;
        for (line, label, value) in rest {
            // A label that says what it is sets the place, and the next line follows from there.
            place = named(&all, label).unwrap_or(place);
            let Some(field) = all.get(place) else {
                self.report(*line, format!("{label:?} is a line of a later version"));
                continue;
            };
            place += 1;
            if let Err(why) = draft.take(*field, *line, value) {
                self.report(*line, format!("{value:?} {why}"));
            }
        }
        Some(draft)
    }

    fn flagged(&mut self, draft: Draft<'_>, meanings: &Meanings) -> Record {
        let Draft { mut record, words, .. } = draft;
        for (line, flag, word) in words {
            match meanings.of_word(flag, word) {
                // What is as it is unless said was probably not said.
                Some(on) if on != flag.facts().standard => record.flags.say(flag, on),
                Some(_) => {}
                None => self.report(
                    line,
                    format!(
                        "whether {word:?} means on or off cannot be told: taken as {}",
                        match flag.facts().standard {
                            true => "on",
                            false => "off",
                        }
                    ),
                ),
            }
        }
        record
    }
}

fn is_rule(text: &str) -> bool {
    text.len() >= 3 && text.bytes().all(|byte| byte == b'-')
}

/// C prints an absent text so, in every language.
fn is_null(value: &str) -> bool {
    value.is_empty() || value.eq_ignore_ascii_case("(null)")
}

/// The value of a first line. Windows 2012 printed the central store as a name that is a star.
fn key(value: &str) -> Option<RecordKey> {
    let central = value.strip_prefix("*:").unwrap_or(value);
    RecordKey::central_store(central)
        .or_else(|| RecordKey::ip_port(value))
        .or_else(|| RecordKey::hostname_port(value))
}

/// The place of the field that a label names: by the English label, or by a word of the trade that
/// is written the same everywhere.
fn named(all: &[Field], label: &str) -> Option<usize> {
    let any_key = RecordKey::CentralStore(1);
    let english = |field: &Field| field.label(&any_key).eq_ignore_ascii_case(label);
    if let Some(place) = all.iter().position(english) {
        return Some(place);
    }
    let label: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
    let label = label.to_ascii_uppercase();
    let words = [
        ("HTTP2", Flag::DisableHttp2),
        ("QUIC", Flag::DisableQuic),
        ("TLS12", Flag::DisableTls12),
        ("TLS13", Flag::DisableTls13),
        ("OCSP", Flag::DisableOcspStapling),
    ];
    let (_, flag) = words.into_iter().find(|(word, _)| label.contains(word))?;
    all.iter().position(|field| *field == Field::Flag(flag))
}

impl<'a> Draft<'a> {
    fn take(&mut self, field: Field, line: usize, value: &'a str) -> Result<(), &'static str> {
        let text = || (!is_null(value)).then(|| value.to_owned());
        let number = || value.parse().map_err(|_| "is no number");
        let record = &mut self.record;
        match field {
            Field::Key => return Err("is a second key"),
            Field::Hash if is_null(value) => {}
            Field::Hash => {
                record.certificate_hash = Some(parse_hash(value).ok_or("is no 40 hex digits")?);
            }
            Field::ApplicationId => {
                record.application_id = value.parse().map_err(|_| "is no GUID in braces")?;
            }
            Field::StoreName => record.store_name = text(),
            Field::RevocationFreshness => record.revocation_freshness_seconds = number()?,
            Field::UrlRetrieval => record.url_retrieval_milliseconds = number()?,
            Field::CtlIdentifier => record.ctl_identifier = text(),
            Field::CtlStoreName => record.ctl_store_name = text(),
            Field::Flag(flag) => self.words.push((line, flag, value)),
        }
        Ok(())
    }
}

/// What the words of a text mean: those for Enabled and Disabled, and those for Set and Not Set.
struct Meanings {
    enabled: BTreeMap<String, bool>,
    set: BTreeMap<String, bool>,
}

impl Meanings {
    fn of(drafts: &[Draft<'_>]) -> Self {
        let words = |enabled: bool| {
            let all = drafts.iter().flat_map(|draft| &draft.words);
            all.filter(move |(_, flag, _)| flag.facts().enabled == enabled)
        };
        // How often each word stands where on, and where off, is usual.
        let count = |enabled| {
            let mut count: BTreeMap<String, (usize, usize)> = BTreeMap::new();
            for (_, flag, word) in words(enabled) {
                let own = count.entry(word.to_lowercase()).or_default();
                match flag.facts().standard {
                    true => own.0 += 1,
                    false => own.1 += 1,
                }
            }
            count
        };
        Self { enabled: meaning(&count(true)), set: meaning(&count(false)) }
    }

    fn of_word(&self, flag: Flag, word: &str) -> Option<bool> {
        let word = word.to_lowercase();
        let (own, other) = match flag.facts().enabled {
            true => (&self.enabled, &self.set),
            false => (&self.set, &self.enabled),
        };
        json::switch(&word).or_else(|| own.get(&word).or_else(|| other.get(&word)).copied())
    }
}

/// Of two words the longer one that has the other inside denies it: "not set", "deaktiviert",
/// "未設定". Otherwise the word that stands more often where off is usual means off.
fn meaning(count: &BTreeMap<String, (usize, usize)>) -> BTreeMap<String, bool> {
    let mut words: Vec<_> = count.iter().collect();
    words.sort_by_key(|(_, (on, off))| std::cmp::Reverse(on + off));
    let means = |on: &str, off: &str| [(on.to_owned(), true), (off.to_owned(), false)].into();
    match words.as_slice() {
        [] => BTreeMap::new(),
        // Where off is usual everywhere, one word for all means off.
        [(word, (0, _))] => [((*word).clone(), false)].into(),
        [_] => BTreeMap::new(),
        [(one, (one_on, one_off)), (two, (two_on, two_off)), ..] => {
            // Shares of what is usually on are compared without dividing.
            let (left, right) = (one_on * (two_on + two_off), two_on * (one_on + one_off));
            let no_usual_on = *one_on == 0 && *two_on == 0;
            if one.contains(two.as_str()) {
                means(two, one)
            } else if two.contains(one.as_str()) {
                means(one, two)
            } else if no_usual_on && one_off > two_off {
                means(two, one)
            } else if left > right {
                means(one, two)
            } else if right > left {
                means(two, one)
            } else {
                BTreeMap::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
