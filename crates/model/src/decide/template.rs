//! Texts that stand for something else with each request: `https://www.${name}/${lower:path}`. Targets
//! of redirects and rewrites are such texts, and what conditions look at can be one.
//!
//! What a client wrote is put into a target only percent-encoded (RFC 3986, 2.1), and never into
//! its host: a redirect cannot be bent to another server, and holds no line break. Only the host that
//! was asked for, which is a valid name, may become one.

use std::{borrow::Cow, fmt::Write as _, ops::Range};

use super::condition::{Asked, HeldBy};

/// A text made ready.
#[derive(Clone, Debug, Default)]
pub(super) struct Template(Vec<Piece>);

/// A piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    /// What is done with it, the last one first.
    functions: Vec<Function>,
    source: Source,
}

/// What a piece stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Itself.
    Text(Box<str>),
    /// What this group of the path's regular expression holds.
    Group(usize),
    /// What a group of a condition's holds: the place of the condition, and of the group.
    Held(usize, usize),
    /// Something of the request.
    Variable(Variable),
    /// The first field of this name.
    Field(Box<str>),
}

/// What a text can have of a request, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Host,
    Authority,
    Scheme,
    Port,
    Path,
    Query,
    Uri,
    Method,
    Client,
}

const VARIABLES: [(&str, Variable); 9] = [
    ("host", Variable::Host),
    ("authority", Variable::Authority),
    ("scheme", Variable::Scheme),
    ("port", Variable::Port),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("uri", Variable::Uri),
    ("method", Variable::Method),
    ("client", Variable::Client),
];

/// What can be done with what a variable stands for: `${lower:path}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Lower case, of all letters that have one.
    Lower,
    /// All but letters, digits and `-._~` percent-encoded.
    Encode,
    /// Percent-encoding undone.
    Decode,
}

const FUNCTIONS: [Function; 3] = [Function::Lower, Function::Encode, Function::Decode];

/// What a text of a request is, which says how it may stand in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may be a part of a host: it was found valid, or the rule itself says it.
    Host,
    /// As it was sent, percent-encoded.
    Sent,
    /// Decoded.
    Text,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoTemplate {
    /// Something in it stands for nothing.
    Nothing { capture: String, span: Range<usize> },
    /// A `$` begins nothing.
    Dollar { span: Range<usize> },
}

impl Template {
    /// Takes a text apart. `group` finds what the groups of regular expressions hold, by name or
    /// number. Only where there are any a `$` must begin something.
    pub(super) fn read(
        text: &str,
        has_groups: bool,
        group: impl Fn(&str) -> Option<Source>,
    ) -> Result<Self, NoTemplate> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('$') {
            let at = text.len() - behind.len() - 1;
            plain.push_str(before);
            if let Some(behind) = behind.strip_prefix('$').filter(|_| has_groups) {
                plain.push('$');
                rest = behind;
                continue;
            }
            let Some(len) = first_capture(behind) else {
                if has_groups {
                    return Err(NoTemplate::Dollar { span: at..at + 1 });
                }
                if behind.starts_with('{') {
                    let capture = "$".to_owned();
                    return Err(NoTemplate::Nothing { capture, span: at..at + 1 });
                }
                plain.push('$');
                rest = behind;
                continue;
            };
            let (capture, after) = behind.split_at(len);
            let name = capture.trim_start_matches('{').trim_end_matches('}');
            let Some(piece) = Piece::read(name, &group) else {
                let capture = format!("${capture}");
                return Err(NoTemplate::Nothing { capture, span: at..at + 1 + len });
            };
            push_plain(&mut pieces, &mut plain);
            pieces.push(piece);
            rest = after;
        }
        plain.push_str(rest);
        push_plain(&mut pieces, &mut plain);
        Ok(Self(pieces))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has what a group of the path's expression holds.
    pub(super) fn has_groups(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece.source, Source::Group(_)))
    }

    /// Whether it has what only a client sends.
    pub(super) fn looks_at_client(&self) -> bool {
        self.0.iter().any(|piece| {
            let of_client = [Variable::Method, Variable::Client].map(Source::Variable);
            matches!(piece.source, Source::Field(_)) || of_client.contains(&piece.source)
        })
    }

    /// Gives each text that it comes to, in order.
    pub(super) fn each<'h>(
        &self,
        asked: &Asked<'_>,
        group: &dyn Fn(usize) -> &'h str,
        held: Option<&HeldBy<'_, '_>>,
        put: &mut dyn FnMut(&[u8], Kind),
    ) {
        for Piece { functions, source } in &self.0 {
            let mut put = |bytes: &[u8], kind: Kind| match functions.as_slice() {
                [] => put(bytes, kind),
                functions => {
                    let (mut bytes, mut kind) = (Cow::Borrowed(bytes), kind);
                    for function in functions.iter().rev() {
                        (bytes, kind) = function.apply(&bytes, kind);
                    }
                    put(&bytes, kind);
                }
            };
            match source {
                Source::Text(text) => put(text.as_bytes(), Kind::Host),
                Source::Group(number) => put(group(*number).as_bytes(), Kind::Text),
                Source::Held(place, number) => {
                    if let Some(held) = held {
                        held.each(*place, *number, &mut put);
                    }
                }
                Source::Variable(variable) => variable.each(asked, &mut put),
                Source::Field(name) => {
                    put((asked.field)(name).unwrap_or_default().as_bytes(), Kind::Text);
                }
            }
        }
    }
}

impl Piece {
    /// What stands between `${` and `}`: `lower:path`.
    fn read(name: &str, group: impl Fn(&str) -> Option<Source>) -> Option<Self> {
        let mut functions = Vec::new();
        let mut rest = name;
        while let Some((first, behind)) = rest.split_once(':') {
            if first == "field" {
                let name = behind.to_ascii_lowercase();
                let is_name = crate::document::is_token(&name);
                return is_name
                    .then(|| Self { functions, source: Source::Field(name.as_str().into()) });
            }
            functions.push(FUNCTIONS.into_iter().find(|own| own.name() == first)?);
            rest = behind;
        }
        let variable = || VARIABLES.iter().find(|(own, _)| *own == rest);
        let source = group(rest).or_else(|| variable().map(|(_, own)| Source::Variable(*own)))?;
        Some(Self { functions, source })
    }
}

impl Variable {
    fn each(self, asked: &Asked<'_>, put: &mut dyn FnMut(&[u8], Kind)) {
        let query = asked.query.unwrap_or_default().as_bytes();
        match self {
            Self::Host => put(asked.host().as_bytes(), Kind::Host),
            Self::Authority => put(asked.authority.as_bytes(), Kind::Host),
            Self::Scheme => put(if asked.https { b"https" } else { b"http" }, Kind::Host),
            Self::Port => put(asked.port.to_string().as_bytes(), Kind::Host),
            Self::Path => put(asked.path, Kind::Text),
            Self::Query => put(query, Kind::Sent),
            Self::Uri => {
                put(asked.path, Kind::Text);
                if asked.query.is_some() {
                    put(b"?", Kind::Sent);
                    put(query, Kind::Sent);
                }
            }
            Self::Method => put(asked.method.as_bytes(), Kind::Text),
            Self::Client => {
                let client = asked.client.map(|own| own.to_string()).unwrap_or_default();
                put(client.as_bytes(), Kind::Text);
            }
        }
    }
}

impl Function {
    /// As it is written before what it is done with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Encode => "encode",
            Self::Decode => "decode",
        }
    }

    /// What it makes of a text. Bytes that are none are replaced.
    #[must_use]
    pub fn of(self, text: &str) -> String {
        let (bytes, _) = self.apply(text.as_bytes(), Kind::Text);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn apply<'a>(self, bytes: &[u8], kind: Kind) -> (Cow<'a, [u8]>, Kind) {
        match self {
            Self::Lower => {
                let lower = match std::str::from_utf8(bytes) {
                    Ok(text) => text.to_lowercase().into_bytes(),
                    Err(_) => bytes.to_ascii_lowercase(),
                };
                (lower.into(), kind)
            }
            Self::Encode => {
                let mut encoded = String::with_capacity(bytes.len());
                for &byte in bytes {
                    push_byte(&mut encoded, byte, is_unreserved(byte));
                }
                (encoded.into_bytes().into(), Kind::Sent)
            }
            Self::Decode => (decoded(bytes).into(), Kind::Text),
        }
    }
}

/// Where a rule leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The whole: a path or a URL; empty for a rule that leads nowhere.
    pub text: String,
    /// How many bytes of it say the scheme and the host, as the rule has them. What follows must
    /// begin a path, a query or a fragment: otherwise a path would have become a part of the host.
    pub host_end: usize,
}

/// A target in the making.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) text: String,
    host_end: Option<usize>,
}

impl Draft {
    /// Puts in a text of that kind.
    pub(super) fn put(&mut self, bytes: &[u8], kind: Kind) {
        match kind {
            // Of this kind all is text.
            Kind::Host => self.text.push_str(&String::from_utf8_lossy(bytes)),
            Kind::Sent => {
                self.close_host();
                self.text.push_str(&String::from_utf8_lossy(bytes));
            }
            Kind::Text => self.push_encoded(bytes),
        }
    }

    /// What comes from now on is no part of the host.
    fn close_host(&mut self) {
        let end = || match self.text.split_once("://") {
            Some((scheme, rest)) if !self.text.starts_with('/') => {
                let host_at = scheme.len() + "://".len();
                host_at + rest.find(['/', '?', '#']).unwrap_or(rest.len())
            }
            _ => 0,
        };
        self.host_end = Some(self.host_end.unwrap_or_else(end));
    }

    /// Puts in what a client wrote: in a query nothing that ends a parameter.
    pub(super) fn push_encoded(&mut self, bytes: &[u8]) {
        self.close_host();
        let in_query = self.text.contains(['?', '#']);
        for &byte in bytes {
            let plain = is_unreserved(byte)
                || b"/:@,".contains(&byte)
                || !in_query && b"!$&'()*+;=".contains(&byte);
            push_byte(&mut self.text, byte, plain);
        }
    }

    /// The whole, with this query.
    pub(super) fn finish(mut self, query: Option<&str>) -> Target {
        self.close_host();
        // A capture may begin with a slash: two of them would begin a host (RFC 3986, 4.2).
        let slashes = self.text.bytes().take_while(|byte| *byte == b'/').count();
        if slashes > 1 {
            self.text.drain(1..slashes);
        }
        let path_at = match self.text.split_once("://") {
            Some((scheme, rest)) if !self.text.starts_with('/') => {
                let host_at = scheme.len() + "://".len();
                let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                host_at + host_end
            }
            _ => 0,
        };
        if !self.text.get(path_at..).is_some_and(|path| path.starts_with('/')) {
            self.text.insert(path_at, '/');
        }
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            let end = self.text.find('#').unwrap_or(self.text.len());
            let own = self.text.get(..end).unwrap_or_default();
            let between = match own.find('?') {
                None => "?",
                Some(at) if at + 1 == end => "",
                Some(_) => "&",
            };
            self.text.insert_str(end, &format!("{between}{query}"));
        }
        Target { text: self.text, host_end: self.host_end.unwrap_or_default() }
    }
}

fn push_plain(pieces: &mut Vec<Piece>, plain: &mut String) {
    if !plain.is_empty() {
        let source = Source::Text(std::mem::take(plain).into());
        pieces.push(Piece { functions: Vec::new(), source });
    }
}

/// How many bytes of `rest`, what follows a `$`, belong to a capture.
fn first_capture(rest: &str) -> Option<usize> {
    if rest.starts_with('{') {
        return rest.find('}').map(|end| end + 1);
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then_some(digits)
}

/// What never needs an encoding (RFC 3986, 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn push_byte(text: &mut String, byte: u8, plain: bool) {
    match plain {
        true => text.push(char::from(byte)),
        // Writing to a string does not fail.
        false => write!(text, "%{byte:02X}").unwrap_or_default(),
    }
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: Option<&u8>| at.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let pair = (*first == b'%').then(|| digit(behind.first()).zip(digit(behind.get(1))));
        let byte = pair.flatten().and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = match byte {
            Some(_) => behind.get(2..).unwrap_or_default(),
            None => behind,
        };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a text comes to, with one group.
    fn come(text: &str, asked: &Asked<'_>, group: &str) -> Option<Target> {
        let groups = |name: &str| (name == "1").then_some(Source::Group(1));
        let template = Template::read(text, true, groups).ok()?;
        let mut draft = Draft::default();
        template.each(asked, &|_| group, None, &mut |bytes, kind| draft.put(bytes, kind));
        Some(draft.finish(None))
    }

    #[test]
    fn functions_are_done_from_the_inside() {
        let field = |name: &str| (name == "x-a").then_some(Cow::Borrowed("Ä b"));
        let asked = Asked {
            authority: "A.example:81",
            port: 8081,
            query: Some("q=%41&B"),
            field: &field,
            ..Asked::of("/Ä/x y".as_bytes())
        };
        for (text, expected) in [
            ("/${lower:path}", "/%C3%A4/x%20y"),
            ("https://${lower:authority}${path}", "https://a.example:81/%C3%84/x%20y"),
            ("http://${host}:${port}/", "http://a.example:8081/"),
            ("/login?to=${encode:uri}", "/login?to=%2F%C3%84%2Fx%20y%3Fq%3D%2541%26B"),
            ("/x?${query}", "/x?q=%41&B"),
            ("/x?${lower:query}", "/x?q=%41&b"),
            ("/x?${decode:query}", "/x?q%3DA%26B"),
            ("/x${uri}", "/x/%C3%84/x%20y?q=%41&B"),
            ("/${1}/${lower:1}/${encode:lower:1}", "/C%2541/c%2541/c%2541"),
            ("/${decode:1}", "/CA"),
            ("/${field:X-A}-${lower:field:x-b}-${method}-${client}", "/%C3%84%20b--GET-"),
        ] {
            let target = come(text, &asked, "C%41").map(|target| target.text);
            assert_eq!(target.as_deref(), Some(expected), "{text}");
        }
        for wrong in ["${upper:path}", "${lower:}", "${field:}", "${field:a b}", "${path:lower}"] {
            assert_eq!(come(wrong, &asked, ""), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_it_comes_to_is_a_valid_target(
            text in "(/|https://h\\.example/|\\$|\\{|\\}|[a-c:%?]|lower:|encode:|decode:|path|uri|query|1){0,12}",
            path in proptest::collection::vec(any::<u8>(), 0..20),
            query in proptest::option::of("[!-~]{0,12}"),
            group in any::<String>(),
        ) {
            let path = [b"/", &path[..]].concat();
            let asked = Asked { query: query.as_deref(), authority: "h", ..Asked::of(&path) };
            if let Some(Target { text, host_end }) = come(&text, &asked, &group) {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{}", text);
                prop_assert!(text.is_char_boundary(host_end));
                prop_assert!(!text.starts_with("//") && text.contains('/'), "{}", text);
            }
        }

        #[test]
        fn what_is_encoded_is_decoded_again(group in any::<String>()) {
            let asked = Asked::of(b"/");
            let once = come("/${encode:1}", &asked, &group);
            prop_assert_eq!(once, come("/${encode:decode:encode:1}", &asked, &group));
        }
    }
}
