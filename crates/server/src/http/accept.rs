//! `Accept-Encoding` (RFC 9110, 12.5.3): which content coding a client would rather have.

use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

/// A content coding that we may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `gzip` (RFC 1952); `x-gzip` is the same (RFC 9110, 8.4.1.3).
    Gzip,
}

impl Coding {
    /// Its name in the registry of content codings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The value of `Content-Encoding`.
    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

/// The coding of `offered` that the value of an `Accept-Encoding` field weighs most; of equal ones
/// the first offered. `None` is no coding: the client takes none of them, or would rather have
/// what is not encoded.
///
/// `None` also where the field forbids that (`identity;q=0`) and takes nothing that is offered:
/// RFC 9110, 12.5.3 wants it sent all the same. An element that is malformed takes nothing; what is
/// named twice has the lower weight.
pub(crate) fn choose(value: &[u8], offered: &[Coding]) -> Option<Coding> {
    let mut weights = Weights::default();
    weights.read(value);
    weights.best(offered)
}

/// As [`choose`], for a request: its fields of that name are one list. No field is no wish
/// (12.5.3 would allow anything), and so no coding.
pub(crate) fn choose_for(request: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let mut fields = request.get_all(ACCEPT_ENCODING).iter();
    let first = fields.next()?;
    let Some(second) = fields.next() else { return choose(first.as_bytes(), offered) };
    let mut weights = Weights::default();
    [first, second].into_iter().chain(fields).for_each(|field| weights.read(field.as_bytes()));
    weights.best(offered)
}

/// What a client said of each coding, in thousandths.
#[derive(Default)]
struct Weights {
    brotli: Option<u16>,
    zstd: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    others: Option<u16>,
}

impl Weights {
    fn read(&mut self, value: &[u8]) {
        for element in value.split(|&byte| byte == b',') {
            let mut parts = element.splitn(2, |&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let place = match name {
                b"*" => &mut self.others,
                _ if name.eq_ignore_ascii_case(b"br") => &mut self.brotli,
                _ if name.eq_ignore_ascii_case(b"zstd") => &mut self.zstd,
                _ if name.eq_ignore_ascii_case(b"gzip") => &mut self.gzip,
                _ if name.eq_ignore_ascii_case(b"x-gzip") => &mut self.gzip,
                _ if name.eq_ignore_ascii_case(b"identity") => &mut self.identity,
                _ => continue,
            };
            if let Some(weight) = parts.next().map_or(Some(1000), weight) {
                *place = Some(place.map_or(weight, |before| before.min(weight)));
            }
        }
    }

    fn best(&self, offered: &[Coding]) -> Option<Coding> {
        let mut best = None;
        // What is not encoded is taken by default, but only by name is it preferred.
        let mut most = self.identity.unwrap_or(0).max(1);
        for &coding in offered {
            let named = match coding {
                Coding::Brotli => self.brotli,
                Coding::Zstd => self.zstd,
                Coding::Gzip => self.gzip,
            };
            let weight = named.or(self.others).unwrap_or(0);
            // The first of equals stays; against no coding at all, a coding wins.
            if weight > most || weight == most && best.is_none() {
                (best, most) = (Some(coding), weight);
            }
        }
        best
    }
}

/// `q=` and a number from 0 to 1 with three digits at most (RFC 9110, 12.4.2), in thousandths.
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', number @ ..] = parameter else { return None };
    let (whole, digits) = match number {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = digits.get(place).copied().unwrap_or(b'0');
        thousandths = thousandths * 10 + u16::from(digit.checked_sub(b'0').filter(|d| *d <= 9)?);
    }
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    #[track_caller]
    fn check(value: &str, expected: &str) {
        let chosen = choose(value.as_bytes(), &ALL).map(Coding::value);
        let chosen = chosen.as_ref().map_or("none", |value| value.to_str().unwrap());
        assert_eq!(chosen, expected, "{value:?}");
    }

    #[test]
    fn the_heaviest_is_chosen_and_of_equals_the_first_offered() {
        check("gzip, deflate, br, zstd", "br");
        check("gzip, deflate", "gzip");
        check("zstd,gzip", "zstd");
        check("br;q=0.5, gzip;q=0.8", "gzip");
        check("br;q=0.001, gzip;q=0.002, zstd;q=0.0", "gzip");
        check("GZIP;Q=1.000", "gzip");
        check("x-gzip", "gzip");
        check("gzip ; q=0.5", "gzip");
        check(",, gzip ,", "gzip");
        check("deflate, compress", "none");
        check("", "none");
    }

    #[test]
    fn a_star_stands_for_what_is_not_named() {
        check("*", "br");
        check("br;q=0, *", "zstd");
        check("*;q=0, gzip", "gzip");
        check("*;q=0", "none");
        check("gzip;q=0.3, *;q=0.2", "gzip");
        check("gzip;q=0.1, *;q=0.2", "br");
    }

    #[test]
    fn what_is_not_encoded_is_sent_where_it_is_preferred_or_nothing_else_is_taken() {
        check("identity", "none");
        check("identity, gzip;q=0.5", "none");
        check("identity;q=0.5, gzip", "gzip");
        check("identity;q=0.5, gzip;q=0.5", "gzip");
        check("identity;q=0", "none");
        check("identity;q=0, gzip;q=0.1", "gzip");
        check("gzip;q=0", "none");
    }

    #[test]
    fn a_malformed_element_takes_nothing() {
        for element in [
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=-1",
            "gzip;q=",
            "gzip;q",
            "gzip;",
            "gzip;level=9",
            "gzip;q=0.a",
            "gzip;q=.5",
            "gzip;q=1;q=1",
            "gzip gzip",
            "\"gzip\"",
        ] {
            check(element, "none");
            check(&format!("{element}, zstd;q=0.1"), "zstd");
        }
        check("gzip, gzip;q=0", "none");
    }

    #[test]
    fn several_fields_are_one_list() {
        let mut fields = HeaderMap::new();
        assert_eq!(choose_for(&fields, &ALL), None);
        for (value, expected) in [
            ("gzip", Some(Coding::Gzip)),
            ("zstd", Some(Coding::Zstd)),
            ("br;q=0.5", Some(Coding::Zstd)),
            ("zstd;q=0", Some(Coding::Gzip)),
        ] {
            fields.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(choose_for(&fields, &ALL), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn only_what_is_offered_is_chosen(
            value in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "((gzip|br|zstd|identity|\\*)(;q=(0|1|0\\.[0-9]{0,3}))?[, ]{1,2}){0,5}"
                    .prop_map(String::into_bytes),
            ],
            count in 0_usize..=3,
        ) {
            let offered = &ALL[..count];
            if let Some(chosen) = choose(&value, offered) {
                prop_assert!(offered.contains(&chosen));
            }
        }

        #[test]
        fn weights_decide_whatever_the_order(
            (br, zstd, gzip) in (0_u16..=1000, 0_u16..=1000, 0_u16..=1000), turn in 0_usize..3,
        ) {
            let mut elements = [("br", br), ("zstd", zstd), ("gzip", gzip)];
            elements.rotate_left(turn);
            let text = elements.map(|(name, weight)| {
                format!("{name};q={}.{:03}", weight / 1000, weight % 1000)
            });
            let most = br.max(zstd).max(gzip);
            let expected = if most == 0 { None }
                else if br == most { Some(Coding::Brotli) }
                else if zstd == most { Some(Coding::Zstd) }
                else { Some(Coding::Gzip) };
            prop_assert_eq!(choose(text.join(", ").as_bytes(), &ALL), expected);
        }
    }
}
