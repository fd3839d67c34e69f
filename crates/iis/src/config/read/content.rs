//! Sections about files: default documents, types, caching, compression; what is logged.

use std::{rc::Rc, sync::Arc};

use bindery_model::{
    document::{is_field_value, is_http_date, is_media_type},
    rules::{Compress, PathPattern},
    site::CacheRule,
};

use super::{
    sections::{Sections, Shared, Written},
    value::{self, seconds, word},
};
use crate::xml::Element;

/// What IIS looks for as it is installed.
const DOCUMENTS: [&str; 6] =
    ["Default.htm", "Default.asp", "index.htm", "index.html", "iisstart.htm", "default.aspx"];

/// The most usual types, for a text without a MIME map: a fragment, or one written by hand.
const TYPES: [(&str, &str); 48] = [
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eot", "application/vnd.ms-fontobject"),
    ("exe", "application/octet-stream"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("msi", "application/octet-stream"),
    ("ogg", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "text/xml"),
    ("zip", "application/zip"),
];

/// `clientCache`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cache {
    mode: CacheMode,
    max_age: Option<u64>,
    /// The date of `Expires`.
    expires: Option<String>,
    custom: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum CacheMode {
    #[default]
    Nothing,
    Disable,
    MaxAge,
    Expires,
}

/// `httpCompression` and `urlCompression`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Compression {
    types: Option<Vec<String>>,
    bytes_min: Option<u64>,
    off: bool,
}

/// IIS's `minFileSizeForComp`, where nothing is said.
const COMPRESSED_BYTES_MIN: u64 = 2700;
/// IIS's `cacheControlMaxAge`, where nothing is said: a day.
const MAX_AGE_SECONDS: u64 = 86_400;

impl Sections {
    /// What is looked for in a folder.
    pub(super) fn default_documents(&self) -> Vec<String> {
        match &self.documents {
            _ if self.no_documents => Vec::new(),
            Some(documents) => documents.to_vec(),
            None => DOCUMENTS.map(str::to_owned).to_vec(),
        }
    }

    /// The types that are sent, as filtering leaves them.
    pub(super) fn media_types(&self) -> Arc<[(String, String)]> {
        let types = self.types.clone().unwrap_or_else(|| {
            TYPES.iter().map(|(ending, name)| ((*ending).to_owned(), (*name).to_owned())).collect()
        });
        match types.iter().all(|(ending, _)| self.filtering.admits(ending)) {
            true => types,
            false => {
                types.iter().filter(|(ending, _)| self.filtering.admits(ending)).cloned().collect()
            }
        }
    }

    /// What `Cache-Control` and `Expires` say.
    pub(super) fn cache_control(&self) -> Vec<CacheRule> {
        let Cache { mode, max_age, expires, custom } = &*self.cache;
        let own = match mode {
            CacheMode::Nothing | CacheMode::Expires => String::new(),
            CacheMode::Disable => "no-cache".to_owned(),
            CacheMode::MaxAge => format!("max-age={}", max_age.unwrap_or(MAX_AGE_SECONDS)),
        };
        let parts = [custom.as_str(), own.as_str()].into_iter().filter(|part| !part.is_empty());
        let value = parts.collect::<Vec<_>>().join(",");
        let expires = expires.clone().filter(|_| *mode == CacheMode::Expires);
        match value.is_empty() && expires.is_none() {
            true => Vec::new(),
            false => vec![CacheRule { path: PathPattern::Prefix("/".to_owned()), value, expires }],
        }
    }

    /// What is compressed.
    pub(super) fn compress(&self) -> Option<Compress> {
        let Compression { types, bytes_min, off } = &*self.compression;
        let types = types.clone().filter(|types| !off && !types.is_empty())?;
        Some(Compress { bytes_min: bytes_min.unwrap_or(COMPRESSED_BYTES_MIN), types })
    }

    pub(super) fn read_documents(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        if let Some(enabled) = written.values(shared).boolean("enabled") {
            self.no_documents = !enabled;
        }
        // What the server itself says takes the place of what we would say.
        let mut documents = self.documents.as_deref().cloned().unwrap_or_default();
        let mut place = 0;
        for entry in written.children_of("files") {
            let name = entry.value("value").unwrap_or_default().into_owned();
            let same = |own: &String| own.eq_ignore_ascii_case(&name);
            match entry.name() {
                "clear" => {
                    documents.clear();
                    place = 0;
                }
                "remove" => {
                    let before = documents.iter().take(place).filter(|own| same(own)).count();
                    documents.retain(|own| !same(own));
                    place -= before;
                }
                "add" if name.is_empty() || name.contains(['/', '\\']) => {
                    let message = format!("the default document {name:?} is no file of the folder");
                    written.hint(entry.tag(), message, shared);
                }
                "add" => {
                    if documents.iter().any(same) {
                        written.twice(entry, &name, shared);
                        let before = documents.iter().take(place).filter(|own| same(own)).count();
                        documents.retain(|own| !same(own));
                        place -= before;
                    }
                    documents.insert(place.min(documents.len()), name);
                    place += 1;
                }
                _ => written.unknown(entry, shared),
            }
        }
        self.documents = Some(Rc::new(documents));
    }

    pub(super) fn read_static_content(
        &mut self,
        written: &Written<'_, '_>,
        shared: &mut Shared<'_>,
    ) {
        let mut types = self.types.as_deref().map(<[_]>::to_vec);
        for entry in written.children() {
            match entry.name() {
                "clear" => {
                    types = Some(Vec::new());
                    self.any_type = false;
                }
                "remove" => match ending_of(entry) {
                    any if any == "*" => self.any_type = false,
                    // A text without a map of its own has ours.
                    ending => types.get_or_insert_default().retain(|(own, _)| *own != ending),
                },
                "mimeMap" => {
                    written.look_at(entry, "mimeMap", shared);
                    let types = types.get_or_insert_default();
                    match read_type(written, entry, types, shared) {
                        Some((any, _)) if any == "*" => self.any_type = true,
                        Some(read) => types.push(read),
                        None => {}
                    }
                }
                "clientCache" => {
                    written.look_at(entry, "clientCache", shared);
                    self.read_cache(written, entry, shared);
                }
                _ => written.unknown(entry, shared),
            }
        }
        self.types = types.map(Into::into);
    }

    fn read_cache<'a>(
        &mut self,
        written: &Written<'a, '_>,
        entry: Element<'a>,
        shared: &mut Shared<'_>,
    ) {
        let cache = Rc::make_mut(&mut self.cache);
        let mut values = written.values_of(entry, shared);
        let modes = [
            ("NoControl", 0, CacheMode::Nothing),
            ("DisableCache", 1, CacheMode::Disable),
            ("UseMaxAge", 2, CacheMode::MaxAge),
            ("UseExpires", 3, CacheMode::Expires),
        ];
        let takes = "NoControl, DisableCache, UseMaxAge or UseExpires";
        let mode = values.read("cacheControlMode", takes, |text| word(text, &modes));
        if let Some(age) = values.read("cacheControlMaxAge", "[d.]hh:mm:ss", seconds) {
            cache.max_age = Some(age);
        }
        if let Some(custom) = values.text("cacheControlCustom") {
            let span = values.place("cacheControlCustom");
            match is_field_value(&custom) {
                true => cache.custom = custom,
                false => {
                    let message = format!("{custom:?} cannot stand in Cache-Control");
                    written.hint(span, message, shared);
                }
            }
        }
        cache.mode = mode.unwrap_or(cache.mode);
        if let Some(date) = entry.value("httpExpires").map(|date| date.trim().to_owned()) {
            match is_http_date(&date) {
                true => cache.expires = Some(date),
                false if date.is_empty() => cache.expires = None,
                false => {
                    let message = format!(
                        "{date:?} is no date for Expires, and is not sent; it is written as in Tue, 19 Jan 2038 03:14:07 GMT"
                    );
                    written.hint(value::place(entry, "httpExpires"), message, shared);
                }
            }
        }
    }

    pub(super) fn read_http_compression(
        &mut self,
        written: &Written<'_, '_>,
        shared: &mut Shared<'_>,
    ) {
        let bytes_min = written.values(shared).number("minFileSizeForComp");
        let compression = Rc::make_mut(&mut self.compression);
        compression.bytes_min = bytes_min.or(compression.bytes_min);
        let types = compression.types.get_or_insert_default();
        for entry in written.children_of("staticTypes") {
            let name = entry.value("mimeType").unwrap_or_default().to_ascii_lowercase();
            let enabled = entry.value("enabled").is_none_or(|text| text == "true");
            match entry.name() {
                "clear" => types.clear(),
                "add" if enabled && is_media_type(&name, true) && !types.contains(&name) => {
                    types.push(name);
                }
                "add" | "remove" => types.retain(|own| *own != name),
                _ => written.unknown(entry, shared),
            }
        }
    }

    pub(super) fn read_url_compression(
        &mut self,
        written: &Written<'_, '_>,
        shared: &mut Shared<'_>,
    ) {
        if let Some(on) = written.values(shared).boolean("doStaticCompression") {
            Rc::make_mut(&mut self.compression).off = !on;
        }
    }

    pub(super) fn read_logging(&mut self, written: &Written<'_, '_>, shared: &mut Shared<'_>) {
        let Some(off) = written.values(shared).boolean("dontLog") else { return };
        self.not_logged = off;
        if off && written.level.path != "/" {
            let message = "dontLog: requests are logged or not for a whole site";
            written.hint(value::place(written.element, "dontLog"), message, shared);
        }
    }
}

/// The ending that an entry is about: lower case, without the dot.
fn ending_of(entry: Element<'_>) -> String {
    let ending = entry.value("fileExtension").unwrap_or_default().to_lowercase();
    ending.strip_prefix('.').map(str::to_owned).unwrap_or(ending)
}

fn read_type<'a>(
    written: &Written<'a, '_>,
    entry: Element<'a>,
    types: &mut Vec<(String, String)>,
    shared: &mut Shared<'_>,
) -> Option<(String, String)> {
    let ending = ending_of(entry);
    let name = entry.value("mimeType").unwrap_or_default().into_owned();
    if ending.is_empty() || ending.contains(['.', '/', '\\']) {
        let message = format!("a type for .{ending}: types go by what follows the last dot");
        written.hint(entry.tag(), message, shared);
        return None;
    }
    if !is_media_type(&name, false) {
        let message = format!("{name:?} for .{ending} is no media type");
        written.hint(value::place(entry, "mimeType"), message, shared);
        return None;
    }
    if types.iter().any(|(own, _)| *own == ending) {
        written.twice(entry, &format!(".{ending}"), shared);
        types.retain(|(own, _)| *own != ending);
    }
    Some((ending, name))
}
