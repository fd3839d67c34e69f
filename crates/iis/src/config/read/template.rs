//! Texts of the URL Rewrite module with variables in braces: `https://{HTTP_HOST}/{R:1}`.

use bindery_model::{decide::rewrite::Function, document::is_token};

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
    /// What a function makes of a text: `{ToLower:...}`.
    Function(Function, Template),
}

/// The functions of the module.
const FUNCTIONS: [(&str, Function); 3] = [
    ("ToLower", Function::Lower),
    ("UrlEncode", Function::Encode),
    ("UrlDecode", Function::Decode),
];

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
                Some((name, text)) => {
                    let name = name.trim();
                    let function = FUNCTIONS.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
                    let inner = Self::read_to(text, depth + 1)?;
                    match function {
                        Some((_, function)) => Token::Function(*function, inner),
                        None => Token::Map(name.to_lowercase(), inner),
                    }
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
            Token::Map(_, inner) | Token::Function(_, inner) => inner.has(name),
            Token::Text(_) | Token::Rule(_) | Token::Condition(_) => false,
        })
    }

    /// Whether `{R:0}` is in it.
    pub(super) fn has_whole(&self) -> bool {
        self.0.iter().any(|token| match token {
            Token::Rule(number) => *number == 0,
            Token::Map(_, inner) | Token::Function(_, inner) => inner.has_whole(),
            Token::Text(_) | Token::Condition(_) | Token::Variable(_) => false,
        })
    }

    /// Whether a back reference to a condition is in it.
    pub(super) fn has_condition(&self) -> bool {
        self.0.iter().any(|token| match token {
            Token::Condition(_) => true,
            Token::Map(_, inner) | Token::Function(_, inner) => inner.has_condition(),
            Token::Text(_) | Token::Rule(_) | Token::Variable(_) => false,
        })
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
            if let Token::Map(_, inner) | Token::Function(_, inner) = &mut token {
                inner.replace(find);
            }
            let done = match &token {
                Token::Function(function, inner) => inner.constant().map(|text| function.of(&text)),
                _ => find(&token),
            };
            match done {
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
            Token::Function(_, inner) => inner.map(),
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
            Token::Function(function, inner) => {
                let named = FUNCTIONS.iter().find(|(_, own)| own == function);
                format!("{{{}:{}}}", named.map_or("", |(name, _)| name), inner.shown())
            }
        });
        parts.collect()
    }

    /// The same as a text of ours: back references to the rule are groups, the first of which is the
    /// whole of what fits, those to conditions groups called `c1`, `c2`.
    pub(super) fn written(&self) -> Result<String, String> {
        let mut whole = String::new();
        self.write(&mut Vec::new(), &mut whole)?;
        Ok(whole)
    }

    fn write(&self, functions: &mut Vec<Function>, whole: &mut String) -> Result<(), String> {
        let variable = |functions: &[Function], name: &str| {
            let before: Vec<_> = functions.iter().map(|one| format!("{}:", one.name())).collect();
            format!("${{{}{name}}}", before.concat())
        };
        for token in &self.0 {
            match token {
                Token::Text(text) => {
                    let done = functions.iter().rev().fold(text.clone(), |text, one| one.of(&text));
                    whole.push_str(&done.replace('$', "$$"));
                }
                Token::Rule(number) => {
                    whole.push_str(&variable(functions, &(number + 1).to_string()));
                }
                Token::Condition(number) => {
                    whole.push_str(&variable(functions, &format!("c{number}")));
                }
                Token::Variable(name) if name == "CACHE_URL" => {
                    let parts =
                        ["{REQUEST_SCHEME}", "://", "{SERVER_NAME}:{SERVER_PORT}{REQUEST_URI}"];
                    Self::read(&parts.concat())?.write(functions, whole)?;
                }
                Token::Variable(name) => {
                    let own = variable_of(name);
                    let own = own.ok_or_else(|| format!("{{{name}}} is not known here"))?;
                    whole.push_str(&variable(functions, &own));
                }
                Token::Map(name, _) => return Err(format!("{{{name}:...}} is not known here")),
                Token::Function(function, inner) => {
                    functions.push(*function);
                    inner.write(functions, whole)?;
                    functions.pop();
                }
            }
        }
        Ok(())
    }
}

/// The variable of ours that says the same as a server variable.
fn variable_of(name: &str) -> Option<String> {
    Some(match name {
        "HTTP_HOST" => "authority".to_owned(),
        "SERVER_NAME" => "host".to_owned(),
        "REQUEST_SCHEME" => "scheme".to_owned(),
        "SERVER_PORT" => "port".to_owned(),
        "URL" | "PATH_INFO" | "SCRIPT_NAME" => "path".to_owned(),
        "QUERY_STRING" => "query".to_owned(),
        "REQUEST_URI" | "UNENCODED_URL" | "HTTP_URL" => "uri".to_owned(),
        "REQUEST_METHOD" | "HTTP_METHOD" => "method".to_owned(),
        "REMOTE_ADDR" | "REMOTE_HOST" => "client".to_owned(),
        name => format!("field:{}", field_of(name)?),
    })
}

/// The field of a request that a server variable has.
pub(super) fn field_of(name: &str) -> Option<String> {
    let field = match name {
        "CONTENT_TYPE" | "CONTENT_LENGTH" => name,
        // What is called so and is no field.
        "HTTP_VERSION" | "HTTP_URL" | "HTTP_METHOD" => return None,
        name => name.strip_prefix("HTTP_").filter(|field| !field.is_empty())?,
    };
    let field = field.to_ascii_lowercase().replace('_', "-");
    is_token(&field).then_some(field)
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
    fn functions_are_written_before_what_they_are_done_with() {
        let written = |text: &str| Template::read(text).unwrap().written();
        let is = |text: &str, expected: &str| assert_eq!(written(text).as_deref(), Ok(expected));
        is("{ToLower:{URL}}", "${lower:path}");
        is("{tolower:A{HTTP_HOST}/{R:1}}$", "a${lower:authority}/${lower:2}$$");
        is("/x?u={UrlEncode:{ToLower:{REQUEST_URI}B}}", "/x?u=${encode:lower:uri}b");
        is("{UrlDecode:%41{C:1}}", "A${decode:c1}");
        is("{CACHE_URL}", "${scheme}://${host}:${port}${uri}");
        is("{HTTP_X_A}{CONTENT_TYPE}", "${field:x-a}${field:content-type}");
        for wrong in ["{M:{URL}}", "{ToLower:{M:x}}", "{REQUEST_FILENAME}", "{HTTP_VERSION}"] {
            assert!(written(wrong).is_err(), "{wrong}");
        }
        let mut read = Template::read("{ToLower:{UrlEncode:A{HTTPS}/}}{URL}").unwrap();
        read.put("HTTPS", "ON");
        assert_eq!(read.shown(), "aon%2f{URL}");
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
        fn any_text_is_read_or_refused(text in "([a-zR:{}0-9]|\\{(ToLower|UrlEncode|UrlDecode):){0,20}") {
            if let Ok(read) = Template::read(&text) {
                let _written = read.written();
                prop_assert_eq!(Template::read(&read.shown()), Ok(read));
            }
        }
    }
}
