//! The nine steps of a connection on a terminal of 80 columns: a number, a word and a text that is
//! wrapped beside them.

use std::fmt::Write as _;

/// So wide a terminal is at least.
pub(crate) const COLUMNS: usize = 80;
/// So wide is what stands before the text of a step: its number and its word.
const WORD_WIDTH: usize = 16;

/// Text in the making.
pub(crate) struct Steps {
    out: String,
    number: u8,
    colour: bool,
    /// Where the text of a step begins.
    text_at: usize,
}

/// How a piece of text is marked where there are colours.
#[derive(Clone, Copy)]
pub(crate) enum Mark {
    Strong,
    Good,
    Bad,
}

impl Steps {
    /// Steps whose texts begin behind their words.
    pub(crate) fn new(colour: bool) -> Self {
        Self { out: String::new(), number: 0, colour, text_at: WORD_WIDTH }
    }

    /// Steps with a column of this width before their texts.
    pub(crate) fn with_column(colour: bool, width: usize) -> Self {
        Self { text_at: WORD_WIDTH + width + 2, ..Self::new(colour) }
    }

    /// What was written.
    pub(crate) fn into_text(self) -> String {
        self.out
    }

    /// The next step.
    pub(crate) fn step(&mut self, word: &str, text: &str) {
        self.step_with(word, "", text);
    }

    /// The next step, with something in its column.
    pub(crate) fn step_with(&mut self, word: &str, column: &str, text: &str) {
        self.number += 1;
        let word = self.marked(&format!("{word:<12}"), Mark::Strong);
        let (number, at) = (self.number, self.text_at);
        let lines = wrapped(text, COLUMNS - at).join(&format!("\n{:at$}", ""));
        let width = at - WORD_WIDTH;
        let column = format!("{column:>0$}  ", width.saturating_sub(2));
        let column = if width == 0 { "" } else { &column };
        self.line(&format!("{number}  {word} {column}{lines}"));
    }

    /// The next step is this one.
    pub(crate) fn skip_to(&mut self, number: u8) {
        self.number = number - 1;
    }

    /// More about the last step.
    pub(crate) fn more(&mut self, text: &str) {
        for line in wrapped(text, COLUMNS - self.text_at) {
            self.line(&format!("{:1$}{line}", "", self.text_at));
        }
    }

    /// What is wrong in the last step.
    pub(crate) fn problem(&mut self, text: &str) {
        let mut mark = "! ";
        for line in wrapped(text, COLUMNS - self.text_at - 2) {
            let line = self.marked(&format!("{mark}{line}"), Mark::Bad);
            self.line(&format!("{:1$}{line}", "", self.text_at));
            mark = "  ";
        }
    }

    /// Text of the whole width.
    pub(crate) fn paragraph(&mut self, text: &str) {
        for line in wrapped(text, COLUMNS) {
            self.line(&line);
        }
    }

    /// A row of a list: `label` in a column, and beside it a text, or below it where both do not
    /// fit. A mark stands for the whole row.
    pub(crate) fn row(&mut self, label: &str, width: usize, text: &str, mark: Option<Mark>) {
        let beside = label.chars().count() <= width && COLUMNS >= width + 20;
        let at = if beside { width + 2 } else { self.text_at };
        let mut lines = wrapped(text, COLUMNS - at).into_iter();
        let mut rows = Vec::new();
        if beside {
            rows.push(format!("{label:<width$}  {}", lines.next().unwrap_or_default()));
        } else {
            rows.push(label.to_owned());
        }
        rows.extend(lines.map(|line| format!("{:at$}{line}", "")));
        for row in rows {
            let row = match mark {
                Some(mark) => self.marked(row.trim_end(), mark),
                None => row.trim_end().to_owned(),
            };
            self.line(&row);
        }
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        // Writing to a string does not fail.
        writeln!(self.out, "{}", line.trim_end()).ok();
    }

    /// `text` with its colour.
    fn marked(&self, text: &str, mark: Mark) -> String {
        let code = match mark {
            Mark::Strong => 1,
            Mark::Good => 32,
            Mark::Bad => 31,
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The lines of a text, broken between words where they are longer than `width`.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for whole in text.lines() {
        let mut line = String::new();
        for word in whole.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrapped("a bb ccc\ndd", 4), ["a bb", "ccc", "dd"]);
        assert_eq!(wrapped("too-long-a-word x", 4), ["too-long-a-word", "x"]);
        assert_eq!(wrapped("", 4), Vec::<String>::new());
    }
}
