//! Why bytes are no HTTP/1 message, and how that is told to who answers: hyper, which has seen
//! nothing of it, is given a request of our own in their place.

use bytes::Bytes;
use http::{StatusCode, Uri, Version};

/// The scheme of the request that stands for one that was refused. No client can send it: absolute
/// targets of others are refused, and HTTP/2 does not come this way.
const SCHEME: &str = "refused";

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:ident, $reason:literal;)+) => {
        /// What is wrong with the bytes of a client.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Refusal {
            /// Each.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The status of the answer.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What is wrong, for the log.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)+ }
            }
        }
    };
}

refusals! {
    /// RFC 9112, 3: not a method, a target and a version with one space between, or too many empty
    /// lines before.
    RequestLine = BAD_REQUEST, "a request line that is none";
    /// RFC 9112, 3: longer than any method there is.
    Method = NOT_IMPLEMENTED, "a method that is too long";
    /// RFC 9112, 3.2: none of the four forms, or a character that belongs in none.
    Target = BAD_REQUEST, "a request target that is none";
    /// RFC 9112, 3.
    TargetTooLong = URI_TOO_LONG, "a request target that is too long";
    /// RFC 9110, 15.6.6: neither HTTP/1.1 nor HTTP/1.0.
    Version = HTTP_VERSION_NOT_SUPPORTED, "a version of HTTP that is not spoken here";
    /// RFC 9112, 2.2: a line end without its CR.
    BareLf = BAD_REQUEST, "a line that ends without CR";
    /// RFC 9112, 2.2: a CR without its LF.
    BareCr = BAD_REQUEST, "a CR within a line";
    /// RFC 9110, 5.5.
    Control = BAD_REQUEST, "a control character";
    /// RFC 9112, 5.2.
    Folded = BAD_REQUEST, "a field that goes on in the next line";
    /// RFC 9112, 5.1: no token, or something between it and the colon.
    FieldName = BAD_REQUEST, "a field name that is none";
    /// RFC 6585, 5.
    TooManyFields = REQUEST_HEADER_FIELDS_TOO_LARGE, "too many fields";
    /// RFC 6585, 5.
    HeadTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "fields that are too large";
    /// RFC 9110, 8.6: not digits alone, or more than 64 bits.
    Length = BAD_REQUEST, "a Content-Length that is no number";
    /// RFC 9110, 15.5.14: more than 63 bits.
    LengthTooLarge = PAYLOAD_TOO_LARGE, "a Content-Length beyond all measure";
    /// RFC 9110, 8.6: also when both say the same.
    LengthTwice = BAD_REQUEST, "more than one Content-Length";
    /// RFC 9112, 6.1.
    LengthAndCoding = BAD_REQUEST, "Content-Length beside Transfer-Encoding";
    /// RFC 9112, 6.1.
    CodingInHttp10 = BAD_REQUEST, "Transfer-Encoding in HTTP/1.0";
    /// RFC 9112, 6.1.
    CodingUnknown = NOT_IMPLEMENTED, "a transfer coding that is not known";
    /// RFC 9112, 6.3: the last coding is not chunked, or chunked is not the last.
    CodingNotChunked = BAD_REQUEST, "a transfer coding that says no length";
    /// RFC 9112, 7.1.
    ChunkSize = BAD_REQUEST, "a chunk size that is none";
    /// RFC 9112, 7.1.1.
    ChunkExtension = BAD_REQUEST, "a chunk extension that is none, or too long";
    /// RFC 9112, 7.1.
    ChunkEnd = BAD_REQUEST, "a chunk that is longer than its size";
    /// RFC 9110, 6.5.1: a field that may not come after the content.
    Trailer = BAD_REQUEST, "a trailer that says where the message ends or whom it is for";
    /// RFC 9113, 10.5. On HTTP/2, where no answer says it.
    Frames = TOO_MANY_REQUESTS, "too many frames that carry nothing";
}

impl Refusal {
    /// What is given to hyper in the place of what was refused.
    #[must_use]
    pub fn request(self) -> Bytes {
        let number = Self::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Bytes::from(format!(
            "GET {SCHEME}://{number}/ HTTP/1.1\r\nHost: {number}\r\nConnection: close\r\n\r\n"
        ))
    }

    /// What a request stands for, if it is one of those.
    #[must_use]
    pub fn of(version: Version, uri: &Uri) -> Option<Self> {
        if uri.scheme().is_none() || version >= Version::HTTP_2 || uri.scheme_str() != Some(SCHEME)
        {
            return None;
        }
        let number = uri.host().and_then(|number| number.parse::<usize>().ok());
        Some(number.and_then(|number| Self::ALL.get(number).copied()).unwrap_or(Self::RequestLine))
    }
}
