//! Forms of certificates and keys that only the `openssl` command makes: PFX files, keys in their
//! older encodings, keys behind a password. Where the command is absent or does not know a form, a
//! test gets [`Skip`] with the reason.

use std::{
    fmt, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::ca::TestLeaf;

/// Why something could not be made here. A test prints it and ends.
#[derive(Debug)]
pub struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

/// What was made, or nothing after printing why not, so that a test can end:
/// `let Some(path) = made(write_pfx(…)) else { return };`
#[allow(clippy::print_stderr, reason = "a skipped test says so where tests speak")]
pub fn made<T>(result: Result<T, Skip>) -> Option<T> {
    result.inspect_err(|skip| eprintln!("{skip}")).ok()
}

/// How a PFX is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PfxEncryption {
    /// AES-256 with a SHA-256 MAC: what OpenSSL 3 and Windows 10 write.
    Aes256,
    /// AES-128 with a SHA-512 MAC.
    Aes128Sha512,
    /// 3DES for keys and certificates with a SHA-1 MAC: what older Windows writes.
    TripleDes,
    /// RC2 with 40 bits for certificates, 3DES for the key: what the oldest Windows writes.
    Rc2,
    /// Nothing is encrypted; there is a MAC.
    MacOnly,
    /// Certificates and key are encrypted; there is no MAC.
    NoMac,
}

impl PfxEncryption {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Aes256, Self::Aes128Sha512, Self::TripleDes, Self::Rc2, Self::MacOnly, Self::NoMac];

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Aes256 => {
                &["-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256"]
            }
            Self::Aes128Sha512 => {
                &["-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC", "-macalg", "sha512"]
            }
            Self::TripleDes => {
                &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]
            }
            Self::Rc2 => &["-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-macalg", "sha1"],
            Self::MacOnly => &["-keypbe", "NONE", "-certpbe", "NONE"],
            Self::NoMac => &["-nomac"],
        }
    }
}

/// Writes `<dir>/<name>.pfx` with chain and key of `leaf`, the key first and the chain as
/// `chain_pem` has it.
///
/// # Errors
///
/// When `openssl` is absent or does not know the encryption.
pub fn write_pfx(
    leaf: &TestLeaf,
    dir: &Path,
    name: &str,
    password: &str,
    encryption: PfxEncryption,
) -> Result<PathBuf, Skip> {
    let path = dir.join(format!("{name}.pfx"));
    let out = path.to_str().expect("test paths are text");
    let password = format!("pass:{password}");
    let mut arguments = vec!["pkcs12", "-export", "-passout", &password, "-out", out];
    arguments.extend(encryption.arguments());
    run(&arguments, format!("{}{}", leaf.key_pem, leaf.chain_pem).as_bytes())?;
    Ok(path)
}

/// The key of `leaf` in the encoding its algorithm had before PKCS#8: SEC1 or PKCS#1, as PEM. With
/// `-----BEGIN EC PARAMETERS-----` in front for elliptic curves, as `openssl ecparam` writes it.
///
/// # Errors
///
/// When `openssl` is absent.
pub fn traditional_key(leaf: &TestLeaf) -> Result<String, Skip> {
    text(&["pkey", "-traditional"], leaf.key_pem.as_bytes())
}

/// The key of `leaf` as PKCS#8 behind a password, as PEM.
///
/// # Errors
///
/// When `openssl` is absent.
pub fn encrypted_key(leaf: &TestLeaf, password: &str) -> Result<String, Skip> {
    let password = format!("pass:{password}");
    text(&["pkey", "-aes256", "-passout", &password], leaf.key_pem.as_bytes())
}

/// The key of `leaf` in its older encoding behind a password: PEM with a `Proc-Type` line.
///
/// # Errors
///
/// When `openssl` is absent.
pub fn encrypted_traditional_key(leaf: &TestLeaf, password: &str) -> Result<String, Skip> {
    let password = format!("pass:{password}");
    text(&["pkey", "-traditional", "-aes256", "-passout", &password], leaf.key_pem.as_bytes())
}

/// Runs `openssl` with these arguments and this input and gives its output.
///
/// # Errors
///
/// When it is absent or fails; the reason is its own message.
pub fn run(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Skip> {
    let result = || -> io::Result<_> {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that needs no input may be gone already; its status tells.
            stdin.write_all(input).or_else(ignore_broken_pipe)?;
        }
        child.wait_with_output()
    };
    let output = result().map_err(|error| Skip(format!("openssl cannot be run: {error}")))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        let message = String::from_utf8_lossy(&output.stderr);
        Err(Skip(format!("openssl {}: {}", arguments.join(" "), message.trim())))
    }
}

fn ignore_broken_pipe(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

fn text(arguments: &[&str], input: &[u8]) -> Result<String, Skip> {
    Ok(String::from_utf8(run(arguments, input)?).expect("openssl writes PEM"))
}

#[cfg(test)]
mod tests {
    use super::{PfxEncryption, made, write_pfx};
    use crate::ca::TestCa;

    #[test]
    fn a_pfx_can_be_written_in_the_current_encryption() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = TestCa::new().leaf(&["a.example"]);
        let written = write_pfx(&leaf, dir.path(), "a", "secret", PfxEncryption::Aes256);
        let Some(path) = made(written) else { return };
        assert!(path.metadata().unwrap().len() > 0);
    }
}
