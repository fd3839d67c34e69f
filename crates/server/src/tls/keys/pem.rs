//! Certificates and keys in PEM (RFC 7468) as people keep them: in any order, between comments,
//! with Windows line ends, with blocks that are of no use here.

use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    pem::{PemObject, SectionKind},
};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// What a PEM text holds.
#[derive(Default)]
pub struct PemContents {
    /// The certificates, in the order of the text.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The private keys that can be read without a password.
    pub keys: Vec<PrivateKeyDer<'static>>,
    /// How many private keys are behind a password.
    pub encrypted_keys: usize,
}

/// Why a text is not PEM. Holds no contents of a block, which may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A block begins and does not end before the next one or the end of the text.
    #[error("the block that begins in line {line} has no end")]
    NoEnd {
        /// Where the block begins, from 1.
        line: usize,
    },

    /// What is between begin and end is not base64.
    #[error("the block that begins in line {line} is not base64")]
    NotBase64 {
        /// Where the block begins, from 1.
        line: usize,
    },
}

/// Whether the bytes are meant as PEM.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// Reads all certificates and private keys. Text without a block gives empty contents.
///
/// # Errors
///
/// When a block of a certificate or key is cut off or is not base64.
pub fn parse_pem(bytes: &[u8]) -> Result<PemContents, PemError> {
    // Windows editors put a byte order mark in front.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut contents = PemContents::default();
    let mut block: Option<Block<'_>> = None;
    for (line, text) in lines(bytes) {
        if let Some(label) = label(text, BEGIN) {
            if let Some(open) = block.filter(Block::is_wanted) {
                return Err(PemError::NoEnd { line: open.line });
            }
            block = Some(Block { line, label, body: Vec::new(), encrypted: false });
        } else if let Some(ended) = label_end(text) {
            // An end without its begin is a comment like any other.
            if let Some(open) = block.take_if(|open| open.label == ended) {
                open.finish(&mut contents)?;
            }
        } else if let Some(open) = &mut block {
            open.add(text);
        }
    }
    match block.filter(Block::is_wanted) {
        Some(open) => Err(PemError::NoEnd { line: open.line }),
        None => Ok(contents),
    }
}

struct Block<'a> {
    line: usize,
    label: &'a [u8],
    body: Vec<u8>,
    /// It has the header of a key behind a password in the old way (RFC 1421, 4.6.1.1).
    encrypted: bool,
}

impl<'a> Block<'a> {
    /// Whether it would be missed. Others may be as broken as they like.
    fn is_wanted(&self) -> bool {
        self.label == b"CERTIFICATE" || self.label.ends_with(b"PRIVATE KEY")
    }

    fn add(&mut self, text: &'a [u8]) {
        if text.contains(&b':') {
            self.encrypted |= text.starts_with(b"Proc-Type:") && text.ends_with(b"ENCRYPTED");
        } else if self.is_wanted() {
            self.body.extend_from_slice(text);
            self.body.push(b'\n');
        }
    }

    fn finish(self, contents: &mut PemContents) -> Result<(), PemError> {
        if self.encrypted || self.label == b"ENCRYPTED PRIVATE KEY" {
            contents.encrypted_keys += 1;
            return Ok(());
        }
        match self.label {
            b"CERTIFICATE" => contents.certificates.push(self.der()?.into()),
            b"PRIVATE KEY" => contents.keys.push(PrivatePkcs8KeyDer::from(self.der()?).into()),
            b"RSA PRIVATE KEY" => contents.keys.push(PrivatePkcs1KeyDer::from(self.der()?).into()),
            b"EC PRIVATE KEY" => contents.keys.push(PrivateSec1KeyDer::from(self.der()?).into()),
            _ => {}
        }
        Ok(())
    }

    /// Decodes the body. It goes through the decoder of private keys, which takes the same time
    /// whatever the bytes are.
    fn der(&self) -> Result<Vec<u8>, PemError> {
        let mut text = b"-----BEGIN PRIVATE KEY-----\n".to_vec();
        text.extend_from_slice(&self.body);
        text.extend_from_slice(b"-----END PRIVATE KEY-----\n");
        match <(SectionKind, Vec<u8>)>::from_pem_slice(&text) {
            Ok((_, der)) => Ok(der),
            Err(_) => Err(PemError::NotBase64 { line: self.line }),
        }
    }
}

/// The lines with their numbers, ended by LF, CR LF or, from long ago, CR; without blanks around.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let old_line_ends = !bytes.contains(&b'\n');
    bytes
        .split(move |&byte| byte == b'\n' || (old_line_ends && byte == b'\r'))
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_ascii()))
}

fn label<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(DASHES)
}

fn label_end(line: &[u8]) -> Option<&[u8]> {
    label(line, END)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    use super::{PemError, parse_pem};

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

    #[test]
    fn text_without_blocks_is_empty() {
        for text in ["", "hello", "-----BEGIN", "-----END CERTIFICATE-----"] {
            let contents = parse_pem(text.as_bytes()).unwrap();
            assert!(contents.certificates.is_empty() && contents.keys.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn line_ends_marks_blanks_and_comments_do_not_matter() {
        for text in [
            CERTIFICATE.to_owned(),
            CERTIFICATE.replace('\n', "\r\n"),
            CERTIFICATE.replace('\n', "\r"),
            CERTIFICATE.replace('\n', "  \n"),
            format!("\u{feff}{CERTIFICATE}"),
            format!("subject: CN=a\n{CERTIFICATE}# the end"),
            CERTIFICATE.trim_end().to_owned(),
        ] {
            let contents = parse_pem(text.as_bytes()).unwrap();
            assert_eq!(contents.certificates.len(), 1, "{text:?}");
            assert_eq!(contents.certificates[0].as_ref(), [0x30, 3, 2, 1, 1], "{text:?}");
        }
    }

    #[test]
    fn a_broken_block_is_an_error_only_where_it_is_wanted() {
        let no_end = "\n-----BEGIN CERTIFICATE-----\nMAMCAQE=\n";
        assert_eq!(parse_pem(no_end.as_bytes()).err(), Some(PemError::NoEnd { line: 2 }));
        let two = format!("{no_end}{CERTIFICATE}");
        assert_eq!(parse_pem(two.as_bytes()).err(), Some(PemError::NoEnd { line: 2 }));
        let other_end = CERTIFICATE.replace("END CERTIFICATE", "END PRIVATE KEY");
        assert_eq!(parse_pem(other_end.as_bytes()).err(), Some(PemError::NoEnd { line: 1 }));
        let no_base64 = CERTIFICATE.replace("MAM", "M!M");
        assert_eq!(parse_pem(no_base64.as_bytes()).err(), Some(PemError::NotBase64 { line: 1 }));
        let crl = "-----BEGIN X509 CRL-----\n!!\n-----END X509 CRL-----\n";
        assert!(parse_pem(crl.as_bytes()).is_ok());
        let parameters = format!("-----BEGIN DH PARAMETERS-----\nno end\n{CERTIFICATE}");
        assert_eq!(parse_pem(parameters.as_bytes()).unwrap().certificates.len(), 1);
    }

    #[test]
    fn an_error_does_not_repeat_what_is_in_the_block() {
        let text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n-----END PRIVATE KEY-----\n";
        let error = parse_pem(text.as_bytes()).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("c2Vj"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(parse_pem(&bytes));
        }

        #[test]
        fn no_order_of_lines_makes_it_panic(lines in prop::collection::vec(line(), 0..30)) {
            drop(parse_pem(lines.concat().as_bytes()));
        }
    }

    fn line() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            Just("-----BEGIN CERTIFICATE-----\n"),
            Just("-----END CERTIFICATE-----\r\n"),
            Just("-----BEGIN RSA PRIVATE KEY-----\n"),
            Just("-----END RSA PRIVATE KEY-----"),
            Just("-----BEGIN -----\n"),
            Just("Proc-Type: 4,ENCRYPTED\n"),
            Just("MAMCAQE=\n"),
            Just("\n"),
        ]
    }
}
