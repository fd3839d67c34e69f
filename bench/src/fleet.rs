//! The names that are served: a local CA, one certificate for each name, and the file they answer with.
//!
//! ```text
//! DIR/ca.pem               the CA's certificate
//! DIR/certs/00000.pem ...  chain and key of name00000.bench.test, ...
//! DIR/certs/localhost.pem  the same for "localhost", for tools that cannot vary the name
//! DIR/www/1k.bin           1,024 bytes
//! DIR/www/1g.bin           1 GiB of zeros, without a place on the disk
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::failure::{Context, Failure};

/// The length of the file that every scenario asks for.
pub(crate) const BODY_BYTES: usize = 1024;

/// The path of that file in a URL.
pub(crate) const BODY_PATH: &str = "/1k.bin";

/// The length of the large file.
pub(crate) const LARGE_BYTES: u64 = 1024 * 1024 * 1024;

/// The path of the large file in a URL.
pub(crate) const LARGE_PATH: &str = "/1g.bin";

/// The name for tools that take the server name from the URL and need it resolved.
pub(crate) const LOCALHOST: &str = "localhost";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// The host name with this number.
pub(crate) fn host(index: u32) -> String {
    format!("name{index:05}.bench.test")
}

/// A folder with certificates and content, made by [`Fleet::create`].
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub folder: PathBuf,
    pub names: u32,
}

impl Fleet {
    /// Makes the certificates and the content, on all cores.
    pub(crate) fn create(folder: &Path, names: u32) -> Result<Self, Failure> {
        let fleet = Self { folder: folder.to_owned(), names };
        for part in [fleet.certificates(), fleet.www()] {
            fs::create_dir_all(&part).context(|| format!("cannot create {}", part.display()))?;
        }
        let authority = authority().context(|| "cannot make the local CA".to_owned())?;
        write(&fleet.authority(), authority.pem().as_bytes())?;
        write(&fleet.www().join("1k.bin"), &content())?;
        let large = fleet.www().join("1g.bin");
        fs::File::create(&large)
            .and_then(|file| file.set_len(LARGE_BYTES))
            .context(|| format!("cannot write {}", large.display()))?;
        // So that servers that look for the script find one.
        write(&fleet.www().join("hello.php"), b"<?php echo 'never run';\n")?;
        issue(&authority, LOCALHOST, &fleet.certificates().join("localhost.pem"))?;
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let step = u32::try_from(workers).unwrap_or(1);
        let (fleet_ref, authority_ref) = (&fleet, &authority);
        thread::scope(|scope| {
            let tasks: Vec<_> = (0..step)
                .map(|first| scope.spawn(move || fleet_ref.issue_some(authority_ref, first, step)))
                .collect();
            tasks.into_iter().try_for_each(|task| {
                task.join().unwrap_or_else(|_| Err(Failure::new("a certificate thread panicked")))
            })
        })?;
        Ok(fleet)
    }

    /// Every `step`-th certificate from `first` on.
    fn issue_some(&self, authority: &Authority, first: u32, step: u32) -> Result<(), Failure> {
        let stride = usize::try_from(step).unwrap_or(1);
        (first..self.names)
            .step_by(stride)
            .try_for_each(|index| issue(authority, &host(index), &self.certificate(index)))
    }

    /// The folder of the certificates, and of nothing else: HAProxy reads every file in it.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.folder.join("certs")
    }

    /// Chain and key of the name with this number.
    pub(crate) fn certificate(&self, index: u32) -> PathBuf {
        self.certificates().join(format!("{index:05}.pem"))
    }

    pub(crate) fn www(&self) -> PathBuf {
        self.folder.join("www")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Every host with its certificate file, `localhost` last.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (String, PathBuf)> + '_ {
        let last = (LOCALHOST.to_owned(), self.certificates().join("localhost.pem"));
        (0..self.names)
            .map(|index| (host(index), self.certificate(index)))
            .chain(std::iter::once(last))
    }
}

/// The first certificate of a PEM file.
pub(crate) fn read_certificate(file: &Path) -> Result<CertificateDer<'static>, Failure> {
    CertificateDer::from_pem_file(file)
        .context(|| format!("cannot read a certificate from {}", file.display()))
}

/// What certificate records name a certificate by: SHA-1 of the first of a PEM file, as hex.
pub(crate) fn thumbprint(file: &Path) -> Result<String, Failure> {
    let certificate = read_certificate(file)?;
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate);
    Ok(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn authority() -> Result<Authority, rcgen::Error> {
    let mut params = parameters(Vec::new(), "bindery bench CA")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn issue(authority: &Authority, host: &str, file: &Path) -> Result<(), Failure> {
    let pem = leaf(authority, host).context(|| format!("cannot make a certificate for {host}"))?;
    write(file, pem.as_bytes())
}

/// A certificate signed by the CA and its key. The CA itself is not sent along, as clients have it.
fn leaf(authority: &Authority, host: &str) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = parameters(vec![host.to_owned()], host)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, authority)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

fn parameters(names: Vec<String>, common: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2044, 1, 1);
    Ok(params)
}

/// Bytes that do not compress to nothing, should a server try.
fn content() -> Vec<u8> {
    let mut numbers = crate::random::Random::new(1024);
    (0..BODY_BYTES).map(|_| u8::try_from(numbers.below(256)).unwrap_or(0)).collect()
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(file, bytes).context(|| format!("cannot write {}", file.display()))
}
