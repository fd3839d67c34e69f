//! Texts of the URL Rewrite module with variables in braces: `https://{HTTP_HOST}/{R:1}`.

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Template(pub(super) Vec<Token>);

/// A piece of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// As it is.
    Text(String),
    /// A back reference to the pattern of the rule, `{R:n}`.
    Rule(usize),
    /// A back reference to a condition, `{C:n}`.
    Condition(usize),
    /// A server variable, in upper case.
    Variable(String),
    /// What a map, named in lower case, has at a key.
    Map(String, Template),
}

/// Braces in braces are as deep as this.
const DEPTH_MAX: usize = 8;

impl Template {
    /// Takes a text apart.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        Self::read_to(text, 0)
    }

    fn read_to(text: &str, depth: usize) -> Result<Self, String> {
        if depth > DEPTH_MAX {
            return Err("it has braces in braces without end".to_owned());
        }
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            push_text(&mut tokens, before);
            let end = brace_end(behind).ok_or("a brace in it does not end")?;
            let (inner, after) =
                behind.split_at_checked(end).ok_or("a brace in it does not end")?;
            rest = after.strip_prefix('}').unwrap_or_default();
            let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number < 10);
            tokens.push(match inner.split_once(':') {
                None => Token::Variable(inner.trim().to_ascii_uppercase()),
                Some(("R" | "r", text)) => {
                    let number = number(text);
                    Token::Rule(number.ok_or_else(|| format!("{{{inner}}} is not known here"))?)
                }
                Some(("C" | "c", text)) => {
                    let number = number(text);
                    Token::Condition(
                        number.ok_or_else(|| format!("{{{inner}}} is not known here"))?,
                    )
                }
                Some((name, key)) => {
                    Token::Map(name.trim().to_lowercase(), Self::read_to(key, depth + 1)?)
                }
            });
        }
        push_text(&mut tokens, rest);
        Ok(Self(tokens))
    }

    /// Whether it is this variable and nothing else.
    pub(super) fn is_variable(&self, name: &str) -> bool {
        matches!(self.0.as_slice(), [Token::Variable(own)] if own == name)
    }

    /// Whether a variable is in it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|token| match token {
            Token::Variable(own) => own == name,
            Token::Map(_, key) => key.has(name),
            Token::Text(_) | Token::Rule(_) | Token::Condition(_) => false,
        })
    }

    /// Whether a back reference to a condition is in it.
    pub(super) fn has_condition(&self) -> bool {
        self.0.iter().any(|token| matches!(token, Token::Condition(_)))
    }

    /// Puts a value in the place of a variable.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.replace(&|token| {
            matches!(token, Token::Variable(own) if own == name).then(|| value.to_owned())
        });
    }

    /// Puts what a condition holds, by number from `first` on, in the place of back references.
    pub(super) fn put_conditions(&mut self, held: &[String], first: usize) {
        self.replace(&|token| match token {
            Token::Condition(number) => held.get(number.checked_sub(first)?).cloned(),
            _ => None,
        });
    }

    /// Puts what a map has at a key in its place.
    pub(super) fn put_map(&mut self, name: &str, key: &Self, value: &str) {
        self.replace(&|token| {
            matches!(token, Token::Map(own, at) if own == name && at == key)
                .then(|| value.to_owned())
        });
    }

    /// Puts in what maps have at keys that are known.
    pub(super) fn look_up(&mut self, find: &dyn Fn(&str, &str) -> Option<String>) {
        self.replace(&|token| match token {
            Token::Map(name, key) => find(name, &key.constant()?),
            _ => None,
        });
    }

    fn replace(&mut self, find: &dyn Fn(&Token) -> Option<String>) {
        let mut tokens = Vec::with_capacity(self.0.len());
        for mut token in std::mem::take(&mut self.0) {
            if let Token::Map(_, key) = &mut token {
                key.replace(find);
            }
            match find(&token) {
                Some(text) => push_text(&mut tokens, &text),
                None => match token {
                    Token::Text(text) => push_text(&mut tokens, &text),
                    token => tokens.push(token),
                },
            }
        }
        self.0 = tokens;
    }

    /// The first map in it, and its key.
    pub(super) fn map(&self) -> Option<(&str, &Self)> {
        self.0.iter().find_map(|token| match token {
            Token::Map(name, key) => Some(key.map().unwrap_or((name, key))),
            _ => None,
        })
    }

    /// The whole, where nothing in it depends on a request.
    pub(super) fn constant(&self) -> Option<String> {
        match self.0.as_slice() {
            [] => Some(String::new()),
            [Token::Text(text)] => Some(text.clone()),
            _ => None,
        }
    }

    /// As it is written.
    pub(super) fn shown(&self) -> String {
        let parts = self.0.iter().map(|token| match token {
            Token::Text(text) => text.clone(),
            Token::Rule(number) => format!("{{R:{number}}}"),
            Token::Condition(number) => format!("{{C:{number}}}"),
            Token::Variable(name) => format!("{{{name}}}"),
            Token::Map(name, key) => format!("{{{name}:{}}}", key.shown()),
        });
        parts.collect()
    }
}

/// Texts beside each other are one.
fn push_text(tokens: &mut Vec<Token>, text: &str) {
    if text.is_empty() {
        return;
    }
    match tokens.last_mut() {
        Some(Token::Text(last)) => last.push_str(text),
        _ => tokens.push(Token::Text(text.to_owned())),
    }
}

/// Where the brace ends that `text` is in.
fn brace_end(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn braces_are_variables_references_and_maps() {
        let read = Template::read("https://{http_host}/{R:1}-{C:2}{Map:{URL}}").unwrap();
        let Template(tokens) = &read;
        assert_eq!(tokens.len(), 7);
        assert_eq!(tokens[1], Token::Variable("HTTP_HOST".to_owned()));
        assert_eq!((&tokens[3], &tokens[5]), (&Token::Rule(1), &Token::Condition(2)));
        assert_eq!(read.map().unwrap().0, "map");
        assert_eq!(read.shown(), "https://{HTTP_HOST}/{R:1}-{C:2}{map:{URL}}");
        for wrong in ["{", "{a", "{R:x}", "{C:10}", "{m:{a}"] {
            assert!(Template::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_known_is_put_in() {
        let mut read = Template::read("a{HTTPS}{M:{HTTPS}}").unwrap();
        read.put("HTTPS", "on");
        read.look_up(&|name, key| Some(format!("<{name}={key}>")));
        assert_eq!(read.constant().as_deref(), Some("aon<m=on>"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-zR:{}0-9]{0,40}") {
            if let Ok(read) = Template::read(&text) {
                prop_assert_eq!(Template::read(&read.shown()), Ok(read));
            }
        }
    }
}
