//! Reads a binding: its text, or a table with what it wants of TLS.

use std::path::PathBuf;

use super::{
    BindingPosition,
    certificate::Certificates,
    read::{Entry, Reader, Section, Text},
};
use crate::{
    binding::{
        Binding, BindingInformation, BindingParseError, BindingParseErrorKind as Kind, Protocol,
    },
    certificate::CertificateChoice,
    name::HostNameError,
    problem::{Code, Problem, Span},
    tls::{ClientCertificate, TlsPolicy, TlsVersion},
};

const EXAMPLE: &str = "write protocol/address:port:host, as in \"https/*:443:www.example.com\"; without a host, \"https/*:443:\"";

/// Reads one binding of a site. Nothing where its text is not understood; the rest of it is looked
/// through all the same.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    site: &Section<'d>,
    entry: &Entry<'d>,
    certificates: &Certificates,
) -> Option<(Binding, BindingPosition)> {
    if entry.is_text() {
        let on = reader.text_of(site, entry)?;
        let information = read_text(reader, &site.owner, &on)?;
        let binding = Binding {
            information,
            tls: TlsPolicy::default(),
            certificate: CertificateChoice::default(),
            site: 0,
        };
        let position = BindingPosition {
            on: on.span.clone(),
            certificate: on.span.clone(),
            client_ca: on.span,
        };
        return Some((binding, position));
    }
    let mut section = reader.section(site, entry, || format!("a binding of {}", site.owner))?;
    reader.known(&section, &["on", "certificate", "tls"]);
    let on = reader.required_text(&section, "on", "https/*:443:www.example.com");
    if let Some(on) = &on {
        section.owner = format!("binding {:?} of {}", on.value, site.owner);
    }
    let information = on.as_ref().and_then(|on| read_text(reader, &site.owner, on));
    if information.as_ref().is_some_and(|own| own.protocol == Protocol::Http) {
        report_tls(reader, &section);
    }
    let choice = section.entry("certificate").map(|entry| {
        let choice = certificates.choice(reader, &section, &entry);
        let text = entry.is_text().then(|| reader.text_of(&section, &entry)).flatten();
        (choice, text.map_or(entry.span, |text| text.span))
    });
    let tls = reader.table(&section, "tls", || section.owner.clone());
    let (tls, client_ca) = match tls {
        Some(tls) => read_tls(reader, &tls),
        None => (TlsPolicy::default(), None),
    };
    let (information, on) = information.zip(on)?;
    let (certificate, certificate_at) =
        choice.unwrap_or_else(|| (CertificateChoice::default(), on.span.clone()));
    let client_ca = client_ca.unwrap_or_else(|| on.span.clone());
    let position = BindingPosition { on: on.span, certificate: certificate_at, client_ca };
    Some((Binding { information, tls, certificate, site: 0 }, position))
}

fn report_tls(reader: &mut Reader<'_>, binding: &Section<'_>) {
    for key in ["certificate", "tls"] {
        if let Some(entry) = binding.entry(key) {
            let message = format!("{}: {key} means nothing without TLS", binding.owner);
            let help = format!("remove {key}, or make it an https binding on a port of its own");
            reader.problem(Code::TlsWithoutHttps, entry.key_span, message, help);
        }
    }
}

fn read_text(reader: &mut Reader<'_>, owner: &str, on: &Text<'_>) -> Option<BindingInformation> {
    let error = match on.value.parse() {
        Ok(information) => return Some(information),
        Err(error) => error,
    };
    report(reader, owner, on, &error, EXAMPLE);
    None
}

/// Says why a text is no binding or listener, at the part that is wrong.
pub(super) fn report(
    reader: &mut Reader<'_>,
    owner: &str,
    on: &Text<'_>,
    error: &BindingParseError,
    example: &str,
) {
    let whole = format!("{}:", on.value);
    let (code, help) = match &error.kind {
        Kind::Form(_) if whole.parse::<BindingInformation>().is_ok() => (
            Code::BadBinding,
            format!("did you mean {whole:?}? the host comes last and may be empty"),
        ),
        Kind::Form(_) => (Code::BadBinding, example.to_owned()),
        Kind::Protocol(_) => (Code::BadBinding, "write http or https".to_owned()),
        Kind::Address(_) => (
            Code::BadBinding,
            "write the address of a network card, or * for all of them".to_owned(),
        ),
        Kind::Port(_) => (Code::BadBinding, "write 443 for https, 80 for http".to_owned()),
        Kind::Host(HostNameError::Wildcard(_)) => {
            let help = "write *.example.com, which covers one more label; name others one by one";
            (Code::BadWildcard, help.to_owned())
        }
        Kind::Host(HostNameError::Address(_)) => {
            let help = "put the address in front of the port and leave the host empty, as in \"https/192.0.2.10:443:\"";
            (Code::BadHost, help.to_owned())
        }
        Kind::Host(HostNameError::Length(_)) => {
            (Code::BadHost, "look for two dots in a row, or shorten the name".to_owned())
        }
        Kind::Host(HostNameError::Empty | HostNameError::Character(_)) => (
            Code::BadHost,
            "write a name alone, without scheme, port or path, as in www.example.com".to_owned(),
        ),
    };
    reader.problem(code, on.part(&error.span), format!("{owner}: {error}"), help);
}

fn read_tls<'d>(reader: &mut Reader<'d>, tls: &Section<'d>) -> (TlsPolicy, Option<Span>) {
    let keys = ["minimum", "maximum", "http2", "client_certificate", "client_ca"];
    reader.known(tls, &keys);
    let standard = TlsPolicy::default();
    let minimum = read_version(reader, tls, "minimum");
    let maximum = read_version(reader, tls, "maximum");
    if let (Some((low, low_at)), Some((high, high_at))) = (&minimum, &maximum)
        && low > high
    {
        let message =
            format!("{}: the minimum of TLS, {low}, is above the maximum, {high}", tls.owner);
        let problem =
            Problem::new(Code::BadValue, low_at.clone(), message, "swap them, or remove one");
        reader.problems.push(problem.with_related(high_at.clone(), "the maximum"));
    }
    let http2 = reader.boolean(tls, "http2").unwrap_or(standard.http2);
    let (client_certificate, client_ca) = read_client_certificate(reader, tls);
    let policy = TlsPolicy {
        minimum: minimum.map_or(standard.minimum, |(version, _)| version),
        maximum: maximum.map_or(standard.maximum, |(version, _)| version),
        http2,
        client_certificate,
    };
    (policy, client_ca)
}

fn read_version<'d>(
    reader: &mut Reader<'d>,
    tls: &Section<'d>,
    key: &str,
) -> Option<(TlsVersion, Span)> {
    let text = reader.text(tls, key)?;
    let why = match text.value {
        "1.2" => return Some((TlsVersion::Tls12, text.span)),
        "1.3" => return Some((TlsVersion::Tls13, text.span)),
        "1.0" | "1.1" => "it is broken and cannot be spoken (RFC 8996)",
        _ => "there is no such version",
    };
    let message = format!("{}: {key} is TLS {:?}: {why}", tls.owner, text.value);
    reader.problem(Code::BadValue, text.span, message, "write \"1.2\" or \"1.3\"");
    None
}

/// What a binding asks of its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Off,
    Optional,
    Require,
}

fn read_client_certificate<'d>(
    reader: &mut Reader<'d>,
    tls: &Section<'d>,
) -> (ClientCertificate, Option<Span>) {
    let words = [("off", Asks::Off), ("optional", Asks::Optional), ("require", Asks::Require)];
    let asks = reader.choice(tls, "client_certificate", &words);
    let ca: Option<(PathBuf, Span)> = reader.path(tls, "client_ca");
    match (asks, tls.entry("client_certificate"), tls.entry("client_ca")) {
        (Some(Asks::Optional | Asks::Require), Some(entry), None) => {
            let message =
                format!("{}: client_ca is missing: whose client certificates are good?", tls.owner);
            let help = "add client_ca = \"clients-ca.pem\", the authorities that sign them";
            reader.problem(Code::MissingKey, entry.key_span, message, help);
        }
        // With "off" written down the file may stay, to be used again.
        (None, None, Some(entry)) => {
            let message = format!(
                "{}: client_certificate is missing: client_ca alone asks nobody",
                tls.owner
            );
            let help = "add client_certificate = \"require\" or \"optional\", or remove client_ca";
            reader.problem(Code::MissingKey, entry.key_span, message, help);
        }
        _ => {}
    }
    match (asks, ca) {
        (Some(Asks::Optional), Some((ca, span))) => {
            (ClientCertificate::Optional { ca }, Some(span))
        }
        (Some(Asks::Require), Some((ca, span))) => (ClientCertificate::Required { ca }, Some(span)),
        _ => (ClientCertificate::Off, None),
    }
}
