//! The nine steps of a connection on a terminal of 80 columns: a number, a word and a text that is
//! wrapped beside them.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

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

/// The day of a time in UTC, as `2026-03-01`.
pub(crate) fn date(time: SystemTime) -> String {
    let days = seconds(time).div_euclid(86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A time in UTC to the second (RFC 3339).
pub(crate) fn timestamp(time: SystemTime) -> String {
    let of_day = seconds(time).rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", date(time))
}

/// Whole days from `now` to `then`; negative when it is over.
pub(crate) fn days_until(now: SystemTime, then: SystemTime) -> i64 {
    (seconds(then) - seconds(now)).div_euclid(86_400)
}

fn seconds(time: SystemTime) -> i64 {
    let whole = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar. Years are
/// counted from March, so that the day that is not always there is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    let since_0000_03_01 = days + 719_468;
    let era = since_0000_03_01.div_euclid(146_097);
    let day_of_era = since_0000_03_01.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// The first few of a list, and how many there are besides.
pub(crate) fn some_of(all: &[String], shown: usize) -> String {
    let mut text = all.iter().take(shown).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > shown {
        text.push_str(&format!(" and {} more", all.len() - shown));
    }
    if text.is_empty() { "no name".to_owned() } else { text }
}

/// Days as people say them.
pub(crate) fn in_days(days: i64) -> String {
    match days {
        0 => "today".to_owned(),
        1 => "tomorrow".to_owned(),
        2.. => format!("in {days} days"),
        -1 => "yesterday".to_owned(),
        ..-1 => format!("{} days ago", -days),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_of_the_calendar() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(timestamp(at(0)), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(at(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(at(1_709_251_199)), "2024-02-29T23:59:59Z");
        assert_eq!(timestamp(at(4_107_542_400)), "2100-03-01T00:00:00Z");
        assert_eq!(date(UNIX_EPOCH - Duration::from_secs(1)), "1969-12-31");
    }

    #[test]
    fn days_are_whole_ones() {
        let at = |hours: u64| UNIX_EPOCH + Duration::from_secs(hours * 3600);
        assert_eq!(days_until(at(0), at(47)), 1);
        assert_eq!(days_until(at(48), at(47)), -1);
        assert_eq!(days_until(at(48), at(0)), -2);
    }

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrapped("a bb ccc\ndd", 4), ["a bb", "ccc", "dd"]);
        assert_eq!(wrapped("too-long-a-word x", 4), ["too-long-a-word", "x"]);
        assert_eq!(wrapped("", 4), Vec::<String>::new());
    }
}
