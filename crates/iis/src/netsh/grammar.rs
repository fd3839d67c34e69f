//! What is typed behind `netsh`: words without regard to case, each as short as it stays clear, and
//! `tag=value`.

use super::records::RecordKey;

/// A command that is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `http show sslcert`.
    ShowSslcert {
        /// The one record that is asked for; all without it.
        key: Option<RecordKey>,
        /// Whether JSON is asked for by `json=enable`.
        json: bool,
    },
}

/// What is said to everything else.
pub const SUPPORTED: &str = "\
The supported command is:

http show sslcert [ipport=ADDRESS:PORT | hostnameport=NAME:PORT | ccs=PORT]
                  [json=enable]
";

/// Why a command is not answered, in netsh's manner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// No such command here.
    #[error("The following command was not found: {0}.")]
    UnknownCommand(String),
    /// No such tag.
    #[error("{0} is not a valid argument for this command.")]
    UnknownTag(String),
    /// A value that is none.
    #[error("The parameter is incorrect: {tag}={value}.")]
    Value {
        /// The tag.
        tag: &'static str,
        /// What was given.
        value: String,
    },
    /// Two keys, or one thing twice.
    #[error("The parameter is incorrect: only one of ipport, hostnameport and ccs can be given.")]
    TwoKeys,
}

/// Reads the words behind `netsh`.
///
/// # Errors
///
/// When it is not a command that is answered.
pub fn parse(words: &[String]) -> Result<Request, GrammarError> {
    let path = ["http", "show", "sslcert"];
    let is_path = words.len() >= path.len()
        && words.iter().zip(path).all(|(word, full)| is_short_for(word, full));
    if !is_path {
        return Err(GrammarError::UnknownCommand(words.join(" ")));
    }
    let (mut key, mut json) = (None, false);
    for word in words.iter().skip(path.len()) {
        // netsh takes the value of the first tag without the tag.
        let (tag, value) = word.split_once('=').unwrap_or(("ipport", word));
        let found = match tag.to_ascii_lowercase().as_str() {
            "ipport" => RecordKey::ip_port(value).ok_or("ipport"),
            "hostnameport" => RecordKey::hostname_port(value).ok_or("hostnameport"),
            "ccs" => RecordKey::central_store(value).ok_or("ccs"),
            "json" => {
                json = match value.to_ascii_lowercase().as_str() {
                    "enable" | "yes" => true,
                    "disable" | "no" => false,
                    _ => return Err(GrammarError::Value { tag: "json", value: value.to_owned() }),
                };
                continue;
            }
            _ => return Err(GrammarError::UnknownTag(tag.to_owned())),
        };
        let found = found.map_err(|tag| GrammarError::Value { tag, value: value.to_owned() })?;
        if key.replace(found).is_some() {
            return Err(GrammarError::TwoKeys);
        }
    }
    Ok(Request::ShowSslcert { key, json })
}

/// Whether `word` is the beginning of `full`. Below two letters netsh has too much to choose from.
fn is_short_for(word: &str, full: &str) -> bool {
    let length = word.len();
    length >= 2 && full.get(..length).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(text: &str) -> Result<Request, GrammarError> {
        parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(text: &str, key: Option<&str>, as_json: bool) {
        let Request::ShowSslcert { key: got, json } = ask(text).unwrap();
        assert_eq!((got.map(|key| key.to_string()).as_deref(), json), (key, as_json), "{text}");
    }

    #[test]
    fn the_command_is_read_as_netsh_reads_it() {
        check("http show sslcert", None, false);
        check("HTTP Show SSLCert", None, false);
        check("http sh ssl", None, false);
        check("http show sslcert json=enable", None, true);
        check("http show sslcert ipport=0.0.0.0:443", Some("0.0.0.0:443"), false);
        check("http show sslcert 192.0.2.10:443", Some("192.0.2.10:443"), false);
        check("http show sslcert ipport=[::]:443", Some("0.0.0.0:443"), false);
        check("http show sslcert ipport=[2001:DB8::1]:443", Some("[2001:db8::1]:443"), false);
        check("http show sslcert hostnameport=Shop.Example:443", Some("shop.example:443"), false);
        check("http show sslcert HOSTNAMEPORT=*.a.example:443", Some("*.a.example:443"), false);
        check("http show sslcert ccs=443 json=enable", Some("443"), true);
    }

    #[test]
    fn everything_else_is_told_apart() {
        for text in
            ["", "http", "http show", "http show urlacl", "interface show", "h show sslcert"]
        {
            assert_eq!(ask(text), Err(GrammarError::UnknownCommand(text.to_owned())));
        }
        let message = |text| ask(text).unwrap_err().to_string();
        assert_eq!(
            message("http show sslcert colour=1"),
            "colour is not a valid argument for this command."
        );
        assert_eq!(
            message("http show sslcert ipport=*:443"),
            "The parameter is incorrect: ipport=*:443."
        );
        assert_eq!(
            message("http show sslcert hostnameport=:443"),
            "The parameter is incorrect: hostnameport=:443."
        );
        assert_eq!(message("http show sslcert ccs=0"), "The parameter is incorrect: ccs=0.");
        assert_eq!(ask("http show sslcert ccs=1 ccs=2"), Err(GrammarError::TwoKeys));
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(words in proptest::collection::vec("\\PC{0,20}", 0..6)) {
            let shown = ["http", "show", "sslcert"].map(str::to_owned).into_iter();
            drop(parse(&words));
            if let Ok(Request::ShowSslcert { key: Some(key), .. }) = parse(&shown.chain(words).collect::<Vec<_>>()) {
                prop_assert!(!key.to_string().is_empty());
            }
        }
    }
}
