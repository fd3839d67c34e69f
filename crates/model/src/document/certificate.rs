//! Reads `[[certificate]]`, and what a binding says about the certificates it wants.

use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::{
    CertificatePosition,
    before::Known,
    cut::{Kind, Part},
    read::{Entry, Reader, Section, Text},
    site,
};
use crate::{
    certificate::{
        CertificateChoice, CertificateFiles, CertificateId, CertificateReference, CertificateSource,
    },
    problem::{Code, Problem, Span},
};

/// Words that stand for a way to find a certificate, so that none may be called so.
const RESERVED: [&str; 5] = ["best", "central", "none", "acme", "local"];
/// What Windows' certificate dialog puts in front of a thumbprint that is copied from it.
const LEFT_TO_RIGHT_MARK: char = '\u{200e}';

/// The certificates of the file.
#[derive(Default)]
pub(super) struct Certificates {
    /// Those that are complete.
    pub(super) sources: Vec<CertificateSource>,
    /// Where they stand.
    pub(super) positions: Vec<CertificatePosition>,
    /// By their names in lower case: where the name stands, and the place in the list; no place
    /// where the certificate itself has an error, which is said there and not at its bindings.
    names: HashMap<String, (Span, Option<CertificateId>)>,
    /// Whether `[server]` has a central store, be it right or wrong.
    pub(super) central_store: bool,
}

/// Reads every `[[certificate]]`; nothing where one of the parts is no TOML.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    central_store: bool,
    (parts, known): (Option<&[Part]>, Option<&Known<'_>>),
) -> Option<Certificates> {
    let mut all = Certificates { central_store, ..Certificates::default() };
    let Some(parts) = parts else {
        reader.each(root, "certificate", |reader, own| all.read(reader, own));
        return Some(all);
    };
    let own = || parts.iter().filter(|part| part.kind == Kind::Certificate);
    let count = own().count();
    all.sources.reserve(count);
    all.positions.reserve(count);
    all.names.reserve(count);
    for part in own() {
        match known.and_then(|known| known.certificate(reader.folder(), part)) {
            Some((source, position)) => {
                let (name, span) = (&source.name, position.name.clone());
                all.add(reader, (name, &span), Some((source.files.clone(), position)));
            }
            None => reader.part("certificate", &part.span, |reader, own| all.read(reader, own))?,
        }
    }
    Some(all)
}

impl Certificates {
    fn read<'d>(&mut self, reader: &mut Reader<'d>, section: &Section<'d>) {
        reader.known(section, &["name", "file", "key", "password_file"]);
        let name = reader.required_text(section, "name", "shop");
        let name = name.and_then(|name| site::read_name(reader, section, name));
        let files = read_files(reader, section);
        let Some(name) = name else { return };
        if RESERVED.contains(&name.value.to_lowercase().as_str()) {
            let message = format!("{}: the name has a meaning of its own", section.owner);
            let help = format!("take another name than {}", RESERVED.join(", "));
            return reader.problem(Code::BadValue, name.span.clone(), message, help);
        }
        self.add(reader, (name.value, &name.span), files);
    }

    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        (name, span): (&str, &Span),
        files: Option<(CertificateFiles, CertificatePosition)>,
    ) {
        let key = name.to_lowercase();
        if let Some((first, _)) = self.names.get(&key) {
            let message = format!("two certificates are called {name:?}");
            let help = "give each certificate a name of its own; case does not count";
            let problem = Problem::new(Code::DuplicateCertificate, span.clone(), message, help);
            reader.problems.push(problem.with_related(first.clone(), "the first"));
            return;
        }
        let place = u32::try_from(self.sources.len()).ok().map(CertificateId);
        let id = files.and_then(|(files, position)| {
            self.sources.push(CertificateSource { name: name.to_owned(), files });
            self.positions.push(CertificatePosition { name: span.clone(), ..position });
            place
        });
        self.names.insert(key, (span.clone(), id));
    }

    /// Reads what a binding wants: a text, or an array of texts.
    pub(super) fn choice<'d>(
        &self,
        reader: &mut Reader<'d>,
        binding: &Section<'d>,
        entry: &Entry<'d>,
    ) -> CertificateChoice {
        if !entry.is_array() {
            let Some(text) = reader.text_of(binding, entry) else {
                return CertificateChoice::default();
            };
            return match text.value.to_lowercase().as_str() {
                "best" => CertificateChoice::Best,
                "none" => CertificateChoice::None,
                "central" => {
                    self.require_central_store(reader, binding, &text);
                    CertificateChoice::Central
                }
                _ => CertificateChoice::Listed(
                    self.reference(reader, binding, &text).into_iter().collect(),
                ),
            };
        }
        let elements = reader.elements(binding, entry.key, "an array");
        if elements.is_empty() {
            let message = format!("{}: the list of certificates is empty", binding.owner);
            let help =
                "name a certificate, or remove the key to have the best one that covers the host";
            reader.problem(Code::BadValue, entry.span.clone(), message, help);
        }
        let mut listed = Vec::new();
        for element in elements {
            let Some(text) = reader.text_of(binding, &element) else { continue };
            let word = text.value.to_lowercase();
            if matches!(word.as_str(), "best" | "central" | "none") {
                let message = format!("{}: {word:?} cannot stand in a list", binding.owner);
                let help = format!("write certificate = {word:?}, or name certificates only");
                reader.problem(Code::BadValue, text.span, message, help);
            } else if let Some(reference) = self.reference(reader, binding, &text) {
                if listed.contains(&reference) {
                    let message = format!("{}: {:?} is listed twice", binding.owner, text.value);
                    reader.problem(Code::BadValue, text.span, message, "remove one of them");
                    continue;
                }
                listed.push(reference);
            }
        }
        CertificateChoice::Listed(listed)
    }

    fn require_central_store(
        &self,
        reader: &mut Reader<'_>,
        binding: &Section<'_>,
        text: &Text<'_>,
    ) {
        if !self.central_store {
            let message = format!("{}: there is no central store", binding.owner);
            let help = "add central_store = { folder = \"central\" } to [server]";
            reader.problem(Code::NoCentralStore, text.span.clone(), message, help);
        }
    }

    fn reference(
        &self,
        reader: &mut Reader<'_>,
        binding: &Section<'_>,
        text: &Text<'_>,
    ) -> Option<CertificateReference> {
        let word = text.value.to_lowercase();
        if let Some((_, id)) = self.names.get(&word) {
            return id.map(CertificateReference::Source);
        }
        if let Some(reference) = digest(text.value) {
            return Some(reference);
        }
        let span = text.span.clone();
        if word == "acme" || word == "local" {
            let message =
                format!("{}: this version has no certificates of kind {word:?}", binding.owner);
            let help = "name a [[certificate]], or remove the key to have the best one that covers the host";
            reader.problem(Code::NotSupported, span, message, help);
            return None;
        }
        let names = self.names.keys().map(String::as_str);
        let help = reader.did_you_mean(&word, names).unwrap_or_else(|| {
            "add a [[certificate]] of that name, or write 40 or 64 hex digits of one".to_owned()
        });
        let message = format!("{}: there is no certificate {:?}", binding.owner, text.value);
        reader.problem(Code::UnknownCertificate, span, message, help);
        None
    }
}

/// The certificate that a SHA-1 or SHA-256 in hex stands for. Spaces, colons and the mark that
/// comes along from Windows do not count.
pub(super) fn digest(text: &str) -> Option<CertificateReference> {
    let mut bytes = [0_u8; 32];
    let mut digits = 0;
    let separators = |c: &char| c.is_ascii_whitespace() || *c == ':' || *c == LEFT_TO_RIGHT_MARK;
    for letter in text.chars().filter(|letter| !separators(letter)) {
        let digit = u8::try_from(letter.to_digit(16)?).ok()?;
        let byte = bytes.get_mut(digits / 2)?;
        *byte = *byte << 4 | digit;
        digits += 1;
    }
    match digits {
        40 => bytes.first_chunk().copied().map(CertificateReference::Thumbprint),
        64 => Some(CertificateReference::Fingerprint(bytes)),
        _ => None,
    }
}

fn read_files<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
) -> Option<(CertificateFiles, CertificatePosition)> {
    let key = reader.path(section, "key");
    let password_file = reader.path(section, "password_file");
    let file = reader.required_text(section, "file", "certs/shop.pem")?;
    let (file, at) = reader.path_of(section, "file", file)?;
    let (wrong, why) = match is_pfx(&file) {
        true => ("key", "a PFX file has its key inside"),
        false => ("password_file", "only a PFX file (.pfx or .p12) has a password"),
    };
    if let Some(entry) = section.entry(wrong) {
        let message =
            format!("{}: {wrong} does not go with {:?}: {why}", section.owner, file_name(&file));
        let help = format!("remove {wrong}");
        let problem = Problem::new(Code::Exclusive, entry.key_span, message, help);
        reader.problems.push(problem.with_related(at.clone(), "the file"));
    }
    let span = |path: &Option<(PathBuf, Span)>| {
        path.as_ref().map_or_else(|| at.clone(), |(_, span)| span.clone())
    };
    let position = CertificatePosition {
        name: at.clone(),
        file: at.clone(),
        key: span(&key),
        password_file: span(&password_file),
    };
    let path = |path: Option<(PathBuf, Span)>| path.map(|(path, _)| path);
    Some((CertificateFiles { file, key: path(key), password_file: path(password_file) }, position))
}

fn is_pfx(file: &Path) -> bool {
    file.extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("pfx") || end.eq_ignore_ascii_case("p12"))
}

fn file_name(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy()
}
