//! A file and what lies beside it with the same content in a content coding: `a.css.br`,
//! `a.css.zst`, `a.css.gz` beside `a.css`.

use http::HeaderMap;

use crate::http::accept::{self, Coding};

/// The codings of siblings, best first: of equal weight (RFC 9110, 12.5.3) the first is sent.
pub(super) const CODINGS: [(Coding, &str); 3] =
    [(Coding::Brotli, ".br"), (Coding::Zstd, ".zst"), (Coding::Gzip, ".gz")];

/// Something for a file and for each of its siblings.
#[derive(Debug)]
pub(super) struct Versions<T> {
    /// Not encoded.
    pub(super) plain: T,
    /// Those that exist, in the order of [`CODINGS`]; as many in both.
    codings: Vec<Coding>,
    encoded: Vec<T>,
}

impl<T> Versions<T> {
    pub(super) fn of(plain: T) -> Self {
        Self { plain, codings: Vec::new(), encoded: Vec::new() }
    }

    pub(super) fn add(&mut self, coding: Coding, version: T) {
        self.codings.push(coding);
        self.encoded.push(version);
    }

    /// Whether there is a choice.
    pub(super) fn vary(&self) -> bool {
        !self.encoded.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.plain).chain(&self.encoded)
    }

    /// Those that there are beside it, best first.
    pub(super) fn codings(&self) -> impl Iterator<Item = Coding> {
        self.codings.iter().copied()
    }

    /// What a request is answered with.
    pub(super) fn choose(&self, request: &HeaderMap) -> &T {
        self.place(request).and_then(|place| self.encoded.get(place)).unwrap_or(&self.plain)
    }

    /// The same, and the others are given up.
    pub(super) fn into_chosen(mut self, request: &HeaderMap) -> T {
        match self.place(request) {
            Some(place) if place < self.encoded.len() => self.encoded.swap_remove(place),
            _ => self.plain,
        }
    }

    fn place(&self, request: &HeaderMap) -> Option<usize> {
        // Most files have no siblings, and then nobody reads what is accepted.
        if self.codings.is_empty() {
            return None;
        }
        let coding = accept::choose_for(request, &self.codings)?;
        self.codings.iter().position(|own| *own == coding)
    }

    /// The same of something else.
    pub(super) fn map<U>(&self, other: impl Fn(&T) -> U) -> Versions<U> {
        let encoded = self.encoded.iter().map(&other).collect();
        Versions { plain: other(&self.plain), codings: self.codings.clone(), encoded }
    }

    /// The same of something else, made of what there is. The function is told the coding.
    pub(super) fn try_map_into<U, E>(
        self,
        mut other: impl FnMut(Option<Coding>, T) -> Result<U, E>,
    ) -> Result<Versions<U>, E> {
        let plain = other(None, self.plain)?;
        let encoded = self.codings.iter().zip(self.encoded);
        let encoded = encoded.map(|(coding, version)| other(Some(*coding), version));
        Ok(Versions { plain, encoded: encoded.collect::<Result<_, E>>()?, codings: self.codings })
    }

    /// Whether both have the same codings and `same` holds for each pair.
    pub(super) fn are<U>(&self, others: &Versions<U>, same: impl Fn(&T, &U) -> bool) -> bool {
        self.codings == others.codings && self.all().zip(others.all()).all(|(a, b)| same(a, b))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::ACCEPT_ENCODING};

    use super::*;

    #[test]
    fn the_sibling_is_chosen_that_the_client_would_rather_have() {
        let mut versions = Versions::of("plain");
        let asked = |versions: &Versions<&'static str>, accepted: &'static str| {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            *versions.choose(&request)
        };
        assert_eq!(asked(&versions, "gzip, br"), "plain");
        versions.add(Coding::Zstd, "zstd");
        versions.add(Coding::Gzip, "gzip");
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, deflate, br", "gzip"),
            ("br", "plain"),
            ("gzip;q=0.5, zstd;q=0.4", "gzip"),
            ("*, zstd;q=0", "gzip"),
            ("identity", "plain"),
        ] {
            assert_eq!(asked(&versions, accepted), expected, "{accepted}");
        }
        assert_eq!(*versions.choose(&HeaderMap::new()), "plain");
    }

    #[test]
    fn two_files_are_the_same_only_with_the_same_siblings() {
        let mut one = Versions::of(1);
        let mut two = Versions::of(1);
        assert!(one.are(&two, i32::eq));
        one.add(Coding::Gzip, 2);
        assert!(!one.are(&two, i32::eq));
        two.add(Coding::Brotli, 2);
        assert!(!one.are(&two, i32::eq));
        let mut three = Versions::of(1);
        three.add(Coding::Gzip, 3);
        assert!(!one.are(&three, i32::eq));
        assert!(one.are(&three, |_, _| true));
    }
}
